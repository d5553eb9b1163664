"""Answers that are legal and odd: no ``HEAD`` for blobs, and a ``Location`` that holds somebody's login."""

from __future__ import annotations

import base64
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import (
    BIG_DIGEST,
    PATIENCE,
    REPOSITORY,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    steps,
    stored,
)
from tests.support.registry_client import RawClient
from tests.support.shared_client import Gate, Sharing, either_client

from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import PushInterrupted, PushRejected, VerificationFailed
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Quirks, Reply
from ollama_push.testing.server import ScriptedServer, head

SECRET: Final = "hush-hush"
SHAPES: Final = (SECRET, base64.b64encode(f"user:{SECRET}".encode()).decode())


@either_colour
@pytest.mark.parametrize("status", [405, 501])
def test_a_registry_without_head_is_verified_by_one_byte_of_each_blob(
    status: int, colour: Colour, tmp_path: Path
) -> None:
    raw = stored(tmp_path)
    no_head = Fault("HEAD", "/blobs/", times=None, action=Reply(status))
    with EmbeddedRegistry(tmp_path / "registry", faults=[no_head]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert registry.received_bytes == TOTAL
        asked = [seen for seen in registry.requests if seen.method == "GET" and "/blobs/" in seen.path]
        assert [seen.status for seen in asked] == [206, 206, 206]
    assert told.receipt is not None
    assert told.receipt.verified is True


@either_colour
def test_a_registry_without_head_that_lost_a_blob_is_found_out(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    no_head = Fault("HEAD", "/blobs/", times=None, action=Reply(405))
    quirks = Quirks(loses_blobs=frozenset({SMALL_DIGEST}))
    with EmbeddedRegistry(tmp_path / "registry", quirks=quirks, faults=[no_head]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert Counter(steps(registry))["GET blob"] >= 1
    assert isinstance(told.error, VerificationFailed)
    assert told.error.digest == SMALL_DIGEST


@either_colour
def test_a_registry_without_head_that_has_no_first_byte_of_nothing_is_verified(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path, b"")
    faults = [
        Fault("HEAD", "/blobs/", times=None, action=Reply(405)),
        Fault("GET", "/blobs/sha256:e3b0c44298fc", times=None, action=Reply(416)),
    ]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
    assert told.error is None


WITH_LOGIN: Final[Mapping[str, Callable[[str], str]]] = {
    "absolute": lambda url: re.sub(r"^http://", f"http://user:{SECRET}@", url),
    "without a scheme": lambda url: re.sub(r"^http:", "", re.sub(r"^http://", f"http://user:{SECRET}@", url)),
    "twice": lambda url: re.sub(r"^http://", f"http://user:{SECRET}@user:{SECRET}@", url),
}


@either_colour
@pytest.mark.parametrize("shape", WITH_LOGIN)
def test_a_login_in_a_location_is_neither_sent_nor_shown(
    shape: str, colour: Colour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = stored(tmp_path)
    caplog.set_level(logging.DEBUG)
    with EmbeddedRegistry(tmp_path / "registry") as registry, RawClient(registry) as peer:
        give_locations(registry, peer, WITH_LOGIN[shape])
        registry.add_fault(Fault("PATCH", nth=2))  # its retry is told of, too
        told = colour(Direct(host=registry.host, home=tmp_path, hooks=(LogHook(),)))
        assert told.error is None
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert not any(seen.had_authorization for seen in registry.requests)
        assert not any(SECRET in seen.path for seen in registry.requests)
    assert caplog.records
    assert not is_in(f"{caplog.text} {told!r}")


def give_locations(registry: EmbeddedRegistry, peer: RawClient, with_login: Callable[[str], str]) -> None:
    """Let the next uploads be named with a login in front of the host."""
    locations = [with_login(peer.start()) for _ in range(3)]
    for nth, location in enumerate(locations, 1):
        registry.add_fault(Fault("POST", nth=nth, action=Reply(202, {"Location": location})))


def is_in(text: str) -> bool:
    """Say whether *text* holds the secret, as it is or as it is sent."""
    return any(shape in text for shape in SHAPES)


@either_client
def test_a_login_in_a_location_is_not_kept_for_the_next_push(sharing: Sharing, tmp_path: Path) -> None:
    stored(tmp_path)
    gate = Gate("PATCH")
    with EmbeddedRegistry(tmp_path / "registry") as registry, RawClient(registry) as peer:
        give_locations(registry, peer, WITH_LOGIN["absolute"])
        with sharing(Direct(host=registry.host, home=tmp_path), gate) as client:
            push = client.push()
            assert gate.reached.wait(PATIENCE)
            (kept,) = (tmp_path / "uploads").glob("*.json")
            assert not is_in(kept.read_text())
            client.interrupt()
            gate.opened.set()
            with pytest.raises(PushInterrupted):
                push.result(PATIENCE)
            (kept,) = (tmp_path / "uploads").glob("*.json")
            assert not is_in(kept.read_text())


@either_colour
@pytest.mark.parametrize(
    "location", [f"http://user:{SECRET}@[::1/x", f"ftp://user:{SECRET}@127.0.0.1/x", f"http://user:{SECRET}@:0/x"]
)
def test_a_login_in_a_location_that_is_no_address_is_not_quoted(
    location: str, colour: Colour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored(tmp_path)
    caplog.set_level(logging.DEBUG)
    with EmbeddedRegistry(
        tmp_path / "registry", faults=[Fault("POST", action=Reply(202, {"Location": location}))]
    ) as r:
        told = colour(Direct(host=r.host, home=tmp_path, hooks=(LogHook(),)))
    assert isinstance(told.error, PushRejected)
    assert not is_in(f"{caplog.text} {told!r} {told.error}")


@either_colour
def test_a_login_in_a_location_elsewhere_is_not_sent_there(colour: Colour, tmp_path: Path) -> None:
    """The bodies follow the registry's word to another server; whose login that is, is not ours to say."""
    stored(tmp_path)
    with ScriptedServer([head(507, {"Content-Length": "0"})]) as there:
        location = f"http://user:{SECRET}@localhost:{there.port}/upload?digest-of={BIG_DIGEST}"
        fault = Fault("POST", action=Reply(202, {"Location": location}))
        with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
            told = colour(Direct(host=registry.host, home=tmp_path))
        (sent,) = there.requests
    assert (sent.method, len(sent.body)) == ("PATCH", 1024 * 1024)
    assert not is_in(f"{sent.target} {sent.headers}")
    assert "authorization" not in sent.headers
    assert isinstance(told.error, PushRejected)
    assert not is_in(f"{told!r} {told.error}")
