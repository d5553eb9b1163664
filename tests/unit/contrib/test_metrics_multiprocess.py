"""prometheus_client's multiprocess mode: what a killed worker had under way is not under way for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.process

WORKER: Final = """
import sys
from ollama_push.contrib.metrics import MetricsHook, PrometheusSink
from ollama_push.core.observations import PushContext, PushFinished, PushOutcome, PushStarted

hook = MetricsHook(PrometheusSink())
for name in ("a/b", "a/c"):
    hook(PushStarted(push := PushContext(name, "http://h"), 0.0))
hook(PushFinished(push, 1.0, PushOutcome.SUCCEEDED))
print("under way", flush=True)
sys.stdin.readline()
"""
COLLECTOR: Final = """
import sys
from prometheus_client import CollectorRegistry, multiprocess

for pid in sys.argv[1:]:
    multiprocess.mark_process_dead(int(pid))
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
labels = {"outcome": "succeeded", "error": ""}
running = registry.get_sample_value("ollama_push_pushes_in_progress")
print(running, registry.get_sample_value("ollama_push_pushes_total", labels))
"""


def test_a_killed_worker_takes_its_gauge_with_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def collected(*dead: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", COLLECTOR, *map(str, dead)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "under way\n"
        assert collected() == "1.0 1.0\n"
    finally:
        worker.kill()
        worker.communicate()
    assert collected(worker.pid) == "None 1.0\n"
