"""Pushes of known outcome, told to a hook on a clock that is set."""

from __future__ import annotations

from typing import Final

import pytest
from tests.support.clocks import Clock
from tests.support.push_run import Driven, tick

from ollama_push.core.errors import ConnectionLost, PushRejected, PushStalled
from ollama_push.core.events import LayerProgress, PushPlanned
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import PauseReason, PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.registry.effects import ReportPause, ReportRetry
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.responses import BlobSpan
from ollama_push.core.retry import RetryPolicy

__all__ = [
    "DIRECT",
    "ELEVEN_PUSHES",
    "ONCE",
    "SUCCESS",
    "cancelled",
    "direct",
    "refused",
    "retried",
    "rolled_back",
    "stalled_then_done",
    "uploaded",
]

SUCCESS: Final = b'{"status":"success"}\n'
DIRECT: Final = PushContext("r:5000/myuser/my-llama:latest", "http://r:5000")
ONCE: Final = RetryPolicy(attempts=1)


def uploaded(hook: Hook) -> None:
    """Move 140 bytes in two layers within 2 s."""
    push = Driven(hooks=[hook])
    push.begin()
    push.feed(b'{"status":"retrieving manifest"}\n' + tick(40))
    push.clock.now += 2.0
    push.feed(tick(100) + tick(10, 40, "sha256:b") + tick(40, 40, "sha256:b") + SUCCESS)
    push.run.close()


def already_there(hook: Hook) -> None:
    """Succeed within 0.25 s without moving a byte."""
    push = Driven(hooks=[hook])
    push.begin()
    push.clock.now += 0.25
    push.feed(tick(100) + SUCCESS)
    push.run.close()


def refused(hook: Hook) -> None:
    """Be told no after 1 s."""
    push = Driven(hooks=[hook])
    push.begin()
    push.clock.now += 1.0
    with pytest.raises(PushRejected) as caught:
        push.feed(b'{"error":"unauthorized: access denied"}\n')
    push.verdict(caught.value)
    push.run.close()


def retried(hook: Hook) -> None:
    """Move 60 of 100 bytes, lose the connection, wait 1 s, move the rest; 4 s in all."""
    push = Driven(hooks=[hook])
    push.begin()
    push.clock.now += 2.0
    push.feed(tick(60))
    push.clock.now += push.run.attempt_failed(ConnectionLost("http://h:1"))
    push.begin()
    push.clock.now += 1.0
    push.feed(tick(100) + SUCCESS)
    push.run.close()


def lost(hook: Hook) -> None:
    """Lose the connection after 5 of 100 bytes and 3 s, for good."""
    push = Driven(hooks=[hook], retry=ONCE)
    push.begin()
    push.clock.now += 3.0
    push.feed(tick(5))
    push.verdict(ConnectionLost("http://h:1"))
    push.run.close()


def stalled(hook: Hook) -> None:
    """Stand still for 61 s after 10 of 100 bytes, for good."""
    push = Driven(hooks=[hook], retry=ONCE)
    push.verdict(_stall(push))
    push.run.close()


def stalled_then_done(hook: Hook) -> None:
    """Stand still for 61 s after 10 of 100 bytes, wait 1 s, move the rest in 2 s; 64 s in all."""
    push = Driven(hooks=[hook])
    error = _stall(push)
    push.clock.now += push.run.attempt_failed(error)
    push.begin()
    push.clock.now += 2.0
    push.feed(tick(100) + SUCCESS)
    push.run.close()


def cancelled(hook: Hook) -> None:
    """Be left by the caller after 30 of 100 bytes and 0.75 s."""
    push = Driven(hooks=[hook])
    push.begin()
    push.feed(tick(10) + tick(30))
    push.clock.now += 0.75
    push.run.close()


def rolled_back(hook: Hook) -> None:
    """Fall from 60 to 20 of 100 bytes and succeed after 2 s."""
    push = Driven(hooks=[hook])
    push.begin()
    push.feed(tick(60) + tick(20))
    push.clock.now += 2.0
    push.feed(tick(100) + SUCCESS)
    push.run.close()


def direct(hook: Hook) -> None:
    """Push 100 bytes straight to a registry in 5 s: 40 were there, 10 left by an earlier push; one request fails.

    Three requests are held back, for 1.75 s together.
    """
    clock = Clock()
    there, missing = Descriptor(f"sha256:{'a' * 64}", 40, "x/y"), Descriptor(f"sha256:{'b' * 64}", 60, "x/y")
    manifest = Manifest(b"{}", "x/y", (there, missing))
    run = RegistryRun(manifest, context=DIRECT, hooks=HookSet([hook], DIRECT, _hooks_do_not_fail), clock=clock)
    run.begin()
    run.receive_event(PushPlanned(100))
    run.receive_event(LayerProgress(there.digest, 40, 40, "pushing aaaaaaaaaaaa"))
    run.receive_event(LayerProgress(missing.digest, 60, 10, "pushing bbbbbbbbbbbb"))
    run.receive(ReportRetry(ConnectionLost("http://r:5000"), 2.0))
    run.receive(ReportPause(PauseReason.BREAKER, 0.5))
    run.receive(ReportPause(PauseReason.RATE, 0.25))
    run.receive(ReportPause(PauseReason.BREAKER, 1.0))
    run.counter(BlobSpan(missing.digest, 10, 50), run.receive_event)(50)
    clock.now += 5.0
    run.succeed(Delivery(skipped_bytes=40, resumed_bytes=10, verified=True))
    run.close()


def _hooks_do_not_fail(hook: Hook, exc: Exception) -> None:
    raise AssertionError(f"{hook} raised") from exc


def _stall(push: Driven) -> PushStalled:
    push.begin()
    push.feed(tick(10))
    push.clock.now += 61.0
    with pytest.raises(PushStalled) as caught:
        push.feed(tick(10))
    return caught.value


ELEVEN_PUSHES: Final = (
    uploaded,
    uploaded,
    already_there,
    refused,
    retried,
    lost,
    stalled,
    stalled_then_done,
    cancelled,
    rolled_back,
    direct,
)
