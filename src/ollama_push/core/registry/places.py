"""Where models come from and where they go: the ports that sources and targets implement.

A source gives one model, a target takes one. A place is either. Blobs are named by their digest; their sizes stand in
the manifest. What is not said here is decided by the copy: what is skipped, how many blobs move at the same time, what
is told to hooks.

A source promises (run it on your own: :mod:`ollama_push.testing.contract.places`):

=====  ==========================================================================================
S1     ``read_manifest`` gives the manifest's own bytes, the same ones each time.
S2     ``read_blob`` gives exactly the bytes that were asked for, in order; a buffer is valid until the next one.
S3     Any range of any blob may be read, in any order and again; an empty range gives nothing.
S4     Blobs may be read at the same time, each also twice.
S5     A blob that is missing, shorter than its range or unreadable is an error before the range is complete.
S6     Only kinds of ``OllamaPushError`` are raised; a digest that is not the model's is ``PushRejected``.
S7     Closing a read early frees what it holds, and other reads go on.
S8     After ``close`` nothing is left open, and reads raise ``UsedAfterClose``; closing again does nothing.
=====  ==========================================================================================

A target promises:

=====  ==========================================================================================
D1     ``has`` is true of a blob that is there as a whole, and of no other.
D2     ``put_blob`` stores the blob by ranges that it reads itself, none beyond the blob; an empty blob, too.
D3     Bytes of another digest are refused: the blob is not there afterwards.
D4     An error that a read raises comes out as it is: the blob is not there afterwards.
D5     A blob whose ``put_blob`` failed can be put again, from where it stood or from its first byte.
D6     Before ``put_manifest`` no model is there; afterwards it is, with the manifest's own bytes.
D7     ``put_manifest`` replaces the model of the same name, at once.
D8     A manifest with a blob that is not there is refused, and the model of that name stays.
D9     ``at_once`` blobs may be put at the same time.
D10    Only kinds of ``OllamaPushError`` are raised, but for D4.
D11    After ``close`` nothing is left open, and calls raise ``UsedAfterClose``; closing again does nothing.
=====  ==========================================================================================

Source: OCI image-spec v1.1, "Content Descriptors", for what names a blob.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, runtime_checkable

import attrs

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.facts import PlaceFailed, PlaceProblem, Side
from ollama_push.core.json_text import decode_json
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Descriptor, Manifest

__all__ = [
    "AsyncModelSource",
    "AsyncModelTarget",
    "AsyncReadRange",
    "ModelSource",
    "ModelTarget",
    "ReadRange",
    "manifest_of",
    "place_failed",
]

ReadRange = Callable[[int, int], Iterator[bytes | memoryview]]
"""Reads so many bytes of a blob: called with the first byte's offset, and the size of the range."""

AsyncReadRange = Callable[[int, int], AsyncIterator[bytes | memoryview]]
"""The awaited twin of ``ReadRange``."""


@runtime_checkable
class ModelSource(Protocol):
    """Gives one model; the module docstring lists what it promises."""

    @property
    def label(self) -> str:
        """How people are told where the model comes from; without secrets."""
        ...

    def read_manifest(self) -> bytes:
        """Return the manifest as it is."""
        ...

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        """Yield *size* bytes of the blob *digest* from *offset* on."""
        ...

    def close(self) -> None:
        """Close what is open. Idempotent."""
        ...


@runtime_checkable
class ModelTarget(Protocol):
    """Takes one model; the module docstring lists what it promises."""

    @property
    def label(self) -> str:
        """How people are told where the model goes; without secrets."""
        ...

    @property
    def at_once(self) -> int:
        """How many blobs may be put at the same time, at least 1."""
        ...

    def has(self, blob: Descriptor, /) -> bool:
        """Say whether the whole *blob* is there."""
        ...

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        """Store *blob*, whose bytes *read* gives as often as it is asked. Returns when the blob is there."""
        ...

    def put_manifest(self, manifest: Manifest, /) -> None:
        """Make the model visible, once all of its blobs are there."""
        ...

    def close(self) -> None:
        """Close what is open; what was not finished is not visible. Idempotent."""
        ...


class AsyncModelSource(Protocol):
    """The awaited twin of :class:`ModelSource`."""

    @property
    def label(self) -> str:
        """How people are told where the model comes from; without secrets."""
        ...

    async def read_manifest(self) -> bytes:
        """Return the manifest as it is."""
        ...

    def read_blob(self, digest: str, offset: int, size: int, /) -> AsyncIterator[bytes | memoryview]:
        """Yield *size* bytes of the blob *digest* from *offset* on."""
        ...

    async def aclose(self) -> None:
        """Close what is open. Idempotent."""
        ...


class AsyncModelTarget(Protocol):
    """The awaited twin of :class:`ModelTarget`."""

    @property
    def label(self) -> str:
        """How people are told where the model goes; without secrets."""
        ...

    @property
    def at_once(self) -> int:
        """How many blobs may be put at the same time, at least 1."""
        ...

    async def has(self, blob: Descriptor, /) -> bool:
        """Say whether the whole *blob* is there."""
        ...

    async def put_blob(self, blob: Descriptor, read: AsyncReadRange, /) -> None:
        """Store *blob*, whose bytes *read* gives as often as it is asked. Returns when the blob is there."""
        ...

    async def put_manifest(self, manifest: Manifest, /) -> None:
        """Make the model visible, once all of its blobs are there."""
        ...

    async def aclose(self) -> None:
        """Close what is open; what was not finished is not visible. Idempotent."""
        ...


def place_failed(side: Side, place: str, problem: PlaceProblem, *, digest: str = "", words: str = "") -> PushRejected:
    """Return the error of a *place* that cannot give a model, or cannot take it."""
    reason = RejectionReason.SOURCE_FAILED if side is Side.SOURCE else RejectionReason.TARGET_FAILED
    if problem is PlaceProblem.NO_MODEL:
        reason = RejectionReason.MODEL_NOT_FOUND
    return PushRejected("", reason, PlaceFailed(side, place, problem, digest, words))


def manifest_of(raw: bytes, label: str) -> Manifest:
    """Return the manifest that the source *label* gave.

    Raises:
        PushRejected: It is none of a model, such as a list of manifests for several platforms.
    """
    try:
        manifest = Manifest.parse(raw)
        has_type = "mediaType" in decode_json(raw)
    except ValueError as exc:
        words = f"what it gives as a manifest is none of a model: {exc}"
        raise place_failed(Side.SOURCE, label, PlaceProblem.BROKEN, words=words) from exc
    # Only OCI manifests may leave it out (image-spec v1.1, "Image Manifest Property Descriptions").
    return manifest if has_type else attrs.evolve(manifest, media_type=MANIFEST_MEDIA_TYPES[1])
