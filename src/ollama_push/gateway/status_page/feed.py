"""What one reader of the status page has been told, and what comes next: only what it does not show yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from ollama_push.gateway.push_history import PushHistory, PushRecord
from ollama_push.gateway.status_page.rendering import push_html

__all__ = ["KEEP_ALIVE", "Watch", "counts_text", "title_text"]

KEEP_ALIVE: Final = b": still here\n\n"
"""A comment, which readers of server-sent events skip (HTML standard, 9.2.6)."""

_STANDSTILL_SECONDS: Final = 2.0
"""Without news of it a push is shown anew so often: its speed falls and its time left grows although nobody says so."""


class Watch:
    """Makes messages of records. Its memory is one rendered item for each push that runs.

    Args:
        book: Whose records they are.
        clock: Monotonic seconds.
        keep_alive: Seconds of silence after which a sign of life is sent.
    """

    def __init__(self, book: PushHistory, clock: Callable[[], float], keep_alive: float) -> None:
        self.heartbeat = min(_STANDSTILL_SECONDS, keep_alive)
        self._book = book
        self._clock = clock
        self._keep_alive = keep_alive
        self._shown: dict[int, str] | None = None
        self._spoke_at = self._refreshed_at = clock()

    def next_message(self, records: tuple[PushRecord, ...]) -> bytes | None:
        """Return what to send now that *records* are news; ``None`` when it is nothing.

        The first message, and one after changes were missed, is ``whole`` and replaces everything; the others are
        ``changed``. The data of both are JSON: ``title``, ``counts``, and ``pushes``, the newest first, each with
        ``id``, ``place`` (``now`` or ``lately``) and ``html``.
        """
        now = self._clock()
        if self._shown is None or self._missed_some(records):
            self._shown, kind, records = {}, "whole", self._book.records()
        else:
            kind = "changed"
        if now - self._refreshed_at >= self.heartbeat:
            self._refreshed_at = now
            told = {record.id for record in records}
            records += tuple(record for record in self._book.records() if _runs(record) and record.id not in told)
        items = self._items(records, self._shown)
        if items or kind == "whole":
            self._spoke_at = now
            return _message(kind, self._book, items)
        if now - self._spoke_at >= self._keep_alive:
            self._spoke_at = now
            return KEEP_ALIVE
        return None

    def _missed_some(self, records: tuple[PushRecord, ...]) -> bool:
        """Say whether a push that is shown as running ended so long ago that the book has forgotten it."""
        if not self._shown or all(_runs(record) for record in records):
            return False
        return not self._shown.keys() <= {record.id for record in self._book.records()}

    @staticmethod
    def _items(records: tuple[PushRecord, ...], shown: dict[int, str]) -> list[dict[str, object]]:
        items = list[dict[str, object]]()
        for record in records:
            html = push_html(record)
            if not _runs(record):
                # It changes no more.
                shown.pop(record.id, None)
            elif shown.get(record.id) == html:
                continue
            else:
                shown[record.id] = html
            items.append({"id": record.id, "place": "now" if _runs(record) else "lately", "html": html})
        return items


def title_text(book: PushHistory) -> str:
    """Return the title of the page, which is also what a tab in the background shows."""
    return f"({book.running}) ollama-push gateway" if book.running else "ollama-push gateway"


def counts_text(book: PushHistory) -> str:
    """Return how many pushes there were."""
    counts = [f"{book.running} running", *(f"{count} {outcome.value}" for outcome, count in book.counts.items())]
    return ", ".join(counts) + " since the start"


def _runs(record: PushRecord) -> bool:
    return record.outcome is None


def _message(kind: str, book: PushHistory, items: list[dict[str, object]]) -> bytes:
    data = {"title": title_text(book), "counts": counts_text(book), "pushes": items}
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
