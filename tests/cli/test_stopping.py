"""Ctrl-C and SIGTERM in mid-push: the first ends a direct push in order, the second at once; the next run goes on."""

import json
import signal
from pathlib import Path

import pytest
from tests.support.command import HERE, LAYER, NAME, OTHER, running
from tests.support.command_direct import Home, at_home

from ollama_push.testing.registry import Fault, Stall
from ollama_push.testing.server import Hold, ScriptedServer, lines_answer

pytestmark = [pytest.mark.slow, pytest.mark.process]

PATIENCE = 20.0
LARGE = 6_000_000
PART = 1_000_000
# Each part stands still for a moment with half of it sent: a signal always comes in mid-part.
SLOW = Fault("PATCH", times=None, after_bytes=PART // 2, action=Stall(0.3))
STUCK = Fault("PATCH", nth=2, after_bytes=PART // 2, action=Stall(60.0))
BOTH_SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
BOTH_COLOURS = pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])


def under_way(home: Home, count: int) -> bool:
    return home.registry.wait_until(lambda: home.registry.received_bytes >= count, PATIENCE)


@BOTH_COLOURS
@BOTH_SIGNALS
def test_the_first_signal_ends_the_part_under_way_and_the_next_push_goes_on(
    tmp_path: Path, number: signal.Signals, transport: str
) -> None:
    options = ("--part-size", str(PART), "--transport", transport, "--progress", "json")
    with at_home(tmp_path, faults=[SLOW], large_bytes=LARGE) as home:
        with home.running(*options) as process:
            assert under_way(home, PART + PART // 2)
            process.send_signal(number)
            out, said = process.communicate(timeout=PATIENCE)
        (session,) = home.registry.sessions()
        kept = session.size
        assert kept % PART == 0
        assert PART <= kept < LARGE
        stopped = json.loads(out.splitlines()[-1])
        assert process.returncode == stopped["exit_code"] == 130
        assert (stopped["event"], stopped["error"]) == ("failed", "PushInterrupted")
        assert stopped["message"].startswith("interrupted; the registry has ")
        assert stopped["message"].endswith(", push again to resume")
        assert said.splitlines() == [
            "interrupting after the part under way; press Ctrl-C again to cancel at once",
            f"{home.name}:latest: {stopped['message']}",
        ]

        sent_before = home.registry.received_bytes
        done = home.direct("push", *options)
        receipt = json.loads(done.stdout.splitlines()[-1])
        assert home.pushed()
    assert receipt["resumed_bytes"] == kept
    assert receipt["sent_bytes"] == home.registry.received_bytes - sent_before


@BOTH_COLOURS
@BOTH_SIGNALS
@pytest.mark.parametrize("resumes", [True, False], ids=["resume", "no-resume"])
def test_a_second_signal_hangs_up_at_once_and_the_last_line_says_so(
    tmp_path: Path, number: signal.Signals, transport: str, *, resumes: bool
) -> None:
    options = ["--part-size", str(PART), "--transport", transport, "--progress", "json"]
    options += [] if resumes else ["--no-resume"]
    with (
        at_home(tmp_path, faults=[STUCK], large_bytes=LARGE) as home,
        home.running(f"{home.registry.host}/team/later", *options) as process,
    ):
        assert process.stderr is not None
        assert process.stdout is not None
        assert under_way(home, PART + PART // 2)
        process.send_signal(number)
        assert process.stderr.readline().startswith("interrupting after the part under way")
        process.send_signal(number)
        said = process.stderr.read()
        out = process.stdout.read()
        assert process.wait(PATIENCE) == 130
        assert home.registry.manifest("team/my-llama", "latest") is None
    stopped, later = said.splitlines()
    assert stopped.startswith("cancelled: blobs that were complete stay in the registry")
    assert ("Of the others it keeps what arrived, or nothing" in stopped) is resumes
    assert ("all others from the start" in stopped) is not resumes
    assert later == f"not begun: {home.registry.host}/team/later"
    verdict = json.loads(out.splitlines()[-1])
    assert (verdict["event"], verdict["error"], verdict["exit_code"]) == ("failed", "PushInterrupted", 130)
    assert (verdict["model"], verdict["message"]) == (f"{home.name}:latest", stopped)


def test_lines_end_with_what_is_kept_and_names_that_were_not_begun(tmp_path: Path) -> None:
    with (
        at_home(tmp_path, faults=[SLOW], large_bytes=LARGE) as home,
        home.running(f"{home.registry.host}/team/later", "--part-size", str(PART)) as process,
    ):
        assert under_way(home, PART // 2)
        process.send_signal(signal.SIGINT)
        _out, said = process.communicate(timeout=PATIENCE)
        assert not [seen for seen in home.registry.requests if "/team/later/" in seen.path]
    assert process.returncode == 130
    *before, kept, later = said.splitlines()
    # Other blobs may end meanwhile, and be told.
    assert "interrupting after the part under way; press Ctrl-C again to cancel at once" in before
    assert kept.startswith(f"{home.name}:latest: interrupted; ")
    assert later == f"not begun: {home.registry.host}/team/later"


def test_without_resume_nothing_is_kept_of_what_was_stopped(tmp_path: Path) -> None:
    options = ("--part-size", str(PART), "--no-resume", "--progress", "json")
    with at_home(tmp_path, faults=[SLOW], large_bytes=LARGE) as home:
        with home.running(*options) as process:
            assert under_way(home, PART // 2)
            process.send_signal(signal.SIGTERM)
            out, _said = process.communicate(timeout=PATIENCE)
        stopped = json.loads(out.splitlines()[-1])["message"]
        assert stopped.endswith("the same command again sends all others from the start")
        assert not (tmp_path / "state").exists()
        receipt = json.loads(home.direct("push", *options).stdout.splitlines()[-1])
    assert receipt["resumed_bytes"] == 0


@BOTH_COLOURS
def test_sigterm_ends_a_push_through_a_server_as_ctrl_c_does(transport: str) -> None:
    with (
        ScriptedServer([*lines_answer([LAYER % 40], end=False), Hold()], answers=HERE) as server,
        running("push", NAME, OTHER, "--host", server.url, "--transport", transport, "--progress", "json") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        out = process.stdout.read()
        assert process.wait(PATIENCE) == 130
        assert server.peer_closed.wait(5)
    stopped, later = said.splitlines()
    assert "so the server stops too" in stopped
    assert later == f"not begun: {OTHER}"
    verdict = json.loads(out.splitlines()[-1])
    assert (verdict["event"], verdict["exit_code"], verdict["attempts"]) == ("failed", 130, 1)
    assert verdict["message"] == stopped
    assert "Traceback" not in said
