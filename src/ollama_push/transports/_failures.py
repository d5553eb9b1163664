"""Reads from the exception of a library why a peer was not reached. For the adapters here and for those of users."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.hosts import origin_of

__all__ = ["connect_failed"]

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ETIMEDOUT, errno.EADDRNOTAVAIL})


def connect_failed(url: str, exc: BaseException) -> ConnectFailed:
    """Return the error for a request to *url* that did not reach its peer because of *exc*.

    The cause is read from the chain of causes, contexts and exception arguments of *exc*, so it does
    not matter how a library wraps the error of the operating system.
    """
    chain = list(_chain(exc))
    # Innermost first: libraries wrap exceptions, and some wrappers inherit from the class of what they wrap.
    for link in reversed(chain):
        cause = _cause_of(link)
        if cause is not None:
            return ConnectFailed(origin_of(url), cause, _words(link))
    return ConnectFailed(origin_of(url), ConnectCause.OTHER, _words(chain[-1]))


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield *exc* and all exceptions it was made from, each once, outermost first."""
    seen: set[int] = set()
    queue: list[object] = [exc]
    while queue:
        link = queue.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        queue += [*getattr(link, "exceptions", ()), *link.args]
        queue += [getattr(link, name, None) for name in ("os_error", "certificate_error")]
        queue += [link.__cause__, link.__context__]


def _cause_of(exc: BaseException) -> ConnectCause | None:
    match exc:
        case ssl.SSLCertVerificationError():
            return ConnectCause.UNTRUSTED_CERTIFICATE
        case ssl.SSLError():
            return _tls_cause(exc)
        case socket.gaierror():
            return ConnectCause.UNKNOWN_HOST
        case ConnectionRefusedError():
            return ConnectCause.REFUSED
        case OSError(errno=errno.ECONNREFUSED):
            return ConnectCause.REFUSED
        case OSError(errno=number) if number in _UNREACHABLE:
            return ConnectCause.UNREACHABLE
        case _:
            return None


def _tls_cause(exc: ssl.SSLError) -> ConnectCause:
    words = f"{exc.reason} {exc}".upper()
    # OpenSSL's names for a response that is no TLS record; they differ by version.
    if any(
        mark in words for mark in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
    ):
        return ConnectCause.NOT_TLS
    if "ALERT" in words and ("CERTIFICATE" in words or "UNKNOWN_CA" in words):
        return ConnectCause.CLIENT_CERTIFICATE
    return ConnectCause.TLS


def _words(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return str(getattr(exc, "verify_message", exc))
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return str(exc) or type(exc).__name__
