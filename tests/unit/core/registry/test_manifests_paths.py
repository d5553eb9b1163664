"""Paths in a model store are Ollama's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from ollama_push.core.names import ModelName
from ollama_push.core.registry.manifests import BLOBS, blob_path, manifest_path

_CASES: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[3] / "data" / "cases" / "names.json").read_text("utf-8")
)["tables"]["GetBlobsPath"]["cases"]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_blob_paths_are_upstream_s(case: dict[str, Any]) -> None:
    if error := case.get("expected_error"):
        with pytest.raises(ValueError, match=error):
            blob_path(case["input"])
    else:
        # Upstream, an empty digest means the folder of all blobs.
        path = blob_path(case["input"]) if case["input"] else BLOBS
        assert f"<M>/{path}" == case["expected"]


@pytest.mark.parametrize("text", ["my-llama", "team/my-llama:v1", "localhost:5000/Team/my-llama"])
def test_a_manifest_s_path_names_its_model(text: str) -> None:
    name = ModelName.parse_local(text)
    assert ModelName.from_store_path(manifest_path(name).removeprefix("manifests/")) == name
