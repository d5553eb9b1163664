"""The typed ways to ask a driver: each yields one effect and returns what is sent back."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_push.core.errors import PushInterrupted
from ollama_push.core.registry import effects
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.resume import ResumePoint, UploadKey

KEY = UploadKey("https://h", "a/b", "sha256:a")

ASKED: Any = [
    (effects.result_of(effects.FindCredential("h")), effects.FindCredential("h"), Login("a", "b")),
    (effects.result_of(effects.ClaimUpload(KEY)), effects.ClaimUpload(KEY), ResumePoint("https://h/u", 5)),
    (effects.result_of(effects.Gather([], 3)), effects.Gather([], 3), []),
    (effects.result_of(effects.Rehash("sha256:a")), effects.Rehash("sha256:a"), False),
]


@pytest.mark.parametrize(("flow", "effect", "result"), ASKED, ids=lambda value: type(value).__name__)
def test_asks_once_and_returns_what_came_of_it(flow: effects.Flow[Any], effect: object, result: object) -> None:
    assert next(flow) == effect
    with pytest.raises(StopIteration) as stop:
        flow.send(result)
    assert stop.value.value is result


def test_what_a_driver_raises_comes_out_where_the_flow_waits() -> None:
    flow = effects.result_of(effects.Rehash("sha256:a"))
    next(flow)
    with pytest.raises(PushInterrupted):
        flow.throw(PushInterrupted())
