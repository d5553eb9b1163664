"""What both transports do alike although their libraries do not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from ollama_push import AsyncPushClient, PushClient, RetryPolicy
from ollama_push.core.errors import OllamaPushError, TransportTimeout
from ollama_push.testing.server import Await, Hold, Script, ScriptedServer, Step, chunk, head, lines_answer
from ollama_push.transports import AiohttpTransport, Urllib3Transport

ONCE: Final = RetryPolicy(attempts=1)
OK: Final[Script] = lines_answer([b'{"status":"success"}'])
PATIENCE: Final = 30.0

Push = Callable[..., str]


def push(url: str, options: dict[str, Any] | None = None, **limits: Any) -> str:
    """Push with both; return the name of the type of what came of it."""
    with Urllib3Transport(**limits) as transport:
        client = PushClient(url, transport=transport, retry=ONCE, **(options or {}))
        try:
            return type(client.push("a/b")).__name__
        except OllamaPushError as exc:
            return type(exc).__name__


def push_async(url: str, options: dict[str, Any] | None = None, **limits: Any) -> str:
    async def run() -> str:
        async with AiohttpTransport(**limits) as transport:
            client = AsyncPushClient(url, transport=transport, retry=ONCE, **(options or {}))
            return type(await client.push("a/b")).__name__

    try:
        return asyncio.run(run())
    except OllamaPushError as exc:
        return type(exc).__name__


either: Final = pytest.mark.parametrize("send", [push, push_async], ids=["urllib3", "aiohttp"])


@contextmanager
def heads_of(address: str, family: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a server there, and the heads that it gets."""
    heads: list[bytes] = []
    body = b'{"status":"success"}\n'
    answer = head(200, {"Content-Length": str(len(body)), "Connection": "close"}) + body
    with socket.create_server((address, 0), family=family) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                heads.append(data)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heads
        thread.join(PATIENCE)


def line_of(sent: bytes, name: bytes) -> bytes:
    (line,) = (line for line in sent.split(b"\r\n") if line.lower().startswith(name + b":"))
    return line.partition(b": ")[2]


@either
def test_a_header_outside_ascii_goes_out_as_utf_8(send: Push) -> None:
    with heads_of("127.0.0.1", socket.AF_INET) as (port, heads):
        assert send(f"http://127.0.0.1:{port}", {"headers": {"X-Name": "Jürgen"}}) == "PushReceipt"
    assert line_of(heads[0], b"x-name").decode() == "Jürgen"


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize("zone", ["%1", "%251"])
@either
def test_a_zone_is_for_this_machine_alone(send: Push, zone: str) -> None:
    """RFC 6874, 4. The index of an interface serves as its zone; loopback takes any."""
    with heads_of("::1", socket.AF_INET6) as (port, heads):
        assert send(f"http://[::1{zone}]:{port}") == "PushReceipt"
        assert line_of(heads[0], b"host") == f"[::1]:{port}".encode()


@either
def test_a_limit_of_the_transport_is_not_overridden_by_a_default(send: Push) -> None:
    with ScriptedServer((Hold(),)) as server:
        assert send(server.url, read_timeout=0.3) == "TransportTimeout"


@either
def test_the_shorter_of_two_chosen_limits_counts(send: Push) -> None:
    for stall, read in ((0.3, 900.0), (900.0, 0.3), (0.3, None), (None, 0.3)):
        with ScriptedServer((Hold(),)) as server:
            assert send(server.url, {"stall_timeout": stall}, read_timeout=read) == "TransportTimeout"


@either
def test_the_limits_of_small_requests_are_no_longer_than_the_transport_s(send: Push) -> None:
    """A check gives each request ten seconds."""

    async def check(url: str) -> Any:
        async with AiohttpTransport(read_timeout=0.3) as transport:
            return await AsyncPushClient(url, transport=transport).check("a/b")

    with ScriptedServer((Hold(),)) as server:
        if send is push:
            with Urllib3Transport(read_timeout=0.3) as transport:
                readiness = PushClient(server.url, transport=transport).check("a/b")
        else:
            readiness = asyncio.run(check(server.url))
    (problem,) = readiness.problems
    assert isinstance(problem, TransportTimeout)
    assert problem.seconds == 0.3


@either
def test_no_limit_that_was_chosen_is_none(send: Push) -> None:
    """The default of the client does not come between: silence is the transport's to judge."""
    release = threading.Event()
    with ScriptedServer((Await(release), *OK)) as server:
        timer = threading.Timer(0.5, release.set)
        timer.start()
        assert send(server.url, read_timeout=None) == "PushReceipt"
        timer.join()


WORKER: Final = """
import asyncio, sys
sys.path[:0] = {path!r}
from tests.transports.test_alike import push, push_async
print({name}({url!r}, {{"stall_timeout": {seconds}}}), flush=True)
"""
LINE: Final = b'{"status":"pushing","digest":"sha256:a","total":100,"completed":%d}\n'


def paced(released: threading.Event) -> dict[str, Script]:
    """Return responses that go on while their reader is stopped, each in another place."""
    begin: list[Step] = [head(headers={"Transfer-Encoding": "chunked"}), chunk(LINE % 1)]
    end: list[Step] = [chunk(LINE % 2), chunk(b'{"status":"success"}\n'), chunk(b"")]
    whole = chunk(LINE % 2)
    return {
        "in the stream": [*begin, Await(released), *end],
        "before the head": [Await(released), *begin, *end],
        "in a chunk": [*begin, whole[:3], Await(released), whole[3:], *end[1:]],
        "in the head": [begin[0][:20], Await(released), begin[0][20:], *end],  # type: ignore[index]  # bytes
    }


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize("where", ["in the stream", "before the head", "in a chunk", "in the head"])
@either
def test_a_process_that_was_stopped_reads_what_has_come_meanwhile(send: Push, where: str) -> None:
    released = threading.Event()
    seconds = 1.0
    with ScriptedServer(paced(released)[where]) as server:
        code = WORKER.format(path=sys.path, name=send.__name__, url=server.url, seconds=seconds)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ})
        try:
            assert server.wait_for_request(PATIENCE)
            process.send_signal(signal.SIGSTOP)
            released.set()
            # Nothing but its own clock tells that the limit is over.
            time.sleep(1.5 * seconds)
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.communicate()
    assert said == "PushReceipt\n"


def test_a_timeout_error_names_the_limit_that_counted() -> None:
    with ScriptedServer((Hold(),)) as server, Urllib3Transport(read_timeout=0.25) as transport:
        client = PushClient(server.url, transport=transport, retry=ONCE)
        with pytest.raises(TransportTimeout, match=r"silent for 0\.25 s"):
            client.push("a/b")
