"""The log of the registry: one record a request, without any secret."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Final

import attrs
from aiohttp import web

__all__ = ["Entry", "Log", "Seen"]

# The signature in a redirect gives access to its blob, so it is a secret.
_SIGNATURE: Final = re.compile(r"(?<=[?&]sig=)[^&]*")


@attrs.frozen
class Seen:
    """One request.

    Attributes:
        method: Upper case.
        path: Path and query; signatures are masked.
        status: Status of the response; ``None`` before there is one, and when the connection was cut instead.
        body_bytes: How much of the body was read.
        had_authorization: Whether it carried ``Authorization``.
        scheme: First word of ``Authorization``, lower case; empty without one, and for Ollama's ``key:signature``.
        content_range: As sent; empty without one.
    """

    method: str
    path: str
    status: int | None = None
    body_bytes: int = 0
    had_authorization: bool = False
    scheme: str = ""
    content_range: str = ""


@attrs.define
class Entry:
    """The record of a request that is in progress; *was_cut* when no response is sent."""

    seen: Seen
    was_cut: bool = False

    def answered(self, status: int) -> None:
        """Note the status of the response, unless the connection was cut."""
        if not self.was_cut:
            self.seen = attrs.evolve(self.seen, status=status)

    def received(self, count: int) -> None:
        """Note *count* further bytes of the body."""
        self.seen = attrs.evolve(self.seen, body_bytes=self.seen.body_bytes + count)


class Log:
    """All records in order of arrival. Written by the server's thread, read by any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards what follows
        self._entries: list[Entry] = []
        self.received_bytes: int = 0  # of the bodies of blobs

    def took(self, count: int) -> None:
        """Note *count* further bytes of a blob."""
        with self._changed:
            self.received_bytes += count
            self._changed.notify_all()

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until *holds* is true; it is called whenever a request or bytes of a blob arrived."""
        with self._changed:
            return self._changed.wait_for(holds, seconds)

    def arrived(self, request: web.BaseRequest) -> Entry:
        """Start the record of *request*."""
        authorization = request.headers.get("Authorization", "")
        scheme, separator, _secret = authorization.partition(" ")
        entry = Entry(
            Seen(
                request.method,
                _SIGNATURE.sub("***", request.path_qs),
                had_authorization=bool(authorization),
                scheme=scheme.lower() if separator else "",
                content_range=request.headers.get("Content-Range", ""),
            )
        )
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()
        return entry

    def snapshot(self) -> list[Seen]:
        """Return the records so far."""
        with self._changed:
            return [entry.seen for entry in self._entries]
