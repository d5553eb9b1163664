"""Every resume store of the package keeps every clause of their contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.redis_server import RedisServer, needs_redis

from ollama_push.fleet import RedisResumeStore
from ollama_push.local import FileResumeStore
from ollama_push.testing.contract import RESUME_CLAUSES, ResumeClause


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.mark.parametrize("clause", RESUME_CLAUSES, ids=str)
def test_files_keep(clause: ResumeClause, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    clause.check(lambda: FileResumeStore(tmp_path / "uploads"), lambda: FileResumeStore(tmp_path / "a file"))


@needs_redis
@pytest.mark.process
@pytest.mark.parametrize("clause", RESUME_CLAUSES, ids=str)
def test_redis_keeps(clause: ResumeClause, redis_url: str) -> None:
    clause.check(lambda: RedisResumeStore(redis_url), lambda: RedisResumeStore("redis://127.0.0.1:1"))
