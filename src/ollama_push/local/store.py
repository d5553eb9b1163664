"""Ollama's model store, read only: which models are there, and whether one can be pushed as it is.

Source: ollama ``envconfig/config.go`` (``Models``), ``manifest/paths.go``, ``manifest/manifest.go``,
``server/routes.go`` (``getExistingName``) at fb3076099.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from ollama_push.core.errors import InvalidSetting, PushRejected, RejectionReason
from ollama_push.core.names import ModelName
from ollama_push.core.registry.digests import hex_of
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.store_layout import BLOBS, MANIFESTS, blob_path, manifest_path
from ollama_push.local.files import BlobFile, identity_of, open_regular, place_of, read_regular
from ollama_push.local.homes import home_in
from ollama_push.local.suggestions import not_found

__all__ = ["ModelStore", "StoredModel"]

_MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""Largest manifest read: the limit that distribution sets on what it takes (``maxManifestBodySize``)."""
_READ_BYTES: Final = 1024 * 1024
_NAME_LEVELS: Final = 4
_AGAIN: Final = "pull or create the model again"
_SERVICE_ROOT: Final = Path("/usr/share/ollama/.ollama/models")
"""Store of the user that the Linux package runs the server as."""


@attrs.frozen
class StoredModel:
    """A model that is whole: every blob was there with the right size when it was loaded.

    Attributes:
        name: As spelled on disk.
        manifest: As stored.
        files: Digest to file, one for each blob of the manifest.
    """

    name: ModelName
    manifest: Manifest
    files: Mapping[str, BlobFile]

    def rehash(self, digest: str) -> bool:
        """Read the blob *digest* and say whether it hashes to its name; ``False`` when it cannot be read."""
        buffer = memoryview(bytearray(_READ_BYTES))
        hasher = hashlib.sha256()
        try:
            with open(open_regular(self.files[digest].path), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
                while count := file.readinto(buffer):
                    hasher.update(buffer[:count])
        except (OSError, ValueError):
            return False
        return hasher.hexdigest() == hex_of(digest)


class ModelStore:
    """The store of one Ollama.

    Nothing is looked at before a model is asked for. Nothing outside the store is opened: ``root`` and its two
    folders may be links (models are moved to larger disks that way), but what is below must stay in there.

    Args:
        root: The folder that holds ``manifests`` and ``blobs``. When not given: ``OLLAMA_MODELS``, then
            ``~/.ollama/models``, then the Linux package's ``/usr/share/ollama/.ollama/models``.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        named = _named_root()
        self._setting = "models" if root is not None or named is None else "OLLAMA_MODELS"
        self._root = Path(root) if root is not None else named or _usual_root()
        self._is_guess = root is None and named is None

    @property
    def root(self) -> Path:
        """The folder, as given or found."""
        return self._root

    def models(self) -> list[ModelName]:
        """Return the names of all models, sorted; entries that are no models are left out.

        Raises:
            InvalidSetting: ``root`` is no model store.
        """
        places = self._places()
        found = (ModelName.from_store_path(path) for path in _manifests_below(self._root / MANIFESTS, places))
        return sorted((name for name in found if name is not None), key=lambda name: name.shortest)

    def load(self, name: ModelName) -> StoredModel:
        """Read a model's manifest and look at every blob of it.

        Args:
            name: Taken as spelled if there is one, else in any case, as Ollama does.

        Raises:
            InvalidSetting: ``root`` is no model store.
            PushRejected: ``MODEL_NOT_FOUND``.
                ``STORE_DAMAGED``: the manifest cannot be read, or a blob is missing, short, long or elsewhere.
        """
        places = self._places()
        spelled = self._spelled(name)
        path = self._manifest_path(spelled)
        try:
            manifest = Manifest.parse(read_regular(place_of(path, places), _MAX_MANIFEST_BYTES))
        except (OSError, ValueError) as exc:
            # Another Ollama's permissions are not cured by pulling.
            advice = "" if isinstance(exc, OSError) else f"; {_AGAIN}"
            raise _damaged(f"the manifest {path} of {spelled} cannot be read: {_words(exc)}{advice}") from exc
        return StoredModel(spelled, manifest, {blob.digest: self._file(blob, places) for blob in manifest.blobs})

    def _places(self) -> tuple[Path, ...]:
        try:
            folders = [self._root / name for name in (MANIFESTS, BLOBS)]
            if any(folder.is_dir() for folder in folders):
                return tuple(place.resolve() for place in (self._root, *folders))
            problem = "this is no model store; expected a folder that holds manifests/ and blobs/"
            if not self._root.exists():
                problem = "there is no such folder; expected one that holds manifests/ and blobs/"
            if (self._root / "models" / MANIFESTS).is_dir():
                problem = f"{problem}, such as {self._root / 'models'}"
        except (OSError, RuntimeError) as exc:
            problem = f"the model store cannot be read: {_words(exc)}"
        if self._is_guess:
            problem = f"{problem}; OLLAMA_MODELS says where it is when it is elsewhere"
        raise InvalidSetting(self._setting, str(self._root), problem)

    def _manifest_path(self, name: ModelName) -> Path:
        return self._root / manifest_path(name)

    def _spelled(self, name: ModelName) -> ModelName:
        # Asked of the disk, not of models(): an entry that is there but is no file deserves its own words.
        if os.path.lexists(self._manifest_path(name)):
            return name
        models = self.models()
        same = next((model for model in models if model == name), None)
        if same is None:
            raise PushRejected(not_found(name, models, self._root), RejectionReason.MODEL_NOT_FOUND, by_peer=False)
        return same

    def _file(self, blob: Descriptor, places: tuple[Path, ...]) -> BlobFile:
        path = self._root / blob_path(blob.digest)
        # Until v0.1.30 Ollama wrote the colon itself; a server renames the files when it starts.
        older = path.with_name(blob.digest)
        if not os.path.lexists(path) and os.path.lexists(older):
            path = older
        try:
            real = place_of(path, places)
            descriptor = open_regular(real)
            try:
                state = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError as exc:
            raise _damaged(f"blob {blob.digest} is missing: there is no {path}; {_AGAIN}") from exc
        except (OSError, ValueError) as exc:
            raise _damaged(f"blob {blob.digest} cannot be read from {path}: {_words(exc)}") from exc
        if state.st_size != blob.size:
            sizes = f"{state.st_size} bytes in {path}, but {blob.size} in the manifest"
            raise _damaged(f"blob {blob.digest} has {sizes}; {_AGAIN}")
        return BlobFile(real, state.st_size, identity_of(state))


def _named_root() -> Path | None:
    # Quotes and blanks go, as in ollama's envconfig.Var.
    named = os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    return Path(named) if named else None


def _usual_root() -> Path:
    home = home_in(os.environ)
    if home is None:
        return _SERVICE_ROOT
    usual = home / ".ollama" / "models"
    return _SERVICE_ROOT if not _is_there(usual) and _is_there(_SERVICE_ROOT) else usual


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # another user's home may not even be looked into
        return False


def _manifests_below(folder: Path, places: tuple[Path, ...], level: int = 1) -> Iterator[str]:
    """Yield ``host/namespace/model/tag`` for each file at that depth."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        try:
            place = place_of(Path(entry.path), places)
        except (OSError, ValueError):
            continue
        if level == _NAME_LEVELS and place.is_file():
            yield entry.name
        elif level < _NAME_LEVELS and place.is_dir():
            yield from (f"{entry.name}/{rest}" for rest in _manifests_below(place, places, level + 1))


def _damaged(text: str) -> PushRejected:
    return PushRejected(text, RejectionReason.STORE_DAMAGED, by_peer=False)


def _words(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
