"""Pushes that end before they begin are told to hooks like all others: started, and finished with their error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import put_model

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient
from ollama_push.contrib.metrics import MetricsHook
from ollama_push.contrib.metrics.catalogue import Metric
from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError, PushRejected, UsedAfterClose
from ollama_push.core.observations import Observation, PushFinished, PushOutcome, PushStarted


def require_told(seen: list[Observation], error: BaseException, model: str) -> None:
    """One push was told, from its start to its end in *error*."""
    started, finished = seen
    assert isinstance(started, PushStarted)
    assert isinstance(finished, PushFinished)
    assert started.push is finished.push
    assert started.push.model == model
    assert (finished.outcome, finished.error, finished.receipt) == (PushOutcome.FAILED, error, None)


def awaited(make: Callable[[], Any], call: str, *arguments: Any, **options: Any) -> None:
    async def run() -> None:
        async with make() as client:
            await getattr(client, call)(*arguments, **options)

    asyncio.run(run())


def test_a_bad_name_for_a_server() -> None:
    for call in ("push", "stream"):
        seen: list[Observation] = []
        with PushClient("http://h:1", hooks=[seen.append]) as client, pytest.raises(InvalidModelName) as caught:
            getattr(client, call)("my-llama")
        require_told(seen, caught.value, "my-llama")
        assert seen[0].push.target == "http://h:1"


def test_a_bad_name_for_a_server_in_an_async_push() -> None:
    seen: list[Observation] = []
    with pytest.raises(InvalidModelName) as caught:
        awaited(lambda: AsyncPushClient("http://h:1", hooks=[seen.append]), "push", "a" * 5000)
    assert len(seen[0].push.model) < 1000
    require_told(seen, caught.value, seen[0].push.model)


def test_before_a_private_push() -> None:
    """Nobody listens there, so that it cannot be found out whether the server keeps the model to itself."""
    name, seen = "a/b", list[Observation]()
    with PushClient("127.0.0.1:9", hooks=[seen.append]) as client, pytest.raises(OllamaPushError) as caught:
        client.push(name, private=True)
    require_told(seen, caught.value, f"{name}:latest")
    seen.clear()
    with pytest.raises(OllamaPushError) as caught:
        awaited(lambda: AsyncPushClient("127.0.0.1:9", hooks=[seen.append]), "push", name, private=True)
    require_told(seen, caught.value, f"{name}:latest")


DIRECT: list[tuple[str, type[OllamaPushError], str]] = [
    ("my-llama", InvalidModelName, ""),
    ("127.0.0.1:1/a/missing", PushRejected, "https://127.0.0.1:1"),
]


@pytest.mark.parametrize(("name", "kind", "target"), DIRECT)
@pytest.mark.parametrize("call", ["push", "stream"])
def test_before_a_direct_push(name: str, kind: type[OllamaPushError], target: str, call: str, tmp_path: Path) -> None:
    put_model(tmp_path)
    seen: list[Observation] = []
    with RegistryClient(store=tmp_path, hooks=[seen.append]) as client, pytest.raises(kind) as caught:
        getattr(client, call)(name)
    require_told(seen, caught.value, name)
    assert seen[0].push.target in (target, target.replace("https", "http"))


@pytest.mark.parametrize(("name", "kind", "_target"), DIRECT)
def test_before_an_async_direct_push(name: str, kind: type[OllamaPushError], _target: str, tmp_path: Path) -> None:
    put_model(tmp_path)
    seen: list[Observation] = []
    with pytest.raises(kind) as caught:
        awaited(lambda: AsyncRegistryClient(store=tmp_path, hooks=[seen.append]), "push", name)
    require_told(seen, caught.value, name)


def test_before_a_copy(tmp_path: Path) -> None:
    put_model(tmp_path / "store")
    seen: list[Observation] = []
    options: dict[str, Any] = {"store": tmp_path / "store", "hooks": [seen.append]}
    places = "missing", f"oci:{tmp_path / 'copy'}"
    with RegistryClient(**options) as client, pytest.raises((PushRejected, InvalidSetting)) as caught:
        client.copy(*places)
    require_told(seen, caught.value, places[1])
    seen.clear()
    with pytest.raises((PushRejected, InvalidSetting)) as caught:
        awaited(lambda: AsyncRegistryClient(**options), "copy", *places)
    require_told(seen, caught.value, places[1])


def test_of_several_pushes_each_is_told(tmp_path: Path) -> None:
    put_model(tmp_path)
    seen: list[Observation] = []
    with RegistryClient(store=tmp_path, hooks=[seen.append]) as client:
        verdicts = list(client.push_many(["my-llama", "127.0.0.1:1/a/missing"]))
    assert all(verdict.error is not None for verdict in verdicts)
    assert sum(isinstance(one, PushStarted) for one in seen) == 2
    assert sum(isinstance(one, PushFinished) for one in seen) == 2


def test_a_mistake_of_the_program_is_no_push() -> None:
    seen: list[Observation] = []
    client = PushClient("http://h:1", hooks=[seen.append])
    client.close()
    with pytest.raises(UsedAfterClose):
        client.push("a/b")
    assert seen == []


class Counts:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.counted: dict[str, dict[tuple[str, ...], float]] = {}

    def count(self, metric: Metric, amount: float, labels: Any, /) -> None:
        of_metric = self.counted.setdefault(metric.name, {})
        key = tuple(labels.values())
        of_metric[key] = of_metric.get(key, 0) + amount

    gauge = count

    def observe(self, metric: Metric, value: float, labels: Any, /) -> None:
        self.count(metric, 1, labels)


def test_they_are_measured() -> None:
    sink = Counts()
    with PushClient("http://h:1", hooks=[MetricsHook(sink)]) as client, pytest.raises(InvalidModelName):
        client.push("my-llama")
    assert sink.counted["ollama_push.pushes"] == {("failed", "InvalidModelName"): 1}
    assert sink.counted["ollama_push.pushes_in_progress"] == {(): 0}
    assert "ollama_push.attempts" not in sink.counted
