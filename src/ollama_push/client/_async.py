"""The async client: a thin driver. Its twin is ``_sync.py``; keep them in the same order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager

from ollama_push.client._flows_async import OwnsAsyncTransport, run_flow_async
from ollama_push.client._foreign import raise_foreign
from ollama_push.client._running_async import AsyncRunningCall
from ollama_push.client._settings import ClientSettings
from ollama_push.core.arguments import DEFAULT_SECONDS
from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.events import PushEvent
from ollama_push.core.names import ModelName
from ollama_push.core.ports import AsyncTransport, Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.check import Readiness
from ollama_push.core.server.run import PushRun
from ollama_push.transports._event_loop import running_loop
from ollama_push.transports._process import PerProcess

__all__ = ["AsyncPushClient"]


class AsyncPushClient(OwnsAsyncTransport):
    """Pushes models through an Ollama server; the awaited twin of :class:`PushClient`.

    Arguments and errors are those of :class:`PushClient`, but for the transport, which is an async one. Hooks are
    called on the event loop.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        transport: AsyncTransport | None = None,
        hooks: Iterable[Hook] = (),
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        stall_timeout: float | None = DEFAULT_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = ClientSettings(host, headers, hooks, retry, stall_timeout)
        super().__init__(transport)
        self._running: PerProcess[set[AsyncRunningCall]] = PerProcess(set)

    @property
    def address(self) -> str:
        """The server's base URL."""
        return self._settings.base

    async def push(
        self, model: str | ModelName, *, insecure: bool = False, stream: bool = True, private: bool = False
    ) -> PushReceipt:
        """Push *model* and wait for the verdict; see :meth:`PushClient.push`."""
        run = self._new_run(model, insecure=insecure, stream=stream, private=private)
        async with aclosing(self._events(run, private=private)) as events:
            async for _ in events:
                pass
        return run.result()

    def stream(
        self, model: str | ModelName, *, insecure: bool = False, stream: bool = True, private: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[PushEvent]]:
        """Push *model* and hand over the events as they come; see :meth:`PushClient.stream`."""
        run = self._new_run(model, insecure=insecure, stream=stream, private=private)
        return aclosing(self._events(run, private=private))

    async def check(self, model: str | ModelName) -> Readiness:
        """Check whether a push of *model* would work; nothing is uploaded."""
        self._require_open()
        running_loop(self)
        with self._entered(AsyncRunningCall(self._transport)) as call:
            return await run_flow_async(self._settings.new_check(model), call.perform)

    def interrupt(self) -> None:
        """End everything that runs, at once; see :meth:`PushClient.interrupt`."""
        for call in list(self._running.get()):
            call.interrupt()

    async def aclose(self) -> None:
        """End everything that runs, and close the transport unless it was given. Idempotent."""
        self._closed = True
        self.interrupt()
        await super().aclose()

    def _new_run(self, model: str | ModelName, *, insecure: bool, stream: bool, private: bool) -> PushRun:
        self._require_open()
        return self._settings.new_run(model, self._transport, insecure=insecure, stream=stream, private=private)

    async def _events(self, run: PushRun, *, private: bool) -> AsyncGenerator[PushEvent, None]:
        running_loop(self)
        with self._entered(AsyncRunningCall(self._transport, run)) as call:
            handed_over: Exception | None = None
            if private:
                with self._settings.telling(run):
                    await run_flow_async(self._settings.new_private_check(), call.perform)
            while True:
                try:
                    async with call.open(run.begin_attempt()) as response:
                        run.receive_head(response.status, response.headers)
                        async for chunk in response.chunks():
                            events = run.receive_data(chunk)
                            try:
                                for event in events:
                                    yield event
                            except Exception as exc:
                                handed_over = exc
                                raise
                            if run.over:
                                return
                        for event in run.receive_eof():
                            yield event
                        return
                except Exception as exc:  # noqa: BLE001 - the run decides what it means
                    raise_foreign(exc, handed_over)
                    await call.sleep(run.attempt_failed(exc))

    @contextmanager
    def _entered(self, call: AsyncRunningCall) -> Iterator[AsyncRunningCall]:
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
