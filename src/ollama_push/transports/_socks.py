"""Connections through a SOCKS 5 proxy (RFC 1928, RFC 1929), for both adapters; needs the extra ``socks``.

With ``socks5h://`` the proxy finds the addresses of hosts, with ``socks5://`` this machine does, as curl reads them.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.hosts import origin_of
from ollama_push.transports._failures import ProxyFailed
from ollama_push.transports._machine import Proxy

if TYPE_CHECKING:
    import python_socks

__all__ = ["connect_through", "connect_through_async", "require_socks"]

# RFC 1928, 6, of a reply: what the proxy found out of the host behind it. All other failures are its own.
_ABOUT_THE_HOST: Final[Mapping[int, int]] = {3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH, 5: errno.ECONNREFUSED}


def require_socks(url: str) -> None:
    """Check that a SOCKS proxy can be used for *url*.

    Raises:
        ConnectFailed: The extra is not installed.
    """
    try:
        import python_socks  # noqa: F401, PLC0415 - an extra
    except ImportError as exc:
        detail = "a SOCKS proxy needs: pip install 'ollama-push[socks]'"
        raise ConnectFailed(origin_of(url), ConnectCause.PROXY, detail) from exc


def connect_through(proxy: Proxy, host: str, port: int, seconds: float | None) -> socket.socket:
    """Return a socket that *proxy* has connected to *host*, a name or an address.

    Raises:
        TimeoutError: It took longer than *seconds*.
        OSError: The proxy says that the host cannot be reached.
        ProxyFailed: The proxy cannot be used.
    """
    from python_socks.sync import Proxy as SocksProxy  # noqa: PLC0415 - an extra

    with _translated(host):
        return SocksProxy(**_settings(proxy)).connect(host, port, seconds)


async def connect_through_async(proxy: Proxy, host: str, port: int, seconds: float | None) -> socket.socket:
    """Do what ``connect_through`` does, without blocking the loop."""
    from python_socks.async_.asyncio import Proxy as SocksProxy  # noqa: PLC0415 - an extra

    with _translated(host):
        return await SocksProxy(**_settings(proxy)).connect(host, port, seconds)


def _settings(proxy: Proxy) -> dict[str, Any]:
    from python_socks import ProxyType  # noqa: PLC0415 - an extra

    # rdns: a name that gets here is the proxy's to find.
    return {
        "proxy_type": ProxyType.SOCKS5,
        "host": proxy.host,
        "port": proxy.port,
        "username": proxy.username,
        "password": proxy.password,
        "rdns": True,
    }


@contextmanager
def _translated(host: str) -> Iterator[None]:
    import python_socks  # noqa: PLC0415 - an extra

    try:
        yield
    except TimeoutError as exc:
        raise TimeoutError(str(exc)) from exc
    except python_socks.ProxyError as exc:
        raise _refusal(exc, host) from exc
    except OSError as exc:
        raise ProxyFailed(str(exc)) from exc
    except UnicodeError as exc:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no host name") from exc
    except ValueError as exc:  # of its own checks: a name or a password that SOCKS has no room for
        raise ProxyFailed(str(exc)) from exc


def _refusal(exc: python_socks.ProxyError, host: str) -> OSError:
    number = _ABOUT_THE_HOST.get(exc.error_code or 0)
    words = str(exc)
    return ProxyFailed(words) if number is None else OSError(number, f"the proxy says of {host}: {words}")
