"""A forked process opens its own connections, and leaves those of its parent alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.stores import put_model

from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.testing.server import Hold, NextRequest, Script, ScriptedServer, Step, chunk, head, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")]

WORKER: Final = Path(__file__).parents[1] / "support" / "fork_worker.py"
PATIENCE: Final = 60.0


def kept(body: bytes) -> list[Step]:
    return [head(200, {"Content-Length": str(len(body))}, content_type="application/json") + body, NextRequest()]


def pushed() -> list[Step]:
    lines = [b'{"status":"retrieving manifest"}', b'{"status":"success"}']
    return [head(headers={"Transfer-Encoding": "chunked"}), *(chunk(line + b"\n") for line in lines), chunk(b"")]


CHECK: Final[Sequence[Step]] = [
    *kept(b'{"version":"0.32.15"}'),
    *kept(b'{"models":[{"name":"a/b:latest","size":5}]}'),
    *kept(b'{"name":"a"}'),
]
"""The server's part in a check, on a connection that is kept."""


@contextmanager
def working(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def result(*arguments: str, **environment: str) -> Any:
    with working(*arguments, **environment) as process:
        said, complaints = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, complaints
        return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_child_pushes_on_a_connection_of_its_own(kind: str) -> None:
    with ScriptedServer([*CHECK, *pushed()], pushed()) as server:
        assert result("idle", kind, server.url) == ["PushReceipt", "PushReceipt"]
        assert server.accepted == 2
        assert [each.target for each in server.requests].count("/api/push") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "child"), [("sync", "PushReceipt"), ("async", "MachineMisuse")])
def test_what_was_injected_is_not_shared_either(kind: str, child: str) -> None:
    with ScriptedServer([*CHECK, *pushed()], pushed()) as server:
        assert result("injected", kind, server.url) == [child, "PushReceipt"]
        assert server.accepted == (2 if child == "PushReceipt" else 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async", "sync injected", "async injected"])
def test_leaving_a_block_hangs_up_although_a_child_has_a_copy(kind: str) -> None:
    endless: Script = (*lines_answer([b'{"status":"retrieving manifest"}'], end=False), Hold())
    with ScriptedServer(endless) as server, working("leave", kind, server.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == '"left"\n'
        assert server.peer_closed.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_closing_a_client_ends_its_idle_connections_although_a_child_has_copies(kind: str) -> None:
    with ScriptedServer([*CHECK, Hold()]) as server, working("close", kind, server.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == '"left"\n'
        assert server.wait_for_open(0, PATIENCE)


def test_a_child_that_leaves_its_copy_of_a_stream_ends_nothing() -> None:
    with ScriptedServer([*pushed()[:2], *pushed()[2:]]) as server:
        child, last, told = result("unwind", "sync", server.url)
    assert last == "success"
    assert child == "PushStarted,AttemptStarted,EventSeen"
    assert told == "PushStarted,AttemptStarted,EventSeen,EventSeen,PushFinished"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_direct_pushes_of_parent_and_child_all_arrive(kind: str, tmp_path: Path) -> None:
    put_model(tmp_path / "models")
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        ended = result("direct", kind, registry.host, OLLAMA_MODELS=str(tmp_path / "models"))
        assert ended == ["PushReceipt"] * 3
        for name in ("one", "two", "three"):
            assert registry.manifest(f"a/{name}", "latest") is not None


def test_a_child_does_not_write_where_its_parent_resumes(tmp_path: Path) -> None:
    assert result("resume", "sync", str(tmp_path)) == ["None", "5", "InUseElsewhere"]
