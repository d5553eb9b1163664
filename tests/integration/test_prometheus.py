"""A real Prometheus scrapes a real push."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3
from prometheus_client import CollectorRegistry, start_http_server

from ollama_push import PushClient
from ollama_push.contrib.metrics import MetricsHook, PrometheusSink
from ollama_push.testing.server import ScriptedServer, lines_answer

_PROGRAM: Final = shutil.which("prometheus")
_PATIENCE_SECONDS: Final = 15.0
_LINES: Final = (
    b'{"status":"retrieving manifest"}',
    b'{"status":"p","digest":"sha256:a","total":100,"completed":40}',
    b'{"status":"p","digest":"sha256:a","total":100,"completed":100}',
    b'{"status":"success"}',
)

pytestmark = pytest.mark.skipif(_PROGRAM is None, reason="prometheus is not installed: apt-get install prometheus")


@pytest.fixture
def registry() -> CollectorRegistry:
    """Measurements of one push."""
    registry = CollectorRegistry()
    hook = MetricsHook(PrometheusSink(registry))
    with ScriptedServer(lines_answer(_LINES)) as server, closing(PushClient(server.url, hooks=[hook])) as client:
        client.push("myuser/my-llama")
    return registry


@contextmanager
def _exporter(registry: CollectorRegistry) -> Iterator[int]:
    """Expose *registry* over HTTP; the block holds the port."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _prometheus(folder: Path, target_port: int) -> Iterator[str]:
    """Run a Prometheus that scrapes *target_port* every second; the block holds its address."""
    assert _PROGRAM is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scrape = {"job_name": "pushes", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
    config = folder / "prometheus.yml"  # JSON is YAML
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}), "utf-8")
    command = [
        _PROGRAM,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _ask(pool: urllib3.PoolManager, address: str, query: str) -> dict[str, float]:
    """Return what *query* gives now, by outcome; nothing while nobody listens or nothing was scraped."""
    try:
        answer = pool.request("GET", f"{address}/api/v1/query", fields={"query": query}, retries=False)
    except urllib3.exceptions.HTTPError:
        return {}
    if answer.status != 200:  # 503 until it has read its storage
        return {}
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return {sample["metric"].get("outcome", ""): float(sample["value"][1]) for sample in found}


def test_prometheus_knows_of_a_push_once_it_has_scraped(registry: CollectorRegistry, tmp_path: Path) -> None:
    never = threading.Event()
    with (
        _exporter(registry) as port,
        _prometheus(tmp_path, port) as address,
        urllib3.PoolManager(timeout=5.0) as pool,
    ):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _ask(pool, address, "ollama_push_pushes_total") and time.monotonic() < deadline:
            never.wait(0.1)
        told = {
            query: _ask(pool, address, query)
            for query in (
                "ollama_push_pushes_total",
                "ollama_push_moved_bytes_total",
                "ollama_push_attempts_total",
                "ollama_push_push_duration_seconds_count",
                "ollama_push_pushes_in_progress",
                'up{job="pushes"}',
            )
        }
    assert told == {
        "ollama_push_pushes_total": {"succeeded": 1.0},
        "ollama_push_moved_bytes_total": {"": 100.0},
        "ollama_push_attempts_total": {"": 1.0},
        "ollama_push_push_duration_seconds_count": {"succeeded": 1.0},
        "ollama_push_pushes_in_progress": {"": 0.0},
        'up{job="pushes"}': {"": 1.0},
    }, (tmp_path / "log").read_text("utf-8")
