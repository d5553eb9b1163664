"""The settings of a gateway take effect: each one is seen at the registry or by the client."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from base64 import b64encode
from http.client import HTTPConnection
from pathlib import Path

import pytest
import trustme
from tests.support.command import command
from tests.support.command_direct import Home, at_home
from tests.support.gateway import PATIENCE, Gateway, parse, request_of, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling, start

from ollama_push.cli.serve import serve_command
from ollama_push.client import _lanes
from ollama_push.core.names import MAX_NAME_CHARACTERS
from ollama_push.core.observations import Observation, PushFinished, PushOutcome
from ollama_push.core.peer_text import INSPECTED_CHARACTERS, SHOWN_CHARACTERS
from ollama_push.core.registry import endpoints
from ollama_push.core.registry.tokens import REQUEST_TIMEOUT_SECONDS
from ollama_push.core.responses import MAX_RESPONSE_SECONDS
from ollama_push.core.retry import RetryPolicy
from ollama_push.gateway import GatewaySettings, app, create_app, listener, serve
from ollama_push.gateway.connections import ConnectionLimits
from ollama_push.gateway.egress import transport
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.server import new_runner
from ollama_push.gateway.status_page import pages
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply, Stall
from ollama_push.testing.server import ScriptedServer, json_answer

EVERYWHERE = "0.0.0.0"
OWN_MACHINE = "127.0.0.1 is an address of the gateway's own machine"
ONCE = RetryPolicy(attempts=1)
GUIDE = Path(__file__).parents[2] / "docs" / "gateway.md"
UNITS = {"": 1, "s": 1, "min": 60, "KiB": 1024}
COUNTED = {"two": 2, "three": 3, "five": 5, "ten": 10}


def test_on_every_address_the_command_warns_and_does_not_lead_to_this_machine(tmp_path: Path) -> None:
    with (
        at_home(tmp_path) as home,
        subprocess.Popen(
            command("serve", "--listen", f"{EVERYWHERE}:0", "--plain-http"),
            stderr=subprocess.PIPE, text=True, env=home.variables,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stderr is not None
            said = [process.stderr.readline()]
            while said[-1] not in ("Ctrl-C ends it.\n", ""):
                said.append(process.stderr.readline())
            assert [line for line in said if line.startswith("warning: other machines can reach this address")]
            found = re.match(r"gateway: http://127\.0\.0\.1:(\d+), and on every other address", said[0])
            assert found is not None, said
            assert _pushed(int(found[1]), home) == (403, OWN_MACHINE)
            assert home.registry.requests == []
        finally:
            process.kill()


def _pushed(port: int, home: Home) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/api/push", f'{{"model":"{home.name}"}}')
        response = connection.getresponse()
        return response.status, response.read().decode().partition(": ")[2].rstrip('"}')
    finally:
        connection.close()


def test_what_is_served_on_every_address_is_not_taken_for_loopback(tmp_path: Path) -> None:
    """With any settings: clients from elsewhere may use any name for the gateway, and cannot reach this machine."""

    async def asked(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        response = await reader.read()
        writer.close()
        await writer.wait_closed()
        return response

    async def story(body: bytes) -> tuple[bytes, bytes]:
        places: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        stop = asyncio.Event()
        settings = settings_for(store_of(tmp_path), loopback=True)
        serving = asyncio.create_task(
            serve(settings, EVERYWHERE, 0, started=lambda *place: places.put_nowait(place), stop=stop)
        )
        _host, port = await places.get()
        elsewhere = {"Host": "models.example.com"}
        try:
            responses = [
                await asked(port, request_of("GET", "/", headers=elsewhere)),
                await asked(port, request_of("POST", "/api/push", body, elsewhere)),
            ]
        finally:
            stop.set()
            await serving
        return responses[0], responses[1]

    with EmbeddedRegistry(tmp_path / "registry") as registry:
        told = asyncio.run(story(f'{{"model":"{registry.host}/team/demo","insecure":true}}'.encode()))
        assert registry.requests == []
    first, push = map(parse, told)
    assert first.status == 200
    assert (push.status, push.error) == (403, f"this gateway does not push there: {OWN_MACHINE}")


@pytest.mark.parametrize("named", ["", "default_registry", "allow"])
def test_the_login_of_the_environment_goes_to_registries_of_our_own_choice_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    for name in ("HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("OLLAMA_USERNAME", "gateway")
    monkeypatch.setenv("OLLAMA_PASSWORD", "correct horse")
    challenge = {"WWW-Authenticate": 'Basic realm="a registry"'}
    with ScriptedServer(json_answer(b"", 401, challenge)) as registry:
        host = f"127.0.0.1:{registry.port}"
        choice = {named: host} if named else {}
        store = store_of(tmp_path, f"{host}/team/demo/latest")
        with Gateway(settings_for(store, credentials=None, **choice)) as gateway:
            response = gateway.push({"model": f"{host}/team/demo", "insecure": True})
        sent = {request.headers.get("authorization") for request in registry.requests}
    assert "access denied" in response.error
    assert sent == ({None, f"Basic {b64encode(b'gateway:correct horse').decode()}"} if named else {None})


@pytest.mark.parametrize("verify", [True, False])
def test_the_registry_is_asked_afterwards_unless_it_is_not_wanted(tmp_path: Path, *, verify: bool) -> None:
    lost = Fault("GET", "/manifests/", times=None, action=Reply(404))
    with EmbeddedRegistry(tmp_path / "registry", faults=[lost]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store, verify=verify)) as gateway:
            last = gateway.push(order_for(registry)).lines[-1]
        asked = [seen for seen in registry.requests if seen.method == "GET" and "/manifests/" in seen.path]
    if verify:
        assert "the registry has no manifest for" in last["error"]
    else:
        assert (last, asked) == ({"status": "success"}, [])


@pytest.mark.parametrize("told", [True, False])
def test_a_registry_with_a_ca_of_its_own_is_trusted_when_it_is_given(tmp_path: Path, *, told: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with EmbeddedRegistry(tmp_path / "registry", tls=context) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store, ca_file=tmp_path / "ca.pem" if told else None)) as gateway:
            last = gateway.push(order_for(registry, insecure=False)).lines[-1]
    if told:
        assert last == {"status": "success"}
    else:
        assert "certificate signed by unknown authority" in last["error"]


def test_a_registry_that_takes_nothing_is_given_up_in_time(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with Gateway(settings_for(store, stall_timeout=0.2, retry=ONCE)) as gateway:
            error = gateway.push(order_for(registry)).error
    assert error.startswith("max retries exceeded: ")
    assert "0.2 s" in error


def test_hooks_are_told_of_every_push(tmp_path: Path) -> None:
    seen: list[Observation] = []
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store, hooks=[seen.append])) as gateway:
            gateway.push(order_for(registry))
            gateway.push(order_for(registry, "team/none"))
            gateway.push(order_for(registry))
    ends = [each for each in seen if isinstance(each, PushFinished)]
    assert [(each.push.model, each.outcome) for each in ends] == [
        (f"{registry.host}/team/demo:latest", PushOutcome.SUCCEEDED),
        (f"{registry.host}/team/none:latest", PushOutcome.FAILED),
        (f"{registry.host}/team/demo:latest", PushOutcome.SUCCEEDED),
    ]


def test_no_more_blobs_are_on_their_way_than_was_asked_for(tmp_path: Path) -> None:
    slow = Fault("PUT", "/blobs/uploads/", times=None, action=Stall(0.1))
    with EmbeddedRegistry(tmp_path / "registry", faults=[slow]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(b"one", b"two", b"three"))
        with Gateway(settings_for(store, concurrency=1)) as gateway:
            assert gateway.push(order_for(registry)).lines[-1] == {"status": "success"}
        sent = [seen.method for seen in registry.requests if "/uploads/" in seen.path]
    assert sent == ["POST", "PUT"] * 4


def test_as_many_blobs_are_on_their_way_as_was_asked_for(tmp_path: Path) -> None:
    stuck = Fault("PUT", "/blobs/uploads/", times=None, action=Stall(60.0))
    layers = tuple(bytes([number]) for number in range(6))

    def under_way(registry: EmbeddedRegistry) -> int:
        return sum(seen.method == "PUT" for seen in registry.requests)

    with EmbeddedRegistry(tmp_path / "registry", faults=[stuck]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=layers)
        with Gateway(settings_for(store, concurrency=6)) as gateway:
            with start(gateway, order_for(registry)):
                assert registry.wait_until(lambda: under_way(registry) == 6, PATIENCE)
            gateway.wait_for(1)


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_request_is_sent_as_often_as_was_asked_for(tmp_path: Path, attempts: int) -> None:
    busy = Fault("HEAD", times=None, action=Reply(503))
    with EmbeddedRegistry(tmp_path / "registry", faults=[busy]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        # One question at a time: the manifest and the blobs are asked for side by side.
        retry = RetryPolicy(attempts=attempts, base=0)
        with Gateway(settings_for(store, retry=retry, concurrency=1)) as gateway:
            assert "503" in gateway.push(order_for(registry)).error
        assert [seen.method for seen in registry.requests] == ["HEAD"] * attempts


def _limits() -> dict[str, tuple[float, ...]]:
    """Return the numbers of the guide's table of limits, in bytes and seconds."""
    table = GUIDE.read_text("utf-8").partition("## Limits")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", table, re.MULTILINE)[1:]
    numbers = re.compile(r"(\d+) ?(KiB|min|s\b|)")
    return {what: tuple(int(number) * UNITS[unit] for number, unit in numbers.findall(limit)) for what, limit in rows}


def test_the_limits_are_those_of_the_guide(tmp_path: Path) -> None:
    settings = GatewaySettings(store=store_of(tmp_path))

    async def served() -> tuple[float, int, int]:
        runner = new_runner(create_app(settings), settings)
        await runner.setup()
        try:
            assert runner.server is not None
            connection = runner.server()
            return connection.keepalive_timeout, connection.max_headers, connection.max_field_size
        finally:
            await runner.cleanup()

    keep_alive, most_lines, longest_line = asyncio.run(served())
    limits = _limits()
    assert limits["pushes at the same time"] == (settings.max_pushes,)
    assert limits["body of a request"] == (settings.max_body_bytes, settings.body_timeout)
    head_bytes, lines, line_bytes, seconds = limits["head of a request"]
    assert head_bytes == ConnectionLimits(1, 1, 1, 1.0, 1.0).head_bytes
    assert (lines, seconds) == (most_lines, settings.body_timeout)
    assert line_bytes - 8 <= longest_line <= line_bytes
    assert limits["a connection without a request"] == (keep_alive, settings.body_timeout)
    assert limits["connections at the same time"] == (settings.max_connections,)
    assert limits["connections from one address"] == (settings.max_connections_per_client,)
    assert limits["a client that does not take a response"] == (settings.response_timeout,)
    assert limits["status pages watching at the same time"] == (pages._MAX_STREAMS,)
    assert limits["a status page that takes nothing"] == (pages._STALL_SECONDS,)
    assert limits["remembered pushes"] == (PushHistory().kept,)
    assert limits["a client of a push that takes nothing"] == (settings.stall_timeout,)
    assert limits["a text of a registry in an error"] == (SHOWN_CHARACTERS, INSPECTED_CHARACTERS)
    assert limits["an illegal name in an error"] == (MAX_NAME_CHARACTERS,)
    assert limits["a registry's `Location`"] == (endpoints._MAX_LOCATION_CHARACTERS,)
    assert limits["the head of a registry's response"] == (REQUEST_TIMEOUT_SECONDS, settings.stall_timeout)
    assert limits["the rest of a registry's response"] == (MAX_RESPONSE_SECONDS,)
    grace = re.search(r"at most (\w+) seconds later", GUIDE.read_text("utf-8"))
    assert grace is not None
    assert settings.shutdown_grace == COUNTED[grace[1]]


def test_the_command_has_the_limits_of_its_settings() -> None:
    unless_said = {parameter.name: parameter.default for parameter in serve_command.params}
    settings = GatewaySettings()
    assert unless_said["max_pushes"] == settings.max_pushes
    assert unless_said["concurrency"] == settings.concurrency


def test_the_guide_has_the_threads_and_buffers_that_there_are() -> None:
    guide = GUIDE.read_text("utf-8")
    threads = app._READERS, app._LISTERS, _lanes._CREDENTIAL_THREADS, _lanes._HASHING_THREADS, _lanes._RESUME_THREADS
    assert "{}, {}, {}, {}, {} and {}. Requests".format(*threads, transport._DNS_THREADS) in guide
    # In both directions, and Linux doubles what is asked for (socket(7)).
    assert f"In the system's buffers each has at most {listener._SOCKET_BYTES * 2 * 2 // 1024} KiB." in guide
