"""What a user is told who has not installed an extra."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_a_missing_redis_is_named_with_the_line_that_installs_it() -> None:
    program = """
import sys
sys.modules["redis"] = None  # import says that there is no such module
try:
    import ollama_push.fleet
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Redis needs: pip install 'ollama-push[redis]'\n"


@pytest.mark.parametrize(
    ("library", "module", "name", "extra"),
    [
        ("rich", "progress", "RichProgress", "cli"),
        ("tqdm", "progress", "TqdmProgress", "tqdm"),
        ("prometheus_client", "metrics", "PrometheusSink", "prometheus"),
        ("opentelemetry", "metrics", "OtelSink", "otel"),
        ("opentelemetry", "tracing", "TracingHook", "otel"),
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    library: str, module: str, name: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules[{library!r}] = None  # import says that there is no such module
import ollama_push.contrib.progress, ollama_push.contrib.metrics, ollama_push.contrib.logs
try:
    from ollama_push.contrib.{module} import {name}
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{name} needs: pip install 'ollama-push[{extra}]'\n"
    assert done.stderr == ""
