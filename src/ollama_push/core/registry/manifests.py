"""Manifests as Ollama stores them: digests, descriptors, the bytes as they are, and the paths they are kept at.

A manifest is never serialized again: its digest would change, and a pull must get exactly the local model.

Source: opencontainers/image-spec v1.1, "Digests"; ollama ``manifest/manifest.go`` and ``manifest/paths.go`` at
fb3076099 (digests with a dash, paths below the root of the store); Docker's image manifest v2, schema 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from ollama_push.core.json_text import MAX_COUNT, decode_json
from ollama_push.core.names import ModelName

__all__ = [
    "BLOBS",
    "MANIFESTS",
    "MANIFEST_MEDIA_TYPES",
    "Descriptor",
    "Manifest",
    "announced_digest",
    "blob_path",
    "checked_digest",
    "digest_of",
    "hex_of",
    "is_media_type",
    "is_sha256_digest",
    "manifest_path",
    "short_digest",
]

_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
# RFC 6838, 4.2, without parameters: it becomes a header.
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
MANIFEST_MEDIA_TYPES: Final = (_DOCKER_MANIFEST, "application/vnd.oci.image.manifest.v1+json")
"""What we ask for when we read a manifest back."""


@attrs.frozen
class Descriptor:
    """What a manifest says about one blob.

    Attributes:
        digest: ``"sha256:"`` plus 64 lower-case hex digits.
        size: Bytes, never below 0.
        media_type: As written; empty when absent.
        mount_from: Name of the local model this layer was taken from, as Ollama wrote it; may be empty.
    """

    digest: str
    size: int
    media_type: str = ""
    mount_from: str = ""


@attrs.frozen
class Manifest:
    """One manifest.

    Attributes:
        raw: The bytes as stored; these are what is pushed.
        media_type: What to announce them as.
        blobs: Every blob once: the layers in order, the config last, as Ollama pushes them.
    """

    raw: bytes = attrs.field(repr=False)
    media_type: str
    blobs: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a manifest.

        Raises:
            ValueError: It is no manifest; the text says why.
        """
        try:
            value = decode_json(raw)
        except ValueError as exc:
            raise ValueError(f"it is no JSON: {exc}") from exc
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        layers = value.get("layers")
        if not isinstance(layers, list):
            raise ValueError("it has no list of layers")
        # An empty config is legal: ollama pushes none then (v0.3.5+).
        config = value.get("config")
        entries = [*layers, config] if isinstance(config, dict) and config.get("digest") else layers
        blobs: dict[str, Descriptor] = {}
        for entry in entries:
            blob = _descriptor(entry)
            if blobs.setdefault(blob.digest, blob).size != blob.size:
                raise ValueError(f"it gives two sizes for {blob.digest}")
        media_type = value.get("mediaType")
        if not isinstance(media_type, str) or not media_type:
            media_type = _DOCKER_MANIFEST
        if not is_media_type(media_type):
            raise ValueError("its media type is none")
        return cls(raw, media_type, (*blobs.values(),))

    @property
    def digest(self) -> str:
        """Digest of the bytes."""
        return digest_of(self.raw)

    @property
    def is_docker(self) -> bool:
        """Whether it is of docker's kind, as Ollama writes them; some registries take OCI's kind alone."""
        return self.media_type == _DOCKER_MANIFEST

    @property
    def total_bytes(self) -> int:
        """Sum of the blobs' sizes, each counted once."""
        return sum(blob.size for blob in self.blobs)


def _descriptor(entry: Any) -> Descriptor:
    if not isinstance(entry, Mapping):
        raise ValueError("a layer of it is no object")
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str):
        raise ValueError("a layer of it has no digest")
    if type(size) is not int or not 0 <= size <= MAX_COUNT:
        raise ValueError(f"{digest[:80]} has no size")
    texts = {key: value for key in ("mediaType", "from") if isinstance(value := entry.get(key), str)}
    return Descriptor(checked_digest(digest), size, texts.get("mediaType", ""), texts.get("from", ""))


def is_media_type(text: str) -> bool:
    """Say whether *text* is a media type without parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


_SHORT: Final = 12

# Ollama takes both spellings and both cases; registries take a colon and lower case only.
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def checked_digest(text: str) -> str:
    """Return *text* as ``"sha256:"`` plus 64 lower-case hex digits.

    Raises:
        ValueError: It is no SHA-256 digest in either of Ollama's spellings.
    """
    found = _DIGEST.fullmatch(text)
    if found is None:
        raise ValueError("invalid digest format")
    return f"sha256:{found[1].lower()}"


def digest_of(data: bytes) -> str:
    """Return the digest of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_sha256_digest(text: str) -> bool:
    """Return whether *text* is a digest as registries write it: sha256, lower case.

    >>> is_sha256_digest(f"sha256:{'a' * 64}"), is_sha256_digest(f"sha256:{'A' * 64}")
    (True, False)
    """
    return _SHA256.fullmatch(text) is not None


def announced_digest(headers: Mapping[str, str], body: bytes) -> str:
    """Return the digest that a response announces of its *body*, where the body has another; else an empty text.

    Who reads by tag knows no digest, and has nothing else to find damage with (distribution-spec v1.1.1, "Pulling
    manifests"). What is no sha256 digest is not judged.
    """
    said = headers.get("docker-content-digest", "")
    return said if is_sha256_digest(said) and said != digest_of(body) else ""


def hex_of(digest: str) -> str:
    """Return the 64 hex digits of a checked *digest*."""
    return digest.removeprefix("sha256:")


def short_digest(digest: str) -> str:
    """Return *digest* as people are shown it: its first 12 hex digits, as Ollama does."""
    return hex_of(digest)[:_SHORT]


MANIFESTS: Final = "manifests"
BLOBS: Final = "blobs"


def manifest_path(name: ModelName) -> str:
    """Return the path of the manifest of *name*."""
    return f"{MANIFESTS}/{name.host}/{name.repository}/{name.tag}"


def blob_path(digest: str) -> str:
    """Return the path of the blob *digest*.

    Raises:
        ValueError: *digest* is no digest.
    """
    return f"{BLOBS}/sha256-{hex_of(checked_digest(digest))}"
