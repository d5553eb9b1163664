"""The lines that a client is sent during a push: a real server's, made from the state of the push, not from a queue.

A slow reader finds the newest counters when it comes back; nothing waits for it and nothing piles up.

Source: ollama ``server/images.go`` ``PushModel``, ``server/upload.go`` ``Wait``, ``api/types.go``
``ProgressResponse`` at fb3076099, and the recordings of 0.32.15.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import attrs

from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.core.registry.manifests import Descriptor, Manifest, short_digest
from ollama_push.gateway.go_json import encode_go

__all__ = [
    "COULD_NOT_RETRIEVE_LINE",
    "PUSHING_MANIFEST_LINE",
    "RETRIEVING_LINE",
    "SUCCESS_LINE",
    "ProgressLines",
    "error_line",
]

_TENSOR: Final = "application/vnd.ollama.image.tensor"


def _line(**fields: str | int) -> bytes:
    # Go's "omitempty": zeros are left out.
    return encode_go({key: value for key, value in fields.items() if value}) + b"\n"


RETRIEVING_LINE: Final = _line(status="retrieving manifest")
COULD_NOT_RETRIEVE_LINE: Final = _line(status="couldn't retrieve manifest")
PUSHING_MANIFEST_LINE: Final = _line(status="pushing manifest")
SUCCESS_LINE: Final = _line(status="success")


def error_line(text: str) -> bytes:
    """Return the last line of a push that failed."""
    return _line(error=text)


class ProgressLines:
    """The lines of one push. Events may come at any rate; lines are taken when they can be written.

    Args:
        manifest: Of the model. The counters of tensors are sent as one sum, as ``images.go`` does, and without a line
            about the manifest; those of other layers one by one.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._is_one_sum = any(blob.media_type == _TENSOR for blob in manifest.blobs)
        self._counters = _SumOfLayers(manifest) if self._is_one_sum else _LayerByLayer(manifest)
        self._blobs_are_there = False
        self._last_lines = deque[bytes]()

    def receive_event(self, event: PushEvent) -> bool:
        """Take an event; return whether there may be lines to take at once."""
        match event:
            case LayerProgress():
                return self._counters.receive(event.digest, event.completed)
            case StatusChanged(status="pushing manifest"):
                self._note_blobs()
            case PushSucceeded():
                self._note_blobs()
                self._last_lines.append(SUCCESS_LINE)
            case _:
                return False
        return True

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        """Yield the lines to write now; *tick* says that the time for counters has come."""
        if not self._blobs_are_there:
            yield from self._counters.next_lines(tick=tick)
            return
        yield from self._counters.remaining_lines()
        while self._last_lines:
            yield self._last_lines.popleft()

    def _note_blobs(self) -> None:
        if not self._blobs_are_there and not self._is_one_sum:
            self._last_lines.append(PUSHING_MANIFEST_LINE)
        self._blobs_are_there = True


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
        # A counter that falls was being uploaded after all: its first report may have come late.
        self.was_present = completed == self.blob.size and (self.completed is None or self.was_present)
        self.completed = completed

    def line(self) -> bytes:
        self.shown = self.completed
        digest, size = self.blob.digest, self.blob.size
        return _line(status=f"pushing {short_digest(digest)}", digest=digest, total=size, completed=self.completed or 0)


class _LayerByLayer:
    """Counters strictly one after the other in the manifest's order, although layers are uploaded side by side."""

    def __init__(self, manifest: Manifest) -> None:
        self._layers = [_Layer(blob) for blob in manifest.blobs]
        self._by_digest = {layer.blob.digest: layer for layer in self._layers}
        self._at = 0

    def receive(self, digest: str, completed: int) -> bool:
        layer = self._by_digest.get(digest)
        if layer is None:  # the model was changed in the store a moment ago
            return False
        is_first = layer.completed is None
        layer.receive(completed)
        return is_first

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
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

    def remaining_lines(self) -> Iterator[bytes]:
        """Yield the full counters that were not shown yet: all blobs are in the registry."""
        for layer in self._layers[self._at :]:
            layer.completed = layer.blob.size
            if layer.shown != layer.completed:
                yield layer.line()
        self._at = len(self._layers)


class _SumOfLayers:
    """One counter for the whole model."""

    def __init__(self, manifest: Manifest) -> None:
        self._total = manifest.total_bytes
        self._completed: dict[str, int] = {}
        self._shown: int | None = None

    def receive(self, digest: str, completed: int) -> bool:
        self._completed[digest] = completed
        return self._shown is None

    def next_lines(self, *, tick: bool) -> Iterator[bytes]:
        if self._completed and (tick or self._shown is None):
            yield self._line(sum(self._completed.values()))

    def remaining_lines(self) -> Iterator[bytes]:
        """Yield the full counter if it was not shown yet: all blobs are in the registry."""
        if self._shown != self._total:
            yield self._line(self._total)

    def _line(self, completed: int) -> bytes:
        self._shown = completed
        return _line(status="pushing model", digest="sha256:model", total=self._total, completed=completed)
