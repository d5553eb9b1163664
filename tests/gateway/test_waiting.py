"""Two dozen pushes that wait for one look-up of a login: whoever needs none is served meanwhile."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.support.gateway import PATIENCE, Gateway, request_of, settings_for, store_of

from ollama_push.core.registry.credentials import Credential, Login
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry

PUSHES = 24
LOGIN = ("ann", "s3cret-of-ann")


class Vault:
    """A source of logins that waits until it is opened, as a helper waits for its user."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.count = 0
        self.open = threading.Event()

    def find(self, _host: str, /) -> Credential | None:
        self.count += 1
        self.asked.release()
        assert self.open.wait(PATIENCE)
        return Login(*LOGIN)


def test_nobody_waits_for_the_look_ups_of_others(tmp_path: Path) -> None:
    vault = Vault()
    with (
        EmbeddedRegistry(tmp_path / "slow", auth=BasicAuth(dict([LOGIN]))) as slow,
        EmbeddedRegistry(tmp_path / "other", auth=BasicAuth(dict([LOGIN]))) as other,
        ExitStack() as peers,
    ):
        names = [f"{slow.host}/team/m{number}/latest" for number in range(PUSHES)]
        store = store_of(tmp_path, *names, f"{other.host}/team/m/latest")
        with Gateway(settings_for(store, credentials=vault)) as gateway:
            for number in range(PUSHES):
                peer = peers.enter_context(gateway.connect())
                order = {"model": f"{slow.host}/team/m{number}", "insecure": True}
                peer.sendall(request_of("POST", "/api/push", json.dumps(order).encode()))
            assert vault.asked.acquire(timeout=PATIENCE)
            assert slow.wait_until(lambda: len(slow.requests) >= PUSHES, PATIENCE)

            listed = gateway.send("GET", "/api/tags")
            assert len(json.loads(listed.body)["models"]) == PUSHES + 1
            assert gateway.push({"model": ""}).status == 400
            own = {"username": LOGIN[0], "password": LOGIN[1], "stream": False}
            pushed = gateway.push({"model": f"{other.host}/team/m", "insecure": True, **own})
            assert pushed.lines == [{"status": "success"}]
            assert not vault.open.is_set()

            vault.open.set()
            assert [record.error for record in gateway.wait_for(PUSHES + 1)] == [""] * (PUSHES + 1)
        # One program was run for those who asked at the same time, not one for each.
        assert vault.count < PUSHES
