"""Modelfiles, the GGUF files that they name, and what a real ``ollama create`` of 0.14.3 made of them.

``OLLAMA_BIN=... python -m tests.support.created_models --write`` records the second half of them again.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.real_ollama import OLLAMA, RealOllama

from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.testing.models import write_gguf

__all__ = ["MODELFILES", "create_really", "recorded", "small_gguf", "write_files"]

RECORDINGS: Final = Path(__file__).parents[1] / "data" / "create"
_FIRST: Final = RECORDINGS / "create-0.14.3.json"
_SECOND: Final = RECORDINGS / "shapes-0.14.3.json"

_UINT32, _STRING = 4, 8

MODELFILES: Final[dict[str, str]] = {
    "renderer": "FROM tiny.gguf\nRENDERER qwen3-coder\nPARSER qwen3-coder\nREQUIRES v0.14.0\n",
    "adapter": "FROM ./quantized.gguf\nADAPTER ./adapter.gguf\n",
    "projector": "FROM ./projector.gguf\n",
    "carriage returns": 'from\ttiny.gguf\r\n# a comment\r\n\r\nSystem "quoted"\r\nPARAMETER top_k 40\r\n'
    "parameter stop a\r\n",
    "extremes": (
        "FROM tiny.gguf\nPARAMETER temperature 1e-7\nPARAMETER top_p .1\nPARAMETER repeat_penalty 16777216\n"
        "PARAMETER seed 9007199254740993\nPARAMETER num_ctx 131072\nPARAMETER min_p 0.05\nPARAMETER use_mmap T\n"
        "PARAMETER presence_penalty -0.30\nPARAMETER frequency_penalty 3.4e38\nPARAMETER num_keep +5\n"
        "PARAMETER num_predict 1\nPARAMETER num_predict 2\nPARAMETER low_vram true\n"
    ),
    "escapes": (
        'FROM tiny.gguf\nPARAMETER stop "<a href=\\"x\\">&\u00e9\u4f60\u200b\u00a0end"\nPARAMETER stop "\ttab"\n'
        'SYSTEM """\n  He said "hi".\n\n\tindented\n"""\nTEMPLATE """{{ .System }} <|im_start|>"""\n'
    ),
    "roles": (
        'FROM tiny.gguf\nMESSAGE system You are: brief\nMESSAGE user """multi\nline"""\nMESSAGE assistant ok\n'
        "MESSAGE user \nMESSAGE assistant <&>\n"
    ),
    "last of each": (
        'SYSTEM first\nTEMPLATE first\nFROM tiny.gguf\nSYSTEM second\nTEMPLATE {{ .Prompt }}\nLICENSE ""\nLICENSE MIT\n'
        "LICENSE MIT\n"
    ),
}


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def small_gguf(texts: dict[str, str], numbers: dict[str, int], shapes: list[tuple[int, ...]]) -> bytes:
    """Return a GGUF v3 file with these values and F32 tensors."""
    values = [_string(key) + struct.pack("<I", _STRING) + _string(text) for key, text in texts.items()]
    values += [_string(key) + struct.pack("<II", _UINT32, number) for key, number in numbers.items()]
    tensors, offset = b"", 0
    for index, shape in enumerate(shapes):
        tensors += _string(f"t{index}") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        size = 4
        for length in shape:
            size *= length
        offset += size + -size % 32
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(values)) + b"".join(values) + tensors
    return head + bytes(-len(head) % 32) + bytes(offset)


def write_files(folder: Path) -> None:
    """Write the GGUF files that the Modelfiles name."""
    with (folder / "tiny.gguf").open("wb") as file:
        write_gguf(file, "my-llama", 400)
    (folder / "quantized.gguf").write_bytes(
        small_gguf({"general.architecture": "qwen2"}, {"general.file_type": 15, "qwen2.block_count": 2}, [(7, 3), (5,)])
    )
    (folder / "adapter.gguf").write_bytes(
        small_gguf({"general.architecture": "qwen2", "general.type": "adapter"}, {"general.file_type": 1}, [(4, 4)])
    )
    (folder / "projector.gguf").write_bytes(
        small_gguf({"general.architecture": "clip"}, {"clip.vision.block_count": 3, "general.file_type": 32}, [(32, 4)])
    )


def recorded() -> dict[str, dict[str, Any]]:
    """Return, by name, the Modelfile, the manifest and the small blobs of each model."""
    first = json.loads(_FIRST.read_text("utf-8"))["models"]
    return {**first, **json.loads(_SECOND.read_text("utf-8"))["models"]}


def create_really(folder: Path, server: RealOllama, models: Path) -> dict[str, tuple[Descriptor, ...]]:
    """Have a real Ollama make each model of *folder*; return the blobs of each."""
    return {name: Manifest.parse(json.dumps(raw).encode()).blobs for name, raw in _created(folder, server, models)}


def _created(folder: Path, server: RealOllama, models: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    environment = {**os.environ, "OLLAMA_HOST": server.host, "HOME": str(folder)}
    for number, (name, text) in enumerate(MODELFILES.items()):
        (folder / "Modelfile").write_bytes(text.encode())
        command = [OLLAMA, "create", f"model-{number}", "-f", str(folder / "Modelfile")]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        raw = json.loads((models / f"manifests/registry.ollama.ai/library/model-{number}/latest").read_bytes())
        for layer in raw["layers"]:
            layer.pop("from", None)
        yield name, raw


def _record() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        write_files(folder)
        with RealOllama(folder, folder / "models") as server:
            models = {
                name: {"modelfile": MODELFILES[name], "manifest": json.dumps(raw)}
                for name, raw in _created(folder, server, folder / "models")
            }
    return {"made_by": "ollama create, 0.14.3", "models": models}


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    _SECOND.write_text(json.dumps(_record(), indent=1) + "\n", "utf-8")
