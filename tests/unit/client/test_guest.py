"""What the pushes of a client know together: the rate, how much a registry bears, and whether it is ill."""

from __future__ import annotations

import pickle

import pytest
from tests.support.clocks import Clock

from ollama_push.client._guest import QUIET_SECONDS, Guest
from ollama_push.core.errors import ConnectCause, ConnectFailed, ConnectionLost
from ollama_push.core.observations import PauseReason
from ollama_push.core.responses import BufferedResponse

_URL = "https://registry.example.com/v2/a/b/blobs/uploads/"
_OTHER = "https://other.example.com/v2/"


def _response(status: int) -> BufferedResponse:
    return BufferedResponse(status, {}, b"")


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_has_too_many_gets_half_as_many(status: int) -> None:
    guest = Guest(clock=Clock())
    assert [guest.begin(_URL) for _ in range(4)] == [None] * 4
    guest.end(_URL, _response(status))
    guest.end(_URL, _response(200))
    waiting = guest.begin(_URL)
    assert waiting is not None
    assert waiting[0] is PauseReason.CONCURRENCY
    assert guest.begin(_OTHER) is None, "another registry is another one"
    guest.end(_URL, _response(200))
    assert guest.begin(_URL) is None


def test_connections_that_are_closed_in_between_are_no_illness() -> None:
    guest = Guest()
    for _ in range(20):
        assert guest.begin(_URL) is None
        guest.end(_URL, ConnectionLost(_URL, unread=True))


@pytest.mark.parametrize("failure", [ConnectionLost(_URL), _response(500), _response(502)])
def test_a_registry_that_keeps_failing_is_left_alone(failure: object) -> None:
    clock = Clock()
    guest = Guest(clock=clock, random=lambda: 1.0)
    for _ in range(5):
        assert guest.begin(_URL) is None
        guest.end(_URL, failure)
    waiting = guest.begin(_URL)
    assert waiting is not None
    assert waiting[0] is PauseReason.BREAKER
    assert waiting[1] == pytest.approx(1.0)
    clock.now += 1.0
    assert guest.begin(_URL) is None
    assert guest.begin(_URL) is not None, "one at a time"
    guest.end(_URL, _response(404))
    assert guest.begin(_URL) is None


@pytest.mark.parametrize(
    "result", [_response(404), _response(429), _response(507), ConnectFailed(_URL, ConnectCause.REFUSED), None]
)
def test_what_is_no_illness_opens_nothing(result: object) -> None:
    guest = Guest(clock=Clock())
    for _ in range(20):
        assert guest.begin(_URL) is None
        guest.end(_URL, result)


def test_a_push_that_has_waited_long_enough_gets_its_verdict() -> None:
    """Otherwise a registry that fails for ever would hold every request of it for a minute."""
    guest = Guest(clock=Clock(), random=lambda: 1.0)
    for _ in range(5):
        assert guest.begin(_URL) is None
        guest.end(_URL, _response(502))
    assert guest.begin(_URL, quiet=QUIET_SECONDS - 0.1) is not None
    assert guest.begin(_URL, quiet=QUIET_SECONDS) is None


def test_a_registry_that_only_fails_at_questions_is_not_ill() -> None:
    guest = Guest(clock=Clock(), random=lambda: 1.0)
    for _ in range(20):
        assert guest.begin(_URL) is None
        guest.end(_URL, _response(500), "HEAD")
    for _ in range(5):
        assert guest.begin(_URL) is None
        guest.end(_URL, _response(502), "HEAD")
    assert guest.begin(_URL) is not None


def test_a_request_that_was_given_up_leaves_its_turn() -> None:
    clock = Clock()
    guest = Guest(clock=clock, random=lambda: 1.0)
    for _ in range(5):
        guest.begin(_URL)
        guest.end(_URL, _response(500))
    clock.now += 1.0
    assert guest.begin(_URL) is None
    guest.end(_URL, None)
    assert guest.begin(_URL) is None


def test_a_copy_in_another_process_has_the_same_rate() -> None:
    assert pickle.loads(pickle.dumps(Guest(1e6))).piece_bytes == 100_000
    assert pickle.loads(pickle.dumps(Guest())).piece_bytes is None
    assert Guest().take(10**9) == 0.0
