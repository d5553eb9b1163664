"""Clients that take nothing, take it late or are gone: their pushes go on or end, and nothing piles up or is left."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.support.blobs import MIB, digest_of
from tests.support.gateway import PATIENCE, Gateway, lines_of, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling, start
from tests.support.stores import CONFIG

from ollama_push.core.observations import PushOutcome
from ollama_push.core.retry import RetryPolicy
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.local import ModelStore
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Seen, Stall
from ollama_push.testing.registry.store import Store

pytestmark = pytest.mark.slow

HUGE: Final = BIG * 4
"""More than sockets hold."""

MANY: Final = tuple(f"tensor {number}".encode() for number in range(700))
"""One line each: more than the gateway and two small sockets hold."""
LINE_BYTES: Final = 140

PATIENT_SECONDS: Final = 1.0
"""The registry has no more either: on a busy machine it may need another try."""

MORE_TRIES: Final = RetryPolicy(attempts=10, base=0.0, cap=600.0)

HELD_BYTES: Final = 70_000
"""What the gateway may keep for one client: aiohttp waits for room after 64 KiB."""


@attrs.define
class Served:
    """The gateway's end of one connection whose socket holds little; *left* is set when the request was served."""

    transport: asyncio.Transport | None = None
    left: threading.Event = attrs.field(factory=threading.Event)

    def app(self, settings: GatewaySettings) -> web.Application:
        @web.middleware
        async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
            transport = request.transport
            assert transport is not None
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            self.transport = transport
            try:
                return await handler(request)
            finally:
                self.left.set()

        app = create_app(settings)
        app.middlewares.insert(0, watched)
        return app

    def held_bytes(self) -> int:
        assert self.transport is not None
        return self.transport.get_write_buffer_size()

    def is_closed(self) -> bool:
        assert self.transport is not None
        return self.transport.is_closing()


def later() -> Fault:
    """The upload of the weights is to be tried again when all this is long over."""
    return Fault("PUT", "/blobs/uploads/", after_bytes=MIB, action=Reply(503, {"Retry-After": "300"}))


def whole(peer: socket.socket) -> bool:
    """Read to the end; return whether the response was complete."""
    raw = b""
    try:
        while data := peer.recv(65536):
            raw += data
    except ConnectionResetError:
        return False
    return raw.endswith(b"0\r\n\r\n")


def uploads_of(registry: EmbeddedRegistry, data: bytes) -> list[Seen]:
    """The requests that carry the end of *data*: here the whole of it."""
    hexadecimal = digest_of(data).removeprefix("sha256:")
    return [seen for seen in registry.requests if seen.method == "PUT" and hexadecimal in seen.path]


@contextmanager
def reluctant(gateway: Gateway) -> Iterator[socket.socket]:
    """A client whose system takes next to nothing in its place."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # its minimum; only before connecting it counts
        peer.settimeout(PATIENCE)
        peer.connect(("127.0.0.1", gateway.port))
        yield peer


def store_of_many(tmp_path: Path, registry: EmbeddedRegistry, *layers: bytes) -> ModelStore:
    """A model of many small layers that *registry*, in its usual folder, has: their lines come at once."""
    held = Store(tmp_path / "registry")
    for data in layers:
        if data is not BIG:
            held.blob_path(digest_of(data)).write_bytes(data)
            held.link("team/demo", digest_of(data))
    return store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=layers)


def test_a_reader_that_takes_nothing_holds_up_nothing_and_finds_the_whole_story_later(tmp_path: Path) -> None:
    end = Served()
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling(0.5)]) as registry:
        store = store_of_many(tmp_path, registry, *MANY, BIG)
        with Gateway(settings_for(store), end.app) as gateway, reluctant(gateway) as peer:
            start(gateway, order_for(registry), peer)
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.SUCCEEDED
            # The push is over, and the task that writes its lines is not: it waits, with little in its buffer.
            assert not end.left.is_set()
            assert 0 < end.held_bytes() <= HELD_BYTES < LINE_BYTES * len(MANY)
            lines = list(lines_of(peer))
        assert registry.blob(digest_of(BIG)) == BIG
    assert lines[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    told = [line["digest"] for line in lines if "digest" in line]
    # Each layer once, although the last one ticked for half a second while nobody listened.
    assert told == [digest_of(data) for data in (*MANY, BIG, CONFIG)]


def test_a_push_that_is_over_does_not_wait_for_ever_for_its_client(tmp_path: Path) -> None:
    """There are so few lines that nobody waits while they are written; the sockets do not hold them all the same."""
    end = Served()
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of_many(tmp_path, registry, *MANY[:300])
        with (
            Gateway(settings_for(store, stall_timeout=PATIENT_SECONDS, retry=MORE_TRIES), end.app) as gateway,
            reluctant(gateway) as peer,
        ):
            start(gateway, order_for(registry), peer)
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.SUCCEEDED
            assert end.left.wait(PATIENCE)
            assert end.is_closed()
            assert gateway.tasks() == []
            assert not whole(peer)


def test_a_client_that_takes_nothing_loses_its_push(tmp_path: Path) -> None:
    end = Served()
    with EmbeddedRegistry(tmp_path / "registry", faults=[later()]) as registry:
        store = store_of_many(tmp_path, registry, *MANY, BIG)
        asked = settings_for(store, stall_timeout=PATIENT_SECONDS, retry=MORE_TRIES)
        with Gateway(asked, end.app) as gateway, reluctant(gateway) as peer:
            start(gateway, order_for(registry), peer)
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.CANCELLED
            assert end.left.wait(PATIENCE)
            assert end.is_closed()
            assert gateway.tasks() == []
            assert not whole(peer)
        assert registry.blob(digest_of(BIG)) is None


def test_a_client_that_hangs_up_while_it_is_waited_for_takes_its_push_with_it(tmp_path: Path) -> None:
    end = Served()
    with EmbeddedRegistry(tmp_path / "registry", faults=[later()]) as registry:
        store = store_of_many(tmp_path, registry, *MANY, BIG)
        with Gateway(settings_for(store, retry=MORE_TRIES), end.app) as gateway:
            with reluctant(gateway) as peer:
                start(gateway, order_for(registry), peer)
                assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
                assert end.held_bytes() > 0
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.CANCELLED
            assert gateway.tasks() == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_before_there_is_anything_to_tell_is_noticed(tmp_path: Path, *, stream: bool) -> None:
    """Nothing is written meanwhile, which would find it out too."""
    with EmbeddedRegistry(
        tmp_path / "registry", faults=[Fault("HEAD", "/blobs/", times=None, action=Stall(30.0))]
    ) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            with start(gateway, order_for(registry, stream=stream)):
                assert registry.wait_until(lambda: bool(registry.requests), PATIENCE)
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.CANCELLED
            assert gateway.tasks() == []


def test_a_client_that_hangs_up_in_the_middle_of_its_order_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    end = Served()
    with Gateway(settings_for(store_of(tmp_path)), end.app) as gateway:
        with gateway.connect() as peer:
            peer.sendall(request_of("POST", "/api/push", headers={"Content-Length": "50"}) + b'{"model":')
        assert end.left.wait(PATIENCE)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("abrupt", [True, False])
def test_a_client_that_hangs_up_takes_its_upload_with_it(tmp_path: Path, *, stream: bool, abrupt: bool) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(HUGE,))
        with Gateway(settings_for(store)) as gateway:
            with start(gateway, order_for(registry, stream=stream)) as peer:
                assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
                if abrupt:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.CANCELLED
            assert gateway.tasks() == []
            # It goes on reading now: over an open connection the rest would arrive.
            registry.restart()
            assert [seen.body_bytes < len(HUGE) for seen in uploads_of(registry, HUGE)] == [True]
            # The slot and the blob are free for the next.
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}
        assert [seen.status == 201 for seen in uploads_of(registry, HUGE)] == [False, True]
        assert registry.blob(digest_of(HUGE)) == HUGE


def test_many_clients_killed_in_mid_push_leave_nothing(tmp_path: Path) -> None:
    names = [f"team/demo{number}" for number in range(12)]
    with EmbeddedRegistry(tmp_path / "registry", faults=[attrs.evolve(stalling(), times=None)]) as registry:
        store = store_of(tmp_path, *(f"{registry.host}/{name}/latest" for name in names), layers=(BIG[: 2 * MIB],))
        with Gateway(settings_for(store)) as gateway:
            with ExitStack() as peers:
                for name in names:
                    peers.enter_context(start(gateway, order_for(registry, name)))
                assert registry.wait_until(lambda: registry.received_bytes >= MIB * len(names), PATIENCE)
            records = gateway.wait_for(len(names))
            assert {record.outcome for record in records} == {PushOutcome.CANCELLED}
            assert gateway.tasks() == []


def test_a_client_that_reads_late_holds_up_nothing(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with Gateway(settings_for(store)) as gateway, start(gateway, order_for(registry)) as peer:
            (record,) = gateway.wait_for(1)
            assert record.outcome is PushOutcome.SUCCEEDED
            assert list(lines_of(peer))[-1] == {"status": "success"}


def test_when_one_of_two_that_share_an_upload_hangs_up_the_other_goes_on(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with Gateway(settings_for(store)) as gateway:
            first = start(gateway, order_for(registry))
            assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
            with start(gateway, order_for(registry)) as second:
                first.close()
                assert list(lines_of(second))[-1] == {"status": "success"}
            assert {record.outcome for record in gateway.wait_for(2)} == {PushOutcome.SUCCEEDED, PushOutcome.CANCELLED}
