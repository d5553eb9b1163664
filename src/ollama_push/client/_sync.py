"""The sync client: a thin driver. Its twin is ``_async.py``; keep them in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager

from ollama_push.client._flows_sync import OwnsTransport, run_flow
from ollama_push.client._foreign import raise_foreign
from ollama_push.client._running_sync import RunningCall
from ollama_push.client._settings import ClientSettings
from ollama_push.core.arguments import DEFAULT_SECONDS
from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.events import PushEvent
from ollama_push.core.names import ModelName
from ollama_push.core.ports import Hook, Transport
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.check import Readiness
from ollama_push.core.server.run import PushRun
from ollama_push.transports._process import PerProcess

__all__ = ["PushClient"]


class PushClient(OwnsTransport):
    """Pushes models through an Ollama server. Safe to share between threads, and with forked processes.

    Args:
        host: The server's address as in ``OLLAMA_HOST``, which is read when this is ``None``.
        transport: Moves the bytes; built, and closed with the client, when not given.
        hooks: Called with every observation; one that raises is dropped and cannot fail a push.
        retry: When to try again.
        stall_timeout: Seconds without a moved byte after which a push has stalled; ``None`` for no limit.
        headers: Sent with every request to the server.

    Raises:
        InvalidSetting: An argument or environment variable cannot be used.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        transport: Transport | None = None,
        hooks: Iterable[Hook] = (),
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        stall_timeout: float | None = DEFAULT_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = ClientSettings(host, headers, hooks, retry, stall_timeout)
        super().__init__(transport)
        self._running: PerProcess[set[RunningCall]] = PerProcess(set)

    @property
    def address(self) -> str:
        """The server's base URL."""
        return self._settings.base

    def push(
        self, model: str | ModelName, *, insecure: bool = False, stream: bool = True, private: bool = False
    ) -> PushReceipt:
        """Push *model* and wait for the verdict.

        Args:
            model: ``[host/]namespace/model[:tag]``.
            insecure: Plain HTTP between the server and the registry.
            stream: ``False`` asks the server for one response at the end: no progress, and a receipt without layers.
            private: Nobody is to read the model without a login. Only for Ollama's registry, and only through a server
                that says that it knows that, such as our gateway: it is asked before anything is sent.

        Returns:
            The receipt of a push that succeeded.

        Raises:
            OllamaPushError: Any other end; the tree is in :mod:`ollama_push.core.errors`.
        """
        run = self._new_run(model, insecure=insecure, stream=stream, private=private)
        with closing(self._events(run, private=private)) as events:
            deque(events, maxlen=0)
        return run.result()

    def stream(
        self, model: str | ModelName, *, insecure: bool = False, stream: bool = True, private: bool = False
    ) -> AbstractContextManager[Iterator[PushEvent]]:
        """Push *model* and hand over the events as they come; arguments and errors are those of ``push``.

        Use it as ``with client.stream(...) as events``: leaving the block closes the connection, which cancels the
        push on the server. A new attempt repeats its phases.
        """
        run = self._new_run(model, insecure=insecure, stream=stream, private=private)
        return closing(self._events(run, private=private))

    def check(self, model: str | ModelName) -> Readiness:
        """Check whether a push of *model* would work; nothing is uploaded."""
        self._require_open()
        with self._entered(RunningCall(self._transport)) as call:
            return run_flow(self._settings.new_check(model), call.perform)

    def interrupt(self) -> None:
        """End everything that runs, at once; pushes and checks raise ``PushInterrupted``.

        The server notices that the connection is closed, and ends its upload. May be called from another thread or a
        signal handler.
        """
        for call in list(self._running.get()):
            call.interrupt()

    def close(self) -> None:
        """End everything that runs, and close the transport unless it was given. Idempotent."""
        self._closed = True
        self.interrupt()
        super().close()

    def _new_run(self, model: str | ModelName, *, insecure: bool, stream: bool, private: bool) -> PushRun:
        self._require_open()
        return self._settings.new_run(model, self._transport, insecure=insecure, stream=stream, private=private)

    def _events(self, run: PushRun, *, private: bool) -> Generator[PushEvent, None, None]:
        with self._entered(RunningCall(self._transport, run)) as call:
            handed_over: Exception | None = None
            if private:
                with self._settings.telling(run):
                    run_flow(self._settings.new_private_check(), call.perform)
            while True:
                try:
                    with call.open(run.begin_attempt()) as response:
                        run.receive_head(response.status, response.headers)
                        for chunk in response.chunks():
                            events = run.receive_data(chunk)
                            try:
                                yield from events
                            except Exception as exc:
                                handed_over = exc
                                raise
                            if run.over:
                                return
                        yield from run.receive_eof()
                        return
                except Exception as exc:  # noqa: BLE001 - the run decides what it means
                    raise_foreign(exc, handed_over)
                    call.sleep(run.attempt_failed(exc))

    @contextmanager
    def _entered(self, call: RunningCall) -> Iterator[RunningCall]:
        running = self._running.get()
        running.add(call)
        try:
            self._require_open()
            yield call
        finally:
            running.discard(call)
            call.close()

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
