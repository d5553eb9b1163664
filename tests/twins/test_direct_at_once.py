"""Many blobs and many pushes at the same time: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import digest_of
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    PATIENCE,
    REPOSITORY,
    SMALL,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    push,
    push_async,
    settings,
    steps,
    stored,
)
from tests.support.stores import CONFIG

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import PushRejected, RejectionReason
from ollama_push.core.events import LayerProgress, PushSucceeded
from ollama_push.core.observations import PushFinished
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Reset, TokenAuth

pytestmark = pytest.mark.slow

MANY: Final = tuple(random.Random(seed).randbytes(1000 + seed) for seed in range(40))
REPOSITORIES: Final = ("myuser/one", "myuser/two")


@either_colour
@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_many_blobs_arrive_whatever_goes_at_once(concurrency: int, colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path, *MANY)
    faults = [Fault("PUT", "/uploads/", nth=7), Fault("POST", nth=11, action=Reply(503, {"Retry-After": "0"}))]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=concurrency))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert all(registry.blob(digest_of(blob)) == blob for blob in MANY)
        assert Counter(steps(registry))["PUT commit"] == 42
        assert registry.received_bytes == sum(map(len, MANY)) + len(CONFIG)
        assert registry.sessions() == []
    assert told.receipt is not None
    assert len(told.receipt.layers) == 41
    done = {event.digest for event in told.events if isinstance(event, LayerProgress) and event.fraction == 1}
    assert len(done) == 41
    assert isinstance(told.events[-1], PushSucceeded)


@either_colour
def test_one_blob_that_fails_ends_them_all_with_its_own_error(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path, *MANY)
    bad = digest_of(MANY[5])
    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("PUT", bad, times=None, action=Reply(403))]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=4))
        counted = Counter(steps(registry))
        assert counted["PUT manifest"] == 0
        assert counted["POST open"] < 41
    assert isinstance(told.error, PushRejected)
    assert told.error.reason is RejectionReason.UNAUTHORIZED
    assert bad in told.error.message


def test_one_sync_client_pushes_to_two_repositories_at_once(tmp_path: Path) -> None:
    raw = stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asked = Direct(host=registry.host, home=tmp_path, concurrency=2)
        with RegistryClient(**settings(asked)) as client, ThreadPoolExecutor(2) as pool:
            names = [f"{registry.host}/{repository}:v1" for repository in REPOSITORIES]
            receipts = list(pool.map(lambda name: client.push(name, source="my-llama"), names, timeout=PATIENCE))
        both_are_there(registry, raw, receipts)


def test_one_async_client_pushes_to_two_repositories_at_once(tmp_path: Path) -> None:
    raw = stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> list[PushReceipt]:
        asked = Direct(host=registry.host, home=tmp_path, concurrency=2)
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**settings(asked)) as client:
            names = [f"{registry.host}/{repository}:v1" for repository in REPOSITORIES]
            return list(await asyncio.gather(*(client.push(name, source="my-llama") for name in names)))

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        both_are_there(registry, raw, asyncio.run(run(registry)))


def test_one_async_client_pushes_the_same_twice_at_once(tmp_path: Path) -> None:
    raw = stored(tmp_path)

    async def run(registry: EmbeddedRegistry) -> list[PushReceipt]:
        asked = Direct(host=registry.host, home=tmp_path)
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**settings(asked)) as client:
            return list(await asyncio.gather(*(client.push(asked.name, source="my-llama") for _ in range(2))))

    with EmbeddedRegistry(tmp_path / "registry", faults=[Fault("PATCH", nth=3), Fault("PUT", nth=2)]) as registry:
        receipts = asyncio.run(run(registry))
        assert registry.manifest("myuser/my-llama", "v1") == raw
    assert [receipt.verified for receipt in receipts] == [True, True]
    assert list((tmp_path / "uploads").glob("*.json")) == []


def both_are_there(registry: EmbeddedRegistry, raw: bytes, receipts: list[PushReceipt]) -> None:
    for repository, receipt in zip(REPOSITORIES, receipts, strict=True):
        assert registry.manifest(repository, "v1") == raw
        assert repository in receipt.model
        assert receipt.verified
        assert (receipt.sent_bytes or 0) + (receipt.skipped_bytes or 0) == TOTAL
    assert registry.received_bytes == sum(receipt.sent_bytes or 0 for receipt in receipts)
    assert registry.sessions() == []


@pytest.mark.parametrize("seed", range(3))
def test_two_clients_that_share_their_memory_do_not_share_a_session(seed: int, tmp_path: Path) -> None:
    """The same model to the same repository by a sync and an async client, over breaking connections."""
    raw = stored(tmp_path)
    rng = random.Random(seed)
    faults = [
        Fault("PATCH", nth=nth, after_bytes=rng.randrange(500_000), action=Reset())
        for nth in rng.sample(range(1, 6), 2)
    ]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry, ThreadPoolExecutor(2) as pool:
        one, two = (
            Direct(host=registry.host, home=tmp_path, resume=FileResumeStore(tmp_path / "uploads")) for _ in range(2)
        )
        first = pool.submit(push, one)
        second = pool.submit(asyncio.run, asyncio.wait_for(push_async(two), PATIENCE))
        told = [first.result(PATIENCE), second.result(PATIENCE)]
        assert [each.error for each in told] == [None, None]
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert registry.blob(BIG_DIGEST) == BIG
        assert registry.sessions() == []
    assert list((tmp_path / "uploads").glob("*.json")) == []


@either_colour
@pytest.mark.parametrize("uses", [2, 3, 5])
def test_tokens_that_expire_in_the_middle_of_an_upload_are_renewed(uses: int, colour: Colour, tmp_path: Path) -> None:
    """A token is good for so few requests, and nothing announces it."""
    raw = stored(tmp_path)
    auth = TokenAuth({"ann": "s3cret-of-ann"}, {"ann": {"myuser/my-llama": ["pull", "push"]}}, expires_after_uses=uses)
    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert len(auth.token_requests) > 20 // (uses + 1)
    assert told.receipt is not None


@either_colour
def test_a_token_that_is_taken_back_while_blobs_go_at_once_is_renewed(colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path, *MANY, SMALL)
    auth = TokenAuth({"ann": "s3cret-of-ann"}, {"ann": {"myuser/my-llama": ["pull", "push"]}})
    taken = 0

    def take_back(observation: object) -> None:
        nonlocal taken
        if isinstance(getattr(observation, "event", None), LayerProgress):
            taken += 1
            if taken in (3, 20, 50):
                auth.expire_all()

    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, concurrency=4, hooks=(take_back,)))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
    assert isinstance(told.seen[-1], PushFinished)
    assert len(auth.token_requests) >= 2


@either_colour
def test_two_clients_that_push_one_model_at_once_send_it_once(colour: Colour, tmp_path: Path) -> None:
    """Each with a resume store of its own, as two processes have: one waits for the other."""
    raw = stored(tmp_path)
    held, waiting = threading.Event(), threading.Event()

    class Told(FileResumeStore):
        """The first one to claim the large blob waits until the second one has been told that it is in use."""

        def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
            found = super().claim(key)
            if key.digest == BIG_DIGEST:
                if isinstance(found, InUseElsewhere):
                    waiting.set()
                elif not held.is_set():
                    held.set()
                    assert waiting.wait(PATIENCE)
            return found

    with EmbeddedRegistry(tmp_path / "registry") as registry, ThreadPoolExecutor(2) as pool:
        pushes = [
            pool.submit(colour, Direct(host=registry.host, home=tmp_path, resume=Told(tmp_path / "uploads")))
            for _ in range(2)
        ]
        results = [each.result(2 * PATIENCE) for each in pushes]
        assert [told.error for told in results] == [None, None]
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert registry.received_bytes == TOTAL
    receipts = [told.receipt for told in results if told.receipt is not None]
    assert sum(receipt.sent_bytes or 0 for receipt in receipts) == TOTAL
    assert all(receipt.verified for receipt in receipts)
