"""Manifests: what is read from them, what they are refused for, and that they stay as they are."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"


def _parse(value: Any) -> Manifest:
    return Manifest.parse(json.dumps(value).encode())


def _layer(digest: str, size: Any = 1, **more: Any) -> dict[str, Any]:
    return {"digest": digest, "size": size, **more}


def test_layers_come_in_order_and_the_config_last() -> None:
    manifest = _parse(
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _layer(C, 3, mediaType="c"),
            "layers": [_layer(B, 2, **{"from": "h/a/b:c"}), _layer(A, 1, mediaType="m")],
        }
    )
    assert manifest.blobs == (Descriptor(B, 2, "", "h/a/b:c"), Descriptor(A, 1, "m"), Descriptor(C, 3, "c"))
    assert manifest.total_bytes == 6
    assert manifest.media_type == "application/vnd.oci.image.manifest.v1+json"


def test_its_bytes_are_kept_as_they_are() -> None:
    raw = b'{"layers" : [ ] , "x":1}\n'
    manifest = Manifest.parse(raw)
    assert manifest.raw == raw
    assert manifest.digest == digest_of(raw)
    assert "layers" not in repr(manifest)


@pytest.mark.parametrize("media_type", [None, "", 5])
def test_without_a_media_type_it_is_dockers(media_type: Any) -> None:
    assert _parse({"layers": [], "mediaType": media_type}).media_type == DOCKER


@pytest.mark.parametrize("media_type", ["a", "a/b\r\nX: y", "a/b; c=d", "/", "a/b/c"])
def test_a_media_type_that_no_header_could_hold_is_refused(media_type: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        _parse({"layers": [], "mediaType": media_type})


@pytest.mark.parametrize("config", [None, {}, {"digest": ""}, "x"])
def test_an_empty_config_is_no_blob(config: Any) -> None:
    assert _parse({"layers": [_layer(A)], "config": config}).blobs == (Descriptor(A, 1),)


def test_a_blob_counts_once() -> None:
    manifest = _parse({"layers": [_layer(A, 5), _layer(A.replace(":", "-"), 5)], "config": _layer(A, 5)})
    assert manifest.blobs == (Descriptor(A, 5),)


@pytest.mark.parametrize("odd", [5, None, ["x"]])
def test_odd_texts_are_none(odd: Any) -> None:
    assert _parse({"layers": [_layer(A, 1, mediaType=odd, **{"from": odd})]}).blobs == (Descriptor(A, 1),)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "no JSON"),
        (b'{"layers": [', "no JSON"),
        (b"\xff{}", "no JSON"),
        (b'{"layers": ' + b"[" * 100_000, "nested too deeply"),
        (b"[]", "no JSON object"),
        (b"{}", "no list of layers"),
        (b'{"layers": {}}', "no list of layers"),
        (b'{"layers": ["x"]}', "a layer of it is no object"),
        (b'{"layers": [{}]}', "a layer of it has no digest"),
        (b'{"layers": [{"digest": 5}]}', "a layer of it has no digest"),
        (b'{"layers": [{"digest": "x", "size": 1}]}', "invalid digest format"),
        *(
            (json.dumps({"layers": [_layer(A, size)]}).encode(), f"{A} has no size")
            for size in (None, -1, 1.0, True, "1", 2**100 + 1)
        ),
        (json.dumps({"layers": [_layer(A, 1), _layer(A, 2)]}).encode(), f"two sizes for {A}"),
        (json.dumps({"layers": [], "config": _layer("x")}).encode(), "invalid digest format"),
    ],
)
def test_is_refused_in_words(raw: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Manifest.parse(raw)
