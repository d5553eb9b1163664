"""The state machine of the response to one ``POST /api/push``: bytes in, events out, one verdict.

All legal moves are in ``TRANSITIONS``. Storing never fails; deciding may: two good lines before a bad one
are two events and then an error.

Source: ollama ``server/routes.go`` ``PushHandler``, ``streamResponse`` and ``api/client.go`` ``stream``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import (
    MachineMisuse,
    MalformedLine,
    OllamaPushError,
    PushRejected,
    StreamTruncated,
    UnexpectedContent,
)
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES, readable_excerpt
from ollama_push.core.secrets import Secrets
from ollama_push.core.server.error_body import foreign_content, server_error
from ollama_push.core.server.ndjson import MAX_LINE_BYTES, LineBuffer
from ollama_push.core.server.reasons import reason_for
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER, NeedData, PushOver
from ollama_push.core.server.wire import ErrorLine, LineDecoder

__all__ = ["TRANSITIONS", "PushProtocol", "PushState"]


class PushState(enum.Enum):
    """How far the response to a push has been read."""

    AWAITING_HEAD = "awaiting the head"
    STREAMING = "one JSON object a line"
    SINGLE_OBJECT = "one JSON object"
    REFUSING = "the body of an error status"
    FOREIGN = "a body of another kind"
    SUCCEEDED = "succeeded"
    FAILED = "refused"
    BROKEN = "an exception was raised"


class Head(enum.Enum):
    """What status and headers announce."""

    LINES = "lines"
    OBJECT = "a single object"
    REFUSAL = "an error status"
    FOREIGN = "something else"


TRANSITIONS: Final[Mapping[tuple[PushState, Head | type], PushState]] = {
    (PushState.AWAITING_HEAD, Head.LINES): PushState.STREAMING,
    (PushState.AWAITING_HEAD, Head.OBJECT): PushState.SINGLE_OBJECT,
    (PushState.AWAITING_HEAD, Head.REFUSAL): PushState.REFUSING,
    (PushState.AWAITING_HEAD, Head.FOREIGN): PushState.FOREIGN,
    (PushState.STREAMING, StatusChanged): PushState.STREAMING,
    (PushState.STREAMING, LayerProgress): PushState.STREAMING,
    (PushState.STREAMING, PushSucceeded): PushState.SUCCEEDED,
    (PushState.STREAMING, ErrorLine): PushState.FAILED,
    (PushState.SINGLE_OBJECT, StatusChanged): PushState.SINGLE_OBJECT,
    (PushState.SINGLE_OBJECT, LayerProgress): PushState.SINGLE_OBJECT,
    (PushState.SINGLE_OBJECT, PushSucceeded): PushState.SUCCEEDED,
    (PushState.SINGLE_OBJECT, ErrorLine): PushState.FAILED,
}

# The same table by state: one lookup an event, without hashing an enum member each time.
_MOVES: Final[Mapping[PushState, Mapping[Head | type, PushState]]] = {
    state: {what: after for (before, what), after in TRANSITIONS.items() if before is state}
    for state, _what in TRANSITIONS
}

_BODY_OF_A_PUSH: Final = frozenset({PushState.STREAMING, PushState.SINGLE_OBJECT})
_BODY_OF_A_REFUSAL: Final = frozenset({PushState.REFUSING, PushState.FOREIGN})


class PushProtocol:
    """Reads the response to one ``POST /api/push``.

    Call ``receive_head`` once, then ``receive_data`` as bytes come and ``receive_eof`` at the end; after
    each of them ``next_event`` until it returns ``NEED_DATA`` or ``PUSH_OVER``. After an exception the
    machine is ``FAILED`` (the peer refused the push) or ``BROKEN`` for good, and raises ``MachineMisuse``.

    Args:
        stream: What the request asked for; decides how a plain JSON response is read.
        max_line_bytes: Longest line taken, in bytes.
        secrets: Taken out of events, in which a server may quote them.
    """

    __slots__ = (
        "_decode",
        "_ended",
        "_headers",
        "_lines",
        "_moves",
        "_state",
        "_status",
        "_streamed",
        "idle",
        "last_event",
    )

    def __init__(
        self, *, stream: bool = True, max_line_bytes: int = MAX_LINE_BYTES, secrets: Secrets | None = None
    ) -> None:
        self._state = PushState.AWAITING_HEAD
        self._streamed = stream
        self._lines = LineBuffer(max_line_bytes)
        self._decode = LineDecoder(secrets).decode
        self._moves: Mapping[Head | type, PushState] = _MOVES[self._state]
        self._ended = False
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self.last_event: PushEvent | None = None
        self.idle: bool = False  # next_event would say NEED_DATA; set by next_events only

    @property
    def state(self) -> PushState:
        """How far the response has been read."""
        return self._state

    def receive_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and headers (names in lower case); ``receive_data`` or ``receive_eof`` follow."""
        if self._state is not PushState.AWAITING_HEAD:
            raise MachineMisuse("receive_head() called twice")
        self._status, self._headers = status, headers
        self._enter(self._moves[self._announced()])

    def receive_data(self, data: bytes) -> None:
        """Store *data*; ``next_event`` follows."""
        if self._state is PushState.AWAITING_HEAD:
            raise MachineMisuse("receive_data() called before receive_head()")
        self._lines.receive_data(data)

    def receive_eof(self) -> None:
        """Note the regular end of the body; ``next_event`` follows. Idempotent."""
        if self._state is PushState.AWAITING_HEAD:
            raise MachineMisuse("receive_eof() called before receive_head()")
        self._lines.receive_eof()
        self._ended = True

    def next_event(self) -> PushEvent | NeedData | PushOver:
        """Return the next event.

        Raises:
            PushRejected: The server said no.
            ServerError: The status was 300 or above.
            MalformedLine: A line is no object of the protocol.
            LineTooLong: A line is longer than the limit.
            UnexpectedContent: The body cannot be the response to a push.
            StreamTruncated: The response ended without success or error.
            MachineMisuse: The machine already raised.
        """
        state = self._state
        if state is PushState.STREAMING:
            try:
                return self._next_of_a_push()
            except BaseException as exc:
                self._give_up(exc)
                raise
        if state is PushState.SUCCEEDED:
            return PUSH_OVER
        if state is PushState.AWAITING_HEAD:
            return NEED_DATA
        if state in (PushState.FAILED, PushState.BROKEN):
            raise MachineMisuse(f"this push is over ({state.value}); build a new machine")
        try:
            return self._next_of_a_push() if state in _BODY_OF_A_PUSH else self._refuse()
        except BaseException as exc:
            self._give_up(exc)
            raise

    def next_events(self) -> list[PushEvent]:
        """Return all events that have arrived; empty when ``next_event`` would return none, or raise.

        The same as calling ``next_event`` while it returns events, in one step for a whole read. What follows
        the events, a verdict or more need, is ``next_event``'s to say; ``idle`` tells that it is need.
        """
        events: list[PushEvent] = []
        self.idle = False
        if self._state is not PushState.STREAMING:
            return events
        lines = self._lines.next_lines()
        decode, moves = self._decode, self._moves
        for number, line in enumerate(lines):
            try:
                event = decode(line)
                last = event is not None and moves[type(event)] is not PushState.STREAMING
            except MalformedLine:
                last = True
            if last:
                # The verdict is next_event's to give; the events before it come first.
                self._lines.give_back(lines[number:])
                break
            if event is not None:
                events.append(event)  # type: ignore[arg-type]  # an ErrorLine ends the stream, see TRANSITIONS
        if events:
            self.last_event = events[-1]
        self.idle = self._lines.idle and not self._ended
        return events

    def verdict_without_the_rest(self) -> OllamaPushError | None:
        """Return the verdict of a response whose body was cut off; ``None`` if only the body could tell.

        An error status is a verdict of its own, however little of its body arrived.
        """
        if self._state not in _BODY_OF_A_REFUSAL:
            return None
        verdict = self._refusal(self._lines.peek(MAX_ERROR_BODY_BYTES))
        self._enter(PushState.BROKEN)
        return verdict

    def _announced(self) -> Head:
        # 3xx too: a redirected POST would arrive as GET (RFC 9110, 15.4), so none is followed.
        if self._status >= 300:  # noqa: PLR2004
            return Head.REFUSAL
        media_type = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._status != 200 or foreign_content(self._headers):  # noqa: PLR2004
            return Head.FOREIGN
        # Servers before v0.1.2 stream whatever was asked for, as lines.
        return Head.OBJECT if media_type == "application/json" and not self._streamed else Head.LINES

    def _next_of_a_push(self) -> PushEvent | NeedData | PushOver:
        while True:
            line = self._next_line()
            if line is NEED_DATA:
                return NEED_DATA
            if line is None:
                raise StreamTruncated("" if self.last_event is None else self.last_event.status)
            event = self._decode(line)
            if event is None:
                continue
            state = self._moves[type(event)]
            if state is not self._state:
                self._enter(state)
            if isinstance(event, ErrorLine):
                raise PushRejected(event.message, reason_for(event.message))
            self.last_event = event
            return event

    def _next_line(self) -> bytes | NeedData | None:
        if self._state is PushState.STREAMING:
            return self._lines.next_line()
        return self._lines.next_body()

    def _refuse(self) -> NeedData:
        """Gather a bounded body, then raise what it says."""
        body = self._lines.peek(MAX_ERROR_BODY_BYTES)
        if not self._ended and len(body) < MAX_ERROR_BODY_BYTES:
            return NEED_DATA
        raise self._refusal(body)

    def _refusal(self, body: bytes) -> OllamaPushError:
        if self._state is PushState.REFUSING:
            return server_error(self._status, self._headers, body)
        encoding = self._headers.get("content-encoding", "")
        kind = f"content-encoding {encoding}" if encoding else self._headers.get("content-type", "")
        return UnexpectedContent(self._status, kind, readable_excerpt(body))

    def _enter(self, state: PushState) -> None:
        self._state, self._moves = state, _MOVES.get(state, {})

    def _give_up(self, exc: BaseException) -> None:
        if not isinstance(exc, PushRejected):
            self._enter(PushState.BROKEN)
