"""An artifact refers to a model: it is listed by the registry, or in an index under a tag."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from tests.support.blobs import digest_of
from tests.support.memory_models import MODEL, NAME
from tests.support.scripted_flow import FlowPlayer, refuse, response, responses

from ollama_push.core.errors import PushRejected
from ollama_push.core.registry.effects import Flow
from ollama_push.core.registry.flows.attach import Attachment, attach_flow
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor

FILE: Final = Descriptor(digest_of(b"sbom"), 4, "application/spdx+json")
ATTACHMENT: Final = Attachment.of(FILE, MODEL.manifest, "sbom.json")
DELIVERY: Final = Delivery(0, 0, verified=True)
OWN: Final = {"digest": ATTACHMENT.manifest.digest}


def pushed() -> Flow[Delivery]:
    yield from ()
    return DELIVERY


def attached(*script: Any) -> FlowPlayer:
    player = FlowPlayer(responses(*script))
    assert player.play(attach_flow(player.exchange, pushed(), ATTACHMENT)) == DELIVERY
    return player


def index(*entries: Any) -> bytes:
    return json.dumps({"manifests": entries}).encode()


def test_the_artifact_says_what_it_is_and_what_it_refers_to() -> None:
    value = json.loads(ATTACHMENT.manifest.raw)
    assert value["artifactType"] == "application/spdx+json"
    assert value["subject"] == {
        "mediaType": MODEL.manifest.media_type,
        "digest": MODEL.manifest.digest,
        "size": len(MODEL.manifest.raw),
    }
    assert value["layers"][0]["annotations"] == {"org.opencontainers.image.title": "sbom.json"}
    assert value["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert [blob.digest for blob in ATTACHMENT.manifest.blobs] == [FILE.digest, digest_of(b"{}")]


def test_it_is_pushed_beside_the_model_under_a_tag_of_its_own() -> None:
    name = ATTACHMENT.name_beside(NAME)
    assert (name.host, name.repository) == (NAME.host, NAME.repository)
    assert name.tag == ATTACHMENT.manifest.digest.replace(":", "-")


def test_a_registry_that_lists_it_is_asked_no_more() -> None:
    player = attached(response(200, body=index({"digest": "sha256:x"}, OWN)))
    assert player.asked == [f"GET /v2/me/llama/referrers/{MODEL.manifest.digest}"]


@pytest.mark.parametrize("listed", [refuse(404, "NOT_FOUND"), response(405), response(200, body=index())])
def test_a_registry_that_does_not_list_it_gets_an_index_under_a_tag(listed: Any) -> None:
    player = attached(listed, response(404), response(201))
    tag = MODEL.manifest.digest.replace(":", "-")
    assert player.asked[1:] == [f"GET /v2/me/llama/manifests/{tag}", f"PUT /v2/me/llama/manifests/{tag}"]
    written = json.loads(bytes(player.requests[2].body))  # type: ignore[arg-type]  # bytes
    assert player.requests[2].headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
    assert [entry["digest"] for entry in written["manifests"]] == [ATTACHMENT.manifest.digest]
    assert written["manifests"][0]["artifactType"] == "application/spdx+json"


def test_what_the_index_lists_already_stays() -> None:
    player = attached(response(404), response(200, body=index({"digest": "sha256:other", "x": 1})), response(201))
    written = json.loads(bytes(player.requests[2].body))  # type: ignore[arg-type]  # bytes
    assert [entry["digest"] for entry in written["manifests"]] == ["sha256:other", ATTACHMENT.manifest.digest]
    assert written["manifests"][0]["x"] == 1


def test_an_index_that_lists_it_is_not_written_again() -> None:
    assert len(attached(response(404), response(200, body=index(OWN))).asked) == 2


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"{}", b'{"manifests": [5]}'])
def test_what_is_no_index_is_begun_again(body: bytes) -> None:
    player = attached(response(200, body=body), response(200, body=body), response(201))
    written = json.loads(bytes(player.requests[2].body))  # type: ignore[arg-type]  # bytes
    assert len(written["manifests"]) == 1


def test_an_index_that_may_not_be_written_is_a_refusal() -> None:
    player = FlowPlayer(responses(response(404), response(404), refuse(400, "MANIFEST_INVALID")))
    with pytest.raises(PushRejected, match="pushing the manifest: HTTP 400"):
        player.play(attach_flow(player.exchange, pushed(), ATTACHMENT))
