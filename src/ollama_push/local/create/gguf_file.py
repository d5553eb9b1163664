"""Reads the metadata of GGUF files, with the ``gguf`` package (extra ``gguf``).

Source: ggml ``docs/gguf.md``; ollama ``server/create.go`` (``ggufLayers``), ``fs/ggml/gguf.go`` at v0.14.3.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.created import Weights

if TYPE_CHECKING:
    from gguf import GGUFReader

__all__ = ["MAGIC", "read_weights"]

MAGIC: Final = b"GGUF"
_SPLIT_NAME: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf", re.IGNORECASE)
_STEP: Final = 1024 * 1024


def read_weights(path: Path, digest: str, size: int) -> Weights:
    """Return the metadata of the GGUF file *path*.

    Args:
        path: The file.
        digest: Its digest.
        size: Its bytes.

    Raises:
        InvalidSetting: It is none that can be pushed as it is, or the extra is missing.
    """
    try:
        from gguf import GGUFReader  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as exc:
        problem = "reading it needs the package gguf: pip install 'ollama-push[gguf]'"
        raise InvalidSetting("source", str(path), problem) from exc
    try:
        reader = GGUFReader(path)
        fields = _Fields(reader)
        architecture = fields.text("general.architecture") or "unknown"
        weights = Weights(
            digest,
            size,
            architecture,
            sum(math.prod(int(length) for length in tensor.shape) for tensor in reader.tensors),
            fields.number("general.file_type"),
            fields.text("general.type"),
            fields.number(f"{architecture}.block_count"),
            fields.number(f"{architecture}.vision.block_count"),
        )
        split = fields.any_number("split.count") > 1 or _SPLIT_NAME.search(path.name) is not None
    # The package raises whatever numpy does for a file that is cut or damaged.
    except Exception as exc:
        raise InvalidSetting("source", str(path), f"this is no GGUF file, or it is damaged: {exc}") from exc
    if split:
        problem = "it is one part of several: merge them with `llama-gguf-split`, and push the result"
        raise InvalidSetting("source", str(path), problem)
    return weights


class _Fields:
    """The values of the metadata, where they have the kind that Ollama expects."""

    def __init__(self, reader: GGUFReader) -> None:
        self._fields: Any = reader.fields

    def text(self, key: str) -> str:
        value = self._value(key, "STRING")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a number of 32 bits: Ollama reads no other."""
        value = self._value(key, "UINT32")
        return int(value) if value is not None else 0

    def any_number(self, key: str) -> int:
        value = self._value(key, "UINT16", "UINT32", "UINT64", "INT32")
        return int(value) if value is not None else 0

    def _value(self, key: str, *kinds: str) -> Any:
        field = self._fields.get(key)
        if field is None or len(field.types) != 1 or field.types[0].name not in kinds:
            return None
        return field.contents()
