"""What the registry says it has before anything is sent, and the event of a layer's progress.

These questions only save work. A registry that refuses them, to a login that may only push for example, does not end
a push: what is not known to be there is uploaded, and the upload tells whether that is permitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import ServerError
from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Operation
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.responses import ANY_DEFINITE, PRESENT
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Descriptor, Manifest, short_digest
from ollama_push.core.responses import BufferedResponse

__all__ = ["accept_header", "holds_manifest", "layer_progress", "look_around", "probe", "side_by_side"]

_FAILED: Final = 500


def probe(exchange: Exchange, blob: Descriptor) -> Flow[bool]:
    """Return whether the registry says that it has *blob*; ``False`` also when it does not say."""
    url = exchange.endpoint.blob(blob.digest)
    response = yield from _look(exchange, Operation.FIND_BLOB, url, subject=blob.digest)
    return response is not None and response.status in PRESENT


def _look(
    exchange: Exchange, operation: Operation, url: str, *, subject: str = "", headers: Mapping[str, str] | None = None
) -> Flow[BufferedResponse | None]:
    """Send a ``HEAD``; ``None`` when the registry fails at it again and again."""
    try:
        return (yield from exchange.ask(operation, "HEAD", url, ANY_DEFINITE, subject=subject, headers=headers))
    except ServerError as error:
        # 502 to 504 and 429 are about the whole registry. 500 may be about this question alone.
        if error.status != _FAILED:
            raise
        return None


def layer_progress(blob: Descriptor, completed: int) -> LayerProgress:
    """Return the event for *completed* bytes of *blob*, worded as a server words it (ollama v0.1.11+)."""
    return LayerProgress(blob.digest, blob.size, completed, f"pushing {short_digest(blob.digest)}")


_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}


def look_around(
    exchange: Exchange, name: ModelName, manifest: Manifest, concurrency: int
) -> Flow[tuple[bool, set[str]]]:
    """Return whether *name* is *manifest* already, and the digests of its blobs that the registry has."""
    flows = [holds_manifest(exchange, name, manifest), *(probe(exchange, blob) for blob in manifest.blobs)]
    is_current, *found = yield from result_of(Gather(flows, side_by_side(concurrency)))
    return is_current, {blob.digest for blob, there in zip(manifest.blobs, found, strict=True) if there}


def side_by_side(concurrency: int) -> int:
    """Return how many questions are asked at the same time: one of a manifest beside those of *concurrency* blobs."""
    return concurrency + 1 if concurrency > 1 else 1


def holds_manifest(exchange: Exchange, name: ModelName, manifest: Manifest) -> Flow[bool]:
    """Return whether *name* is *manifest* already; ``False`` also when the registry does not say."""
    url = exchange.endpoint.manifest(name.tag)
    response = yield from _look(exchange, Operation.FIND_MANIFEST, url, headers=accept_header(manifest))
    return response is not None and response.headers.get("docker-content-digest") == manifest.digest


def accept_header(manifest: Manifest | None) -> dict[str, str]:
    """Return the headers that ask for a manifest as it is stored: in the media type of *manifest*, or any we know."""
    if manifest is None or manifest.media_type in MANIFEST_MEDIA_TYPES:
        return _ACCEPT
    return {"Accept": f"{manifest.media_type}, {_ACCEPT['Accept']}"}
