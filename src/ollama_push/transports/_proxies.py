"""Which proxy stands between us and a URL; the only place that reads the proxy variables."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass  # noqa: TID251 - the platform's own rules, no request is made

from ollama_push.core.hosts import is_loopback

__all__ = ["proxy_and_login", "proxy_for"]


def proxy_for(url: str) -> str | None:
    """Return the proxy URL for *url* from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

    Loopback never goes through a proxy: a global one that intercepts it is a well-known trap.
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
    return proxy if "://" in proxy else f"http://{proxy}"


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
