"""A receipt is a value that cannot be changed afterwards."""

from __future__ import annotations

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
