"""What a reader of the status page is sent, second by second: no more than it needs, and nothing twice."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs
from tests.support.clocks import Clock
from tests.support.status_page import BLOB, a_push_under_way, begin

from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway.pull_history import PullCounts
from ollama_push.gateway.push_history import PushHistory, PushRecord
from ollama_push.gateway.status_page.feed import KEEP_ALIVE, StatusFeed, pulls_text

KEEP_ALIVE_SECONDS: Final = 15.0


@attrs.define
class Reader:
    """A reader of a history, and the time that goes by for both."""

    keep_alive: float = KEEP_ALIVE_SECONDS
    kept: int = 100
    clock: Clock = attrs.field(factory=Clock)
    history: PushHistory = attrs.field(init=False)
    feed: StatusFeed = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.history = PushHistory(kept=self.kept, clock=self.clock, now=lambda: 1_700_000_000.0)
        self.feed = StatusFeed(self.history, self.clock, self.keep_alive)

    def told(self, *news: PushRecord, at: float | None = None) -> tuple[str, list[tuple[int, str]]] | bytes | None:
        """Return what is sent *at* so many seconds from the beginning: kind and pushes, or a comment, or nothing."""
        message = self.message(*news, at=at)
        if message is None or message == KEEP_ALIVE:
            return message
        kind, data = taken_apart(message)
        return kind, [(push["id"], push["place"]) for push in data["pushes"]]

    def message(self, *news: PushRecord, at: float | None = None) -> bytes | None:
        if at is not None:
            self.clock.now = 100.0 + at
        return self.feed.next_message(news)


def taken_apart(message: bytes) -> tuple[str, dict[str, Any]]:
    kind, data, *end = message.decode().split("\n")
    assert end == ["", ""]
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_the_first_message_is_all_of_it_even_when_there_is_nothing() -> None:
    reader = Reader()
    message = reader.message()
    assert message is not None
    assert taken_apart(message) == (
        "whole",
        {
            "title": "ollama-push gateway",
            "counts": "0 running, 0 succeeded, 0 failed, 0 cancelled since the start",
            "pulls": "",
            "pushes": [],
        },
    )
    assert reader.told() is None


def test_the_first_message_tells_what_the_news_leave_out() -> None:
    reader = Reader()
    over, under_way, news = begin(reader.history), begin(reader.history), begin(reader.history)
    over.finish(PushOutcome.SUCCEEDED)
    assert reader.told(news.record()) == ("whole", [(3, "now"), (2, "now"), (1, "lately")])
    assert reader.told(under_way.record(), news.record()) is None


def test_a_push_without_news_is_shown_again_once_a_heartbeat() -> None:
    reader = Reader()
    assert reader.feed.heartbeat == 2.0
    a_push_under_way(reader.history)
    assert reader.told() == ("whole", [(1, "now")])
    # What it shows changes every second: how long it has run.
    assert [reader.told(at=second) for second in (1.0, 1.9)] == [None, None]
    assert reader.told(at=2.0) == ("changed", [(1, "now")])
    assert [reader.told(at=second) for second in (3.0, 3.9)] == [None, None]
    assert reader.told(at=4.0) == ("changed", [(1, "now")])
    # One that comes late is not made up for.
    assert reader.told(at=9.0) == ("changed", [(1, "now")])
    assert [reader.told(at=second) for second in (10.0, 10.9)] == [None, None]


def test_heartbeats_are_no_rarer_than_signs_of_life() -> None:
    reader = Reader(keep_alive=0.5)
    assert reader.feed.heartbeat == 0.5
    assert reader.told() == ("whole", [])
    assert [reader.told(at=second) for second in (0.4, 0.5, 0.9, 1.0)] == [None, KEEP_ALIVE, None, KEEP_ALIVE]


def test_an_ended_push_is_not_shown_again() -> None:
    reader = Reader()
    push = a_push_under_way(reader.history)
    reader.told()
    push.finish(PushOutcome.FAILED, "no space left")
    assert reader.told(push.record(), at=1.0) == ("changed", [(1, "lately")])
    assert reader.told(at=2.0) is None


def test_no_push_is_in_a_message_twice() -> None:
    reader = Reader()
    push, other = a_push_under_way(reader.history), begin(reader.history)
    reader.told()
    reader.clock.now += 2.0
    news = push.record()
    # Since that was read it went on.
    push.receive_event(LayerProgress(BLOB, 1_000_000_000, 7))
    assert news != push.record()
    assert reader.told(news) == ("changed", [(1, "now"), (2, "now")])
    assert other.outcome is None


def test_a_silent_history_gives_one_comment_a_period() -> None:
    reader = Reader()
    assert reader.told() == ("whole", [])
    assert [reader.told(at=second) for second in (14.9, 15.0, 15.1, 29.9)] == [None, KEEP_ALIVE, None, None]
    assert reader.told(at=30.0) == KEEP_ALIVE


def test_a_reader_that_just_got_a_message_gets_no_comment() -> None:
    reader = Reader()
    reader.told()
    push = begin(reader.history)
    push.finish(PushOutcome.CANCELLED)
    assert reader.told(push.record(), at=10.0) == ("changed", [(1, "lately")])
    assert [reader.told(at=second) for second in (15.0, 24.9)] == [None, None]
    assert reader.told(at=25.0) == KEEP_ALIVE


def test_nothing_is_kept_of_a_push_that_ended() -> None:
    """What is kept of it would be missed once the history has forgotten it: everything would be sent for nothing."""
    reader = Reader(kept=1)
    first = begin(reader.history)
    reader.told()
    first.finish(PushOutcome.SUCCEEDED)
    assert reader.told(first.record()) == ("changed", [(1, "lately")])
    second = begin(reader.history)
    assert reader.told(second.record()) == ("changed", [(2, "now")])
    second.finish(PushOutcome.SUCCEEDED)
    assert [record.id for record in reader.history.records()] == [2]
    assert reader.told(second.record()) == ("changed", [(2, "lately")])


def test_after_changes_were_missed_everything_is_told_once_and_then_what_changes() -> None:
    reader = Reader(kept=1)
    missed, seen = begin(reader.history), begin(reader.history)
    assert reader.told() == ("whole", [(2, "now"), (1, "now")])
    missed.finish(PushOutcome.CANCELLED)
    seen.finish(PushOutcome.CANCELLED)
    third = begin(reader.history)
    assert reader.told(third.record(), seen.record()) == ("whole", [(3, "now"), (2, "lately")])
    assert reader.told(third.record()) is None
    third.finish(PushOutcome.SUCCEEDED)
    assert reader.told(third.record()) == ("changed", [(3, "lately")])


def test_the_head_of_the_page_is_told_with_every_change() -> None:
    reader = Reader()
    reader.told()
    push = begin(reader.history)
    message = reader.message(push.record())
    assert message is not None
    _, data = taken_apart(message)
    assert data["title"] == "(1) ollama-push gateway"
    assert data["counts"] == "1 running, 0 succeeded, 0 failed, 0 cancelled since the start"
    push.finish(PushOutcome.FAILED, "no")
    message = reader.message(push.record())
    assert message is not None
    _, data = taken_apart(message)
    assert data["title"] == "ollama-push gateway"
    assert data["counts"] == "0 running, 0 succeeded, 1 failed, 0 cancelled since the start"


def test_pulls_are_told_when_they_change() -> None:
    told = [""]
    history = PushHistory()
    feed = StatusFeed(history, Clock(), KEEP_ALIVE_SECONDS, lambda: told[-1])
    assert feed.next_message(()) is not None
    assert feed.next_message(()) is None
    told.append(pulls_text(PullCounts(running=1, manifests=2, blobs=3, sent_bytes=4_000_000, cached_bytes=1_000_000)))
    message = feed.next_message(())
    assert message is not None
    kind, data = taken_apart(message)
    assert (kind, data["pushes"]) == ("changed", [])
    assert data["pulls"] == (
        "Pulls: 1 running, 2 manifests and 3 blobs or ranges sent, 4.0 MB, 1.0 MB of them from the cache"
    )
    assert feed.next_message(()) is None


def test_without_pulls_nothing_is_said_of_them() -> None:
    assert pulls_text(PullCounts()) == ""
    assert pulls_text(PullCounts(failed=2)).endswith("0 B, 2 failed")
