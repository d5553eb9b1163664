"""An OCI image layout in a folder: what others wrote, what is wrong in it, and what we write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import digest_of
from tests.support.stores import CONFIG, LAYERS, put_model

from ollama_push.core.errors import PushRejected, RejectionReason, UsedAfterClose
from ollama_push.core.registry.manifests import Manifest, hex_of
from ollama_push.local import FileModel, OciLayout, OciLayoutTarget

BLOBS: Final = {digest_of(data): data for data in (*LAYERS, CONFIG)}
WEIGHTS: Final = digest_of(LAYERS[0])


def written(folder: Path, *refs: str | None) -> Manifest:
    manifest = Manifest.parse(put_model(folder.parent / "source"))
    for ref in refs or (None,):
        target = OciLayoutTarget(folder, ref)
        for blob in manifest.blobs:
            data = BLOBS[blob.digest]
            target.put_blob(blob, lambda offset, size, data=data: iter([data[offset : offset + size]]))  # type: ignore[misc]
        target.put_manifest(manifest)
    return manifest


def blob_path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / hex_of(digest)


def test_what_is_written_is_a_layout(tmp_path: Path) -> None:
    manifest = written(tmp_path / "layout", "a", "b")
    folder = tmp_path / "layout"
    assert json.loads((folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]] == ["a", "b"]
    assert {entry["digest"] for entry in index["manifests"]} == {manifest.digest}
    assert blob_path(folder, manifest.digest).read_bytes() == manifest.raw
    assert {path.name for path in (folder / "blobs" / "sha256").iterdir()} == {
        hex_of(digest) for digest in (manifest.digest, *BLOBS)
    }
    assert OciLayout(folder).refs() == ("a", "b")


def test_a_name_is_replaced_and_others_stay(tmp_path: Path) -> None:
    manifest = written(tmp_path / "layout", "a", "b", "a")
    assert OciLayout(tmp_path / "layout").refs() == ("b", "a")
    assert OciLayout(tmp_path / "layout").model("a").manifest == manifest


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    manifest = written(tmp_path / "layout")
    model = OciLayout(tmp_path / "layout").model()
    assert model.read_manifest() == manifest.raw
    for digest, data in BLOBS.items():
        assert b"".join(map(bytes, model.read_blob(digest, 0, len(data)))) == data
        assert (
            b"".join(map(bytes, model.read_blob(digest, len(data) // 2, len(data) - len(data) // 2)))
            == (data[len(data) // 2 :])
        )
        assert model.rehash(digest)


def index_with(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        index = json.loads((folder / "index.json").read_bytes())
        index["manifests"][0].update(changed)
        (folder / "index.json").write_text(json.dumps(index))

    return change


def write_index(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "index.json").write_text(text)


def link_out(folder: Path) -> None:
    path = blob_path(folder, WEIGHTS)
    outside = folder.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def make_fifo(folder: Path) -> None:
    path = blob_path(folder, WEIGHTS)
    path.unlink()
    os.mkfifo(path)


def two_models(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_bytes())
    other = {**index["manifests"][0], "digest": f"sha256:{'0' * 64}"}
    (folder / "index.json").write_text(json.dumps({**index, "manifests": [*index["manifests"], other]}))


_FAULTS: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "no index": (lambda folder: (folder / "index.json").unlink(), "this is no OCI layout: there is no "),
    "no JSON": (write_index("{"), "failed"),
    "no list": (write_index("{}"), "it has no list of manifests"),
    "no entry": (write_index('{"manifests": [5]}'), "an entry of it is no object"),
    "no descriptor": (write_index('{"manifests": [{"digest": "x"}]}'), "an entry of it is no descriptor"),
    "no digest": (index_with(digest="sha256:x"), "invalid digest format"),
    "a path as a digest": (index_with(digest="sha256:../../../../etc/passwd"), "invalid digest format"),
    "no model": (write_index('{"manifests": []}'), "holds no such model"),
    "several platforms": (
        index_with(mediaType="application/vnd.oci.image.index.v1+json"),
        "is no manifest of a model, but application/vnd.oci.image.index",
    ),
    "two models": (two_models, "it holds several models"),
    "no manifest": (lambda folder: blob_path(folder, digest_of_manifest(folder)).unlink(), "there is no "),
    "another manifest": (
        lambda folder: blob_path(folder, digest_of_manifest(folder)).write_bytes(b'{"layers":[]}'),
        "are other bytes",
    ),
    "no blob": (lambda folder: blob_path(folder, WEIGHTS).unlink(), f"does not hold {WEIGHTS}"),
    "a short blob": (lambda folder: blob_path(folder, WEIGHTS).write_bytes(b"x"), "ends too early"),
    "a long blob": (lambda folder: blob_path(folder, WEIGHTS).write_bytes(LAYERS[0] + b"x"), "has too many bytes"),
    "a link out": (link_out, "it leads out of the store"),
    "a pipe": (make_fifo, "it is no regular file"),
    "a huge index": (write_index("[" + " " * 5_000_000 + "]"), "larger than"),
}


def digest_of_manifest(folder: Path) -> str:
    return str(json.loads((folder / "index.json").read_bytes())["manifests"][0]["digest"])


@pytest.mark.parametrize("fault", _FAULTS)
def test_what_is_wrong_in_a_layout_is_said(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    written(folder)
    inflict, said = _FAULTS[fault]
    inflict(folder)
    with pytest.raises(PushRejected) as caught:
        OciLayout(folder).model()
    assert said in str(caught.value)
    assert caught.value.reason in (RejectionReason.SOURCE_FAILED, RejectionReason.MODEL_NOT_FOUND)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    written(tmp_path / "layout", "a", "b")
    with pytest.raises(PushRejected, match=r"oci:.*layout:c holds no such model: it holds 'a', 'b'"):
        OciLayout(tmp_path / "layout").model("c")


@pytest.mark.parametrize(("kept", "asked"), [("a:latest", "a"), ("h:5000/a:latest", "h:5000/a"), ("a:v1", "a:v1")])
def test_a_name_without_a_tag_means_the_latest(kept: str, asked: str, tmp_path: Path) -> None:
    written(tmp_path / "layout", "b:latest", kept)
    assert OciLayout(tmp_path / "layout").model(asked).manifest.raw


@pytest.mark.parametrize(
    ("kept", "asked"), [("a:v1", "a"), ("a:latest", "a:v1"), ("h:latest", "h:5000/a"), ("a", "a:latest")]
)
def test_no_other_tag_is_meant(kept: str, asked: str, tmp_path: Path) -> None:
    written(tmp_path / "layout", kept)
    with pytest.raises(PushRejected, match="holds no such model"):
        OciLayout(tmp_path / "layout").model(asked)


def test_a_blob_that_changes_while_it_is_read_is_not_given_as_a_whole(tmp_path: Path) -> None:
    written(tmp_path / "layout")
    model = OciLayout(tmp_path / "layout").model()
    blob_path(tmp_path / "layout", WEIGHTS).write_bytes(bytes(len(LAYERS[0])))
    os.utime(blob_path(tmp_path / "layout", WEIGHTS), (1, 1))
    with pytest.raises(PushRejected, match="it has changed"):
        list(model.read_blob(WEIGHTS, 0, len(LAYERS[0])))
    assert not model.rehash(WEIGHTS)


def test_a_layout_whose_index_cannot_be_read_is_not_written_to(tmp_path: Path) -> None:
    manifest = written(tmp_path / "layout", "a")
    (tmp_path / "layout" / "index.json").write_text("{")
    with pytest.raises(PushRejected, match=r"the target oci:.* failed: its index\.json cannot be read"):
        OciLayoutTarget(tmp_path / "layout", "b").put_manifest(manifest)
    assert (tmp_path / "layout" / "index.json").read_text() == "{"


def test_a_closed_source_is_not_read(tmp_path: Path) -> None:
    written(tmp_path / "layout")
    model: FileModel = OciLayout(tmp_path / "layout").model()
    begun = model.read_blob(WEIGHTS, 0, len(LAYERS[0]))
    model.close()
    for call in (model.read_manifest, lambda: model.read_blob(WEIGHTS, 0, 1), lambda: list(begun)):
        with pytest.raises(UsedAfterClose):
            call()


def test_what_is_not_the_models_is_not_read(tmp_path: Path) -> None:
    written(tmp_path / "layout")
    model = OciLayout(tmp_path / "layout").model()
    with pytest.raises(PushRejected, match="does not hold"):
        model.read_blob(f"sha256:{'0' * 64}", 0, 1)
    with pytest.raises(PushRejected, match="ends too early"):
        model.read_blob(WEIGHTS, 0, len(LAYERS[0]) + 1)
