"""A gateway that shuts down while a push is at an awkward place, and the error that its client gets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.support.blobs import MIB
from tests.support.gateway import PATIENCE, BufferedResponse, Gateway, parse, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling, start

from ollama_push.core.names import ModelName
from ollama_push.core.observations import Observation, RequestRetried
from ollama_push.core.retry import RetryPolicy
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.gateway.messages import CANCELLED_BY_SHUTDOWN
from ollama_push.local import FileResumeStore, ModelStore, StoredModel
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Reply

LONG: Final = 60.0
"""Longer than any test waits."""
NOBODY: Final = "127.0.0.1:1"
INTERRUPTED: Final = "push again to resume): context canceled"


class Ending(Gateway):
    """A gateway that signals when it serves a request, and when its shutdown has reached everything under way.

    Attributes:
        asked: Set when a request has come.
        may_serve: Clear it to have requests wait before they are looked at.
        has_begun_to_end: Set when it has.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.asked = threading.Event()
        self.may_serve = threading.Event()
        self.may_serve.set()
        self.has_begun_to_end = threading.Event()
        super().__init__(settings, self._make)

    def _make(self, settings: GatewaySettings) -> web.Application:
        app = create_app(settings)

        @web.middleware
        async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.asked.set()
            assert await asyncio.to_thread(self.may_serve.wait, PATIENCE)
            return await handler(request)

        async def end(_app: web.Application) -> None:
            self.has_begun_to_end.set()

        app.middlewares.append(note)
        app.on_shutdown.append(end)
        return app

    def begin_to_end(self) -> None:
        self.tell_to_stop()
        assert self.has_begun_to_end.wait(PATIENCE)


def response_in(peer: socket.socket) -> BufferedResponse:
    return parse(b"".join(iter(lambda: peer.recv(65536), b"")))


@pytest.mark.parametrize("stream", [True, False])
def test_an_order_that_is_looked_at_only_after_the_end_has_begun_is_not_taken(tmp_path: Path, *, stream: bool) -> None:
    store = store_of(tmp_path, f"{NOBODY}/team/demo/latest")
    with Ending(settings_for(store)) as gateway:
        gateway.may_serve.clear()
        with start(gateway, {"model": f"{NOBODY}/team/demo", "insecure": True, "stream": stream}) as peer:
            try:
                assert gateway.asked.wait(PATIENCE)
                gateway.begin_to_end()
            finally:
                gateway.may_serve.set()
            response = response_in(peer)
    assert (response.status, response.error) == (503, "the gateway is shutting down")
    assert response.headers["retry-after"].isdigit()


def test_an_order_that_is_not_whole_when_the_end_begins_is_answered_all_the_same(tmp_path: Path) -> None:
    with Ending(settings_for(store_of(tmp_path))) as gateway, gateway.connect() as peer:
        peer.sendall(request_of("POST", "/api/push", b'{"model":"a/b"}')[:-1])
        assert gateway.asked.wait(PATIENCE)
        gateway.tell_to_stop()
        response = parse(b"".join(iter(lambda: peer.recv(65536), b"")))
    assert (response.status, response.error) == (503, "the gateway is shutting down")


def test_a_push_that_waits_before_it_asks_again_ends_at_once(tmp_path: Path) -> None:
    waits = threading.Event()

    def told(observation: Observation) -> None:
        if isinstance(observation, RequestRetried):
            assert observation.retry_in == 30.0
            waits.set()

    busy = Fault("HEAD", times=None, action=Reply(503, {"Retry-After": "30"}))
    with EmbeddedRegistry(tmp_path / "registry", faults=[busy]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        asked = settings_for(store, hooks=[told], retry=RetryPolicy(attempts=2), shutdown_grace=LONG, concurrency=1)
        with Gateway(asked) as gateway, start(gateway, order_for(registry)) as peer:
            assert waits.wait(PATIENCE)
            gateway.tell_to_stop()
            assert response_in(peer).error.endswith(INTERRUPTED)
        assert len(registry.requests) == 1


class HeldStore(ModelStore):
    """A slow disk: reading a model for the *nth* time takes until ``let_go``."""

    def __init__(self, store: ModelStore, nth: int) -> None:
        super().__init__(store.root)
        self.reached = threading.Event()
        self.let_go = threading.Event()
        self._left = nth

    def load(self, name: ModelName) -> StoredModel:
        self._left -= 1
        if not self._left:
            self.reached.set()
            assert self.let_go.wait(PATIENCE)
        return super().load(name)


@contextmanager
def held(registry: EmbeddedRegistry, tmp_path: Path, nth: int) -> Iterator[Callable[[], str]]:
    """Have the gateway begin to end while a push reads its model; yield what lets it go on and returns its error."""
    store = HeldStore(store_of(tmp_path, f"{registry.host}/team/demo/latest"), nth)
    asked = settings_for(store, shutdown_grace=LONG)
    with Ending(asked) as gateway, start(gateway, order_for(registry)) as peer:
        try:
            assert store.reached.wait(PATIENCE)
            gateway.begin_to_end()
        finally:
            store.let_go.set()
        yield lambda: response_in(peer).error


def test_a_push_whose_model_was_being_looked_for_when_the_end_began_does_not_begin(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        with held(registry, tmp_path, 1) as error:
            assert error() == CANCELLED_BY_SHUTDOWN
        assert registry.requests == []


def test_a_push_that_began_while_the_others_were_told_to_end_ends_too(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        with held(registry, tmp_path, 2) as error:
            assert error().endswith(INTERRUPTED)
        assert [seen.method for seen in registry.requests if seen.method != "HEAD"] == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_push_that_does_not_end_in_time_is_cancelled(tmp_path: Path, *, stream: bool) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling(LONG)]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with (
            Gateway(settings_for(store, shutdown_grace=0.1)) as gateway,
            start(gateway, order_for(registry, stream=stream)) as peer,
        ):
            assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
            gateway.tell_to_stop()
            assert response_in(peer).error == CANCELLED_BY_SHUTDOWN


@pytest.mark.parametrize("forbidden", [True, False], ids=["forbidden", "refused"])
def test_a_push_that_ended_at_a_host_out_of_reach_is_started_again_by_the_next(
    tmp_path: Path, *, forbidden: bool
) -> None:
    resume = FileResumeStore(tmp_path / "uploads")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        there = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(foreign_location=there)) as ill:
            store = store_of(tmp_path, f"{ill.host}/team/demo/latest", layers=(BIG,))
            # A registry on loopback may lead to loopback, but clients from elsewhere only to what is on the list.
            rules = {"loopback": False, "allow": (ill.host,)} if forbidden else {}
            with Gateway(settings_for(store, resume=resume, **rules)) as gateway:
                for _ in range(2):
                    error = gateway.push(order_for(ill)).error
                    assert ("does not go there" in error) is forbidden
            address, _, port = ill.host.partition(":")
        assert list((tmp_path / "uploads").glob("*.json")) != []
        with EmbeddedRegistry(tmp_path / "registry", listen=(address, int(port))) as healed:
            with Gateway(settings_for(store, resume=resume)) as gateway:
                assert gateway.push(order_for(healed)).lines[-1] == {"status": "success"}
            assert healed.received_bytes >= len(BIG)
