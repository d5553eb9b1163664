"""An async transport behaves the same when it is driven from threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from ollama_push.core.errors import ConnectionLost, UsedAfterClose
from ollama_push.core.ports import HttpRequest
from ollama_push.testing.blocking import Blocking

_GET = HttpRequest("GET", "http://h:1/x")
_SOON = 5.0


class _Peer:
    """An async transport that notes what happens to it, and where."""

    def __init__(self, *chunks: bytes | BaseException | asyncio.Event) -> None:
        self._chunks = chunks
        self.status = 200
        self.headers: Mapping[str, str] = {"a": "b"}
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.left_with: list[BaseException | None] = []
        self.reading = threading.Event()
        self.closes = 0
        self.instead: BaseException | None = None
        self.swallow = False

    @asynccontextmanager
    async def open(self, _request: HttpRequest, /) -> AsyncIterator[_Peer]:
        self.tasks.add(asyncio.current_task())
        if self.closes:
            raise UsedAfterClose("_Peer")
        try:
            yield self
        except BaseException as exc:
            self.left_with.append(exc)
            if self.instead is not None:
                raise self.instead from exc
            if not self.swallow:
                raise
        else:
            self.left_with.append(None)
        finally:
            self.tasks.add(asyncio.current_task())

    async def chunks(self) -> AsyncIterator[bytes]:
        self.tasks.add(asyncio.current_task())
        for chunk in self._chunks:
            match chunk:
                case bytes():
                    yield chunk
                case asyncio.Event():
                    self.reading.set()
                    await chunk.wait()
                case error:
                    raise error

    async def aclose(self) -> None:
        self.closes += 1


def test_status_headers_and_chunks_come_through() -> None:
    with closing(Blocking(lambda: _Peer(b"a", b"", b"b"))) as transport, transport.open(_GET) as response:
        assert (response.status, response.headers) == (200, {"a": "b"})
        assert list(response.chunks()) == [b"a", b"", b"b"]


def test_a_block_is_one_task_from_entering_to_leaving() -> None:
    peer = _Peer(b"a")
    with closing(Blocking(lambda: peer)) as transport:
        with transport.open(_GET) as response:
            list(response.chunks())
        assert len(peer.tasks) == 1
        with transport.open(_GET):
            pass
        assert len(peer.tasks) == 2


def test_leaving_early_leaves_the_block_before_the_caller_goes_on() -> None:
    peer = _Peer(b"a", asyncio.Event())
    with closing(Blocking(lambda: peer)) as transport:
        with transport.open(_GET) as response:
            assert next(response.chunks()) == b"a"
        assert peer.left_with == [None]


@pytest.mark.parametrize(
    "error", [LookupError("mine"), TimeoutError("mine"), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
def test_the_callers_error_reaches_the_transport_and_comes_back_as_it_is(error: BaseException) -> None:
    peer = _Peer()
    with closing(Blocking(lambda: peer)) as transport:
        with pytest.raises(type(error)) as caught, transport.open(_GET):
            raise error
        assert caught.value is error
        assert peer.left_with in ([error], [])


def test_an_error_among_the_chunks_is_raised_where_they_are_read() -> None:
    error = ConnectionLost("http://h:1")
    peer = _Peer(b"a", error)
    with closing(Blocking(lambda: peer)) as transport, transport.open(_GET) as response:
        chunks = response.chunks()
        assert next(chunks) == b"a"
        with pytest.raises(ConnectionLost) as caught:
            next(chunks)
        assert caught.value is error
    assert peer.left_with == [None]


def test_an_error_of_opening_is_raised_by_the_with() -> None:
    peer = _Peer()
    with closing(Blocking(lambda: peer)) as transport:
        peer.closes = 1
        with pytest.raises(UsedAfterClose), transport.open(_GET):
            pytest.fail("the block was entered")


def test_a_transport_that_swallows_is_not_covered_up() -> None:
    peer = _Peer()
    peer.swallow = True
    with closing(Blocking(lambda: peer)) as transport:
        with transport.open(_GET):
            raise LookupError
        assert len(peer.left_with) == 1


def test_an_error_that_replaces_the_callers_comes_through() -> None:
    peer = _Peer()
    peer.instead = OSError("in its place")
    with (
        closing(Blocking(lambda: peer)) as transport,
        pytest.raises(OSError, match="in its place"),
        transport.open(_GET),
    ):
        raise LookupError


def test_blocks_are_open_at_the_same_time() -> None:
    with closing(Blocking(lambda: _Peer(b"a"))) as transport, transport.open(_GET) as one, transport.open(_GET) as two:
        assert [*one.chunks(), *two.chunks()] == [b"a", b"a"]


def test_an_error_of_building_is_raised_by_the_constructor_and_leaves_no_thread() -> None:
    error = LookupError("cannot be built")

    def make() -> _Peer:
        raise error

    before = threading.active_count()
    with pytest.raises(LookupError) as caught:
        Blocking(make)
    assert caught.value is error
    for thread in threading.enumerate():
        if thread.name == "blocking-transport":
            thread.join(_SOON)
    assert threading.active_count() <= before


def test_closing_closes_the_transport_and_ends_the_thread() -> None:
    peer = _Peer()
    transport = Blocking(lambda: peer)
    assert any(thread.name == "blocking-transport" for thread in threading.enumerate())
    transport.close()
    assert peer.closes == 1
    assert not any(thread.name == "blocking-transport" for thread in threading.enumerate())


def test_closing_again_is_passed_on() -> None:
    peer = _Peer()
    transport = Blocking(lambda: peer)
    transport.close()
    transport.close()
    assert peer.closes >= 2


def test_a_request_after_close_is_the_transports_to_refuse() -> None:
    transport = Blocking(_Peer)
    transport.close()
    with pytest.raises(UsedAfterClose, match="_Peer"), transport.open(_GET):
        pytest.fail("the block was entered")


def test_an_error_of_closing_is_raised_by_close() -> None:
    class Stuck(_Peer):
        async def aclose(self) -> None:
            raise LookupError("stuck")

    with pytest.raises(LookupError, match="stuck"):
        Blocking(Stuck).close()


def test_closing_while_another_thread_reads_ends_its_reading() -> None:
    peer = _Peer(asyncio.Event())
    transport = Blocking(lambda: peer)
    seen: list[BaseException] = []

    def read() -> None:
        try:
            with transport.open(_GET) as response:
                list(response.chunks())
        except ConnectionLost as exc:
            seen.append(exc)

    reader = threading.Thread(target=read)
    reader.start()
    assert peer.reading.wait(_SOON)
    transport.close()
    reader.join(_SOON)
    assert [str(exc) for exc in seen] == [str(ConnectionLost("http://h:1", "the transport was closed"))]
    assert [type(exc) for exc in peer.left_with] == [asyncio.CancelledError]


def test_a_block_can_still_be_left_after_close() -> None:
    peer = _Peer(b"a")
    transport = Blocking(lambda: peer)
    with transport.open(_GET) as response:
        transport.close()
        with pytest.raises(ConnectionLost):
            next(response.chunks())
    assert len(peer.left_with) == 1
