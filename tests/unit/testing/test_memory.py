"""The in-memory transports play their script and keep the contract as far as memory goes, sync and async alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ollama_push import AsyncPushClient, PushClient, PushReceipt
from ollama_push.core.errors import ConnectFailed, ConnectionLost, TransportError, UsedAfterClose
from ollama_push.core.ports import HttpRequest
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.blocking import Blocking
from ollama_push.testing.memory import AsyncScriptedTransport, ScriptedAnswer, ScriptedTransport

_GET = HttpRequest("GET", "http://h:1/x")
_SUCCESS = ScriptedAnswer((b'{"status":"pushing manifest"}\n{"sta', b'tus":"success"}\n'))

Played = ScriptedTransport | AsyncScriptedTransport
Play = Callable[..., tuple[ScriptedTransport | Blocking, Played]]


def _sync(*answers: ScriptedAnswer | Exception) -> tuple[ScriptedTransport, Played]:
    transport = ScriptedTransport(*answers)
    return transport, transport


@pytest.fixture(params=["sync", "async"])
def play(request: pytest.FixtureRequest) -> Iterator[Play]:
    """Build a transport to use, and the one to look into: the same, or the async one behind it."""
    opened: list[Blocking] = []

    def _async(*answers: ScriptedAnswer | Exception) -> tuple[Blocking, Played]:
        played = AsyncScriptedTransport(*answers)
        opened.append(Blocking(lambda: played))
        return opened[-1], played

    yield _sync if request.param == "sync" else _async
    for blocking in opened:
        blocking.close()


def test_answers_come_in_order_and_the_last_one_repeats(play: Play) -> None:
    transport, _ = play(ScriptedAnswer(status=404, headers={"X-Y": "1"}), ScriptedAnswer((b"a", b"b")))
    seen = []
    for _ in range(3):
        with transport.open(_GET) as response:
            seen.append((response.status, dict(response.headers), list(response.chunks())))
    body = (200, {"content-type": "application/x-ndjson"}, [b"a", b"b"])
    assert seen == [(404, {"x-y": "1"}, []), body, body]


def test_without_a_script_every_answer_is_empty(play: Play) -> None:
    transport, _ = play()
    with transport.open(_GET) as response:
        assert (response.status, list(response.chunks())) == (200, [])


def test_an_error_instead_of_an_answer_is_raised_by_open(play: Play) -> None:
    error = ConnectFailed("http://h:1")
    transport, played = play(error)
    with pytest.raises(ConnectFailed) as caught, transport.open(_GET):
        pytest.fail("the block was entered")
    assert caught.value is error
    assert played.requests == [_GET]


def test_an_error_among_the_chunks_is_raised_in_its_place(play: Play) -> None:
    error = ConnectionLost("http://h:1")
    transport, played = play(ScriptedAnswer((b"a", error, b"never")))
    got: list[bytes] = []
    with pytest.raises(ConnectionLost) as caught, transport.open(_GET) as response:
        got.extend(response.chunks())
    assert caught.value is error
    assert played.hangups == 1


def test_chunks_before_an_error_are_handed_over(play: Play) -> None:
    transport, _ = play(ScriptedAnswer((b"a", ConnectionLost("http://h:1"))))
    with transport.open(_GET) as response:
        chunks = response.chunks()
        assert next(chunks) == b"a"
        with pytest.raises(ConnectionLost):
            next(chunks)


def test_only_blocks_that_were_left_early_count_as_hangups(play: Play) -> None:
    transport, played = play(ScriptedAnswer((b"a", b"b")))
    with transport.open(_GET) as response:
        list(response.chunks())
    assert played.hangups == 0
    with transport.open(_GET) as response:
        next(response.chunks())
    assert played.hangups == 1
    with pytest.raises(LookupError), transport.open(_GET):
        raise LookupError
    assert played.hangups == 2


class _ReusedBuffer:
    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[memoryview]:
        buffer = bytearray(2)
        for piece in (b"ab", b"cd"):
            buffer[:] = piece
            yield memoryview(buffer)


def test_a_sized_body_is_recorded_as_its_bytes(play: Play) -> None:
    transport, played = play()
    with transport.open(HttpRequest("PUT", "http://h/", {"A": "b"}, _ReusedBuffer(), 3.0)):
        pass
    assert played.requests == [HttpRequest("PUT", "http://h/", {"A": "b"}, b"abcd", 3.0)]


def test_a_closed_transport_refuses_and_records_nothing(play: Play) -> None:
    transport, played = play()
    transport.close()
    transport.close()
    assert played.closed
    with pytest.raises(UsedAfterClose), transport.open(_GET):
        pytest.fail("the block was entered")
    assert played.requests == []


def test_the_body_ends_with_the_block() -> None:
    transport = ScriptedTransport(ScriptedAnswer((b"a", b"b")))
    with transport.open(_GET) as response:
        chunks = response.chunks()
        next(chunks)
    with pytest.raises(ConnectionLost, match="the block was left"):
        next(chunks)


def test_threads_get_one_answer_each() -> None:
    answers = [ScriptedAnswer((b"%d" % number,)) for number in range(50)]
    transport = ScriptedTransport(*answers)

    def fetch(_number: int) -> bytes:
        with transport.open(_GET) as response:
            return b"".join(response.chunks())

    with ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(fetch, range(50)))
    assert sorted(map(int, bodies)) == list(range(50))


def test_a_client_pushes_through_it_and_tries_again() -> None:
    transport = ScriptedTransport(ConnectionLost("http://h"), _SUCCESS)
    with PushClient("http://h", transport=transport, retry=RetryPolicy(base=0.0)) as client:
        assert isinstance(client.push("me/model"), PushReceipt)
    assert [request.url for request in transport.requests] == ["http://h:80/api/push"] * 2
    assert not transport.closed, "the client closes only what it opened"


def test_an_async_client_pushes_through_it() -> None:
    async def push() -> PushReceipt:
        async with AsyncPushClient("http://h", transport=transport) as client:
            return await client.push("me/model")

    transport = AsyncScriptedTransport(_SUCCESS)
    assert asyncio.run(push()).attempts == 1


def test_an_async_answer_can_be_cancelled() -> None:
    async def read_for_ever() -> None:
        async with transport.open(_GET) as response:
            async for _chunk in response.chunks():
                started.set()

    async def main() -> None:
        task = asyncio.create_task(read_for_ever())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = asyncio.Event()
    transport = AsyncScriptedTransport(ScriptedAnswer((b"a",) * 10_000))
    asyncio.run(main())
    assert transport.hangups == 1


def test_errors_of_the_script_need_not_be_ours() -> None:
    transport = ScriptedTransport(ValueError("a transport's mistake"))
    with pytest.raises(ValueError, match="mistake"), transport.open(_GET):
        pytest.fail("the block was entered")
    assert not issubclass(ValueError, TransportError)
