"""Which requests nobody has read, from what is known of their connection."""

from __future__ import annotations

import pytest

from ollama_push.core.errors import ConnectionLost, TransportTimeout
from ollama_push.transports._keeping import SentRequest

MIB = 1 << 20


@pytest.mark.parametrize(
    ("kept", "answered", "body_bytes", "seconds", "unread"),
    [
        (True, False, 0, 0.1, True),
        (True, False, 4 * MIB, 2.0, True),
        (False, False, 0, 0.1, False),
        (True, True, 0, 0.1, False),
        (True, False, 4 * MIB + 1, 0.1, False),
        (True, False, 0, 2.1, False),
    ],
)
def test_only_a_kept_connection_that_dies_soon_and_without_a_word_left_its_request_unread(
    kept: bool,  # noqa: FBT001 - a table's column
    answered: bool,  # noqa: FBT001 - a table's column
    body_bytes: int,
    seconds: float,
    unread: bool,  # noqa: FBT001 - a table's column
) -> None:
    now = [50.0]
    sent = SentRequest(lambda: now[0])
    sent.begin(kept=kept)
    sent.answered, sent.body_bytes = answered, body_bytes
    now[0] += seconds
    lost = ConnectionLost("http://h:1")
    assert sent.judged(lost) is lost
    assert lost.unread is unread


def test_other_errors_stay_as_they_are() -> None:
    sent = SentRequest()
    sent.begin(kept=True)
    late = TransportTimeout("http://h:1", "read", 1.0)
    assert sent.judged(late) is late
