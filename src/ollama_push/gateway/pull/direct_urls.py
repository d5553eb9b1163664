"""The addresses that blobs are redirected to: signed for one blob, for a while, under another name of this host.

A stock ``ollama pull`` takes the first redirect to another host name as the address of the blob, and reads that without
credentials. Source: ollama ``server/download.go`` at fb3076099.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from ollama_push.gateway.pull.paths import PullTarget
from ollama_push.gateway.settings import GatewaySettings

__all__ = ["DIRECT_PATH", "DirectUrls"]

DIRECT_PATH: Final = "/direct/"
_LEAST_SECONDS: Final = 3600
_BYTES_PER_SECOND: Final = 1 << 20
"""A pull asks for the address of a blob once, and reads from there until it has all of it."""
_LOOPBACK: Final = ("localhost", "127.0.0.1")


class DirectUrls:
    """Makes the addresses of a gateway, and knows them again.

    Args:
        settings: Of the gateway: ``public_host``, and whether it is reached from this machine only.
        key: Signs them.
        now: Unix time in seconds.
    """

    def __init__(self, settings: GatewaySettings, key: bytes, now: Callable[[], float]) -> None:
        self._settings = settings
        self._key = key
        self._now = now

    def url(self, target: PullTarget, digest: str, size: int, asked_host: str) -> str | None:
        """Return the address of a blob for a client that reached us as *asked_host*; ``None`` without another name."""
        origin = next(self._origins(asked_host), None)
        if origin is None:
            return None
        expires = str(int(self._now()) + _LEAST_SECONDS + size // _BYTES_PER_SECOND)
        query = urlencode({"expires": expires, "signature": self._signature(target.name, digest, expires)})
        return f"{origin}{DIRECT_PATH}{quote(target.name, safe='/:')}/blobs/{digest}?{query}"

    def allows(self, name: str, digest: str, expires: str, signature: str) -> bool:
        """Return whether *expires* and *signature* are those of an address of this blob that has not expired."""
        expected = self._signature(name, digest, expires)
        fits = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode())
        # Only what fits was made here, and has a number.
        return fits and self._now() < int(expires)

    def _signature(self, name: str, digest: str, expires: str) -> str:
        # No part of it holds a newline: the name and the digest have their grammar.
        message = f"ollama-push direct 1\n{name}\n{digest}\n{expires}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def _origins(self, asked_host: str) -> Iterator[str]:
        asked = urlsplit(f"//{asked_host}")
        try:
            name, port = asked.hostname or "", "" if asked.port is None else f":{asked.port}"
        except ValueError:  # no port
            return
        public = self._settings.public_host
        if public is not None:
            origin = public if "://" in public else f"http://{public}"
            if urlsplit(origin).hostname != name:
                # A name without a port is reached by the port that the client knows.
                own_port = urlsplit(origin).port is not None or "://" in public
                yield origin if own_port else f"{origin}{port}"
        if self._settings.loopback:
            yield from (f"http://{other}{port}" for other in _LOOPBACK if other != name)
