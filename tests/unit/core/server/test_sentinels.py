"""Signals are neither values nor errors: unlike each other, and unlike nothing."""

from __future__ import annotations

import copy
import pickle

import pytest

from ollama_push.core.server.sentinels import NEED_DATA, PUSH_OVER


def test_signals_differ_from_each_other_and_from_absence() -> None:
    assert len({NEED_DATA, PUSH_OVER, None}) == 3


@pytest.mark.parametrize("signal", [NEED_DATA, PUSH_OVER])
def test_identity_survives_copies(signal: object) -> None:
    assert copy.deepcopy(signal) is signal
    assert pickle.loads(pickle.dumps(signal)) is signal
