"""Reading from a registry: manifests, tags, and ranges of blobs that are read on after failures."""

from __future__ import annotations

from typing import Any, Final

import pytest
from tests.support.blobs import digest_of
from tests.support.memory_models import NAME
from tests.support.scripted_flow import FlowPlayer, refuse, response, responses

from ollama_push.core.errors import ConnectionLost, PushRejected, RejectionReason, ServerError
from ollama_push.core.facts import PlaceFailed
from ollama_push.core.registry.flows.read import RangeReading, read_manifest_flow, read_tags_flow
from ollama_push.core.responses import BlobRequest, BufferedResponse, StreamedResponse
from ollama_push.core.retry import RetryPolicy

DIGEST: Final = f"sha256:{'a' * 64}"
LOST: Final = ConnectionLost("https://reg.test:5000", "reset")


def streamed(status: int = 206, content_range: str = "") -> StreamedResponse:
    headers = {"content-range": content_range} if content_range else {}
    return StreamedResponse(status, headers, b"", stream=object())


def test_a_manifest_is_read_in_any_type_that_we_know() -> None:
    player = FlowPlayer(responses(response(200, body=b"{}")))
    assert player.play(read_manifest_flow(player.exchange, NAME)) == b"{}"
    assert player.asked == [f"GET /v2/me/llama/manifests/{NAME.tag}"]
    assert "vnd.oci.image.manifest" in player.requests[0].headers["Accept"]


def manifest_sent(body: bytes, announced: bytes) -> BufferedResponse:
    return response(200, {"docker-content-digest": digest_of(announced)}, body)


def test_a_manifest_that_was_damaged_on_its_way_is_read_again() -> None:
    """Found by the fault laboratory: a bit of it was flipped, and the copy of another manifest was a success."""
    player = FlowPlayer(responses(manifest_sent(b"{]", b"{}"), manifest_sent(b"{}", b"{}")))
    assert player.play(read_manifest_flow(player.exchange, NAME)) == b"{}"
    assert len(player.waits) == 1


def test_a_registry_that_sends_another_manifest_than_it_announces_is_to_blame() -> None:
    player = FlowPlayer(responses(*[manifest_sent(b"{]", b"{}")] * 2), retry=RetryPolicy(attempts=2))
    with pytest.raises(PushRejected, match=f"gives as {digest_of(b'{}')} are other bytes") as caught:
        player.play(read_manifest_flow(player.exchange, NAME))
    assert caught.value.reason is RejectionReason.SOURCE_FAILED
    assert caught.value.attempts == 2


@pytest.mark.parametrize("announced", ["", "sha512:" + "a" * 128, "sha256:a", "nonsense"])
def test_what_is_announced_in_another_form_is_not_judged(announced: str) -> None:
    player = FlowPlayer(responses(response(200, {"docker-content-digest": announced}, b"{}")))
    assert player.play(read_manifest_flow(player.exchange, NAME)) == b"{}"


def test_a_model_that_is_not_there_is_no_model() -> None:
    player = FlowPlayer(responses(refuse(404, "MANIFEST_UNKNOWN")))
    with pytest.raises(PushRejected, match="holds no such model") as caught:
        player.play(read_manifest_flow(player.exchange, NAME))
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND


def tags(player: FlowPlayer) -> tuple[str, ...]:
    return player.play(read_tags_flow(player.exchange))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"tags": ["a", "b", 1, "a"]}', ("a", "b")),
        (b'{"tags": null}', ()),
        (b"[]", ()),
        (b"no JSON", ()),
    ],
)
def test_tags_are_a_list_of_texts(body: bytes, expected: tuple[str, ...]) -> None:
    player = FlowPlayer(responses(response(200, body=body)))
    assert tags(player) == expected


def test_tags_of_several_pages_are_asked_for_behind_the_last_one() -> None:
    more = {"link": '</v2/elsewhere?last=b>; rel="next"'}
    pages = response(200, more, b'{"tags": ["a", "b"]}'), response(200, {}, b'{"tags": ["c"]}')
    player = FlowPlayer(responses(*pages))
    assert tags(player) == ("a", "b", "c")
    assert player.asked == ["GET /v2/me/llama/tags/list", "GET /v2/me/llama/tags/list?last=b"]


def test_a_registry_that_repeats_a_page_does_not_hold_us() -> None:
    page = response(200, {"link": "<x>"}, b'{"tags": ["a"]}')
    player = FlowPlayer(responses(page, page))
    assert tags(player) == ("a",)


def test_a_registry_that_never_ends_its_list_does_not_hold_us() -> None:
    numbers = iter(range(10**6))
    player = FlowPlayer(lambda _request, _body: response(200, {"link": "<x>"}, b'{"tags": ["t%d"]}' % next(numbers)))
    assert len(tags(player)) == 1000


def reading(player: FlowPlayer, offset: int = 10, size: int = 20) -> RangeReading:
    return RangeReading(player.exchange, DIGEST, offset, size)


def test_a_range_is_asked_for_and_taken_as_it_comes() -> None:
    player = FlowPlayer(responses(streamed(content_range="bytes 10-29/100")))
    read = reading(player)
    player.play(read.open_flow())
    assert player.asked == [f"GET /v2/me/llama/blobs/{DIGEST}"]
    assert player.requests[0].headers["Range"] == "bytes=10-29"
    assert isinstance(player.requests[0], BlobRequest)
    assert [bytes(read.receive(chunk)) for chunk in (b"x" * 15, b"", b"y" * 15)] == [b"x" * 15, b"", b"y" * 5]
    assert read.left == 0
    read.end()


def test_a_registry_that_ignores_ranges_is_read_over() -> None:
    player = FlowPlayer(responses(streamed(200)))
    read = reading(player, 3, 4)
    player.play(read.open_flow())
    assert [bytes(read.receive(chunk)) for chunk in (b"01", b"23", b"45678")] == [b"", b"3", b"456"]


def test_a_partial_content_without_its_range_is_what_was_asked_for() -> None:
    player = FlowPlayer(responses(streamed(206)))
    read = reading(player, 3, 2)
    player.play(read.open_flow())
    assert bytes(read.receive(b"34")) == b"34"


def test_a_range_that_begins_too_late_is_the_sources_failure() -> None:
    player = FlowPlayer(responses(streamed(206, "bytes 11-29/100")))
    with pytest.raises(PushRejected, match="ends too early") as caught:
        player.play(reading(player).open_flow())
    assert isinstance(caught.value.facts, PlaceFailed)


def test_what_broke_is_read_on_where_it_broke() -> None:
    player = FlowPlayer(responses(streamed(206, "bytes 10-29/100"), streamed(206, "bytes 18-29/100")))
    read = reading(player)
    player.play(read.open_flow())
    read.receive(b"x" * 8)
    with pytest.raises(ConnectionLost, match="the blob is not complete"):
        read.end()
    player.play(read.recover_flow(LOST))
    player.play(read.open_flow())
    assert player.requests[1].headers["Range"] == "bytes=18-29"
    assert len(player.waits) == 1


def test_bytes_that_came_make_failures_forgotten() -> None:
    player = FlowPlayer(lambda _request, _body: streamed(206), retry=RetryPolicy(attempts=2, base=0))
    read = reading(player)
    for _ in range(5):
        player.play(read.open_flow())
        read.receive(b"x")
        player.play(read.recover_flow(LOST))
    with pytest.raises(ConnectionLost):
        player.play(read.recover_flow(LOST))


@pytest.mark.parametrize("busy", [response(503), response(429)])
def test_a_registry_that_is_busy_is_asked_again(busy: Any) -> None:
    player = FlowPlayer(responses(busy, streamed(206)))
    player.play(reading(player).open_flow())
    assert len(player.asked) == 2


def test_a_registry_that_stays_busy_is_given_up() -> None:
    player = FlowPlayer(lambda _request, _body: response(503), retry=RetryPolicy(attempts=2, base=0))
    with pytest.raises(ServerError):
        player.play(reading(player).open_flow())


@pytest.mark.parametrize("status", [404, 403, 204])
def test_a_refusal_is_raised_with_what_was_asked(status: int) -> None:
    player = FlowPlayer(responses(refuse(status, "BLOB_UNKNOWN")))
    with pytest.raises(PushRejected, match=f"reading the blob {DIGEST}: HTTP {status}"):
        player.play(reading(player).open_flow())
