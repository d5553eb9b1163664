"""How the command pushes straight to a registry: its options, and a client of either colour."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Protocol, Self

import attrs
import click

from ollama_push.cli.connection import Settings, new_transport
from ollama_push.client import AsyncRegistryClient, RegistryClient
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.blob_upload.part_sizes import SMALLEST_PART_BYTES
from ollama_push.core.registry.plans import PushPlan
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import NoResume

__all__ = ["DirectConnection", "DirectSettings", "connect_directly", "direct_options"]

_SIZE: Final = re.compile(r"(\d{1,15})\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)
_POWERS: Final = "kmgt"
# Options of a push through a server that mean nothing here, and what to do instead.
_FOR_SERVERS: Final = {
    "host": "--host names an Ollama server, and --direct asks none: the registry is the first part of NAME",
    "insecure": "--insecure is said to an Ollama server; with --direct say --plain-http",
    "header": "--header is sent to an Ollama server, and --direct asks none",
}


@attrs.frozen
class DirectSettings:
    """What the options of ``--direct`` say.

    Attributes:
        source: Name of the local model; ``None`` for the one that is pushed.
        models: Folder of the model store, if given.
        concurrency: Blobs at the same time.
        part_size: Bytes of one part; ``None`` to adapt.
        plain_http: Speak plain HTTP to the registry.
        no_verify: Do not look afterwards.
        no_resume: Keep and use no unfinished uploads.
    """

    source: str | None = None
    models: str | None = None
    concurrency: int | None = None
    part_size: int | None = None
    plain_http: bool = False
    no_verify: bool = False
    no_resume: bool = False

    def for_a_client(self, settings: Settings) -> dict[str, Any]:
        """Return what a client of either colour is built with."""
        options: dict[str, Any] = {
            "store": self.models,
            "retry": RetryPolicy(settings.retries + 1),
            "stall_timeout": settings.stall_timeout or None,
            "plain_http": self.plain_http,
            "verify": not self.no_verify,
            "part_bytes": self.part_size,
            "resume": NoResume() if self.no_resume else None,
        }
        return options if self.concurrency is None else {**options, "concurrency": self.concurrency}


class DirectConnection(Protocol):
    """A registry client of either colour, called from here as if it were sync."""

    def plan(self, name: str) -> PushPlan:
        """Ask what a push would do."""

    def push(self, name: str, hooks: Iterable[Hook]) -> PushReceipt:
        """Push and wait for the verdict."""

    def interrupt(self) -> None:
        """End a push where nothing is lost; from any thread."""

    def hang_up(self) -> None:
        """End a push at once, with ``KeyboardInterrupt``; from a signal handler."""


def direct_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--direct`` and those of its options that are *named*.

    The command gets them as one argument ``direct``, which is ``None`` without ``--direct``.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_direct(*, direct: bool, **options: Any) -> Any:
            given = {name: options.pop(name) for name in names}
            _refuse_what_does_not_fit(direct=direct, more=[name for name, value in given.items() if value])
            return command(direct=DirectSettings(**given) if direct else None, **options)

        decorated: Callable[..., Any] = with_direct
        for name in reversed(names):
            decorated = _OPTIONS[name](decorated)
        return click.option("--direct", is_flag=True, help="Straight to the registry, without an Ollama server.")(
            decorated
        )

    return decorate


def connect_directly(settings: Settings, direct: DirectSettings) -> _SyncDirect | _AsyncDirect:
    """Return a connection; use it as a context manager.

    Raises:
        InvalidSetting: An option cannot be used.
    """
    transport = new_transport(settings)
    options = {"transport": transport, **direct.for_a_client(settings)}
    kind = _AsyncDirect if hasattr(transport, "aclose") else _SyncDirect
    return kind(transport, options, direct.source)


class _SyncDirect:
    def __init__(self, transport: Any, options: dict[str, Any], source: str | None) -> None:
        self._transport = transport
        self._options = options
        self._source = source
        self._pushing: RegistryClient | None = None

    def plan(self, name: str) -> PushPlan:
        with RegistryClient(**self._options) as client:
            return client.plan(name, source=self._source)

    def push(self, name: str, hooks: Iterable[Hook]) -> PushReceipt:
        with RegistryClient(hooks=hooks, **self._options) as client:
            self._pushing = client
            return client.push(name, source=self._source)

    def interrupt(self) -> None:
        if self._pushing is not None:
            self._pushing.interrupt()

    def hang_up(self) -> None:
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()


class _AsyncDirect:
    def __init__(self, transport: Any, options: dict[str, Any], source: str | None) -> None:
        self._transport = transport
        self._options = options
        self._source = source
        self._runner = asyncio.Runner()
        self._pushing: AsyncRegistryClient | None = None
        self._task: asyncio.Task[Any] | None = None

    def plan(self, name: str) -> PushPlan:
        async def run() -> PushPlan:
            async with AsyncRegistryClient(**self._options) as client:
                return await client.plan(name, source=self._source)

        return self._runner.run(run())

    def push(self, name: str, hooks: Iterable[Hook]) -> PushReceipt:
        async def run() -> PushReceipt:
            async with AsyncRegistryClient(hooks=hooks, **self._options) as client:
                self._pushing, self._task = client, asyncio.current_task()
                return await client.push(name, source=self._source)

        try:
            return self._runner.run(run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    def interrupt(self) -> None:
        if self._pushing is not None:
            self._pushing.interrupt()

    def hang_up(self) -> None:
        if self._task is None or self._task.done():
            raise KeyboardInterrupt
        self._runner.get_loop().call_soon_threadsafe(self._task.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._transport.aclose())


def _refuse_what_does_not_fit(*, direct: bool, more: list[str]) -> None:
    context = click.get_current_context()
    if direct:
        for name, problem in _FOR_SERVERS.items():
            if context.params.get(name):
                raise click.UsageError(problem)
    elif more:
        option = next(option for option in context.command.params if option.name == more[0])
        raise click.UsageError(f"{option.opts[0]} needs --direct: it is about a push straight to a registry")


def _bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    size = 0
    if found is not None:
        number, prefix, binary = found.groups()
        power = _POWERS.index(prefix.lower()) + 1 if prefix else 0
        size = int(number) * (1024 if binary else 1000) ** power
    if size < SMALLEST_PART_BYTES:
        # Also what the core does not go below when a registry calls a part too large.
        least = f"{SMALLEST_PART_BYTES // 1024}KiB"
        raise click.BadParameter(f"expected at least {least}, such as 16MiB, 64MB or 1000000")
    return size


_OPTIONS: Final = {
    "source": click.option(
        "--from", "source", metavar="MODEL", help="With --direct: the local model, when it has another name."
    ),
    "models": click.option(
        "--models",
        metavar="DIR",
        help="With --direct: Ollama's model store; default OLLAMA_MODELS, else where Ollama keeps it.",
    ),
    "plain_http": click.option("--plain-http", is_flag=True, help="With --direct: speak plain HTTP to the registry."),
    "concurrency": click.option(
        "--concurrency",
        type=click.IntRange(1, 64),
        metavar="N",
        help="With --direct: blobs on their way at the same time; default 4.",
    ),
    "no_verify": click.option(
        "--no-verify", is_flag=True, help="With --direct: do not ask the registry afterwards what it holds."
    ),
    "no_resume": click.option(
        "--no-resume", is_flag=True, help="With --direct: keep no unfinished uploads, and go on with none."
    ),
    "part_size": click.option(
        "--part-size",
        callback=_bytes,
        metavar="SIZE",
        help="With --direct: bytes of one part, such as 16MiB, at least 256KiB; adapted to the speed by default.",
    ),
}
