"""Threads for what may block: each kind of work has a few of its own, so that none waits for another kind.

The event loop's default pool is not used: DNS look-ups and whatever else the program does are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from threading import Lock
from typing import Any, Final, ParamSpec, TypeVar

from ollama_push.core.registry.credentials import Credential, CredentialSource, credential_for

__all__ = ["Lane", "Lanes"]

T = TypeVar("T")
P = ParamSpec("P")

_STORE_THREADS: Final = 4
_CREDENTIAL_THREADS: Final = 16
"""A credential helper may wait 30 s for its user, and each registry may have one."""
_HASHING_THREADS: Final = 2
_PLACE_THREADS: Final = 64
"""As many as blobs may move at the same time."""
_RESUME_THREADS: Final = 1
"""One, so that what is asked later comes later: claims are released after the claims that still wait for a lock."""

_BREAKER_THREADS: Final = 1
"""One, for the same reason: what happened to a registry is told in its order."""


class Lane:
    """A few threads for one kind of work. They start when they are needed, and end with ``retire``."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._guard = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._unfinished: set[Future[Any]] = set()
        self._retired = False

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Have *work* done in a thread, with the caller's context variables. Cancelling withdraws what still waits."""
        context = copy_context()
        with self._guard:
            self._retired = False
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._threads, f"ollama-push-{self._name}")
            future = self._executor.submit(lambda: context.run(work, *args, **kwargs))
            self._unfinished.add(future)
        # Before asyncio's own callback: who waits for the work finds it finished here, too.
        future.add_done_callback(self._note_done)
        return asyncio.wrap_future(future)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns in a thread."""
        return await self.start(work, *args, **kwargs)

    async def finish(self) -> None:
        """Wait until everything that was started is done."""
        with self._guard:
            waiting = [asyncio.wrap_future(future) for future in self._unfinished]
        if waiting:
            await asyncio.wait(waiting)

    def retire(self) -> None:
        """End the threads: idle ones at once, the others after their work. The next ``start`` begins again."""
        with self._guard:
            self._retired = True
            self._end_if_idle(wait=True)

    def _note_done(self, future: Future[Any]) -> None:
        with self._guard:
            self._unfinished.discard(future)
            self._end_if_idle(wait=False)  # a thread of the lane cannot wait for itself

    def _end_if_idle(self, *, wait: bool) -> None:
        if self._retired and not self._unfinished and self._executor is not None:
            self._executor.shutdown(wait)
            self._executor = None


class Lanes:
    """The lanes of one async client. While nobody uses them they have no threads.

    Attributes:
        store: Reads the model store.
        resume: Keeps resume points; waits for the locks of other processes.
        breakers: Asks other machines which registries are ill.
        hashing: Reads blobs again.
        sources: Reads from sources that are not this machine's files.
        targets: Writes into targets, whose threads wait for those of sources.
    """

    def __init__(self) -> None:
        self.store: Lane = Lane("store", _STORE_THREADS)
        self.resume: Lane = Lane("resume", _RESUME_THREADS)
        self.breakers: Lane = Lane("breakers", _BREAKER_THREADS)
        self.hashing: Lane = Lane("hashing", _HASHING_THREADS)
        self.sources: Lane = Lane("sources", _PLACE_THREADS)
        self.targets: Lane = Lane("targets", _PLACE_THREADS)
        self._credentials = Lane("credentials", _CREDENTIAL_THREADS)
        self._lookups: dict[tuple[int, str, str], asyncio.Future[Credential | None]] = {}
        self._users = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Return a block in which work may be started. After the last of them, the threads end."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._retire()

    async def credential(self, source: CredentialSource, host: str, repository: str = "") -> Credential | None:
        """Look up a credential. Those who ask the same at the same time share one look-up: it may run a program."""
        # An id is not used again meanwhile: the look-up refers to the source.
        key = id(source), host, repository
        if (lookup := self._lookups.get(key)) is None:
            lookup = self._lookups[key] = self._credentials.start(credential_for, source, host, repository)

            def forget(done: asyncio.Future[Credential | None]) -> None:
                if self._lookups.get(key) is done:
                    del self._lookups[key]
                # Without this, asyncio complains of an error when everybody who asked was cancelled.
                _ = done.cancelled() or done.exception()

            lookup.add_done_callback(forget)
        return await asyncio.shield(lookup)

    def _retire(self) -> None:
        lookups, self._lookups = self._lookups, {}
        for lookup in lookups.values():
            # Nobody waits for it, and its thread must not report to a loop that may have ended by then.
            lookup.cancel()
        for lane in (
            self.store,
            self.resume,
            self.breakers,
            self.hashing,
            self.sources,
            self.targets,
            self._credentials,
        ):
            lane.retire()
