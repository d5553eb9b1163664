"""The dry run of a direct push: what would be sent, and whether that is permitted."""

from __future__ import annotations

from ollama_push.core.errors import PushRejected, ServerError, TransportError
from ollama_push.core.facts import Operation
from ollama_push.core.names import ModelName
from ollama_push.core.receipts import PlannedBlob, PushPlan
from ollama_push.core.registry.blob_upload.probe import look_around, require_kind_taken
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.pullability import told_pullability
from ollama_push.core.registry.manifests import Manifest

__all__ = ["plan_flow"]


def plan_flow(
    exchange: Exchange, name: ModelName, manifest: Manifest, *, concurrency: int, pullability: bool = False
) -> Flow[PushPlan]:
    """Find out what a push would send, and whether it is permitted; nothing is uploaded.

    Args:
        exchange: The requests of this flow.
        name: Where a push would go.
        manifest: What it would push.
        concurrency: Requests at the same time.
        pullability: Whether to ask also as a stock pull does.

    Raises:
        OllamaPushError: What the push would end in.
    """
    seen = yield from look_around(exchange, name, manifest, concurrency)
    blobs = tuple(PlannedBlob(blob.digest, blob.size, blob.digest in seen.present) for blob in manifest.blobs)
    if not seen.is_current or len(seen.present) < len(blobs):
        yield from _try_to_write(exchange)
        if seen.is_zot and manifest.is_docker:
            yield from require_kind_taken(exchange, manifest)
    found = (yield from told_pullability(exchange, name, manifest, concurrency)) if pullability else None
    return PushPlan(str(name), manifest.digest, seen.is_current, blobs, found)


def _try_to_write(exchange: Exchange) -> Flow[None]:
    """Open a session and delete it: no other request shows on every registry whether we may write."""
    url = exchange.endpoint.uploads()
    response = yield from exchange.ask(Operation.OPEN_UPLOAD, "POST", url, (201, 202))
    location = exchange.endpoint.located(response.headers, url)
    # On another origin there may be anything: nothing is deleted there because a registry names it.
    if location is not None and exchange.endpoint.owns(location):
        try:
            yield from exchange.once("DELETE", location)
        except (TransportError, ServerError, PushRejected):
            return  # the registry expires it; that it was opened is all that matters here
