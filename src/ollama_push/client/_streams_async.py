"""Bodies from an async source. Its twin is ``_streams_sync.py``; keep them in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

from ollama_push.client._lanes import Lane
from ollama_push.client._streams import StreamChecks
from ollama_push.core.errors import OllamaPushError, PushRejected
from ollama_push.core.ports import AsyncSizedBody, RequestBody
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.places import AsyncModelSource, ModelSource
from ollama_push.core.responses import BlobSpan
from ollama_push.local import BodyCancelled

__all__ = ["AsyncStreamBody", "AsyncStreamedModel", "ThreadedSource", "awaited_pieces", "pieces_of"]

T = TypeVar("T")

_POLL_SECONDS: Final = 0.2
"""How long a thread that waits for the loop may take to notice that it is cancelled."""


class AsyncStreamedModel:
    """The blobs of a source.

    Args:
        source: Where they come from.
        manifest: What it gave.
    """

    def __init__(self, source: AsyncModelSource, manifest: Manifest) -> None:
        self._source = source
        self._checks = StreamChecks(source.label, manifest)

    def body(self, span: BlobSpan, *, moved: Callable[[int], None], cancelled: Callable[[], bool]) -> AsyncStreamBody:
        """Return the body for *span*."""
        return AsyncStreamBody(self._source, span, self._checks, moved=moved, cancelled=cancelled)

    async def rehash(self, digest: str, *, cancelled: Callable[[], bool]) -> bool:
        """Read a blob again and say whether it has its digest."""
        passage = self._checks.fresh_passage(digest, cancelled)
        try:
            async for data in self._source.read_blob(digest, 0, self._checks.size_of(digest)):
                passage.receive(data)
            passage.end()
        except PushRejected:
            return False
        return True


class AsyncStreamBody:
    """A range of a blob as the body of a request (``core.ports.AsyncSizedBody``).

    Attributes:
        failure: The error of the last iteration; see ``BlobBody``.
    """

    def __init__(self, source: AsyncModelSource, span: BlobSpan, checks: StreamChecks, **account: Any) -> None:
        self._source = source
        self._span = span
        self._checks = checks
        self._account = account
        self.failure: OllamaPushError | None = None

    def __len__(self) -> int:
        return self._span.size

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        self.failure = None
        passage = self._checks.passage(self._span, **self._account)
        try:
            async with aclosing(_pieces(self._source, self._span)) as pieces:
                async for data in pieces:
                    passage.receive(data)
                    yield data
                    passage.passed(data)
            passage.end()
        except BodyCancelled:
            raise
        except Exception as exc:
            self.failure = passage.blamed(exc)
            if self.failure is exc:
                raise
            raise self.failure from exc


async def _pieces(source: AsyncModelSource, span: BlobSpan) -> AsyncGenerator[bytes | memoryview, None]:
    # A generator, which can be closed: the source's iterator need not be one.
    async for data in source.read_blob(span.digest, span.offset, span.size):
        yield data


async def pieces_of(body: RequestBody) -> AsyncGenerator[bytes | memoryview, None]:
    """Yield the buffers of *body*, whichever kind it is."""
    if isinstance(body, AsyncSizedBody):
        async for piece in body:
            yield piece
    elif not isinstance(body, bytes):
        for piece in body:
            yield piece


def awaited_pieces(
    pieces: AsyncGenerator[bytes | memoryview, None], loop: asyncio.AbstractEventLoop, cancelled: Callable[[], bool]
) -> Iterator[bytes | memoryview]:
    """Yield what *pieces* yields on *loop*, in another thread than the loop's.

    Raises:
        BodyCancelled: *cancelled* said yes meanwhile.
    """

    def wait(step: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(step, loop)
        while True:
            try:
                return future.result(_POLL_SECONDS)
            except TimeoutError:
                if future.done():  # its own
                    raise
                if cancelled():
                    future.cancel()
                    raise BodyCancelled from None
            except CancelledError:
                raise BodyCancelled from None

    try:
        while (piece := wait(_next(pieces))) is not None:
            yield piece
    finally:
        with suppress(BodyCancelled, RuntimeError):  # the loop has ended
            wait(pieces.aclose())


async def _next(pieces: AsyncGenerator[bytes | memoryview, None]) -> bytes | memoryview | None:
    return await anext(pieces, None)


class ThreadedSource:
    """A sync source as an async one: its reads are done in threads.

    Args:
        source: The source.
        lane: The threads.
    """

    def __init__(self, source: ModelSource, lane: Lane) -> None:
        self._source = source
        self._lane = lane
        self.label: str = source.label

    async def read_manifest(self) -> bytes:
        """Return the manifest as it is."""
        return await self._lane.run(self._source.read_manifest)

    async def read_blob(self, digest: str, offset: int, size: int, /) -> AsyncGenerator[bytes | memoryview, None]:
        """Yield *size* bytes of the blob *digest* from *offset* on."""
        pieces = await self._lane.run(lambda: iter(self._source.read_blob(digest, offset, size)))
        try:
            while (piece := await self._lane.run(next, pieces, None)) is not None:
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    async def aclose(self) -> None:
        """Close what is open. Idempotent."""
        await self._lane.run(self._source.close)
