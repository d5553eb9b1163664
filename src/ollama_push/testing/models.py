"""Creates a small model store, so that a push can be shown and tested without Ollama.

Source: ollama ``server/create.go``, ``manifest/manifest.go``, ``types/model/config.go`` at fb3076099, for the media
types, the order of the keys and the line end after each JSON; ggml ``docs/gguf.md`` for the weights.
"""

from __future__ import annotations

import hashlib
import random
import struct
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from ollama_push.core.json_text import encode_json
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import BLOBS, Manifest, blob_path, digest_of, manifest_path

__all__ = ["put_tiny_model", "write_gguf"]

_ALIGNMENT: Final = 32
_FLOAT_BYTES: Final = 4
_UINT32, _STRING = 4, 8
"""Types of values, ``gguf_metadata_value_type``."""
_F32: Final = 0
"""``ggml_type`` of the tensor, and the file type that says all tensors are of it."""
_ROW_FLOATS: Final = 1_000
_BLOCK_ROWS: Final = 64
_MODE: Final = 0o644
"""Of blobs, as Ollama makes them; a server that runs as another user reads them."""

_TEMPLATE: Final = b"{{ .Prompt }}"
# As Go's json.Encoder writes it, which escapes "<" and ">".
_PARAMS: Final = rb'{"stop":["\u003c/s\u003e"],"temperature":0.7}' + b"\n"


def write_gguf(file: BinaryIO, name: str, rows: int) -> None:
    """Write weights as one GGUF v3 file, the same every time: random numbers that mean nothing.

    It holds one tensor, ``token_embd.weight``, of *rows* times 1000 F32: 4000 bytes a row.

    Args:
        file: Written from its position, which must be the beginning.
        name: Value of ``general.name``.
        rows: At least 1.
    """
    values = (
        _string("general.architecture") + struct.pack("<I", _STRING) + _string("llama"),
        _string("general.name") + struct.pack("<I", _STRING) + _string(name),
        _string("general.alignment") + struct.pack("<II", _UINT32, _ALIGNMENT),
        _string("general.file_type") + struct.pack("<II", _UINT32, _F32),
        _string("llama.embedding_length") + struct.pack("<II", _UINT32, _ROW_FLOATS),
    )
    # The first dimension is the one whose values are adjacent; the offset counts from the start of the data.
    tensor = _string("token_embd.weight") + struct.pack("<IQQIQ", 2, _ROW_FLOATS, rows, _F32, 0)
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, len(values)) + b"".join(values) + tensor
    file.write(head + bytes(-len(head) % _ALIGNMENT))
    file.writelines(_rows(rows))


def put_tiny_model(root: Path, names: Iterable[ModelName], *, rows: int = 6_000) -> Manifest:
    """Store a model under each of *names*, as ``ollama create`` would: weights, template, parameters, configuration.

    Args:
        root: The store's folder; created when missing.
        names: Names of the model; all get the same manifest.
        rows: Rows of the weights, of 4000 bytes each.

    Returns:
        The manifest that was stored.
    """
    blobs = root / BLOBS
    blobs.mkdir(parents=True, exist_ok=True)
    digest, size = _put_weights(root, rows)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": size},
        _put(root, "application/vnd.ollama.image.template", _TEMPLATE),
        _put(root, "application/vnd.ollama.image.params", _PARAMS),
    ]
    config = {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": _millions(rows * _ROW_FLOATS),
        "file_type": "F32",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    raw = (
        encode_json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": _put(root, "application/vnd.docker.container.image.v1+json", encode_json(config) + b"\n"),
                "layers": layers,
            }
        )
        + b"\n"
    )
    for name in names:
        path = root / manifest_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return Manifest.parse(raw)


def _put_weights(root: Path, rows: int) -> tuple[str, int]:
    """Store the weights and return their digest and size; what was not finished is removed."""
    descriptor, unnamed = tempfile.mkstemp(dir=root / BLOBS, prefix=".weights-")
    try:
        with open(descriptor, "w+b") as file:  # noqa: PTH123 - a descriptor, not a path
            write_gguf(file, "my-llama", rows)
            file.seek(0)
            digest, size = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", file.seek(0, 2)
        Path(unnamed).chmod(_MODE)
        Path(unnamed).replace(root / blob_path(digest))
    except BaseException:
        Path(unnamed).unlink()
        raise
    return digest, size


def _rows(count: int) -> Iterator[bytes]:
    generator = random.Random(1)  # noqa: S311 - the same numbers every time, and no secrets
    block = array("f", (generator.random() - 0.5 for _ in range(_BLOCK_ROWS * _ROW_FLOATS)))
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        block.byteswap()
    data = block.tobytes()
    while count > 0:
        yield data[: count * _ROW_FLOATS * _FLOAT_BYTES]
        count -= _BLOCK_ROWS


def _millions(count: int) -> str:
    """Return a number of parameters as ollama ``format/format.go`` ``HumanNumber`` does from a million up."""
    number = count / 1e6
    return f"{number:.0f}M" if number.is_integer() else f"{number:.2f}M"


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _put(root: Path, media_type: str, data: bytes) -> dict[str, Any]:
    digest = digest_of(data)
    (root / blob_path(digest)).write_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
