"""What a clause is, and the tools of its proof."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, closing
from typing import Final, NoReturn, TypeVar

import attrs

from ollama_push.core.errors import TransportError
from ollama_push.core.messages import shorten
from ollama_push.core.ports import HttpRequest, Transport
from ollama_push.core.responses import BufferedResponse
from ollama_push.testing.server import Hold, ScriptedServer, head

__all__ = [
    "CHUNKED",
    "Clause",
    "ClauseList",
    "ClauseResult",
    "ForeignError",
    "MakeTransport",
    "Rig",
    "ask",
    "expect",
    "expect_disconnect",
    "expect_passage",
    "fail",
    "fetch",
    "plain",
    "prove",
    "raised_by",
    "run_clauses",
]

MakeTransport = Callable[[float], Transport]
"""Builds a new transport; the argument is its default read timeout in seconds."""

E = TypeVar("E", bound=BaseException)

# No proof lets a sound transport wait longer than this many times the patience.
_HANGS_AFTER: Final = 6


@attrs.frozen
class Rig:
    """The transport under test, and how long to wait for it.

    Attributes:
        make: Builds the transport.
        patience: Seconds that are more than enough for a sound transport. No clause takes much longer,
            whatever the transport does.
    """

    make: MakeTransport
    patience: float

    def transport(self, read_timeout: float | None = None) -> AbstractContextManager[Transport]:
        """Return a new transport that is closed at the end of the block."""
        return closing(self.make(self.patience if read_timeout is None else read_timeout))

    @property
    def hold(self) -> Hold:
        """A silence in a script that is longer than the patience."""
        return Hold(2 * self.patience)


@attrs.frozen
class Clause:
    """One promise of the transport contract, and the proof of it.

    Attributes:
        number: ``"T1"`` to ``"T13"``, as in :mod:`ollama_push.core.ports`.
        case: Which case of the promise; empty when there is only one.
        promise: What a transport must do.
        proof: Talks to a transport; raises ``AssertionError`` when the promise is broken.
    """

    number: str
    case: str
    promise: str
    proof: Callable[[Rig], None] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.number} {self.case}".rstrip()

    def check(self, make: MakeTransport, *, patience: float = 5.0) -> None:
        """Check the transports that *make* builds.

        Args:
            make: Builds the transport; called with its default read timeout in seconds.
            patience: Seconds to wait for what a sound transport does at once.

        Raises:
            AssertionError: The promise is broken; the text says what was seen.
        """
        prove(lambda: self.proof(Rig(make, patience)), "transport", _HANGS_AFTER * patience)


def prove(proof: Callable[[], None], subject: str, limit: float) -> None:
    """Run *proof* for *limit* seconds at most.

    Raises:
        AssertionError: It found a broken promise, raised anything else, or did not end.
    """
    # In a thread, because a subject that blocks for ever must not block the test run.
    done: Future[None] = Future()
    threading.Thread(target=_settle, args=(done, proof), daemon=True).start()
    if not wait([done], limit).done:
        fail(f"the {subject} was still busy after {limit:g} s")
    try:
        done.result()
    except AssertionError:
        raise
    except Exception as exc:  # noqa: BLE001 - any other error is a broken promise
        fail(f"{shorten(exc, 200)} was raised where nothing should be", exc)


def _settle(done: Future[None], proof: Callable[[], None]) -> None:
    try:
        proof()
    except BaseException as exc:  # noqa: BLE001 - check() raises it in the thread that called
        done.set_exception(exc)
    else:
        done.set_result(None)


@attrs.frozen
class ClauseResult:
    """The result of one clause.

    Attributes:
        clause: The clause.
        failure: What was seen instead of what was promised; ``None`` when the promise was kept.
        elapsed_seconds: How long it took.
    """

    clause: Clause
    failure: str | None
    elapsed_seconds: float


def run_clauses(clauses: Iterable[Clause], make: MakeTransport, patience: float) -> Iterator[ClauseResult]:
    """Check *clauses* one after the other and yield their results."""
    for clause in clauses:
        started = time.monotonic()
        failure = None
        try:
            clause.check(make, patience=patience)
        except AssertionError as exc:
            failure = str(exc)
        yield ClauseResult(clause, failure, time.monotonic() - started)


class ClauseList(list[Clause]):
    """Clauses that are defined by their proofs."""

    def add(self, number: str, case: str, promise: str) -> Callable[[Callable[[Rig], None]], None]:
        """Return a decorator that makes a clause of a proof."""
        return lambda proof: self.append(Clause(number, case, promise, proof))


class ForeignError(Exception):
    """An error that no transport knows."""


def expect(kept: object, otherwise: str) -> None:
    """Raise ``AssertionError`` unless *kept*; unlike ``assert`` also under ``python -O``."""
    if not kept:
        fail(otherwise)


def fail(seen: str, cause: BaseException | None = None) -> NoReturn:
    """Raise ``AssertionError`` with what was seen."""
    raise AssertionError(seen) from cause


def raised_by(kind: type[E], action: Callable[[], object], *, caused: bool = True) -> E:
    """Return the error of *kind* that *action* raises; if *caused*, a transport's has the library's as its cause."""
    try:
        action()
    except kind as exc:
        lacks_cause = caused and isinstance(exc, TransportError) and exc.__cause__ is None
        expect(not lacks_cause, f"{type(exc).__name__} has no cause, it was raised without the library's error")
        return exc
    except Exception as exc:  # noqa: BLE001 - any other kind is a broken promise
        fail(f"{shorten(exc, 200)} was raised, and not {kind.__name__}", exc)
    fail(f"nothing was raised, and not {kind.__name__}")


def expect_passage(error: BaseException, action: Callable[[], object]) -> None:
    """Expect that *error*, raised by a caller inside *action*, comes out unchanged."""
    caught = raised_by(BaseException, action)
    expect(caught is error, f"{shorten(error)} came out as {shorten(caught)}")
    expect(caught.__cause__ is None, f"{shorten(error)} came out with a cause")


def expect_disconnect(server: ScriptedServer, rig: Rig) -> None:
    """Expect that the transport closed its connection."""
    expect(server.peer_closed.wait(rig.patience), "the server never saw the connection close")


CHUNKED = head(headers={"Transfer-Encoding": "chunked"})
"""A head whose body follows in chunks."""


def plain(body: bytes, status: int = 200) -> bytes:
    """Return a whole response with its length."""
    return head(status, {"Content-Length": str(len(body))}) + body


def ask(server: ScriptedServer, method: str = "GET", target: str = "/", *, body: bytes = b"") -> HttpRequest:
    """Return a request to *server*."""
    return HttpRequest(method, server.url + target, body=body)


def fetch(transport: Transport, request: HttpRequest) -> BufferedResponse:
    """Send *request* and read the whole response."""
    with transport.open(request) as response:
        return BufferedResponse(response.status, response.headers, b"".join(response.chunks()))
