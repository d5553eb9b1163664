"""A source and a target in memory that keep every promise, and ones that break one promise each."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping

from ollama_push.core.errors import OllamaPushError, UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.places import ModelTarget, ReadRange, place_failed
from ollama_push.testing.contract import SampleModel

_PIECE = 65_536


class SoundSource:
    """Gives the blobs of a model in memory."""

    label = "memory"

    def __init__(self, model: SampleModel) -> None:
        self.raw = model.manifest
        self.blobs: Mapping[str, bytes] = model.blobs
        self.closed = False

    def require_open(self) -> None:
        if self.closed:
            raise UsedAfterClose("SoundSource")

    def read_manifest(self) -> bytes:
        self.require_open()
        return self.raw

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        self.require_open()
        if digest not in self.blobs:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.NO_BLOB, digest=digest)
        if offset + size > len(self.blobs[digest]):
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.ENDS_EARLY, digest=digest)
        return self.pieces(digest, offset, offset + size)

    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        for first in range(start, end, _PIECE):
            yield self.blobs[digest][first : min(end, first + _PIECE)]

    def close(self) -> None:
        self.closed = True


class WritesTheManifestAgain(SoundSource):
    def read_manifest(self) -> bytes:
        return super().read_manifest().strip()


class ForgetsTheManifest(SoundSource):
    def read_manifest(self) -> bytes:
        raw, self.raw = super().read_manifest(), b"{}"
        return raw


class HasNoLabel(SoundSource):
    label = ""


class IgnoresTheOffset(SoundSource):
    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        return super().pieces(digest, 0, end - start)


class IgnoresTheSize(SoundSource):
    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        return super().pieces(digest, start, len(self.blobs[digest]))


class LosesTheLastByte(SoundSource):
    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        return super().pieces(digest, start, end - (end - start > _PIECE))


class GivesWholePieces(SoundSource):
    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        return super().pieces(digest, start - start % _PIECE, end)


class GivesAByteForNothing(SoundSource):
    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        return super().pieces(digest, start, end) if end > start else iter([b"x"])


class ReadsForwardOnly(SoundSource):
    """Has one position for all reads, as a stream has."""

    at = 0

    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        self.at = max(self.at, start)
        while self.at < end:
            piece = self.blobs[digest][self.at : min(end, self.at + _PIECE)]
            self.at += len(piece)
            yield piece


class ReusesOneBuffer(SoundSource):
    """One buffer for all reads, not for each."""

    buffer = bytearray(_PIECE)

    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        for piece in super().pieces(digest, start, end):
            self.buffer[: len(piece)] = piece
            yield memoryview(self.buffer)[: len(piece)]
            self.buffer[: len(piece)] = bytes(len(piece))


class LeaksKeyErrors(SoundSource):
    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        _ = self.blobs[digest]
        return super().read_blob(digest, offset, size)


class EndsQuietly(SoundSource):
    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        self.require_open()
        return self.pieces(digest, offset, min(offset + size, len(self.blobs.get(digest, b""))))


class FillsUpWithZeros(SoundSource):
    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        self.require_open()
        if digest not in self.blobs:
            return super().read_blob(digest, offset, size)
        return iter([self.blobs[digest][offset : offset + size].ljust(size, b"\0")])


class FindsOutTooLate(SoundSource):
    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        self.require_open()
        held = self.blobs.get(digest, b"")
        yield held[offset : offset + size].ljust(size, b"\0")
        if offset + size > len(held):
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.ENDS_EARLY, digest=digest)


class HasTenReads(SoundSource):
    """Each read keeps a handle for ever."""

    handles = 0

    def pieces(self, digest: str, start: int, end: int) -> Iterator[bytes | memoryview]:
        self.handles += 1
        if self.handles > 30:
            raise OSError("too many open files")
        yield from super().pieces(digest, start, end)
        self.handles -= 1


class ReadsAfterClose(SoundSource):
    def close(self) -> None:
        pass


class ClosesOnce(SoundSource):
    def close(self) -> None:
        self.require_open()
        super().close()


class SoundTarget:
    """Keeps a model in memory."""

    label = "memory"
    at_once = 3

    def __init__(self, place: MemoryPlace) -> None:
        self.place = place
        self.closed = False

    def require_open(self) -> None:
        if self.closed:
            raise UsedAfterClose("SoundTarget")

    def has(self, blob: Descriptor, /) -> bool:
        self.require_open()
        return blob.digest in self.place.blobs

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        self.require_open()
        self.keep(blob, b"".join(map(bytes, read(0, blob.size))))

    def keep(self, blob: Descriptor, data: bytes) -> None:
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != blob.digest:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.OTHER_BYTES, digest=blob.digest)
        self.place.blobs[blob.digest] = data

    def put_manifest(self, manifest: Manifest, /) -> None:
        self.require_open()
        if not all(blob.digest in self.place.blobs for blob in manifest.blobs):
            raise place_failed(Side.TARGET, self.label, PlaceProblem.INCOMPLETE)
        self.place.manifest = manifest.raw

    def close(self) -> None:
        self.closed = True


class MemoryPlace:
    """Where targets of one kind keep one model."""

    def __init__(self, kind: type[SoundTarget] = SoundTarget) -> None:
        self.kind = kind
        self.blobs: dict[str, bytes] = {}
        self.manifest: bytes | None = None
        self.lock = threading.Lock()

    def target(self) -> ModelTarget:
        return self.kind(self)

    def read(self) -> SampleModel | None:
        if self.manifest is None:
            return None
        blobs = Manifest.parse(self.manifest).blobs
        return SampleModel(self.manifest, {b.digest: self.blobs[b.digest] for b in blobs if b.digest in self.blobs})


class HasEverything(SoundTarget):
    def has(self, blob: Descriptor, /) -> bool:
        self.require_open()
        return True


class HasNothing(SoundTarget):
    def has(self, blob: Descriptor, /) -> bool:
        return super().has(blob) and False


class KnowsSizesOnly(SoundTarget):
    def has(self, blob: Descriptor, /) -> bool:
        self.require_open()
        return blob.size in map(len, self.place.blobs.values())


class ForgetsEmptyBlobs(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        if data:
            super().keep(blob, data)


class ReadsBlocks(SoundTarget):
    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        self.require_open()
        self.keep(blob, b"".join(map(bytes, read(0, blob.size + -blob.size % 4096)))[: blob.size])


class BelievesAnything(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        self.place.blobs[blob.digest] = data


class ChecksSizesOnly(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        if len(data) != blob.size:
            super().keep(blob, data)
        self.place.blobs[blob.digest] = data


class KeepsWhatItRefuses(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        self.place.blobs[blob.digest] = data
        super().keep(blob, data)


class TranslatesErrors(SoundTarget):
    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        try:
            super().put_blob(blob, read)
        except OSError as exc:
            raise place_failed(Side.TARGET, self.label, PlaceProblem.BROKEN, words=str(exc)) from exc


class SwallowsErrors(SoundTarget):
    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        try:
            super().put_blob(blob, read)
        except OllamaPushError as exc:
            if isinstance(exc, UsedAfterClose):
                raise


class KeepsHalfABlob(SoundTarget):
    """Counts a blob as there once its first bytes are."""

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        self.require_open()
        before = self.place.blobs.get(blob.digest, b"")
        data = before
        for piece in read(len(before), blob.size - len(before)):
            data += bytes(piece)
            self.place.blobs[blob.digest] = data
        self.keep(blob, data)


class ResumesWithoutProof(SoundTarget):
    """Goes on behind what is there, and believes it."""

    left: dict[str, bytes] = {}  # noqa: RUF012

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        self.require_open()
        data = self.left.pop(blob.digest, b"")
        try:
            for piece in read(len(data), blob.size - len(data)):
                data += bytes(piece)
        except Exception:
            self.left[blob.digest] = data + b"?"
            raise
        self.keep(blob, data[: blob.size])


class GivesUpForGood(SoundTarget):
    """A blob that failed once is never taken."""

    failed: set[str] = set()  # noqa: RUF012

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        if blob.digest in self.failed:
            raise place_failed(Side.TARGET, self.label, PlaceProblem.BROKEN, words="failed before")
        try:
            super().put_blob(blob, read)
        except Exception:
            self.failed.add(blob.digest)
            raise


class ShowsItAtOnce(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        super().keep(blob, data)
        self.place.manifest = self.place.manifest or b'{"layers":[]}'


class WritesItAnew(SoundTarget):
    def put_manifest(self, manifest: Manifest, /) -> None:
        super().put_manifest(manifest)
        self.place.manifest = manifest.raw.strip()


class KeepsTheFirst(SoundTarget):
    def put_manifest(self, manifest: Manifest, /) -> None:
        before = self.place.manifest
        super().put_manifest(manifest)
        self.place.manifest = before or manifest.raw


class TakesIncompleteModels(SoundTarget):
    def put_manifest(self, manifest: Manifest, /) -> None:
        self.require_open()
        self.place.manifest = manifest.raw


class RemovesBeforeItRefuses(SoundTarget):
    def put_manifest(self, manifest: Manifest, /) -> None:
        self.require_open()
        self.place.manifest = None
        super().put_manifest(manifest)


class PromisesTooMuch(SoundTarget):
    """Says that it takes three at once, and takes one."""

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        if not self.place.lock.acquire(blocking=False):
            raise place_failed(Side.TARGET, self.label, PlaceProblem.BROKEN, words="busy")
        try:
            super().put_blob(blob, lambda offset, size: iter([b"".join(map(bytes, _slowly(read(offset, size))))]))
        finally:
            self.place.lock.release()


def _slowly(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        threading.Event().wait(0.001)
        yield piece


class TakesNothingAtOnce(SoundTarget):
    at_once = 0


class RefusesASecondTime(SoundTarget):
    def keep(self, blob: Descriptor, data: bytes) -> None:
        if blob.digest in self.place.blobs:
            raise FileExistsError(blob.digest)
        super().keep(blob, data)


class WorksAfterClose(SoundTarget):
    def close(self) -> None:
        pass


class FinishesOnClose(SoundTarget):
    def close(self) -> None:
        super().close()
        if self.place.manifest is None and self.place.blobs:
            self.place.manifest = b'{"layers":[]}'
