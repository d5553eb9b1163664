"""Whatever a peer sends ends in success or in one of our verdicts, never in anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.server_recordings import Reading, read_answer
from tests.support.strategies import bodies, damaged_bodies, json_values

from ollama_push.core.errors import OllamaPushError, ProtocolError, PushRejected, ServerError
from ollama_push.core.events import PushSucceeded
from ollama_push.core.facts import RejectionReason
from ollama_push.core.peer_text import readable_excerpt
from ollama_push.core.redaction import redact
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.server.check import Readiness, check_flow
from ollama_push.core.server.error_body import server_error
from ollama_push.core.server.protocol import PushState

pytestmark = pytest.mark.slow

_HEADER_NAMES = ["content-type", "content-encoding", "retry-after", "date", "location", "content-length"]
headers = st.dictionaries(
    st.sampled_from(_HEADER_NAMES),
    st.text(max_size=20)
    | st.sampled_from(["application/json", "text/html", "gzip", "identity", "5", "Wed, 21 Oct 2015"]),
)


def _is_legal(reading: Reading, verdicts: tuple[type[OllamaPushError], ...]) -> bool:
    ended_well = bool(reading.events) and reading.events[-1] == PushSucceeded()
    assert ended_well == (reading.verdict is None) == (reading.state is PushState.SUCCEEDED)
    assert PushSucceeded() not in reading.events[:-1]
    return reading.verdict is None or issubclass(reading.verdict[0], verdicts)


@given(st.binary(max_size=200))
def test_bytes_are_no_push(body: bytes) -> None:
    assert _is_legal(read_answer([body]), (ProtocolError,))


@given(bodies | damaged_bodies())
def test_lines_come_to_a_verdict(body: bytes) -> None:
    assert _is_legal(read_answer([body], max_line_bytes=500), (ProtocolError, PushRejected))


@given(status=st.integers(200, 599), given_headers=headers, body=bodies | st.binary(max_size=99), stream=st.booleans())
def test_any_head_comes_to_a_verdict(status: int, given_headers: dict[str, str], body: bytes, stream: bool) -> None:  # noqa: FBT001 - hypothesis names it
    reading = read_answer([body], status, given_headers, stream=stream)
    assert _is_legal(reading, (ServerError,) if status >= 300 else (ProtocolError, PushRejected))


@given(st.integers(300, 599), headers, st.binary(max_size=300) | json_values.map(repr).map(str.encode))
def test_any_refusal_is_a_bounded_text(status: int, given_headers: dict[str, str], body: bytes) -> None:
    error = server_error(status, given_headers, body)
    assert isinstance(error.reason, RejectionReason)
    assert error.retry_after is None or error.retry_after >= 0
    assert len(readable_excerpt(body)) <= 500
    assert "\n" not in readable_excerpt(body)


@given(st.text(max_size=80))
def test_redaction_takes_any_text_and_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(
    st.lists(
        st.builds(BufferedResponse, st.integers(200, 599), headers, st.binary(max_size=40) | bodies),
        min_size=3,
        max_size=3,
    )
)
def test_any_answers_before_a_push_make_a_readiness(responses: list[BufferedResponse]) -> None:
    flow = check_flow("myuser/my-llama", "http://h:1", {})
    next(flow)
    with pytest.raises(StopIteration) as stop:  # noqa: PT012 - it may come with any answer
        for response in responses:
            flow.send(response)
    assert isinstance(stop.value.value, Readiness)
