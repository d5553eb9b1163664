"""Ollama's store as a target: blobs, then the manifest, and nothing that a server would take for a model before."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import digest_of
from tests.support.stores import CONFIG, LAYERS, put_manifest, put_model

from ollama_push.core.errors import PushRejected, RejectionReason, UsedAfterClose
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import Manifest
from ollama_push.local import ModelStore, StoreTarget

NAME: Final = ModelName.parse("team/x:v1")
BLOBS: Final = {digest_of(data): data for data in (*LAYERS, CONFIG)}


def manifest_in(folder: Path) -> Manifest:
    return Manifest.parse(put_model(folder))


def new_target(folder: Path) -> StoreTarget:
    return StoreTarget(ModelStore(folder / "models"), NAME)


def put(target: StoreTarget, manifest: Manifest) -> None:
    for blob in manifest.blobs:
        data = BLOBS[blob.digest]
        target.put_blob(blob, lambda offset, size, data=data: iter([data[offset : offset + size]]))  # type: ignore[misc]


def test_what_is_written_is_laid_out_as_ollama_does(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    target = StoreTarget(ModelStore(tmp_path / "new" / "models"), NAME)
    assert not any(map(target.has, manifest.blobs))
    assert not (tmp_path / "new").exists()
    put(target, manifest)
    assert all(map(target.has, manifest.blobs))
    assert ModelStore(tmp_path / "new" / "models").models() == []
    target.put_manifest(manifest)
    stored = ModelStore(tmp_path / "new" / "models").load(NAME)
    assert stored.manifest.raw == manifest.raw
    files = sorted(path for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert {path.name for path in files} == {"v1", *(digest.replace(":", "-") for digest in BLOBS)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    folders = [path for path in (tmp_path / "new" / "models").rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o755 for path in folders} == {0o755}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_root_writes_as_the_stores_owner(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    root = tmp_path / "models"
    (root / "blobs").mkdir(parents=True)
    (root / "manifests").mkdir()
    for folder in (root, root / "blobs", root / "manifests"):
        os.chown(folder, 12345, 54321)
    target = StoreTarget(ModelStore(root), NAME)
    put(target, manifest)
    target.put_manifest(manifest)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in root.rglob("*")} == {(12345, 54321)}


def test_a_manifest_whose_blobs_a_server_has_removed_meanwhile_is_refused(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    target = StoreTarget(ModelStore(tmp_path / "models"), NAME)
    put(target, manifest)
    next((tmp_path / "models" / "blobs").iterdir()).unlink()
    with pytest.raises(PushRejected, match="does not hold all blobs") as caught:
        target.put_manifest(manifest)
    assert caught.value.reason is RejectionReason.TARGET_FAILED
    assert ModelStore(tmp_path / "models").models() == []


def test_a_model_that_is_there_in_another_case_is_the_one_that_is_replaced(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    put_manifest(tmp_path / "models", "registry.ollama.ai/Team/X/V1", b"old")
    target = StoreTarget(ModelStore(tmp_path / "models"), NAME)
    put(target, manifest)
    target.put_manifest(manifest)
    assert [str(name) for name in ModelStore(tmp_path / "models").models()] == ["Team/X:V1"]
    assert ModelStore(tmp_path / "models").load(NAME).manifest.raw == manifest.raw


def test_a_disk_that_cannot_be_written_is_the_targets_failure(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    (tmp_path / "models").write_text("a file")
    target = StoreTarget(ModelStore(tmp_path / "models"), NAME)
    with pytest.raises(PushRejected, match=r"the target ollama:team/x:v1 failed: ") as caught:
        put(target, manifest)
    assert caught.value.reason is RejectionReason.TARGET_FAILED


def test_after_close_nothing_is_written(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    target = StoreTarget(ModelStore(tmp_path / "models"), NAME)
    target.close()
    target.close()
    for call in (
        lambda: target.has(manifest.blobs[0]),
        lambda: put(target, manifest),
        lambda: target.put_manifest(manifest),
    ):
        with pytest.raises(UsedAfterClose):
            call()


def test_what_was_begun_is_resumed_and_proved_from_its_first_byte(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    blob = manifest.blobs[0]
    data = BLOBS[blob.digest]
    target = StoreTarget(ModelStore(tmp_path / "models"), NAME)

    def breaks(_offset: int, _size: int) -> Iterator[bytes]:
        yield data[:3000]
        raise LookupError("broken")

    with pytest.raises(LookupError):
        target.put_blob(blob, breaks)
    assert not target.has(blob)
    partial = next(path for path in (tmp_path / "models" / "blobs").iterdir())
    assert partial.read_bytes() == data[:3000]
    asked = []
    target.put_blob(blob, lambda offset, size: asked.append(offset) or iter([data[offset : offset + size]]))  # type: ignore[func-returns-value]
    assert asked == [3000]
    assert target.has(blob)


@pytest.mark.parametrize("kept", [1, 3000, 8000])
def test_what_was_kept_and_is_damaged_is_read_again_at_once(kept: int, tmp_path: Path) -> None:
    """Found by the fault laboratory: a bit was flipped on its way, the attempt broke, and the next one failed."""
    target, blob, data = new_target(tmp_path), manifest_in(tmp_path / "source").blobs[0], LAYERS[0]

    def breaks(_offset: int, _size: int) -> Iterator[bytes]:
        yield b"?" * kept
        raise LookupError

    with pytest.raises(LookupError):
        target.put_blob(blob, breaks)
    asked = []
    target.put_blob(blob, lambda offset, size: asked.append(offset) or iter([data[offset : offset + size]]))  # type: ignore[func-returns-value]
    assert asked == ([kept, 0] if kept < blob.size else [0])
    assert target.has(blob)


def test_a_source_that_gives_other_bytes_again_fails_and_leaves_none_of_them(tmp_path: Path) -> None:
    target, blob = new_target(tmp_path), manifest_in(tmp_path / "source").blobs[0]

    def breaks(_offset: int, _size: int) -> Iterator[bytes]:
        yield b"?" * 3000
        raise LookupError

    with pytest.raises(LookupError):
        target.put_blob(blob, breaks)
    with pytest.raises(PushRejected, match="are other bytes"):
        target.put_blob(blob, lambda _offset, size: iter([b"?" * size]))
    assert not target.has(blob)
    (partial,) = (tmp_path / "models" / "blobs").iterdir()
    assert partial.read_bytes() == b""


def test_two_that_write_one_blob_do_not_disturb_each_other(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path / "source")
    blob = manifest.blobs[0]
    data = BLOBS[blob.digest]
    first, second = (StoreTarget(ModelStore(tmp_path / "models"), NAME) for _ in range(2))

    def meanwhile(offset: int, size: int) -> Iterator[bytes]:
        yield data[:100]
        second.put_blob(blob, lambda start, count: iter([data[start : start + count]]))
        assert second.has(blob)
        yield data[100 : offset + size]

    first.put_blob(blob, meanwhile)
    assert first.has(blob)
    assert [path.read_bytes() for path in (tmp_path / "models" / "blobs").iterdir()] == [data]
