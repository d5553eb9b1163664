"""Bodies whose bytes come from a source of another machine, hashed on their way: what sync and async share."""

from __future__ import annotations

from collections.abc import Callable

from ollama_push.core.errors import OllamaPushError, ServerError, TransportError
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.digest_check import DigestCheck
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.places import place_failed
from ollama_push.core.responses import BlobSpan
from ollama_push.local import BodyCancelled

__all__ = ["Passage", "StreamChecks"]


class StreamChecks:
    """The hashes of the blobs of one model while they pass.

    Args:
        label: Of the source.
        manifest: What it gives.
    """

    def __init__(self, label: str, manifest: Manifest) -> None:
        self._label = label
        self._blobs = {blob.digest: blob for blob in manifest.blobs}
        self._checks = {blob.digest: DigestCheck(blob) for blob in manifest.blobs}

    def size_of(self, digest: str) -> int:
        """Return the size of the blob *digest*."""
        return self._blobs[digest].size

    def passage(self, span: BlobSpan, *, moved: Callable[[int], None], cancelled: Callable[[], bool]) -> Passage:
        """Return the account of *span*, which is about to be read."""
        return Passage(self._label, span, self._checks[span.digest], moved, cancelled)

    def fresh_passage(self, digest: str, cancelled: Callable[[], bool]) -> Passage:
        """Return the account of a whole blob that is read for its hash alone."""
        blob = self._blobs[digest]
        span = BlobSpan(digest, 0, blob.size)
        return Passage(self._label, span, DigestCheck(blob), lambda _count: None, cancelled)


class Passage:
    """One range of a blob on its way: counted, hashed, and never complete unless it is what it should be."""

    def __init__(
        self,
        label: str,
        span: BlobSpan,
        check: DigestCheck,
        moved: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._label = label
        self._span = span
        self._check = check
        self._moved = moved
        self._cancelled = cancelled
        self._left = span.size
        check.begin(span.offset)

    def receive(self, data: bytes | memoryview) -> None:
        """Take *data* before it is handed on.

        Raises:
            BodyCancelled: Nobody wants it any more.
            PushRejected: It is more than was asked for.
        """
        if self._cancelled():
            raise BodyCancelled
        if len(data) > self._left:
            raise self._failed(PlaceProblem.TOO_LONG)
        self._check.receive(data)
        self._left -= len(data)

    def passed(self, data: bytes | memoryview) -> None:
        """Take note that *data* was used."""
        self._moved(len(data))

    def end(self) -> None:
        """Take the end of the range.

        Raises:
            PushRejected: Something is missing, or the whole blob is another.
        """
        if self._left:
            raise self._failed(PlaceProblem.ENDS_EARLY)
        if self._check.is_wrong:
            raise self._failed(PlaceProblem.OTHER_BYTES)

    def blamed(self, exc: Exception) -> OllamaPushError:
        """Return what a failed read means to the target: no failure of its own that is to be tried again."""
        if isinstance(exc, OllamaPushError) and not isinstance(exc, TransportError | ServerError):
            return exc
        words = str(exc) if isinstance(exc, OllamaPushError) else repr(exc)
        return place_failed(Side.SOURCE, self._label, PlaceProblem.BROKEN, words=words)

    def _failed(self, problem: PlaceProblem) -> OllamaPushError:
        return place_failed(Side.SOURCE, self._label, problem, digest=self._span.digest)
