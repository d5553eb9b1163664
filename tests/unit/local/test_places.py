"""What people write for a source or a target: each form means one thing, and what could mean two is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.support.stores import put_model

from ollama_push.core.errors import InvalidSetting, OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.target import RegistryModel
from ollama_push.local import FileModel, ModelStore, OciArchiveTarget, OciLayoutTarget, StoreTarget
from ollama_push.local.places import is_place, source_of_text, tags_of_text, target_of_text, with_tag


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.chdir(tmp_path)
    raw = put_model(tmp_path / "models")
    put_model(tmp_path / "models", "registry.ollama.ai/team/their/v1")
    target = OciLayoutTarget(tmp_path / "layout", "here")
    found = FileModel.of(ModelStore(tmp_path / "models").load(ModelName.parse_local("my-llama")))
    for blob in Manifest.parse(raw).blobs:
        target.put_blob(blob, lambda offset, size, digest=blob.digest: found.read_blob(digest, offset, size))  # type: ignore[misc]  # a default
    target.put_manifest(Manifest.parse(raw))
    return ModelStore(tmp_path / "models")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("my-llama", "ollama:my-llama:latest"),
        ("ollama:my-llama", "ollama:my-llama:latest"),
        ("my-llama:latest", "ollama:my-llama:latest"),
        ("team/their:v1", "ollama:team/their:v1"),
        ("oci:layout", "oci:layout"),
        ("oci:layout:here", "oci:layout:here"),
    ],
)
def test_a_source_of_this_machine(text: str, label: str, store: ModelStore) -> None:
    source = source_of_text(text, store)
    assert isinstance(source, FileModel)
    assert source.label == label


@pytest.mark.parametrize(
    "text", ["reg.example.com/team/x:v1", "reg.example.com/x", "localhost:5000/x", "host/team/x", "a.io/b/c/d:e"]
)
def test_a_name_with_a_host_is_a_registrys_on_either_side(text: str, store: ModelStore) -> None:
    for read in (source_of_text, target_of_text):
        for written in (text, f"docker://{text}", f"docker:{text}"):
            assert read(written, store) == RegistryModel(text)


@pytest.mark.parametrize(
    ("text", "kind", "label"),
    [
        ("ollama:team/x", StoreTarget, "ollama:team/x:latest"),
        ("oci:new", OciLayoutTarget, "oci:new"),
        ("oci:new:team/x:v1", OciLayoutTarget, "oci:new:team/x:v1"),
        ("oci-archive:new.tar:x", OciArchiveTarget, "oci-archive:new.tar:x"),
    ],
)
def test_a_target_of_this_machine(text: str, kind: type, label: str, store: ModelStore) -> None:
    target = target_of_text(text, store)
    assert isinstance(target, kind)
    assert target.label == label


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layout", "it is a file here, and may be a model: say ./layout or ollama:layout"),
        ("./layout", "what is there? say gguf:, modelfile:, oci: or oci-archive: before it"),
        ("oci:", "nothing follows oci:"),
        ("oci::x", "expected a path"),
        ("oci:x:", "expected a path"),
        ("", "expected a model"),
        (" ", "expected a model"),
    ],
)
def test_a_source_with_two_readings_or_none_is_refused(text: str, said: str, store: ModelStore) -> None:
    with pytest.raises(InvalidSetting) as caught:
        source_of_text(text, store)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("my-llama", "say ollama:my-llama or registry.ollama.ai/library/my-llama"),
        ("team/x:v1", "say ollama:team/x:v1 or registry.ollama.ai/team/x:v1"),
        ("./new", "say what to write there: oci:./new or oci-archive:./new"),
        ("", "expected a model"),
    ],
)
def test_a_target_with_two_readings_or_none_is_refused(text: str, said: str, store: ModelStore) -> None:
    with pytest.raises(InvalidSetting) as caught:
        target_of_text(text, store)
    assert said in str(caught.value)


def test_a_colon_that_is_a_part_of_a_path_is_refused(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "layout:here").mkdir()
    with pytest.raises(InvalidSetting, match="'layout' with the model 'here' may be meant: rename one of them"):
        source_of_text("oci:layout:here", store)


def test_a_model_that_is_not_there_is_not_found(store: ModelStore) -> None:
    with pytest.raises(PushRejected) as caught:
        source_of_text("no-llama", store)
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND


def plug(folder: Path, module: str) -> None:
    """Install a distribution with a source and a target of its own, and one that cannot be loaded."""
    (folder / "mine.py").write_text(module)
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ollama_push.sources]\nmine = mine:source\nbroken = mine:nothing\n[ollama_push.targets]\nmine = mine:target\n"
    )


def test_others_may_have_prefixes_of_their_own(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug(tmp_path, "def source(text): return ('source', text)\ndef target(text): return ('target', text)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert source_of_text("mine:a:b", store) == ("source", "a:b")  # type: ignore[comparison-overlap]  # not checked
    assert target_of_text("mine:x", store) == ("target", "x")  # type: ignore[comparison-overlap]
    with pytest.raises(InvalidSetting, match="broken: cannot be loaded"):
        source_of_text("broken:x", store)
    with pytest.raises(OllamaPushError):  # only a source has it: a model of this name is meant
        target_of_text("broken:x", store)


def test_tags_of_a_stores_model_are_those_of_its_name(store: ModelStore, tmp_path: Path) -> None:
    put_model(tmp_path / "models", "registry.ollama.ai/library/my-llama/small")
    for text in ("my-llama", "ollama:my-llama", "ollama:My-Llama"):
        assert tags_of_text(text, store) == ("latest", "small")
    assert tags_of_text("oci:layout", store) == ("here",)
    assert tags_of_text("reg.example.com/team/x", store) == RegistryModel("reg.example.com/team/x")
    assert tags_of_text("docker://localhost:5000/x", store) == RegistryModel("localhost:5000/x")


@pytest.mark.parametrize(
    ("text", "tag", "source", "target"),
    [
        ("my-llama", "v1", "my-llama:v1", None),
        ("ollama:x", "v1", "ollama:x:v1", "ollama:x:v1"),
        ("reg.io:5000/a/b", "v1", "reg.io:5000/a/b:v1", "reg.io:5000/a/b:v1"),
        ("docker://a.io/b", "v1", "docker://a.io/b:v1", "docker://a.io/b:v1"),
        ("oci:dir", "a/b:v1", "oci:dir:a/b:v1", "oci:dir:a/b:v1"),
        ("oci:dir:x", "v1", "oci:dir:x:v1", "oci:dir:x:v1"),
        ("oci-archive:file", "v1", "oci-archive:file:v1", None),
        ("reg.io/a/b", "team/x:v1", None, "reg.io/a/b:v1"),
    ],
)
def test_a_tag_is_added_as_each_form_has_it(text: str, tag: str, source: str | None, target: str | None) -> None:
    if source is not None:
        assert with_tag(text, tag, target=False) == source
    if target is not None:
        assert with_tag(text, tag, target=True) == target


@pytest.mark.parametrize("text", ["gguf:x", "modelfile:x", "a.io/b:v1", "ollama:x:v1"])
def test_what_has_a_tag_or_one_model_gets_no_tag(text: str) -> None:
    with pytest.raises(InvalidSetting):
        with_tag(text, "v1", target=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./x.gguf", True),
        ("oci:x", True),
        ("docker://a/b", True),
        ("x", False),
        ("ollama:x", False),
        ("x:latest", False),
        ("", False),
    ],
)
def test_what_only_a_direct_push_can_read_is_told_by_its_form(text: str, *, expected: bool) -> None:
    assert is_place(text) == expected
