"""A blob is read again at most once a push, and only while somebody wants to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.blobs import digest_of
from tests.support.stores import put_model

from ollama_push.client._flow_context import FlowContext, StopSignal
from ollama_push.core.errors import PushInterrupted
from ollama_push.core.names import ModelName
from ollama_push.core.registry.credentials import GivenCredential
from ollama_push.core.registry.effects import Rehash
from ollama_push.local import ModelStore, NoResume

LAYER = bytes(1_000_000)
DIGEST = digest_of(LAYER)


def context_of(root: Path) -> FlowContext[None]:
    put_model(root, layers=(LAYER,))
    stored = ModelStore(root).load(ModelName.parse_local("my-llama"))
    nothing = cast("Any", None)  # neither a flow nor its requests are used
    return FlowContext(nothing, nothing, StopSignal(), GivenCredential(None), NoResume(), stored)


def test_a_blob_is_rehashed_once_a_push(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    assert context.perform(Rehash(DIGEST))
    (tmp_path / "blobs" / DIGEST.replace(":", "-")).write_bytes(b"other")
    assert context.perform(Rehash(DIGEST))


def test_a_damaged_blob_stays_damaged(tmp_path: Path) -> None:
    context, file = context_of(tmp_path), tmp_path / "blobs" / DIGEST.replace(":", "-")
    file.write_bytes(b"\1" * len(LAYER))
    assert not context.perform(Rehash(DIGEST))
    file.write_bytes(LAYER)
    assert not context.perform(Rehash(DIGEST))


def test_a_cancelled_push_reads_no_further(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    context.stop.cancelled = True
    with pytest.raises(PushInterrupted):
        context.perform(Rehash(DIGEST))
