"""Carries out one push of the gateway, and has the lines about its progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from ollama_push.client import AsyncRegistryClient
from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.events import PushSucceeded
from ollama_push.core.names import ModelName
from ollama_push.core.observations import PushOutcome
from ollama_push.core.registry.credentials import CredentialSource, Login
from ollama_push.gateway.messages import CANCELLED_BY_SHUTDOWN, INTERNAL_ERROR
from ollama_push.gateway.progress_lines import ProgressLines
from ollama_push.gateway.push_history import RunningPush
from ollama_push.gateway.route import PushRoute
from ollama_push.gateway.shutdown import CancelledByShutdown, Shutdown
from ollama_push.local import ModelStore, StoredModel

__all__ = ["PushTask", "find_model"]

_LOGGER: Final = logging.getLogger("ollama_push.gateway")


def find_model(store: ModelStore, route: PushRoute) -> StoredModel:
    """Return the local model that is to be pushed. Reads the disk.

    Raises:
        InvalidSetting: There is no store.
        PushRejected: There is no such model, or it is damaged.
    """
    missing = list[PushRejected]()
    for name in route.sources:
        try:
            return store.load(name)
        except PushRejected as exc:
            if exc.reason is not RejectionReason.MODEL_NOT_FOUND:
                raise
            missing.append(exc)
    raise missing[0]


class PushTask:
    """One push in a task of its own, which ``running`` starts.

    ``wait_for_lines`` and ``next_lines`` serve the task that writes to the client; neither task waits for the other.

    Args:
        client: Carries the push out.
        target: Name in the registry.
        model: What is pushed.
        credentials: The login of this push; ``None`` for the one of *client*.
        plain_http: Speak plain HTTP with the registry.
        private: Nobody is to read the model without a login.
        record: The push's place in the history. It is finished here, unless the push is cancelled.
        describe: Makes a text for the client from an error.
        shutdown: Interrupts and cancels the push when the gateway ends.

    Attributes:
        error: Once the push is over, why it failed; empty when it is known to have succeeded, and only then.
    """

    def __init__(
        self,
        client: AsyncRegistryClient,
        target: ModelName,
        model: StoredModel,
        credentials: Login | CredentialSource | None,
        *,
        plain_http: bool,
        private: bool,
        record: RunningPush,
        describe: Callable[[OllamaPushError], str],
        shutdown: Shutdown,
    ) -> None:
        self.error: str = "context canceled"
        self._client = client
        self._target = target
        self._model = model
        self._credentials = credentials
        self._plain_http = plain_http
        self._private = private
        self._record = record
        self._describe = describe
        self._shutdown = shutdown
        self._lines = ProgressLines(model.manifest)
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Push while the block runs. Leaving it cancels what is under way, and waits until nothing of it is left."""
        self._task = asyncio.create_task(self._run(), name="ollama-push-gateway")
        try:
            yield
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def is_over(self) -> bool:
        """Whether the push has ended."""
        return self._task is not None and self._task.done()

    async def wait_for_lines(self, until: float) -> bool:
        """Wait for new lines, no longer than *until* on the loop's clock; return whether that time has come."""
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return True
        self._woken.clear()
        return False

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        """Yield the lines to write now; see ``ProgressLines``."""
        return self._lines.next_lines(tick=tick)

    async def _run(self) -> None:
        """Push, and note the outcome. Raises nothing but ``CancelledError``."""
        try:
            await self._push_and_note()
        except Exception:
            _LOGGER.exception("a push of %s failed unexpectedly", self._target)
            self._fail(INTERNAL_ERROR)
        finally:
            self._woken.set()

    async def _push_and_note(self) -> None:
        try:
            async with self._shutdown.cancels_after_grace():
                await self._push()
        except CancelledByShutdown:
            self._fail(CANCELLED_BY_SHUTDOWN)
        except OllamaPushError as exc:
            self._fail(self._describe(exc))
        else:
            self.error = ""
            self._record.finish(PushOutcome.SUCCEEDED)

    async def _push(self) -> None:
        async with self._client.stream(
            self._target,
            source=self._model.name,
            credentials=self._credentials,
            plain_http=self._plain_http,
            private=self._private,
        ) as stream:
            async for event in stream:
                self._record.receive_event(event)
                if isinstance(event, PushSucceeded):
                    self._record.pullability = event.pullability
                if self._lines.receive_event(event):
                    self._woken.set()
                if self._shutdown.has_begun:
                    # The shutdown has interrupted the pushes that had sent their first event by then; this one may
                    # not have been among them.
                    self._client.interrupt()

    def _fail(self, text: str) -> None:
        self.error = text
        self._record.finish(PushOutcome.FAILED, text)
