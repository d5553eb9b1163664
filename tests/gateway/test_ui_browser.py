"""The status page in Chromium: it changes without being loaded again, and fits a phone."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.support.browser import needs_chromium, open_tab
from tests.support.status_page import (
    OTHER,
    a_push_under_way,
    begin,
    running,
    serving,
)
from tests.support.stores import put_model

from ollama_push.core.events import LayerProgress
from ollama_push.core.observations import PushOutcome
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.gateway.push_history import PushHistory
from ollama_push.local import ModelStore
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = [pytest.mark.slow, pytest.mark.process]


@needs_chromium
def test_a_browser_shows_changes_without_loading_the_page_again(tmp_path: Path) -> None:
    async def run() -> None:
        history = PushHistory()
        push = a_push_under_way(history)
        async with serving(history) as origin, open_tab(tmp_path) as tab:
            await tab.show(f"{origin}/ui", width=1280)
            await tab.until("document.getElementById('link').textContent === 'live'")
            await tab.value("window.sameAsBefore = true, document.querySelector('details').open = true")
            push.receive_event(LayerProgress(OTHER, 3_000_000_000, 2_400_000_000, "pushing 3f2a9c11d0aa"))
            await tab.until("document.querySelector('#now .facts').textContent.includes('85 %, 3.4 GB of 4.0 GB')")
            assert await tab.value("document.querySelector('#now progress').value") == 0.85
            assert await tab.value("document.querySelector('details').open") is True
            begin(history, "registry.example.com/team/second:v1")
            await tab.until("document.title.startsWith('(2)')")
            models = "[...document.querySelectorAll('#now h3')].map((name) => name.textContent)"
            assert await tab.value(models) == ["team/second:v1", "team/my-llama:v1"]
            push.finish(PushOutcome.FAILED, "<b>no space left</b>")
            await tab.until("document.querySelector('#lately .error')?.textContent === '<b>no space left</b>'")
            assert await tab.value("document.querySelectorAll('#now li.push').length") == 1
            assert await tab.value("document.getElementById('news').textContent") == "team/my-llama:v1: failed"
            assert await tab.value("window.sameAsBefore") is True
            assert tab.complaints == []

    asyncio.run(run())


@needs_chromium
def test_a_browser_finds_a_gateway_that_was_started_again(tmp_path: Path) -> None:
    async def run() -> None:
        before, after = PushHistory(), PushHistory()
        a_push_under_way(before)
        begin(after, "registry.example.com/team/later:v1").finish(PushOutcome.SUCCEEDED)
        async with open_tab(tmp_path) as tab:
            async with serving(before) as origin:
                await tab.show(f"{origin}/ui", width=1280)
                await tab.until("document.getElementById('link').textContent === 'live'")
            await tab.until("document.getElementById('link').textContent.startsWith('not connected')")
            async with serving(after, port=int(origin.rpartition(":")[2])):
                await tab.until("document.querySelector('#lately h3')?.textContent === 'team/later:v1'")
                assert await tab.value("document.getElementById('now').children.length") == 0
                assert await tab.value("document.getElementById('link').textContent") == "live"

    asyncio.run(run())


@needs_chromium
def test_a_phone_shows_it_without_scrolling_sideways_in_the_colours_it_asks_for(tmp_path: Path) -> None:
    async def run() -> None:
        history = PushHistory()
        a_push_under_way(history)
        long = f"{'n' * 80}/{'m' * 80}:{'t' * 80}"
        begin(history, f"registry.example.com/{long}").finish(
            PushOutcome.FAILED, f"https://cdn.example.com/{'x' * 300}"
        )
        begin(history, long, f"http://{'h' * 60}.{'h' * 60}.example.com:5000")
        colours = []
        async with serving(history) as origin, open_tab(tmp_path) as tab:
            for dark in (False, True):
                await tab.show(f"{origin}/ui", width=360, dark=dark)
                await tab.until("document.getElementById('link').textContent === 'live'")
                await tab.value("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
                assert await tab.value("document.documentElement.scrollWidth") == 360
                colours.append(await tab.value("getComputedStyle(document.body).backgroundColor"))
            assert tab.complaints == []
        light, dark_colour = (sum(map(int, re.findall(r"\d+", colour))) for colour in colours)
        assert light > 600
        assert dark_colour < 100

    asyncio.run(run())


@needs_chromium
def test_without_scripts_the_page_is_a_snapshot(tmp_path: Path) -> None:
    async def run() -> None:
        history = PushHistory()
        a_push_under_way(history)
        async with serving(history) as origin, open_tab(tmp_path) as tab:
            await tab.without_scripts()
            await tab.show(f"{origin}/ui", width=1280)
            text = await tab.value("document.body.innerText")
            assert "as of 20" in text
            assert "62 %, 2.5 GB of 4.0 GB" in text

    asyncio.run(run())


@needs_chromium
def test_a_browser_sees_a_push_through_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    put_model(tmp_path / "models")

    async def run(registry: EmbeddedRegistry) -> None:
        store = ModelStore(tmp_path / "models")
        app = create_app(GatewaySettings(store=store, default_registry=registry.host, plain_http=True))
        async with running(app) as origin, open_tab(tmp_path / "browser") as tab, ClientSession() as session:
            await tab.show(f"{origin}/ui", width=1280)
            await tab.until("document.getElementById('link').textContent === 'live'")
            for model, status in (("my-llama", 200), ("not-there", 500)):
                order = {"model": model, "stream": False}
                async with session.post(f"{origin}/api/push", json=order) as response:
                    assert response.status == status
            await tab.until("document.querySelectorAll('#lately li.push').length === 2")
            failed, succeeded = await tab.value("[...document.querySelectorAll('#lately li')].map((i) => i.innerText)")
            assert "library/my-llama:latest" in succeeded
            assert f"to {registry.host}" in succeeded
            assert "8.0 kB" in succeeded
            assert "there already" not in succeeded
            assert "library/not-there:latest" in failed
            assert "no such file or directory" in failed
            assert tab.complaints == []

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        asyncio.run(run(registry))
