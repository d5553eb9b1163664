"""One push of the gateway while it is carried out: how it stands, and what is still to be said of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ollama_push.client import AsyncRegistryClient
from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.observations import PushOutcome
from ollama_push.core.registry.credentials import CredentialSource, Login
from ollama_push.gateway.messages import BROKEN_OFF, UNEXPECTED, error_text
from ollama_push.gateway.progress_lines import ProgressLines, progress_lines_for
from ollama_push.gateway.push_history import RunningPush
from ollama_push.gateway.route import Route
from ollama_push.local import ModelStore, StoredModel

__all__ = ["PushTask", "find_model"]

_LOGGER: Final = logging.getLogger("ollama_push.gateway")


def find_model(store: ModelStore, route: Route) -> StoredModel:
    """Return the local model that is to be pushed. Reads the disk.

    Raises:
        InvalidSetting: There is no store.
        PushRejected: There is no such model, or it is damaged.
    """
    first, *others = route.sources
    try:
        return store.load(first)
    except PushRejected as exc:
        if exc.reason is not RejectionReason.MODEL_NOT_FOUND or not others:
            raise
        missing = exc
    for name in others:
        try:
            return store.load(name)
        except PushRejected as exc:
            if exc.reason is not RejectionReason.MODEL_NOT_FOUND:
                raise
    raise missing


class PushTask:
    """One push. ``run`` pushes, in a task of its own; ``tick`` and ``next_lines`` serve whoever tells of it.

    Args:
        client: Carries it out.
        route: Where it goes.
        credentials: Who is pushing; ``None`` for whoever *client* is.
        plain_http: Speak plain HTTP with the registry.
        root: Of the model store, for texts.
        entry: The book's page; finished by ``leave`` at the latest.

    Attributes:
        succeeded: Whether the registry holds it.
        error: Why it failed, in a real server's words; empty while it has not.
    """

    def __init__(
        self,
        client: AsyncRegistryClient,
        route: Route,
        credentials: Login | CredentialSource | None,
        *,
        plain_http: bool,
        root: Path,
        entry: RunningPush,
    ) -> None:
        self.succeeded = False
        self.error = ""
        self._client = client
        self._route = route
        self._credentials = credentials
        self._plain_http = plain_http
        self._root = root
        self._entry = entry
        self._woken = asyncio.Event()
        self._patience = asyncio.timeout(None)
        self._ending_in: float | None = None
        self._running = False
        self._presentation: ProgressLines | None = None

    async def run(self, model: StoredModel) -> None:
        """Push *model*. Raises nothing but ``CancelledError``: how it ends is in ``succeeded`` and ``error``."""
        try:
            await self._carry_out(model)
        except Exception:
            _LOGGER.exception("a push of %s failed unexpectedly", self._route.target)
            self._end(UNEXPECTED)
        finally:
            self._running = False
            self._woken.set()

    async def _carry_out(self, model: StoredModel) -> None:
        """Push *model* and note the verdict."""
        self._presentation = progress_lines_for(model.manifest)
        try:
            async with self._patience:
                self._running = True
                if self._ending_in is not None:
                    raise TimeoutError
                await self._push(model, self._presentation)
        except OllamaPushError as exc:
            self.fail(exc)
        except TimeoutError:
            # Another's is no verdict of ours.
            if self._ending_in is None:
                raise
            self._end(BROKEN_OFF)
        else:
            self.succeeded = True
            self._entry.finish(PushOutcome.SUCCEEDED)

    async def _push(self, model: StoredModel, presentation: ProgressLines) -> None:
        # Not on the loop: it looks at every file of the model.
        events = await asyncio.to_thread(
            self._client.stream,
            self._route.target,
            source=model.name,
            credentials=self._credentials,
            plain_http=self._plain_http,
        )
        async with events as stream:
            async for event in stream:
                self._entry.receive_event(event)
                if presentation.receive_event(event):
                    self._woken.set()
                if self._ending_in is not None:
                    # It began while the others were told to end.
                    self._client.interrupt()

    def fail(self, error: OllamaPushError) -> None:
        """Note that it failed."""
        self._end(error_text(error, self._route.target, self._root, self._route.sources[0]))

    def end_within(self, seconds: float) -> None:
        """Break it off unless it has ended after so many seconds; the client was told to interrupt it."""
        self._ending_in = seconds
        if self._running:
            self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    def leave(self) -> None:
        """Note that nobody waits for it any more: without an end before, it was cancelled. Idempotent."""
        self._entry.finish(PushOutcome.CANCELLED)

    async def tick(self, until: float) -> bool:
        """Wait for news, but no longer than *until* on the loop's clock; return whether that time has come."""
        try:
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        except TimeoutError:
            return True
        self._woken.clear()
        return False

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        """Yield what is to be said now; see ``ProgressLines``."""
        if self._presentation is not None:
            yield from self._presentation.next_lines(tick=tick)

    def _end(self, text: str) -> None:
        self.error = text
        self._entry.finish(PushOutcome.FAILED, self.error)
