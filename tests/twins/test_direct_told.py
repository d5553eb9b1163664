"""What a direct push tells while it goes on and when it ends: events, observations, progress, error fields."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    push,
    push_awaited,
    stored,
)
from tests.support.server_push import Told
from tests.support.stores import CONFIG

from ollama_push.core.errors import ConnectionLost, PushRejected
from ollama_push.core.events import LayerProgress, PushPlanned, PushSucceeded, StatusChanged
from ollama_push.core.observations import (
    AttemptFailed,
    AttemptStarted,
    EventSeen,
    Observation,
    PushFinished,
    PushOutcome,
    PushStarted,
    RequestRetried,
    RolledBack,
)
from ollama_push.core.progress import PushProgress
from ollama_push.testing.registry import BrokenPartPolicy, EmbeddedRegistry, Fault, Reply

RESET: Final = Fault("PATCH", nth=2, after_bytes=MIB // 2)
DENIED: Final = Fault("PUT", "/manifests/", times=None, action=Reply(403))


def story(told: Told) -> list[object]:
    """The kinds of observations in order; how often a layer's counter moves, and falls, is up to the clock."""
    kinds: list[object] = []
    for seen in told.seen:
        if isinstance(seen, RolledBack):
            continue
        kind: object = type(seen)
        if isinstance(seen, EventSeen):
            event = seen.event
            kind = event.digest[7:12] if isinstance(event, LayerProgress) else event.status
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    return kinds


BIG_ONE, SMALL_ONE, CONFIG_ONE = (digest[7:12] for digest in (BIG_DIGEST, SMALL_DIGEST, digest_of(CONFIG)))


@either_colour
def test_the_observations_of_a_push_that_breaks_once(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(
        tmp_path / "registry", broken_parts=BrokenPartPolicy.KILLS_SESSION, faults=[RESET]
    ) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
    assert story(told) == [
        PushStarted,
        AttemptStarted,
        "retrieving manifest",
        BIG_ONE,
        RequestRetried,
        BIG_ONE,
        SMALL_ONE,
        CONFIG_ONE,
        "pushing manifest",
        "verifying",
        "success",
        PushFinished,
    ]
    last_fall = max(
        (index, seen.rolled_back_bytes) for index, seen in enumerate(told.seen) if isinstance(seen, RolledBack)
    )
    # The session is gone: the part that was acknowledged before, too.
    assert last_fall[0] > next(index for index, seen in enumerate(told.seen) if isinstance(seen, RequestRetried))
    assert last_fall[1] == MIB
    elapsed = [seen.elapsed for seen in told.seen]
    assert elapsed == sorted(elapsed)
    assert len({id(seen.push) for seen in told.seen}) == 1
    assert told.seen[0].push.target == f"http://{registry.host}"
    assert [seen.event for seen in told.seen if isinstance(seen, EventSeen)] == list(told.events)


@either_colour
def test_the_events_of_a_push(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        again = colour(Direct(host=registry.host, home=tmp_path))
    assert told.events[0] == PushPlanned(TOTAL)
    assert [event for event in told.events if not isinstance(event, LayerProgress)][1:] == [
        StatusChanged("pushing manifest"),
        StatusChanged("verifying"),
        PushSucceeded(),
    ]
    big = [event for event in told.events if isinstance(event, LayerProgress) and event.digest == BIG_DIGEST]
    assert (big[0].completed, big[-1].completed) == (0, len(BIG))
    assert {event.total for event in big} == {len(BIG)}
    # What is there already is told once, as done.
    assert [event.digest for event in again.events if isinstance(event, LayerProgress) and event.fraction == 1] == [
        BIG_DIGEST,
        SMALL_DIGEST,
        digest_of(CONFIG),
    ]
    assert again.receipt is not None
    assert (again.receipt.sent_bytes, again.receipt.skipped_bytes) == (0, TOTAL)


@either_colour
@pytest.mark.parametrize(
    ("fault", "kind", "moved"),
    [
        (Fault("POST", times=None, action=Reply(403)), PushRejected, 0),
        (Fault("PATCH", nth=2, times=None, action=Reply(403)), PushRejected, MIB),
        (Fault("PATCH", nth=3, times=None), ConnectionLost, 2 * MIB),
        (DENIED, PushRejected, TOTAL),
    ],
    ids=["at the first question", "at the second part", "at the third part", "at the manifest"],
)
def test_an_error_knows_how_far_the_push_was(
    fault: Fault, kind: type[Exception], moved: int, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
    assert isinstance(told.error, kind)
    assert told.error is not None
    assert told.error.last_event == told.events[-1]
    assert told.error.attempts == (4 if kind is ConnectionLost else 1)
    progress = PushProgress()
    for event in told.events:
        progress.receive_event(event, 0.0)
    # A part that broke counts as far as it was handed to the connection.
    assert told.error.bytes_moved == progress.moved_bytes
    assert moved <= told.error.bytes_moved <= moved + (MIB if kind is ConnectionLost else 0)
    failed, finished = told.seen[-2:]
    assert isinstance(failed, AttemptFailed)
    assert (failed.error, failed.attempt, failed.retry_in) == (told.error, 1, None)
    assert isinstance(finished, PushFinished)
    assert (finished.outcome, finished.error, finished.receipt) == (PushOutcome.FAILED, told.error, None)


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
def test_progress_never_goes_back_although_the_registry_does(
    temper: BrokenPartPolicy, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", broken_parts=temper, faults=[RESET]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
    rolled_back = [seen for seen in told.seen if isinstance(seen, RolledBack)]
    # Where broken parts are kept, only what the registry had not read yet can be taken back.
    assert rolled_back or temper is BrokenPartPolicy.KEEPS_BROKEN_PARTS
    progress = PushProgress()
    fractions = []
    for now, event in enumerate(told.events):
        progress.receive_event(event, float(now))
        fractions.append(progress.snapshot(float(now)).fraction)
    known = [fraction for fraction in fractions if fraction is not None]
    assert known == fractions  # the first event says the total
    assert known == sorted(known)
    assert known[-1] == 1.0
    assert known[-2] < 1.0
    assert progress.moved_bytes == TOTAL


@either_colour
def test_a_hook_that_raises_is_dropped_and_the_push_goes_on(
    colour: Colour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path)
    calls = 0

    def broken(observation: Observation) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("mine")

    with caplog.at_level(logging.ERROR, "ollama_push.hooks"), EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, hooks=(broken,)))
    assert told.error is None
    assert told.receipt is not None
    assert calls == 1
    assert len([record for record in caplog.records if record.name == "ollama_push.hooks"]) == 1


@pytest.mark.parametrize("fault", [RESET, DENIED, Fault("HEAD")], ids=["reset", "denied", "first question"])
def test_both_colours_tell_the_same(fault: Fault, tmp_path: Path) -> None:
    stories = []
    for colour in (push, push_awaited):
        home = tmp_path / colour.__name__
        stored(home)
        with EmbeddedRegistry(
            home / "registry", broken_parts=BrokenPartPolicy.KILLS_SESSION, faults=[fault]
        ) as registry:
            told = colour(Direct(host=registry.host, home=home))
        receipt = told.receipt
        stories.append(
            (
                story(told),
                str(told.error),
                receipt and (receipt.layers, receipt.manifest_digest, receipt.verified, receipt.skipped_bytes),
            )
        )
    assert stories[0] == stories[1]
