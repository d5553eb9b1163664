"""GGUF files and Modelfiles as sources: the digests are those of a stock ``ollama create``."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.created_models import MODELFILES, create_really, recorded, small_gguf, write_files
from tests.support.real_ollama import OLLAMA, RealOllama, needs_ollama

from ollama_push import RegistryClient
from ollama_push.core.errors import InvalidSetting, PushInterrupted
from ollama_push.core.registry.manifests import Manifest
from ollama_push.local import FileModel, ModelStore, NoResume
from ollama_push.local.create.hashes import HashMemory
from ollama_push.local.create.model import gguf_model, modelfile_model
from ollama_push.local.places import source_of_text

_RECORDED = recorded()


def made(folder: Path, text: str) -> FileModel:
    write_files(folder)
    (folder / "Modelfile").write_bytes(text.encode())
    return modelfile_model(folder / "Modelfile", hashes=HashMemory(folder / "cache"))


@pytest.mark.parametrize("name", _RECORDED)
def test_a_modelfile_gives_what_a_stock_create_gave(name: str, tmp_path: Path) -> None:
    record = _RECORDED[name]
    model = made(tmp_path, record["modelfile"])
    manifest = json.loads(record["manifest"])
    for layer in manifest["layers"]:
        layer.pop("from", None)  # a path of the machine that made it
    assert json.loads(model.manifest.raw) == manifest
    assert model.manifest.raw == json.dumps(manifest, separators=(",", ":")).encode() + b"\n"
    for blob in model.manifest.blobs:
        data = b"".join(map(bytes, model.read_blob(blob.digest, 0, blob.size)))
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob.digest


def test_there_are_more_than_ten_shapes() -> None:
    assert len(_RECORDED) >= 14
    assert _RECORDED.keys() >= MODELFILES.keys()


@needs_ollama
@pytest.mark.slow
@pytest.mark.process
def test_a_real_ollama_makes_the_same(tmp_path: Path) -> None:
    version = subprocess.run([OLLAMA, "--version"], capture_output=True, text=True, check=False).stdout
    if "0.14." not in version:
        pytest.skip(f"made by another release: {version.strip()}")
    write_files(tmp_path)
    with RealOllama(tmp_path / "server", tmp_path / "models") as server:
        really = create_really(tmp_path, server, tmp_path / "models")
    assert really == {
        name: Manifest.parse(made(tmp_path, text).manifest.raw).blobs for name, text in MODELFILES.items()
    }


def test_a_gguf_file_alone_is_a_modelfile_with_its_name(tmp_path: Path) -> None:
    model = made(tmp_path, "FROM tiny.gguf\n")
    alone = gguf_model(tmp_path / "tiny.gguf", hashes=HashMemory(tmp_path / "cache"))
    assert alone.manifest == model.manifest
    assert alone.label == f"gguf:{tmp_path / 'tiny.gguf'}"


@pytest.mark.parametrize(
    "text", ["./tiny.gguf", "gguf:tiny.gguf", "./Modelfile", "modelfile:Modelfile", "./my.Modelfile"]
)
def test_files_are_written_as_people_do(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = made(tmp_path, "FROM tiny.gguf\n").manifest
    os.utime(tmp_path / "tiny.gguf", (1_000_000_000, 1_000_000_000))  # not written a moment ago
    (tmp_path / "my.Modelfile").write_bytes((tmp_path / "Modelfile").read_bytes())
    monkeypatch.chdir(tmp_path)
    source = source_of_text(text, ModelStore(tmp_path / "models"))
    assert isinstance(source, FileModel)
    assert source.manifest == expected
    assert list((tmp_path / "cache").rglob("hashes.json"))


def test_an_absolute_from_and_a_home_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = made(tmp_path, "FROM tiny.gguf\n").manifest
    for path in (tmp_path / "tiny.gguf", "~/tiny.gguf"):
        (tmp_path / "Modelfile").write_text(f"FROM {path}\n")
        assert modelfile_model(tmp_path / "Modelfile", hashes=HashMemory(tmp_path / "cache")).manifest == expected


def numbers(**changed: int) -> bytes:
    return small_gguf({"general.architecture": "llama"}, changed, [(4, 4)])


_REFUSED: dict[str, tuple[str, bytes, str]] = {
    "split by name": ("x-00001-of-00003.gguf", numbers(), "llama-gguf-split"),
    "split by metadata": ("x.gguf", numbers(**{"split.count": 3}), "llama-gguf-split"),
    "safetensors": ("model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "convert_hf_to_gguf.py"),
    "pytorch": ("model.bin", b"PK\x03\x04", "use `ollama create`"),
    "no GGUF": ("x.gguf", b"ggml and more", "this is no GGUF file"),
    "empty": ("x.gguf", b"", "this is no GGUF file"),
    "a head alone": ("x.gguf", b"GGUF", "no GGUF file, or it is damaged"),
    "cut": ("x.gguf", numbers()[:60], "no GGUF file, or it is damaged"),
    "version 1": ("x.gguf", b"GGUF\x01\0\0\0" + bytes(100), "no GGUF file, or it is damaged"),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_be_pushed_says_what_to_do(case: str, tmp_path: Path) -> None:
    name, content, said = _REFUSED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSetting) as caught:
        gguf_model(tmp_path / name, hashes=HashMemory(tmp_path / "cache"))
    assert said in str(caught.value)


def test_a_folder_of_safetensors_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "Modelfile").write_text("FROM ./hf\n")
    with pytest.raises(InvalidSetting, match=r"this is a folder: name a GGUF file; of safetensors, convert it"):
        modelfile_model(tmp_path / "Modelfile", hashes=HashMemory(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM llama3\n", "FROM llama3: there is no such file"),
        ("SYSTEM x\n", "there is no FROM"),
        ("FROM tiny.gguf\nADAPTER no.gguf\n", "No such file"),
        ("FROM tiny.gguf\nNONSENSE x\n", "line 2: 'NONSENSE' is no command"),
    ],
)
def test_a_modelfile_that_cannot_be_followed_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting) as caught:
        made(tmp_path, text)
    assert said in str(caught.value)


def test_a_modelfile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="No such file"):
        modelfile_model(tmp_path / "Modelfile")


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "gguf":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidSetting, match=r"pip install 'ollama-push\[gguf\]'"):
        made(tmp_path, "FROM tiny.gguf\n")


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 3_000_000)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    memory, steps = HashMemory(tmp_path / "cache"), list[int]()

    def hashed(_path: Path, done: int, size: int) -> None:
        assert size == 3_000_000
        steps.append(done)

    digest, file = memory.hash(path, hashed=hashed)
    assert digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert steps == sorted(steps)
    assert steps[-1] == file.size == 3_000_000
    steps.clear()
    assert HashMemory(tmp_path / "cache").hash(path, hashed=hashed)[0] == digest
    assert steps == []
    path.write_bytes(b"y" * 3_000_000)
    os.utime(path, (1_000_000_001, 1_000_000_001))
    assert memory.hash(path)[0] != digest


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x")
    written = path.stat().st_mtime_ns / 1e9
    HashMemory(tmp_path / "cache", now=lambda: written + 1).hash(path)
    assert not (tmp_path / "cache").exists()
    HashMemory(tmp_path / "cache", now=lambda: written + 3).hash(path)
    assert (tmp_path / "cache" / "hashes.json").exists()


@pytest.mark.parametrize("left", [b"", b"[]", b"{", b'{"x": 5}', bytes(2_000_000)])
def test_a_memory_that_cannot_be_read_is_begun_again(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "hashes.json").write_bytes(left)
    path = tmp_path / "weights"
    path.write_bytes(b"x")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert HashMemory(tmp_path / "cache").hash(path)[0] == f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert len(json.loads((tmp_path / "cache" / "hashes.json").read_bytes())) == 1


def test_a_memory_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    path = tmp_path / "weights"
    path.write_bytes(b"x")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert HashMemory(tmp_path / "cache").hash(path)[0].startswith("sha256:")


def test_a_file_that_changes_while_it_is_hashed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 3_000_000)

    def grow(_path: Path, done: int, _size: int) -> None:
        if done < 2_000_000:
            with path.open("ab") as file:
                file.write(b"x")

    with pytest.raises(ValueError, match="it changes while it is hashed"):
        HashMemory(tmp_path / "cache").hash(path, hashed=grow)


def test_hashing_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"x")
    with pytest.raises(PushInterrupted):
        HashMemory(tmp_path / "cache").hash(tmp_path / "weights", cancelled=lambda: True)


@needs_ollama
@pytest.mark.slow
@pytest.mark.process
def test_a_running_ollama_shows_what_was_put_beside_it(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with RealOllama(tmp_path / "server", models) as server:
        environment = {**os.environ, "OLLAMA_HOST": server.host, "HOME": str(tmp_path)}
        with RegistryClient(store=models, resume=NoResume()) as client:
            client.copy(made(tmp_path, MODELFILES["last of each"]), "ollama:team/beside:v1")

        def ask(*words: str) -> str:
            return subprocess.run([OLLAMA, *words], env=environment, capture_output=True, text=True, check=True).stdout

        assert "team/beside:v1" in ask("list")
        assert ask("show", "team/beside:v1", "--system").strip() == "second"
        assert ask("show", "team/beside:v1", "--template").strip() == "{{ .Prompt }}"
        assert "400K" in ask("show", "team/beside:v1")
