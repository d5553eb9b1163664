"""What the registry says it has before anything is sent, and the event of a layer's progress.

These questions only save work. A registry that refuses them, to a login that may only push for example, does not end
a push: what is not known to be there is uploaded, and the upload tells whether that is permitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs

from ollama_push.core.errors import PushRejected, ServerError, TransportError
from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Operation
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.responses import ANY_DEFINITE, PRESENT
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.error_responses import refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Descriptor, Manifest, short_digest
from ollama_push.core.responses import BufferedResponse, OptionalRequest

__all__ = [
    "FAILED",
    "WRONG_KIND",
    "Found",
    "accept_header",
    "holds_manifest",
    "layer_progress",
    "look_around",
    "probe",
    "require_kind_taken",
    "side_by_side",
]

WRONG_KIND: Final = 415
"""Status of a manifest whose media type the registry does not take (zot)."""

FAILED: Final = 500
"""Status that may be about one question, and not about the whole registry as 502 to 504 and 429 are."""


def probe(exchange: Exchange, blob: Descriptor, *, kind: type[HttpRequest] = HttpRequest) -> Flow[bool]:
    """Return whether the registry says that it has *blob*; ``False`` also when it does not say.

    Args:
        exchange: The requests of this flow.
        blob: Which one.
        kind: ``OptionalRequest`` where the response only saves work.
    """
    url = exchange.endpoint.blob(blob.digest)
    response = yield from _look(exchange, Operation.FIND_BLOB, url, kind, subject=blob.digest)
    return response is not None and response.status in PRESENT


def _look(
    exchange: Exchange,
    operation: Operation,
    url: str,
    kind: type[HttpRequest],
    *,
    subject: str = "",
    headers: Mapping[str, str] | None = None,
) -> Flow[BufferedResponse | None]:
    """Send a ``HEAD``; ``None`` when the registry fails at it again and again."""
    ask = exchange.ask(operation, "HEAD", url, ANY_DEFINITE, subject=subject, headers=headers, kind=kind)
    try:
        return (yield from ask)
    except ServerError as error:
        if error.status != FAILED:
            raise
        return None


def layer_progress(blob: Descriptor, completed: int) -> LayerProgress:
    """Return the event for *completed* bytes of *blob*, worded as a server words it (ollama v0.1.11+)."""
    return LayerProgress(blob.digest, blob.size, completed, f"pushing {short_digest(blob.digest)}")


_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}


@attrs.frozen
class Found:
    """What the registry says that it has.

    Attributes:
        is_current: Whether the name is the manifest already.
        present: Digests of the blobs that it has.
        is_zot: Whether it is a zot: that takes docker's manifests only if it is told to.
    """

    is_current: bool = False
    present: AbstractSet[str] = frozenset()
    is_zot: bool = False


def look_around(exchange: Exchange, name: ModelName, manifest: Manifest, concurrency: int) -> Flow[Found]:
    """Ask for *manifest* under *name*, and for its blobs, side by side."""
    flows = [
        _look_for(exchange, name, manifest, OptionalRequest),
        *(probe(exchange, blob, kind=OptionalRequest) for blob in manifest.blobs),
    ]
    about, *there = yield from result_of(Gather[Any](flows, side_by_side(concurrency)))
    present = {blob.digest for blob, is_there in zip(manifest.blobs, there, strict=True) if is_there}
    return Found(_is(about, manifest), present, _is_zot(about))


def _look_for(
    exchange: Exchange, name: ModelName, manifest: Manifest, kind: type[HttpRequest]
) -> Flow[BufferedResponse | None]:
    url = exchange.endpoint.manifest(name.tag)
    return (yield from _look(exchange, Operation.FIND_MANIFEST, url, kind, headers=accept_header(manifest)))


def _is(response: BufferedResponse | None, manifest: Manifest) -> bool:
    return response is not None and response.headers.get("docker-content-digest") == manifest.digest


def _is_zot(response: BufferedResponse | None) -> bool:
    # zot names the header of its own clients in every response about manifests (seen on v2.1.20).
    allowed = "" if response is None else response.headers.get("access-control-allow-headers", "")
    return "x-zot-api-client" in allowed.lower()


def side_by_side(concurrency: int) -> int:
    """Return how many questions are asked at the same time: one of a manifest beside those of *concurrency* blobs."""
    return concurrency + 1 if concurrency > 1 else 1


def holds_manifest(exchange: Exchange, name: ModelName, manifest: Manifest) -> Flow[bool]:
    """Return whether *name* is *manifest* already; ``False`` also when the registry does not say."""
    return _is((yield from _look_for(exchange, name, manifest, HttpRequest)), manifest)


def require_kind_taken(exchange: Exchange, manifest: Manifest) -> Flow[None]:
    """Find out before the blobs are sent whether the registry takes manifests of the kind of *manifest*.

    It is sent an empty manifest under the digest of *manifest*, which no registry stores: one that takes the kind
    calls it invalid.

    Raises:
        PushRejected: It does not take that kind.
    """
    url, headers = exchange.endpoint.manifest(manifest.digest), {"Content-Type": manifest.media_type}
    try:
        response = yield from exchange.once(
            "PUT", url, headers, body=b"{}", operation=Operation.PUSH_MANIFEST, kind=OptionalRequest
        )
    except (PushRejected, ServerError, TransportError):
        return
    if response.status == WRONG_KIND:
        raise refusal(response, Operation.PUSH_MANIFEST, manifest.media_type)


def accept_header(manifest: Manifest | None) -> dict[str, str]:
    """Return the headers that ask for a manifest as it is stored: in the media type of *manifest*, or any we know."""
    if manifest is None or manifest.media_type in MANIFEST_MEDIA_TYPES:
        return _ACCEPT
    return {"Accept": f"{manifest.media_type}, {_ACCEPT['Accept']}"}
