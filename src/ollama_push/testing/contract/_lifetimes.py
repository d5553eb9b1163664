"""T4, T11, T12, T13: when a connection ends, and what is left of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Final

from ollama_push.core.errors import UsedAfterClose, shorten
from ollama_push.testing.answers import chunk, head
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    Clause,
    Rig,
    ask,
    clause_into,
    expect,
    fail,
    fetch,
    plain,
    raised_by,
)
from ollama_push.testing.server import ScriptedServer
from ollama_push.testing.steps import NextRequest, Step

__all__ = ["CLAUSES"]

CLAUSES: Final[list[Clause]] = []
_clause = partial(clause_into, CLAUSES)

_AT_ONCE: Final = 4
_IN_A_ROW: Final = 20


@_clause("T4", "after a chunk", "Leaving the block after a chunk hangs up at once.")
def _(rig: Rig) -> None:
    with ScriptedServer([CHUNKED, chunk(b"first\n"), rig.hold]) as server, rig.transport() as transport:
        with transport.open(ask(server)) as response:
            next(response.chunks())
        _expect_hangup(server, rig)


@_clause("T4", "before a chunk", "Leaving the block without reading the body hangs up at once.")
def _(rig: Rig) -> None:
    with ScriptedServer([head(headers={"Content-Length": "9"}), rig.hold]) as server, rig.transport() as transport:
        with transport.open(ask(server)):
            pass
        _expect_hangup(server, rig)


@_clause("T4", "in a flood", "Leaving the block does not read what is left of the body.")
def _(rig: Rig) -> None:
    # Far more than the kernel buffers: the server gets through with it only when somebody reads it.
    flood = [chunk(bytes(65_536))] * 1_000
    with ScriptedServer([CHUNKED, *flood, chunk(b"")]) as server, rig.transport() as transport:
        with transport.open(ask(server)) as response:
            next(response.chunks())
        _expect_hangup(server, rig)


@_clause("T4", "next request", "A request after a block that was left early gets an answer of its own.")
def _(rig: Rig) -> None:
    left: list[Step] = [head(headers={"Content-Length": "12"}) + b"stale ", NextRequest(), b"stale "]
    with ScriptedServer(left, [plain(b"fresh")]) as server, rig.transport() as transport:
        with transport.open(ask(server)):
            pass
        body = fetch(transport, ask(server)).body
        expect(body == b"fresh", f"the next request was answered with {body!r}")


class _Mine(Exception):
    """An error of the caller's own."""


def _expect_passage(rig: Rig, error: BaseException) -> None:
    def work() -> None:
        with transport.open(ask(server)) as response:
            next(response.chunks())
            raise error

    with ScriptedServer([CHUNKED, chunk(b"first\n"), rig.hold]) as server, rig.transport() as transport:
        caught = raised_by(BaseException, work)
        expect(caught is error, f"{shorten(error)} came out as {shorten(caught)}")
        expect(caught.__cause__ is None, f"{shorten(error)} came out with a cause")
        _expect_hangup(server, rig)


@_clause("T11", "own errors", "An error raised inside the block passes through untouched, and the connection is gone.")
def _(rig: Rig) -> None:
    for error in (_Mine("mine"), KeyboardInterrupt()):
        _expect_passage(rig, error)


@_clause("T11", "look-alikes", "An error raised inside the block is not taken for the network's.")
def _(rig: Rig) -> None:
    for error in (OSError("mine"), ConnectionResetError("mine"), TimeoutError("mine"), ValueError("mine"), EOFError()):
        _expect_passage(rig, error)


@_clause("T12", "closed", "After close() no connection is left open, and closing again does no harm.")
def _(rig: Rig) -> None:
    with ScriptedServer([plain(b"first"), NextRequest()]) as server:
        transport = rig.make(rig.patience)
        fetch(transport, ask(server))
        transport.close()
        server.wait_for_open(0, rig.patience)
        left = server.open_connections
        transport.close()
        expect(left == 0, f"{left} connections were open after close()")


@_clause("T12", "used after close", "After close() a request is UsedAfterClose, and nothing is sent.")
def _(rig: Rig) -> None:
    with ScriptedServer([plain(b"first")]) as server:
        transport = rig.make(rig.patience)
        transport.close()
        try:
            raised_by(UsedAfterClose, lambda: fetch(transport, ask(server)))
        finally:
            transport.close()
        expect(not server.requests, "a request arrived after close()")


@_clause("T13", "at once", "Requests run at the same time, and each gets its own answer.")
def _(rig: Rig) -> None:
    # Every thread waits inside its block for the others to get into theirs.
    everyone_in = threading.Barrier(_AT_ONCE, timeout=rig.patience)

    def work(number: int) -> tuple[int, bytes]:
        with transport.open(ask(server, target=f"/{number}")) as response:
            chunks = response.chunks()
            first = next(chunks)
            everyone_in.wait()
            return number, first + b"".join(chunks)

    bodies = [b"%d\n" % number * 2 for number in range(_AT_ONCE)]
    # Announced, because the end of the script is the end of the connection: nobody may use it again.
    start = head(headers={"Transfer-Encoding": "chunked", "Connection": "close"})
    scripts = [[start + chunk(body[:2]) + chunk(body[2:]) + chunk(b"")] for body in bodies]
    with (
        ScriptedServer(*scripts) as server,
        rig.transport() as transport,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        try:
            received = sorted(body for _number, body in threads.map(work, range(_AT_ONCE)))
        except threading.BrokenBarrierError as exc:
            fail(f"{_AT_ONCE} requests did not run at the same time", exc)
        expect(received == bodies, f"the bodies {bodies} were handed over as {received}")


@_clause("T13", "one after another", "Requests that are finished leave at most one connection behind.")
def _(rig: Rig) -> None:
    answer: list[Step] = [CHUNKED + chunk(b"body") + chunk(b""), NextRequest()]
    script = list(chain.from_iterable([answer] * _IN_A_ROW))
    with ScriptedServer(script) as server, rig.transport() as transport:
        for _ in range(_IN_A_ROW):
            fetch(transport, ask(server))
        few = server.wait_for_open(1, rig.patience)
        expect(few, f"{server.open_connections} connections were open after {_IN_A_ROW} requests")


def _expect_hangup(server: ScriptedServer, rig: Rig) -> None:
    expect(server.peer_closed.wait(rig.patience), "the server never saw the connection close")
