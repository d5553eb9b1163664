"""What a source gave as a manifest, and the errors of places."""

from __future__ import annotations

import json

import pytest

from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.facts import PlaceProblem, Side
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES
from ollama_push.core.registry.places import manifest_of, place_failed

_DOCKER, _OCI = MANIFEST_MEDIA_TYPES


@pytest.mark.parametrize(
    ("media_type", "announced"),
    [({"mediaType": _DOCKER}, _DOCKER), ({"mediaType": _OCI}, _OCI), ({}, _OCI), ({"mediaType": ""}, _DOCKER)],
)
def test_only_an_oci_manifest_may_leave_its_media_type_out(media_type: dict[str, str], announced: str) -> None:
    raw = json.dumps({"schemaVersion": 2, **media_type, "layers": []}).encode()
    manifest = manifest_of(raw, "oci:x")
    assert (manifest.raw, manifest.media_type) == (raw, announced)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"manifests": []}', b"\xff"])
def test_what_is_no_manifest_of_a_model_is_the_sources_failure(raw: bytes) -> None:
    with pytest.raises(PushRejected, match="the source oci:x failed: what it gives as a manifest") as caught:
        manifest_of(raw, "oci:x")
    assert caught.value.reason is RejectionReason.SOURCE_FAILED
    assert caught.value.peer is None


@pytest.mark.parametrize(
    ("side", "problem", "reason"),
    [
        (Side.SOURCE, PlaceProblem.BROKEN, RejectionReason.SOURCE_FAILED),
        (Side.TARGET, PlaceProblem.BROKEN, RejectionReason.TARGET_FAILED),
        (Side.SOURCE, PlaceProblem.NO_MODEL, RejectionReason.MODEL_NOT_FOUND),
    ],
)
def test_the_reason_says_which_side_failed(side: Side, problem: PlaceProblem, reason: RejectionReason) -> None:
    assert place_failed(side, "x", problem).reason is reason
