"""The async client: a thin driver. Its twin is ``_sync.py``; keep them in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, closing

from ollama_push.client._flows_async import OwnsAsyncTransport, run_flow_async, send_request_async
from ollama_push.client._settings import ClientSettings
from ollama_push.core.errors import TransportError, UsedAfterClose
from ollama_push.core.events import PushEvent
from ollama_push.core.names import ModelName
from ollama_push.core.ports import AsyncTransport, Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.responses import BufferedResponse, SendRequest, failed_request
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.check import Readiness
from ollama_push.core.server.request import PushRequest
from ollama_push.core.server.run import PushRun

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
        stall_timeout: float | None = 900.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = ClientSettings(host, headers, hooks, retry, stall_timeout)
        super().__init__(transport)

    async def push(self, model: str | ModelName, *, insecure: bool = False, stream: bool = True) -> PushReceipt:
        """Push *model* and wait for the verdict; see :meth:`PushClient.push`."""
        run = self._new_run(PushRequest(model, insecure, stream))
        async with aclosing(self._events(run)) as events:
            async for _ in events:
                pass
        return run.result()

    def stream(
        self, model: str | ModelName, *, insecure: bool = False, stream: bool = True
    ) -> AbstractAsyncContextManager[AsyncIterator[PushEvent]]:
        """Push *model* and hand over the events as they come; see :meth:`PushClient.stream`."""
        return aclosing(self._events(self._new_run(PushRequest(model, insecure, stream))))

    async def check(self, model: str | ModelName) -> Readiness:
        """Check whether a push of *model* would work; nothing is uploaded."""
        self._require_open()
        return await run_flow_async(self._settings.new_check(model), self._perform)

    def _new_run(self, request: PushRequest) -> PushRun:
        self._require_open()
        return self._settings.new_run(request, self._transport)

    async def _events(self, run: PushRun) -> AsyncGenerator[PushEvent, None]:
        with closing(run):
            while True:
                try:
                    async with self._transport.open(run.begin_attempt()) as response:
                        run.receive_head(response.status, response.headers)
                        async for chunk in response.chunks():
                            for event in run.receive_data(chunk):
                                yield event
                            if run.over:
                                return
                        for event in run.receive_eof():
                            yield event
                        return
                except Exception as exc:  # noqa: BLE001 - the run decides what it means
                    await asyncio.sleep(run.attempt_failed(exc))

    async def _perform(self, effect: SendRequest) -> BufferedResponse | TransportError:
        try:
            return await send_request_async(self._transport, effect.request)
        except Exception as exc:  # noqa: BLE001 - a transport may raise what it must not
            return failed_request(exc, self._transport)

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)
