"""What one push learns of a registry, the next one knows: how it wants blobs, and which repository has which."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    PATIENCE,
    REPOSITORY,
    SMALL,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    push,
    push_awaited,
    steps,
    stored,
)
from tests.support.shared_client import Gate, Sharing, either_client
from tests.support.stores import CONFIG

from ollama_push.core.errors import PushInterrupted, PushRejected
from ollama_push.testing.registry import (
    BasicAuth,
    EmbeddedRegistry,
    Fault,
    Hangup,
    Quirks,
    Reply,
    TokenAuth,
)

OTHER: Final = "myuser/other"
BLOBS: Final = (BIG, SMALL, CONFIG)
NO_LAST_PART: Final = Fault("PUT", rf"digest={BIG_DIGEST}", times=None, action=Reply(400))

LESSONS: Final = {
    # What is asked in vain by the first push, and by the second one no more.
    "whole only": (Quirks(monolithic_only=True), (), "PATCH session", 1, 0),
    "limit": (Quirks(max_part_bytes=MIB // 2), (), "PATCH session", 7, 6),
}


def _emptied(registry: EmbeddedRegistry, folder: Path) -> None:
    """Let *registry*, which is in *folder*, lose its blobs: what is pushed again is sent again."""
    for blob in BLOBS:
        for path in folder.rglob(digest_of(blob).removeprefix("sha256:")):
            path.unlink() if path.is_file() else None
    assert not any(registry.blob(digest_of(blob)) for blob in BLOBS)


@pytest.mark.parametrize(("first", "second"), [(push, push_awaited), (push_awaited, push)], ids=["sync", "async"])
@pytest.mark.parametrize("name", LESSONS)
def test_a_push_does_not_try_in_vain_what_an_earlier_one_has(
    name: str, first: Colour, second: Colour, tmp_path: Path
) -> None:
    """The clients share what they know, as both do with the command and the gateway."""
    quirks, faults, step, before, after = LESSONS[name]
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks, faults=faults) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        assert first(asked).error is None
        assert Counter(steps(registry))[step] == before
        _emptied(registry, tmp_path / "registry")
        seen = len(registry.requests)
        assert second(asked).error is None
        assert Counter(steps(registry)[seen:])[step] == after
        assert all(registry.blob(digest_of(blob)) == blob for blob in BLOBS)


@either_colour
def test_a_blob_that_is_to_go_whole_is_one_request(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        assert colour(Direct(host=registry.host, home=tmp_path, part_bytes="whole")).error is None
        counted = Counter(steps(registry))
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert (counted["PATCH session"], counted["PUT commit"], registry.received_bytes) == (0, 3, TOTAL)


@either_colour
def test_a_whole_blob_that_breaks_is_sent_from_its_start(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    broken = Fault("PUT", BIG_DIGEST, after_bytes=2 * MIB, action=Hangup())
    with EmbeddedRegistry(tmp_path / "registry", faults=[broken]) as registry:
        assert colour(Direct(host=registry.host, home=tmp_path, part_bytes="whole")).error is None
        counted = Counter(steps(registry))
        assert (counted["PATCH session"], counted["PUT commit"]) == (0, 4)
        assert registry.received_bytes == TOTAL + 2 * MIB
        assert registry.blob(BIG_DIGEST) == BIG


@either_colour
def test_a_push_to_another_repository_of_a_registry_mounts_what_an_earlier_one_sent(
    colour: Colour, tmp_path: Path
) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({"ann": "s3cret-of-ann"})) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        assert colour(asked).error is None
        seen = len(registry.requests)
        told = colour(attrs.evolve(asked, repository=OTHER))
        assert told.error is None
        assert told.receipt is not None
        assert (told.receipt.sent_bytes, told.receipt.skipped_bytes, told.receipt.verified) == (0, TOTAL, True)
        assert registry.manifest(OTHER, "v1") == raw
        assert registry.received_bytes == TOTAL
        counted = Counter(steps(registry)[seen:])
        assert (counted["POST open"], counted["PUT commit"], counted["PATCH session"]) == (3, 0, 0)


@either_colour
def test_a_mount_that_the_registry_refuses_leaves_the_blob_to_send_and_is_not_asked_for_again(
    colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    refused = Fault("POST", "mount=", times=None, action=Reply(404))
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        assert colour(asked).error is None
        registry.add_fault(refused)
        told = colour(attrs.evolve(asked, repository=OTHER))
        assert told.error is None
        assert registry.received_bytes == 2 * TOTAL
        seen = len(registry.requests)
        # From the repository that was given the blobs last; the first one has turned out not to have them.
        assert colour(attrs.evolve(asked, repository="myuser/third")).error is None
        asked_for = [request.path for request in registry.requests[seen:] if "mount=" in request.path]
        assert len(asked_for) == 3
        assert all(path.endswith(f"from={OTHER}") for path in asked_for)


@either_colour
@pytest.mark.parametrize("strict", [False, True], ids=["token for one", "no token for both"])
def test_a_login_that_may_not_read_the_other_repository_pushes_all_the_same(
    strict: bool,  # noqa: FBT001 - a table's column
    colour: Colour,
    tmp_path: Path,
) -> None:
    """A token for both repositories is good for one of them only, or is refused: the blobs are sent."""
    stored(tmp_path)
    both = frozenset({"pull", "push"})
    auth = TokenAuth(
        {"ann": "s3cret-of-ann", "bob": "s3cret-of-bob"},
        {"ann": {REPOSITORY: both}, "bob": {OTHER: both}},
        same_origin=True,
    )
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        assert colour(asked).error is None
        if strict:
            registry.add_fault(Fault("GET", "/token.*my-llama", times=None, action=Reply(403)))
        seen = len(registry.requests)
        told = colour(attrs.evolve(asked, repository=OTHER, credentials=("bob", "s3cret-of-bob")))
        assert told.error is None
        assert told.receipt is not None
        assert (told.receipt.sent_bytes, told.receipt.verified) == (TOTAL, True)
        assert any("mount=" in request.path for request in registry.requests[seen:])
        assert Counter(steps(registry)[seen:])["POST open"] == 3, "it gives a session instead of the blob"


@either_colour
def test_what_a_push_failed_to_finish_is_no_place_to_mount_from(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    no = Fault("PUT", "/manifests/", action=Reply(400, {}, b'{"errors":[{"code":"MANIFEST_INVALID"}]}'))
    with EmbeddedRegistry(tmp_path / "registry", faults=[no]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        assert isinstance(colour(asked).error, PushRejected)
        assert colour(attrs.evolve(asked, repository=OTHER)).error is None
        assert not any("mount=" in request.path for request in registry.requests)


@either_client
def test_an_interrupted_push_promises_what_the_registry_can_tell(sharing: Sharing, tmp_path: Path) -> None:
    stored(tmp_path)
    gate = Gate("PATCH", nth=2)
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(no_status=True)) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        with sharing(asked, gate) as client:
            running = client.push()
            assert gate.reached.wait(PATIENCE)
            client.interrupt()
            gate.opened.set()
            with pytest.raises(PushInterrupted) as stopped:
                running.result(PATIENCE)
        assert (stopped.value.kept_bytes, stopped.value.lost_bytes) == (0, 2 * MIB)
        assert "to resume" not in str(stopped.value)
        assert list((tmp_path / "uploads").glob("*.json")) == []
        with sharing(asked) as client:
            receipt = client.push().result(PATIENCE)
        assert (receipt.resumed_bytes, receipt.verified) == (0, True)
        counted = Counter(steps(registry))
        assert counted["GET session"] == 1, "asked once, by the push that was interrupted"
    assert SMALL_DIGEST in {layer.digest for layer in receipt.layers}


@either_colour
def test_a_registry_without_manifests_of_docker_s_kind_says_so_and_costs_no_bytes_the_next_time(
    colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(oci_manifests_only=True)) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        for repository, received in ((REPOSITORY, TOTAL), (OTHER, TOTAL)):
            error = colour(attrs.evolve(asked, repository=repository)).error
            assert isinstance(error, PushRejected)
            assert '"compat": ["docker2s2"]' in str(error)
            assert registry.received_bytes == received
