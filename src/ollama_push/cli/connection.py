"""How the command reaches a server: the connection options, and the transport and the clients that they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from ollama_push import transports
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.core.arguments import YEAR_SECONDS, is_header_name
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.address import DEFAULT_PORT

if TYPE_CHECKING:
    from ollama_push.client import PushClient

__all__ = [
    "CERT_OPTION",
    "Settings",
    "client_cert",
    "connect",
    "connection_options",
    "registry_options",
    "transport_for",
]

_GROUP: Final = "ollama_push.transports"
# Those of this package are not looked up: to read what all packages offer takes a tenth of the command's start.
_OWN: Final = {"aiohttp": "AiohttpTransport", "urllib3": "Urllib3Transport"}

_ClientCertificate = str | tuple[str, str]
"""A PEM file with certificate and key, or the two files."""
CERT_OPTION: Final = click.option(
    "--cert", metavar="FILE", help="PEM file of the client certificate to show, with or without its key."
)


def _seconds(_context: click.Context, option: click.Parameter, seconds: float | None) -> float | None:
    # click's FloatRange lets NaN pass, since every comparison with it is false; a socket cannot take infinity.
    never = option.name == "stall_timeout"
    if seconds is None or 0 < seconds <= YEAR_SECONDS or (never and seconds == 0):
        return seconds
    raise click.BadParameter(f"expected seconds above 0, at most a year{', or 0 for never' if never else ''}")


@attrs.frozen
class Settings:
    """The values of the connection options; ``None`` keeps a default."""

    transport: str
    timeout: float | None
    stall_timeout: float
    retries: int
    max_wait: float
    ca: str | None
    cert: str | None
    key: str | None
    host: str | None = None
    header: tuple[str, ...] = ()

    @property
    def client_cert(self) -> _ClientCertificate | None:
        """The certificate to show, with its key."""
        return client_cert(self.cert, self.key)

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
                # Not shown: without a name and a colon, any part may be the secret.
                raise InvalidSetting("--header", "<hidden>", "expected 'Name: value'")
            found[name.strip()] = value.strip()
        return found

    @property
    def limits(self) -> dict[str, Any]:
        """The arguments of every client that say how long it tries."""
        return {
            "retry": RetryPolicy(self.retries + 1, retry_after_cap=self.max_wait),
            "stall_timeout": self.stall_timeout or None,
        }


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the connection options to *command*; it gets them as one argument ``settings``."""
    return _with_settings(command, {*_OPTIONS})


def registry_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the connection options that are not about an Ollama server."""
    return _with_settings(command, _OPTIONS.keys() - {"host", "header"})


def _with_settings(command: Callable[..., Any], names: Collection[str]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_settings(**options: Any) -> Any:
        settings = Settings(**{name: options.pop(name) for name in names})
        return command(settings=settings, **options)

    decorated: Callable[..., Any] = with_settings
    for name, option in reversed(_OPTIONS.items()):
        if name in names:
            decorated = option(decorated)
    return decorated


def client_cert(cert: str | None, key: str | None) -> _ClientCertificate | None:
    """Return the client certificate that ``--cert`` and ``--key`` mean."""
    return cert if cert is None or key is None else (cert, key)


def connect(settings: Settings) -> ClientRunner[PushClient]:
    """Return a runner of clients of the server; use it as a context manager.

    Raises:
        InvalidSetting: An option cannot be used.
    """
    if settings.key and not settings.cert:
        raise click.UsageError("--key needs --cert, or --direct: an Ollama server signs with its own key")
    transport = transport_for(settings)
    return ClientRunner(transport, "PushClient", host=settings.host, headers=settings.headers, **settings.limits)


def transport_for(settings: Settings) -> Any:
    """Return the transport that *settings* name; an async one has ``aclose``.

    Raises:
        InvalidSetting: No transport has that name, or it does not take an option.
    """
    given = {"connect_timeout": settings.timeout, "ca_file": settings.ca, "client_cert": settings.client_cert}
    options = {name: value for name, value in given.items() if value is not None}
    return _build_transport(settings.transport, options)


def _build_transport(name: str, options: Mapping[str, Any]) -> Any:
    factory = getattr(transports, _OWN[name]) if name in _OWN else _load_transport(name)
    try:
        return factory(**options)
    except TypeError as exc:
        names = {"connect_timeout": "--timeout", "ca_file": "--ca", "client_cert": "--cert"}
        used = " and ".join(names[option] for option in options)
        raise InvalidSetting("--transport", name, f"it does not take {used or 'no arguments'}: {exc}") from exc


def _load_transport(name: str) -> Any:
    found = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in found:
        raise InvalidSetting("--transport", name, f"no such transport; installed are {', '.join(sorted(found))}")
    try:
        return found[name].load()
    except (ImportError, AttributeError) as exc:
        raise InvalidSetting("--transport", name, f"it cannot be loaded: {exc}") from exc


_OPTIONS: Final = {
    "host": click.option(
        "--host", metavar="URL", help=f"The Ollama server; default: OLLAMA_HOST, else http://127.0.0.1:{DEFAULT_PORT}."
    ),
    "transport": click.option(
        "--transport",
        default="urllib3",
        show_default=True,
        metavar="NAME",
        help="urllib3, aiohttp, or the name of an installed entry point.",
    ),
    "header": click.option(
        "--header", multiple=True, metavar="'NAME: VALUE'", help="Header for every request; may be repeated."
    ),
    "timeout": click.option(
        "--timeout", type=float, callback=_seconds, metavar="SECONDS", help="Longest time to connect."
    ),
    "stall_timeout": click.option(
        "--stall-timeout",
        type=float,
        callback=_seconds,
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest time of an attempt without progress; 0: no limit.",
    ),
    "retries": click.option(
        "--retries", type=click.IntRange(min=0), default=3, show_default=True, help="Attempts after the first one."
    ),
    "max_wait": click.option(
        "--max-wait",
        type=float,
        callback=_seconds,
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest wait that a registry or server may ask for (Retry-After).",
    ),
    "ca": click.option("--ca", metavar="FILE", help="PEM file of CAs to trust in addition to the system's."),
    "cert": CERT_OPTION,
    "key": click.option(
        "--key",
        metavar="FILE",
        help="With --cert: its private key, if it is not in the same file. With --direct and without --cert: Ollama's"
        " key for Ollama's registry; default: OLLAMA_KEY, else ~/.ollama/id_ed25519.",
    ),
}
