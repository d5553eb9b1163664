"""``ollama-push demo``: pushes to watch where there is no Ollama.

It makes a model store, a gateway and a registry, pushes three times and verifies what arrived. All of it is in
temporary folders and on loopback, and gone at the end.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import click

from ollama_push.cli.display import Display, new_display
from ollama_push.cli.display.streams import say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.client import AsyncPushClient, PushClient, RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.names import ModelName
from ollama_push.core.receipts import PushReceipt
from ollama_push.local import Credentials, ModelStore, NoResume

__all__ = ["NEXT", "demo"]

_FIRST: Final = "myuser/my-llama"
_SECOND: Final = "team/my-llama"
_THIRD: Final = "direct/my-llama"
_PART_BYTES: Final = 3_000_000
NEXT: Final = """
next: a model, and in three terminals a registry, a gateway and a push
  {command} testmodel myuser/my-llama
  {command} registry
  {command} serve --listen 127.0.0.1:11435 --default-registry localhost:5000 --plain-http
  {command} push myuser/my-llama --host http://127.0.0.1:11435"""
"""``command`` is how ``ollama-push`` is called where the demo ran."""


@click.command(
    cls=HelpedCommand,
    short_help="Watch pushes to a registry made for it.",
    examples=["ollama-push demo"],
)
def demo() -> None:
    """Push a small model to a registry, through a gateway and straight, sync and async.

    Model, gateway and registry are made for the demo, in temporary folders and on loopback, and gone at the end.
    """
    from ollama_push.testing.models import put_tiny_model
    from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Stall

    # On loopback a push is over before a bar is drawn: the registry pauses, as slow ones do.
    pauses = (
        Fault("PATCH", f"/{_THIRD}/", times=None, after_bytes=_PART_BYTES // 2, action=Stall(0.15)),
        Fault("PUT", "/blobs/uploads/", times=None, after_bytes=10_000_000, action=Stall(0.8)),
    )
    with tempfile.TemporaryDirectory(prefix="ollama-push-demo-", ignore_cleanup_errors=True) as folder:
        store = ModelStore(Path(folder, "models"))
        names = [ModelName.parse(name) for name in (_FIRST, _SECOND)]
        size = put_tiny_model(store.root, names).total_bytes
        with (
            # As `ollama-push registry` does: a stock `ollama pull` would get the models.
            EmbeddedRegistry(
                Path(folder, "registry"), faults=pauses, quirks=Quirks(redirect_to_other_name=True)
            ) as registry,
            _gateway_for(store, registry.host) as gateway,
        ):
            say(f"registry: {registry.url}", f"gateway:  {gateway}, names without a host go to the registry")
            say(f"models:   {store.root}")
            receipts = [
                _sync_push(gateway, size),
                _async_push(gateway, size),
                _direct_push(store, registry.host),
            ]
            _verify(store, registry.host)
            say("", "--- the receipts")
            for receipt in receipts:
                say(_receipt_text(receipt))
    say(*NEXT.format(command=_command()).split("\n"))


def _command() -> str:
    """Return what calls this command from here: ``make demo`` installs it where the ``PATH`` does not lead."""
    if shutil.which("ollama-push") is not None:
        return "ollama-push"
    script = Path(sys.argv[0])
    return str(script) if script.stem == "ollama-push" else f"{sys.executable} -m ollama_push.cli"


def _receipt_text(receipt: PushReceipt) -> str:
    """Return the receipt as code sees it, without unknown fields and with the number of layers only."""
    fields = {**attrs.asdict(receipt, recurse=False), "layers": f"<{len(receipt.layers)}>"}
    if receipt.pullability is not None:
        fields["pullability"] = f"<is_pullable={receipt.pullability.is_pullable}>"
    known = (
        f"{name}={value:.2f}" if isinstance(value, float) else f"{name}={value}"
        for name, value in fields.items()
        if value is not None
    )
    return f"{type(receipt).__name__}({', '.join(known)})"


def _sync_push(gateway: str, size: int) -> PushReceipt:
    say("", f"--- PushClient(gateway).push({_FIRST!r})")
    display = new_display("auto", str(ModelName.parse(_FIRST)), size)
    with PushClient(gateway, hooks=[display]) as client:
        return _shown(display, lambda: client.push(_FIRST))


def _async_push(gateway: str, size: int) -> PushReceipt:
    async def push() -> PushReceipt:
        async with AsyncPushClient(gateway, hooks=[display]) as client:
            return await client.push(_SECOND)

    say("", f"--- await AsyncPushClient(gateway).push({_SECOND!r})")
    display = new_display("auto", str(ModelName.parse(_SECOND)), size)
    return _shown(display, lambda: asyncio.run(push()))


def _direct_push(store: ModelStore, host: str) -> PushReceipt:
    name = f"{host}/{_THIRD}"
    say("", f"--- RegistryClient().push({name!r}, source={_FIRST!r})")
    display = new_display("auto", str(ModelName.parse(name)), None)
    with _registry_client(store, display) as client:
        return _shown(display, lambda: client.push(name, source=_FIRST))


def _verify(store: ModelStore, host: str) -> None:
    say("", "--- RegistryClient().verify(...)")
    with _registry_client(store) as client:
        for name in (_FIRST, _SECOND, _THIRD):
            found = client.verify(f"{host}/{name}", source=_FIRST)
            say(f"{found.model} holds the local model: {found.blobs} blobs, {found.manifest_digest}")


def _registry_client(store: ModelStore, *hooks: Display) -> RegistryClient:
    return RegistryClient(
        store=store,
        credentials=_no_credentials(),
        hooks=hooks,
        plain_http=True,
        resume=NoResume(),
        part_bytes=_PART_BYTES,
    )


def _no_credentials() -> Credentials:
    """Return credentials that read no file and no variable of this machine."""
    return Credentials(environ={})


def _shown(display: Display, push: Callable[[], PushReceipt]) -> PushReceipt:
    try:
        receipt = push()
    except OllamaPushError as exc:
        display.failed(exc)
        raise
    display.succeeded(receipt)
    return receipt


@contextmanager
def _gateway_for(store: ModelStore, registry: str) -> Iterator[str]:
    """Run a gateway on a loop in a thread, and yield its address."""
    from ollama_push.gateway import GatewaySettings, serve

    settings = GatewaySettings(
        store=store,
        plain_http=True,
        default_registry=registry,
        allow=(registry,),
        credentials=_no_credentials(),
        resume=NoResume(),
    )
    ready: Future[tuple[str, Callable[[], object]]] = Future()

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def started(host: str, port: int) -> None:
            ready.set_result((f"http://{host}:{port}", lambda: loop.call_soon_threadsafe(stop.set)))

        await serve(settings, port=0, started=started, stop=stop)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:  # the main thread waits for the future, so any exception must reach it
            if ready.done():
                raise
            ready.set_exception(exc)

    thread = threading.Thread(target=work, name="gateway", daemon=True)
    thread.start()
    url, stop = ready.result()
    try:
        yield url
    finally:
        with suppress(RuntimeError):  # its loop is gone already
            stop()
        thread.join()
