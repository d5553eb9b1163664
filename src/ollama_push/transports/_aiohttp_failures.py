"""aiohttp's exceptions as ours, and without what they would show of a request."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost, TransportError, TransportTimeout
from ollama_push.core.redaction import origin_of
from ollama_push.transports._aiohttp_upload import Upload
from ollama_push.transports._failures import connect_failed

__all__ = ["FAILURES", "translated", "without_headers"]

# RuntimeError is aiohttp's word for a connection that closed between two of its own steps.
FAILURES: Final = (aiohttp.ClientError, OSError, ValueError, RuntimeError, asyncio.TimeoutError)


def without_headers(exc: Exception) -> Exception:
    """Return *exc* without the request's headers, which say who we are: a traceback would show them."""
    if isinstance(exc, aiohttp.ClientResponseError):
        info = exc.request_info
        exc.request_info = aiohttp.RequestInfo(info.url, info.method, CIMultiDictProxy(CIMultiDict()), info.real_url)
        exc.args = (exc.request_info, exc.history)
    return exc


def translated(
    exc: Exception, url: str, timeout: aiohttp.ClientTimeout, upload: Upload, *, answered: bool = False
) -> TransportError:
    """Return our error for one of aiohttp's."""
    address = origin_of(url)
    match exc:
        case _ if upload.stalled:
            return TransportTimeout(address, "write", timeout.sock_read or 0.0)
        case aiohttp.ConnectionTimeoutError():
            return TransportTimeout(address, "connect", timeout.connect or 0.0)
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return TransportTimeout(address, "read", timeout.sock_read or 0.0)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return ConnectFailed(address, ConnectCause.PROXY, str(exc))
        case aiohttp.ClientConnectorError() if not answered:
            return connect_failed(url, exc)
        case UnicodeError() if not answered:
            return ConnectFailed(address, ConnectCause.UNKNOWN_HOST, str(exc))  # a label of more than 63 characters
        case aiohttp.InvalidURL():
            return ConnectFailed(address, ConnectCause.UNKNOWN_HOST, "this is no URL")
        case aiohttp.ClientResponseError(message=message):
            return ConnectionLost(address, message.partition("\n")[0])  # what follows shows the bytes
        case _:
            return ConnectionLost(address, str(exc))
