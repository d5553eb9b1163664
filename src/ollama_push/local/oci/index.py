"""The two small files of an OCI image layout: ``oci-layout`` and ``index.json``.

Source: OCI image-spec v1.1, "Image Layout Specification", "Image Index Specification", "Annotations".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self

import attrs

from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.names import DEFAULT_TAG
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Manifest, checked_digest
from ollama_push.core.registry.places import place_failed

__all__ = ["INDEX", "LAYOUT", "LAYOUT_CONTENT", "MAX_INDEX_BYTES", "Index", "IndexEntry"]

INDEX: Final = "index.json"
LAYOUT: Final = "oci-layout"
LAYOUT_CONTENT: Final = b'{"imageLayoutVersion":"1.0.0"}'
MAX_INDEX_BYTES: Final = 4 * 1024 * 1024

_INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_REF: Final = "org.opencontainers.image.ref.name"


@attrs.frozen
class IndexEntry:
    """One manifest of an index.

    Attributes:
        digest: Of the manifest.
        size: Its bytes.
        media_type: As written.
        ref: Its reference name; ``None`` when it has none.
        fields: All of the descriptor, as it was read.
    """

    digest: str
    size: int
    media_type: str
    ref: str | None
    fields: dict[str, Any] = attrs.field(repr=False)

    @classmethod
    def of(cls, manifest: Manifest, ref: str | None) -> Self:
        """Return the entry for *manifest* under the name *ref*."""
        fields: dict[str, Any] = {
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": len(manifest.raw),
        }
        if ref is not None:
            fields["annotations"] = {_REF: ref}
        return cls(manifest.digest, len(manifest.raw), manifest.media_type, ref, fields)

    @classmethod
    def read(cls, fields: Any) -> Self:
        """Return the entry that *fields* describe.

        Raises:
            ValueError: They describe none.
        """
        if not isinstance(fields, dict):
            raise ValueError("an entry of it is no object")
        digest, size, media_type = fields.get("digest"), fields.get("size"), fields.get("mediaType", "")
        if not isinstance(digest, str) or type(size) is not int or size < 0 or not isinstance(media_type, str):
            raise ValueError("an entry of it is no descriptor")
        annotations = fields.get("annotations")
        ref = annotations.get(_REF) if isinstance(annotations, dict) else None
        return cls(checked_digest(digest), size, media_type, ref if isinstance(ref, str) else None, fields)


@attrs.frozen
class Index:
    """The manifests of a layout."""

    entries: tuple[IndexEntry, ...] = ()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read ``index.json``.

        Raises:
            ValueError: It is none; the text says why.
        """
        value = decode_json(raw)
        entries = value.get("manifests") if isinstance(value, dict) else None
        if not isinstance(entries, list):
            raise ValueError("it has no list of manifests")
        return cls(tuple(map(IndexEntry.read, entries)))

    def to_json(self) -> bytes:
        """Return ``index.json``."""
        manifests = [entry.fields for entry in self.entries]
        return encode_json({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests})

    def refs(self) -> tuple[str, ...]:
        """Return the reference names, in order."""
        return tuple(entry.ref for entry in self.entries if entry.ref is not None)

    def find(self, ref: str | None, label: str) -> IndexEntry:
        """Return the entry under the name *ref*, or the only one there is.

        A name without a tag is also found with the default one, as names of models are: archives have the whole name.

        Raises:
            PushRejected: There is none, or one of several would have to be chosen.
        """
        found = [entry for entry in self.entries if ref is None or entry.ref == ref]
        if not found and ref is not None and ":" not in ref.rpartition("/")[2]:
            found = [entry for entry in self.entries if entry.ref == f"{ref}:{DEFAULT_TAG}"]
        if not found:
            known = f"it holds {_listed(self.refs())}" if self.refs() else ""
            raise place_failed(Side.SOURCE, label, PlaceProblem.NO_MODEL, words=known)
        if len({entry.digest for entry in found}) > 1:
            words = f"it holds several models, name one of them: {_listed(self.refs())}"
            raise place_failed(Side.SOURCE, label, PlaceProblem.BROKEN, words=words)
        entry = found[0]
        if entry.media_type not in MANIFEST_MEDIA_TYPES:
            words = f"what it holds is no manifest of a model, but {entry.media_type or 'of no type'}"
            raise place_failed(Side.SOURCE, label, PlaceProblem.BROKEN, words=words)
        return entry

    def with_model(self, manifest: Manifest, ref: str | None) -> Self:
        """Return this index with *manifest* under the name *ref*, which no other has then."""
        others = [entry for entry in self.entries if entry.ref != ref]
        return type(self)((*others, IndexEntry.of(manifest, ref)))


def _listed(refs: Sequence[str]) -> str:
    return ", ".join(map(repr, refs[:20])) or "no names"
