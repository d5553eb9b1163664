"""A receipt is a value that cannot be changed afterwards."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ollama_push.core.receipts import LayerReceipt, PushReceipt


def _receipt() -> PushReceipt:
    return PushReceipt("a/b:latest", (LayerReceipt("sha256:ab", 5),), 5, 1, 0.5)


def test_equal_by_content() -> None:
    assert _receipt() == _receipt()
    assert hash(_receipt()) == hash(_receipt())
    assert _receipt() != attrs.evolve(_receipt(), attempts=2)


def test_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        _receipt().attempts = 2  # type: ignore[misc]  # the point of the test


def test_a_push_through_a_server_does_not_know_what_the_registry_holds() -> None:
    receipt = _receipt()
    unknown = (
        receipt.manifest_digest,
        receipt.sent_bytes,
        receipt.skipped_bytes,
        receipt.resumed_bytes,
        receipt.verified,
    )
    assert unknown == (None,) * 5


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "pushed a/b:latest, 1 layer, 5 B, in 0.5 s"),
        ({"layers": (LayerReceipt("sha256:ab", 5),) * 2, "attempts": 3}, ", 2 layers, 5 B, in 0.5 s, after 3 attempts"),
        ({"total_bytes": None, "layers": ()}, "pushed a/b:latest, in 0.5 s"),
        ({"skipped_bytes": 4, "resumed_bytes": 1, "verified": True}, ", 4 B already there, 1 B resumed, verified, in "),
        ({"verified": False, "read_refused": True}, ", not verified (this login may not read there), in 0.5 s"),
        ({"manifest_digest": "sha256:m"}, "in 0.5 s, sha256:m"),
    ],
)
def test_its_text_is_the_line_of_the_command(changed: dict[str, Any], text: str) -> None:
    assert text in str(attrs.evolve(_receipt(), **changed))


def test_what_was_not_reported_is_unknown_and_not_zero() -> None:
    receipt = PushReceipt("a/b:latest", (), None, 1, 0.5)
    assert (receipt.layers, receipt.total_bytes, receipt.retries) == ((), None, 0)


def test_a_push_straight_to_a_registry_knows_what_it_moved() -> None:
    receipt = attrs.evolve(_receipt(), manifest_digest="sha256:m", sent_bytes=0, skipped_bytes=5, verified=False)
    assert receipt != _receipt()
    assert (receipt.sent_bytes, receipt.skipped_bytes, receipt.verified) == (0, 5, False)
