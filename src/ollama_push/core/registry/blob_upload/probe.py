"""Whether the registry has a blob, and the event of a layer's progress."""

from __future__ import annotations

from typing import Final

from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Operation
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.responses import ABSENT, PRESENT
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Descriptor, Manifest, short_digest

__all__ = ["accept_header", "held_digests", "holds_manifest", "layer_progress", "probe"]


def probe(exchange: Exchange, blob: Descriptor) -> Flow[bool]:
    """Ask whether the registry has *blob*."""
    url = exchange.endpoint.blob(blob.digest)
    response = yield from exchange.ask(Operation.FIND_BLOB, "HEAD", url, PRESENT | ABSENT, subject=blob.digest)
    return response.status in PRESENT


def layer_progress(blob: Descriptor, completed: int) -> LayerProgress:
    """Return the event for *completed* bytes of *blob*, worded as a server words it (ollama v0.1.11+)."""
    return LayerProgress(blob.digest, blob.size, completed, f"pushing {short_digest(blob.digest)}")


_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}


def held_digests(exchange: Exchange, manifest: Manifest, concurrency: int) -> Flow[set[str]]:
    """Return the digests of *manifest* that the registry has."""
    found = yield from result_of(Gather([probe(exchange, blob) for blob in manifest.blobs], concurrency))
    return {blob.digest for blob, there in zip(manifest.blobs, found, strict=True) if there}


def holds_manifest(exchange: Exchange, name: ModelName, manifest: Manifest) -> Flow[bool]:
    """Return whether *name* is *manifest* already. As the first request of a push it also obtains the token."""
    url = exchange.endpoint.manifest(name.tag)
    response = yield from exchange.ask(
        Operation.FIND_MANIFEST, "HEAD", url, PRESENT | ABSENT, headers=accept_header(manifest)
    )
    return response.headers.get("docker-content-digest") == manifest.digest


def accept_header(manifest: Manifest | None) -> dict[str, str]:
    """Return the headers that ask for a manifest as it is stored: in the media type of *manifest*, or any we know."""
    if manifest is None or manifest.media_type in MANIFEST_MEDIA_TYPES:
        return _ACCEPT
    return {"Accept": f"{manifest.media_type}, {_ACCEPT['Accept']}"}
