"""How many modules of the package one push goes through, and how often it passes from one to another.

``python -m bench.crossings`` prints a line for each of the three ways. It uses nothing but documented names, so that
another checkout is measured by ``PYTHONPATH=OTHER/src python -m bench.crossings``.
"""

from __future__ import annotations

import argparse
import asyncio
import dis
import functools
import hashlib
import http.client
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import attrs
from aiohttp import web

from ollama_push import PushClient, RegistryClient
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.testing.server import ScriptedServer

__all__ = ["Crossings", "measure"]

PACKAGE: Final = "ollama_push"
PEERS: Final = f"{PACKAGE}.testing"
BLOBS: Final = (b"weights " * 1000, b"a template", b'{"model_format":"gguf"}')
"""The last one is the configuration."""
NAME: Final = "team/small"
_EVENT_LOOP: Final = (str(Path("asyncio", "events.py")), "_run")
_SUSPENDED_BY_LOOP: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


@attrs.define
class Crossings:
    """What one push did.

    Attributes:
        modules: The modules of which something was called, in the order of their first call.
        calls: How often one module called a function of another: (caller, callee, function).
    """

    modules: dict[str, None] = attrs.field(factory=dict)
    calls: Counter[tuple[str, str, str]] = attrs.field(factory=Counter)

    def __str__(self) -> str:
        pairs = len({(caller, callee) for caller, callee, _function in self.calls})
        return (
            f"{len(self.modules):>3} modules, {pairs:>4} pairs of modules, {len(self.calls):>4} functions across, "
            f"{self.calls.total():>5} crossings"
        )

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note a call, when *frame* is one of the package's: a function for ``sys.setprofile``."""
        if event != "call" or (callee := _module(frame)) is None or _is_resumed(frame):
            return
        self.modules.setdefault(callee)
        caller = _caller(frame.f_back)
        if caller is not None and caller != callee:
            self.calls[caller, callee, frame.f_code.co_qualname] += 1


def _module(frame: FrameType) -> str | None:
    """Return the module of *frame* if it is one of ours, and is called rather than imported."""
    name = str(frame.f_globals.get("__name__"))
    ours = name.startswith(PACKAGE) and not name.startswith(PEERS)
    return name if ours and frame.f_code.co_name != "<module>" else None


def _caller(frame: FrameType | None) -> str | None:
    """Return the nearest module of ours up the stack: libraries in between, such as ``contextlib``, do not count."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.endswith(_EVENT_LOOP[0]) and code.co_name == _EVENT_LOOP[1]:
            return None  # what the event loop calls, nobody called
        if (name := _module(frame)) is not None:
            return name
        frame = frame.f_back
    return None


def _is_resumed(frame: FrameType) -> bool:
    """Tell whether the event loop goes on with *frame*: how often it does is a matter of the sockets' timing."""
    return bool(frame.f_code.co_flags & _SUSPENDED_BY_LOOP) and frame.f_lasti > _first_instruction(frame.f_code)


@functools.cache
def _first_instruction(code: CodeType) -> int:
    return next(one.offset for one in dis.get_instructions(code) if one.opname == "RESUME")


def measure(way: str) -> Crossings:
    """Push the same small model twice by *way* and return what the second push did: the first one imports."""
    with tempfile.TemporaryDirectory(prefix="ollama-push-bench-") as scratch:
        folder = Path(scratch)
        _put_model(folder / "models")
        os.environ |= {
            "OLLAMA_MODELS": str(folder / "models"),
            "XDG_STATE_HOME": str(folder / "state"),
            "DOCKER_CONFIG": str(folder / "docker"),
            "HOME": str(folder),
        }
        WAYS[way](Crossings())
        found = Crossings()
        WAYS[way](found)
        return found


@contextmanager
def _counted(found: Crossings) -> Iterator[None]:
    threading.setprofile(found.profile)
    sys.setprofile(found.profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _through_server(found: Crossings) -> None:
    with _peer("server") as url, _counted(found), PushClient(url) as client:
        client.push(NAME)


def _straight(found: Crossings) -> None:
    # One blob at a time: side by side, the order of calls is a matter of timing.
    with (
        _peer("registry") as host,
        _counted(found),
        RegistryClient(plain_http=True, concurrency=1, credentials=None) as client,
    ):
        client.push(f"{host}/{NAME}", source=NAME)


def _through_gateway(found: Crossings) -> None:
    with _peer("registry") as host:
        asyncio.run(_gateway(host, found))


async def _gateway(host: str, found: Crossings) -> None:
    """Count the gateway alone: what asks it for the push is ``http.client``."""
    settings = GatewaySettings(plain_http=True, default_registry=host, concurrency=1)
    runner = web.AppRunner(create_app(settings))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, port = runner.addresses[0][:2]
    try:
        with _counted(found):
            last = await asyncio.to_thread(_ask, port)
    finally:
        await runner.cleanup()
    if json.loads(last) != {"status": "success"}:
        raise ValueError(last)


def _ask(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/api/push", json.dumps({"model": NAME}), {"Content-Type": "application/json"})
    *_, last = connection.getresponse().read().splitlines()
    connection.close()
    return last


WAYS: Final[dict[str, Callable[[Crossings], None]]] = {
    "server": _through_server,
    "direct": _straight,
    "gateway": _through_gateway,
}


def _put_model(store: Path) -> None:
    (store / "blobs").mkdir(parents=True)
    descriptors: list[dict[str, Any]] = []
    for blob in BLOBS:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        (store / "blobs" / digest.replace(":", "-")).write_bytes(blob)
        kind = "application/vnd.ollama.image.model"
        descriptors.append({"mediaType": kind, "digest": digest, "size": len(blob)})
    *layers, config = descriptors
    config["mediaType"] = "application/vnd.docker.container.image.v1+json"
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
    file = store / "manifests" / "registry.ollama.ai" / NAME / "latest"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(manifest))


@contextmanager
def _peer(kind: str) -> Iterator[str]:
    """Run what is pushed to in a process of its own, whose calls do not count; yield where it listens."""
    command = [sys.executable, "-m", "bench.crossings", "--peer", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def _serve(kind: str) -> None:
    """Print where the peer *kind* listens, and serve until the standard input ends."""
    if kind == "server":
        # Written out: older checkouts have other names for the helpers that build responses.
        with ScriptedServer([b"".join(_response())]) as server:
            print(server.url, flush=True)
            sys.stdin.read()
    else:
        with tempfile.TemporaryDirectory() as data, EmbeddedRegistry(Path(data)) as registry:
            print(registry.host, flush=True)
            sys.stdin.read()


def _response() -> Iterator[bytes]:
    """Yield a server's whole response to a push, in chunks of a line each."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines: list[dict[str, Any]] = [{"status": "retrieving manifest"}]
    for blob in BLOBS:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        start = {"status": f"pushing {digest[7:19]}", "digest": digest, "total": len(blob)}
        lines += [start, {**start, "completed": len(blob)}]
    for line in (*lines, {"status": "pushing manifest"}, {"status": "success"}):
        text = json.dumps(line).encode() + b"\n"
        yield b"%x\r\n%s\r\n" % (len(text), text)
    yield b"0\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crossings", description=__doc__)
    parser.add_argument("--list", action="store_true", help="also print modules, in order, and crossings by frequency")
    parser.add_argument("--peer", choices=("server", "registry"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        _serve(arguments.peer)
        return
    for way in WAYS:
        found = measure(way)
        print(f"{way:<8} {found}")
        if arguments.list:
            print("  " + "\n  ".join(found.modules))
            for (caller, callee, function), calls in found.calls.most_common():
                print(f"  {calls:>5}  {caller} -> {callee}.{function}")


if __name__ == "__main__":
    main()
