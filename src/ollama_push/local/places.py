"""What people write for a source or a target, and what it means.

==================================  ======================================================================
``my-llama``, ``ollama:my-llama``   a model of Ollama's store
``./weights.gguf``, ``gguf:FILE``   a GGUF file, as ``ollama create`` would make a model of it
``./Modelfile``, ``modelfile:FILE`` a Modelfile, likewise
``oci:DIR[:REF]``                   an OCI image layout in a folder
``oci-archive:FILE[:REF]``          the same in a tar archive
``host/namespace/model[:tag]``      a registry; with ``docker://`` before it in any case
==================================  ======================================================================

The prefixes are skopeo's (containers-transports(5)). Others are the names of entry points in the groups
``ollama_push.sources`` and ``ollama_push.targets``, whose factories are called with what follows the colon. What has
two readings is refused, and the error names both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, ModelName, NameParts, is_host_like
from ollama_push.core.registry.places import ModelSource, ModelTarget
from ollama_push.core.registry.target import RegistryModel
from ollama_push.local.create.hashes import Hashed
from ollama_push.local.create.model import gguf_model, modelfile_model
from ollama_push.local.file_source import FileModel
from ollama_push.local.oci.archive import OciArchive, OciArchiveTarget
from ollama_push.local.oci.layout import OciLayout, OciLayoutTarget
from ollama_push.local.store import ModelStore
from ollama_push.local.store_target import StoreTarget

__all__ = ["SOURCES", "TARGETS", "is_place", "source_of_text", "tags_of_text", "target_of_text", "with_tag"]

SOURCES: Final = "ollama_push.sources"
TARGETS: Final = "ollama_push.targets"

_REGISTRY: Final = "docker"
_PREFIX: Final = re.compile(r"([a-z][a-z0-9-]*):(.*)", re.DOTALL)
_PATH_MARKS: Final = ("./", "../", "/", "~/")
_Source = ModelSource | RegistryModel
_Target = ModelTarget | RegistryModel


def source_of_text(
    text: str,
    store: ModelStore,
    *,
    hashed: Hashed = lambda _path, _done, _size: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> _Source:
    """Return the source that *text* means.

    Args:
        text: As people write it; see the module docstring.
        store: Ollama's store.
        hashed: Told how far the hash of a GGUF file is: its path, bytes that were hashed, bytes in all.
        cancelled: Asked while a file is hashed; ``PushInterrupted`` is raised when it says yes.

    Raises:
        InvalidSetting: It means nothing, or could mean two things.
        OllamaPushError: It cannot be read.
    """
    prefix, rest = _prefixed("source", text, SOURCES)
    match prefix:
        case "" if (kind := _kind_of_path(text)) is not None:
            return kind(text, hashed=hashed, cancelled=cancelled)
        case "":
            return _plain_source(text, store)
        case "ollama":
            return _stored(rest, store)
        case "gguf":
            return gguf_model(rest, hashed=hashed, cancelled=cancelled)
        case "modelfile":
            return modelfile_model(rest, hashed=hashed, cancelled=cancelled)
        case "oci":
            folder, ref = _path_and_ref("source", text, rest)
            return OciLayout(folder).model(ref)
        case "oci-archive":
            path, ref = _path_and_ref("source", text, rest)
            return OciArchive(path).model(ref)
        case _ if prefix == _REGISTRY:
            return RegistryModel(rest.removeprefix("//"))
    made: ModelSource = _plugged("source", text, SOURCES, prefix)(rest)
    return made


def target_of_text(text: str, store: ModelStore) -> _Target:
    """Return the target that *text* means; see :func:`source_of_text`."""
    prefix, rest = _prefixed("target", text, TARGETS)
    match prefix:
        case "":
            return _plain_target(text)
        case "ollama":
            return StoreTarget(store, ModelName.parse_local(rest))
        case "oci":
            return OciLayoutTarget(*_path_and_ref("target", text, rest))
        case "oci-archive":
            return OciArchiveTarget(*_path_and_ref("target", text, rest))
        case _ if prefix == _REGISTRY:
            return RegistryModel(rest.removeprefix("//"))
    made: ModelTarget = _plugged("target", text, TARGETS, prefix)(rest)
    return made


def is_place(text: str) -> bool:
    """Say whether the source *text* is written as something else than a model of Ollama's store."""
    found = _PREFIX.fullmatch(text)
    has_prefix = found is not None and found[1] in _BUILT_IN[SOURCES] - {"ollama"}
    return has_prefix or text.startswith(_PATH_MARKS)


def tags_of_text(text: str, store: ModelStore) -> tuple[str, ...] | RegistryModel:
    """Return all tags of the model *text*, or the registry's model that has to be asked for them.

    Of a layout or an archive these are the names of its models.

    Raises:
        InvalidSetting: It names one tag already, or is a source of one model.
        OllamaPushError: It cannot be read.
    """
    prefix, rest = _prefixed("source", text, SOURCES)
    if prefix in ("oci", "oci-archive"):
        path, ref = _path_and_ref("source", text, rest)
        _require_no_tag(text, ref)
        return OciLayout(path).refs() if prefix == "oci" else OciArchive(path).refs()
    if prefix not in ("", "ollama", _REGISTRY) or text.startswith(_PATH_MARKS):
        raise InvalidSetting("source", text, "it has one model, and no tags")
    if prefix == _REGISTRY or (not prefix and _names_a_registry(text)):
        rest = rest.removeprefix("//")
        _require_no_tag(text, NameParts.split(rest).tag)
        return RegistryModel(rest)
    _require_no_tag(text, NameParts.split(rest).tag)
    wanted = ModelName.parse_local(rest)
    return tuple(each.tag for each in store.models() if attrs.evolve(each, tag=wanted.tag) == wanted)


def with_tag(text: str, tag: str, *, target: bool) -> str:
    """Return *text* with *tag*: another tag of the same model, or the model *tag* of a layout or an archive.

    Raises:
        InvalidSetting: Several tags do not go there.
    """
    setting, group = ("target", TARGETS) if target else ("source", SOURCES)
    prefix, rest = _prefixed(setting, text, group)
    if prefix == "oci-archive" and target:
        raise InvalidSetting(setting, text, "an archive is written as a whole: `save` puts several models into one")
    if prefix not in ("", "ollama", "oci", "oci-archive", _REGISTRY):
        raise InvalidSetting(setting, text, "it has one model, and no tags")
    if prefix in ("oci", "oci-archive"):
        path, ref = _path_and_ref(setting, text, rest)
        return f"{prefix}:{path}:{tag}" if ref is None else f"{prefix}:{path}:{ref}:{tag}"
    _require_no_tag(text, NameParts.split(rest).tag)
    # Names of models in layouts may be whole names.
    return f"{text}:{tag.rpartition('/')[2].rpartition(':')[2] if target else tag}"


def _require_no_tag(text: str, tag: str | None) -> None:
    if tag is not None:
        raise InvalidSetting("source", text, f"it names the tag {tag!r} already")


_BUILT_IN: Final[Mapping[str, frozenset[str]]] = {
    SOURCES: frozenset({"gguf", "modelfile", "ollama", "oci", "oci-archive", _REGISTRY}),
    TARGETS: frozenset({"ollama", "oci", "oci-archive", _REGISTRY}),
}


def _prefixed(setting: str, text: str, group: str) -> tuple[str, str]:
    """Return the prefix of *text*, empty where it has none that is known, and the rest."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidSetting(
            setting, text, "expected a model, a file with a prefix such as oci:, or a registry's model"
        )
    found = _PREFIX.fullmatch(text)
    if found is None:
        return "", text
    if found[1] in _BUILT_IN[group] or any(point.name == found[1] for point in entry_points(group=group)):
        if not found[2]:
            raise InvalidSetting(setting, text, f"nothing follows {found[1]}:")
        return found[1], found[2]
    return "", text


def _plugged(setting: str, text: str, group: str, name: str) -> Callable[[str], Any]:
    point = next(point for point in entry_points(group=group) if point.name == name)
    try:
        loaded: Callable[[str], Any] = point.load()
    except (ImportError, AttributeError) as exc:
        raise InvalidSetting(setting, text, f"{name}: cannot be loaded: {exc}") from exc
    return loaded


def _kind_of_path(text: str) -> Callable[..., FileModel] | None:
    """Return what reads the file *text*, where its name says what it is and that it is a file."""
    if not text.startswith(_PATH_MARKS):
        return None
    name = Path(text).name
    if name.lower().endswith(".gguf"):
        return gguf_model
    return modelfile_model if "modelfile" in name.lower() else None


def _plain_source(text: str, store: ModelStore) -> _Source:
    if text.startswith(_PATH_MARKS):
        raise InvalidSetting("source", text, "what is there? say gguf:, modelfile:, oci: or oci-archive: before it")
    if _names_a_registry(text):
        return RegistryModel(text)
    if os.path.lexists(text):
        both = f"it is a file here, and may be a model: say ./{text} or ollama:{text}"
        raise InvalidSetting("source", text, both)
    return _stored(text, store)


def _plain_target(text: str) -> RegistryModel:
    if text.startswith(_PATH_MARKS):
        raise InvalidSetting("target", text, f"say what to write there: oci:{text} or oci-archive:{text}")
    if _names_a_registry(text):
        return RegistryModel(text)
    name = text if "/" in text else f"{DEFAULT_NAMESPACE}/{text}"
    both = f"it may be a model of Ollama's store or of its registry: say ollama:{text} or {DEFAULT_HOST}/{name}"
    raise InvalidSetting("target", text, both)


def _names_a_registry(text: str) -> bool:
    parts = NameParts.split(text)
    return parts.host is not None or is_host_like(parts.namespace or "")


def _stored(text: str, store: ModelStore) -> FileModel:
    return FileModel.of(store.load(ModelName.parse_local(text)))


def _path_and_ref(setting: str, text: str, rest: str) -> tuple[str, str | None]:
    """Return the path and the reference name in *rest*; like skopeo, at the first colon."""
    path, colon, ref = rest.partition(":")
    if not path or (colon and not ref):
        raise InvalidSetting(setting, text, "expected a path, and perhaps a colon and a name")
    if colon and Path(rest).exists():
        both = f"{rest!r} is there, and {path!r} with the model {ref!r} may be meant: rename one of them"
        raise InvalidSetting(setting, text, both)
    return path, ref or None
