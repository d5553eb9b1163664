"""The sources in ``examples/`` keep every promise, and are as short as they are said to be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from examples.folder_source import TITLE, folder_source
from examples.http_range_source import HttpRangeSource
from tests.support.blobs import digest_of
from tests.support.range_server import serving

from ollama_push import RegistryClient
from ollama_push.core.registry.places import ModelSource
from ollama_push.local import NoResume
from ollama_push.local.create.hashes import HashMemory
from ollama_push.testing.contract import SOURCE_CLAUSES, MakeSource, PlaceClause, SampleModel
from ollama_push.testing.registry import EmbeddedRegistry

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[SampleModel], ModelSource]]:
    numbers = iter(range(1000))
    with serving(tmp_path) as url:

        def served(model: SampleModel) -> ModelSource:
            name = str(next(numbers))
            (tmp_path / name).mkdir()
            (tmp_path / name / "manifest.json").write_bytes(model.manifest)
            for digest, data in model.blobs.items():
                (tmp_path / name / digest.replace(":", "-")).write_bytes(data)
            return HttpRangeSource(f"{url}/{name}")

        yield served


@pytest.mark.parametrize("clause", SOURCE_CLAUSES, ids=str)
def test_the_source_of_http_ranges_keeps(
    clause: PlaceClause[MakeSource], make: Callable[[SampleModel], ModelSource]
) -> None:
    clause.check(make)


def test_the_source_of_http_ranges_is_short() -> None:
    assert len((EXAMPLES / "http_range_source.py").read_text("utf-8").splitlines()) < 80


def test_a_model_of_a_web_server_reaches_a_registry(make: Callable[[SampleModel], ModelSource], tmp_path: Path) -> None:
    model = SampleModel.of(b"weights" * 100_000, b"a template")
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        RegistryClient(plain_http=True, resume=NoResume(), credentials=("a", "b")) as client,
    ):
        client.copy(make(model), f"{registry.host}/team/x:v1")
        assert registry.manifest("team/x", "v1") == model.manifest
        assert {digest: registry.blob(digest) for digest in model.blobs} == model.blobs


def test_a_folder_of_files_becomes_an_artifact(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / ".git").mkdir()
    contents = {"config.json": b"{}\n", "model.safetensors": b"w" * 300_000, "onnx/model.onnx": b"o", "empty": b""}
    for name, data in {**contents, ".git/HEAD": b"ref", ".gitattributes": b"*"}.items():
        (folder / name).write_bytes(data)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        RegistryClient(plain_http=True, resume=NoResume(), credentials=("a", "b")) as client,
    ):
        client.copy(folder_source(folder, HashMemory(tmp_path / "cache")), f"{registry.host}/team/x:v1")
        manifest = json.loads(registry.manifest("team/x", "v1") or b"")
        assert {layer["annotations"][TITLE]: registry.blob(layer["digest"]) for layer in manifest["layers"]} == contents
        assert {layer["digest"] for layer in manifest["layers"]} == {digest_of(data) for data in contents.values()}
