"""What both adapters take from the machine they run on: the proxies of the environment, and certificates.

The only place that reads the proxy variables.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Container, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from os import PathLike, fspath
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass  # noqa: TID251 - the platform's own rules, no request is made

import attrs

from ollama_push.core.errors import ConnectCause, ConnectFailed, InvalidSetting
from ollama_push.core.hosts import DEFAULT_PORTS, is_loopback, origin_of

__all__ = ["ClientCertificate", "Proxy", "build_tls_context", "proxy_for"]


_RULE: Final = re.compile(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]+))?|[0-9a-f:.]+(?:%.*)?")
"""One rule of ``NO_PROXY``: a name or an address with a port, or a bare IPv6 address."""


_PORTS: Final[Mapping[str, int]] = {**DEFAULT_PORTS, "socks5": 1080, "socks5h": 1080}
"""The port of a proxy whose URL names none; 1080 is from RFC 1928, 3."""


@attrs.frozen
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL without user and password, as libraries quote it in their errors.
        username: Of its login; ``None`` when it wants none.
        password: Of its login.
    """

    url: str
    username: str | None = attrs.field(default=None, repr=False)
    password: str = attrs.field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS 5, and not HTTP."""
        return self.url.startswith("socks")

    @property
    def finds_hosts(self) -> bool:
        """Whether a SOCKS proxy is given names, and not addresses."""
        return self.url.startswith("socks5h:")

    @property
    def host(self) -> str:
        """Its host, an IPv6 address without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers for an HTTP proxy itself."""
        if self.username is None:
            return {}
        # RFC 7617, 2: user and password are joined by a colon, which is there even when the password is empty.
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {login}"}


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
    direct = proxies.get("no")
    if proxy_bypass(f"{host}{colon}{port}") if direct is None else _is_direct(host, port or parts.scheme, direct):
        return None
    found = _parsed(proxy if "://" in proxy else f"http://{proxy}")
    detail = ""
    if found is None:
        detail = "its URL cannot be used; special characters in its password must be written as in %2F"
    elif (scheme := found.url.partition("://")[0]) not in _PORTS:
        detail = f"a proxy is reached by http://, https://, socks5:// or socks5h://, not by {scheme}://"
    if found is None or detail:
        raise ConnectFailed(origin_of(url), ConnectCause.PROXY, detail)
    return found


def _is_direct(host: str, port: str, rules: str) -> bool:
    """Say whether ``NO_PROXY=rules`` covers *host* at *port*, or at the port of a scheme.

    Source: golang.org/x/net/http/httpproxy, "config.go" (networks, ``*.domain``, ports); CURLOPT_NOPROXY(3) (blanks
    between rules, and a domain for itself where it is written with a leading dot).
    """
    host = host.rstrip(".").lower()
    address = _address(host)
    port = str(DEFAULT_PORTS.get(port, port))
    for rule in re.split(r"[,\s]+", rules.lower()):
        if rule == "*":
            return True
        if "/" in rule:
            if address is not None and address in _network(rule):
                return True
            continue
        found = _RULE.fullmatch(rule)
        if found is None or found["port"] not in (None, port):
            continue
        name = found["address"] or found["name"] or rule
        if address is not None and _address(name) == address:
            return True
        # "*.domain" is for what is below it only.
        if host == name.removeprefix(".") or host.endswith(f".{name.removeprefix('*').removeprefix('.')}"):
            return True
    return False


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _network(text: str) -> Container[IPv4Address | IPv6Address]:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return ()


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
    return Proxy(f"{parts.scheme}://{address}", unquote(user) if at else None, unquote(password))


ClientCertificate = str | PathLike[str] | tuple[str | PathLike[str], str | PathLike[str]]
"""A PEM file with certificate and key, or the two files."""


def build_tls_context(
    ca_file: str | PathLike[str] | None, client_cert: ClientCertificate | None
) -> ssl.SSLContext | None:
    """Return a verifying context that trusts the system's CAs and those in *ca_file* (PEM).

    With neither file it is ``None``: libraries have a default, and to load the system's CAs takes tens of milliseconds.
    With the extra ``truststore``, the CAs are those that the operating system manages, unless ``SSL_CERT_FILE`` or
    ``SSL_CERT_DIR`` names others.

    Raises:
        InvalidSetting: A file cannot be read or holds no usable PEM.
    """
    context = _context_of_the_system()
    if context is None and ca_file is None and client_cert is None:
        return None
    context = context or ssl.create_default_context()
    if ca_file is not None:
        # CPython 3.13 began to ask for what RFC 5280 wants of a CA, key identifiers for example. CAs of companies lack
        # them, and this one was chosen by hand.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
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


def _context_of_the_system() -> ssl.SSLContext | None:
    """Return a context that asks the operating system whom to trust; ``None`` without the extra for it."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return None
    try:
        import truststore  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def _words(exc: Exception) -> str:
    return (getattr(exc, "strerror", None) or str(exc)).lower()
