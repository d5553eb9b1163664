"""The command starts fast: it loads what it needs and nothing of the other ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.command import HERE, NAME, SUCCESS, environment, without_coverage
from tests.support.stores import put_model

from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.testing.server import ScriptedServer

pytestmark = pytest.mark.process

ASYNC = {"asyncio", "aiohttp", "ollama_push.client._async", "ollama_push.client._registry_async"}
SERVER = {"cattrs", "msgspec", "ollama_push.client._sync", "ollama_push.core.server.wire"}
DIRECT = {"filelock", "ollama_push.client._registry_sync", "ollama_push.core.registry.exchange"}
OTHERS = {
    "ollama_push.fleet",
    "ollama_push.gateway",
    "ollama_push.testing",
    "prometheus_client",
    "rich.console",
}
ALL = ASYNC | SERVER | DIRECT | OTHERS


# Run by another interpreter: the command, and then what it has loaded.
PROGRAM = """
import sys
from pathlib import Path
report = Path(sys.argv.pop(1))
from ollama_push.cli import main
try:
    main()
finally:
    report.write_text("\\n".join(sys.modules))
"""


def loaded_by(folder: Path, *arguments: str) -> set[str]:
    """Run the command with the model store in *folder*; return which modules it has loaded."""
    report = folder / "loaded"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(report), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=without_coverage(environment(OLLAMA_MODELS=str(folder))),
    )
    assert done.returncode == 0, done.stderr
    return set(report.read_text().split())


@pytest.fixture(scope="module")
def needless() -> set[str]:
    """What no push by the usual transport is to load; some versions of filelock load asyncio themselves."""
    program = "import filelock, sys; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return ALL - {"asyncio"} if done.stdout == "True\n" else ALL


def test_a_version_needs_no_client_and_no_transport(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--version")
    assert "ollama_push.cli.app" in loaded
    assert loaded & (ALL | {"ssl", "urllib3", "ollama_push.client"}) == set()


def test_a_direct_push_loads_neither_async_code_nor_that_of_a_server(tmp_path: Path, needless: set[str]) -> None:
    put_model(tmp_path, "registry.ollama.ai/library/small/latest", (b"a",))
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/small"
        loaded = loaded_by(tmp_path, "push", name, "--direct", "--plain-http", "--from", "ollama:small")
    assert loaded >= DIRECT | {"urllib3"}
    assert loaded & (needless - DIRECT) == set()


def test_a_push_through_a_server_loads_no_async_code_and_no_direct_client(tmp_path: Path, needless: set[str]) -> None:
    with ScriptedServer(SUCCESS, answers=HERE) as server:
        loaded = loaded_by(tmp_path, "push", NAME, "--host", server.url)
    assert loaded >= SERVER - {"msgspec"} | {"urllib3"}
    assert loaded & (needless - SERVER - {"filelock"}) == set()


def test_a_push_by_the_async_transport_loads_no_sync_client(tmp_path: Path) -> None:
    put_model(tmp_path, "registry.ollama.ai/library/small/latest", (b"a",))
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/small"
        options = ("--direct", "--plain-http", "--from", "ollama:small", "--transport", "aiohttp")
        loaded = loaded_by(tmp_path, "push", name, *options)
    assert "ollama_push.client._registry_async" in loaded
    assert loaded & {"urllib3", "ollama_push.client._registry_sync", "ollama_push.client._async"} == set()
