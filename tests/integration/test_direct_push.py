"""A push straight to Debian's registry, and what other people's clients say of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import oras.client  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.support.blobs import digest_of
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import BIG, SMALL, Colour, Direct, either_colour, push, stored
from tests.support.registries import CRANE, DEBIAN_REGISTRY, RealRegistry, needs_debian_registry
from tests.support.stores import CONFIG, descriptor, put_blob, put_manifest

from ollama_push.local import NoResume

_PATIENCE_SECONDS: Final = 30
_TEMPLATE: Final = b"{{ .Prompt }}"
_BLOBS: Final = (BIG, SMALL, _TEMPLATE, CONFIG)
_DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"
_OCI: Final = "application/vnd.oci.image.manifest.v1+json"
_SKOPEO: Final = shutil.which("skopeo")

pytestmark = needs_debian_registry
needs_skopeo = pytest.mark.skipif(_SKOPEO is None, reason="skopeo is not installed: apt-get install skopeo")
needs_crane = pytest.mark.skipif(
    CRANE is None, reason="crane is not installed: make test-all does it where Go is on the PATH"
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    with RealRegistry(DEBIAN_REGISTRY, tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def proxy(registry: RealRegistry) -> Iterator[CountingProxy]:
    with CountingProxy(registry.host) as proxy:
        yield proxy


def _run(*command: str | Path | None) -> bytes:
    done = subprocess.run([str(word) for word in command], timeout=_PATIENCE_SECONDS, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _model(home: Path, model: str, media_type: str, *layers: dict[str, Any]) -> bytes:
    config = descriptor(CONFIG, "application/vnd.docker.container.image.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
    raw = json.dumps(manifest).encode()
    put_manifest(home / "models", f"registry.ollama.ai/library/{model}/latest", raw)
    return raw


@either_colour
def test_the_registry_holds_exactly_what_the_store_holds(
    colour: Colour, registry: RealRegistry, proxy: CountingProxy, tmp_path: Path
) -> None:
    raw = stored(tmp_path, BIG, SMALL, _TEMPLATE)
    told = colour(Direct(host=proxy.host, home=tmp_path, credentials=None))
    assert told.error is None
    assert told.receipt is not None
    assert told.receipt.manifest_digest == digest_of(raw)
    assert told.receipt.sent_bytes == sum(map(len, _BLOBS))
    assert told.receipt.verified
    assert registry.blob_path(digest_of(raw)).read_bytes() == raw
    for blob in _BLOBS:
        assert (
            hashlib.sha256(registry.blob_path(digest_of(blob)).read_bytes()).digest() == hashlib.sha256(blob).digest()
        )


@either_colour
def test_a_second_push_sends_nothing_but_questions(colour: Colour, proxy: CountingProxy, tmp_path: Path) -> None:
    stored(tmp_path, BIG, SMALL, _TEMPLATE)
    asked = Direct(host=proxy.host, home=tmp_path, credentials=None)
    assert colour(asked).error is None
    sent, before = proxy.body_bytes, len(proxy.passed)
    told = colour(asked)
    assert told.receipt is not None
    assert told.receipt.sent_bytes == 0
    assert told.receipt.skipped_bytes == told.receipt.total_bytes == sum(map(len, _BLOBS))
    assert proxy.body_bytes == sent
    again = proxy.passed[before:]
    assert {passed.method for passed in again} == {"HEAD", "GET"}
    read = [passed for passed in again if passed.method == "GET"]
    assert {passed.path for passed in read if "/blobs/" not in passed.path} == {f"/v2/{asked.repository}/manifests/v1"}
    assert all("bytes=0-0" in passed.head for passed in read if "/blobs/" in passed.path)
    assert len(again) <= 2 + 2 * len(_BLOBS)


@either_colour
def test_a_model_goes_out_under_another_name(colour: Colour, registry: RealRegistry, tmp_path: Path) -> None:
    raw = stored(tmp_path, SMALL)
    told = colour(
        Direct(host=registry.host, home=tmp_path, credentials=None, repository="team/another", source="my-llama")
    )
    assert told.receipt is not None
    assert told.receipt.model == f"{registry.host}/team/another:v1"
    assert registry.blob_path(digest_of(raw)).read_bytes() == raw
    assert [path.name for path in (tmp_path / "models" / "manifests").rglob("*") if path.is_file()] == ["latest"]


@either_colour
def test_a_layer_from_another_repository_of_the_registry_is_mounted(
    colour: Colour, proxy: CountingProxy, registry: RealRegistry, tmp_path: Path
) -> None:
    stored(tmp_path, BIG)
    assert colour(Direct(host=proxy.host, home=tmp_path, credentials=None, repository="library/base")).error is None
    adapter = b"a small adapter"
    put_blob(tmp_path / "models", adapter)
    base = {**descriptor(BIG), "from": f"{proxy.host}/library/base:v1"}
    _model(tmp_path, "tuned", _DOCKER, base, descriptor(adapter))
    before = proxy.body_bytes
    # As on another machine: only Ollama's own note says where the layer came from.
    told = colour(
        Direct(
            host=proxy.host,
            home=tmp_path,
            credentials=None,
            repository="team/tuned",
            source="tuned",
            resume=NoResume(),
        )
    )
    assert told.receipt is not None
    assert told.receipt.sent_bytes == len(adapter) + len(CONFIG)
    assert told.receipt.skipped_bytes == len(BIG)
    assert proxy.body_bytes - before < len(BIG) // 100
    assert any(f"mount={digest_of(BIG)}&from=library/base" in passed.path for passed in proxy.passed)


@needs_skopeo
def test_skopeo_reads_the_manifest_of_what_was_pushed(registry: RealRegistry, tmp_path: Path) -> None:
    raw = stored(tmp_path, BIG, SMALL, _TEMPLATE)
    asked = Direct(host=registry.host, home=tmp_path, credentials=None)
    assert push(asked).error is None
    assert _run(_SKOPEO, "inspect", "--raw", "--tls-verify=false", f"docker://{asked.name}") == raw


@needs_skopeo
def test_skopeo_copies_what_was_pushed(registry: RealRegistry, tmp_path: Path) -> None:
    # It refuses Ollama's media types in a manifest of docker's kind, whoever pushed it; OCI's kind allows any.
    raw = _model(tmp_path, "oci", _OCI, descriptor(BIG), descriptor(SMALL), descriptor(_TEMPLATE))
    for blob in _BLOBS:
        put_blob(tmp_path / "models", blob)
    asked = Direct(host=registry.host, home=tmp_path, credentials=None, source="oci")
    assert push(asked).error is None
    folder = tmp_path / "copy"
    source = f"docker://{asked.name}"
    _run(_SKOPEO, "--insecure-policy", "copy", "--src-tls-verify=false", "--preserve-digests", source, f"dir:{folder}")
    assert (folder / "manifest.json").read_bytes() == raw
    for blob in _BLOBS:
        assert (folder / digest_of(blob).removeprefix("sha256:")).read_bytes() == blob


@needs_crane
def test_crane_reads_what_was_pushed(registry: RealRegistry, tmp_path: Path) -> None:
    raw = stored(tmp_path, BIG, SMALL, _TEMPLATE)
    asked = Direct(host=registry.host, home=tmp_path, credentials=None)
    assert push(asked).error is None
    assert _run(CRANE, "manifest", "--insecure", asked.name) == raw
    assert _run(CRANE, "digest", "--insecure", asked.name).decode().strip() == digest_of(raw)
    for blob in _BLOBS:
        assert _run(CRANE, "blob", "--insecure", f"{registry.host}/{asked.repository}@{digest_of(blob)}") == blob


def test_oras_reads_what_was_pushed(registry: RealRegistry, tmp_path: Path) -> None:
    raw = stored(tmp_path, BIG, SMALL, _TEMPLATE)
    asked = Direct(host=registry.host, home=tmp_path, credentials=None)
    assert push(asked).error is None
    client = oras.client.OrasClient(hostname=registry.host, insecure=True)
    manifest = client.get_manifest(asked.name, allowed_media_type=[json.loads(raw)["mediaType"]])
    assert manifest == json.loads(raw)
    container = client.get_container(asked.name)
    for blob in _BLOBS:
        assert client.get_blob(container, digest_of(blob)).content == blob
