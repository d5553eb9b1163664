"""Reads from the exception of a library why a peer was not reached. For the adapters here and for those of users."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.hosts import origin_of

__all__ = ["ProxyFailed", "connect_failed", "refused_certificate", "unreached_proxy"]

# OpenSSL x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH.
_CERTIFICATES = {
    9: ConnectCause.EXPIRED_CERTIFICATE,
    10: ConnectCause.EXPIRED_CERTIFICATE,
    62: ConnectCause.CERTIFICATE_OF_ANOTHER_HOST,
    64: ConnectCause.CERTIFICATE_OF_ANOTHER_HOST,
}

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ETIMEDOUT, errno.EADDRNOTAVAIL})


class ProxyFailed(OSError):
    """A proxy could not be used, whatever there is behind it."""


def connect_failed(url: str, exc: BaseException) -> ConnectFailed:
    """Return the error for a request to *url* that did not reach its peer because of *exc*.

    The cause is read from the chain of causes, contexts and exception arguments of *exc*, so it does
    not matter how a library wraps the error of the operating system.
    """
    chain = list(_chain(exc))
    for link in chain:
        if isinstance(link, ProxyFailed):
            return ConnectFailed(origin_of(url), ConnectCause.PROXY, _words(link))
    # Innermost first: libraries wrap exceptions, and some wrappers inherit from the class of what they wrap.
    for link in reversed(chain):
        cause = _cause_of(link)
        if cause is not None:
            return ConnectFailed(origin_of(url), cause, _words(link))
    return ConnectFailed(origin_of(url), ConnectCause.OTHER, _words(chain[-1]))


def unreached_proxy(host: str, port: int | None, exc: BaseException) -> str:
    """Return in words that *exc* kept a connection to the proxy at *host* and *port* from being made."""
    reasons = [link for link in _chain(exc) if isinstance(link, OSError) and link.strerror]
    address = f"[{host}]" if ":" in host else host
    return f"{address}:{port}: {_words(reasons[-1] if reasons else exc)}"


def refused_certificate(url: str, exc: BaseException) -> ConnectFailed | None:
    """Return the error for a request to *url* whose peer did not take our certificate, or misses one.

    With TLS 1.3 it says so after the handshake (RFC 8446, 4.4.2.4), as late as in place of the response.
    """
    for link in _chain(exc):
        if isinstance(link, ssl.SSLError) and _cause_of(link) is ConnectCause.CLIENT_CERTIFICATE:
            return ConnectFailed(origin_of(url), ConnectCause.CLIENT_CERTIFICATE, _words(link))
    return None


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
            return _CERTIFICATES.get(getattr(exc, "verify_code", 0), ConnectCause.UNTRUSTED_CERTIFICATE)
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
    # One that a library made, and not the interpreter, has no reason.
    words = f"{getattr(exc, 'reason', '')} {exc}".upper()
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
        # asyncio's own text, with the address, stands for what the system says (CPython 3.11 "sock_connect").
        if exc.errno is not None and exc.strerror.startswith("Connect call failed"):
            return os.strerror(exc.errno).lower()
        return exc.strerror.lower()
    return str(exc) or type(exc).__name__
