"""The model store: found as Ollama finds it, read as it is, and nothing else of the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import digest_of
from tests.support.stores import CONFIG, LAYERS, descriptor, put_blob, put_manifest, put_model

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.names import ModelName
from ollama_push.core.registry.target import direct_name
from ollama_push.local import ModelStore

_NAME: Final = ModelName.parse_local("my-llama")
_PATH: Final = "registry.ollama.ai/library/my-llama/latest"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put_model(tmp_path / "models")
    return tmp_path / "models"


def _damage(root: Path, name: ModelName = _NAME) -> str:
    with pytest.raises(PushRejected) as caught:
        ModelStore(root).load(name)
    assert caught.value.reason is RejectionReason.STORE_DAMAGED
    return caught.value.message


def test_a_model_is_loaded_with_the_bytes_of_its_manifest_and_every_blob(tmp_path: Path) -> None:
    raw = put_model(tmp_path)
    model = ModelStore(tmp_path).load(_NAME)
    assert model.name == _NAME
    assert model.manifest.raw == raw
    assert {digest: file.path.read_bytes() for digest, file in model.files.items()} == {
        digest_of(data): data for data in (*LAYERS, CONFIG)
    }
    assert [file.size for file in model.files.values()] == [len(data) for data in (*LAYERS, CONFIG)]


def test_blobs_with_the_older_spelling_are_found(tmp_path: Path) -> None:
    put_model(tmp_path, mark=":")
    files = ModelStore(tmp_path).load(_NAME).files
    assert {file.path.name for file in files.values()} == set(files)


def test_the_current_spelling_counts_where_both_are_there(root: Path) -> None:
    put_blob(root, CONFIG, mark=":").write_bytes(b"older")
    assert ModelStore(root).load(_NAME).files[digest_of(CONFIG)].size == len(CONFIG)


def test_a_blob_is_rehashed_on_request(root: Path) -> None:
    model = ModelStore(root).load(_NAME)
    first, second, third = (digest_of(data) for data in LAYERS)
    assert model.rehash(first)
    assert model.rehash(third)
    model.files[first].path.write_bytes(b"WEIGHTS " * 1000)
    model.files[second].path.unlink()
    assert not model.rehash(first)
    assert not model.rehash(second)


def test_models_are_listed_in_order_and_only_models(root: Path, tmp_path: Path) -> None:
    put_model(root, "localhost:5000/team/b/v1")
    put_model(root, "registry.ollama.ai/myuser/a/latest")
    for path in ("h.x/team/deep/er/v1", "h.x/-team/a/latest", "h.x/team/a/.hidden", "h.x/too-short", "stray"):
        put_manifest(root, path, b"{}")
    (tmp_path / "secret").write_text("{}")
    (root / "manifests/h.x/team/a/out").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "manifests/h.x/team/a/pipe")
    assert [name.shortest for name in ModelStore(root).models()] == [
        "localhost:5000/team/b:v1",
        "my-llama:latest",
        "myuser/a:latest",
    ]


def test_a_name_in_another_case_finds_the_model_as_spelled_on_disk(root: Path) -> None:
    put_model(root, "registry.ollama.ai/Team/Mixed/V1")
    found = ModelStore(root).load(ModelName.parse("team/mixed:v1")).name
    assert (found.namespace, found.model, found.tag) == ("Team", "Mixed", "V1")


def test_the_exact_spelling_is_preferred(root: Path) -> None:
    put_model(root, "registry.ollama.ai/library/My-Llama/latest", (b"other",))
    for spelling, blobs in (("my-llama", 4), ("My-Llama", 2)):
        model = ModelStore(root).load(ModelName.parse_local(spelling))
        assert model.name.model == spelling
        assert len(model.files) == blobs


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("registry.example.com/team/my-llama", "say source='my-llama:latest'"),
        ("my-lama", "the nearest is 'my-llama:latest'"),
        ("zzz", "; it has 'my-llama:latest'"),
        ("registry.example.com/team/my-llama:v3", "say source='my-llama:latest'"),
    ],
)
def test_an_absent_model_says_what_is_there_instead(root: Path, asked: str, said: str) -> None:
    with pytest.raises(PushRejected) as caught:
        ModelStore(root).load(ModelName.parse_local(asked))
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND
    assert said in caught.value.message
    assert str(root) in caught.value.message


def test_the_same_tag_is_suggested_before_another(root: Path) -> None:
    put_model(root, "h.x/team/my-llama/v2")
    with pytest.raises(PushRejected, match=r"source='h\.x/team/my-llama:v2'"):
        ModelStore(root).load(ModelName.parse("you/my-llama:v2"))


def test_another_version_is_named_and_not_suggested(root: Path) -> None:
    put_model(root, "h.x/team/other/v1")
    with pytest.raises(PushRejected, match=r"the nearest is 'h\.x/team/other:v1'") as caught:
        ModelStore(root).load(ModelName.parse("h.x/team/other:v3"))
    assert caught.value.advice is None


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    assert ModelStore(tmp_path).models() == []
    with pytest.raises(PushRejected, match="which holds no models") as caught:
        ModelStore(tmp_path).load(_NAME)
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND


@pytest.mark.parametrize("raw", [b"", b'{"layers":[', b"[]", b'{"layers":[{"digest":"sha256:00","size":1}]}', b"\xff"])
def test_a_manifest_that_is_none_is_named(root: Path, raw: bytes) -> None:
    file = put_manifest(root, _PATH, raw)
    said = _damage(root)
    assert f"the manifest {file} of library/my-llama:latest cannot be read" in said
    assert said.endswith("; pull or create the model again")


def test_a_manifest_without_end_is_not_read_to_its_end(root: Path) -> None:
    file = put_manifest(root, _PATH, b"")
    os.truncate(file, 1 << 40)  # sparse
    assert "larger than 4194304 bytes" in _damage(root)


def test_a_missing_blob_is_named_with_its_file(root: Path) -> None:
    path = put_blob(root, LAYERS[1])
    path.unlink()
    said = f"blob {digest_of(LAYERS[1])} is missing: there is no {path}; pull or create the model again"
    assert said in _damage(root)


@pytest.mark.parametrize("content", [b"short", LAYERS[0] + b"!"])
def test_a_blob_of_another_size_is_named_with_both_sizes(root: Path, content: bytes) -> None:
    path = put_blob(root, LAYERS[0])
    path.write_bytes(content)
    said = f"blob {digest_of(LAYERS[0])} has {len(content)} bytes in {path}, but {len(LAYERS[0])} in the manifest"
    assert f"{said}; pull or create the model again" in _damage(root)


def _replace_by_directory(path: Path, _outside: Path) -> None:
    path.mkdir()


def _replace_by_pipe(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def _replace_by_link_out(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _replace_by_device(path: Path, _outside: Path) -> None:
    path.symlink_to("/dev/zero")


def _replace_by_loop(path: Path, _outside: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("replace", "words"),
    [
        (_replace_by_directory, "it is no regular file"),
        (_replace_by_pipe, "it is no regular file"),
        (_replace_by_link_out, "it leads out of the store"),
        (_replace_by_device, "it leads out of the store"),
        (_replace_by_loop, ""),
    ],
)
@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_what_is_no_file_of_the_store_is_refused_at_once(
    root: Path, tmp_path: Path, replace: Any, words: str, what: str
) -> None:
    path = root / "manifests" / _PATH if what == "manifest" else put_blob(root, LAYERS[1])
    outside = tmp_path / "outside"
    path.rename(outside)  # the right content, in the wrong place
    replace(path, outside)
    message = _damage(root)
    assert str(path) in message
    assert words in message


def test_links_inside_the_store_are_followed(root: Path) -> None:
    path = put_blob(root, LAYERS[0])
    path.rename(root / "elsewhere")
    path.symlink_to(root / "elsewhere")
    assert ModelStore(root).load(_NAME).files[digest_of(LAYERS[0])].path == (root / "elsewhere").resolve()


@pytest.mark.parametrize("moved", ["", "blobs", "manifests"])
def test_a_store_that_was_moved_and_linked_works(root: Path, tmp_path: Path, moved: str) -> None:
    (root / moved).rename(tmp_path / "disk")
    (root / moved).symlink_to(tmp_path / "disk")
    assert len(ModelStore(root).load(_NAME).files) == 4
    assert ModelStore(root).models() == [_NAME]


def test_a_size_that_two_layers_contradict_is_damage(root: Path) -> None:
    layers = [descriptor(LAYERS[0]), {**descriptor(LAYERS[0]), "size": 1}]
    put_manifest(root, _PATH, json.dumps({"layers": layers}).encode())
    assert "it gives two sizes" in _damage(root)


def test_a_name_that_only_registries_have_is_no_local_model(root: Path) -> None:
    with pytest.raises(PushRejected) as caught:
        ModelStore(root).load(direct_name("registry.gitlab.com/group/sub/my-llama", plain_http=False))
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND
    text = str(caught.value)
    assert "no model 'registry.gitlab.com/group/sub/my-llama:latest'" in text
    assert "say source='my-llama:latest'" in text
