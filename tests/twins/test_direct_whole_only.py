"""A registry that takes blobs only whole: interrupted while it opens an upload, and asked by who does not try again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    PATIENCE,
    REPOSITORY,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    steps,
    stored,
)
from tests.support.shared_client import Gate, Sharing, either_client

from ollama_push.core.errors import ConnectionLost, OllamaPushError, PushInterrupted, ServerError
from ollama_push.core.observations import PushFinished, PushOutcome, RequestRetried
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import EmbeddedRegistry, Fault, LoseAnswer, Quirks, Reply, Reset

WHOLE_ONLY: Final = Quirks(monolithic_only=True)
ONCE: Final = RetryPolicy(attempts=1)


@either_client
@pytest.mark.parametrize(
    ("nth", "parts", "commits"),
    [(1, 0, 0), (2, 1, 0), (3, 1, 1)],
    ids=["first", "after the refused part", "next blob"],
)
def test_an_interrupt_while_an_upload_is_opened_sends_nothing_of_the_blob(
    nth: int, parts: int, commits: int, sharing: Sharing, tmp_path: Path
) -> None:
    raw = stored(tmp_path)
    gate = Gate("POST", nth=nth)
    with EmbeddedRegistry(tmp_path / "registry", quirks=WHOLE_ONLY) as registry:
        with sharing(Direct(host=registry.host, home=tmp_path), gate) as client:
            push = client.push()
            assert gate.reached.wait(PATIENCE)
            client.interrupt()
            gate.opened.set()
            with pytest.raises(PushInterrupted) as stopped:
                push.result(PATIENCE)
            counted = Counter(steps(registry))
            assert [counted[step] for step in ("POST open", "PATCH session", "PUT commit")] == [nth, parts, commits]
            held = registry.received_bytes
            assert (stopped.value.kept_bytes, stopped.value.total_bytes) == (held, TOTAL)
            # Nothing of what was not sent counts as begun: the next push sends it, and only it.
            again = client.push().result(PATIENCE)
        assert (again.skipped_bytes, again.resumed_bytes) == (held, 0)
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert registry.received_bytes == TOTAL
    assert list((tmp_path / "uploads").glob("*.json")) == []


@either_colour
def test_who_does_not_try_again_still_learns_that_parts_are_refused(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=WHOLE_ONLY) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=ONCE))
        assert told.error is None
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert registry.received_bytes == TOTAL
        assert Counter(steps(registry))["PATCH session"] == 1
    assert not any(isinstance(one, RequestRetried) for one in told.seen)


@either_colour
@pytest.mark.parametrize(
    ("fault", "kind", "received"),
    [
        (Fault("PUT", BIG_DIGEST, times=None, action=Reply(503, {"Retry-After": "0"})), ServerError, 0),
        # Once on the connection that was kept, which does not count, and once on a new one.
        (Fault("PUT", BIG_DIGEST, times=None, after_bytes=1000, action=Reset()), ConnectionLost, 2000),
        (Fault("PUT", SMALL_DIGEST, times=None, action=Reply(500)), ServerError, len(BIG)),
        (Fault("POST", nth=2, times=None, action=Reply(502)), ServerError, 0),
    ],
    ids=["503", "reset", "500 at another", "502 at the new upload"],
)
def test_who_does_not_try_again_gets_one_verdict(
    fault: Fault, kind: type[OllamaPushError], received: int, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=WHOLE_ONLY, faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=ONCE))
        assert registry.manifest(REPOSITORY, "v1") is None
        assert registry.received_bytes == received
    assert type(told.error) is kind
    assert told.error.attempts == 1
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == (kind is ConnectionLost)
    (end,) = [one for one in told.seen if isinstance(one, PushFinished)]
    assert (end.outcome, end.error) == (PushOutcome.FAILED, told.error)


@either_colour
def test_who_does_not_try_again_looks_for_a_blob_whose_answer_was_lost(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    lost = Fault("PUT", BIG_DIGEST, action=LoseAnswer())
    with EmbeddedRegistry(tmp_path / "registry", quirks=WHOLE_ONLY, faults=[lost]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=ONCE))
        assert told.error is None
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert registry.received_bytes == TOTAL
