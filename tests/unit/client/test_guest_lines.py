"""Response times on real sockets: fewer requests where they wait in a line, and as many as ever where they do not."""

from __future__ import annotations

import http.client
import statistics
import threading
from typing import Final

import pytest
from tests.support.queueing_registry import QueueingRegistry

from ollama_push.client._guest import Guest
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse

pytestmark = pytest.mark.slow

_THREADS: Final = 24


def _ask(guest: Guest, registry: QueueingRegistry, requests: int) -> None:
    """Send so many requests of a push in a thread, each when it is its turn: next to no work beside them."""
    visit, request = guest.visit(), HttpRequest("HEAD", f"http://{registry.host}/v2/team/a/manifests/v1")
    connection = http.client.HTTPConnection(registry.host)
    for _ in range(requests):
        called = threading.Event()
        turn = visit.turn(request, called.set)
        while (seconds := turn.begin()) is not None:
            called.wait(seconds)
            called.clear()
        connection.request("HEAD", "/v2/team/a/manifests/v1")
        response = connection.getresponse()
        response.read()
        turn.end(BufferedResponse(response.status, {}, b""))
    connection.close()


def _visited(registry: QueueingRegistry, requests: int) -> list[int]:
    """Send so many requests in each thread; return how many were at the registry, while all threads asked."""
    guest = Guest()
    _ask(guest, registry, 3)
    threads = [threading.Thread(target=_ask, args=(guest, registry, requests)) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return registry.beside[3:-_THREADS]


def test_a_line_is_kept_short_and_the_registry_busy() -> None:
    # So slow that a busy machine, which is slow to ask and to look, changes little.
    with QueueingRegistry(places=4, seconds=0.2) as registry:
        beside = _visited(registry, requests=9)
    late = beside[len(beside) // 2 :]
    assert max(beside) > _THREADS * 0.6, "they began all at once"
    assert statistics.median(late) <= 12, "about 2.5 times as many as it works at"
    assert sum(each < 4 for each in late) < 0.2 * len(late), "it has always something to do"


def test_a_slow_registry_without_a_line_is_asked_as_much_as_ever() -> None:
    with QueueingRegistry(places=1000, seconds=0.5) as registry:
        beside = _visited(registry, requests=8)
    assert statistics.median(beside[len(beside) // 2 :]) >= _THREADS * 0.6
