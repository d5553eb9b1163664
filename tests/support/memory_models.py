"""Models to push: blobs that are noise, and manifests that name them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from tests.support.blobs import digest_of, noise
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, DictMemory, FlowPlayer

from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.flows.push import Delivery, push_flow
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.responses import BufferedResponse

__all__ = ["MODEL", "NAME", "REPOSITORY", "A", "B", "C", "Model", "changing", "holding", "push"]

REPOSITORY: Final = "me/llama"
NAME: Final = ModelName.parse(f"{HOST}/{REPOSITORY}:v1")


@attrs.frozen
class Model:
    """A local model.

    Attributes:
        manifest: What is pushed.
        blobs: By digest.
    """

    manifest: Manifest
    blobs: dict[str, bytes]

    @classmethod
    def of(cls, *blobs: bytes, **more: Any) -> Model:
        """Return a model of *blobs*; *more* is added to each layer's descriptor."""
        layers = [{"digest": digest_of(blob), "size": len(blob), **more} for blob in blobs]
        raw = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
        return cls(Manifest.parse(raw), {digest_of(blob): blob for blob in blobs})

    def is_at(self, registry: MemoryRegistry) -> bool:
        """Say whether *registry* holds exactly this model."""
        held = {wanted: registry.blobs.get((REPOSITORY, wanted)) for wanted in self.blobs}
        return held == self.blobs and registry.manifests.get((REPOSITORY, "v1"), ("", b""))[1] == self.manifest.raw

    def player(self, registry: Any, memory: DictMemory | None = None, **more: Any) -> FlowPlayer:
        """Return a player that has this model."""
        return FlowPlayer(registry, blobs=self.blobs.items(), memory=memory, **more)


def push(
    player: FlowPlayer, model: Model, *, part: int | None = None, verify: bool = True, concurrency: int = 2
) -> Delivery:
    """Push *model* as ``NAME``."""
    sizes = PartSizes(HOST, part)
    return player.play(
        push_flow(player.exchange, NAME, model.manifest, sizes=sizes, concurrency=concurrency, verify=verify)
    )


A, B, C = noise(1_100_000, 1), noise(2_000, 2), b""
MODEL: Final = Model.of(A, B, C)


def holding(*blobs: bytes, manifest: bool = False) -> MemoryRegistry:
    """Return a registry that has these blobs of ``MODEL``, and its manifest when told so."""
    registry = MemoryRegistry()
    registry.blobs = {(REPOSITORY, digest_of(blob)): blob for blob in blobs}
    if manifest:
        registry.manifests[REPOSITORY, "v1"] = ("m", MODEL.manifest.raw)
    return registry


def changing(
    registry: MemoryRegistry, change: Callable[[HttpRequest, BufferedResponse], BufferedResponse | None]
) -> FlowPlayer:
    """Return a player of ``MODEL`` against *registry*, whose answers *change* may replace."""

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse:
        given = registry(request, body)
        assert isinstance(given, BufferedResponse)
        return change(request, given) or given

    return MODEL.player(peer)
