"""Attaches an artifact to a model of a registry: an SBOM, a signature, whatever refers to its manifest.

The artifact is pushed as a model is. A registry lists it among the referrers of the model; where it has no such list,
an index under a tag that is made of the model's digest does.

Source: distribution-spec v1.1.1, "Pushing Manifests with Subject", "Listing Referrers", "Referrers Tag Schema";
image-spec v1.1, "Guidelines for Artifact Usage".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ollama_push.core.facts import Operation
from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.names import ModelName
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of
from ollama_push.core.registry.target import RegistryName

__all__ = ["EMPTY_CONFIG", "Attachment", "attach_flow"]

EMPTY_CONFIG: Final = b"{}"
"""The config of an artifact that has none."""

_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_TITLE: Final = "org.opencontainers.image.title"
_NOT_FOUND: Final = 404


@attrs.frozen
class Attachment:
    """An artifact that refers to a model.

    Attributes:
        manifest: Of the artifact.
        subject: The model's manifest.
        media_type: What the artifact is.
    """

    manifest: Manifest
    subject: Descriptor
    media_type: str

    @classmethod
    def of(cls, file: Descriptor, subject: Manifest, title: str) -> Attachment:
        """Return the artifact that consists of *file*, whose name is *title*, and refers to *subject*."""
        refers = Descriptor(subject.digest, len(subject.raw), subject.media_type)
        config = Descriptor(digest_of(EMPTY_CONFIG), len(EMPTY_CONFIG), _EMPTY_TYPE)
        raw = encode_json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "artifactType": file.media_type,
                "config": _fields(config),
                "layers": [{**_fields(file), "annotations": {_TITLE: title}}],
                "subject": _fields(refers),
            }
        )
        return cls(Manifest.parse(raw), refers, file.media_type)

    def name_beside(self, model: ModelName) -> RegistryName:
        """Return the name under which it is pushed: a tag keeps it from garbage collectors."""
        tag = self.manifest.digest.replace(":", "-")
        return RegistryName(model.host, model.namespace, model.model, tag, model.scheme)


def attach_flow(exchange: Exchange, push: Flow[Delivery], attachment: Attachment) -> Flow[Delivery]:
    """Run *push*, which pushes *attachment*, and see to it that it is listed.

    Raises:
        OllamaPushError: The verdict, when it is not a success.
    """
    delivery = yield from push
    if not (yield from _is_listed(exchange, attachment)):
        yield from _list_under_tag(exchange, attachment)
    return delivery


def _is_listed(exchange: Exchange, attachment: Attachment) -> Flow[bool]:
    url = exchange.endpoint.referrers(attachment.subject.digest)
    refusals = (400, 403, _NOT_FOUND, 405, 501)  # of registries that have no such list
    response = yield from exchange.ask(Operation.LIST_REFERRERS, "GET", url, (200, *refusals))
    return response.status == 200 and attachment.manifest.digest in {  # noqa: PLR2004 - OK
        entry.get("digest") for entry in _entries(response.body)
    }


def _list_under_tag(exchange: Exchange, attachment: Attachment) -> Flow[None]:
    url = exchange.endpoint.manifest(attachment.subject.digest.replace(":", "-"))
    response = yield from exchange.ask(
        Operation.LIST_REFERRERS, "GET", url, (200, _NOT_FOUND), headers={"Accept": _INDEX_TYPE}
    )
    entries = _entries(response.body) if response.status == 200 else []  # noqa: PLR2004 - OK
    digest = attachment.manifest.digest
    if any(entry.get("digest") == digest for entry in entries):
        return
    own = _fields(Descriptor(digest, len(attachment.manifest.raw), _MANIFEST_TYPE))
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX_TYPE,
        "manifests": [*entries, {**own, "artifactType": attachment.media_type}],
    }
    yield from exchange.ask(
        Operation.PUSH_MANIFEST,
        "PUT",
        url,
        (200, 201, 202, 204),
        headers={"Content-Type": _INDEX_TYPE},
        body=encode_json(index),
    )


def _entries(body: bytes) -> list[Mapping[str, Any]]:
    try:
        value = decode_json(body)
    except ValueError:
        return []
    entries = value.get("manifests") if isinstance(value, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _fields(blob: Descriptor) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
