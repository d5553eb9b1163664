"""Every source and target that we ship keeps its promises, and every promise is proved able to fail."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from tests.support import broken_places as broken

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import PushRejected
from ollama_push.core.names import ModelName
from ollama_push.core.registry import places
from ollama_push.core.registry.manifests import blob_path, hex_of, manifest_path
from ollama_push.core.registry.places import ModelSource, ModelTarget
from ollama_push.local import (
    FileModel,
    ModelStore,
    NoResume,
    OciArchive,
    OciArchiveTarget,
    OciLayout,
    OciLayoutTarget,
    StoreTarget,
)
from ollama_push.testing._loop_thread import LoopThread
from ollama_push.testing.contract import (
    SOURCE_CLAUSES,
    TARGET_CLAUSES,
    MakeSource,
    MakeTargetPlace,
    PlaceClause,
    SampleModel,
    run_source_contract,
    run_target_contract,
)
from ollama_push.testing.contract._sample_models import SAMPLE
from ollama_push.testing.registry import EmbeddedRegistry

T = TypeVar("T")

NAME: Final = ModelName.parse("team/sample:v1")


def stored(model: SampleModel, folder: Path) -> ModelSource:
    root = folder / "models"
    for digest, data in model.blobs.items():
        (root / blob_path(digest)).parent.mkdir(parents=True, exist_ok=True)
        (root / blob_path(digest)).write_bytes(data)
    (root / manifest_path(NAME)).parent.mkdir(parents=True)
    (root / manifest_path(NAME)).write_bytes(model.manifest)
    return FileModel.of(ModelStore(root).load(NAME))


def in_layout(model: SampleModel, folder: Path) -> ModelSource:
    target = OciLayoutTarget(folder / "layout")
    whole = sound(model)
    put(target, whole)
    for digest in whole.blobs:
        path = folder / "layout" / "blobs" / "sha256" / hex_of(digest)
        path.unlink()
        if digest in model.blobs:
            path.write_bytes(model.blobs[digest])
    return OciLayout(folder / "layout").model()


def in_archive(model: SampleModel, folder: Path) -> ModelSource:
    whole = sound(model)
    target = OciArchiveTarget(folder / "models.tar")
    put(target, whole)
    if model == whole:
        return OciArchive(folder / "models.tar").model()
    # The same archive, without the blob or with a short one: it is cut out of the middle.
    raw = (folder / "models.tar").read_bytes()
    digest, data = next((each, held) for each, held in whole.blobs.items() if model.blobs.get(each) != held)
    start = raw.index(f"blobs/sha256/{hex_of(digest)}".encode())
    (folder / "models.tar").write_bytes(raw[:start] + raw[start + 512 + len(data) + -len(data) % 512 :])
    return OciArchive(folder / "models.tar").model()


def sound(model: SampleModel) -> SampleModel:
    """Return the model that *model* was before it was damaged."""
    return SAMPLE if model.manifest == SAMPLE.manifest else model


def put(target: ModelTarget, model: SampleModel) -> None:
    for blob in model.parsed.blobs:
        target.put_blob(blob, model.reader(blob.digest))
    target.put_manifest(model.parsed)
    target.close()


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[], Path]:
    numbers = iter(range(1000))

    def new() -> Path:
        path = tmp_path / str(next(numbers))
        path.mkdir()
        return path

    return new


@pytest.mark.parametrize("make", [stored, in_layout, in_archive], ids=["store", "layout", "archive"])
@pytest.mark.parametrize("clause", SOURCE_CLAUSES, ids=str)
def test_source_keeps(
    clause: PlaceClause[MakeSource],
    make: Callable[[SampleModel, Path], ModelSource],
    folders: Callable[[], Path],
) -> None:
    clause.check(lambda model: make(model, folders()))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(tmp_path / "registry") as running:
        yield running


def damage(registry: EmbeddedRegistry, model: SampleModel) -> None:
    for digest, data in sound(model).blobs.items():
        if digest not in model.blobs:
            registry.blob_path(digest).unlink()
        elif model.blobs[digest] != data:
            registry.blob_path(digest).write_bytes(model.blobs[digest])


@pytest.mark.parametrize("clause", SOURCE_CLAUSES, ids=str)
def test_a_registry_keeps(
    clause: PlaceClause[MakeSource], registry: EmbeddedRegistry, folders: Callable[[], Path]
) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(RegistryClient(plain_http=True, resume=NoResume(), credentials=("a", "b")))
        name = f"{registry.host}/team/sample:v1"

        def make(model: SampleModel) -> ModelSource:
            client.copy(stored(sound(model), folders()), name)
            damage(registry, model)
            return stack.enter_context(client.source(name))

        clause.check(make)


class Awaited:
    """A source of the async client as a sync one: each step is awaited on an event loop in a thread."""

    def __init__(self, thread: LoopThread[AsyncRegistryClient], name: str) -> None:
        self._loop = thread.loop
        self._block = thread.value.source(name)
        self._source = self._wait(self._block.__aenter__())
        self.label = self._source.label

    def _wait(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(60)

    def read_manifest(self) -> bytes:
        return self._wait(self._source.read_manifest())

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes | memoryview]:
        return self._pieces(self._source.read_blob(digest, offset, size))

    def _pieces(self, pieces: AsyncIterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        async def following() -> bytes | memoryview | None:
            return await anext(pieces, None)

        while (piece := self._wait(following())) is not None:
            yield piece

    def close(self) -> None:
        self._wait(self._source.aclose())


@pytest.mark.slow
@pytest.mark.parametrize("clause", SOURCE_CLAUSES, ids=str)
def test_a_registry_keeps_when_it_is_awaited(
    clause: PlaceClause[MakeSource], registry: EmbeddedRegistry, folders: Callable[[], Path]
) -> None:
    settings: dict[str, Any] = {"plain_http": True, "resume": NoResume(), "credentials": ("a", "b")}
    name = f"{registry.host}/team/sample:v1"
    with (
        RegistryClient(**settings) as client,
        closing(LoopThread(lambda: AsyncRegistryClient(**settings), "x")) as loop,
    ):

        def make(model: SampleModel) -> ModelSource:
            client.copy(stored(sound(model), folders()), name)
            damage(registry, model)
            return Awaited(loop, name)

        clause.check(make)


class StorePlace:
    def __init__(self, folder: Path) -> None:
        self.store = ModelStore(folder / "models")

    def target(self) -> ModelTarget:
        return StoreTarget(self.store, NAME)

    def read(self) -> SampleModel | None:
        return read(lambda: FileModel.of(self.store.load(NAME))) if self.store.root.exists() else None


class LayoutPlace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "layout"

    def target(self) -> ModelTarget:
        return OciLayoutTarget(self.folder, "x")

    def read(self) -> SampleModel | None:
        return read(lambda: OciLayout(self.folder).model("x"))


class ArchivePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "models.tar"

    def target(self) -> ModelTarget:
        return OciArchiveTarget(self.path, "x")

    def read(self) -> SampleModel | None:
        return read(lambda: OciArchive(self.path).model("x"))


def read(find: Callable[[], FileModel]) -> SampleModel | None:
    try:
        model = find()
    except PushRejected:
        return None
    blobs = {
        blob.digest: b"".join(map(bytes, model.read_blob(blob.digest, 0, blob.size))) for blob in model.manifest.blobs
    }
    return SampleModel(model.read_manifest(), blobs)


@pytest.mark.parametrize("place", [StorePlace, LayoutPlace, ArchivePlace])
@pytest.mark.parametrize("clause", TARGET_CLAUSES, ids=str)
def test_target_keeps(
    clause: PlaceClause[MakeTargetPlace],
    place: type[StorePlace | LayoutPlace | ArchivePlace],
    folders: Callable[[], Path],
) -> None:
    clause.check(lambda: place(folders()))


_SOURCES_CAUGHT: Final[list[tuple[str, type[broken.SoundSource], str]]] = [
    ("S1", broken.WritesTheManifestAgain, "the manifest has"),
    ("S1", broken.ForgetsTheManifest, "the manifest has 2 bytes"),
    ("S1", broken.HasNoLabel, "it has no label"),
    ("S2 whole blobs", broken.LosesTheLastByte, "bytes instead of"),
    ("S3 any range", broken.IgnoresTheOffset, "has other bytes"),
    ("S3 any range", broken.IgnoresTheSize, "bytes instead of 1"),
    ("S3 any range", broken.GivesWholePieces, "bytes instead of"),
    ("S3 any range", broken.ReadsForwardOnly, "bytes instead of"),
    ("S3 empty ranges", broken.GivesAByteForNothing, "has 1 bytes instead of 0"),
    ("S4", broken.ReadsForwardOnly, "bytes instead of"),
    ("S4", broken.ReusesOneBuffer, "has other bytes"),
    ("S5 missing", broken.EndsQuietly, "0 of 307207 bytes were given, and no error raised"),
    ("S5 missing", broken.LeaksKeyErrors, "KeyError"),
    ("S5 short", broken.EndsQuietly, "307206 of 307207 bytes were given, and no error raised"),
    ("S5 short", broken.FillsUpWithZeros, "307207 of 307207 bytes were given, and no error raised"),
    ("S5 short", broken.FindsOutTooLate, "the range was complete before the error came"),
    ("S6 unknown digest", broken.LeaksKeyErrors, "KeyError.* was raised, and not PushRejected"),
    ("S6 unknown digest", broken.EndsQuietly, "nothing was raised, and not PushRejected"),
    ("S6 behind the end", broken.EndsQuietly, "nothing was raised"),
    ("S7", broken.HasTenReads, "too many open files"),
    ("S8", broken.ReadsAfterClose, "nothing was raised, and not UsedAfterClose"),
    ("S8", broken.ClosesOnce, "UsedAfterClose"),
]

_TARGETS_CAUGHT: Final[list[tuple[str, type[broken.SoundTarget], str]]] = [
    ("D1", broken.HasEverything, "before it was put"),
    ("D1", broken.HasNothing, "that was put"),
    ("D1", broken.KnowsSizesOnly, "it has a blob that was never put"),
    ("D1", broken.ForgetsEmptyBlobs, "it has not the blob of 0 bytes"),
    ("D2", broken.ReadsBlocks, "it read .* from 0 on"),
    ("D3", broken.BelievesAnything, "nothing was raised"),
    ("D3", broken.ChecksSizesOnly, "nothing was raised"),
    ("D3", broken.KeepsWhatItRefuses, "the blob with a flipped byte is there"),
    ("D3 short", broken.BelievesAnything, "nothing was raised"),
    ("D4", broken.TranslatesErrors, "was raised, and not OSError"),
    ("D4", broken.SwallowsErrors, "nothing was raised, and not PushRejected"),
    ("D4", broken.KeepsHalfABlob, "the blob is there although its read failed"),
    ("D5 same run", broken.GivesUpForGood, "was raised where nothing should be"),
    ("D5 next run", broken.KeepsHalfABlob, "bytes|missing"),
    ("D5 next run", broken.ResumesWithoutProof, "was raised where nothing should be"),
    ("D6", broken.ShowsItAtOnce, "there is a model before the manifest was put"),
    ("D6", broken.WritesItAnew, "the manifest after the manifest was put has"),
    ("D7", broken.KeepsTheFirst, "the manifest after it replaced another has"),
    ("D8", broken.TakesIncompleteModels, "nothing was raised"),
    ("D8", broken.RemovesBeforeItRefuses, "there is no model after the manifest of another was refused"),
    ("D9", broken.TakesNothingAtOnce, "it takes 0 blobs at once"),
    ("D9", broken.PromisesTooMuch, "was raised where nothing should be"),
    ("D10", broken.RefusesASecondTime, "FileExistsError"),
    ("D11", broken.WorksAfterClose, "nothing was raised, and not UsedAfterClose"),
    ("D11", broken.FinishesOnClose, "there is a model after the target was closed"),
]


@pytest.mark.parametrize(("name", "kind", "seen"), _SOURCES_CAUGHT)
def test_a_broken_promise_of_a_source_is_caught(name: str, kind: type[broken.SoundSource], seen: str) -> None:
    clause = next(each for each in SOURCE_CLAUSES if str(each) == name)
    with pytest.raises(AssertionError, match=seen):
        clause.check(kind)


@pytest.mark.parametrize(("name", "kind", "seen"), _TARGETS_CAUGHT)
def test_a_broken_promise_of_a_target_is_caught(name: str, kind: type[broken.SoundTarget], seen: str) -> None:
    clause = next(each for each in TARGET_CLAUSES if str(each) == name)
    with pytest.raises(AssertionError, match=seen):
        clause.check(partial(broken.MemoryPlace, kind))


def test_what_the_broken_ones_are_made_from_keeps_every_promise() -> None:
    assert {name: seen for name, seen in run_source_contract(broken.SoundSource).items() if seen} == {}
    assert {name: seen for name, seen in run_target_contract(broken.MemoryPlace).items() if seen} == {}


def test_the_results_tell_kept_from_broken() -> None:
    results = run_source_contract(broken.HasNoLabel)
    assert {name: seen for name, seen in results.items() if seen} == {"S1": "it has no label"}


def test_every_clause_is_proved_able_to_fail_and_at_least_15_faults_are_caught() -> None:
    assert {name for name, _kind, _seen in _SOURCES_CAUGHT} == set(map(str, SOURCE_CLAUSES))
    assert {name for name, _kind, _seen in _TARGETS_CAUGHT} == set(map(str, TARGET_CLAUSES))
    assert len({kind for _name, kind, _seen in _SOURCES_CAUGHT}) >= 15
    assert len({kind for _name, kind, _seen in _TARGETS_CAUGHT}) >= 15


def test_every_promise_of_the_ports_has_a_clause() -> None:
    promised = re.findall(r"^([SD]\d+) ", places.__doc__ or "", re.MULTILINE)
    proved = [*(each.number for each in SOURCE_CLAUSES), *(each.number for each in TARGET_CLAUSES)]
    assert list(dict.fromkeys(proved)) == promised
