"""Wrong arguments, hooks and transports: a clear error each, nothing lost, nothing left open."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import pytest

from ollama_push import AsyncPushClient, InvalidModelName, InvalidSetting, PushClient, RetryPolicy
from ollama_push.core.errors import ServerError, TransportMisbehaved, UsedAfterClose
from ollama_push.core.observations import Observation, PushFinished
from ollama_push.core.ports import HttpRequest, Response
from ollama_push.testing.server import Script, ScriptedServer, json_answer, lines_answer

OK: Final[Script] = lines_answer([b'{"status":"retrieving manifest"}', b'{"status":"success"}'])
Client = type[PushClient] | type[AsyncPushClient]
CLIENTS: Final = (PushClient, AsyncPushClient)


@pytest.mark.parametrize(
    "name", ["", "  ", "b", "a/" + "b" * 81, "a/b ", "ä/b", "a/b:", "a//b", "a/b@sha256:0", "../b/c"]
)
def test_a_bad_name_is_refused_before_any_io(name: str) -> None:
    async def run(url: str) -> None:
        async with AsyncPushClient(url) as client:
            with pytest.raises(InvalidModelName):
                await client.push(name)

    with ScriptedServer() as server:
        with PushClient(server.url) as client:
            with pytest.raises(InvalidModelName):
                client.push(name)
            with pytest.raises(InvalidModelName):
                client.stream(name)
            assert isinstance(client.check(name).problems[0], InvalidModelName)
        asyncio.run(run(server.url))
        assert server.accepted == 0


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"host": "not a host"}, "host"),
        ({"host": "ftp://h"}, "host"),
        ({"host": 5}, "host"),
        ({"stall_timeout": -1}, "stall_timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"stall_timeout": math.nan}, "stall_timeout"),
        ({"stall_timeout": True}, "stall_timeout"),
        ({"hooks": [5]}, "hooks"),
        ({"headers": {"A b": "c"}}, "headers"),
        ({"headers": {"A": "b\r\nC: d"}}, "headers"),
        ({"headers": {"Content-Length": "5"}}, "headers"),
    ],
)
def test_a_bad_setting_is_named(kind: Client, options: dict[str, Any], setting: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        kind(**options)
    assert caught.value.setting == setting
    assert "C: d" not in str(caught.value)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base": -1}, {"cap": math.nan}, {"attempts": True}])
def test_a_bad_retry_policy_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        RetryPolicy(**options)


def test_a_bad_address_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://me:hush@h")
    with pytest.raises(InvalidSetting) as caught:
        PushClient()
    assert caught.value.setting == "OLLAMA_HOST"
    assert "hush" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("mine", "sent"),
    [({}, "Bearer key-1"), ({"authorization": "Basic mine"}, "Basic mine")],
    ids=["from the environment", "the caller's wins"],
)
def test_the_api_key_goes_to_the_server(mine: dict[str, str], sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(OK) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("OLLAMA_API_KEY", "key-1")
        with PushClient(headers=mine) as client:
            client.push("a/b")
            assert "key-1" not in repr(client._settings)
        assert server.requests[0].headers["authorization"] == sent


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("key", ["\u201csk-hush\u201d", "\ufeffsk-hush", "sk-hush\nX: y", "\u00e9sk-hush"])
def test_an_api_key_that_no_header_can_hold_is_named(kind: Client, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", key)
    with pytest.raises(InvalidSetting) as caught:
        kind()
    assert caught.value.setting == "OLLAMA_API_KEY"
    assert "hush" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_does_not_push_leads_to_a_push_without_one(status: int) -> None:
    with ScriptedServer(json_answer(b"404 page not found", status)) as server:
        for address, said in ((server.url, "RegistryClient pushes without one"), (f"{server.url}/v1", "path /v1 out")):
            with PushClient(address) as client, pytest.raises(ServerError, match=said):
                client.push("a/b")
            with pytest.raises(ServerError, match=said):
                asyncio.run(push_async(address))


async def push_async(address: str) -> None:
    async with AsyncPushClient(address) as client:
        await client.push("a/b")


def test_a_hook_that_raises_is_logged_once_and_cannot_fail_a_push(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Observation] = []

    def broken(_seen: Observation) -> None:
        raise KeyError("mine")

    with ScriptedServer(OK) as server, PushClient(server.url, hooks=[broken, seen.append]) as client:
        with caplog.at_level(logging.ERROR, "ollama_push.hooks"):
            assert client.push("a/b").attempts == 1
        assert len(caplog.records) == 1
        assert isinstance(seen[-1], PushFinished)


class Wrong:
    """A transport that raises what it must not."""

    def __init__(self, where: str) -> None:
        self._where = where

    @contextmanager
    def open(self, _request: HttpRequest, /) -> Iterator[Response]:
        if self._where == "open":
            raise KeyError("hush: password=hush")
        yield self

    status = 200
    headers: Final[dict[str, str]] = {}

    def chunks(self) -> Iterator[bytes]:
        yield b'{"status":"a"}\n'
        raise ZeroDivisionError

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("where", ["open", "chunks"])
def test_a_transport_that_raises_the_wrong_type_is_blamed(where: str) -> None:
    for ask in (lambda client: client.push("a/b"), lambda client: client.check("a/b")):
        _expect_blame(where, ask)


def _expect_blame(where: str, ask: Callable[[PushClient], object]) -> None:
    with PushClient("http://h", transport=Wrong(where)) as client:
        with pytest.raises(TransportMisbehaved) as caught:
            ask(client)
        assert isinstance(caught.value.__cause__, KeyError | ZeroDivisionError)
        assert caught.value.transport == "Wrong"


def test_two_pushes_at_once_on_one_client_do_not_meet() -> None:
    with ScriptedServer(OK) as server, PushClient(server.url) as client:
        with client.stream("a/one") as first, client.stream("a/two") as second:
            assert len(list(second)) == len(list(first)) == 2
        assert server.accepted == 2


def test_use_after_close_is_refused() -> None:
    async def run() -> None:
        client = AsyncPushClient("http://h")
        await client.aclose()
        await client.aclose()
        for ask in (client.push("a/b"), client.check("a/b")):
            with pytest.raises(UsedAfterClose):
                await ask

    client = PushClient("http://h")
    client.close()
    client.close()
    for ask in (client.push, client.stream, client.check):
        with pytest.raises(UsedAfterClose, match="PushClient is closed"):
            ask("a/b")
    asyncio.run(run())


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_private_push_goes_to_a_server_that_says_that_it_knows_it_and_to_no_other(
    kind: Client, *, known: bool
) -> None:
    async def run(url: str) -> None:
        async with AsyncPushClient(url) as client:
            await client.push("a/b", private=True)

    version = json_answer(b'{"version":"0.32.15","private":true}' if known else b'{"version":"0.32.15"}')
    with ScriptedServer(version, OK) as server:
        expected = nullcontext() if known else pytest.raises(InvalidSetting, match="does not say that it knows private")
        with expected:
            if kind is PushClient:
                with PushClient(server.url) as client:
                    client.push("a/b", private=True)
            else:
                asyncio.run(run(server.url))
    asked = [(request.method, request.target) for request in server.requests]
    assert asked == [("GET", "/api/version"), *([("POST", "/api/push")] if known else [])]
    assert all(b'"private":true' in request.body for request in server.requests[1:])
