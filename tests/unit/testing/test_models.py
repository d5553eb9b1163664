import hashlib
import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import Manifest
from ollama_push.local import ModelStore
from ollama_push.testing.models import put_tiny_model, write_gguf

NAMES = [ModelName.parse("myuser/my-llama"), ModelName.parse("localhost:5000/team/My-Llama:v1")]


@attrs.define
class Reader:
    """Reads GGUF as ggml's docs/gguf.md describes it."""

    data: bytes
    at: int = 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def text(self) -> str:
        (length,) = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def pairs(self, count: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(count):
            key, (kind,) = self.text(), self.take("I")
            found[key] = {4: lambda: self.take("I")[0], 8: self.text}[kind]()
        return found


@pytest.mark.parametrize("rows", [1, 64, 65, 200])
def test_the_weights_read_back_as_gguf(rows: int) -> None:
    file = BytesIO()
    write_gguf(file, "a name", rows)
    reader = Reader(file.getvalue())
    magic, version, tensors, pairs = reader.take("4sIQQ")
    assert (magic, version, tensors) == (b"GGUF", 3, 1)
    assert reader.pairs(pairs) == {
        "general.architecture": "llama",
        "general.name": "a name",
        "general.alignment": 32,
        "general.file_type": 0,
        "llama.embedding_length": 1000,
    }
    assert reader.text() == "token_embd.weight"
    dimensions, columns, lines, kind, offset = reader.take("IQQIQ")
    assert (dimensions, columns, lines, kind, offset) == (2, 1000, rows, 0, 0)
    start = -(-reader.at // 32) * 32
    assert not any(reader.data[reader.at : start])
    values = struct.unpack(f"<{rows * 1000}f", reader.data[start:])
    assert max(values) < 0.5
    assert min(values) >= -0.5
    assert len(set(values)) > 900


def test_the_package_of_ggml_reads_the_weights(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
    with (tmp_path / "model.gguf").open("wb") as file:
        write_gguf(file, "a name", 3)
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    (tensor,) = reader.tensors
    assert (tensor.name, tensor.data.shape) == ("token_embd.weight", (3, 1000))
    assert reader.fields["general.name"].contents() == "a name"


def test_the_model_is_whole_under_each_name(tmp_path: Path) -> None:
    manifest = put_tiny_model(tmp_path / "models", NAMES, rows=2)
    store = ModelStore(tmp_path / "models")
    assert {str(name) for name in store.models()} == {str(name) for name in NAMES}
    for name in NAMES:
        stored = store.load(name)
        assert stored.manifest == manifest
        assert all(stored.rehash(blob.digest) for blob in manifest.blobs)
    assert len(list((tmp_path / "models" / "blobs").iterdir())) == len(manifest.blobs) == 4


def test_the_manifest_is_what_ollama_would_store(tmp_path: Path) -> None:
    raw = put_tiny_model(tmp_path, NAMES, rows=2).raw
    value = json.loads(raw)
    # Go's Encoder ends the line; nothing is between the values.
    assert raw == json.dumps(value, separators=(",", ":")).encode() + b"\n"
    assert list(value) == ["schemaVersion", "mediaType", "config", "layers"]
    assert [list(layer) for layer in (value["config"], *value["layers"])] == [["mediaType", "digest", "size"]] * 4
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in value["layers"]]
    assert kinds == ["model", "template", "params"]
    config = json.loads((tmp_path / "blobs" / value["config"]["digest"].replace(":", "-")).read_bytes())
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in value["layers"]]
    assert (config["model_format"], config["model_type"]) == ("gguf", "0.00M")


def test_the_parameters_are_escaped_as_go_does(tmp_path: Path) -> None:
    params = put_tiny_model(tmp_path, NAMES, rows=1).blobs[2]
    data = (tmp_path / "blobs" / params.digest.replace(":", "-")).read_bytes()
    assert data == b'{"stop":["\\u003c/s\\u003e"],"temperature":0.7}\n'
    assert hashlib.sha256(data).hexdigest() == params.digest.removeprefix("sha256:")


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    manifests: list[Manifest] = [put_tiny_model(tmp_path / folder, NAMES, rows=100) for folder in "ab"]
    assert manifests[0] == manifests[1]
