"""``--resume``: where the command keeps unfinished uploads, and what it says when it cannot."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest
from tests.support.blobs import MIB
from tests.support.command_direct import at_home
from tests.support.redis_server import UNUSABLE, RedisServer, needs_redis

from ollama_push.cli.resume import new_resume_store, unkept_text
from ollama_push.local import FileResumeStore, NoResume
from ollama_push.testing.registry import Fault, Stall

pytestmark = pytest.mark.process

_PATIENCE_SECONDS: Final = 60.0
_NOWHERE: Final = "redis://ann:s3cret@127.0.0.1:1/0"


@needs_redis
@pytest.mark.slow
def test_what_one_home_leaves_another_one_resumes(tmp_path: Path) -> None:
    slow = Fault("PATCH", times=None, after_bytes=MIB // 2, action=Stall(0.3))
    with (
        at_home(tmp_path / "one", faults=[slow], large_bytes=6 * MIB) as home,
        RedisServer(tmp_path / "redis") as server,
    ):
        options = ("--resume", server.url, "--part-size", "1MiB")
        with home.running(*options) as push:
            assert home.registry.wait_until(lambda: home.registry.received_bytes >= MIB, _PATIENCE_SECONDS)
            push.send_signal(signal.SIGINT)
            assert push.wait(_PATIENCE_SECONDS) == 130
        elsewhere = {"XDG_STATE_HOME": str(tmp_path / "two"), "HOME": str(tmp_path / "two")}
        done = home.direct("push", *options, **elsewhere)
        assert done.returncode == 0, done.stderr
        assert " resumed, " in done.stderr
        assert home.pushed()
    assert not any(tmp_path.rglob("*.lock")), "nothing is kept on disk"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_without_its_redis_a_push_goes_on_and_says_so_once(how: str, tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        options = ("--resume", _NOWHERE) if how == "option" else ()
        done = home.direct("push", *options, **({"OLLAMA_PUSH_RESUME": _NOWHERE} if how == "variable" else {}))
        assert done.returncode == 0, done.stderr
        assert home.pushed()
    warning = (
        "warning: unfinished uploads cannot be kept in redis://127.0.0.1:1/0: it cannot be reached;"
        " a push that is interrupted sends its unfinished blobs again from the start"
    )
    assert done.stderr.splitlines()[0] == warning
    assert done.stderr.count("redis") == 1
    assert "s3cret" not in done.stderr


@needs_redis
@pytest.mark.parametrize(("settings", "words"), UNUSABLE)
def test_a_redis_that_cannot_be_used_has_its_word_on_the_screen(
    settings: dict[str, str] | None, words: str, tmp_path: Path
) -> None:
    with at_home(tmp_path) as home, RedisServer(tmp_path / "redis", settings) as server:
        if settings is None:
            server.stop()
        done = home.direct("push", "--resume", server.url)
        assert done.returncode == 0, done.stderr
        assert home.pushed()
    assert done.stderr.splitlines()[0].startswith(
        f"warning: unfinished uploads cannot be kept in {server.url}: {words}; "
    )
    assert done.stderr.count(words) == 1


def test_a_url_of_something_else_is_refused(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", "--resume", "http://:s3cret@h")
    assert done.returncode == 2
    expected = "expected redis://host[:port][/db], rediss:// for TLS, or unix:///path"
    assert done.stderr == f"error: --resume='http://h': {expected}\n"


def test_the_variable_means_nothing_without_direct(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, "--retries", "0", OLLAMA_PUSH_RESUME=_NOWHERE)
    assert done.returncode == 4
    assert "--resume" not in done.stderr


def test_the_option_is_for_direct_pushes(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, "--resume", _NOWHERE)
    assert done.returncode == 2
    assert "--resume needs --direct" in done.stderr


def test_no_resume_wins(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", "--no-resume", OLLAMA_PUSH_RESUME=_NOWHERE)
    assert done.returncode == 0
    assert "warning" not in done.stderr


def test_the_store_is_the_one_that_is_meant(tmp_path: Path) -> None:
    assert isinstance(new_resume_store(None), FileResumeStore)
    assert isinstance(new_resume_store(None, no_resume=True), NoResume)
    assert unkept_text(NoResume()) is None
