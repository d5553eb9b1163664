"""A model into a target that is no registry: what is missing, then the manifest.

A copy into a registry is a push, whose blobs come from a source.
"""

from __future__ import annotations

from collections.abc import Callable

from ollama_push.core.errors import PushInterrupted
from ollama_push.core.events import PushPlanned, StatusChanged
from ollama_push.core.receipts import PlannedBlob, PushPlan
from ollama_push.core.registry.blob_upload.probe import layer_progress
from ollama_push.core.registry.effects import (
    EmitEvent,
    FindInTarget,
    Flow,
    Gather,
    PutBlob,
    PutManifest,
    result_of,
)
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest

__all__ = ["copy_flow", "copy_plan_flow"]


def copy_flow(manifest: Manifest, *, at_once: int, interrupted: Callable[[], bool]) -> Flow[Delivery]:
    """Copy *manifest* and its blobs into the target of this flow.

    Args:
        manifest: What to copy.
        at_once: Blobs moved at the same time.
        interrupted: Whether the copy was asked to stop.

    Raises:
        OllamaPushError: The verdict, when it is not a success.
    """
    yield EmitEvent(PushPlanned(manifest.total_bytes))
    held: dict[str, int] = {}
    skipped = 0
    try:
        missing = []
        for blob in manifest.blobs:
            if (yield from result_of(FindInTarget(blob))):
                skipped += blob.size
                held[blob.digest] = blob.size
                yield EmitEvent(layer_progress(blob, blob.size))
            else:
                missing.append(blob)
        resumed = yield from result_of(Gather([_put(blob, held, interrupted) for blob in missing], at_once))
        if interrupted():
            raise PushInterrupted
    except PushInterrupted as stop:
        raise PushInterrupted(sum(held.values()), manifest.total_bytes) from stop
    yield EmitEvent(StatusChanged("writing manifest"))
    yield PutManifest(manifest)
    return Delivery(skipped, sum(resumed), verified=True)


def copy_plan_flow(name: str, manifest: Manifest) -> Flow[PushPlan]:
    """Find out what a copy into the target *name* would write; nothing is written."""
    blobs = []
    for blob in manifest.blobs:
        present = yield from result_of(FindInTarget(blob))
        blobs.append(PlannedBlob(blob.digest, blob.size, present))
    return PushPlan(name, manifest.digest, manifest_present=False, blobs=tuple(blobs))


def _put(blob: Descriptor, held: dict[str, int], interrupted: Callable[[], bool]) -> Flow[int]:
    if interrupted():
        raise PushInterrupted
    # A blob of which the first news is that all of it is there would be told as one that need not be moved.
    yield EmitEvent(layer_progress(blob, 0))
    resumed = yield from result_of(PutBlob(blob))
    held[blob.digest] = blob.size
    yield EmitEvent(layer_progress(blob, blob.size))
    return resumed
