"""An OCI image layout in a tar archive: written the same each time, resumed by blob, and read with suspicion."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.blobs import digest_of, noise
from tests.support.stores import CONFIG, put_model

from ollama_push.core.errors import PushRejected, RejectionReason, UsedAfterClose
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import Manifest, hex_of
from ollama_push.local import FileModel, ModelStore, OciArchive, OciArchiveTarget, OciArchiveWriter, StoreTarget
from ollama_push.local.oci import tar

LAYERS: Final = (noise(3000, 3), b"a template", b"")
BLOBS: Final = {digest_of(data): data for data in (*LAYERS, CONFIG)}
WEIGHTS: Final = digest_of(LAYERS[0])


def manifest_in(folder: Path) -> Manifest:
    return Manifest.parse(put_model(folder / "source", layers=LAYERS))


def reader(digest: str) -> Callable[[int, int], Iterator[bytes]]:
    return lambda offset, size: iter([BLOBS[digest][offset : offset + size]])


def written(folder: Path, *refs: str | None, name: str = "models.tar") -> Path:
    manifest = manifest_in(folder)
    writer = OciArchiveWriter(folder / name)
    for ref in refs or (None,):
        target = writer.target(ref)
        for blob in manifest.blobs:
            target.put_blob(blob, reader(blob.digest))
        target.put_manifest(manifest)
    writer.finish()
    return folder / name


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}  # type: ignore[union-attr]


def test_what_is_written_is_a_layout_in_an_archive(tmp_path: Path) -> None:
    path, manifest = written(tmp_path, "a"), manifest_in(tmp_path)
    members = members_of(path)
    assert json.loads(members["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert {name: data for name, data in members.items() if name.startswith("blobs/")} == {
        f"blobs/sha256/{hex_of(digest)}": data for digest, data in {**BLOBS, manifest.digest: manifest.raw}.items()
    }
    assert list(members)[-1] == "index.json"
    assert not (tmp_path / "models.tar.part").exists()


def test_the_same_models_are_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path, "a", "b", name="x").read_bytes() == written(tmp_path, "a", "b", name="y").read_bytes()


@pytest.mark.parametrize("refs", [(None,), ("a",), ("a", "b")])
def test_what_is_read_is_what_was_written(refs: tuple[str | None, ...], tmp_path: Path) -> None:
    archive, manifest = OciArchive(written(tmp_path, *refs)), manifest_in(tmp_path)
    assert archive.refs() == tuple(ref for ref in refs if ref is not None)
    for ref in refs:
        model = archive.model(ref)
        assert model.read_manifest() == manifest.raw
        for digest, data in BLOBS.items():
            assert b"".join(map(bytes, model.read_blob(digest, 0, len(data)))) == data
            assert (
                b"".join(map(bytes, model.read_blob(digest, len(data) // 3, len(data) // 2)))
                == (data[len(data) // 3 : len(data) // 3 + len(data) // 2])
            )
            assert model.rehash(digest)


def test_an_archive_that_others_have_made_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "others.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members_of(written(tmp_path, "a")).items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "link.tar").symlink_to(tmp_path / "others.tar")
    assert OciArchive(tmp_path / "link.tar").model("a").manifest == manifest_in(tmp_path)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("killed_after", range(6))
@pytest.mark.parametrize("inside", [False, True])
def test_what_was_begun_is_resumed_by_blob(killed_after: int, tmp_path: Path, *, inside: bool) -> None:
    whole = written(tmp_path, "a", name="whole.tar").read_bytes()
    manifest = manifest_in(tmp_path)
    blobs = manifest.blobs[:killed_after]
    first = OciArchiveTarget(tmp_path / "models.tar", "a")
    for blob in blobs:
        first.put_blob(blob, reader(blob.digest))
    part = tmp_path / "models.tar.part"
    first.close()
    if inside and part.exists():  # as a kill leaves it, in the middle of a blob
        with part.open("ab") as file:
            file.write(whole[part.stat().st_size :][:700])
    read: list[str] = []
    second = OciArchiveTarget(tmp_path / "models.tar", "a")
    for blob in manifest.blobs:
        if not second.has(blob):
            read.append(blob.digest)
            second.put_blob(blob, reader(blob.digest))
    second.put_manifest(manifest)
    assert [each.digest for each in manifest.blobs if each.digest not in read][: len(blobs)] == [
        blob.digest for blob in blobs
    ]
    assert (tmp_path / "models.tar").read_bytes() == whole
    assert not part.exists()


def test_an_unfinished_archive_of_another_model_is_not_used(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path)
    other = noise(2000, 9)
    left = OciArchiveWriter(tmp_path / "models.tar")
    blob = Manifest.parse(put_model(tmp_path / "other", layers=(other,))).blobs[0]
    left.put(blob, lambda offset, size: iter([other[offset : offset + size]]))
    left.close()
    with closing(OciArchiveTarget(tmp_path / "models.tar")) as target:
        assert not any(map(target.has, manifest.blobs))
    assert written(tmp_path).read_bytes() == written(tmp_path, name="fresh").read_bytes()


def test_a_damaged_beginning_is_written_again(tmp_path: Path) -> None:
    target, manifest = OciArchiveTarget(tmp_path / "models.tar"), manifest_in(tmp_path)
    target.put_blob(manifest.blobs[0], reader(WEIGHTS))
    target.close()
    part = tmp_path / "models.tar.part"
    raw = bytearray(part.read_bytes())
    raw[-1000] ^= 1
    part.write_bytes(raw)
    with closing(OciArchiveTarget(tmp_path / "models.tar")) as again:
        assert not again.has(manifest.blobs[0])
    assert written(tmp_path).read_bytes() == written(tmp_path, name="fresh").read_bytes()


def test_a_blob_that_breaks_leaves_the_archive_as_it_was(tmp_path: Path) -> None:
    target, manifest = OciArchiveTarget(tmp_path / "models.tar"), manifest_in(tmp_path)
    target.put_blob(manifest.blobs[1], reader(manifest.blobs[1].digest))
    before = (tmp_path / "models.tar.part").read_bytes()

    def breaks(_offset: int, _size: int) -> Iterator[bytes]:
        yield LAYERS[0][:100]
        raise Killed

    with pytest.raises(Killed):
        target.put_blob(manifest.blobs[0], breaks)
    with pytest.raises(PushRejected, match="are other bytes"):
        target.put_blob(manifest.blobs[0], lambda _offset, size: iter([bytes(size)]))
    with pytest.raises(PushRejected, match="does not hold all blobs"):
        target.put_manifest(manifest)
    target.close()
    assert (tmp_path / "models.tar.part").read_bytes() == before
    assert not (tmp_path / "models.tar").exists()


def test_two_do_not_write_one_archive(tmp_path: Path) -> None:
    manifest = manifest_in(tmp_path)
    first, second = (OciArchiveTarget(tmp_path / "models.tar") for _ in range(2))
    first.put_blob(manifest.blobs[0], reader(WEIGHTS))
    with closing(first), pytest.raises(PushRejected, match="another process is writing it"):
        second.put_blob(manifest.blobs[1], reader(manifest.blobs[1].digest))


@pytest.mark.parametrize("looks_when", ["nothing is there", "it is half", "it is whole"])
def test_who_comes_while_another_finishes_destroys_nothing(looks_when: str, tmp_path: Path) -> None:
    """Found by the fault laboratory: two saved one archive, both with success, and it held nothing but zeros."""
    path, manifest = tmp_path / "models.tar", manifest_in(tmp_path)
    first, second = OciArchiveTarget(path), OciArchiveTarget(path)
    if looks_when == "nothing is there":
        assert not second.has(manifest.blobs[0])
    first.put_blob(manifest.blobs[0], reader(manifest.blobs[0].digest))
    if looks_when == "it is half":
        assert not second.has(manifest.blobs[0])
    for blob in manifest.blobs[1:]:
        first.put_blob(blob, reader(blob.digest))
    if looks_when == "it is whole":
        assert not second.has(manifest.blobs[0])
    first.put_manifest(manifest)
    first.close()
    whole = path.read_bytes()
    # It has seen nothing that is still there, and makes an archive of its own.
    for blob in manifest.blobs:
        assert not second.has(blob)
        second.put_blob(blob, reader(blob.digest))
        assert path.read_bytes() == whole
    second.put_manifest(manifest)
    second.close()
    assert path.read_bytes() == whole


def test_who_waited_with_an_open_file_does_not_write_into_the_finished_archive(tmp_path: Path) -> None:
    """The lock is of a file that may have become the archive before it was given."""
    path, manifest = tmp_path / "models.tar", manifest_in(tmp_path)
    stop, lies = threading.Event(), list[str]()
    whole = {blob.digest for blob in manifest.blobs}

    def save() -> None:
        while not stop.is_set():
            target = OciArchiveTarget(path)
            with closing(target):
                try:
                    for blob in manifest.blobs:
                        if not target.has(blob):
                            target.put_blob(blob, reader(blob.digest))
                    target.put_manifest(manifest)
                except PushRejected:
                    continue  # the other one writes
            with tarfile.open(path) as archive:
                names = {member.name.rpartition("/")[2] for member in archive if member.isfile()}
            if not names >= {digest.partition(":")[2] for digest in whole}:
                lies.append(f"it holds {names}")

    writers = [threading.Thread(target=save) for _ in range(3)]
    for writer in writers:
        writer.start()
    stop.wait(1.5)
    stop.set()
    for writer in writers:
        writer.join()
    assert lies == []


def test_after_close_nothing_is_written(tmp_path: Path) -> None:
    target, manifest = OciArchiveTarget(tmp_path / "models.tar"), manifest_in(tmp_path)
    target.close()
    target.close()
    for call in (
        lambda: target.has(manifest.blobs[0]),
        lambda: target.put_blob(manifest.blobs[0], reader(WEIGHTS)),
        lambda: target.put_manifest(manifest),
    ):
        with pytest.raises(UsedAfterClose):
            call()


def loaded(path: Path, models: Path) -> Manifest:
    """Load the archive as ``load`` does: all that is checked is checked."""
    model = OciArchive(path).model()
    target = StoreTarget(ModelStore(models), ModelName.parse_local("x"))
    for blob in model.manifest.blobs:
        target.put_blob(blob, lambda offset, size, digest=blob.digest: model.read_blob(digest, offset, size))  # type: ignore[misc]
    target.put_manifest(model.manifest)
    return model.manifest


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("archive")).read_bytes()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_archive_cut_anywhere_is_an_error_and_nothing_is_loaded(
    data: st.DataObject, archive: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    cut = data.draw(st.integers(0, len(archive) - 1))
    (folder / "cut.tar").write_bytes(archive[:cut])
    with pytest.raises(PushRejected, match=r"the source oci-archive:.* failed: ") as caught:
        loaded(folder / "cut.tar", folder / "models")
    assert caught.value.reason is RejectionReason.SOURCE_FAILED
    assert not (folder / "models").exists()


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_loads_nothing_but_the_model(
    data: st.DataObject, archive: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    at, bit = data.draw(st.integers(0, len(archive) - 1)), data.draw(st.integers(0, 7))
    raw = bytearray(archive)
    raw[at] ^= 1 << bit
    (folder / "flip.tar").write_bytes(raw)
    try:
        manifest = loaded(folder / "flip.tar", folder / "models")
    except PushRejected:
        assert not ModelStore(folder / "models").root.exists() or ModelStore(folder / "models").models() == []
    else:  # in what nobody reads: an owner's name, the padding of a block
        assert {blob.digest for blob in manifest.blobs} == set(BLOBS)
        assert FileModel.of(ModelStore(folder / "models").load(ModelName.parse_local("x"))).manifest == manifest


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", data: bytes = b""
) -> Callable[[tarfile.TarFile], None]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return lambda archive: archive.addfile(info, io.BytesIO(data))


_TRICKS: Final[dict[str, tuple[Callable[[tarfile.TarFile], None], str]]] = {
    "up": (member("../../etc/passwd", data=b"x"), "leads out of it"),
    "up inside": (member("blobs/../../x", data=b"x"), "leads out of it"),
    "absolute": (member("/etc/passwd", data=b"x"), "leads out of it"),
    "a folder up": (member("../x", tarfile.DIRTYPE), "leads out of it"),
    "a link": (member("blobs/sha256/x", tarfile.SYMTYPE, link="/etc/passwd"), "is no plain file"),
    "a hard link": (member("x", tarfile.LNKTYPE, link="index.json"), "is no plain file"),
    "a device": (member("x", tarfile.CHRTYPE), "is no plain file"),
    "a pipe": (member("x", tarfile.FIFOTYPE), "is no plain file"),
    "a second index": (member("index.json", data=b'{"manifests":[]}'), "it holds 'index.json' twice"),
    "a second spelling": (member("./index.json", data=b'{"manifests":[]}'), "it holds 'index.json' twice"),
}


@pytest.mark.parametrize("trick", _TRICKS)
def test_what_does_not_belong_into_an_archive_is_refused(trick: str, tmp_path: Path) -> None:
    add, said = _TRICKS[trick]
    path = written(tmp_path)
    with tarfile.open(path, "a") as archive:
        add(archive)
    with pytest.raises(PushRejected) as caught:
        loaded(path, tmp_path / "models")
    assert said in str(caught.value)
    assert not (tmp_path / "models").exists()


def sparse(path: Path) -> None:
    """Announce a blob of a terabyte of zeros."""
    info = tarfile.TarInfo("blobs/sha256/x")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": str(1 << 40),
    }
    path.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def long_header(path: Path) -> None:
    """Announce a header of a terabyte; the file is as long, and takes no room."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 1 << 42)


def many_files(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(101):
            file.write(tarfile.TarInfo(str(number)).tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1024))


def huge_index(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member("index.json", data=b"[" * 5_000_000)(archive)


def nested_index(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member("index.json", data=b'{"manifests":' + b"[" * 100_000 + b"]" * 100_000 + b"}")(archive)


@pytest.mark.parametrize(
    "bomb", [sparse, long_header, many_files, huge_index, nested_index], ids=lambda each: each.__name__
)
def test_a_bomb_does_not_go_off(bomb: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "_MOST_MEMBERS", 100)  # 100,000 take a while to write
    bomb(tmp_path / "bomb.tar")
    with pytest.raises(PushRejected, match=r"the source oci-archive:.* failed: "):
        OciArchive(tmp_path / "bomb.tar").model()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is no tar archive, or damaged"),
        (b"\x1f\x8b\x08" + bytes(600), "it is no tar archive, or damaged"),
        (bytes(1024), "it is no OCI layout: it holds no index.json"),
    ],
)
def test_what_is_no_archive_of_models_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(PushRejected) as caught:
        OciArchive(tmp_path / "x.tar").refs()
    assert said in str(caught.value)


def test_a_blob_that_is_not_there_is_said(tmp_path: Path) -> None:
    members = members_of(written(tmp_path))
    for change, said in [(None, "does not hold"), (b"x", "ends too early"), (LAYERS[0] + b"x", "too many bytes")]:
        with tarfile.open(tmp_path / "changed.tar", "w") as archive:
            for name, data in members.items():
                content = change if name.endswith(hex_of(WEIGHTS)) else data
                if content is not None:
                    member(name, data=content)(archive)
        with pytest.raises(PushRejected, match=said):
            OciArchive(tmp_path / "changed.tar").model()
