"""Decides which requests are served: the Origin and Host checks of a real server, and the gateway's token.

Source: ollama ``server/routes.go`` (``allowedHostsMiddleware``, ``GenerateRoutes``) and ``envconfig/config.go``
(``AllowedOrigins``) at fb3076099; gin-contrib/cors.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ollama_push.gateway.responses import json_response
from ollama_push.gateway.settings import GatewaySettings

__all__ = ["ACCESS_LOGGER", "AccessControl"]

ACCESS_LOGGER: Final = logging.getLogger("ollama_push.gateway.access")
"""Logs each request, and why one was refused."""

_OWN_ORIGINS: Final = (
    *(
        f"{scheme}://{host}{port}"
        for host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - compared, not bound
        for scheme in ("http", "https")
        for port in ("", ":*")
    ),
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)
# Go's IsPrivate; Python's is_private includes more networks.
_PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_OWN_SUFFIXES: Final = (".localhost", ".local", ".internal")
_PREFLIGHT: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": "GET,POST,HEAD,OPTIONS",
    "Access-Control-Allow-Headers": "Authorization,Content-Type,User-Agent,Accept,X-Requested-With",
    "Access-Control-Max-Age": "43200",
}
_WITHOUT_TOKEN: Final = frozenset({"/", "/healthz", "/direct/{name}/blobs/{digest}"})
"""Routes that tell nothing but that the gateway runs: probes carry no secrets; and the one whose address is signed."""
_FOR_BROWSERS: Final = frozenset({"/ui", "/ui/events"})
_FOR_REGISTRY_CLIENTS: Final = "/v2/"


class AccessControl:
    """Checks every request before it is handled.

    Args:
        settings: As for the gateway.
        resources: All that the gateway serves, before it is mounted anywhere: later their paths have a prefix. A
            resource that is added afterwards needs the token.
    """

    def __init__(self, settings: GatewaySettings, resources: Iterable[web.AbstractResource]) -> None:
        self._settings = settings
        paths = {resource: resource.canonical for resource in resources}
        self._without_token = frozenset(each for each, path in paths.items() if path in _WITHOUT_TOKEN)
        self._takes_password = frozenset(
            each for each, path in paths.items() if path in _FOR_BROWSERS or path.startswith(_FOR_REGISTRY_CLIENTS)
        )
        self._origins = tuple(origin.lower() for origin in (*settings.origins, *_OWN_ORIGINS))
        public = urlsplit(f"//{(settings.public_host or '').rpartition('//')[2]}").hostname or ""
        self._own_names = frozenset({"", "localhost", socket.gethostname().lower(), public})

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the response to a request that is refused; ``None`` for one that is to be handled."""
        origin = request.headers.get("Origin", "")
        foreign = bool(origin) and not _is_own(origin, request.headers.get("Host", ""))
        if foreign and not _matches(origin, self._origins):
            ACCESS_LOGGER.info("refused: pages of %r are not listed in OLLAMA_ORIGINS", origin)
            return web.Response(status=403)
        if foreign and request.method == "OPTIONS":
            return web.Response(status=204, headers=_PREFLIGHT)
        if self._settings.loopback and not self._is_known_host(request.headers.get("Host", "")):
            ACCESS_LOGGER.info("refused: %r in Host is no name of this machine", request.headers.get("Host", ""))
            return web.Response(status=403)
        if request.method == "OPTIONS" and self._settings.loopback:
            return web.Response(status=204)
        resource = request.match_info.route.resource
        if self._settings.token is None or resource in self._without_token:
            return None
        # On the status page a browser asks for the token: any name, the token as the password. From then on it sends
        # that by itself, also with requests of other pages: so Basic is accepted only where nothing can be changed.
        # Clients of registries know Basic alone.
        scheme = "Basic" if resource in self._takes_password else "Bearer"
        if _has_token(request.headers.get("Authorization", ""), self._settings.token, basic=scheme == "Basic"):
            return None
        challenge = {"WWW-Authenticate": f'{scheme} realm="ollama-push"'}
        return json_response(401, {"error": "unauthorized: this gateway wants its token"}, headers=challenge)

    def cors_headers(self, request: web.BaseRequest) -> Mapping[str, str]:
        """Return the headers that let a page of an allowed origin read the response."""
        origin = request.headers.get("Origin", "")
        if not origin or _is_own(origin, request.headers.get("Host", "")) or not _matches(origin, self._origins):
            return {}
        if "*" in self._origins:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

    def _is_known_host(self, header: str) -> bool:
        host = _without_port(header).lower()
        if host in self._own_names or host.endswith(_OWN_SUFFIXES):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        own = address.is_loopback or address.is_unspecified
        return own or any(address in network for network in _PRIVATE)


def _is_own(origin: str, host: str) -> bool:
    """Return whether a page comes from the gateway itself."""
    return origin in (f"http://{host}", f"https://{host}")


def _matches(origin: str, allowed: Iterable[str]) -> bool:
    for pattern in allowed:
        prefix, star, suffix = pattern.partition("*")
        if origin == pattern or (star and origin.startswith(prefix) and origin[len(prefix) :].endswith(suffix)):
            return True
    return False


def _without_port(host: str) -> str:
    """Return the host of a ``Host`` header without its port, as Go's ``net.SplitHostPort``; unchanged without one."""
    if host.startswith("["):
        bare, bracket, _port = host[1:].partition("]")
        return bare if bracket else host
    name, colon, _port = host.rpartition(":")
    return name if colon and ":" not in name else host


def _has_token(authorization: str, token: str, *, basic: bool) -> bool:
    scheme, _, value = authorization.partition(" ")
    given = value.strip()
    if basic and scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
