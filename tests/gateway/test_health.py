"""The state of the gateway and its pushes, as probes, clients and Prometheus see it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.blobs import MIB
from tests.support.gateway import PATIENCE, Gateway, settings_for, store_of
from tests.support.gateway_requests import BIG, order_for, stalling, start

import ollama_push
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Reply


def health(gateway: Gateway) -> dict[str, Any]:
    response = gateway.send("GET", "/healthz")
    assert (response.status, response.headers["content-type"]) == (200, "application/json; charset=utf-8")
    (line,) = response.lines
    return line


def test_health_tells_how_many_pushes_run(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", faults=[stalling()]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(BIG,))
        with Gateway(settings_for(store)) as gateway:
            assert health(gateway) == {"status": "ok", "pushes": 0}
            with start(gateway, order_for(registry)), start(gateway, order_for(registry)):
                assert registry.wait_until(lambda: registry.received_bytes >= MIB, PATIENCE)
                assert registry.wait_until(lambda: len(gateway.records()) == 2, PATIENCE)
                assert health(gateway) == {"status": "ok", "pushes": 2}
            gateway.wait_for(2)
            assert health(gateway) == {"status": "ok", "pushes": 0}


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        assert gateway.send("GET", "/api/version").lines == [
            {"version": ollama_push.__version__, "ollama_push_gateway": True, "private": True}
        ]


def test_who_is_signed_in_is_no_error_because_ollama_push_would_end_there(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        response = gateway.send("POST", "/api/me")
        assert (response.status, response.headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert response.lines == [{}]


WITHOUT_PROMETHEUS: Final = """
import asyncio, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prometheus_client":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())

import json
from aiohttp import ClientSession, web
from ollama_push.gateway import GatewaySettings, create_app
from ollama_push.local import ModelStore, NoResume

async def main():
    settings = GatewaySettings(store=ModelStore(sys.argv[1]), resume=NoResume())
    runner = web.AppRunner(create_app(settings))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = "http://{}:{}".format(*runner.addresses[0][:2])
        async with ClientSession() as session:
            responses = []
            for path in ("/metrics", "/healthz"):
                async with session.get(origin + path) as response:
                    responses.append((response.status, response.content_type, await response.text()))
            async with session.post(origin + "/api/push", json={"model": "a/b/c/d"}) as response:
                responses.append((response.status, response.content_type, (await response.text()).splitlines()[-1]))
        print(json.dumps(responses))
    finally:
        await runner.cleanup()

asyncio.run(main())
"""


def test_without_the_library_for_metrics_it_says_how_to_get_it_and_pushes_all_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_PROMETHEUS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [
        [404, "text/plain", "metrics need: pip install 'ollama-push[prometheus]'\n"],
        [200, "application/json", '{"status":"ok","pushes":0}'],
        [200, "application/x-ndjson", '{"error":"unqualified name: a/b/c/d:latest"}'],
    ]


def test_with_the_library_there_are_metrics(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        response = gateway.send("GET", "/metrics")
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert b"# TYPE ollama_push_pushes_total counter" in response.body


@pytest.mark.parametrize(
    ("settings", "insecure", "scheme"),
    [
        ({}, True, "http"),
        ({}, False, "https"),
        ({"plain_http": True}, False, "http"),
        ({"plain_http": True}, True, "http"),
    ],
)
def test_what_is_shown_of_a_push_is_how_its_registry_is_spoken_with(
    tmp_path: Path, settings: dict[str, Any], *, insecure: bool, scheme: str
) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store, **settings)) as gateway:
            response = gateway.push(order_for(registry, insecure=insecure))
            (record,) = gateway.records()
    assert record.target == f"{scheme}://{registry.host}"
    assert ("success" in response.lines[-1].values()) is (scheme == "http")


@pytest.mark.parametrize(
    ("attempts", "error"),
    [
        (1, "500: opening an upload"),
        (2, "max retries exceeded: http status 500 Internal Server Error: opening an upload"),
    ],
)
def test_only_what_was_tried_again_is_said_to_be_tried_in_vain(tmp_path: Path, attempts: int, error: str) -> None:
    broken = Fault("POST", "/blobs/uploads/", times=None, action=Reply(500))
    with EmbeddedRegistry(tmp_path / "registry", faults=[broken]) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest", layers=(b"weights",))
        retry = RetryPolicy(attempts=attempts, base=0.0)
        with Gateway(settings_for(store, retry=retry, concurrency=1)) as gateway:
            response = gateway.push(order_for(registry))
    assert response.error.startswith(error)
    assert len([seen for seen in registry.requests if seen.status == 500]) == attempts


def counted(gateway: Gateway) -> dict[str, float]:
    """Return the pushes of /metrics by outcome."""
    text = gateway.send("GET", "/metrics").body.decode()
    found = re.findall(r'^ollama_push_pushes_total\{error="[^"]*",outcome="(\w+)"\} (\S+)$', text, re.MULTILINE)
    totals: dict[str, float] = {}
    for outcome, number in found:
        totals[outcome] = totals.get(outcome, 0) + float(number)
    return totals


def test_metrics_and_page_count_the_same_pushes(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="the extra prometheus is not installed")
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        with Gateway(settings_for(store)) as gateway:
            gateway.push(order_for(registry))
            gateway.push(order_for(registry, "team/none"))
            gateway.push({"model": "not a name"})
            records = gateway.records()
            assert counted(gateway) == {"succeeded": 1, "failed": 2}
            assert sorted(record.outcome.value for record in records if record.outcome is not None) == [
                "failed",
                "failed",
                "succeeded",
            ]
            assert gateway.send("GET", "/ui").status == 200
