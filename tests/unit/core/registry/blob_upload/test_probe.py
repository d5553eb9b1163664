"""Whether a registry has a blob, by the status alone."""

from __future__ import annotations

import pytest
from tests.support.scripted_flow import FlowPlayer, response, responses

from ollama_push.core.errors import PushRejected, ServerError
from ollama_push.core.events import LayerProgress
from ollama_push.core.names import ModelName
from ollama_push.core.registry.blob_upload.probe import holds_manifest, layer_progress, probe
from ollama_push.core.registry.manifests import Descriptor, Manifest

BLOB = Descriptor(f"sha256:{'0123456789ab' + 'c' * 52}", 7)


@pytest.mark.parametrize(
    ("status", "there"), [(200, True), (307, True), *((status, False) for status in (400, 403, 404, 405, 406, 501))]
)
def test_a_blob_is_there_or_not(status: int, there: bool) -> None:  # noqa: FBT001 - a table's column
    player = FlowPlayer(responses(response(status)))
    assert player.play(probe(player.exchange, BLOB)) is there
    assert player.asked == [f"HEAD /v2/me/llama/blobs/{BLOB.digest}"]


def test_a_registry_that_always_fails_at_the_question_does_not_know() -> None:
    player = FlowPlayer(responses(*[response(500)] * 4))
    assert player.play(probe(player.exchange, BLOB)) is False


def test_a_registry_that_is_down_is_no_matter_of_the_question() -> None:
    player = FlowPlayer(responses(*[response(503)] * 4))
    with pytest.raises(ServerError, match=f"looking for {BLOB.digest}"):
        player.play(probe(player.exchange, BLOB))


def test_a_login_that_is_refused_is_no_matter_of_the_question() -> None:
    player = FlowPlayer(responses(response(401), response(404)))
    with pytest.raises(PushRejected):
        player.play(probe(player.exchange, BLOB))


def test_progress_is_worded_as_a_server_words_it() -> None:
    assert layer_progress(BLOB, 3) == LayerProgress(BLOB.digest, 7, 3, "pushing 0123456789ab")


def test_a_manifest_is_looked_for_by_its_own_type_first() -> None:
    """A registry that is asked for other types says that it has none, or converts it and tells another digest."""
    manifest = Manifest(b"{}", "x/y", ())
    player = FlowPlayer(responses(response(200, {"docker-content-digest": manifest.digest})))
    assert player.play(holds_manifest(player.exchange, ModelName.parse("me/llama:v1"), manifest))
    assert player.asked == ["HEAD /v2/me/llama/manifests/v1"]
    assert player.requests[0].headers["Accept"].startswith("x/y, application/vnd.docker")
