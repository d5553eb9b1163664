"""A push that is broken off, by whatever, goes on in the next run of the program where the registry lets it."""

from __future__ import annotations

import hashlib
import random
import signal
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.support.blobs import MIB
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import Colour, Direct, either_colour
from tests.support.large_models import LargeModel, put_large_model
from tests.support.push_process import (
    EITHER,
    KEEPING,
    KILLING,
    AnyRegistry,
    MakeRegistry,
    PushingProcess,
    expire_sessions,
)

from ollama_push.core.observations import RequestRetried
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry, Quirks

_KILLS = 20
_PART_BYTES = 2 * MIB
_SMALL_BYTES = 64 * 1024
"""Room for what is sent beside the large blob: its config and the manifest."""


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> LargeModel:
    """One layer of 256 MiB."""
    return put_large_model(tmp_path_factory.mktemp("large") / "models", 256 * MIB)


@pytest.fixture(scope="session")
def middling(tmp_path_factory: pytest.TempPathFactory) -> LargeModel:
    """A layer of 8 MiB and one of 56 MiB."""
    return put_large_model(tmp_path_factory.mktemp("middling") / "models", 8 * MIB, 56 * MIB)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> LargeModel:
    """A layer of 4 MiB and one of 12 MiB: two and six parts."""
    return put_large_model(tmp_path_factory.mktemp("small") / "models", 4 * MIB, 12 * MIB)


def _moments(count: int, total_bytes: int) -> list[int]:
    """Return *count* pseudo-random numbers of bytes that make *total_bytes* at most."""
    edges = sorted(random.Random(7).sample(range(1, total_bytes), count))
    return [end - start for start, end in zip([0, *edges], edges, strict=False)]


def _holds(registry: AnyRegistry, model: LargeModel) -> bool:
    def is_there(digest: str) -> bool:
        with registry.blob_path(digest).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest

    return all(map(is_there, model.layers))


@pytest.mark.parametrize("make", KEEPING)
def test_kill_9_at_twenty_moments_costs_at_most_a_mebibyte_each(
    make: MakeRegistry, large: LargeModel, tmp_path: Path
) -> None:
    blob_bytes = large.sizes[0]
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(large, proxy, tmp_path / "uploads")
        # What is still in buffers at a kill arrives, too: the moments leave room for it.
        for number, more_bytes in enumerate(_moments(_KILLS, blob_bytes // 2)):
            pushing = attrs.evolve(pushing, asynchronous=bool(number % 2))
            assert pushing.stopped_by(signal.SIGKILL, more_bytes) is None
        said = pushing.run()
        assert said["verified"]
        assert said["resumed_bytes"] >= blob_bytes // 2 - _KILLS * MIB
        assert proxy.body_bytes <= blob_bytes + _SMALL_BYTES + _KILLS * MIB
        assert _holds(registry, large)


@pytest.mark.parametrize("make", KILLING)
def test_kill_9_at_twenty_moments_ends_in_a_whole_model_where_a_broken_part_is_lost(
    make: MakeRegistry, middling: LargeModel, tmp_path: Path
) -> None:
    finished_bytes, blob_bytes = middling.sizes
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        # In one part, so that each kill breaks it; what is in buffers at a kill arrives and must not be its end.
        pushing = PushingProcess(middling, proxy, tmp_path / "uploads", part_bytes=blob_bytes)
        # The first kill comes when the first layer is there.
        assert pushing.stopped_by(signal.SIGKILL, finished_bytes + MIB) is None
        for number, moment in enumerate(random.Random(8).sample(range(1, blob_bytes - 8 * MIB), _KILLS - 1)):
            pushing = attrs.evolve(pushing, asynchronous=bool(number % 2))
            assert pushing.stopped_by(signal.SIGKILL, moment) is None
        before = proxy.body_bytes
        said = pushing.run()
        assert said["verified"]
        assert said["skipped_bytes"] == finished_bytes
        assert proxy.body_bytes - before <= blob_bytes + _SMALL_BYTES
        assert sum(middling.layers[0] in passed.path for passed in proxy.passed if passed.method == "PUT") == 1
        assert _holds(registry, middling)


@pytest.mark.parametrize(
    ("number", "asynchronous"), [(signal.SIGINT, False), (signal.SIGTERM, True)], ids=["SIGINT-sync", "SIGTERM-async"]
)
@pytest.mark.parametrize("make", EITHER)
def test_a_push_that_is_asked_to_stop_goes_on_where_it_was(
    make: MakeRegistry, number: signal.Signals, *, asynchronous: bool, small: LargeModel, tmp_path: Path
) -> None:
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(small, proxy, tmp_path / "uploads", _PART_BYTES, asynchronous)
        # It ends the part that it is sending, the fifth.
        kept_bytes = 5 * _PART_BYTES
        assert pushing.stopped_by(number, 9 * MIB) == {"interrupted": True, "kept_bytes": kept_bytes}
        assert proxy.body_bytes == kept_bytes
        said = pushing.run()
        assert said["resumed_bytes"] == kept_bytes - small.sizes[0]
        assert said["verified"]
        assert proxy.body_bytes <= small.total_bytes + _SMALL_BYTES
        assert _holds(registry, small)


def _starts_anew_after(
    stop: Callable[[AnyRegistry], None], registry: AnyRegistry, model: LargeModel, tmp_path: Path
) -> None:
    with CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(model, proxy, tmp_path / "uploads", part_bytes=_PART_BYTES)
        assert pushing.stopped_by(signal.SIGTERM, 9 * MIB) is not None
        stop(registry)
        before = proxy.body_bytes
        said = pushing.run()
        assert said["resumed_bytes"] == 0
        assert said["skipped_bytes"] == model.sizes[0]
        assert proxy.body_bytes - before <= model.sizes[1] + _SMALL_BYTES
    assert _holds(registry, model)


@pytest.mark.parametrize("make", EITHER)
def test_a_session_that_expired_between_two_runs_is_begun_anew(
    make: MakeRegistry, small: LargeModel, tmp_path: Path
) -> None:
    with make(tmp_path / "registry") as registry:
        _starts_anew_after(expire_sessions, registry, small, tmp_path)


def test_a_registry_that_cannot_tell_how_far_an_upload_is_gets_it_anew(small: LargeModel, tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(no_status=True)) as registry:
        _starts_anew_after(lambda _registry: None, registry, small, tmp_path)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("make", EITHER)
def test_an_answer_that_is_lost_costs_no_byte(
    make: MakeRegistry, method: str, small: LargeModel, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Distribution 2.8 knows a session by how far it is, in a Location that only the lost answer held.
    is_lost_too = "distribution-2.8-PATCH" in request.node.callspec.id
    with make(tmp_path / "registry") as registry, CountingProxy(registry.host) as proxy:
        pushing = PushingProcess(small, proxy, tmp_path / "uploads", part_bytes=_PART_BYTES)
        proxy.lose_answer(method)
        assert pushing.run()["verified"]
        assert proxy.body_bytes <= small.total_bytes + _SMALL_BYTES + is_lost_too * _PART_BYTES
        assert _holds(registry, small)


def _bytes_sent_again_after_a_restart(registry: AnyRegistry, colour: Colour, model: LargeModel, tmp_path: Path) -> int:
    """Push, while the registry is killed and run again in the middle of the fifth part, the third of its layer."""
    with CountingProxy(registry.host) as proxy:
        proxy.at(9 * MIB, registry.restart)
        told = colour(
            Direct(
                host=proxy.host,
                home=model.root.parent,
                resume=FileResumeStore(tmp_path / "uploads"),
                part_bytes=_PART_BYTES,
                retry=RetryPolicy(attempts=10, base=0.05),
            )
        )
        assert told.error is None
        assert told.receipt is not None
        assert told.receipt.verified
        assert any(isinstance(seen, RequestRetried) for seen in told.seen)
        assert _holds(registry, model)
        return proxy.body_bytes - model.total_bytes


@either_colour
@pytest.mark.parametrize("make", KEEPING)
def test_a_registry_that_is_killed_and_comes_back_costs_a_part_at_most(
    make: MakeRegistry, colour: Colour, small: LargeModel, tmp_path: Path
) -> None:
    with make(tmp_path / "registry") as registry:
        assert _bytes_sent_again_after_a_restart(registry, colour, small, tmp_path) <= _PART_BYTES + _SMALL_BYTES


@either_colour
@pytest.mark.parametrize("make", KILLING)
def test_a_registry_that_is_killed_and_comes_back_costs_a_layer_at_most(
    make: MakeRegistry, colour: Colour, small: LargeModel, tmp_path: Path
) -> None:
    begun_bytes = 3 * _PART_BYTES
    with make(tmp_path / "registry") as registry:
        assert _bytes_sent_again_after_a_restart(registry, colour, small, tmp_path) <= begun_bytes + _SMALL_BYTES
