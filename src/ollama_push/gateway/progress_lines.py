"""What a client is told of a push: a real server's lines, made from how things stand and not from a queue.

A reader that is slow finds the newest counters when it comes back; nothing waits for it and nothing piles up.

Source: ollama ``server/images.go`` ``PushModel``, ``server/upload.go`` ``Wait``, ``api/types.go``
``ProgressResponse`` at fb3076099, and the recordings of 0.32.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import attrs

from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.registry.digests import short_digest
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.gateway.go_json import encode_go

__all__ = [
    "COULD_NOT_RETRIEVE",
    "PUSHING_MANIFEST",
    "RETRIEVING",
    "SUCCESS",
    "ProgressLines",
    "error_line",
    "progress_lines_for",
]

_TENSOR: Final = "application/vnd.ollama.image.tensor"


def _line(**fields: str | int) -> bytes:
    # "omitempty": what is zero is left out.
    return encode_go({key: value for key, value in fields.items() if value}) + b"\n"


RETRIEVING: Final = _line(status="retrieving manifest")
COULD_NOT_RETRIEVE: Final = _line(status="couldn't retrieve manifest")
PUSHING_MANIFEST: Final = _line(status="pushing manifest")
SUCCESS: Final = _line(status="success")


def error_line(text: str) -> bytes:
    """Return the last line of a push that failed."""
    return encode_go({"error": text}) + b"\n"


class ProgressLines(Protocol):
    """One push as it is told. Events may come at any rate; lines are taken when they can be written."""

    def receive_event(self, event: PushEvent) -> bool:
        """Take an event; return whether there may be lines to take at once."""
        ...

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        """Yield what is to be said now; *tick* says that the time for counters has come."""
        ...


def progress_lines_for(manifest: Manifest) -> ProgressLines:
    """Return how a push of *manifest* is told: tensors all together, as ``images.go`` does, else layer by layer."""
    tensors = any(blob.media_type == _TENSOR for blob in manifest.blobs)
    return _AllTogether(manifest) if tensors else _LayerByLayer(manifest)


@attrs.define
class _Layer:
    blob: Descriptor
    completed: int | None = None
    was_present: bool = False
    shown: int | None = None

    @property
    def is_full(self) -> bool:
        return self.completed == self.blob.size

    def receive(self, completed: int) -> None:
        # A layer that falls was being uploaded after all: its first report may have come late.
        self.was_present = completed == self.blob.size and (self.completed is None or self.was_present)
        self.completed = completed

    def line(self) -> bytes:
        self.shown = self.completed
        digest, total = self.blob.digest, self.blob.size
        return _line(
            status=f"pushing {short_digest(digest)}", digest=digest, total=total, completed=self.completed or 0
        )


class _Told:
    """What both ways of telling take in."""

    def __init__(self) -> None:
        self._blobs_are_there = self._succeeded = False

    def receive_event(self, event: PushEvent) -> bool:
        match event:
            case LayerProgress():
                return self._receive_progress(event)
            case StatusChanged(status="pushing manifest"):
                self._blobs_are_there = True
            case PushSucceeded():
                self._blobs_are_there = self._succeeded = True
            case _:
                return False
        return True

    def _receive_progress(self, event: LayerProgress) -> bool:
        raise NotImplementedError


class _LayerByLayer(_Told):
    """Layers strictly one after the other in the manifest's order, although they are uploaded side by side."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self._layers = [_Layer(blob) for blob in manifest.blobs]
        self._by_digest = {layer.blob.digest: layer for layer in self._layers}
        self._at = 0
        self._manifest_told = False

    def _receive_progress(self, event: LayerProgress) -> bool:
        layer = self._by_digest.get(event.digest)
        if layer is None:  # the model was changed in the store a moment ago
            return False
        is_first = layer.completed is None
        layer.receive(event.completed)
        return is_first

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        if self._blobs_are_there:
            yield from self._rest()
            return
        while self._at < len(self._layers):
            layer = self._layers[self._at]
            if layer.completed is None:
                return
            if not layer.was_present:
                if not tick:
                    return
                yield layer.line()
                # The last one that is uploaded keeps ticking until the registry has taken them all.
                if layer.is_full and not all(later.is_full for later in self._layers[self._at + 1 :]):
                    self._at += 1
                return
            yield layer.line()
            self._at += 1

    def _rest(self) -> Iterator[bytes]:
        for layer in self._layers[self._at :]:
            layer.completed = layer.blob.size
            if layer.shown != layer.completed:
                yield layer.line()
        self._at = len(self._layers)
        if not self._manifest_told:
            self._manifest_told = True
            yield PUSHING_MANIFEST
        if self._succeeded:
            self._succeeded = False
            yield SUCCESS


class _AllTogether(_Told):
    """One counter for the whole model, and no word of the manifest."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self._total = manifest.total_bytes
        self._completed: dict[str, int] = {}
        self._shown: int | None = None

    def _receive_progress(self, event: LayerProgress) -> bool:
        self._completed[event.digest] = event.completed
        return self._shown is None

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        if self._blobs_are_there:
            if self._shown != self._total:
                yield self._counters(self._total)
            if self._succeeded:
                self._succeeded = False
                yield SUCCESS
        elif self._completed and (tick or self._shown is None):
            yield self._counters(sum(self._completed.values()))

    def _counters(self, completed: int) -> bytes:
        self._shown = completed
        return _line(status="pushing model", digest="sha256:model", total=self._total, completed=completed)
