"""A process that runs out of file descriptors says so briefly, and goes on when there are some again."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import pytest

from ollama_push.gateway.listener import room_for_connections

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="descriptors are limited here")]

PATIENCE = 30.0
FILES = 64
SERVES = f"""
import asyncio, resource, sys
from aiohttp import web
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.gateway.connections import ConnectionLimits
from ollama_push.gateway.listener import LimitedSite
from ollama_push.gateway.server import new_runner, new_site

async def main():
    settings = GatewaySettings(ui=False)
    runner = new_runner(create_app(settings), settings)
    await runner.setup()
    if sys.argv[1] == "own":
        site = new_site(runner, settings, "127.0.0.1", 0)
    else:
        site = LimitedSite(runner, "127.0.0.1", 0, ConnectionLimits(1000, 1000, 65536, 60.0, 30.0))
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    # What asyncio does a second after a failed accept comes before this.
    await asyncio.sleep(asyncio.constants.ACCEPT_RETRY_DELAY)

resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
asyncio.run(main())
"""


@contextmanager
def serving(limits: str) -> Iterator[tuple[int, list[str]]]:
    """Serve with few descriptors; yield the port, and what was printed as errors once it has ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVES, limits],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), said
    finally:
        said.append(process.communicate(timeout=PATIENCE)[1])


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("limits", ["own", "none"])
def test_more_connections_than_descriptors(limits: str) -> None:
    with serving(limits) as (port, said):
        idle = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(3 * FILES)]
        assert [ask(port) for _ in range(5)] == [200] * 5
        for peer in idle:
            peer.close()
        assert ask(port) == 200
    (errors,) = said
    expected = "too many connections" if limits == "own" else "no connection can be accepted"
    assert expected in errors
    assert errors.count("\n") <= 2


def test_a_stop_while_no_connection_can_be_accepted_is_as_brief() -> None:
    with ExitStack() as idle, serving("none") as (port, said):
        peers = [idle.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(2 * FILES)]
        assert peers[0].recv(1) == b""  # the first is closed when there are no descriptors left
    (errors,) = said
    assert "no connection can be accepted" in errors
    assert errors.count("\n") <= 2


def test_half_of_the_descriptors_are_for_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, 500)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        assert room_for_connections(1024) == few // 2
        assert room_for_connections(7) == 7
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
