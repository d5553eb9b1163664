"""From every kind of place to every other: what arrives is, byte for byte, what left."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.copies import LAYERS, Copier, Places, attach, copy, copy_awaited, either_client, places, plan
from tests.support.stores import CONFIG

from ollama_push.client import _guest
from ollama_push.core.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidSetting,
    OllamaPushError,
    PushRejected,
    RejectionReason,
)
from ollama_push.core.events import LayerProgress, PushPlanned, PushSucceeded
from ollama_push.core.facts import PlaceFailed, PlaceProblem, Side
from ollama_push.core.names import ModelName
from ollama_push.core.observations import EventSeen, Observation, PushFinished, RequestRetried
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.places import AsyncReadRange, ReadRange
from ollama_push.core.registry.target import RegistryModel
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileModel, ModelStore, OciArchive, OciLayout, StoreTarget
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Quirks, Reply
from ollama_push.transports import AiohttpTransport, Urllib3Transport

pytestmark = pytest.mark.slow

BLOBS: Final = {digest_of(data): data for data in (*LAYERS, CONFIG)}
WEIGHTS: Final = digest_of(LAYERS[0])
ARRIVED: Final = ModelName.parse("team/arrived:v1")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Places]:
    with places(tmp_path) as here:
        yield here


class Kept:
    """Blobs and a manifest in memory, as a third party's target and source keeps them."""

    label = "kept"
    at_once = 2

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.raw = b""
        self.closed = False

    def has(self, blob: Descriptor, /) -> bool:
        return blob.digest in self.blobs

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        self.blobs[blob.digest] = b"".join(map(bytes, read(0, blob.size)))

    def put_manifest(self, manifest: Manifest, /) -> None:
        self.raw = manifest.raw

    def read_manifest(self) -> bytes:
        return self.raw

    def read_blob(self, digest: str, offset: int, size: int, /) -> Iterator[bytes]:
        yield self.blobs[digest][offset : offset + size]

    def close(self) -> None:
        self.closed = True


def of_registry(registry: EmbeddedRegistry, repository: str) -> tuple[bytes | None, dict[str, bytes | None]]:
    return registry.manifest(repository, "v1"), {digest: registry.blob(digest) for digest in BLOBS}


def of_files(model: FileModel) -> tuple[bytes, dict[str, bytes]]:
    blobs = {
        blob.digest: b"".join(map(bytes, model.read_blob(blob.digest, 0, blob.size))) for blob in model.manifest.blobs
    }
    return model.read_manifest(), blobs


_SOURCES: Final[Mapping[str, Callable[[Places], Any]]] = {
    "store": lambda _here: "my-llama",
    "registry": lambda here: f"{here.first.host}/team/from:v1",
    "layout": lambda here: f"oci:{here.home / 'from'}",
    "archive": lambda here: f"oci-archive:{here.home / 'from.tar'}",
    "own": lambda here: here.home,  # replaced by an object
}
_TARGETS: Final[Mapping[str, tuple[Callable[[Places], Any], Callable[[Places], Any]]]] = {
    "store": (
        lambda here: StoreTarget(ModelStore(here.home / "other"), ARRIVED),
        lambda here: of_files(FileModel.of(ModelStore(here.home / "other").load(ARRIVED))),
    ),
    "registry": (
        lambda here: f"{here.second.host}/team/arrived:v1",
        lambda here: of_registry(here.second, "team/arrived"),
    ),
    "layout": (
        lambda here: f"oci:{here.home / 'to'}:v1",
        lambda here: of_files(OciLayout(here.home / "to").model("v1")),
    ),
    "archive": (
        lambda here: f"oci-archive:{here.home / 'to.tar'}:v1",
        lambda here: of_files(OciArchive(here.home / "to.tar").model("v1")),
    ),
}


def prepared(here: Places, kind: str) -> Any:
    """Return the source of *kind*, with the model in it."""
    if kind == "store":
        return "my-llama"
    if kind == "own":
        kept = Kept()
        copy(here, "my-llama", kept)
        return kept
    source = _SOURCES[kind](here)
    copy(here, "my-llama", source)
    return source


# Files to files are the same code whichever files they are.
_PAIRS: Final = [
    pytest.param(source, target, marks=[] if "registry" in (source, target) else pytest.mark.slow)
    for source, target in product(_SOURCES, _TARGETS)
]


@either_client
@pytest.mark.parametrize(("source", "target"), _PAIRS)
def test_what_arrives_is_what_left(source: str, target: str, copier: Copier, machine: Places) -> None:
    where, look = _TARGETS[target]
    receipt = copier(machine, prepared(machine, source), where(machine))
    assert look(machine) == (machine.manifest, BLOBS)
    assert receipt.manifest_digest == digest_of(machine.manifest)
    assert receipt.total_bytes == sum(map(len, BLOBS.values()))
    assert receipt.sent_bytes == receipt.total_bytes
    assert receipt.verified


@either_client
@pytest.mark.parametrize("source", _SOURCES)
def test_a_targets_object_of_others_gets_all_and_is_not_closed(source: str, copier: Copier, machine: Places) -> None:
    kept = Kept()
    copier(machine, prepared(machine, source), kept)
    assert (kept.raw, kept.blobs, kept.closed) == (machine.manifest, BLOBS, False)


@either_client
@pytest.mark.parametrize("target", [each for each in _TARGETS if each != "archive"])
def test_a_second_copy_moves_nothing(target: str, copier: Copier, machine: Places) -> None:
    where, look = _TARGETS[target]
    copier(machine, "my-llama", where(machine))
    receipt = copier(machine, "my-llama", where(machine))
    assert (receipt.sent_bytes, receipt.skipped_bytes) == (0, receipt.total_bytes)
    assert look(machine) == (machine.manifest, BLOBS)


@either_client
def test_one_registry_takes_blobs_from_its_other_repository(copier: Copier, machine: Places) -> None:
    source = prepared(machine, "registry")
    receipt = copier(machine, source, f"{machine.first.host}/team/arrived:v1")
    assert (receipt.sent_bytes, receipt.skipped_bytes) == (0, receipt.total_bytes)
    assert of_registry(machine.first, "team/arrived") == (machine.manifest, BLOBS)


@either_client
def test_a_mirror_never_asks_for_the_root_of_either_registry(copier: Copier, machine: Places) -> None:
    copier(machine, prepared(machine, "registry"), f"{machine.second.host}/team/arrived:v1")
    asked = [seen.path for registry in (machine.first, machine.second) for seen in registry.requests]
    assert asked
    assert "/v2/" not in asked


class Breaking:
    """A transport whose first downloads of the weights break: after so many bytes each."""

    def __init__(self, after: list[int]) -> None:
        self.after = after
        self.ranges: list[str] = []

    def limit(self, request: HttpRequest) -> int | None:
        """Return after how many bytes the body of the response breaks."""
        spans = request.headers.get("Range", "")
        if WEIGHTS not in request.url or request.method != "GET" or spans == "bytes=0-0":
            return None
        self.ranges.append(spans)
        return self.after.pop(0) if self.after else None


class BreakingSync(Breaking):
    def __init__(self, after: list[int]) -> None:
        super().__init__(after)
        self._real = Urllib3Transport()

    @contextmanager
    def open(self, request: HttpRequest, /) -> Iterator[Any]:
        limit = self.limit(request)
        with self._real.open(request) as response:
            yield (
                response
                if limit is None
                else SimpleNamespace(
                    status=response.status, headers=response.headers, chunks=lambda: self._cut(response.chunks(), limit)
                )
            )

    @staticmethod
    def _cut(chunks: Iterator[bytes], left: int) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise ConnectionLost("http://127.0.0.1", "cut")

    def close(self) -> None:
        self._real.close()


class BreakingAsync(Breaking):
    def __init__(self, after: list[int]) -> None:
        super().__init__(after)
        self._real = AiohttpTransport()

    @asynccontextmanager
    async def open(self, request: HttpRequest, /) -> AsyncIterator[Any]:
        limit = self.limit(request)
        async with self._real.open(request) as response:
            yield (
                response
                if limit is None
                else SimpleNamespace(
                    status=response.status, headers=response.headers, chunks=lambda: self._cut(response.chunks(), limit)
                )
            )

    @staticmethod
    async def _cut(chunks: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise ConnectionLost("http://127.0.0.1", "cut")

    async def aclose(self) -> None:
        await self._real.aclose()


def breaking(copier: Copier, after: list[int]) -> Any:
    return BreakingSync(after) if copier is copy else BreakingAsync(after)


@either_client
@pytest.mark.parametrize("target", _TARGETS)
def test_reading_goes_on_where_it_broke(target: str, copier: Copier, machine: Places) -> None:
    where, look = _TARGETS[target]
    transport = breaking(copier, [100_000, 70_000, 1])
    seen: list[Observation] = []
    source = prepared(machine, "registry")
    receipt = copier(machine, source, where(machine), [seen.append], transport=transport, concurrency=1)
    assert look(machine) == (machine.manifest, BLOBS)
    starts = [int(span.removeprefix("bytes=").partition("-")[0]) for span in transport.ranges]
    assert starts[:4] == [0, 100_000, 170_000, 170_001]
    assert len([each for each in seen if isinstance(each, RequestRetried)]) == 3
    assert receipt.sent_bytes == receipt.total_bytes


@either_client
def test_a_source_that_cannot_be_read_any_more_is_to_blame(copier: Copier, machine: Places) -> None:
    transport = breaking(copier, [0] * 50)
    with pytest.raises(PushRejected, match=r"the source .*team/from:v1 failed: the connection .* broke") as caught:
        copier(machine, prepared(machine, "registry"), f"{machine.second.host}/team/arrived:v1", transport=transport)
    assert caught.value.reason is RejectionReason.SOURCE_FAILED
    assert len(transport.ranges) == 4
    assert machine.second.manifest("team/arrived", "v1") is None


@either_client
def test_a_registry_that_redirects_to_its_storage_is_read(copier: Copier, tmp_path: Path) -> None:
    with places(tmp_path, quirks=Quirks(redirect_blobs=True)) as machine:
        copier(machine, prepared(machine, "registry"), f"oci:{tmp_path / 'to'}:v1")
        assert _TARGETS["layout"][1](machine) == (machine.manifest, BLOBS)


@either_client
def test_a_manifest_that_was_damaged_on_its_way_is_read_again(copier: Copier, machine: Places) -> None:
    """Found by the fault laboratory: the copy of another manifest was a success."""
    source = prepared(machine, "registry")
    headers = {"Docker-Content-Digest": digest_of(machine.manifest)}
    machine.first.add_fault(Fault("GET", "/manifests/", action=Reply(200, headers, machine.manifest + b" ")))
    copier(machine, source, f"{machine.second.host}/team/arrived:v1")
    assert machine.second.manifest("team/arrived", "v1") == machine.manifest


class Failing:
    """A target whose disk is full after the first piece of a blob."""

    label, at_once = "failing", 1

    def has(self, _blob: Descriptor, /) -> bool:
        return False

    def put_blob(self, blob: Descriptor, read: ReadRange, /) -> None:
        pieces = iter(read(0, blob.size))
        next(pieces)
        raise OSError("no space left")

    def put_manifest(self, _manifest: Manifest, /) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


@either_client
def test_a_target_that_fails_leaves_nothing_of_the_source_open(copier: Copier, machine: Places) -> None:
    """Found by the fault laboratory: the connection to the source was left to the garbage collector."""
    kept, ended = prepared(machine, "own"), list[str]()

    def read(digest: str, offset: int, size: int) -> Iterator[bytes]:
        try:
            for place in range(offset, offset + size, 1000):
                yield kept.blobs[digest][place : min(place + 1000, offset + size)]
        finally:
            ended.append(digest)

    kept.read_blob = read
    with pytest.raises(PushRejected, match="no space left") as caught:
        copier(machine, kept, Failing())
    # While somebody keeps the error, and with it all frames.
    assert caught.value.__cause__ is not None
    assert ended == [WEIGHTS]


def flipped(kept: Kept) -> None:
    kept.blobs[WEIGHTS] = b"!" + kept.blobs[WEIGHTS][1:]


def cut(kept: Kept) -> None:
    kept.blobs[WEIGHTS] = kept.blobs[WEIGHTS][:-1]


def padded(kept: Kept) -> None:
    kept.read_blob = lambda digest, offset, size: iter([kept.blobs[digest][offset : offset + size], b"more"])  # type: ignore[method-assign]  # a fault


def lost(kept: Kept) -> None:
    del kept.blobs[WEIGHTS]


_DAMAGES: Final[Mapping[str, tuple[Callable[[Kept], None], str]]] = {
    "flipped": (flipped, f"what the source kept gives as {WEIGHTS} are other bytes"),
    "cut": (cut, f"{WEIGHTS} ends too early in the source kept"),
    "padded": (padded, "has too many bytes in the source kept"),
    "lost": (lost, f"the source kept failed: KeyError\\('{WEIGHTS}'\\)"),
}


@either_client
@pytest.mark.parametrize("damage", _DAMAGES)
@pytest.mark.parametrize(
    "target", ["registry", "store", *(pytest.param(each, marks=pytest.mark.slow) for each in ("layout", "archive"))]
)
def test_a_damaged_source_leaves_no_model_anywhere(target: str, damage: str, copier: Copier, machine: Places) -> None:
    where, look = _TARGETS[target]
    kept = prepared(machine, "own")
    inflict, said = _DAMAGES[damage]
    inflict(kept)
    with pytest.raises(PushRejected, match=said):
        copier(machine, kept, where(machine))
    if target == "registry":
        assert machine.second.manifest("team/arrived", "v1") is None
        assert machine.second.blob(WEIGHTS) is None
    else:
        with pytest.raises(OllamaPushError):
            look(machine)


@either_client
@pytest.mark.parametrize("target", ["registry", "layout"])
def test_what_broke_is_resumed_by_the_next_copy(target: str, copier: Copier, machine: Places) -> None:
    where, look = _TARGETS[target]
    kept = prepared(machine, "own")
    whole: Callable[[str, int, int], Iterator[bytes]] = kept.read_blob
    reads: list[tuple[int, int]] = []

    def fails(digest: str, offset: int, size: int) -> Iterator[bytes]:
        data = b"".join(whole(digest, offset, size))
        if digest == WEIGHTS and offset + size > 2_000_000:
            yield data[: 2_000_000 - offset]
            raise OSError("the disk is gone")
        yield data

    kept.read_blob = fails
    with pytest.raises(PushRejected, match="the source kept failed: OSError"):
        copier(machine, kept, where(machine), concurrency=1)

    def noted(digest: str, offset: int, size: int) -> Iterator[bytes]:
        if digest == WEIGHTS:
            reads.append((offset, size))
        return whole(digest, offset, size)

    kept.read_blob = noted
    receipt = copier(machine, kept, where(machine), concurrency=1)
    assert look(machine) == (machine.manifest, BLOBS)
    assert reads[0][0] >= MIB
    assert receipt.resumed_bytes == reads[0][0]


@either_client
def test_a_login_for_the_target_is_not_shown_to_the_sources_registry(copier: Copier, tmp_path: Path) -> None:
    with places(tmp_path, auth=BasicAuth({"ann": "s3cret-of-ann"})) as machine:
        source = prepared(machine, "registry")
        asked = len(machine.first.requests)
        with pytest.raises(PushRejected, match="wants a login") as caught:
            copier(machine, source, f"{machine.second.host}/team/arrived:v1")
        assert caught.value.reason is RejectionReason.UNAUTHORIZED
        assert not any(seen.had_authorization for seen in machine.first.requests[asked:])
        assert copier(machine, source, f"{machine.first.host}/team/arrived:v1").verified


@either_client
def test_hooks_are_told_of_a_copy_as_of_a_push(copier: Copier, machine: Places) -> None:
    seen: list[Observation] = []
    copier(machine, "my-llama", f"oci:{machine.home / 'to'}", [seen.append])
    events = [each.event for each in seen if isinstance(each, EventSeen)]
    assert isinstance(events[0], PushPlanned)
    assert isinstance(events[-1], PushSucceeded)
    done = {event.digest: event.completed for event in events if isinstance(event, LayerProgress)}
    assert done == {digest: len(data) for digest, data in BLOBS.items()}
    assert isinstance(seen[-1], PushFinished)
    assert seen[-1].push.target == f"oci:{machine.home / 'to'}"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("target", _TARGETS)
def test_a_plan_says_what_is_missing_and_writes_nothing(target: str, machine: Places, *, awaited: bool) -> None:
    where, _look = _TARGETS[target]
    planned = plan(machine, "my-llama", where(machine), awaited=awaited)
    assert planned.total_bytes == sum(map(len, BLOBS.values()))
    assert planned.missing_bytes == planned.total_bytes
    assert not any(machine.home.glob("to*"))
    assert not (machine.home / "other").exists()
    assert machine.second.received_bytes == 0


@either_client
def test_places_that_are_none_are_wrong_settings(copier: Copier, machine: Places) -> None:
    for source, target, said in [
        (5, f"oci:{machine.home / 'to'}", "source=5: expected a text"),
        ("my-llama", object, "target="),
        ("my-llama", "team/x", "say ollama:team/x or registry.ollama.ai/team/x"),
    ]:
        with pytest.raises(InvalidSetting, match=said):
            copier(machine, source, target)


@either_client
def test_a_source_registry_that_is_not_there_is_no_connection(copier: Copier, machine: Places) -> None:
    machine.first.stop()
    host, _, port = machine.first.host.partition(":")
    with socket.socket() as held:
        # Bound, but not listening: no other program gets the port meanwhile.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, int(port)))
        with pytest.raises(ConnectFailed):
            copier(machine, f"{machine.first.host}/team/from:v1", f"oci:{machine.home / 'to'}", retry=RetryPolicy(1))


@either_client
def test_a_model_that_a_registry_does_not_have_is_not_found(copier: Copier, machine: Places) -> None:
    with pytest.raises(PushRejected, match="holds no such model") as caught:
        copier(machine, RegistryModel(f"{machine.first.host}/team/no:v1", plain_http=True), "ollama:team/no")
    assert caught.value.reason is RejectionReason.MODEL_NOT_FOUND


@either_client
def test_a_target_that_fails_is_to_blame(copier: Copier, machine: Places) -> None:
    kept = Kept()

    def fails(_blob: Descriptor, _read: ReadRange) -> None:
        raise OSError("no room")

    kept.put_blob = fails  # type: ignore[method-assign]  # a fault
    with pytest.raises(PushRejected, match="the target kept failed: OSError") as caught:
        copier(machine, "my-llama", kept)
    assert caught.value.facts == PlaceFailed(Side.TARGET, "kept", PlaceProblem.BROKEN, words="OSError('no room')")
    assert kept.raw == b""


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("lists", [True, False], ids=["listed", "tagged"])
def test_a_file_is_attached_to_a_model(machine: Places, *, lists: bool, awaited: bool) -> None:
    name = f"{machine.first.host}/team/from:v1"
    prepared(machine, "registry")
    file = machine.home / "sbom.json"
    file.write_bytes(b'{"spdxVersion": "SPDX-2.3"}')
    if not lists:
        machine.first.add_fault(Fault("GET", "/referrers/", times=None, action=Reply(404)))
    receipt = attach(machine, name, file, "application/spdx+json", awaited=awaited)
    artifact = json.loads(machine.first.manifest("team/from", receipt.manifest_digest or "") or b"")
    assert artifact["subject"]["digest"] == digest_of(machine.manifest)
    assert machine.first.blob(artifact["layers"][0]["digest"]) == file.read_bytes()
    tag = machine.first.manifest("team/from", digest_of(machine.manifest).replace(":", "-"))
    assert (tag is None) == lists
    assert machine.first.manifest("team/from", "v1") == machine.manifest


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_what_cannot_be_attached_is_said_before_anything_is_sent(machine: Places, *, awaited: bool) -> None:
    name = f"{machine.first.host}/team/from:v1"
    prepared(machine, "registry")
    for file, media_type in [("nowhere", "a/b"), (str(machine.home / "from"), "a/b"), (__file__, "no type")]:
        with pytest.raises(InvalidSetting):
            attach(machine, name, file, media_type, awaited=awaited)
    with pytest.raises(PushRejected, match="holds no such model"):
        attach(machine, f"{machine.first.host}/team/none:v1", __file__, "a/b", awaited=awaited)


@either_client
def test_a_registry_that_bears_one_request_is_copied_within(
    copier: Copier, machine: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The part that is sent has the only turn, and is read from the same registry.
    source = prepared(machine, "registry")
    monkeypatch.setattr(_guest, "_MOST", 1)
    receipt = copier(machine, source, f"{machine.first.host}/team/arrived:v1", force_upload=True)
    assert receipt.sent_bytes == receipt.total_bytes
    assert of_registry(machine.first, "team/arrived") == (machine.manifest, BLOBS)


@either_client
@pytest.mark.parametrize("source", ["own", "registry"])
def test_a_registry_that_doubts_a_digest_is_sent_the_blob_again_once_the_source_is_sound(
    source: str, copier: Copier, machine: Places
) -> None:
    doubt = Reply(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    machine.second.add_fault(Fault("PUT", WEIGHTS.replace(":", "(?::|%3A)"), action=doubt))
    receipt = copier(machine, prepared(machine, source), f"{machine.second.host}/team/arrived:v1")
    assert of_registry(machine.second, "team/arrived") == (machine.manifest, BLOBS)
    assert (receipt.sent_bytes or 0) > (receipt.total_bytes or 0)


@either_client
def test_a_source_that_is_damaged_is_blamed_for_a_digest_that_a_registry_doubts(
    copier: Copier, machine: Places
) -> None:
    kept = prepared(machine, "own")
    doubt = Reply(400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    machine.second.add_fault(Fault("PUT", WEIGHTS.replace(":", "(?::|%3A)"), times=None, action=doubt))
    whole: Callable[[str, int, int], Iterator[bytes]] = kept.read_blob

    def damaged_when_read_as_a_whole(digest: str, offset: int, size: int) -> Iterator[bytes]:
        data = b"".join(whole(digest, offset, size))
        yield data[:-1] + b"!" if (digest, offset, size) == (WEIGHTS, 0, len(LAYERS[0])) else data

    kept.read_blob = damaged_when_read_as_a_whole
    with pytest.raises(PushRejected) as caught:
        copier(machine, kept, f"{machine.second.host}/team/arrived:v1")
    assert caught.value.reason is RejectionReason.STORE_DAMAGED


class AwaitedTarget:
    """A target whose calls are awaited."""

    label = "awaited"
    at_once = 2

    def __init__(self) -> None:
        self.kept = Kept()

    async def has(self, blob: Descriptor, /) -> bool:
        return self.kept.has(blob)

    async def put_blob(self, blob: Descriptor, read: AsyncReadRange, /) -> None:
        self.kept.blobs[blob.digest] = b"".join([bytes(piece) async for piece in read(0, blob.size)])

    async def put_manifest(self, manifest: Manifest, /) -> None:
        self.kept.put_manifest(manifest)

    async def aclose(self) -> None:
        self.kept.close()


@pytest.mark.parametrize("source", ["store", "registry", "own"])
def test_a_target_that_is_awaited_gets_all(source: str, machine: Places) -> None:
    target = AwaitedTarget()
    copy_awaited(machine, prepared(machine, source), target)
    assert (target.kept.raw, target.kept.blobs) == (machine.manifest, BLOBS)
