"""How many requests of a push wait for one another: on a slow line, that is its time."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from tests.support.blobs import noise
from tests.support.memory_models import NAME, Model
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, FlowPlayer

from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.effects import Exclusive, Flow, Gather
from ollama_push.core.registry.flows.push import push_flow
from ollama_push.core.responses import SendRequest

MODEL = Model.of(noise(2_400_000, 1), noise(200, 2), noise(300, 3), noise(400, 4))


def _finished(player: FlowPlayer, flow: Flow[Any], began: int = 0) -> tuple[Any, int]:
    """Drive *flow*; return its result and the time at which it ends, where each request takes one."""
    now, effect = began, next(flow)
    try:
        while True:
            match effect:
                case Gather(flows, limit):
                    workers, results, ends = [now] * limit, [], [now]
                    for each in flows:
                        result, end = _finished(player, each, heapq.heappop(workers))
                        heapq.heappush(workers, end)
                        results.append(result)
                        ends.append(end)
                    now, sent = max(ends), results
                case Exclusive(inner):
                    sent, now = _finished(player, inner, now)
                case _:
                    now += isinstance(effect, SendRequest)
                    sent = player._perform(effect)
            effect = flow.send(sent)
    except StopIteration as end:
        return end.value, now


@pytest.mark.parametrize(("verify", "fresh", "again"), [(True, 5, 2), (False, 4, 1)])
def test_a_push_waits_for_few_round_trips(*, verify: bool, fresh: int, again: int) -> None:
    registry = MemoryRegistry()
    for expected in (fresh, again):
        player = MODEL.player(registry)
        flow = push_flow(player.exchange, NAME, MODEL.manifest, sizes=PartSizes(HOST), concurrency=4, verify=verify)
        _delivery, trips = _finished(player, flow)
        assert trips == expected
        assert MODEL.is_at(registry)
