"""Which proxy stands between us and a URL; the only place that reads the proxy variables."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass  # noqa: TID251 - the platform's own rules, no request is made

from ollama_push.core.errors import ConnectCause, ConnectFailed
from ollama_push.core.hosts import is_loopback
from ollama_push.core.redaction import origin_of

__all__ = ["proxy_and_login", "proxy_for"]


def proxy_for(url: str) -> str | None:
    """Return the proxy URL for *url* from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

    Loopback never goes through a proxy: a global one that intercepts it is a well-known trap.

    Raises:
        ConnectFailed: The variable holds no URL of a proxy; none of it is quoted, as it may hold a password.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    # As it stands there: a port out of range is the connection's to report.
    _, colon, port = parts.netloc.rpartition("@")[2].removeprefix(f"[{host}]").partition(":")
    if proxy is None or proxy_bypass(f"{host}{colon}{port}"):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _is_usable(proxy):
        detail = "its URL cannot be used; what is special in its password must be written as in %2F"
        raise ConnectFailed(origin_of(url), ConnectCause.PROXY, detail)
    return proxy


def proxy_and_login(url: str) -> tuple[str | None, dict[str, str]]:
    """Return the proxy for *url* without userinfo, and the header that shows who we are to it.

    Apart, because libraries quote a proxy's URL in their errors.
    """
    proxy = proxy_for(url)
    if proxy is None:
        return None, {}
    parts = urlsplit(proxy)
    userinfo, at, place = parts.netloc.rpartition("@")
    if not at:
        return proxy, {}
    login = base64.b64encode(unquote(userinfo if ":" in userinfo else f"{userinfo}:").encode()).decode()
    return urlunsplit(parts._replace(netloc=place)), {"Proxy-Authorization": f"Basic {login}"}


def _is_usable(proxy: str) -> bool:
    """Say whether *proxy* names a host and a port; with a slash in its password, it would name another host."""
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0 and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        return False
