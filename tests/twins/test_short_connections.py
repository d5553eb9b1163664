"""Connections that close after a request or two without saying so: nothing fails, and nothing counts as an attempt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from tests.support.counting_proxy import CountingProxy
from tests.support.direct_push import TOTAL, Colour, Direct, either_colour, stored

from ollama_push import AsyncPushClient, PushClient
from ollama_push.core.errors import ConnectionLost
from ollama_push.core.observations import RequestRetried
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.testing.server import NextRequest, Reset, ScriptedServer, Step, chunk, head, json_answer

ONCE: Final = RetryPolicy(attempts=1)


@either_colour
@pytest.mark.parametrize(("serves", "concurrency"), [(1, 1), (1, 4), (2, 4)])
def test_a_push_over_connections_that_die_after_each_request_never_fails(
    serves: int, concurrency: int, colour: Colour, tmp_path: Path
) -> None:
    manifest = stored(tmp_path)
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        CountingProxy(registry.host, serves=serves) as proxy,
    ):
        told = colour(Direct(host=proxy.host, home=tmp_path, concurrency=concurrency, retry=ONCE))
        assert told.receipt is not None, told.error
        assert told.receipt.verified
        assert {seen.retry_in for seen in told.seen if isinstance(seen, RequestRetried)} == {0.0}
        assert proxy.body_bytes == TOTAL + len(manifest)


@either_colour
def test_a_registry_that_never_says_a_word_is_given_up(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with EmbeddedRegistry(tmp_path / "registry") as registry, CountingProxy(registry.host, serves=0) as proxy:
        told = colour(Direct(host=proxy.host, home=tmp_path))
        assert isinstance(told.error, ConnectionLost)
        assert (told.error.attempts, told.error.unread) == (4, False)


def checked_and_pushed(colour: str, url: str) -> PushReceipt:
    if colour == "sync":
        with PushClient(url, retry=ONCE) as client:
            assert client.check("myuser/my-llama").ok
            return client.push("myuser/my-llama")

    async def main() -> PushReceipt:
        async with AsyncPushClient(url, retry=ONCE) as client:
            assert (await client.check("myuser/my-llama")).ok
            return await client.push("myuser/my-llama")

    return asyncio.run(main())


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_server_that_closes_its_connections_without_a_word_is_asked_again(colour: str) -> None:
    tags = b'{"models":[{"name":"myuser/my-llama:latest","size":7}]}'
    kept = {"Connection": "keep-alive"}
    stream = b"".join([head(headers={"Transfer-Encoding": "chunked"}), chunk(b'{"status":"success"}\n'), chunk(b"")])
    answers: dict[str, list[Step]] = {
        "/api/version": [*json_answer(b'{"version":"0.12.3"}', headers=kept), NextRequest(), Reset()],
        "/api/tags": [*json_answer(tags, headers=kept), NextRequest(), Reset()],
        "/api/me": [*json_answer(b'{"name":"me"}', headers=kept), NextRequest(), Reset()],
        "/api/push": [stream, NextRequest(), Reset()],
    }
    with ScriptedServer(answers=answers) as server:
        assert checked_and_pushed(colour, server.url).attempts == 2
        assert [seen.target for seen in server.requests] == [
            "/api/version",
            *["/api/tags"] * 2,
            *["/api/me"] * 2,
            *["/api/push"] * 2,
        ]
