"""Connections that break and answers that are lost in mid-upload: picked up where the registry is, in both tempers."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    SMALL,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    Saving,
    either_colour,
    steps,
    stored,
)

from ollama_push.core.errors import ConnectionLost, ServerError, TransportTimeout
from ollama_push.core.observations import RequestRetried
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import (
    AFTER_BODY,
    Action,
    BrokenPartPolicy,
    EmbeddedRegistry,
    Fault,
    LoseAnswer,
    Reply,
    Reset,
    Stall,
)

pytestmark = pytest.mark.slow

BUSY: Final = Reply(503, {"Retry-After": "0"})
SLOW_DOWN: Final = Reply(429, {"Retry-After": "0"})


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("seed", range(3))
def test_a_reset_at_any_byte_is_survived(
    seed: int, method: str, temper: BrokenPartPolicy, colour: Colour, tmp_path: Path
) -> None:
    rng = random.Random(f"{seed} {method} {temper}")
    stored(tmp_path)
    digest, size, parts = ("", MIB, 3) if method == "PATCH" else (SMALL_DIGEST, len(SMALL), 1)
    nth = rng.randint(1, parts)
    last = parts > 1 and nth == parts
    at = rng.randrange(size // 2 if last else size)
    with EmbeddedRegistry(
        tmp_path / "registry", broken_parts=temper, faults=[Fault(method, digest, nth, after_bytes=at)]
    ) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert (registry.blob(BIG_DIGEST), registry.blob(SMALL_DIGEST)) == (BIG, SMALL)
        assert registry.sessions() == []
        again = registry.received_bytes - TOTAL
    lost = at if nth == 1 or method == "PUT" else (nth - 1) * MIB + at
    # Where broken parts are kept nothing is sent twice.
    assert again == (0 if temper is BrokenPartPolicy.KEEPS_BROKEN_PARTS else lost)
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == 1
    assert told.receipt is not None
    assert (told.receipt.sent_bytes or 0) >= TOTAL + again


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
@pytest.mark.parametrize(
    "fault",
    [
        Fault("PATCH", nth=2, action=LoseAnswer()),
        Fault("PATCH", nth=3, action=LoseAnswer()),
        Fault("PUT", BIG_DIGEST, action=LoseAnswer()),
        Fault("PUT", SMALL_DIGEST, action=LoseAnswer()),
        Fault("PUT", SMALL_DIGEST, after_bytes=AFTER_BODY, action=BUSY),
        Fault("PUT", BIG_DIGEST, after_bytes=AFTER_BODY, action=BUSY),
        Fault("PATCH", nth=2, after_bytes=AFTER_BODY, action=BUSY),
        Fault("POST", action=LoseAnswer()),
        Fault("PUT", "/manifests/", action=LoseAnswer()),
    ],
    ids=lambda fault: f"{type(fault.action).__name__} {fault.method} {fault.path[:12]} {fault.nth}",
)
def test_a_lost_answer_sends_no_byte_again(
    fault: Fault, temper: BrokenPartPolicy, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", broken_parts=temper, faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.received_bytes == TOTAL
        assert registry.blob(BIG_DIGEST) == BIG
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == 1


@either_colour
def test_a_registry_that_falls_silent_over_a_part_is_given_up(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    fault = Fault("PATCH", times=None, after_bytes=AFTER_BODY, action=Stall(5.0))
    with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(
            Direct(host=registry.host, home=tmp_path, stall_timeout=0.3, retry=RetryPolicy(attempts=1, base=0))
        )
        counted = Counter(steps(registry))
    assert isinstance(told.error, TransportTimeout)
    assert (told.error.phase, told.error.seconds, told.error.attempts) == ("read", 0.3, 1)
    assert counted["PATCH session"] == 1
    assert counted["PUT manifest"] == 0


@either_colour
def test_a_registry_that_falls_silent_once_is_asked_how_far_it_is(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    fault = Fault("PATCH", nth=2, after_bytes=AFTER_BODY, action=Stall(5.0))
    with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, stall_timeout=0.3))
        assert registry.received_bytes == TOTAL
        assert registry.blob(BIG_DIGEST) == BIG
    assert told.error is None
    assert [type(one.error) for one in told.seen if isinstance(one, RequestRetried)] == [TransportTimeout]


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
@pytest.mark.parametrize("action", [BUSY, SLOW_DOWN, Reset()], ids=["503", "429", "reset"])
@pytest.mark.parametrize("stays", [False, True], ids=["once", "for ever"])
def test_the_question_how_far_an_upload_is_meets_the_same_weather(
    stays: bool,  # noqa: FBT001 - a row's column
    action: Action,
    temper: BrokenPartPolicy,
    colour: Colour,
    tmp_path: Path,
) -> None:
    stored(tmp_path)
    faults = [Fault("PATCH", nth=2, action=Reset()), Fault("GET", "/uploads/", 1, None if stays else 1, action=action)]
    with EmbeddedRegistry(tmp_path / "registry", broken_parts=temper, faults=faults) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.received_bytes == (MIB if stays else TOTAL)
    retried = sum(isinstance(one, RequestRetried) for one in told.seen)
    if not stays:
        assert (told.error, retried) == (None, 2)
        return
    # What is put off has more patience.
    attempts = 10 if action is SLOW_DOWN else 4
    assert retried == attempts
    assert isinstance(told.error, ServerError if isinstance(action, Reply) else ConnectionLost)
    assert told.error.attempts == attempts
    if isinstance(told.error, ServerError):
        assert told.error.message.startswith("asking how far an upload is")


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
def test_a_registry_that_is_started_again_in_mid_upload_is_gone_on_with(
    temper: BrokenPartPolicy, colour: Colour, tmp_path: Path
) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", broken_parts=temper) as registry:
        restarted: list[int] = []

        def restart_once(offset: int) -> None:
            if offset == MIB and not restarted:
                restarted.append(offset)
                registry.restart()

        told = colour(Direct(host=registry.host, home=tmp_path, resume=Saving(tmp_path, restart_once)))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert (restarted, registry.received_bytes) == ([MIB], TOTAL)


@either_colour
def test_progress_makes_earlier_failures_forgotten(colour: Colour, tmp_path: Path) -> None:
    """Twice as many breaks as the policy allows in a row, but each part gets through in the end."""
    stored(tmp_path)
    faults = [Fault("PATCH", nth=nth, action=Reset()) for nth in (1, 2, 4, 5, 7, 8)]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=RetryPolicy(attempts=3, base=0)))
    assert told.error is None
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == 6
