"""Models that the contracts of sources and targets are proved with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Self

import attrs

from ollama_push.core.json_text import encode_json
from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of

__all__ = ["LARGE", "SAMPLE", "SampleModel"]

_KIB: Final = 1024


@attrs.frozen
class SampleModel:
    """A small model.

    Attributes:
        manifest: The manifest's bytes.
        blobs: The bytes of each blob, by digest; a damaged model lacks some of them.
    """

    manifest: bytes
    blobs: Mapping[str, bytes] = attrs.field(repr=False)

    @classmethod
    def of(cls, *layers: bytes) -> Self:
        """Return the model of *layers*."""
        config = b'{"model_format":"gguf"}'
        raw = encode_json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
                "layers": [_descriptor("application/vnd.ollama.image.model", layer) for layer in layers],
            }
        )
        return cls(raw + b"\n", {digest_of(data): data for data in (*layers, config)})

    @property
    def parsed(self) -> Manifest:
        """The manifest, read."""
        return Manifest.parse(self.manifest)

    def with_blob(self, digest: str, data: bytes | None) -> Self:
        """Return a model that holds *data* as *digest*, or lacks it."""
        others = {each: held for each, held in self.blobs.items() if each != digest}
        return attrs.evolve(self, blobs=others if data is None else {**others, digest: data})

    def reader(self, digest: str, asked: list[tuple[int, int]] | None = None) -> Callable[[int, int], Iterator[bytes]]:
        """Return what reads ranges of a blob, and notes in *asked* which ones."""

        def read(offset: int, size: int) -> Iterator[bytes]:
            if asked is not None:
                asked.append((offset, size))
            data = self.blobs[digest][offset : offset + size]
            return (data[start : start + 1000] for start in range(0, len(data), 1000))

        return read

    def blob(self, digest: str) -> Descriptor:
        """Return what the manifest says of a blob."""
        return next(blob for blob in self.parsed.blobs if blob.digest == digest)


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _noise(size: int, seed: bytes) -> bytes:
    return hashlib.shake_128(seed).digest(size)


SAMPLE: Final = SampleModel.of(_noise(300 * _KIB + 7, b"weights"), b"{{ .Prompt }}", b"")
"""A layer of several buffers, a small one, and an empty one."""

LARGE: Final = max(SAMPLE.blobs, key=lambda digest: len(SAMPLE.blobs[digest]))
"""The digest of its largest layer."""
