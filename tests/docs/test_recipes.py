"""Recipes that the pages' own test cannot run: a worker, a notebook's kernel, pytest itself, jobs of CI systems."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from nbclient import NotebookClient
from tests.support.command_direct import PASSWORD, SMALL_BYTES, Home, at_home
from tests.support.example_runner import ANSWERS, PUSH
from tests.support.stores import put_model
from traitlets.config import Config

from ollama_push.testing.registry import BasicAuth
from ollama_push.testing.server import Hold, Script, ScriptedServer, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.docs]

ROOT: Final = Path(__file__).parents[2]
GOLDEN: Final = Path(__file__).parent / "golden"
JOBS: Final = ROOT / "examples" / "ci"
SILENT: Final[Script] = [*lines_answer([b'{"status":"retrieving manifest"}'], end=False), Hold()]


def block(page: str, text: str) -> str:
    """Return the Python block of *page* that holds *text*."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    [found] = [each for each in blocks if text in each]
    return str(found)


@contextmanager
def ollama(*scripts: Script) -> Iterator[ScriptedServer]:
    with ScriptedServer(*scripts, answers=ANSWERS) as server:
        yield server


# The worker is stopped by what waits for the results: an in-memory broker is of one process.
WORKER: Final = """
import threading
from uploads import app, push

results = [push.delay("myuser/my-llama"), push.apply_async(["myuser/my-llama"], soft_time_limit=1, time_limit=60)]
worker = app.Worker(
    pool="prefork", concurrency=1, loglevel="ERROR", quiet=True,
    without_gossip=True, without_mingle=True, without_heartbeat=True,
)

def wait():
    for result in results:
        said.append(result.get(timeout=90, disable_sync_subtasks=False))
    worker.stop()

said = []
waiting = threading.Thread(target=wait)
waiting.start()
worker.start()
waiting.join()
with open("said.txt", "w") as file:
    file.write("\\n".join(said))
"""


def test_a_celery_task_ends_in_time(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "uploads.py").write_text(block("recipes.md", "from celery import Celery"))
    (tmp_path / "worker.py").write_text(WORKER)
    with ollama(PUSH, SILENT) as server:
        subprocess.run(
            [sys.executable, "worker.py"], cwd=tmp_path, env={**os.environ, "OLLAMA_HOST": server.url},
            capture_output=True, timeout=180, check=True,
        )  # fmt: skip
        assert server.peer_closed.wait(60), "the connection stayed open"
    first, second = (tmp_path / "said.txt").read_text().splitlines()
    assert first.startswith("pushed myuser/my-llama:latest, 1 layer, 250 B, in ")
    assert second == "myuser/my-llama: not done in time"


def run_notebook(code: str, folder: Path, **variables: str) -> tuple[Any, dict[str, Any]]:
    """Run *code* as the cell of a notebook in a real kernel; return its outputs and the state of its widgets."""
    v4: Any = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code)])
    # The kernel of this interpreter: those that a machine has installed are of other environments.
    kernels = folder / "jupyter" / "kernels" / "ours"
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "ours", "language": "python"}))
    before = dict(os.environ)
    os.environ.update(variables, JUPYTER_PATH=str(folder / "jupyter"), JUPYTER_PLATFORM_DIRS="1", HOME=str(folder))
    try:
        client = NotebookClient(
            notebook,
            timeout=120,
            kernel_name="ours",
            resources={"metadata": {"path": str(folder)}},
            # A TCP port that is free when it is chosen may be taken when the kernel binds it.
            config=Config(ConnectionFileMixin={"transport": "ipc", "ip": str(folder / "kernel")}),
        )
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    states = {key: dict(state) for key, state in (client.widget_state or {}).items()}
    return notebook.cells[0].outputs, states


def shown(states: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what a person sees of each bar: text, filling, colour, width, text; speeds are the machine's."""
    seen = []
    for state in states.values():
        if state.get("_model_name") == "HBoxModel" and len(state["children"]) == 3:
            left, bar, right = (states[child.removeprefix("IPY_MODEL_")] for child in state["children"])
            width = states[bar["layout"].removeprefix("IPY_MODEL_")].get("width")
            texts = [" ".join(re.sub(r"[\d.]+.[kMGB]+/s", "SPEED", text["value"]).split()) for text in (left, right)]
            filled = {"value": bar["value"], "max": bar["max"], "style": bar["bar_style"], "width": width}
            seen.append({"left": texts[0], **filled, "right": texts[1]})
    return seen


def bars(states: Mapping[str, Mapping[str, Any]]) -> list[tuple[float, float, str, str | None]]:
    """Return value, maximum, style and width of each bar."""
    drawn = [state for state in states.values() if state.get("_model_name") == "FloatProgressModel"]
    widths = [states[state["layout"].removeprefix("IPY_MODEL_")].get("width") for state in drawn]
    return [
        (state["value"], state["max"], state["bar_style"], width) for state, width in zip(drawn, widths, strict=True)
    ]


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_a_notebook_draws_a_bar_that_is_full_and_green(tmp_path: Path) -> None:
    code = block("quickstart/notebook.md", "TqdmProgress(expected_bytes=size)")
    with ollama(PUSH) as server:
        outputs, states = run_notebook(code, tmp_path, OLLAMA_HOST=server.url)
    assert [each["output_type"] for each in outputs if each["output_type"] == "error"] == []
    assert bars(states) == [(250.0, 250.0, "success", None)]
    assert shown(states) == json.loads((GOLDEN / "notebook-pushed.json").read_text("utf-8"))
    printed = "".join(each["text"] for each in outputs if each["output_type"] == "stream" and each["name"] == "stdout")
    assert printed.strip().startswith("pushed myuser/my-llama:latest, 1 layer, 250 B, in ")


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_a_cell_of_a_notebook_awaits_a_push_and_draws_its_bar(tmp_path: Path) -> None:
    code = block("quickstart/notebook.md", "async with AsyncRegistryClient")
    with at_home(tmp_path) as home:
        outputs, states = run_notebook(code.replace("localhost:5000", home.registry.host), tmp_path, **home.variables)
        assert home.pushed()
    assert [each["output_type"] for each in outputs if each["output_type"] == "error"] == []
    assert bars(states) == [(float(SMALL_BYTES), float(SMALL_BYTES), "success", None)]
    assert outputs[-1]["data"]["text/plain"] == "True"


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_a_notebooks_bar_of_a_refused_push_is_not_green_and_rich_needs_no_widgets(tmp_path: Path) -> None:
    layer = b'{"status":"pushing 3f2a9c11d0aa","digest":"sha256:3f2a9c11d0aa","total":250,"completed":%d}'
    refused = lines_answer([layer % 100, layer % 250, b'{"error":"unauthorized: access denied"}'])
    code = """
from ollama_push import OllamaPushError, PushClient
from ollama_push.contrib.progress import RichProgress, TqdmProgress

with PushClient(hooks=[TqdmProgress(expected_bytes=250), RichProgress()]) as client:
    try:
        client.push("myuser/my-llama")
    except OllamaPushError as error:
        print(error)
"""
    with ollama(refused) as server:
        outputs, states = run_notebook(code, tmp_path, OLLAMA_HOST=server.url)
    assert [each["output_type"] for each in outputs if each["output_type"] == "error"] == []
    assert [(value, most, style) for value, most, style, _ in bars(states)] == [(250.0, 250.0, "danger")]
    assert shown(states) == json.loads((GOLDEN / "notebook-refused.json").read_text("utf-8"))
    drawn = [each["data"]["text/plain"] for each in outputs if each["output_type"] == "display_data"]
    assert any("myuser/my-llama:latest" in text and "3f2a9c11d0aa" in text for text in drawn), drawn


def test_the_recipe_for_pytest_passes(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(block("recipes.md", "import pytest"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_mine.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1].split(" in ")[0]) == (0, "2 passed"), done.stdout


@pytest.mark.parametrize(
    ("job", "schema"), [("github-actions.yml", "vendor.github-workflows"), ("gitlab-ci.yml", "vendor.gitlab-ci")]
)
def test_a_job_is_one_by_its_systems_schema(job: str, schema: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(JOBS / job)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def scripts() -> dict[str, str]:
    """Return what each job has a shell run, but for the installation."""
    github = yaml.safe_load((JOBS / "github-actions.yml").read_text("utf-8"))["jobs"]["push"]["steps"]
    gitlab = yaml.safe_load((JOBS / "gitlab-ci.yml").read_text("utf-8"))["push-model"]["script"]
    return {
        "github": "\n".join(step["run"] for step in github if "run" in step and "pip install" not in step["run"]),
        "gitlab": "\n".join(gitlab),
    }


def run_job(home: Home, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    plain = script.replace(" --from", " --plain-http --from")
    return home.run_script(plain, MODEL=f"{home.name}:v1", **variables)


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_job_pushes_keeps_what_it_said_and_verifies(system: str, tmp_path: Path) -> None:
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        put_model(tmp_path / "models", f"{home.registry.host}/unused/unused/latest")
        done = run_job(home, scripts()[system], OLLAMA_USERNAME="me", OLLAMA_PASSWORD=PASSWORD)
        assert home.registry.manifest("team/my-llama", "v1") == home.manifest
    assert done.returncode == 0, done.stderr
    last = json.loads((tmp_path / "job" / "push.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["verified"]) == ("succeeded", True)
    assert "ollama_push_pushes_total" in (tmp_path / "job" / "push.prom").read_text()
    assert f"{home.name}:v1: ready" in done.stderr
    assert done.stderr.rstrip().endswith(f"{home.name}:v1: verified")
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("system", ["github", "gitlab"])
@pytest.mark.parametrize("empty", ["OLLAMA_USERNAME", "OLLAMA_PASSWORD"])
def test_a_job_without_its_secrets_ends_before_anything_is_asked(system: str, empty: str, tmp_path: Path) -> None:
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        login = {"OLLAMA_USERNAME": "me", "OLLAMA_PASSWORD": PASSWORD, empty: ""}
        done = run_job(home, scripts()[system], **login)
        assert home.registry.requests == []
    assert done.returncode != 0
    assert f"{empty}: is empty: is " in done.stderr
