"""The gateway as a server: how it starts, how it stops, and what is in its log."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway import Gateway, settings_for, store_of
from tests.support.stores import put_manifest

from ollama_push.core.errors import InvalidSetting
from ollama_push.gateway import GatewaySettings, serve
from ollama_push.local import ModelStore

PATIENCE = 10.0


async def asked(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /?secret=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


@asynccontextmanager
async def served(settings: GatewaySettings) -> AsyncIterator[tuple[str, int]]:
    """Serve while the block is open; yield the address."""
    places: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, port=0, started=lambda *place: places.put_nowait(place), stop=stop))
    try:
        yield await places.get()
    finally:
        stop.set()
        await serving


@pytest.mark.parametrize("how", ["event", signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str | signal.Signals
) -> None:
    caplog.set_level(logging.INFO, "ollama_push.gateway.access")

    async def story() -> bytes:
        places: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        stop = asyncio.Event() if isinstance(how, str) else None
        settings = settings_for(store_of(tmp_path))
        serving = asyncio.create_task(
            serve(settings, port=0, started=lambda *place: places.put_nowait(place), stop=stop)
        )
        response = await asked(*await places.get())
        if stop is not None:
            stop.set()
        elif not isinstance(how, str):
            os.kill(os.getpid(), how)
        async with asyncio.timeout(PATIENCE):
            await serving
        return response

    assert b"Ollama is running" in asyncio.run(story())
    (line,) = [record.getMessage() for record in caplog.records if record.name.endswith(".access")]
    assert line.startswith("127.0.0.1 GET / 200 ")
    assert "secret" not in line


@pytest.mark.parametrize(
    "malformed",
    [
        b"GET / HTTP/1.1\r\nAuthorization: Bearer s3cret\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization : s3cret\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: " + b"s3cret" * 3000 + b"\r\n\r\n",
        b"GET /?token=s3cret x HTTP/1.1\r\n\r\n",
        b"s3cret\r\n\r\n",
    ],
    ids=["value", "name", "length", "target", "no HTTP"],
)
def test_what_is_no_request_is_answered_and_not_quoted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, malformed: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        assert gateway.raw(malformed).startswith(b"HTTP/1.0 400 ")
    assert " 400 " in caplog.text
    assert "s3cret" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


SERVES = """
import asyncio, signal, sys
from ollama_push.gateway import GatewaySettings, serve
from ollama_push.local import ModelStore, NoResume

def started(host, port):
    ignored = [each.name for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is signal.SIG_IGN]
    print(port, *ignored, flush=True)

asyncio.run(serve(GatewaySettings(store=ModelStore(sys.argv[1]), resume=NoResume()), port=0, started=started))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process begins with signals ignored there")
@pytest.mark.parametrize(
    ("ignored", "ends"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_that_was_ignored_when_it_began_stays_so(
    tmp_path: Path, ignored: signal.Signals, ends: signal.Signals
) -> None:
    """As in the background of a script: Ctrl-C is meant for what runs in front."""
    command = ["sh", "-c", f'trap "" {ignored.name.removeprefix("SIG")}; exec "$@"', "sh"]
    command += [sys.executable, "-W", "error", "-c", SERVES, str(store_of(tmp_path).root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port, *names = process.stdout.readline().split()
            assert names == [ignored.name]
            process.send_signal(ignored)
            assert b"Ollama is running" in asyncio.run(asked("127.0.0.1", int(port)))
            process.send_signal(ends)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_an_address_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSetting, match=f"127.0.0.1:{port}.*choose another"):
            asyncio.run(serve(settings_for(store_of(tmp_path)), port=port))


def test_models_are_listed_as_a_real_server_does(tmp_path: Path) -> None:
    names = [
        "registry.ollama.ai/library/first/latest",
        "registry.ollama.ai/me/second/v2",
        "localhost:5000/a/third/latest",
    ]
    store = store_of(tmp_path, *names)
    for age, name in enumerate(reversed(names)):
        os.utime(store.root / "manifests" / name, (1_700_000_000 - age, 1_700_000_000 - age))
    put_manifest(store.root, "registry.ollama.ai/me/damaged/latest", b"{")
    with Gateway(settings_for(store)) as gateway:
        response = gateway.send("GET", "/api/tags")
    models: list[dict[str, Any]] = response.lines[0]["models"]
    assert [model["name"] for model in models] == ["localhost:5000/a/third:latest", "me/second:v2", "first:latest"]
    third = models[0]
    assert list(third) == ["name", "model", "modified_at", "size", "digest", "details"]
    assert third["modified_at"] == "2023-11-14T22:13:20Z"
    assert len(third["digest"]) == 64
    assert third["details"]["format"] == "gguf"
    assert list(third["details"]) == [
        "parent_model",
        "format",
        "family",
        "families",
        "parameter_size",
        "quantization_level",
    ]


def test_an_empty_store_lists_nothing(tmp_path: Path) -> None:
    with Gateway(settings_for(ModelStore(tmp_path))) as gateway:
        assert gateway.send("GET", "/api/tags").lines == [{"models": []}]


def test_without_the_page_there_is_none(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), ui=False)) as gateway:
        assert gateway.send("GET", "/ui").status == 404
        assert gateway.send("HEAD", "/").status == gateway.send("HEAD", "/api/version").status == 200


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /api/push HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\nHost"],
)
def test_a_connection_without_a_whole_head_is_closed(tmp_path: Path, sent: bytes) -> None:
    async def story() -> bytes:
        async with served(settings_for(store_of(tmp_path), body_timeout=0.2)) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(sent)
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionResetError):
                    assert await reader.read() == b""
            writer.close()
            return await asked(host, port)

    assert b"Ollama is running" in asyncio.run(story())


def test_a_head_may_come_in_pieces_and_its_connection_stays(tmp_path: Path) -> None:
    async def story() -> list[bytes]:
        async with served(settings_for(store_of(tmp_path), body_timeout=1.0)) as (host, port):
            reader, writer = await asyncio.open_connection(host, port)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in (b"GET / HTTP/1.1\r\nHost: localhost\r", b"\n\r", b"\n"):
                writer.write(piece)
                await asked(host, port)  # each piece has arrived when a later connection was answered
            responses = [await reader.readuntil(b"Ollama is running")]
            loop = asyncio.get_running_loop()
            over = loop.time() + 1.1
            while loop.time() < over:
                await asked(host, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            responses.append(await reader.readuntil(b"Ollama is running"))
            writer.close()
            return responses

    assert len(asyncio.run(story())) == 2
