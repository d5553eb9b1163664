"""How many requests of a push wait for one another: on a slow line, that is its time."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.blobs import noise
from tests.support.memory_models import NAME, REPOSITORY, Model
from tests.support.memory_registry import MemoryRegistry
from tests.support.scripted_flow import HOST, ORIGIN, FlowPlayer, Responder, response

from ollama_push.core.errors import TransportError
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.blob_upload.part_sizes import PartSizes
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.effects import Exclusive, Flow, Gather
from ollama_push.core.registry.flows.push import push_flow
from ollama_push.core.responses import BufferedResponse, SendRequest

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


_BASIC: Final = "Basic bWU6cHc="


def _open(registry: MemoryRegistry) -> Responder:
    return registry


def _htpasswd(registry: MemoryRegistry) -> Responder:
    """Return *registry* with a password before it."""

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        if request.headers.get("Authorization") != _BASIC:
            return response(401, {"www-authenticate": 'Basic realm="them"'})
        return registry(request, body)

    return peer


def _token(registry: MemoryRegistry) -> Responder:
    """Return *registry* behind a token server, which gives a token for what is asked for."""

    def peer(request: HttpRequest, body: bytes) -> BufferedResponse | TransportError:
        parts = urlsplit(request.url)
        said = request.headers.get("Authorization", "")
        if parts.path == "/token":
            assert said == _BASIC
            return response(
                200, {}, json.dumps({"token": parse_qs(parts.query)["scope"][0].replace(":", "_")}).encode()
            )
        needed = "pull" if request.method in ("GET", "HEAD") else "push"
        if not said.startswith("Bearer ") or needed not in said:
            challenge = f'Bearer realm="{ORIGIN}/token",service="s",scope="repository:{REPOSITORY}:pull,push"'
            return response(401, {"www-authenticate": challenge})
        return registry(request, body)

    return peer


def _trips(peer: Responder, *, verify: bool = True, private: bool = False) -> int:
    """Push the model by a client that knows nothing; return how many round trips follow one another."""
    player = MODEL.player(peer, credentials={HOST: Login("me", "pw")})
    flow = push_flow(
        player.exchange,
        NAME,
        MODEL.manifest,
        sizes=PartSizes(HOST),
        concurrency=4,
        verify=verify,
        private=private,
    )
    return _finished(player, flow)[1]


@pytest.mark.parametrize(
    ("login", "verify", "fresh", "again"),
    [
        (_open, True, 5, 2),
        (_open, False, 4, 1),
        (_htpasswd, True, 6, 3),
        (_htpasswd, False, 5, 2),
        (_token, True, 7, 4),
        (_token, False, 6, 3),
    ],
)
def test_a_push_waits_for_few_round_trips(
    login: Callable[[MemoryRegistry], Responder],
    verify: bool,  # noqa: FBT001 - a table
    fresh: int,
    again: int,
) -> None:
    registry = MemoryRegistry()
    assert _trips(login(registry), verify=verify) == fresh
    assert MODEL.is_at(registry)
    assert _trips(login(registry), verify=verify) == again


def test_a_private_push_asks_once_before_and_once_after() -> None:
    registry = MemoryRegistry()
    assert _trips(_token(registry), private=True) == 7 + 2
    assert MODEL.is_at(registry)
    assert _trips(_token(registry), private=True) == 4 + 2
