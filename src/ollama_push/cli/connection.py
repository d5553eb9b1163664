"""How the command reaches a server: options to a transport and a client of its colour."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from types import TracebackType
from typing import Any, Final, Protocol, Self

import attrs
import click

from ollama_push.client import AsyncPushClient, PushClient
from ollama_push.core.durations import YEAR_SECONDS
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.headers import is_header_name
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.check import Readiness

__all__ = ["Connection", "Settings", "connect", "connection_options", "new_transport"]

_GROUP: Final = "ollama_push.transports"


def _seconds(_context: click.Context, option: click.Parameter, seconds: float | None) -> float | None:
    # What a socket can take: NaN passes every comparison of click's FloatRange, infinity overflows.
    never = option.name == "stall_timeout"
    if seconds is None or 0 < seconds <= YEAR_SECONDS or (never and seconds == 0):
        return seconds
    raise click.BadParameter(f"expected seconds above 0, at most a year{', or 0 for never' if never else ''}")


@attrs.frozen
class Settings:
    """What the connection options say; ``None`` leaves a default alone."""

    host: str | None
    transport: str
    header: tuple[str, ...]
    timeout: float | None
    stall_timeout: float
    retries: int
    ca: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The ``--header`` options by name.

        Raises:
            InvalidSetting: One does not begin with a name and a colon.
        """
        found = {}
        for text in self.header:
            name, colon, value = text.partition(":")
            if not colon or not is_header_name(name.strip()):
                # Nothing of it is shown: without a name and a colon, any part may be the secret.
                raise InvalidSetting("--header", "<hidden>", "expected 'Name: value'")
            found[name.strip()] = value.strip()
        return found

    def for_a_client(self) -> dict[str, Any]:
        """What a client of either colour is built with.

        Raises:
            InvalidSetting: A header has no name and colon.
        """
        return {
            "host": self.host,
            "retry": RetryPolicy(self.retries + 1),
            "stall_timeout": self.stall_timeout or None,
            "headers": self.headers,
        }


class Connection(Protocol):
    """A client of either colour, called from here as if it were sync."""

    def check(self, name: str) -> Readiness:
        """Ask whether a push is going to work."""

    def push(self, name: str, hooks: Iterable[Hook], *, insecure: bool) -> PushReceipt:
        """Push and wait for the verdict."""


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the connection options to *command*; it gets them as one argument ``settings``."""

    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        names = [field.name for field in attrs.fields(Settings)]
        settings = Settings(**{name: options.pop(name) for name in names})
        return command(settings=settings, **options)

    decorated: Callable[..., Any] = with_settings
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def connect(settings: Settings) -> _SyncConnection | _AsyncConnection:
    """Return a connection; use it as a context manager.

    Raises:
        InvalidSetting: An option cannot be used.
    """
    transport = new_transport(settings)
    return (
        _AsyncConnection(settings, transport) if hasattr(transport, "aclose") else _SyncConnection(settings, transport)
    )


def new_transport(settings: Settings) -> Any:
    """Return the transport that *settings* name; an async one has ``aclose``.

    Raises:
        InvalidSetting: There is none of that name, or an option is not for it.
    """
    given = {"connect_timeout": settings.timeout, "ca_file": settings.ca}
    options = {name: value for name, value in given.items() if value is not None}
    return _build_transport(settings.transport, options)


def _build_transport(name: str, options: Mapping[str, Any]) -> Any:
    found = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in found:
        raise InvalidSetting("--transport", name, f"no such transport; installed are {', '.join(sorted(found))}")
    try:
        factory = found[name].load()
    except (ImportError, AttributeError) as exc:
        raise InvalidSetting("--transport", name, f"it cannot be loaded: {exc}") from exc
    try:
        return factory(**options)
    except TypeError as exc:
        used = " and ".join({"connect_timeout": "--timeout", "ca_file": "--ca"}[option] for option in options)
        raise InvalidSetting("--transport", name, f"it does not take {used or 'no arguments'}: {exc}") from exc


class _SyncConnection:
    def __init__(self, settings: Settings, transport: Any) -> None:
        self._transport = transport
        self._client = functools.partial(PushClient, transport=transport, **settings.for_a_client())

    def check(self, name: str) -> Readiness:
        with self._client() as client:
            return client.check(name)

    def push(self, name: str, hooks: Iterable[Hook], *, insecure: bool) -> PushReceipt:
        with self._client(hooks=hooks) as client:
            return client.push(name, insecure=insecure)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()


class _AsyncConnection:
    def __init__(self, settings: Settings, transport: Any) -> None:
        self._transport = transport
        self._runner = asyncio.Runner()
        self._client = functools.partial(AsyncPushClient, transport=transport, **settings.for_a_client())

    def check(self, name: str) -> Readiness:
        async def run() -> Readiness:
            async with self._client() as client:
                return await client.check(name)

        return self._runner.run(run())

    def push(self, name: str, hooks: Iterable[Hook], *, insecure: bool) -> PushReceipt:
        async def run() -> PushReceipt:
            async with self._client(hooks=hooks) as client:
                return await client.push(name, insecure=insecure)

        return self._runner.run(run())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._transport.aclose())


_OPTIONS: Final = (
    click.option("--host", metavar="URL", help="The Ollama server; default OLLAMA_HOST, else http://127.0.0.1:11434."),
    click.option(
        "--transport",
        default="urllib3",
        show_default=True,
        metavar="NAME",
        help="urllib3, aiohttp, or an entry point's.",
    ),
    click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request; may be repeated."),
    click.option("--timeout", type=float, callback=_seconds, metavar="SECONDS", help="For connecting."),
    click.option(
        "--stall-timeout",
        type=float,
        callback=_seconds,
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="Give an attempt up when no byte moved for so long; 0 for never.",
    ),
    click.option(
        "--retries", type=click.IntRange(min=0), default=3, show_default=True, help="Attempts after the first."
    ),
    click.option("--ca", metavar="FILE", help="PEM file of CAs to trust in addition to the system's."),
)
