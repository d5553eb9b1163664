"""A registry that signs URLs for uploads, as Ollama's does: both clients send the bytes there, many parts at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import BIG, SMALL, TOTAL, Colour, Direct, either_colour, stored
from tests.support.server_push import Told
from tests.support.stores import CONFIG

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import Observation, PushStarted
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Quirks, Reply, Seen, Stall

PART: Final = 200_000
PARTS: Final = -(-len(BIG) // PART) + -(-len(SMALL) // PART) + 1
AT_ONCE: Final = 16
PATIENCE_SECONDS: Final = 60.0
PARTS_SIGNED: Final = Quirks(redirect_uploads=True)
WHOLE_SIGNED: Final = Quirks(direct_uploads=True)
BOTH_SIGNED: Final = Quirks(redirect_uploads=True, direct_uploads=True)
NOT_NOW: Final = Reply(403, {}, b'{"errors":[{"code":"DENIED","message":"not now"}]}')


def registry_at(home: Path, quirks: Quirks, *faults: Fault) -> EmbeddedRegistry:
    """Start a registry, and write the model that is pushed to it."""
    stored(home)
    return EmbeddedRegistry(home / "registry", auth=BasicAuth({"ann": "s3cret-of-ann"}), quirks=quirks, faults=faults)


def receipt_of(told: Told) -> PushReceipt:
    assert told.error is None
    assert told.receipt is not None
    return told.receipt


def holds_all(registry: EmbeddedRegistry) -> bool:
    return all(registry.blob(digest_of(data)) == data for data in (BIG, SMALL, CONFIG))


def signed(registry: EmbeddedRegistry) -> list[Seen]:
    return [seen for seen in registry.requests if seen.path.startswith("/signed/")]


@either_colour
@pytest.mark.parametrize("quirks", [PARTS_SIGNED, WHOLE_SIGNED], ids=["parts", "whole"])
def test_all_bytes_go_to_signed_urls_and_no_login_does(colour: Colour, quirks: Quirks, tmp_path: Path) -> None:
    with registry_at(tmp_path, quirks) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, part_bytes=PART, concurrency=4))
        assert receipt_of(told).verified
        assert receipt_of(told).retries == 0
        assert holds_all(registry)
        assert registry.received_bytes == TOTAL
    assert len(signed(registry)) == (3 if quirks is WHOLE_SIGNED else PARTS)
    assert {seen.status for seen in signed(registry)} == {200}
    assert not any(seen.had_authorization for seen in signed(registry))
    assert all(seen.had_authorization for seen in registry.requests if "_state=" in seen.path)
    last = {event.digest: event for event in told.events if isinstance(event, LayerProgress)}
    assert all(event.completed == event.total for event in last.values())


@either_colour
def test_sixteen_parts_are_on_their_way_at_the_same_time(colour: Colour, tmp_path: Path) -> None:
    def under_way() -> int:
        return sum(1 for seen in signed(registry) if seen.status is None)

    with registry_at(tmp_path, PARTS_SIGNED, Fault("PUT", "^/signed/", times=None, action=Stall(600))) as registry:
        # It ends with the first failure, once the registry is gone.
        asked = Direct(host=registry.host, home=tmp_path, part_bytes=PART, retry=RetryPolicy(attempts=1))
        push = threading.Thread(target=colour, args=[asked], daemon=True)
        push.start()
        try:
            assert registry.wait_until(lambda: under_way() >= AT_ONCE, PATIENCE_SECONDS)
            assert under_way() == AT_ONCE
        finally:
            registry.stop()
            push.join(PATIENCE_SECONDS)
    assert not push.is_alive()


@either_colour
def test_finished_parts_are_not_sent_again_by_the_next_push(colour: Colour, tmp_path: Path) -> None:
    with registry_at(tmp_path, PARTS_SIGNED, Fault("PATCH", nth=9, action=NOT_NOW)) as registry:
        asked = Direct(host=registry.host, home=tmp_path, part_bytes=PART)
        error = colour(asked).error
        assert isinstance(error, PushRejected)
        assert error.reason is RejectionReason.UNAUTHORIZED
        kept = [seen.path for seen in signed(registry)]
        assert len(kept) == 8
        assert receipt_of(colour(asked)).resumed_bytes == 8 * PART
        assert holds_all(registry)
        assert registry.received_bytes == TOTAL
        again = [seen.path for seen in signed(registry)[len(kept) :]]
        assert len(again) == PARTS - 8
        assert not set(kept).intersection(again)


@either_colour
def test_a_session_that_is_gone_when_it_is_resumed_is_replaced_at_once(colour: Colour, tmp_path: Path) -> None:
    with registry_at(tmp_path, PARTS_SIGNED, Fault("PATCH", nth=9, action=NOT_NOW)) as registry:
        asked = Direct(host=registry.host, home=tmp_path, part_bytes=PART)
        assert isinstance(colour(asked).error, PushRejected)
        registry.restart()  # which voids all that was signed
        registry.expire_sessions()
        assert receipt_of(colour(asked)).resumed_bytes == 0
        assert holds_all(registry)


@either_colour
def test_parts_that_break_are_sent_again_alone(colour: Colour, tmp_path: Path) -> None:
    faults = (
        Fault("PUT", "^/signed/", nth=3, after_bytes=1000, action=Reply(500)),
        Fault("PUT", "^/signed/", nth=7),
        Fault("PUT", "^/signed/", nth=9, action=Reply(403)),
    )
    with registry_at(tmp_path, PARTS_SIGNED, *faults) as registry:
        assert receipt_of(colour(Direct(host=registry.host, home=tmp_path, part_bytes=PART))).retries == 3
        assert holds_all(registry)
        assert sum(1 for seen in signed(registry) if seen.status == 200) == PARTS
        assert registry.received_bytes <= TOTAL + 1000


@either_colour
def test_a_blob_that_is_changed_while_its_first_part_is_sent_is_the_verdict(colour: Colour, tmp_path: Path) -> None:
    """Found by the fault laboratory: a push that no response had come to crashed."""
    blob = tmp_path / "models" / "blobs" / digest_of(BIG).replace(":", "-")

    def change(seen: Observation) -> None:
        if isinstance(seen, PushStarted):
            blob.write_bytes(bytes(len(BIG)))

    with registry_at(tmp_path, PARTS_SIGNED) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, part_bytes=PART, hooks=(change,)))
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.STORE_DAMAGED
    assert "it has changed since the push began" in str(told.error)


@either_colour
def test_a_storage_that_takes_nothing_is_gone_round(colour: Colour, tmp_path: Path) -> None:
    refused = Fault("PUT", "^/signed/", times=None, action=Reply(403))
    with registry_at(tmp_path, BOTH_SIGNED, refused) as registry:
        receipt_of(colour(Direct(host=registry.host, home=tmp_path, part_bytes=MIB)))
        assert holds_all(registry)
        assert registry.received_bytes == TOTAL
