"""An OCI image layout in a tar archive, as a source and as a target; what ``skopeo`` calls ``oci-archive``.

Written in one stream, the same bytes for the same models: ``oci-layout``, the blobs in the order of the manifests, each
manifest behind its blobs, ``index.json`` last. Until then it has another name, under which a later run goes on behind
the last blob that is there as a whole.

Source: OCI image-spec v1.1, "Image Layout Specification".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final

from ollama_push.core.errors import UsedAfterClose
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import Descriptor, Manifest, hex_of
from ollama_push.core.registry.places import ReadRange, manifest_of, place_failed
from ollama_push.local.blob_files import failing_as, lock_file, write_all, write_hashed
from ollama_push.local.file_source import FileModel
from ollama_push.local.files import BlobFile, Identity, identity_of, open_regular, problem_text
from ollama_push.local.hashing import hash_range
from ollama_push.local.oci.index import INDEX, LAYOUT, LAYOUT_CONTENT, MAX_INDEX_BYTES, Index
from ollama_push.local.oci.tar import (
    END,
    TarMember,
    file_header,
    folder_header,
    padding,
    read_members,
    whole_members,
)

__all__ = ["ArchiveModelTarget", "OciArchive", "OciArchiveTarget", "OciArchiveWriter"]

_BLOBS: Final = "blobs/sha256/"


class OciArchive:
    """An archive that is there.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self.label: str = f"oci-archive:{self.path}"

    def refs(self) -> tuple[str, ...]:
        """Return the names of its models, in order.

        Raises:
            PushRejected: It cannot be read.
        """
        return self.index().refs()

    def index(self) -> Index:
        """Return the list of its models."""
        with self._opened() as (file, members, _identity):
            return self._index(file, members)

    def model(self, ref: str | None = None) -> FileModel:
        """Return the model *ref*, or the only one.

        Raises:
            PushRejected: It is not there, or cannot be read.
        """
        label = self.label if ref is None else f"{self.label}:{ref}"
        with self._opened() as (file, members, identity):
            entry = self._index(file, members).find(ref, label)
            manifest = manifest_of(self._small(file, self._blob(members, entry.digest, label)), label)
            if manifest.digest != entry.digest:
                raise place_failed(Side.SOURCE, label, PlaceProblem.OTHER_BYTES, digest=entry.digest)
            files: dict[str, BlobFile | bytes] = {}
            for blob in manifest.blobs:
                member = self._blob(members, blob.digest, label)
                if member.size != blob.size:
                    problem = PlaceProblem.ENDS_EARLY if member.size < blob.size else PlaceProblem.TOO_LONG
                    raise place_failed(Side.SOURCE, label, problem, digest=blob.digest)
                files[blob.digest] = BlobFile(self.path.resolve(), blob.size, identity, member.start)
        return FileModel(label, manifest, files)

    @contextmanager
    def _opened(self) -> Iterator[tuple[FileIO, dict[str, TarMember], Identity]]:
        try:
            with FileIO(open_regular(self.path.resolve(strict=True)), "rb") as file:
                yield file, dict(read_members(file)), identity_of(os.fstat(file.fileno()))
        except (OSError, ValueError) as exc:
            raise place_failed(Side.SOURCE, self.label, PlaceProblem.BROKEN, words=problem_text(exc)) from exc

    def _index(self, file: FileIO, members: dict[str, TarMember]) -> Index:
        if INDEX not in members:
            raise ValueError(f"it is no OCI layout: it holds no {INDEX}")
        return Index.parse(self._small(file, members[INDEX]))

    @staticmethod
    def _blob(members: dict[str, TarMember], digest: str, label: str) -> TarMember:
        member = members.get(f"{_BLOBS}{hex_of(digest)}")
        if member is None:
            raise place_failed(Side.SOURCE, label, PlaceProblem.NO_BLOB, digest=digest)
        return member

    @staticmethod
    def _small(file: FileIO, member: TarMember) -> bytes:
        if member.size > MAX_INDEX_BYTES:
            raise ValueError(f"{member.name} is larger than {MAX_INDEX_BYTES} bytes")
        file.seek(member.start)
        return file.read(member.size)


class OciArchiveWriter:
    """Writes models into one archive, which replaces a file of that name when it is finished.

    Args:
        path: The archive; its folder exists.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self.label: str = f"oci-archive:{self.path}"
        self._index = Index()
        self._file: FileIO | None = None
        self._begun = False
        self._kept: list[TarMember] = []
        self._held: dict[str, int] = {}
        self._closed = False
        self._finished = False
        self._looked = False

    def target(self, ref: str | None = None) -> ArchiveModelTarget:
        """Return the target for one model, under the name *ref*; models are put one after the other."""
        return ArchiveModelTarget(self, ref)

    def has(self, blob: Descriptor) -> bool:
        """Say whether *blob* is there as a whole, or is what an unfinished archive holds next."""
        self._require_open()
        self._look()
        name = f"{_BLOBS}{hex_of(blob.digest)}"
        if (
            blob.digest not in self._held
            and self._kept
            and (self._kept[0].name, self._kept[0].size) == (name, blob.size)
        ):
            member = self._kept.pop(0)
            if self._file is not None and self._is_sound(self._file, member, blob.digest):
                self._held[blob.digest] = member.end
            else:
                self._kept = []
        return blob.digest in self._held

    def put(self, blob: Descriptor, read: ReadRange) -> None:
        """Append *blob*."""
        if self.has(blob):
            return
        file = self._ready()
        start = file.seek(0, os.SEEK_END)
        try:
            with failing_as(self.label):
                write_all(file, file_header(f"{_BLOBS}{hex_of(blob.digest)}", blob.size))
            pieces = read(0, blob.size) if blob.size else ()
            if not write_hashed(file, pieces, blob, hashlib.sha256(), label=self.label):
                raise place_failed(Side.SOURCE, self.label, PlaceProblem.OTHER_BYTES, digest=blob.digest)
            with failing_as(self.label):
                write_all(file, padding(blob.size))
        except BaseException:
            file.truncate(start)
            raise
        self._held[blob.digest] = file.tell()

    def put_manifest(self, manifest: Manifest, ref: str | None) -> None:
        """Append *manifest*, and list it under the name *ref*."""
        if not all(map(self.has, manifest.blobs)):
            raise place_failed(Side.TARGET, self.label, PlaceProblem.INCOMPLETE)
        descriptor = Descriptor(manifest.digest, len(manifest.raw))
        self.put(descriptor, lambda offset, size: iter([manifest.raw[offset : offset + size]]))
        self._index = self._index.with_model(manifest, ref)

    def finish(self) -> None:
        """End the archive and give it its name."""
        file, listing = self._ready(), self._index.to_json()
        with failing_as(self.label):
            file.seek(0, os.SEEK_END)
            write_all(file, file_header(INDEX, len(listing)) + listing + padding(len(listing)) + END)
            os.fsync(file.fileno())
            self._part.replace(self.path)
        self._finished = True
        self.close()

    def close(self) -> None:
        """Close the file; one that is not finished keeps its other name. Idempotent."""
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    def _require_open(self) -> None:
        if self._closed:
            raise UsedAfterClose(type(self).__name__)

    def _look(self) -> None:
        """Find out, once and without writing, what an earlier run has left; nobody else may write it from then on."""
        if self._looked:
            return
        self._looked = True
        try:
            os.close(open_regular(self._part))
            self._file = self._locked()
            members = [] if self._file is None else whole_members(self._file)
        except (OSError, ValueError):
            return
        if members and members[0].name == LAYOUT and members[0].size == len(LAYOUT_CONTENT):
            self._kept = [member for member in members[1:] if member.name.startswith(_BLOBS)]

    def _is_sound(self, file: FileIO, member: TarMember, digest: str) -> bool:
        hasher = hashlib.sha256()
        try:
            file.seek(member.start)
            hash_range(file, member.size, hasher)
        except (OSError, ValueError):
            return False
        return hasher.hexdigest() == hex_of(digest)

    def _ready(self) -> FileIO:
        """Return the unfinished archive, ready for what comes behind what is held."""
        self._require_open()
        self._look()
        with failing_as(self.label):
            file = self._file = self._file or self._locked(os.O_CREAT)
            if file is None:
                raise place_failed(Side.TARGET, self.label, PlaceProblem.BROKEN, words="another process is writing it")
            if self._begun:
                return file
            file.truncate(max(self._held.values(), default=0))
            if not self._held:
                file.seek(0)
                write_all(file, file_header(LAYOUT, len(LAYOUT_CONTENT)) + LAYOUT_CONTENT)
                write_all(file, padding(len(LAYOUT_CONTENT)) + folder_header("blobs") + folder_header("blobs/sha256"))
        self._kept, self._begun = [], True
        return file

    def _locked(self, flags: int = 0) -> FileIO | None:
        """Open the unfinished archive, and lock it until it is closed; ``None`` while another process has it.

        Who had the lock may have finished meanwhile: then the file is the archive itself, and not unfinished any more.
        """
        flags |= os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            file = FileIO(os.open(self._part, flags, 0o644), "r+b")
            with ExitStack() as stack:
                stack.callback(file.close)
                if not lock_file(file.fileno()):
                    return None
                with suppress(FileNotFoundError):
                    if os.path.samestat(self._part.stat(), os.fstat(file.fileno())):
                        stack.pop_all()
                        return file


class ArchiveModelTarget:
    """One model of an archive that is being written (``core.registry.places.ModelTarget``)."""

    at_once: int = 1
    """The archive is one stream."""

    def __init__(self, writer: OciArchiveWriter, ref: str | None) -> None:
        self._writer = writer
        self._ref = ref
        self.label: str = writer.label if ref is None else f"{writer.label}:{ref}"

    def has(self, blob: Descriptor, /) -> bool:
        """Say whether the whole *blob* is there."""
        return self._writer.has(blob)

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        """Store *blob*; see ``ModelTarget``."""
        self._writer.put(blob, read)

    def put_manifest(self, manifest: Manifest, /) -> None:
        """List the model in the archive, which its writer finishes."""
        self._writer.put_manifest(manifest, self._ref)

    def close(self) -> None:
        """Do nothing: the writer is closed by whoever made it."""


class OciArchiveTarget(ArchiveModelTarget):
    """Writes one model into an archive of its own.

    Args:
        path: The archive; its folder exists.
        ref: Name of the model in it; ``None`` for a model without a name.
    """

    def __init__(self, path: str | os.PathLike[str], ref: str | None = None) -> None:
        super().__init__(OciArchiveWriter(path), ref)

    def put_manifest(self, manifest: Manifest, /) -> None:
        """List the model, and finish the archive."""
        super().put_manifest(manifest)
        self._writer.finish()

    def close(self) -> None:
        """Close the archive. Idempotent."""
        self._writer.close()
