"""What ``ollama create`` makes of weights and a Modelfile: the small layers, the config, the manifest.

Source: ollama ``server/create.go``, ``types/model/config.go``, ``format/format.go``, ``fs/ggml/type.go`` at v0.14.3;
Go's ``encoding/json`` for how they are written.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of
from ollama_push.core.registry.modelfile import Modelfile

__all__ = ["CreatedModel", "Weights", "create_model"]

_IMAGE: Final = "application/vnd.ollama.image."
_CONFIG_TYPE: Final = "application/vnd.docker.container.image.v1+json"
_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"

_THOUSAND, _MILLION, _BILLION = 10**3, 10**6, 10**9
_FLOAT_DIGITS: Final = 9
_LARGEST_FLOAT: Final = 3.4028235677973366e38
_SMALLEST, _LARGEST = 1e-6, 1e21
"""Go writes numbers outside of these with an exponent."""

_FILE_TYPES: Final[Mapping[int, str]] = {
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    4: "MXFP4",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    21: "Q2_K_S",
    32: "BF16",
}
"""``general.file_type``; of 0 and all others Ollama says ``unknown``."""


@attrs.frozen
class Weights:
    """A GGUF file, by its metadata.

    Attributes:
        digest: Of the file.
        size: Its bytes.
        architecture: ``general.architecture``.
        parameters: How many numbers its tensors hold.
        file_type: ``general.file_type``; 0 when it has none.
        kind: ``general.type``; empty when it has none.
        block_count: Of the language model; 0 when it has none.
        vision_block_count: Of a vision model; 0 when it has none.
    """

    digest: str
    size: int
    architecture: str = "unknown"
    parameters: int = 0
    file_type: int = 0
    kind: str = ""
    block_count: int = 0
    vision_block_count: int = 0

    @property
    def media_type(self) -> str:
        """Media type of its layer."""
        if self.kind == "adapter":
            return f"{_IMAGE}adapter"
        is_vision_alone = self.block_count == 0 and self.vision_block_count > 0
        return f"{_IMAGE}projector" if is_vision_alone or self.kind == "projector" else f"{_IMAGE}model"


@attrs.frozen
class CreatedModel:
    """A model that was made.

    Attributes:
        manifest: Its manifest.
        blobs: The small blobs, by digest; the weights are elsewhere.
    """

    manifest: Manifest
    blobs: Mapping[str, bytes]


def create_model(modelfile: Modelfile, weights: Sequence[Weights]) -> CreatedModel:
    """Return the model of *modelfile*.

    Args:
        modelfile: What it says besides its files.
        weights: Those of FROM, then that of ADAPTER.
    """
    blobs: dict[str, bytes] = {}

    def put(media_type: str, data: bytes) -> Descriptor:
        digest = digest_of(data)
        blobs[digest] = data
        return Descriptor(digest, len(data), media_type)

    layers = [Descriptor(each.digest, each.size, each.media_type) for each in weights]
    texts = [("template", modelfile.template), ("system", modelfile.system)]
    layers += [put(f"{_IMAGE}{kind}", text.encode()) for kind, text in texts if text]
    layers += [put(f"{_IMAGE}license", text.encode()) for text in modelfile.licenses]
    if modelfile.parameters:
        layers.append(put(f"{_IMAGE}params", _json(dict(sorted(modelfile.parameters.items())))))
    if modelfile.messages:
        messages = [{"role": each.role, "content": each.content} for each in modelfile.messages]
        layers.append(put(f"{_IMAGE}messages", _json(messages)))
    config = put(_CONFIG_TYPE, _json(_config(modelfile, weights, [layer.digest for layer in layers])))
    raw = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _fields(config),
            "layers": [_fields(layer) for layer in layers],
        }
    )
    return CreatedModel(Manifest.parse(raw), blobs)


def _config(modelfile: Modelfile, weights: Sequence[Weights], digests: Sequence[str]) -> dict[str, Any]:
    first = weights[0]
    optional = {"renderer": modelfile.renderer, "parser": modelfile.parser, "requires": modelfile.requires}
    return {
        "model_format": "gguf",
        "model_family": first.architecture,
        "model_families": [each.architecture for each in weights],
        "model_type": _count(first.parameters),
        "file_type": _FILE_TYPES.get(first.file_type, "unknown"),
        **{key: text for key, text in optional.items() if text},
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": list(digests)},
    }


def _fields(blob: Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def _count(parameters: int) -> str:
    """Return a number of parameters for people."""
    if parameters >= _BILLION:
        return _scaled(parameters, _BILLION, "B", 1)
    if parameters >= _MILLION:
        return _scaled(parameters, _MILLION, "M", 2)
    return f"{parameters / _THOUSAND:.0f}K" if parameters >= _THOUSAND else str(parameters)


def _scaled(number: int, unit: int, letter: str, digits: int) -> str:
    return f"{number // unit}{letter}" if number % unit == 0 else f"{number / unit:.{digits}f}{letter}"


def _json(value: Any) -> bytes:
    """Return *value* as Go's ``json.Encoder`` writes it, with its line end."""
    return f"{_encoded(value)}\n".encode()


def _encoded(value: Any) -> str:
    match value:
        case str():
            text = json.dumps(value, ensure_ascii=False)
            # As HTML wants it, and JavaScript.
            for char in "<>&\u2028\u2029":
                text = text.replace(char, f"\\u{ord(char):04x}")
            return text
        case bool():
            return "true" if value else "false"
        case int():
            return _number(float(value)) if abs(value) >= 2**53 else str(value)
        case float():
            return _number(float(_shortest(value)))
        case dict():
            return f"{{{','.join(f'{_encoded(key)}:{_encoded(each)}' for key, each in value.items())}}}"
    return f"[{','.join(map(_encoded, value))}]"


def _shortest(number: float) -> str:
    """Return the fewest digits that mean the same number of 32 bits."""
    exact = struct.pack("<f", number)
    for digits in range(1, _FLOAT_DIGITS):
        text = f"{number:.{digits}g}"
        # Rounded up, the largest number has no 32 bits.
        if abs(float(text)) <= _LARGEST_FLOAT and struct.pack("<f", float(text)) == exact:
            return text
    return f"{number:.{_FLOAT_DIGITS}g}"


def _number(number: float) -> str:
    """Return a number of 64 bits, which all are on their way to the server."""
    if number and not _SMALLEST <= abs(number) < _LARGEST:
        mantissa, _, exponent = repr(number).partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
    plain = format(Decimal(repr(number)), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
