"""Bodies from a sync source. Its twin is ``_streams_async.py``; keep them in the same order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

from ollama_push.client._streams import StreamChecks
from ollama_push.core.errors import OllamaPushError, PushRejected
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.places import ModelSource
from ollama_push.core.responses import BlobSpan
from ollama_push.local import BodyCancelled

__all__ = ["StreamBody", "StreamedModel"]


class StreamedModel:
    """The blobs of a source.

    Args:
        source: Where they come from.
        manifest: What it gave.
    """

    def __init__(self, source: ModelSource, manifest: Manifest) -> None:
        self._source = source
        self._checks = StreamChecks(source.label, manifest)

    def body(self, span: BlobSpan, *, moved: Callable[[int], None], cancelled: Callable[[], bool]) -> StreamBody:
        """Return the body for *span*."""
        return StreamBody(self._source, span, self._checks, moved=moved, cancelled=cancelled)

    def rehash(self, digest: str, *, cancelled: Callable[[], bool]) -> bool:
        """Read a blob again and say whether it has its digest."""
        passage = self._checks.fresh_passage(digest, cancelled)
        try:
            for data in self._source.read_blob(digest, 0, self._checks.size_of(digest)):
                passage.receive(data)
            passage.end()
        except PushRejected:
            return False
        return True


class StreamBody:
    """A range of a blob as the body of a request (``core.ports.SizedBody``).

    Attributes:
        failure: The error of the last iteration; see ``BlobBody``.
    """

    def __init__(self, source: ModelSource, span: BlobSpan, checks: StreamChecks, **account: Any) -> None:
        self._source = source
        self._span = span
        self._checks = checks
        self._account = account
        self.failure: OllamaPushError | None = None

    def __len__(self) -> int:
        return self._span.size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.failure = None
        passage = self._checks.passage(self._span, **self._account)
        try:
            with closing(_pieces(self._source, self._span)) as pieces:
                for data in pieces:
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


def _pieces(source: ModelSource, span: BlobSpan) -> Generator[bytes | memoryview, None, None]:
    # A generator, which can be closed: the source's iterator need not be one.
    yield from source.read_blob(span.digest, span.offset, span.size)
