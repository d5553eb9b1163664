"""Exceptions that are not ours reach the caller as they are, and the connection is closed: no verdict, no retry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import MIB
from tests.support.direct_push import PATIENCE, Direct, settings, stored
from tests.support.raw_peer import Peer, Zeros, serving
from tests.support.signals import JobTimeLimit, raising

from ollama_push import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient, RetryPolicy
from ollama_push.core.errors import MachineMisuse, TransportMisbehaved
from ollama_push.core.observations import AttemptFailed, Observation, PushFinished, PushOutcome
from ollama_push.core.ports import AsyncTransport, HttpRequest
from ollama_push.core.registry.credentials import Login
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall
from ollama_push.testing.server import Hangup, Hold, Script, ScriptedServer, lines_answer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

SILENT: Final[Script] = (Hold(),)
ENDLESS: Final[Script] = (*lines_answer([b'{"status":"retrieving manifest"}'], end=False), Hold())
LOST: Final[Script] = (Hangup(),)
OFTEN: Final = RetryPolicy(attempts=3, base=0)
RARELY: Final = RetryPolicy(attempts=3, base=50, cap=50)

Ask = Callable[[str, list[Observation], RetryPolicy], None]


def push(url: str, seen: list[Observation], retry: RetryPolicy) -> None:
    with PushClient(url, hooks=[seen.append], retry=retry) as client:
        client.push("a/b")


def push_async(url: str, seen: list[Observation], retry: RetryPolicy) -> None:
    async def run() -> None:
        async with AsyncPushClient(url, hooks=[seen.append], retry=retry) as client:
            await client.push("a/b")

    asyncio.run(run())


def check(url: str, _seen: list[Observation], retry: RetryPolicy) -> None:
    with PushClient(url, retry=retry) as client:
        client.check("a/b")


def check_async(url: str, _seen: list[Observation], retry: RetryPolicy) -> None:
    async def run() -> None:
        async with AsyncPushClient(url, retry=retry) as client:
            await client.check("a/b")

    asyncio.run(run())


ERRORS: Final = (TimeoutError, JobTimeLimit, ConnectionResetError, ValueError, KeyboardInterrupt, SystemExit)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(
    ("ask", "script", "retry"),
    [
        (push, SILENT, OFTEN),
        (push, ENDLESS, OFTEN),
        (push, LOST, RARELY),
        (check, SILENT, OFTEN),
        (push_async, SILENT, OFTEN),
        (push_async, ENDLESS, OFTEN),
        (push_async, LOST, RARELY),
        (check_async, SILENT, OFTEN),
    ],
)
def test_what_a_signal_handler_raises_reaches_the_caller(
    ask: Ask, script: Script, retry: RetryPolicy, kind: type[BaseException]
) -> None:
    seen: list[Observation] = []
    error = kind("the job's limit")

    def is_due() -> bool:
        if script is LOST:  # between two attempts
            return any(isinstance(one, AttemptFailed) for one in list(seen))
        return bool(server.requests)

    with ScriptedServer(script) as server:
        in_select = ask in (push_async, check_async)
        with raising(error, is_due, in_select=in_select), pytest.raises(kind) as caught:
            ask(server.url, seen, retry)
        assert server.wait_for_open(0, PATIENCE)
        assert server.accepted == 1
    assert caught.value is error
    assert error.__cause__ is None
    assert [one.outcome for one in seen if isinstance(one, PushFinished)] in ([], [PushOutcome.CANCELLED])
    assert sum(isinstance(one, AttemptFailed) for one in seen) == (script is LOST)


@pytest.mark.parametrize("kind", ERRORS)
def test_the_transports_themselves_let_it_through(kind: type[BaseException]) -> None:
    def urllib3(url: str) -> None:
        with Urllib3Transport() as transport, transport.open(HttpRequest("GET", url)) as response:
            list(response.chunks())

    def aiohttp(url: str) -> None:
        async def run() -> None:
            async with AiohttpTransport() as transport, transport.open(HttpRequest("GET", url)) as response:
                async for _ in response.chunks():
                    pass

        asyncio.run(run())

    for use in (urllib3, aiohttp):
        for script in (SILENT, ENDLESS):
            error = kind("the job's limit")
            with ScriptedServer(script) as server:
                in_select = use is aiohttp
                with raising(error, lambda: bool(server.requests), in_select=in_select), pytest.raises(kind) as caught:
                    use(server.url)
                assert caught.value is error
                assert server.wait_for_open(0, PATIENCE)


def test_it_is_let_through_while_a_body_is_sent() -> None:
    error = TimeoutError("the job's limit")

    def take_nothing(peer: Peer) -> None:
        peer.head()
        peer.release.wait(PATIENCE)
        peer.body(64 * MIB)

    with serving(take_nothing) as peer, Urllib3Transport() as transport:
        request = HttpRequest("PUT", peer.url, body=Zeros(64 * MIB))
        with raising(error, lambda: bool(peer.heads)), pytest.raises(TimeoutError) as caught:
            transport.open(request).__enter__()
        peer.release.set()
        assert peer.gone.wait(PATIENCE)
    assert caught.value is error


@pytest.mark.parametrize("kind", [TimeoutError, JobTimeLimit, KeyboardInterrupt])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_direct_push_is_left_too(colour: str, kind: type[BaseException], tmp_path: Path) -> None:
    seen: list[Observation] = []
    error = kind("the job's limit")
    stored(tmp_path)
    stall = Fault("PATCH", after_bytes=MIB // 2, action=Stall(30.0))

    def run(asked: Direct) -> None:
        with RegistryClient(**settings(asked, [seen.append])) as client:
            client.push(asked.name, source=asked.source)

    async def run_async(asked: Direct) -> None:
        async with AsyncRegistryClient(**settings(asked, [seen.append])) as client:
            await client.push(asked.name, source=asked.source)

    with EmbeddedRegistry(tmp_path / "registry", faults=[stall]) as registry:
        asked = Direct(host=registry.host, home=tmp_path)
        in_select = colour == "async"
        with (
            raising(error, lambda: registry.received_bytes >= MIB // 2, in_select=in_select),
            pytest.raises(kind) as caught,
        ):
            run(asked) if colour == "sync" else asyncio.run(run_async(asked))
    assert caught.value is error
    assert [one.outcome for one in seen if isinstance(one, PushFinished)] == [PushOutcome.CANCELLED]


def test_what_the_caller_throws_into_the_events_comes_back() -> None:
    seen: list[Observation] = []
    error = KeyError("mine")
    with ScriptedServer(ENDLESS) as server, PushClient(server.url, hooks=[seen.append]) as client:
        with client.stream("a/b") as events:
            next(events)
            with pytest.raises(KeyError) as caught:
                events.throw(error)  # type: ignore[attr-defined]  # a generator
        assert server.wait_for_open(0, PATIENCE)
        assert server.accepted == 1
    assert caught.value is error
    assert isinstance(seen[-1], PushFinished)
    assert seen[-1].outcome is PushOutcome.CANCELLED


def test_what_the_caller_throws_into_the_async_events_comes_back() -> None:
    error = KeyError("mine")

    async def run(url: str) -> None:
        async with AsyncPushClient(url) as client, client.stream("a/b") as events:
            await anext(events)
            await events.athrow(error)  # type: ignore[attr-defined]  # a generator

    with ScriptedServer(ENDLESS) as server:
        with pytest.raises(KeyError) as caught:
            asyncio.run(run(server.url))
        assert server.wait_for_open(0, PATIENCE)
    assert caught.value is error


class Lent:
    """A transport that hands over what it is told to."""

    def __init__(self, *, status: object = 200, headers: object = None, chunk: object = b"", inner: Any = None) -> None:
        self.status, self.headers = status, {} if headers is None else headers
        self._chunk = chunk
        self._inner = inner

    @contextmanager
    def open(self, _request: HttpRequest, /) -> Iterator[Any]:
        if self._inner is not None:
            self._inner()
        yield self

    def chunks(self) -> Iterator[Any]:
        yield self._chunk

    def close(self) -> None:
        """Nothing to close."""


class AsyncLent(Lent):
    """The same, awaited."""

    @asynccontextmanager
    async def open(self, _request: HttpRequest, /) -> AsyncIterator[Any]:  # type: ignore[override]
        if self._inner is not None:
            self._inner()
        yield self

    async def chunks(self) -> AsyncIterator[Any]:  # type: ignore[override]
        yield self._chunk

    async def aclose(self) -> None:
        """Nothing to close."""


WRONG: Final[tuple[dict[str, object], ...]] = (
    {"status": "200"},
    {"status": None},
    {"headers": ["content-type"]},
    {"headers": {"content-type": 5}},
    {"chunk": '{"status":"success"}\n'},
    {"chunk": 5},
)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("call", ["push", "check"])
def test_what_a_transport_returns_of_its_own_is_its_misbehaviour(wrong: dict[str, Any], call: str) -> None:
    with PushClient("http://h", transport=Lent(**wrong)) as client, pytest.raises(TransportMisbehaved):
        getattr(client, call)("a/b")

    async def run() -> None:
        async with AsyncPushClient("http://h", transport=AsyncLent(**wrong)) as client:
            await getattr(client, call)("a/b")

    with pytest.raises(TransportMisbehaved):
        asyncio.run(run())


def test_a_handler_raises_through_a_transport_of_others() -> None:
    error = JobTimeLimit()

    def wait() -> None:
        with raising(error, lambda: True):
            while True:
                pass

    with PushClient("http://h", transport=Lent(inner=wait)) as client, pytest.raises(JobTimeLimit) as caught:
        client.push("a/b")
    assert caught.value is error


def test_what_our_adapters_let_through_is_not_blamed_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyThreadState_SetAsyncExc and gevent raise it: with no handler's frame to be seen."""
    error = JobTimeLimit()

    def limited(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("ollama_push.transports._urllib3.proxy_for", limited)
    with PushClient("http://h") as client, pytest.raises(JobTimeLimit) as caught:
        client.push("a/b")
    assert caught.value is error


async def _push_without_asyncio(url: str) -> None:
    await AsyncPushClient(url).push("a/b")


async def _check_without_asyncio(url: str) -> None:
    await AsyncPushClient(url).check("a/b")


async def _plan_without_asyncio(url: str) -> None:
    await AsyncRegistryClient().plan(f"{url.partition('//')[2]}/a/b")


async def _login_without_asyncio(url: str) -> None:
    await AsyncRegistryClient().try_login(url.partition("//")[2], Login("a", "b"))


async def _open_without_asyncio(url: str) -> None:
    transport: AsyncTransport = AiohttpTransport()
    async with transport.open(HttpRequest("GET", url)):
        pass


@pytest.mark.parametrize(
    "ask",
    [
        _push_without_asyncio,
        _check_without_asyncio,
        _plan_without_asyncio,
        _login_without_asyncio,
        _open_without_asyncio,
    ],
)
def test_another_event_loop_is_told_which_one_is_needed(ask: Callable[[str], Any]) -> None:
    trio = pytest.importorskip("trio", reason="trio is not installed")
    with ScriptedServer(ENDLESS) as server, pytest.raises(MachineMisuse, match="needs the event loop of asyncio"):
        trio.run(ask, server.url)
