"""The recipes for queues and schedulers run as written, against a real Redis and a registry."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own
from tests.support.blobs import MIB
from tests.support.large_models import put_large_model
from tests.support.redis_server import RedisServer, needs_redis
from tests.support.stores import put_models

from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

pytestmark = [pytest.mark.slow, pytest.mark.process, needs_redis]

_ROOT: Final = Path(__file__).parents[2]
_RECIPES: Final = _ROOT / "examples" / "fleet"
_PATIENCE_SECONDS: Final = 90.0
_COUNT: Final = 6


def _variables(home: Path, redis: str, **more: str) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "OLLAMA_MODELS": str(home / "models"),
        "OLLAMA_USERNAME": "ann",
        "OLLAMA_PASSWORD": "s3cret",
        "OLLAMA_PUSH_RESUME": redis,
        "FLEET_REDIS": redis,
        "FLEET_PLAIN_HTTP": "1",
        **more,
    }


@contextmanager
def _worker(home: Path, redis: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "celery_push",
        "worker",
        "--pool",
        "solo",
        "--loglevel",
        "ERROR",
    ]
    more = {"FLEET_VISIBILITY_SECONDS": "1", "FLEET_LEASE_SECONDS": "1"}
    process = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=_RECIPES, env=_variables(home, redis, **more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(_PATIENCE_SECONDS)


def test_a_task_of_a_celery_worker_that_is_killed_goes_on_in_another_one(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    model = put_large_model(tmp_path / "models", 24 * MIB)
    slow = Fault("PATCH", times=None, after_bytes=2 * MIB, action=Stall(0.5))
    with (
        RedisServer(tmp_path / "redis") as redis,
        EmbeddedRegistry(tmp_path / "registry", faults=[slow]) as registry,
    ):
        name = f"{registry.host}/team/m:v1"
        send = f"import celery_push; celery_push.push.delay({name!r}, 'my-llama')"
        subprocess.run(
            [sys.executable, "-c", send], cwd=_RECIPES, env=_variables(tmp_path, redis.url), check=True, timeout=60
        )
        with _worker(tmp_path, redis.url) as first:
            assert registry.wait_until(lambda: registry.received_bytes > 6 * MIB, _PATIENCE_SECONDS)
            first.kill()
        with _worker(tmp_path, redis.url):
            assert registry.wait_until(lambda: registry.manifest("team/m", "v1") is not None, _PATIENCE_SECONDS)
        assert registry.received_bytes <= model.total_bytes + 4 * MIB, "what was in buffers at the kill, and no more"


def _argo_script() -> str:
    workflow = yaml.safe_load((_ROOT / "deploy" / "argo.yml").read_text("utf-8"))
    [script] = [each["script"]["source"] for each in workflow["spec"]["templates"] if "script" in each]
    return str(script)


def _job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((_ROOT / "deploy" / "job.yml").read_text("utf-8"))
    return job


def _job_script() -> str:
    [container] = _job()["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    return str(container["args"][0])


@pytest.mark.parametrize("recipe", ["job", "argo"])
def test_the_parts_of_a_job_push_every_model_once(recipe: str, tmp_path: Path) -> None:
    put_models(tmp_path / "models", _COUNT)
    with RedisServer(tmp_path / "redis") as redis, EmbeddedRegistry(tmp_path / "registry") as registry:
        pods = []
        for part in range(1, 5):
            script = _job_script() if recipe == "job" else _argo_script()
            script = script.replace("{{inputs.parameters.part}}", str(part))
            script = script.replace("registry.example.com", registry.host).replace("--direct", "--direct --plain-http")
            variables = _variables(tmp_path, redis.url, JOB_COMPLETION_INDEX=str(part - 1))
            pods.append(subprocess.Popen(["/bin/sh", "-c", script], env=variables, stderr=subprocess.PIPE, text=True))
        for pod in pods:
            _out, said = pod.communicate(timeout=_PATIENCE_SECONDS)
            assert pod.returncode == 0, said
        puts = [seen.path for seen in registry.requests if seen.method == "PUT" and "/manifests/" in seen.path]
        assert sorted(puts) == [f"/v2/team/library/m{number}/manifests/latest" for number in range(_COUNT)]


def test_kubernetes_takes_the_job() -> None:
    for version in ("1.31", "1.34"):
        kubernetes_validate.validate(_job(), version, strict=True)
    assert _job()["spec"]["completionMode"] == "Indexed"
    assert f"/{_job()['spec']['completions']}" in _job_script()


def _airflow() -> ModuleType:
    spec = importlib.util.spec_from_file_location("airflow_push", _RECIPES / "airflow_push.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_functions_for_airflow_push_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(tmp_path / "models", 2)
    with RedisServer(tmp_path / "redis") as redis, EmbeddedRegistry(tmp_path / "registry") as registry:
        for name, value in _variables(tmp_path, redis.url).items():
            monkeypatch.setenv(name, value)
        recipe = _airflow()
        models = recipe.models_of()
        assert models == ["m0:latest", "m1:latest"]
        for model in models:
            told = recipe.push_one(model, place=f"{registry.host}/team")
            assert told["digest"].startswith("sha256:")
        assert all(registry.manifest(f"team/library/m{number}", "latest") for number in range(2))
