"""Reads Ollama's model store: which models it has, and whether all blobs of a model are there.

Source: ollama ``envconfig/config.go`` (``Models``), ``manifest/paths.go``, ``manifest/manifest.go``,
``server/routes.go`` (``getExistingName``) at fb3076099.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ollama_push.core.errors import InvalidSetting, PushRejected, RejectionReason
from ollama_push.core.facts import Advice, StoreDamaged, StoreProblem
from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import BLOBS, MANIFESTS, Descriptor, Manifest, blob_path, manifest_path
from ollama_push.local.files import BlobFile, identity_of, open_regular, place_of, problem_text, read_regular
from ollama_push.local.hashing import rehash
from ollama_push.local.homes import home_in
from ollama_push.local.suggestions import missing_model

__all__ = ["ModelStore", "StoredModel"]

_MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""The largest manifest that is read: distribution accepts no larger one (``maxManifestBodySize``)."""
_NAME_LEVELS: Final = 4
_SERVICE_ROOT: Final = Path("/usr/share/ollama/.ollama/models")
"""The store of the user ``ollama``, as whom the Linux package runs the server."""


@attrs.frozen
class StoredModel:
    """A complete model: each blob was there with the right size when it was loaded.

    Attributes:
        name: As it is spelled on disk.
        manifest: As stored.
        files: The file of each blob of the manifest, by digest.
    """

    name: ModelName
    manifest: Manifest
    files: Mapping[str, BlobFile]

    def rehash(self, digest: str, *, cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Read the blob *digest* and say whether its content has that digest; ``False`` if it cannot be read.

        Raises:
            PushInterrupted: *cancelled*, which is asked again and again, said yes.
        """
        return rehash(self.files[digest], digest, cancelled)


class ModelStore:
    """A model store of Ollama.

    Nothing is read before a method is called, and nothing outside of the store is opened: ``root`` and its two
    folders may be links, as users move models to larger disks that way, but no link below may lead out of them.

    Args:
        root: The folder with ``manifests`` and ``blobs``. Default: ``OLLAMA_MODELS``, then
            ``~/.ollama/models``, then the Linux package's ``/usr/share/ollama/.ollama/models``.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        named = _named_root()
        self._setting = "models" if root is not None or named is None else "OLLAMA_MODELS"
        self._root = Path(root) if root is not None else named or _usual_root()
        self._is_guess = root is None and named is None

    @property
    def root(self) -> Path:
        """The folder, as given or as found."""
        return self._root

    def models(self) -> list[ModelName]:
        """Return the names of all models, sorted; files that are no manifests are left out.

        Raises:
            InvalidSetting: ``root`` is no model store.
        """
        places = self._places()
        found = (ModelName.from_store_path(path) for path in _manifests_below(self._root / MANIFESTS, places))
        return sorted((name for name in found if name is not None), key=lambda name: name.shortest)

    def load(self, name: ModelName) -> StoredModel:
        """Read the manifest of a model and check the size of each blob.

        Args:
            name: An exact match is preferred, else upper and lower case are the same, as in Ollama.

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
            # Permissions are not cured by pulling the model again.
            advice = None if isinstance(exc, OSError) else Advice.RECREATE_MODEL
            raise _damaged(
                StoreProblem.MANIFEST_UNREADABLE, path, model=str(spelled), words=problem_text(exc), advice=advice
            ) from exc
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
            problem = f"the model store cannot be read: {problem_text(exc)}"
        if self._is_guess:
            problem = f"{problem}; OLLAMA_MODELS says where it is when it is elsewhere"
        raise InvalidSetting(self._setting, str(self._root), problem)

    def _manifest_path(self, name: ModelName) -> Path:
        return self._root / manifest_path(name)

    def _spelled(self, name: ModelName) -> ModelName:
        # Not from models(), which leaves out an entry that is no file: load() has an error for it.
        if os.path.lexists(self._manifest_path(name)):
            return name
        models = self.models()
        same = next((model for model in models if model == name), None)
        if same is None:
            facts = missing_model(name, models, self._root)
            raise PushRejected("", RejectionReason.MODEL_NOT_FOUND, facts)
        return same

    def _file(self, blob: Descriptor, places: tuple[Path, ...]) -> BlobFile:
        path = self._root / blob_path(blob.digest)
        # Ollama up to v0.1.30 named files with a colon; a newer server renames them when it starts.
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
            raise _damaged(StoreProblem.BLOB_MISSING, path, digest=blob.digest, advice=Advice.RECREATE_MODEL) from exc
        except (OSError, ValueError) as exc:
            raise _damaged(StoreProblem.BLOB_UNREADABLE, path, digest=blob.digest, words=problem_text(exc)) from exc
        if state.st_size != blob.size:
            raise _damaged(
                StoreProblem.BLOB_SIZE,
                path,
                digest=blob.digest,
                found_bytes=state.st_size,
                expected_bytes=blob.size,
                advice=Advice.RECREATE_MODEL,
            )
        return BlobFile(real, state.st_size, identity_of(state))


def _named_root() -> Path | None:
    # Without quotes and blanks, as in ollama's ``envconfig.Var``.
    named = os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    return Path(named) if named else None


def _usual_root() -> Path:
    home = home_in(os.environ)
    if home is None:
        return _SERVICE_ROOT
    usual = home / ".ollama" / "models"
    return _SERVICE_ROOT if not _exists(usual) and _exists(_SERVICE_ROOT) else usual


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no permission for another user's home
        return False


def _manifests_below(folder: Path, places: tuple[Path, ...], level: int = 1) -> Iterator[str]:
    """Yield ``host/namespace/model/tag`` for each file at the depth of tags."""
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


def _damaged(problem: StoreProblem, path: Path, **facts: Any) -> PushRejected:
    return PushRejected("", RejectionReason.STORE_DAMAGED, StoreDamaged(problem, str(path), **facts))
