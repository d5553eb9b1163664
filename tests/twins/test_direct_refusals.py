"""A registry that says no, lies, or is full: the exact end of a direct push, and what was sent until then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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

from ollama_push.cli.exit_codes import exit_code
from ollama_push.core.errors import PushRejected, RejectionReason, ServerError, VerificationFailed
from ollama_push.core.observations import RequestRetried
from ollama_push.testing.registry import BrokenPartPolicy, EmbeddedRegistry, Fault, Quirks, Reply


def says(status: int, code: str, message: str) -> Reply:
    body = f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'
    return Reply(status, {"Content-Type": "application/json"}, body.encode())


NO_DIGEST: Final = says(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
NO_BLOB: Final = says(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
DENIED: Final = says(403, "DENIED", "requested access to the resource is denied")
FULL: Final = says(507, "UNKNOWN", "no space left on device")
DISTRIBUTION: Final = (
    b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":'
    b'{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/var/lib/registry/x","Err":28}}}]}'
)
FULL_500: Final = Reply(500, {"Content-Type": "application/json"}, DISTRIBUTION)
FULL_400: Final = Reply(400, {"Content-Type": "application/json"}, DISTRIBUTION)
BROKEN: Final = Reply(500, {}, b"Internal Server Error")


@attrs.frozen
class Refusal:
    """A no for ever: the reason, words of the text, how often it was heard, and what was sent at most."""

    fault: Fault
    reason: RejectionReason
    words: str
    heard: int = 1
    received_bytes: int | None = None
    exit_code: int = 5


R: Final = RejectionReason

REFUSALS: Final[Mapping[str, Refusal]] = {
    "no permission": Refusal(Fault("POST", times=None, action=DENIED), R.UNAUTHORIZED, "DENIED", 1, 0, 6),
    "no permission, without words": Refusal(
        Fault("POST", times=None, action=Reply(403)), R.UNAUTHORIZED, "opening an upload: HTTP 403", 1, 0, 6
    ),
    "no such repository": Refusal(
        Fault("POST", times=None, action=says(404, "NAME_UNKNOWN", "repository name not known to registry")),
        R.REPOSITORY_NOT_FOUND,
        "NAME_UNKNOWN",
        1,
        0,
    ),
    "a part refused for good": Refusal(
        Fault("PATCH", times=None, action=DENIED), R.UNAUTHORIZED, f"sending a part of {BIG_DIGEST}", 1, 0, 6
    ),
    "full at a part": Refusal(Fault("PATCH", nth=2, times=None, action=FULL), R.REGISTRY_FULL, "no space left", 1, MIB),
    "full in the middle of a part": Refusal(
        Fault("PATCH", times=None, after_bytes=1000, action=FULL), R.REGISTRY_FULL, "no space left", 1, 1000
    ),
    "full at the commit": Refusal(
        Fault("PUT", BIG_DIGEST, times=None, action=FULL), R.REGISTRY_FULL, "no space left", 1, 3 * MIB
    ),
    "full at the opening, as distribution says it": Refusal(
        Fault("POST", times=None, action=FULL_500), R.REGISTRY_FULL, '"Err":28', 1, 0
    ),
    "full at a part, as distribution says it": Refusal(
        Fault("PATCH", nth=2, times=None, action=FULL_500), R.REGISTRY_FULL, '"Err":28', 1, MIB
    ),
    "full at the commit, as distribution says it": Refusal(
        Fault("PUT", BIG_DIGEST, times=None, action=FULL_500), R.REGISTRY_FULL, '"Err":28', 1, 3 * MIB
    ),
    "full at the commit, with a status that may mean another form": Refusal(
        Fault("PUT", BIG_DIGEST, times=None, action=FULL_400), R.REGISTRY_FULL, '"Err":28', 1, 3 * MIB
    ),
    "full at a small blob, as distribution says it": Refusal(
        Fault("PUT", SMALL_DIGEST, times=None, action=FULL_500), R.REGISTRY_FULL, '"Err":28', 1, len(BIG)
    ),
    "full at the manifest, as distribution says it": Refusal(
        Fault("PUT", "/manifests/", times=None, action=FULL_500), R.REGISTRY_FULL, '"Err":28', 1, TOTAL
    ),
    "digest refused": Refusal(
        Fault("PUT", BIG_DIGEST, times=None, action=NO_DIGEST), R.DIGEST_INVALID, "DIGEST_INVALID", 4, 12 * MIB
    ),
    "digest of a small blob refused": Refusal(
        Fault("PUT", SMALL_DIGEST, times=None, action=NO_DIGEST), R.DIGEST_INVALID, "DIGEST_INVALID", 4, len(BIG)
    ),
    "manifest refused for an unknown blob": Refusal(
        Fault("PUT", "/manifests/", times=None, action=NO_BLOB), R.BLOB_UNKNOWN, "pushing the manifest", 4, TOTAL
    ),
    "manifest refused": Refusal(
        Fault("PUT", "/manifests/", times=None, action=says(400, "MANIFEST_INVALID", "manifest invalid")),
        R.REGISTRY_REFUSED,
        "MANIFEST_INVALID",
        1,
        TOTAL,
    ),
    "a page of something else": Refusal(
        Fault("POST", times=None, action=Reply(418, {}, b"<html><title>Portal</title><p>Log in here</html>")),
        R.REGISTRY_REFUSED,
        "HTTP 418: Portal: Log in here",
        1,
        0,
    ),
}


@either_colour
@pytest.mark.parametrize("name", REFUSALS)
def test_a_no_for_ever_ends_the_push(name: str, colour: Colour, tmp_path: Path) -> None:
    refusal = REFUSALS[name]
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[refusal.fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.manifest("myuser/my-llama", "v1") is None
        if refusal.received_bytes is not None:
            assert registry.received_bytes == refusal.received_bytes
    assert isinstance(told.error, PushRejected)
    assert (told.error.reason, told.error.attempts) == (refusal.reason, refusal.heard)
    assert refusal.words in str(told.error)
    assert exit_code(told.error) == refusal.exit_code
    assert told.receipt is None


@either_colour
@pytest.mark.parametrize(
    ("fault", "sent_again"),
    [
        (Fault("PUT", BIG_DIGEST, action=NO_DIGEST), 3 * MIB),
        (Fault("PUT", SMALL_DIGEST, action=NO_DIGEST), 0),
        (Fault("PATCH", nth=2, after_bytes=1000, action=BROKEN), 0),
        (Fault("PUT", SMALL_DIGEST, after_bytes=1000, action=BROKEN), 0),
        (Fault("PATCH", nth=2, action=Reply(404)), MIB),
        (Fault("PATCH", nth=2, action=Reply(410)), MIB),
        (Fault("PUT", BIG_DIGEST, action=Reply(404)), 3 * MIB),
    ],
    ids=[
        "digest of a large blob",
        "digest of a small blob",
        "500 in a part",
        "500 in a small blob",
        "404 at a part",
        "410 at a part",
        "404 at the commit",
    ],
)
def test_a_no_that_is_said_once_is_survived(fault: Fault, sent_again: int, colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.received_bytes == TOTAL + sent_again
    assert sum(isinstance(one, RequestRetried) for one in told.seen) == 1


@either_colour
@pytest.mark.parametrize("temper", BrokenPartPolicy, ids=lambda temper: temper.value)
def test_a_registry_that_breaks_over_every_part_is_given_up(
    temper: BrokenPartPolicy, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    # Where broken parts are kept, a byte that arrives is progress, and progress starts the count anew.
    bytes_each = 0 if temper is BrokenPartPolicy.KEEPS_BROKEN_PARTS else 1000
    fault = Fault("PATCH", times=None, after_bytes=bytes_each, action=BROKEN)
    with EmbeddedRegistry(tmp_path / "registry", broken_parts=temper, faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        counted = Counter(steps(registry))
        assert registry.received_bytes == 4 * bytes_each
    assert isinstance(told.error, ServerError)
    assert (told.error.status, told.error.attempts) == (500, 4)
    assert "Internal Server Error" in str(told.error)
    assert (counted["PATCH session"], counted["PUT manifest"]) == (4, 0)


@either_colour
@pytest.mark.parametrize("blob", [BIG, SMALL], ids=["in parts", "whole"])
def test_a_refused_digest_is_the_stores_fault_when_it_is(blob: bytes, colour: Colour, tmp_path: Path) -> None:
    """The file has the right size and another content: sending it again would never help."""
    stored(tmp_path)
    path = tmp_path / "models" / "blobs" / digest_of(blob).replace(":", "-")
    path.write_bytes(bytes(len(blob)))
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.blob(digest_of(blob)) is None
        assert registry.manifest("myuser/my-llama", "v1") is None
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.STORE_DAMAGED
    assert digest_of(blob) in told.error.message
    assert isinstance(told.error.__cause__, PushRejected)
    assert told.error.__cause__.reason is RejectionReason.DIGEST_INVALID


LIES: Final[Mapping[str, tuple[Quirks, str]]] = {
    "accepted and lost": (Quirks(loses_blobs=frozenset({BIG_DIGEST})), BIG_DIGEST),
    "another manifest": (Quirks(wrong_manifest=True), ""),
}


@either_colour
@pytest.mark.parametrize("name", LIES)
def test_a_registry_that_lies_is_found_out(name: str, colour: Colour, tmp_path: Path) -> None:
    quirks, digest = LIES[name]
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
    assert isinstance(told.error, VerificationFailed)
    assert digest in told.error.digest
    assert exit_code(told.error) == 10
    assert told.error.bytes_moved == TOTAL
    assert told.receipt is None


@either_colour
def test_what_is_said_to_be_there_and_is_not_is_sent_after_all(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(lies_about_blobs={SMALL_DIGEST: 7})) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert (registry.manifest("myuser/my-llama", "v1"), registry.blob(SMALL_DIGEST)) == (raw, SMALL)
        assert registry.received_bytes == TOTAL
    assert told.receipt is not None
    assert (told.receipt.verified, told.receipt.skipped_bytes) == (True, 0)


QUESTIONS: Final = {
    "manifests": [Fault("HEAD", "/manifests/", times=None, action=Reply(403))],
    "blobs": [Fault("HEAD", "/blobs/", times=None, action=Reply(400, {}, b"<html>no</html>"))],
    "everything": [Fault("HEAD", times=None, action=Reply(406))],
    "failing": [Fault("HEAD", times=None, action=Reply(500))],
}


@either_colour
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_no_to_what_only_saves_work_is_no_end(name: str, colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", faults=QUESTIONS[name]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.manifest("myuser/my-llama", "v1") == raw
    assert told.receipt is not None
    assert told.receipt.verified is True


@either_colour
@pytest.mark.parametrize("path", ["/manifests/", "/blobs/sha256:"])
def test_a_login_that_may_not_read_has_pushed(path: str, colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    faults = [Fault(method, path, times=None, action=DENIED) for method in ("GET", "HEAD")]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert registry.manifest("myuser/my-llama", "v1") == raw
    assert told.receipt is not None
    assert (told.receipt.verified, told.receipt.read_refused) == (False, True)


@either_colour
@pytest.mark.parametrize("name", LIES)
def test_who_does_not_look_does_not_find_out(name: str, colour: Colour, tmp_path: Path) -> None:
    quirks, _digest = LIES[name]
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, verify=False))
        assert Counter(steps(registry))["GET manifest"] == 0
    assert told.error is None
    assert told.receipt is not None
    assert told.receipt.verified is False
