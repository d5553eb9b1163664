"""A real Ollama beside our gateway, in the same situations: the same verdicts and events, but for what a table says."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.gateway import BufferedResponse, Gateway, settings_for, store_of
from tests.support.gateway_recordings import DIFFERENCES, SETUPS, RecordingSetup
from tests.support.live_situations import LIVE_DIFFERENCES, LIVE_SETUPS
from tests.support.push_responses import Told, ours_for, require_sound_counters, store_for
from tests.support.real_ollama import OLLAMA, RealOllama, needs_ollama

from ollama_push import ModelName
from ollama_push.core.server.reasons import reason_for
from ollama_push.testing.models import put_tiny_model
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = needs_ollama

_ALL: Final = (*SETUPS, *LIVE_SETUPS)
_QUICK: Final = [each for each in _ALL if not each.takes_a_minute]
_SLOW: Final = [each for each in _ALL if each.takes_a_minute]


@pytest.mark.parametrize("situation", _QUICK, ids=lambda situation: situation.recording)
def test_the_gateway_says_what_a_real_ollama_says_but_for_what_the_table_says(
    situation: RecordingSetup, tmp_path: Path
) -> None:
    _compare(situation, _told_by_ollama(situation, tmp_path / "ollama"), tmp_path / "gateway")


def test_so_it_does_where_a_real_ollama_tries_for_a_minute(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(_SLOW)) as pool:
        pushes = [pool.submit(_told_by_ollama, each, tmp_path / each.recording / "ollama") for each in _SLOW]
        for situation, push in zip(_SLOW, pushes, strict=True):
            _compare(situation, push.result(), tmp_path / situation.recording / "gateway")


def _compare(situation: RecordingSetup, real: Told, folder: Path) -> None:
    ours = _told_by_gateway(situation, folder)
    assert ours == _without_chance(ours_for(situation.recording, real, (*DIFFERENCES, *LIVE_DIFFERENCES)))
    if situation.has_same_reason:
        assert reason_for(ours.error) is reason_for(real.error)


def _told_by_ollama(situation: RecordingSetup, folder: Path) -> Told:
    store = store_for(folder, "nowhere.example", tensors=situation.tensors)
    with (
        RealOllama(folder / "home", store.root) as ollama,
        situation.registry_for_ollama(folder / "registry", ollama.public_key) as registry,
    ):
        store_for(folder, _host_of(registry), tensors=situation.tensors)
        responses = [ollama.push(situation.order(_host_of(registry))) for _ in range(situation.pushes)]
    return _told(responses[-1], registry, str(store.root))


def _told_by_gateway(situation: RecordingSetup, folder: Path) -> Told:
    with situation.registry(folder / "registry") as registry:
        store = store_for(folder, _host_of(registry), tensors=situation.tensors)
        # One blob at a time: the error names the blob that fails first.
        with Gateway(settings_for(store, concurrency=1)) as gateway:
            responses = [gateway.push(situation.order(_host_of(registry))) for _ in range(situation.pushes)]
    require_sound_counters(responses[-1])
    return _told(responses[-1], registry, str(store.root))


def _told(response: BufferedResponse, registry: EmbeddedRegistry | None, root: str) -> Told:
    return _without_chance(Told.of(response, _host_of(registry), root))


def _without_chance(told: Told) -> Told:
    """Leave out where the first counter began, which the sockets of this machine decide, and how far a failed one came.

    A real server takes the bytes of a failed part back while it still counts others.
    """
    ended = (re.sub(": from .* to ", ": to ", text) for text in told.counters)
    return attrs.evolve(told, counters=tuple(re.sub(" to (none|a part)$", " to less than all", text) for text in ended))


def _host_of(registry: EmbeddedRegistry | None) -> str:
    return f"localhost:{registry.host.partition(':')[2]}" if registry else "localhost:9"


@pytest.mark.parametrize("name", ["team/my-llama:v1", "my-llama"])
def test_a_stock_ollama_push_goes_through_the_gateway(name: str, tmp_path: Path) -> None:
    store = store_of(tmp_path)
    put_tiny_model(store.root, [ModelName.parse_local(name)], rows=1)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        Gateway(settings_for(store, default_registry=registry.host, plain_http=True)) as gateway,
    ):
        done = subprocess.run(
            [OLLAMA, "push", name], capture_output=True, text=True, timeout=120, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OLLAMA_HOST": f"127.0.0.1:{gateway.port}"},
        )  # fmt: skip
        assert (done.returncode, "success" in done.stderr) == (0, True), done.stderr
        repository, _, tag = (name if "/" in name else f"library/{name}").partition(":")
        assert registry.manifest(repository, tag or "latest") is not None
