"""Whether the registry has a blob, and the event of a layer's progress."""

from __future__ import annotations

from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Operation
from ollama_push.core.registry.blob_upload.responses import ABSENT, PRESENT
from ollama_push.core.registry.digests import short_digest
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor

__all__ = ["layer_progress", "probe"]


def probe(exchange: Exchange, blob: Descriptor) -> Flow[bool]:
    """Ask whether the registry has *blob*."""
    url = exchange.endpoint.blob(blob.digest)
    response = yield from exchange.ask(Operation.FIND_BLOB, "HEAD", url, PRESENT | ABSENT, subject=blob.digest)
    return response.status in PRESENT


def layer_progress(blob: Descriptor, completed: int) -> LayerProgress:
    """Return the event for *completed* bytes of *blob*, worded as a server words it (ollama v0.1.11+)."""
    return LayerProgress(blob.digest, blob.size, completed, f"pushing {short_digest(blob.digest)}")
