"""Many models by one client of either colour: one verdict each, side by side, on shared connections."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.counting_proxy import CountingProxy
from tests.support.stores import put_models

from ollama_push import AsyncRegistryClient, NoResume, RegistryClient
from ollama_push.core.batch import PushItem, PushVerdict
from ollama_push.core.errors import InvalidModelName, InvalidSetting, PushInterrupted, PushRejected, UsedAfterClose
from ollama_push.core.observations import Observation, PushFinished, PushOutcome, PushStarted
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

_PATIENCE_SECONDS: Final = 60.0
_COUNT: Final = 12

AnyClient = RegistryClient | AsyncRegistryClient
PushMany = Callable[..., list[PushVerdict]]
Told = Callable[[AnyClient, PushVerdict], bool]
"""Called with each verdict; says whether to leave the loop."""


def _settings(home: Path, **more: Any) -> dict[str, Any]:
    return {"store": home / "models", "plain_http": True, "credentials": ("a", "b"), "resume": NoResume(), **more}


def _sync(
    home: Path,
    items: Iterable[str | PushItem],
    *,
    jobs: int,
    told: Callable[[AnyClient, PushVerdict], bool],
    **more: Any,
) -> list[PushVerdict]:
    verdicts = []
    with RegistryClient(**_settings(home, **more)) as client:
        for verdict in client.push_many(items, jobs=jobs):
            verdicts.append(verdict)
            if told(client, verdict):
                break
    return verdicts


def _async(
    home: Path,
    items: Iterable[str | PushItem],
    *,
    jobs: int,
    told: Callable[[AnyClient, PushVerdict], bool],
    **more: Any,
) -> list[PushVerdict]:
    async def run() -> list[PushVerdict]:
        verdicts = []
        async with (
            AsyncRegistryClient(**_settings(home, **more)) as client,
            aclosing(client.push_many(items, jobs=jobs)) as stream,
        ):
            async for verdict in stream:
                verdicts.append(verdict)
                if told(client, verdict):
                    break
        return verdicts

    return asyncio.run(run())


def _go_on(_client: AnyClient, _verdict: PushVerdict) -> bool:
    return False


either_colour = pytest.mark.parametrize("push_many", [_sync, _async], ids=["sync", "async"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put_models(tmp_path / "models", _COUNT)
    return tmp_path


def _items(host: str, count: int = _COUNT) -> list[PushItem]:
    return [PushItem(f"{host}/team/m{number}:v1", f"m{number}") for number in range(count)]


class Counting:
    """A hook that counts the pushes that run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = self.most = 0
        self.outcomes: list[PushOutcome] = []

    def __call__(self, seen: Observation, /) -> None:
        with self.lock:
            match seen:
                case PushStarted():
                    self.running += 1
                    self.most = max(self.most, self.running)
                case PushFinished(outcome=outcome):
                    self.running -= 1
                    self.outcomes.append(outcome)
                case _:
                    pass


@either_colour
def test_each_model_has_a_verdict_and_a_failure_stops_no_other(push_many: PushMany, home: Path) -> None:
    with EmbeddedRegistry(home / "registry") as registry:
        bad = [PushItem(f"{registry.host}/team/Upper:v1", "m0"), PushItem(f"{registry.host}/team/none:v1")]
        items = [bad[0], *_items(registry.host), bad[1]]
        verdicts = push_many(home, items, jobs=3, told=_go_on)
        assert all(registry.manifest(f"team/m{number}", "v1") for number in range(_COUNT))
    by_item = {verdict.item: verdict for verdict in verdicts}
    assert set(by_item) == set(items)
    assert len(verdicts) == len(items)
    assert isinstance(by_item[bad[0]].error, InvalidModelName)
    assert isinstance(by_item[bad[1]].error, PushRejected)
    assert all((verdict.receipt is None) != (verdict.error is None) for verdict in verdicts)
    receipts = [by_item[item].receipt for item in items[1:-1]]
    assert all(receipt is not None and receipt.verified for receipt in receipts)


@either_colour
def test_as_many_run_at_the_same_time_as_are_asked_for(push_many: PushMany, home: Path) -> None:
    counting, hooks = Counting(), list[Any]()
    if push_many is _sync:
        # Nothing of the first four is sent before all four have begun.
        together = threading.Barrier(4)

        def meet(seen: Observation) -> None:
            if isinstance(seen, PushStarted):
                together.wait(_PATIENCE_SECONDS)

        hooks.append(meet)
    with EmbeddedRegistry(home / "registry") as registry:
        verdicts = push_many(home, _items(registry.host), jobs=4, told=_go_on, hooks=[counting, *hooks])
    assert all(verdict.receipt for verdict in verdicts), [verdict.error for verdict in verdicts]
    assert counting.most == 4


@either_colour
def test_connections_are_shared(push_many: PushMany, home: Path) -> None:
    jobs, concurrency = 2, 2
    with EmbeddedRegistry(home / "registry") as registry, CountingProxy(registry.host) as proxy:
        push_many(home, _items(proxy.host), jobs=jobs, told=_go_on, concurrency=concurrency)
        requests = len(proxy.passed)
        assert requests > 10 * _COUNT
        # One more for each push: manifest and blobs are asked for side by side.
        assert proxy.connections <= jobs * (concurrency + 1)


@either_colour
def test_after_an_interruption_no_more_are_begun(push_many: PushMany, home: Path) -> None:
    counting = Counting()

    def interrupt(client: AnyClient, _verdict: PushVerdict) -> bool:
        client.interrupt()
        return False

    with EmbeddedRegistry(home / "registry") as registry:
        verdicts = push_many(home, _items(registry.host), jobs=2, told=interrupt, hooks=[counting])
    assert len(verdicts) == _COUNT, "each model has a verdict"
    assert len(counting.outcomes) <= 4
    assert all(verdict.receipt or isinstance(verdict.error, PushInterrupted) for verdict in verdicts)
    assert isinstance(verdicts[-1].error, PushInterrupted)


@either_colour
def test_who_leaves_early_cancels_what_runs(push_many: PushMany, home: Path) -> None:
    counting = Counting()
    with EmbeddedRegistry(home / "registry") as registry:
        verdicts = push_many(home, _items(registry.host), jobs=3, told=lambda *_: True, hooks=[counting])
        assert len(verdicts) == 1
        assert counting.running == 0
        assert len(counting.outcomes) <= 6
        assert sum(registry.manifest(f"team/m{number}", "v1") is not None for number in range(_COUNT)) < _COUNT


@either_colour
def test_models_are_taken_as_pushes_end(push_many: PushMany, home: Path) -> None:
    """A list of any length is never in memory."""
    taken = 0

    def models(host: str) -> Iterable[PushItem]:
        nonlocal taken
        for item in _items(host):
            taken += 1
            yield item

    seen = list[int]()

    def look(_client: AnyClient, _verdict: PushVerdict) -> bool:
        seen.append(taken)
        return False

    with EmbeddedRegistry(home / "registry") as registry:
        push_many(home, models(registry.host), jobs=2, told=look)
    assert seen[0] <= 2 + 2
    assert seen[-1] == _COUNT


@pytest.mark.parametrize("jobs", [0, -1, True, 1.5, 1025])
@either_colour
def test_a_number_of_jobs_that_cannot_be_used_is_refused_at_once(push_many: PushMany, jobs: int, home: Path) -> None:
    with pytest.raises(InvalidSetting, match="jobs="):
        push_many(home, ["h/a/b"], jobs=jobs, told=_go_on)


def test_a_closed_client_pushes_nothing(home: Path) -> None:
    client = RegistryClient(**_settings(home))
    client.close()
    with pytest.raises(UsedAfterClose):
        client.push_many(["h/a/b"])

    async def run() -> None:
        other = AsyncRegistryClient(**_settings(home))
        await other.aclose()
        with pytest.raises(UsedAfterClose):
            other.push_many(["h/a/b"])

    asyncio.run(run())


def test_an_error_of_a_list_comes_through(home: Path) -> None:
    def models() -> Iterable[str]:
        yield "h.example.com/a/B"
        raise LookupError("no more")

    for push_many in (_sync, _async):
        with pytest.raises(LookupError):
            push_many(home, models(), jobs=1, told=_go_on)


def test_threads_of_an_executor_use_the_client_itself(home: Path) -> None:
    with (
        EmbeddedRegistry(home / "registry") as registry,
        CountingProxy(registry.host) as proxy,
        ThreadPoolExecutor(2) as pool,
        RegistryClient(**_settings(home, concurrency=1)) as client,
    ):
        verdicts = list(client.push_many(_items(proxy.host), executor=pool, jobs=8))
        assert all(verdict.receipt for verdict in verdicts)
        assert proxy.connections <= 4
        assert client.push(f"{proxy.host}/team/again", source="m0").verified, "it was not closed"


def test_an_executor_that_is_shut_down_has_a_verdict_for_each_model_that_is_left(home: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(seen: Observation) -> None:
        if isinstance(seen, PushStarted):
            begun.set()
            assert go_on.wait(_PATIENCE_SECONDS)

    def shut_down(pool: ThreadPoolExecutor) -> None:
        assert begun.wait(_PATIENCE_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)
        go_on.set()

    pool = ThreadPoolExecutor(1)
    with (
        EmbeddedRegistry(home / "registry") as registry,
        RegistryClient(**_settings(home, hooks=[hold])) as client,
    ):
        killer = threading.Thread(target=shut_down, args=(pool,))
        killer.start()
        verdicts = list(client.push_many(_items(registry.host), executor=pool, jobs=4))
        killer.join()
    pool.shutdown()
    assert {verdict.item for verdict in verdicts} == set(_items(registry.host))
    assert sum(verdict.receipt is not None for verdict in verdicts) == 1, "the one that ran"
    kinds = [type(verdict.error) for verdict in verdicts if verdict.error is not None]
    assert kinds.count(CancelledError) == 3, "those that it had and had not begun"
    assert kinds.count(RuntimeError) == _COUNT - 4, "it took no more"


@either_colour
def test_names_are_taken_as_pushes_end(push_many: PushMany, home: Path) -> None:
    """Ten thousand names are not read at once."""
    taken = 0

    def names(host: str) -> Iterator[PushItem]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield PushItem(f"{host}/team/m{number}", f"m{number % _COUNT}")

    with EmbeddedRegistry(home / "registry") as registry:
        told = iter([False, False, True])
        verdicts = push_many(home, names(registry.host), jobs=3, told=lambda _client, _verdict: next(told))
    assert len(verdicts) == 3
    assert taken <= 3 + 3


@pytest.mark.slow
@either_colour
def test_many_take_six_tenths_of_the_time_of_one_after_the_other(push_many: PushMany, home: Path) -> None:
    """At 100 ms a round trip, so that waiting weighs more than what else this machine does."""
    distant = [Fault(method, times=None, action=Stall(0.1)) for method in ("GET", "HEAD", "POST", "PUT")]
    seconds = []
    for jobs in (1, 8):
        with EmbeddedRegistry(home / f"registry-{jobs}", faults=distant) as registry:
            began = time.monotonic()
            verdicts = push_many(home, _items(registry.host), jobs=jobs, told=_go_on)
            seconds.append(time.monotonic() - began)
        assert all(verdict.receipt for verdict in verdicts)
    one_by_one, side_by_side = seconds
    assert side_by_side <= 0.6 * one_by_one


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_models(tmp_path: Path) -> None:
    put_models(tmp_path / "models", 90)
    sizes, count = list[int](), 0

    def look(_client: AnyClient, _verdict: PushVerdict) -> bool:
        nonlocal count
        count += 1
        if count in (45, 90):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        return False

    for push_many in (_sync, _async):
        count = 0
        with EmbeddedRegistry(tmp_path / push_many.__name__) as registry:
            # The registry is in this process, too: what it keeps of each request is counted once.
            before = len(registry.requests)
            tracemalloc.start()
            try:
                push_many(tmp_path, iter(_items(registry.host, 90)), jobs=3, told=look)
            finally:
                tracemalloc.stop()
            assert len(registry.requests) > before
    for first, last in zip(sizes[::2], sizes[1::2], strict=True):
        assert last - first < 2_000_000, "45 models more"
