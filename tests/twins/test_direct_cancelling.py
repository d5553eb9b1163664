"""What leaving a direct push asks of a sync transport; tasks are cancelled instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.direct_push import PATIENCE, Direct, settings, stored

from ollama_push import RegistryClient
from ollama_push.core.errors import ConnectionLost
from ollama_push.core.ports import HttpRequest, Response


@attrs.frozen
class Late:
    """An answer that came just before its request was cancelled."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def chunks(self) -> Iterator[bytes]:
        yield from ()


# What follows is asked for at once.
LOGIN: Final = Late(401, {"www-authenticate": 'Bearer realm="http://silent:5000/token",service="silent"'})


class Silent:
    """A transport whose peer says nothing until its request is cancelled.

    Args:
        deaf_times: How often it is told to cancel a request before it does.
        answer: What its peer then says after all.

    Attributes:
        opened: The requests it was asked for.
        cancelled: Those it was told to cancel, as often as it was told.
        reached: Set when a request waits.
    """

    def __init__(self, deaf_times: int = 0, answer: Response | None = None) -> None:
        self.opened: list[HttpRequest] = []
        self.cancelled: list[HttpRequest] = []
        self.reached = threading.Event()
        self._left = threading.Semaphore(0)
        self._deaf_times = deaf_times
        self._answer = answer

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[Response]:
        self.opened.append(request)
        self.reached.set()
        assert self._left.acquire(timeout=PATIENCE)
        if self._answer is None:
            raise ConnectionLost("http://silent", "cancelled")
        yield self._answer

    def cancel(self, request: HttpRequest, /) -> None:
        self.cancelled.append(request)
        if len(self.cancelled) > self._deaf_times:
            self._left.release()

    def close(self) -> None:
        pass


def leave(transport: Silent, home: Path) -> None:
    """Leave a push whose first request waits."""
    stored(home)
    asked = Direct(host="silent:5000", home=home)
    with RegistryClient(transport=transport, **settings(asked)) as client:
        with client.stream(asked.name, source=asked.source) as events:
            next(events)
            assert transport.reached.wait(PATIENCE)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("ollama-push")]


@pytest.mark.parametrize("answer", [None, LOGIN], ids=["lost", "login"])
def test_the_request_that_waits_is_cancelled_and_none_begins_after_it(tmp_path: Path, answer: Late | None) -> None:
    transport = Silent(answer=answer)
    leave(transport, tmp_path)
    assert len(transport.opened) == 1
    assert all(one is transport.opened[0] for one in transport.cancelled)


def test_a_request_that_the_transport_did_not_know_yet_is_cancelled_later(tmp_path: Path) -> None:
    transport = Silent(deaf_times=2)
    leave(transport, tmp_path)
    assert len(transport.opened) == 1
    assert len(transport.cancelled) >= 3
