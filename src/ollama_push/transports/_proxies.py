"""Which proxy stands between us and a URL; the only place that reads the proxy variables."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass  # noqa: TID251 - the platform's own rules, no request is made

from ollama_push.core.hosts import is_loopback

__all__ = ["proxy_for"]


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
