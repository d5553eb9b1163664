"""A whole push straight to a registry.

Order: look for what is there, open a session for the first missing blob (so a missing permission shows before any
byte is sent), send the missing blobs side by side, then the manifest, then verify.

Source: distribution-spec v1.1.1, "Pushing manifests": a manifest comes after its blobs.
"""

from __future__ import annotations

import attrs

from ollama_push.core.errors import PushInterrupted
from ollama_push.core.events import PushPlanned, StatusChanged
from ollama_push.core.facts import Operation
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.machine import BlobUpload
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.blob_upload.probe import held_digests, holds_manifest, layer_progress
from ollama_push.core.registry.effects import EmitEvent, Flow, Gather, result_of
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.flows.verify import verify_flow
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.target import mount_source

__all__ = ["Delivery", "push_flow"]


@attrs.frozen
class Delivery:
    """What a push moved.

    Attributes:
        skipped_bytes: In blobs the registry had, mounted from another repository, or got from another push.
        resumed_bytes: In unfinished uploads of an earlier push.
        verified: Whether the registry was checked afterwards.
    """

    skipped_bytes: int
    resumed_bytes: int
    verified: bool


def push_flow(
    exchange: Exchange, name: ModelName, manifest: Manifest, *, sizes: PartSizes, concurrency: int, verify: bool
) -> Flow[Delivery]:
    """Push *manifest* and its blobs to *name*; see the module docstring for the order.

    Raises:
        OllamaPushError: The verdict, when it is not a success.
    """
    uploads: list[BlobUpload] = []
    had = 0
    try:
        yield EmitEvent(PushPlanned(manifest.total_bytes))
        is_current = yield from holds_manifest(exchange, name, manifest)
        present = yield from held_digests(exchange, manifest, concurrency)
        had = sum(blob.size for blob in manifest.blobs if blob.digest in present)
        for blob in manifest.blobs:
            if blob.digest in present:
                yield EmitEvent(layer_progress(blob, blob.size))
            else:
                uploads.append(BlobUpload(exchange, blob, sizes, mount_source(blob, name)))
        if uploads:
            yield from uploads[0].begin()
            yield from result_of(Gather([upload.run() for upload in uploads], concurrency))
        exchange.raise_if_interrupted()
        yield EmitEvent(StatusChanged("pushing manifest"))
        if uploads or not is_current:
            url = exchange.endpoint.manifest(name.tag)
            headers = {"Content-Type": manifest.media_type}
            yield from exchange.ask(
                Operation.PUSH_MANIFEST, "PUT", url, (200, 201, 202, 204), headers=headers, body=manifest.raw
            )
        if verify:
            yield EmitEvent(StatusChanged("verifying"))
            yield from verify_flow(exchange, name, manifest, concurrency=concurrency)
    except PushInterrupted as stop:
        kept = had + sum(upload.held_bytes for upload in uploads)
        raise PushInterrupted(kept, manifest.total_bytes) from stop
    shared = sum(upload.held_bytes for upload in uploads if upload.mounted_or_shared)
    return Delivery(had + shared, sum(upload.resumed_bytes for upload in uploads), verify)
