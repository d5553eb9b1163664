"""What a push client has under way, and how another thread ends it. Its twin is ``_running_async.py``."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from queue import Empty, SimpleQueue

import attrs

from ollama_push.client._flows_sync import send_request
from ollama_push.client._foreign import raise_foreign
from ollama_push.core.errors import PushInterrupted, TransportError
from ollama_push.core.ports import CancelsRequests, HttpRequest, Response, Transport
from ollama_push.core.responses import BufferedResponse, SendRequest, failed_request
from ollama_push.core.server.run import PushRun

__all__ = ["RunningCall"]


@attrs.define(eq=False, repr=False)
class RunningCall:
    """A push, or a check, under way.

    Args:
        transport: Moves the bytes.
        run: The push; ``None`` for a check.
    """

    _transport: Transport
    _run: PushRun | None = None
    _process: int = attrs.field(factory=os.getpid, init=False)
    _interrupted: bool = attrs.field(default=False, init=False)
    # Not an Event: a signal handler must not need a lock that the thread it interrupts may hold.
    _wake: SimpleQueue[None] = attrs.field(factory=SimpleQueue, init=False)
    _request: HttpRequest | None = attrs.field(default=None, init=False)

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child, and the call its parent's."""
        return self._process != os.getpid()

    def interrupt(self) -> None:
        """End the call: it raises ``PushInterrupted``. From any thread, or a signal handler."""
        self._interrupted = True
        if self._run is not None:
            self._run.interrupt()
        self._wake.put(None)
        request = self._request
        if request is not None and isinstance(self._transport, CancelsRequests):
            self._transport.cancel(request)

    def open(self, request: HttpRequest, /) -> AbstractContextManager[Response]:
        """Have the transport open *request*, which ``interrupt`` can cancel from now on."""
        opening = self._transport.open(request)
        self._request = request
        # In this order: whoever interrupts the call sets the flag, and then looks for a request.
        if self._interrupted:
            raise PushInterrupted
        return opening

    def sleep(self, seconds: float) -> None:
        """Wait, no longer than until an interruption."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)

    def perform(self, effect: SendRequest) -> BufferedResponse | TransportError:
        """Send a request of a check."""
        try:
            return send_request(self, effect.request)
        except Exception as exc:
            raise_foreign(exc)
            if self._interrupted:
                raise PushInterrupted from exc
            return failed_request(exc, self._transport)

    def close(self) -> None:
        """End the call: a push without a verdict was cancelled. Idempotent."""
        if self._run is not None and not self.is_inherited:
            self._run.close()
