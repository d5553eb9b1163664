"""The messages for one reader of the status page: only what it does not show yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from ollama_push.core.units import bytes_text
from ollama_push.gateway.pull_history import PullCounts
from ollama_push.gateway.push_history import PushHistory, PushRecord
from ollama_push.gateway.status_page.rendering import push_html

__all__ = ["KEEP_ALIVE", "StatusFeed", "counts_text", "pulls_text", "title_text"]

KEEP_ALIVE: Final = b": still here\n\n"
"""A comment, which readers of server-sent events skip (HTML standard, 9.2.6)."""

_STANDSTILL_SECONDS: Final = 2.0
"""How often a push without events is rendered again: its speed falls and its time left grows all the same."""


class StatusFeed:
    """Makes messages from records. Keeps one rendered item for each push that runs.

    Args:
        history: Where the records come from.
        clock: Monotonic seconds.
        keep_alive: Seconds of silence after which a comment is sent.
        pulls: Says what was pulled; empty when nothing was.

    Attributes:
        heartbeat: Seconds after which ``next_message`` is to be called although nothing changed.
    """

    def __init__(
        self,
        history: PushHistory,
        clock: Callable[[], float],
        keep_alive: float,
        pulls: Callable[[], str] = lambda: "",
    ) -> None:
        self.heartbeat: float = min(_STANDSTILL_SECONDS, keep_alive)
        self._history = history
        self._clock = clock
        self._keep_alive = keep_alive
        self._pulls = pulls
        self._told_pulls = ""
        self._shown: dict[int, str] | None = None
        self._sent_at = self._refreshed_at = clock()

    def next_message(self, records: tuple[PushRecord, ...]) -> bytes | None:
        """Return the message to send now that *records* have changed; ``None`` when there is none.

        The first message, and one after changes were missed, is ``whole`` and replaces everything; the others are
        ``changed``. The data of both are JSON: ``title``, ``counts``, ``pulls``, and ``pushes``, the newest first, each
        with ``id``, ``place`` (``now`` or ``lately``) and ``html``.
        """
        now = self._clock()
        if self._shown is None or self._missed_some(records):
            self._shown, kind, records = {}, "whole", self._history.records()
        else:
            kind = "changed"
        if now - self._refreshed_at >= self.heartbeat:
            self._refreshed_at = now
            changed = {record.id for record in records}
            records += tuple(
                record for record in self._history.records() if record.is_running and record.id not in changed
            )
        items, pulls = self._items(records, self._shown), self._pulls()
        if items or kind == "whole" or pulls != self._told_pulls:
            self._sent_at, self._told_pulls = now, pulls
            return _message(kind, self._history, items, pulls)
        if now - self._sent_at >= self._keep_alive:
            self._sent_at = now
            return KEEP_ALIVE
        return None

    def _missed_some(self, records: tuple[PushRecord, ...]) -> bool:
        """Return whether a push that is shown as running ended so long ago that the history has forgotten it."""
        if not self._shown or all(record.is_running for record in records):
            return False
        return not self._shown.keys() <= {record.id for record in self._history.records()}

    @staticmethod
    def _items(records: tuple[PushRecord, ...], shown: dict[int, str]) -> list[dict[str, object]]:
        items = list[dict[str, object]]()
        for record in records:
            html = push_html(record)
            if not record.is_running:
                # It does not change any more.
                shown.pop(record.id, None)
            elif shown.get(record.id) == html:
                continue
            else:
                shown[record.id] = html
            items.append({"id": record.id, "place": "now" if record.is_running else "lately", "html": html})
        return items


def title_text(history: PushHistory) -> str:
    """Return the title of the page, which a tab in the background shows, too."""
    running = history.running_everywhere
    return f"({running}) ollama-push gateway" if running else "ollama-push gateway"


def counts_text(history: PushHistory) -> str:
    """Return how many pushes run, and how many of this gateway ended in which way."""
    ended = (f"{count} {outcome.value}" for outcome, count in history.counts.items())
    return ", ".join([f"{history.running_everywhere} running", *ended]) + " since the start"


def pulls_text(counts: PullCounts) -> str:
    """Return what was pulled through this gateway; empty when nothing was."""
    if counts == PullCounts():
        return ""
    sent = f"{counts.manifests} manifests and {counts.blobs} blobs or ranges sent"
    size = bytes_text(counts.sent_bytes)
    cached = f", {bytes_text(counts.cached_bytes)} of them from the cache" if counts.cached_bytes else ""
    failed = f", {counts.failed} failed" if counts.failed else ""
    return f"Pulls: {counts.running} running, {sent}, {size}{cached}{failed}"


def _message(kind: str, history: PushHistory, items: list[dict[str, object]], pulls: str) -> bytes:
    data = {"title": title_text(history), "counts": counts_text(history), "pulls": pulls, "pushes": items}
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
