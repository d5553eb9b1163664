"""A manifest is read as it says, or refused in words; its bytes stay what they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.strategies import json_values

from ollama_push.core.registry.manifests import Manifest, checked_digest, digest_of, hex_of

pytestmark = pytest.mark.slow

_hex = st.text(st.sampled_from("0123456789abcdef"), min_size=64, max_size=64)
_digests = st.builds("sha256{}{}".format, st.sampled_from(":-"), _hex | _hex.map(str.upper))
_entries = st.fixed_dictionaries(
    {"digest": _digests, "size": st.integers(0, 2**60)},
    optional={"mediaType": st.text(max_size=9), "from": st.text(max_size=9)},
)
_keys = st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "digest", "size", "from"])
_odd = st.recursive(
    json_values, lambda inner: st.dictionaries(_keys, inner, max_size=5) | st.lists(inner, max_size=3), max_leaves=8
)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(
    st.binary(max_size=60)
    | _odd.map(_dump)
    | st.builds(lambda layers: _dump({"layers": layers}), st.lists(_entries | _odd))
)
def test_anything_is_a_manifest_or_refused_in_words(raw: bytes) -> None:
    try:
        manifest = Manifest.parse(raw)
    except ValueError:
        return
    assert manifest.raw == raw
    assert all(checked_digest(blob.digest) == blob.digest and blob.size >= 0 for blob in manifest.blobs)
    assert len({blob.digest for blob in manifest.blobs}) == len(manifest.blobs)


def _digest_in(entry: Any) -> str:
    return checked_digest(entry["digest"])


@given(st.lists(_entries, max_size=4, unique_by=_digest_in), st.none() | _entries)
def test_the_layers_come_in_order_and_the_config_last(
    layers: list[dict[str, Any]], config: dict[str, Any] | None
) -> None:
    entries = [*layers, *([config] if config and not _is_among(config, layers) else [])]
    manifest = Manifest.parse(_dump({"layers": layers, "config": entries[-1] if len(entries) > len(layers) else {}}))
    assert [(blob.digest, blob.size, blob.media_type, blob.mount_from) for blob in manifest.blobs] == [
        (checked_digest(e["digest"]), e["size"], e.get("mediaType", ""), e.get("from", "")) for e in entries
    ]
    assert manifest.total_bytes == sum(entry["size"] for entry in entries)


def _is_among(config: dict[str, Any], layers: list[dict[str, Any]]) -> bool:
    return checked_digest(config["digest"]) in {checked_digest(layer["digest"]) for layer in layers}


@given(st.binary(max_size=100))
def test_a_digest_is_its_own_spelling(data: bytes) -> None:
    digest = digest_of(data)
    assert checked_digest(digest) == digest == f"sha256:{hex_of(digest)}"
    assert checked_digest(digest.upper().replace("SHA256:", "sha256-")) == digest
