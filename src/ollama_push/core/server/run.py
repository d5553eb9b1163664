"""One push through a server, from the first attempt to the verdict.

A driver only opens, iterates and sleeps. Attempts, retries, stalls, hooks, receipts and the context every
error carries are decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import attrs

from ollama_push.core.errors import (
    MachineMisuse,
    OllamaPushError,
    PushInterrupted,
    PushStalled,
    ServerError,
    TransportError,
    UsedAfterClose,
)
from ollama_push.core.events import MAX_LAYERS, LayerCounter, LayerProgress, PushEvent, PushSucceeded
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    Observation,
    PushContext,
    PushFinished,
    PushOutcome,
    PushStarted,
    RolledBack,
)
from ollama_push.core.ports import HttpRequest
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.core.responses import is_unread, own_error, response_seconds
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.secrets import Secrets
from ollama_push.core.server.address import path_of
from ollama_push.core.server.protocol import PushProtocol
from ollama_push.core.server.request import PUSH_PATH
from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER

__all__ = ["PushRun"]

_ERRORS: Final = 300


class PushRun:
    """Drives one push.

    A driver calls, in this order and until ``over``::

        begin_attempt -> receive_head -> receive_data* -> receive_eof
                      -> attempt_failed, which raises the verdict or returns the seconds to wait

    and ``close`` at the very end, whatever happened. ``interrupt`` may come at any time, from any thread.

    Args:
        request: The HTTP request; each attempt sends it again.
        context: Identity of the push in observations.
        stream: Whether the request asked for a stream.
        retry: When to try again.
        stall_timeout: Seconds without a moved byte before ``PushStalled``; ``math.inf`` for never.
        hooks: Called with every observation.
        clock: Monotonic seconds.
        random: Random numbers, 0.0 to 1.0.
        transport: Named in the error when it raises what it must not.
    """

    def __init__(
        self,
        request: HttpRequest,
        *,
        context: PushContext,
        stream: bool,
        retry: RetryPolicy,
        stall_timeout: float,
        hooks: HookSet,
        clock: Callable[[], float],
        random: Callable[[], float],
        transport: object,
    ) -> None:
        self._request = request
        self._context = context
        self._stream = stream
        self._retry = retry
        self._stall_timeout = stall_timeout
        self._hooks = hooks or None
        self._clock = clock
        self._random = random
        self._transport = transport
        self._started_at = 0.0
        self._secrets = Secrets()
        self._secrets.add_headers(request.headers)
        self._attempt = 0
        self._unread = 0  # attempts that nobody has read
        self._reached = False
        self._layers: dict[str, LayerCounter] = {}
        self._last: PushEvent | None = None
        self._moved_at = self._waiting_since = self._started_at
        self._patience = stall_timeout
        self._begun = self._finished = self._interrupted = False
        self.receipt: PushReceipt | None = None

    @property
    def context(self) -> PushContext:
        """Identity of the push."""
        return self._context

    @property
    def over(self) -> bool:
        """Whether the push has succeeded; every other end is an exception."""
        return self.receipt is not None

    def begin_attempt(self) -> HttpRequest:
        """Return the request to send now; ``receive_head`` or ``attempt_failed`` follows.

        Raises:
            PushInterrupted: The push was interrupted.
        """
        if not self._begun:
            # Not in __init__: a stream may be asked for and never entered.
            self._begun = True
            self._started_at = self._clock()
            self._tell(PushStarted(self._context, 0.0))
        self._require_wanted()
        self._attempt += 1
        self._machine = PushProtocol(stream=self._stream, secrets=self._secrets)
        for layer in self._layers.values():
            layer.restart()
        started = AttemptStarted(self._context, self._elapsed(), self._attempt)
        self._tell(started)
        self._moved_at = self._waiting_since = self._clock()
        self._patience = self._stall_timeout
        if not started.trace_headers:
            return self._request
        return attrs.evolve(self._request, headers={**self._request.headers, **started.trace_headers})

    def interrupt(self) -> None:
        """Have the push end with ``PushInterrupted``, unless a verdict has arrived."""
        self._interrupted = True

    def receive_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the response.

        Raises:
            TypeError: The transport hands over what is none.
        """
        if not isinstance(status, int) or not all(isinstance(text, str) for text in (*headers, *headers.values())):
            raise TypeError("a response has an int as its status, and headers of str")
        self._reached = True
        now = self._clock()
        self._forgive_stop(now)
        self._waiting_since = now
        self._machine.receive_head(status, headers)
        if status >= _ERRORS or not self._stream:
            # What is not a stream comes at once, however long its head has taken.
            self._moved_at = self._clock()
            self._patience = response_seconds(self._request)

    def receive_data(self, data: bytes) -> Iterator[PushEvent]:
        """Take bytes; yield the events in them, then raise the verdict if they hold one.

        Raises:
            TypeError: The transport hands over what is none.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a chunk is bytes, and no {type(data).__name__}")
        self._machine.receive_data(data)
        return self._events()

    def receive_eof(self) -> Iterator[PushEvent]:
        """Take the regular end of the body; yield and raise like ``receive_data``."""
        self._machine.receive_eof()
        return self._events()

    def attempt_failed(self, exc: Exception) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            OllamaPushError: The verdict, when there is no next attempt.
        """
        error = self._as_verdict(exc)
        self._secrets.hide_in(error)
        error.last_event = self._last
        error.attempts = self._attempt
        error.bytes_moved = sum(layer.moved_bytes for layer in self._layers.values())
        if isinstance(error, ServerError):
            error.path = path_of(self._request.url.removesuffix(PUSH_PATH))
        wait = self._wait_after(error)
        self._tell(AttemptFailed(self._context, self._elapsed(), self._attempt, error, wait))
        if wait is not None:
            return wait
        interrupted = isinstance(error, PushInterrupted)
        self._finish(PushOutcome.CANCELLED if interrupted else PushOutcome.FAILED, error=error)
        raise error

    def _wait_after(self, error: OllamaPushError) -> float | None:
        """Return the seconds to wait after *error*, 0 where nobody has read the request; ``None`` for no retry."""
        if is_unread(error) and not self._request.fresh:
            # From now on by a new connection, where that cannot happen.
            self._unread, self._request = 1, attrs.evolve(self._request, fresh=True)
            return 0.0
        counted = self._attempt - self._unread
        return self._retry.wait_after(error, counted, reached=self._reached, random=self._random())

    def result(self) -> PushReceipt:
        """Return the receipt of a push that is ``over``."""
        if self.receipt is None:
            raise MachineMisuse("result() called before the push was over")
        return self.receipt

    def close(self) -> None:
        """End the push: one without a verdict was cancelled. Idempotent."""
        self._finish(PushOutcome.CANCELLED)

    def _events(self) -> Iterator[PushEvent]:
        machine = self._machine
        hooks = self._hooks
        now = self._clock()
        # All plain events of a read in one step; events that end a push, or are unusual, follow one by one.
        for event in machine.next_events():
            if event is not self._last:
                self._note(event, now)
            if hooks is not None:
                hooks.tell_event(event, now - self._started_at)
            yield event
        while not machine.idle:
            odd = machine.next_event()
            if odd is NEED_DATA:
                break
            if odd is PUSH_OVER:
                return
            self._note(odd, now)
            if hooks is not None:
                hooks.tell_event(odd, now - self._started_at)
            if self.receipt is not None:
                # Before the caller gets the event: closing the stream on it must not turn success into a cancellation.
                self._finish(PushOutcome.SUCCEEDED, receipt=self.receipt)
            yield odd
        self._require_wanted()
        if now - self._moved_at > self._patience:
            self._require_movement(now)
        # The time the caller spends on the events is not a stall of the server.
        self._waiting_since = self._clock()
        self._moved_at += self._waiting_since - now

    def _note(self, event: PushEvent, now: float) -> None:
        """Remember an event that is not a repeat of the one before."""
        if isinstance(event, LayerProgress):
            self._note_layer(event, now)
        elif isinstance(event, PushSucceeded):
            layers = tuple(
                LayerReceipt(digest, layer.total)
                for digest, layer in self._layers.items()
                if layer.completed is not None
            )
            total = sum(layer.total_bytes for layer in layers) if layers else None
            self.receipt = PushReceipt(
                self._context.model, layers, total, self._attempt, now - self._started_at, retries=self._attempt - 1
            )
        self._last = event

    def _note_layer(self, event: LayerProgress, now: float) -> None:
        layer = self._layers.get(event.digest)
        if layer is None:
            if len(self._layers) < MAX_LAYERS:
                self._layers[event.digest] = LayerCounter(event, planned=False)
            return
        completed = layer.completed
        # Statuses, new layers, growing totals and counters that fall and rise again move nothing: a server could go on
        # with them for ever.
        if layer.receive_event(event):
            self._moved_at = now
        elif completed is not None and event.completed < completed:
            rolled_back = completed - event.completed
            self._tell(RolledBack(self._context, now - self._started_at, event.digest, rolled_back))

    def _as_verdict(self, exc: Exception) -> OllamaPushError:
        """Return the verdict that *exc* means, chained."""
        if isinstance(exc, TransportError | PushStalled):
            verdict = self._machine.verdict_without_the_rest()
            if verdict is not None:
                verdict.__cause__ = exc
                return verdict
        if self._interrupted and isinstance(exc, TransportError | UsedAfterClose):
            interrupted = PushInterrupted()
            interrupted.__cause__ = exc
            return interrupted
        return own_error(exc, self._transport)

    def _require_movement(self, now: float) -> None:
        self._forgive_stop(now)
        if now - self._moved_at > self._patience:
            raise PushStalled(now - self._moved_at)

    def _forgive_stop(self, now: float) -> None:
        """Let a wait that was longer than the transport lets one be count for nothing: this process was stopped.

        What has arrived meanwhile says nothing about the time in between.
        """
        waited, limit = now - self._waiting_since, self._request.read_timeout
        if limit is not None and waited > limit:
            self._moved_at += waited

    def _require_wanted(self) -> None:
        if self._interrupted:
            raise PushInterrupted

    def _finish(
        self, outcome: PushOutcome, *, receipt: PushReceipt | None = None, error: OllamaPushError | None = None
    ) -> None:
        if self._begun and not self._finished:
            self._finished = True
            self._tell(PushFinished(self._context, self._elapsed(), outcome, receipt, error))

    def _tell(self, seen: Observation) -> None:
        if self._hooks is not None:
            self._hooks.tell(seen)

    def _elapsed(self) -> float:
        return self._clock() - self._started_at
