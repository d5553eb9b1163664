"""What a real server sent ends in the right verdict, in both colours, however the bytes are cut."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.recorded_verdicts import VERDICTS
from tests.support.server_push import Expected, Push, Told, push, push_async
from tests.support.server_recordings import RecordedAnswer, recorded_answers

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import LayerProgress, PushEvent, PushSucceeded, StatusChanged
from ollama_push.testing.recordings import Recording
from ollama_push.testing.server import Script, ScriptedServer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

_FOLDER: Final = Path(__file__).parents[1] / "data" / "recordings"
_LARGE: Final = 20_000
_EDGE: Final = 2_000
_RANDOM_CUTTINGS: Final = 3

_RECORDED: Final = [pytest.param(answer, id=answer.name) for answer in recorded_answers()]


def cuttings(answer: RecordedAnswer) -> Iterator[tuple[str, Script]]:
    """Yield every way of sending the recorded bytes, with its name."""
    recording = Recording.load(_FOLDER / f"{answer.name}.json")
    raw = recording.raw
    yield "whole", recording.cut(len(raw))
    yield "as recorded", tuple(data for _seconds, data in recording.received)
    yield "by line", tuple(re.findall(rb"[^\n]*\n|[^\n]+", raw))
    if len(raw) <= _LARGE:
        yield "byte by byte", recording.cut(1)
    else:
        edges = (*[1] * _EDGE, len(raw) - 2 * _EDGE, 1)
        yield "byte by byte at both ends", recording.cut(*edges)
    for number in range(_RANDOM_CUTTINGS):
        rng = random.Random(f"{answer.name} {number}")
        sizes = [rng.randint(1, 700) for _ in range(len(raw) // 300 + 1)]
        yield f"at random, {number}", recording.cut(*sizes)


def recorded_events(answer: RecordedAnswer) -> tuple[PushEvent, ...]:
    """Read the body with nothing but json, up to the line that ends the push."""
    events: list[PushEvent] = []
    if answer.status != 200:
        return ()
    for line in answer.body.splitlines():
        fields = json.loads(line)
        if "error" in fields:
            break
        if fields["status"] == "success":
            events.append(PushSucceeded())
        elif "digest" in fields:
            counters = fields.get("total", 0), fields.get("completed", 0)
            events.append(LayerProgress(fields["digest"], *counters, fields["status"]))
        else:
            events.append(StatusChanged(fields["status"]))
    return tuple(events)


def push_each(answer: RecordedAnswer, colour: str) -> dict[str, Told]:
    """Push against every cutting with one client's transport a push."""
    ways = dict(cuttings(answer))
    with ScriptedServer(*ways.values()) as server:
        asked = Push(server.url, answer.streamed, stall_timeout=30.0)

        async def main() -> dict[str, Told]:
            return {way: await push_async(asked, AiohttpTransport()) for way in ways}

        if colour == "async":
            return asyncio.run(main())
        return {way: push(asked, Urllib3Transport()) for way in ways}


def test_every_recording_has_a_verdict_written_by_hand() -> None:
    assert sorted(VERDICTS) == [answer.name for answer in recorded_answers()]


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("answer", _RECORDED)
def test_recording_ends_in_its_verdict_however_it_is_cut(answer: RecordedAnswer, colour: str) -> None:
    verdict = VERDICTS[answer.name]
    events = recorded_events(answer)
    if isinstance(verdict, OllamaPushError):
        expected = Expected(len(events), verdict)
    else:
        expected = Expected(len(events), layers=verdict)
    for way, told in push_each(answer, colour).items():
        assert told.outcome == expected, way
        assert told.events == events, way


@pytest.mark.slow
@pytest.mark.parametrize("answer", _RECORDED)
def test_both_colours_tell_the_same(answer: RecordedAnswer) -> None:
    in_sync, in_async = push_each(answer, "sync"), push_each(answer, "async")
    assert {way: told.facts for way, told in in_sync.items()} == {way: told.facts for way, told in in_async.items()}
    # Nor does it matter to hooks how the bytes came.
    first, *others = in_sync.values()
    assert all(told.facts == first.facts for told in others)


def test_a_receipt_adds_up_its_layers() -> None:
    (answer,) = (answer for answer in recorded_answers() if answer.name == "success")
    receipt = push_each(answer, "sync")["whole"].receipt
    assert receipt is not None
    assert (receipt.total_bytes, receipt.attempts) == (40_001_744, 1)
