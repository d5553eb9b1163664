"""Whether a registry has a blob, by the status alone."""

from __future__ import annotations

import pytest
from tests.support.scripted_flow import FlowPlayer, response, responses

from ollama_push.core.errors import PushRejected
from ollama_push.core.events import LayerProgress
from ollama_push.core.registry.blob_upload.probe import layer_progress, probe
from ollama_push.core.registry.manifests import Descriptor

BLOB = Descriptor(f"sha256:{'0123456789ab' + 'c' * 52}", 7)


@pytest.mark.parametrize(("status", "there"), [(200, True), (307, True), (404, False), (405, False), (501, False)])
def test_a_blob_is_there_or_not(status: int, there: bool) -> None:  # noqa: FBT001 - a table's column
    player = FlowPlayer(responses(response(status)))
    assert player.play(probe(player.exchange, BLOB)) is there
    assert player.asked == [f"HEAD /v2/me/llama/blobs/{BLOB.digest}"]


def test_a_no_is_neither() -> None:
    player = FlowPlayer(responses(response(403)))
    with pytest.raises(PushRejected, match=f"looking for {BLOB.digest}: HTTP 403"):
        player.play(probe(player.exchange, BLOB))


def test_progress_is_worded_as_a_server_words_it() -> None:
    assert layer_progress(BLOB, 3) == LayerProgress(BLOB.digest, 7, 3, "pushing 0123456789ab")
