"""The async registry client blocks its event loop neither on locks, nor on the store, nor on a look-up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.blobs import digest_of
from tests.support.stores import CONFIG, put_model

from ollama_push import AsyncRegistryClient
from ollama_push.core.errors import PushInterrupted
from ollama_push.core.names import ModelName
from ollama_push.core.registry.credentials import Credential
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import ModelStore, NoResume, StoredModel
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry

PATIENCE = 20.0
LAYER = b"weights" * 1000


class Gate:
    """Blocks whatever passes it until the event loop opens it. A loop that is blocked itself never does."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.was_opened: list[bool] = []

    def block(self) -> None:
        self.entered.set()
        self.was_opened.append(self.opened.wait(PATIENCE / 4))

    async def wait(self) -> None:
        while not self.entered.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0)


class Blocking(NoResume):
    """A resume store, a source of credentials and a model store; one method of them blocks."""

    def __init__(self, gate: Gate, method: str) -> None:
        self._gate = gate
        self._method = method
        self.calls: list[str] = []

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method == self._method:
            self._gate.block()

    def claim(self, _key: UploadKey, /) -> ResumePoint | None:
        self._called("claim")
        return None

    def save(self, _key: UploadKey, _upload: ResumePoint, /) -> None:
        self._called("save")

    def forget(self, _key: UploadKey, /) -> None:
        self._called("forget")

    def release(self, _key: UploadKey, /) -> None:
        self._called("release")

    def find(self, _host: str, /) -> Credential | None:
        self._called("find")
        return None


class BlockingStore(ModelStore):
    def __init__(self, root: Path, called: Callable[[str], None]) -> None:
        super().__init__(root)
        self._called = called

    def load(self, name: ModelName) -> StoredModel:
        self._called("load")
        return super().load(name)


def client_of(root: Path, blocking: Blocking) -> AsyncRegistryClient:
    return AsyncRegistryClient(
        store=BlockingStore(root, blocking._called),
        credentials=blocking,
        resume=blocking,
        plain_http=True,
        part_bytes=4096,
        retry=RetryPolicy(attempts=1),
    )


@pytest.mark.parametrize("method", ["load", "find", "claim", "save", "forget", "release"])
def test_the_loop_goes_on_while_something_blocks(method: str, tmp_path: Path) -> None:
    put_model(tmp_path / "models", layers=(LAYER,))
    # Whoever wants a login is told that there is none.
    auth = BasicAuth({"ann": "s3cret-of-ann"}) if method == "find" else None

    async def story(host: str) -> Gate:
        gate = Gate()
        async with asyncio.timeout(PATIENCE), client_of(tmp_path / "models", Blocking(gate, method)) as client:
            push = asyncio.create_task(client.push(f"{host}/team/m", source="my-llama"))
            await gate.wait()
            gate.opened.set()
            await asyncio.wait([push])
            return gate

    with EmbeddedRegistry(tmp_path / "registry", auth=auth) as registry:
        gate = asyncio.run(story(registry.host))
    assert gate.was_opened
    assert all(gate.was_opened)


@pytest.mark.parametrize("call", ["plan", "verify", "stream"])
def test_every_call_reads_the_store_off_the_loop(call: str, tmp_path: Path) -> None:
    put_model(tmp_path / "models", layers=(LAYER,))

    async def story() -> Gate:
        gate = Gate()
        async with asyncio.timeout(PATIENCE), client_of(tmp_path / "models", Blocking(gate, "load")) as client:

            async def work() -> None:
                if call == "stream":
                    async with client.stream("127.0.0.1:1/team/m", source="my-llama"):
                        pass
                else:
                    await getattr(client, call)("127.0.0.1:1/team/m", source="my-llama")

            task = asyncio.create_task(work())
            await gate.wait()
            gate.opened.set()
            await asyncio.wait([task])
            return gate

    assert asyncio.run(story()).was_opened == [True]


def test_a_push_that_is_interrupted_while_the_store_is_read_sends_nothing(tmp_path: Path) -> None:
    put_model(tmp_path / "models", layers=(LAYER,))

    async def story(host: str) -> None:
        gate = Gate()
        async with asyncio.timeout(PATIENCE), client_of(tmp_path / "models", Blocking(gate, "load")) as client:
            push = asyncio.create_task(client.push(f"{host}/team/m", source="my-llama"))
            await gate.wait()
            client.interrupt()
            gate.opened.set()
            with pytest.raises(PushInterrupted):
                await push

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asyncio.run(story(registry.host))
        assert registry.requests == []


def test_a_claim_that_a_cancelled_push_still_waits_for_is_released_and_the_next_push_has_its_turn(
    tmp_path: Path,
) -> None:
    put_model(tmp_path / "models", layers=(LAYER,))

    async def story(host: str) -> list[str]:
        gate = Gate()
        blocking = Blocking(gate, "claim")
        async with asyncio.timeout(PATIENCE), client_of(tmp_path / "models", blocking) as client:
            push = asyncio.create_task(client.push(f"{host}/team/m", source="my-llama"))
            await gate.wait()
            push.cancel()
            await asyncio.sleep(0)
            gate.opened.set()
            await asyncio.wait([push])
            assert push.cancelled()
            calls = [*blocking.calls]
            await client.push(f"{host}/team/m", source="my-llama")
            return calls

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        calls = asyncio.run(story(registry.host))
        assert registry.blob(digest_of(LAYER)) == LAYER
        assert registry.blob(digest_of(CONFIG)) == CONFIG
    claimed = calls.count("claim")
    assert claimed >= 1
    assert calls.count("release") == claimed
