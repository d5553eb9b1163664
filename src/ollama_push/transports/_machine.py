"""What both adapters take from the machine they run on: the proxies of the environment, and certificates.

The only place that reads the proxy variables.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from os import PathLike, fspath
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass  # noqa: TID251 - the platform's own rules, no request is made

import attrs

from ollama_push.core.errors import ConnectCause, ConnectFailed, InvalidSetting
from ollama_push.core.hosts import is_loopback, origin_of

__all__ = ["ClientCertificate", "Proxy", "build_tls_context", "proxy_for"]


@attrs.frozen
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL without user and password, as libraries quote it in their errors.
        login: The value of ``Proxy-Authorization``, if it wants one.
    """

    url: str
    login: str | None = attrs.field(repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers for the proxy itself."""
        return {} if self.login is None else {"Proxy-Authorization": self.login}


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for *url* from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

    Loopback never goes through a proxy: a proxy for everything would look for the server on its own machine.

    Raises:
        ConnectFailed: The variable holds no URL of a proxy; none of it is quoted, as it may hold a password.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or is_loopback(host):
        return None
    # The port as it is written, which parts.port would refuse when out of range: that error is the connection's.
    _, colon, port = parts.netloc.rpartition("@")[2].removeprefix(f"[{host}]").partition(":")
    if proxy_bypass(f"{host}{colon}{port}"):
        return None
    found = _parsed(proxy if "://" in proxy else f"http://{proxy}")
    if found is None:
        detail = "its URL cannot be used; special characters in its password must be written as in %2F"
        raise ConnectFailed(origin_of(url), ConnectCause.PROXY, detail)
    return found


def _parsed(url: str) -> Proxy | None:
    """Return the proxy at *url*; ``None`` when that is not a host and a port.

    With a slash in its password, it would name another host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        return None
    if not usable:
        return None
    userinfo, at, address = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    # RFC 7617, 2: user and password are joined by a colon, which is there even when the password is empty.
    login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return Proxy(f"{parts.scheme}://{address}", f"Basic {login}" if at else None)


ClientCertificate = str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]]
"""A PEM file with certificate and key, or the two files."""


def build_tls_context(
    ca_file: str | PathLike[str] | None, client_cert: ClientCertificate | None
) -> ssl.SSLContext | None:
    """Return a verifying context that trusts the system's CAs and those in *ca_file* (PEM).

    With neither file it is ``None``: libraries have a default, and to load the system's CAs takes tens of milliseconds.

    Raises:
        InvalidSetting: A file cannot be read or holds no usable PEM.
    """
    if ca_file is None and client_cert is None:
        return None
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=fspath(ca_file))
        except (OSError, ssl.SSLError) as exc:
            raise InvalidSetting("ca_file", fspath(ca_file), f"no readable PEM certificates: {_words(exc)}") from exc
    if client_cert is not None:
        cert, key = client_cert if isinstance(client_cert, tuple) else (client_cert, None)
        try:
            # An empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(fspath(cert), None if key is None else fspath(key), password=str)
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise InvalidSetting("client_cert", fspath(cert), f"no usable certificate and key: {_words(exc)}") from exc
    return context


def _words(exc: Exception) -> str:
    return (getattr(exc, "strerror", None) or str(exc)).lower()
