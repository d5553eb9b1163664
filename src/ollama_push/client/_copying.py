"""What is decided about the two places of a copy, before anything is read. Neither sync nor async."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs

from ollama_push.client._flow_context import FileBlobs, StreamedBlobs
from ollama_push.client._registry_arguments import AnyCredential, RegistrySettings, source_of
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import CredentialSource, GivenCredential
from ollama_push.core.registry.flows.attach import EMPTY_CONFIG, Attachment
from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of, is_media_type
from ollama_push.core.registry.target import RegistryModel, direct_name
from ollama_push.local import BlobFile, Credentials, FileModel
from ollama_push.local.files import problem_text

__all__ = ["CopyPlaces", "ReadModel", "attached_file", "label_of"]

_PORTS = ("read_manifest", "read_blob"), ("put_blob", "put_manifest")


@attrs.frozen
class ReadModel:
    """What a source has given before anything is moved.

    Attributes:
        manifest: The manifest.
        blobs: Where its blobs are read.
        runner: Of the source's requests; ``None`` when it sends none.
        mount_from: Repository of the target's registry that has the blobs; may be empty.
    """

    manifest: Manifest
    blobs: FileBlobs | StreamedBlobs
    runner: Any = None
    mount_from: str = ""


def attached_file(path: str | os.PathLike[str], media_type: str, subject: Manifest) -> tuple[Attachment, FileModel]:
    """Return the artifact that consists of the file *path* and refers to *subject*, and its blobs.

    Raises:
        InvalidSetting: The file cannot be read, or *media_type* is none.
    """
    from ollama_push.local.create.hashes import HashMemory  # noqa: PLC0415 - for those who attach

    if not is_media_type(media_type):
        raise InvalidSetting("media_type", media_type, "expected a media type, such as application/spdx+json")
    try:
        digest, file = HashMemory().hash(Path(path))
    except (OSError, ValueError) as exc:
        raise InvalidSetting("file", os.fspath(path), problem_text(exc)) from exc
    attachment = Attachment.of(Descriptor(digest, file.size, media_type), subject, Path(path).name)
    blobs: dict[str, BlobFile | bytes] = {digest_of(EMPTY_CONFIG): EMPTY_CONFIG, digest: file}
    return attachment, FileModel(f"file:{os.fspath(path)}", attachment.manifest, blobs)


class CopyPlaces:
    """The two places of one copy.

    Args:
        settings: Of the client.
        source: As the caller gave it.
        target: Likewise.
        credentials: Replace those of the client; they are the target's where that is a registry.
        plain_http: Replaces that of the client.

    Attributes:
        source: A ``RegistryModel``, or an object that keeps the port of sources.
        target: A ``RegistryModel``, or an object that keeps the port of targets.
        made: Those of them that were made here, and are to be closed.

    Raises:
        InvalidSetting: One of them is none.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        source: Any,
        target: Any,
        credentials: AnyCredential,
        *,
        plain_http: bool | None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._plain_http = settings.plain_http if plain_http is None else plain_http
        from ollama_push.local.places import source_of_text, target_of_text  # noqa: PLC0415 - for those who copy

        self.made: list[Any] = []
        self.target = self._opened("target", target, target_of_text)
        self.source = self._opened("source", source, source_of_text)

    @property
    def target_plain_http(self) -> bool:
        """Whether the target's registry is spoken to in plain HTTP."""
        return self._plain_of(self.target)

    @property
    def source_plain_http(self) -> bool:
        """Whether the source's registry is spoken to in plain HTTP."""
        return self._plain_of(self.source)

    @property
    def is_one_registry(self) -> bool:
        """Whether source and target are one registry, which may mount blobs and is shown one login."""
        if not isinstance(self.source, RegistryModel) or not isinstance(self.target, RegistryModel):
            return False
        hosts = [direct_name(each.name, plain_http=self._plain_of(each)).host for each in (self.source, self.target)]
        return hosts[0].lower() == hosts[1].lower()

    def source_credentials(self) -> AnyCredential:
        """Return who we are to the source's registry: what was given for one registry is not shown to another."""
        if not isinstance(self.target, RegistryModel) or self.is_one_registry:
            return self._credentials
        given = self._settings.credentials if self._credentials is None else source_of(self._credentials)
        return _for_another(given)

    def _plain_of(self, place: Any) -> bool:
        named = place.plain_http if isinstance(place, RegistryModel) else None
        return self._plain_http if named is None else named

    def _opened(self, setting: str, given: Any, of_text: Any) -> Any:
        if isinstance(given, str):
            place = of_text(given, self._settings.store)
            if not isinstance(place, RegistryModel):
                self.made.append(place)
            return place
        methods = _PORTS[setting == "target"]
        if isinstance(given, RegistryModel) or all(hasattr(given, method) for method in methods):
            return given
        raise InvalidSetting(setting, given, f"expected a text, a RegistryModel, or an object with {methods[0]}()")


def _for_another(given: CredentialSource) -> CredentialSource:
    if isinstance(given, GivenCredential):
        return Credentials(environment_for=())
    return given.for_another_registry() if isinstance(given, Credentials) else given


def label_of(place: object) -> str:
    """Return what a place is called, as the caller gave it."""
    named = place.name if isinstance(place, RegistryModel) else getattr(place, "label", place)
    return str(named)
