"""A copy to a target that is no registry: what is missing, then the manifest."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.scripted_flow import FlowPlayer

from ollama_push.core.errors import PushInterrupted
from ollama_push.core.events import LayerProgress, PushPlanned, StatusChanged
from ollama_push.core.registry.effects import FindInTarget, PutBlob, PutManifest
from ollama_push.core.registry.flows.copy import copy_flow, copy_plan_flow
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest

A: Final = Descriptor(f"sha256:{'a' * 64}", 100)
B: Final = Descriptor(f"sha256:{'b' * 64}", 30)
C: Final = Descriptor(f"sha256:{'c' * 64}", 7)
MANIFEST: Final = Manifest(b"{}", "m", (A, B, C))


def test_what_is_missing_is_put_and_the_manifest_last() -> None:
    player = FlowPlayer()
    player.target = {B.digest}
    player.resumed = {A.digest: 40}
    delivery = player.play(copy_flow(MANIFEST, at_once=2, interrupted=lambda: False))
    assert delivery == Delivery(skipped_bytes=30, resumed_bytes=40, verified=True)
    assert [put.blob for put in player.of(PutBlob)] == [A, C]
    assert player.effects[-1] == PutManifest(MANIFEST)
    assert player.events[0] == PushPlanned(137)
    assert player.events[-1] == StatusChanged("writing manifest")
    told = [(event.digest, event.completed) for event in player.events if isinstance(event, LayerProgress)]
    # What is there is told at once, what is put from nothing on.
    assert sorted(told) == [(A.digest, 0), (A.digest, 100), (B.digest, 30), (C.digest, 0), (C.digest, 7)]


@pytest.mark.parametrize(("at_once", "expected"), [(1, 1), (2, 2)])
def test_no_more_blobs_move_at_once_than_the_target_takes(at_once: int, expected: int) -> None:
    player = FlowPlayer()
    player.play(copy_flow(MANIFEST, at_once=at_once, interrupted=lambda: False))
    assert player.most_at_once == expected


@pytest.mark.parametrize("puts", [0, 1, 3])
def test_an_interruption_says_what_is_there_and_puts_no_manifest(puts: int) -> None:
    player = FlowPlayer()
    with pytest.raises(PushInterrupted) as caught:
        player.play(copy_flow(MANIFEST, at_once=1, interrupted=lambda: len(player.of(PutBlob)) >= puts))
    assert caught.value.kept_bytes == sum(blob.size for blob in (A, B, C)[:puts])
    assert caught.value.total_bytes == 137
    assert player.of(PutManifest) == []


def test_a_plan_asks_for_every_blob_and_puts_nothing() -> None:
    player = FlowPlayer()
    player.target = {A.digest}
    plan = player.play(copy_plan_flow("oci:x", MANIFEST))
    assert (plan.model, plan.present_bytes, plan.missing_bytes) == ("oci:x", 100, 37)
    assert [type(effect) for effect in player.effects] == [FindInTarget] * 3
