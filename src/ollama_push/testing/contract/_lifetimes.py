"""T4, T11, T12, T13: when a connection is closed, and what remains of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

from ollama_push.core.errors import UsedAfterClose
from ollama_push.testing.contract._clauses import (
    CHUNKED,
    ClauseList,
    ForeignError,
    Rig,
    ask,
    expect,
    expect_disconnect,
    expect_passage,
    fail,
    fetch,
    plain,
    raised_by,
)
from ollama_push.testing.server import NextRequest, ScriptedServer, Step, chunk, head

__all__ = ["LIFETIME_CLAUSES"]

LIFETIME_CLAUSES: Final = ClauseList()
_clause = LIFETIME_CLAUSES.add

_AT_ONCE: Final = 4
_IN_A_ROW: Final = 20


@_clause("T4", "after a chunk", "Leaving the block after a chunk hangs up at once.")
def _disconnects_after_a_chunk(rig: Rig) -> None:
    with ScriptedServer([CHUNKED, chunk(b"first\n"), rig.hold]) as server, rig.transport() as transport:
        with transport.open(ask(server)) as response:
            next(response.chunks())
        expect_disconnect(server, rig)


@_clause("T4", "before a chunk", "Leaving the block without reading the body hangs up at once.")
def _disconnects_before_a_chunk(rig: Rig) -> None:
    with ScriptedServer([head(headers={"Content-Length": "9"}), rig.hold]) as server, rig.transport() as transport:
        with transport.open(ask(server)):
            pass
        expect_disconnect(server, rig)


@_clause("T4", "in a flood", "Leaving the block does not read what is left of the body.")
def _does_not_read_the_rest_of_the_body(rig: Rig) -> None:
    # Far more than the kernel buffers: the server can send all of it only to a client that reads it.
    flood = [chunk(bytes(65_536))] * 1_000
    with ScriptedServer([CHUNKED, *flood, chunk(b"")]) as server, rig.transport() as transport:
        with transport.open(ask(server)) as response:
            next(response.chunks())
        expect_disconnect(server, rig)


@_clause("T4", "next request", "A request after a block that was left early gets an answer of its own.")
def _mixes_no_responses(rig: Rig) -> None:
    left: list[Step] = [head(headers={"Content-Length": "12"}) + b"stale ", NextRequest(), b"stale "]
    with ScriptedServer(left, [plain(b"fresh")]) as server, rig.transport() as transport:
        with transport.open(ask(server)):
            pass
        body = fetch(transport, ask(server)).body
        expect(body == b"fresh", f"the response to the next request was {body!r}")


def _expect_block_to_pass(rig: Rig, error: BaseException) -> None:
    def work() -> None:
        with transport.open(ask(server)) as response:
            next(response.chunks())
            raise error

    with ScriptedServer([CHUNKED, chunk(b"first\n"), rig.hold]) as server, rig.transport() as transport:
        expect_passage(error, work)
        expect_disconnect(server, rig)


@_clause("T11", "own errors", "An error raised inside the block passes through untouched, and the connection is gone.")
def _passes_errors_of_the_block(rig: Rig) -> None:
    for error in (ForeignError("mine"), KeyboardInterrupt()):
        _expect_block_to_pass(rig, error)


@_clause("T11", "look-alikes", "An error raised inside the block is not taken for the network's.")
def _takes_no_error_of_the_block_for_the_networks(rig: Rig) -> None:
    for error in (OSError("mine"), ConnectionResetError("mine"), TimeoutError("mine"), ValueError("mine"), EOFError()):
        _expect_block_to_pass(rig, error)


@_clause("T12", "closed", "After close() no connection is left open, and closing again does no harm.")
def _leaves_no_connection_after_close(rig: Rig) -> None:
    with ScriptedServer([plain(b"first"), NextRequest()]) as server:
        transport = rig.make(rig.patience)
        fetch(transport, ask(server))
        transport.close()
        server.wait_for_open(0, rig.patience)
        left = server.open_connections
        transport.close()
        expect(left == 0, f"{left} connections were open after close()")


@_clause("T12", "used after close", "After close() a request is UsedAfterClose, and nothing is sent.")
def _refuses_requests_after_close(rig: Rig) -> None:
    with ScriptedServer([plain(b"first")]) as server:
        transport = rig.make(rig.patience)
        transport.close()
        try:
            raised_by(UsedAfterClose, lambda: fetch(transport, ask(server)))
        finally:
            transport.close()
        expect(not server.requests, "a request arrived after close()")


@_clause("T13", "at once", "Requests run at the same time, and each gets its own answer.")
def _runs_requests_at_the_same_time(rig: Rig) -> None:
    # Every thread waits inside its block until the others are inside theirs.
    everyone_in = threading.Barrier(_AT_ONCE, timeout=rig.patience)

    def work(number: int) -> tuple[int, bytes]:
        with transport.open(ask(server, target=f"/{number}")) as response:
            chunks = response.chunks()
            first = next(chunks)
            everyone_in.wait()
            return number, first + b"".join(chunks)

    bodies = [b"%d\n" % number * 2 for number in range(_AT_ONCE)]
    # ``Connection: close``, as the server closes the connection at the end of the script: it must not be reused.
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
def _keeps_at_most_one_idle_connection(rig: Rig) -> None:
    exchange: list[Step] = [CHUNKED + chunk(b"body") + chunk(b""), NextRequest()]
    script = list(chain.from_iterable([exchange] * _IN_A_ROW))
    with ScriptedServer(script) as server, rig.transport() as transport:
        for _ in range(_IN_A_ROW):
            fetch(transport, ask(server))
        few = server.wait_for_open(1, rig.patience)
        expect(few, f"{server.open_connections} connections were open after {_IN_A_ROW} requests")
