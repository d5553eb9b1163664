"""A real Ollama pushes by its own upload protocol to the embedded registry: it judges whether that speaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.push_responses import store_for
from tests.support.real_ollama import RealOllama, needs_ollama
from tests.support.stores import put_model

from ollama_push.core.names import ModelName
from ollama_push.testing.registry import EmbeddedRegistry, Quirks, Seen, SignedAuth

pytestmark = needs_ollama


def _signed(registry: EmbeddedRegistry) -> list[Seen]:
    return [seen for seen in registry.requests if seen.path.startswith("/signed/")]


@pytest.mark.parametrize("tensors", [False, True], ids=["layers", "tensors"])
@pytest.mark.parametrize(
    "quirks",
    [Quirks(redirect_uploads=True), Quirks(direct_uploads=True), Quirks(redirect_uploads=True, direct_uploads=True)],
    ids=["parts", "whole", "both"],
)
def test_a_stock_push_succeeds_in_both_forms(quirks: Quirks, tmp_path: Path, *, tensors: bool) -> None:
    store = store_for(tmp_path, "nowhere.example", tensors=tensors)
    with RealOllama(tmp_path / "home", store.root) as ollama:
        auth = SignedAuth([ollama.public_key])
        with EmbeddedRegistry(tmp_path / "registry", auth=auth, quirks=quirks) as registry:
            store_for(tmp_path, registry.host, tensors=tensors)
            name = "tensors" if tensors else "demo"
            response = ollama.push({"model": f"{registry.host}/team/{name}", "insecure": True})
            assert response.lines[-1] == {"status": "success"}
            model = store.load(ModelName.parse(f"{registry.host}/team/{name}"))
            for blob in model.manifest.blobs:
                assert registry.blob(blob.digest) == model.files[blob.digest].path.read_bytes()
            # Only tensors are asked for whole; nothing of a blob goes to the registry itself where it redirects.
            assert bool(_signed(registry)) == (quirks.redirect_uploads or tensors)
            assert not any(seen.had_authorization for seen in _signed(registry))


def test_parts_of_a_stock_push_arrive_out_of_order_and_its_etag_fits(tmp_path: Path) -> None:
    # Three parts: ollama makes none below 100 MB.
    layer = bytes(range(256)) * (220 * MIB // 256)
    put_model(tmp_path / "models", "nowhere.example/team/demo/latest", (layer,))
    with (
        RealOllama(tmp_path / "home", tmp_path / "models") as ollama,
        EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(redirect_uploads=True)) as registry,
    ):
        put_model(tmp_path / "models", f"{registry.host}/team/demo/latest", (layer,))
        response = ollama.push({"model": f"{registry.host}/team/demo", "insecure": True})
        assert response.lines[-1] == {"status": "success"}
        assert [seen.status for seen in _signed(registry)] == [200] * 4
        assert registry.blob_path(digest_of(layer)).stat().st_size == len(layer)
