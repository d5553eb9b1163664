"""Registries with odd habits, as real ones have them: a direct push lives with each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    SMALL,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    steps,
    stored,
)
from tests.support.registry_client import RawClient
from tests.support.stores import CONFIG

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.observations import RequestRetried
from ollama_push.testing.registry import BasicAuth, BrokenPartPolicy, EmbeddedRegistry, Fault, LoseAnswer, Quirks, Reply

pytestmark = pytest.mark.slow

QUIET: Final = {"PATCH session": 3, "PUT commit": 3, "POST open": 3, "GET session": 0}
BOTH_TEMPERS: Final = (BrokenPartPolicy.KEEPS_BROKEN_PARTS, BrokenPartPolicy.KILLS_SESSION)


@attrs.frozen
class Habit:
    """A habit, with what the registry is asked because of it.

    Attributes:
        asked: Requests by step, where they differ from a quiet push.
        extra_bytes: Received beyond what the blobs hold.
        retries: Requests that had to be made again.
    """

    quirks: Quirks = attrs.field(factory=Quirks)
    faults: tuple[Fault, ...] = ()
    asked: Mapping[str, int] = attrs.field(factory=dict)
    extra_bytes: int = 0
    retries: int = 0
    more: Mapping[str, Any] = attrs.field(factory=dict)


LOST_PART: Final = Fault("PATCH", nth=2, action=LoseAnswer())

HABITS: Final[Mapping[str, Habit]] = {
    "relative Location": Habit(Quirks(relative_location=True)),
    "no Range in 202": Habit(Quirks(no_range_in_202=True)),
    "early 201": Habit(Quirks(early_201=frozenset({BIG_DIGEST})), asked={"PUT commit": 3}),
    "416 without headers, since a part was accepted and lost": Habit(
        faults=(Fault("PATCH", nth=2, after_bytes=0, action=Reply(202)),),
        asked={"PATCH session": 5, "GET session": 1},
        retries=1,
    ),
    "416 without headers, for no reason": Habit(
        faults=(Fault("PATCH", nth=2, action=Reply(416)),),
        asked={"PATCH session": 5, "GET session": 1, "POST open": 4},
        extra_bytes=MIB,
        retries=1,
    ),
    "416 after a lost acknowledgement": Habit(
        Quirks(range_416_without_headers=False), (LOST_PART,), asked={"GET session": 1}, retries=1
    ),
    "monolithic only": Habit(Quirks(monolithic_only=True), asked={"PATCH session": 1, "PUT commit": 3, "POST open": 4}),
    "no upload status, quiet": Habit(Quirks(no_status=True)),
    "no upload status, a lost acknowledgement": Habit(
        Quirks(no_status=True),
        (LOST_PART,),
        asked={"PATCH session": 5, "GET session": 1, "POST open": 4},
        extra_bytes=2 * MIB,
        retries=1,
    ),
    "parts of at least 2 MiB": Habit(Quirks(min_part_bytes=2 * MIB), asked={"PATCH session": 1}),
    "parts of at least more than the blob": Habit(Quirks(min_part_bytes=64 * MIB), asked={"PATCH session": 0}),
    "parts of at most 512 KiB": Habit(
        # 1 MiB is refused, its half is taken.
        Quirks(max_part_bytes=MIB // 2),
        asked={"PATCH session": 1 + 6, "GET session": 1},
    ),
    "parts of at most 300 000 bytes": Habit(
        Quirks(max_part_bytes=300_000),  # the small blob, tried whole before, goes in two
        asked={"PATCH session": 2 + 13 + 1, "GET session": 2},
    ),
    "plain text errors": Habit(
        Quirks(plain_errors=True, monolithic_only=True), asked={"PATCH session": 1, "POST open": 4}
    ),
}


@either_colour
@pytest.mark.parametrize("temper", BOTH_TEMPERS, ids=lambda temper: temper.value)
@pytest.mark.parametrize("name", HABITS)
def test_an_odd_registry_is_lived_with(name: str, temper: BrokenPartPolicy, colour: Colour, tmp_path: Path) -> None:
    habit = HABITS[name]
    raw = stored(tmp_path)
    with EmbeddedRegistry(
        tmp_path / "registry", quirks=habit.quirks, faults=habit.faults, broken_parts=temper
    ) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, **habit.more))
        counted = Counter(steps(registry))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert [registry.blob(digest_of(blob)) for blob in (BIG, SMALL, CONFIG)] == [BIG, SMALL, CONFIG]
        assert {step: counted[step] for step in QUIET} == {**QUIET, **habit.asked}
        assert registry.received_bytes == TOTAL + habit.extra_bytes
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == habit.retries
    assert told.receipt is not None
    assert (told.receipt.verified, told.receipt.skipped_bytes, told.receipt.resumed_bytes) == (True, 0, 0)


@either_colour
@pytest.mark.parametrize("limit", [100_000, 20_000])
def test_a_limit_below_the_smallest_part_is_an_end(limit: int, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(max_part_bytes=limit)) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        counted = Counter(steps(registry))
        assert registry.received_bytes == 0
        assert registry.manifest("myuser/my-llama", "v1") is None
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.TOO_LARGE
    assert "HTTP 413" in told.error.message
    assert counted["PATCH session"] == 3
    assert counted["PUT manifest"] == 0


@either_colour
def test_a_registry_that_takes_a_blob_neither_whole_nor_in_parts_is_an_end(colour: Colour, tmp_path: Path) -> None:
    """No parts, and a limit below the blob: the limit is what a person can do something about."""
    stored(tmp_path)
    quirks = Quirks(monolithic_only=True, max_part_bytes=MIB)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.received_bytes == 0
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.TOO_LARGE


@either_colour
def test_a_small_blob_above_the_limit_goes_in_parts(colour: Colour, tmp_path: Path) -> None:
    """A body limit of a proxy, such as nginx's 1 MB, must not end a push of many middling blobs."""
    stored(tmp_path, SMALL, BIG)
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(max_part_bytes=270_000)) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.blob(SMALL_DIGEST) == SMALL


@either_colour
def test_a_range_of_one_byte_after_a_part_is_taken_for_silence(colour: Colour, tmp_path: Path) -> None:
    """``Range: 0-0`` says one byte or nothing at all; an accepted part is a whole one."""
    stored(tmp_path)
    said = Fault("PATCH", times=2, after_bytes=MIB, action=Reply(202, {"Range": "0-0"}))
    with EmbeddedRegistry(tmp_path / "registry", faults=[said]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.blob(BIG_DIGEST) == BIG
        assert (registry.received_bytes, Counter(steps(registry))["GET session"]) == (TOTAL, 0)


@either_colour
def test_a_status_of_one_byte_is_taken_for_an_empty_session(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("PATCH", after_bytes=0)]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        counted = Counter(steps(registry))
        assert (registry.received_bytes, counted["GET session"], counted["POST open"]) == (TOTAL, 1, 3)


@either_colour
def test_a_location_elsewhere_gets_the_bodies_but_no_login(colour: Colour, tmp_path: Path) -> None:
    """The same registry by its other name, which is another origin: it never sees who we are."""
    raw = stored(tmp_path)
    here = EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({"ann": "s3cret-of-ann"}))
    there = EmbeddedRegistry(tmp_path / "registry")
    with here, there, RawClient(there) as peer:
        for nth in (1, 2, 3):
            location = peer.start().replace("127.0.0.1", "localhost")
            here.add_fault(Fault("POST", nth=nth, action=Reply(202, {"Location": location})))
        opened = len(there.requests)
        told = colour(Direct(host=here.host, home=tmp_path))
        assert told.error is None
        assert here.manifest("myuser/my-llama", "v1") == raw
        assert (here.received_bytes, there.received_bytes) == (0, TOTAL)
        assert set(steps(there)[opened:]) == {"PATCH session", "PUT commit"}
        assert not any(seen.had_authorization for seen in there.requests)
        assert all(seen.had_authorization for seen in here.requests[1:])


@either_colour
def test_a_location_that_nobody_serves_ends_the_push(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "there") as there:
        quirks = Quirks(foreign_location=there.url.replace("127.0.0.1", "localhost"))
        with EmbeddedRegistry(tmp_path / "here", quirks=quirks) as here:
            told = colour(Direct(host=here.host, home=tmp_path))
            assert Counter(steps(there))["PATCH session"] == 4
            assert Counter(steps(here))["PUT manifest"] == 0
    assert isinstance(told.error, PushRejected)
    assert told.error.attempts == 4


@either_colour
@pytest.mark.parametrize("location", [None, "", "ftp://127.0.0.1/x", "http://[::1/x", "http://127.0.0.1:99999/x"])
def test_a_session_without_a_usable_place_is_refused(location: str | None, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    headers = {} if location is None else {"Location": location}
    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("POST", action=Reply(202, headers))]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert (registry.received_bytes, Counter(steps(registry))["PUT manifest"]) == (0, 0)
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.REGISTRY_REFUSED
    assert "Location" in told.error.message


@either_colour
def test_a_registry_that_counts_more_than_was_sent_is_not_believed(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    said = Fault("PATCH", times=None, after_bytes=0, action=Reply(202, {"Range": "0-99999999"}))
    with EmbeddedRegistry(tmp_path / "registry", faults=[said]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert Counter(steps(registry))["PUT manifest"] == 0
    assert isinstance(told.error, PushRejected)
    assert (told.error.reason, told.error.attempts) == (RejectionReason.REGISTRY_REFUSED, 4)
