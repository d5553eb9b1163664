"""The status page as it arrives: complete, and harmless whatever a peer says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from aiohttp import ClientResponse, ClientSession
from tests.support.status_page import (
    OTHER,
    a_push_under_way,
    begin,
    running,
    serving,
)

from ollama_push.core.events import LayerProgress, PushSucceeded
from ollama_push.core.observations import PushOutcome
from ollama_push.core.pullability import Pullability, PullObstacle, PullProblem
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.gateway.push_history import PushHistory
from ollama_push.local import ModelStore


async def page(history: PushHistory) -> tuple[str, ClientResponse]:
    async with serving(history) as origin, ClientSession() as session, session.get(f"{origin}/ui") as response:
        return await response.text(), response


class Words(HTMLParser):
    """What a page says, and the tags it says it in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def test_a_push_under_way_is_shown_with_all_its_numbers() -> None:
    seconds = [100.0]
    history = PushHistory(clock=lambda: seconds[0])
    push = a_push_under_way(history)
    seconds[0] = 110.0
    push.receive_event(LayerProgress(OTHER, 3_000_000_000, 2_000_000_000, "pushing 3f2a9c11d0aa"))
    text = " ".join(Words(asyncio.run(page(history))[0]).text.split())
    for word in (
        "team/my-llama:v1",
        "to registry.example.com",
        "running",
        "75 %, 3.0 GB of 4.0 GB",
        "200 MB/s",
        "5.0 s left",
        "2 layers, 1 done",
        "3f2a9c11d0aa 66 % of 3.0 GB",
        "49a7f1752a33 there already",
    ):
        assert word in text
    assert "plain HTTP" not in text


def test_pushes_that_are_over_are_shown_with_verdict_error_size_and_duration() -> None:
    seconds = [100.0]
    history = PushHistory(clock=lambda: seconds[0], now=lambda: 1_700_000_000.0)
    good, bad, left = (
        a_push_under_way(history),
        begin(history, "localhost:5000/a/b:c", "http://localhost:5000"),
        begin(history),
    )
    seconds[0] = 165.0
    good.receive_event(PushSucceeded())
    good.finish(PushOutcome.SUCCEEDED)
    bad.finish(PushOutcome.FAILED, "unauthorized: access denied")
    left.finish(PushOutcome.CANCELLED)
    text = " ".join(Words(asyncio.run(page(history))[0]).text.split())
    began = "began 2023-11-14 22:13 UTC"
    assert f"succeeded to registry.example.com 4.0 GB 1.0 GB of it were there already in 1m05s {began}" in text
    assert f"a/b:c failed to localhost:5000 plain HTTP unauthorized: access denied in 1m05s {began}" in text
    assert f"cancelled to registry.example.com in 1m05s {began}" in text
    assert "0 running, 1 succeeded, 1 failed, 1 cancelled since the start" in text


def test_of_a_push_is_said_whether_a_stock_pull_gets_it() -> None:
    history = PushHistory()
    push = begin(history)
    push.pullability = Pullability([PullObstacle(PullProblem.FOREIGN_REALM, "<auth.example.com>")], 1)
    push.finish(PushOutcome.SUCCEEDED)
    html, _ = asyncio.run(page(history))
    assert (
        "can a stock `ollama pull` get it from there? no: the registry&#x27;s tokens come from another host,"
        " &lt;auth.example.com&gt;, which a pull refuses; pull through this gateway"
    ) in html


def test_a_model_of_hundreds_of_tensors_shows_those_under_way() -> None:
    history = PushHistory()
    push = begin(history)
    for number in range(300):
        push.receive_event(LayerProgress(f"sha256:{number:064x}", 10, 0 if number == 299 else 10))
    html, _ = asyncio.run(page(history))
    assert html.count("<code>") == 12
    assert html.index("0 % of 10 B") < html.index("there already")
    assert "and 288 more" in html


def test_what_a_peer_says_is_text_and_nothing_else() -> None:
    history = PushHistory()
    evil = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;</li>"""
    begin(history).finish(PushOutcome.FAILED, evil)
    push = begin(history, f"{evil}:v1", f"https://{evil}")
    push.receive_event(LayerProgress(f"sha256:{evil}", 10, 5, evil))
    words = Words(asyncio.run(page(history))[0])
    kinds = [tag for tag, _ in words.tags]
    assert (kinds.count("script"), kinds.count("img"), kinds.count("li")) == (1, 0, 3)
    assert not any(name.startswith("on") for _, attributes in words.tags for name in attributes)
    assert evil in words.text


def test_no_secret_reaches_the_page() -> None:
    history = PushHistory()
    begin(history).finish(PushOutcome.FAILED, "PUT https://me:pa55@cdn.example.com/x?X-Amz-Signature=5ec2e7: 403")
    html, _ = asyncio.run(page(history))
    assert "cdn.example.com" in html
    assert "pa55" not in html
    assert "5ec2e7" not in html


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else() -> None:
    html, response = asyncio.run(page(PushHistory()))
    directives = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert directives.pop("default-src") == "'none'"
    for tag in ("script", "style"):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives.pop(f"{tag}-src") == f"'sha256-{hashed}'"
    assert directives == {
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_loads_nothing_from_anywhere() -> None:
    html, _ = asyncio.run(page(PushHistory()))
    links = [a[name] for _, a in Words(html).tags for name in ("src", "href", "srcset", "data") if name in a]
    assert links == ["data:,"]
    assert "@import" not in html
    assert "url(" not in html


def test_every_bar_has_a_name_and_news_are_announced() -> None:
    history = PushHistory()
    a_push_under_way(history)
    tags = Words(asyncio.run(page(history))[0]).tags
    names = [attributes.get("aria-label") for tag, attributes in tags if tag == "progress"]
    assert len(names) == 3
    assert all(names)
    assert [a["aria-live"] for _, a in tags if "aria-live" in a] == ["polite"]
    assert ("html", {"lang": "en"}) in tags


def test_a_gateway_with_a_token_has_browsers_ask_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        app = create_app(GatewaySettings(store=ModelStore(tmp_path), token="open-sesame"))
        shown = f"Basic {base64.b64encode(b'anybody:open-sesame').decode()}"
        async with running(app) as origin, ClientSession() as session:
            for path in ("/ui", "/ui/events"):
                async with session.get(f"{origin}{path}") as refused:
                    assert (refused.status, refused.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
                async with session.get(
                    f"{origin}{path}",
                    headers={"Authorization": shown},
                ) as response:
                    assert response.status == 200

    asyncio.run(run())


def test_a_gateway_without_the_page_has_neither_page_nor_stream(tmp_path: Path) -> None:
    async def run() -> list[int]:
        app = create_app(GatewaySettings(store=ModelStore(tmp_path), ui=False))
        async with running(app) as origin, ClientSession() as session:
            return [(await session.get(f"{origin}{path}")).status for path in ("/ui", "/ui/events")]

    assert asyncio.run(run()) == [404, 404]
