"""What each display shows of a recorded push, byte for byte; ``tests.support.display_scripts`` writes them."""

import pytest
from tests.support.display_scripts import GOLDEN, PICTURES, RECORDINGS, picture, silent_job

ALL = [(recording, kind) for recording in RECORDINGS for kind in PICTURES]


@pytest.mark.parametrize(("recording", "kind"), [pytest.param(*each, id="-".join(each)) for each in ALL])
def test_a_display_shows_a_recorded_push_as_it_did(recording: str, kind: str) -> None:
    assert picture(recording, kind).encode() == (GOLDEN / f"{recording}-{kind}.txt").read_bytes()


def test_no_golden_file_is_left_without_its_picture() -> None:
    names = {f"{recording}-{kind}.txt" for recording, kind in ALL} | {"silent-job.txt"}
    assert {path.name for path in GOLDEN.iterdir()} == names


def test_the_log_of_a_job_is_never_silent_for_more_than_half_a_minute() -> None:
    assert silent_job().encode() == (GOLDEN / "silent-job.txt").read_bytes()


@pytest.mark.parametrize("recording", RECORDINGS)
def test_bars_leave_room_for_a_terminals_ctrl_c_at_the_right_edge(recording: str) -> None:
    for width in (80, 60, 40):
        bars = [
            line
            for line in picture(recording, f"bars-{width}").splitlines()
            if "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in line
        ]
        assert bars
        assert max(len(line.rpartition("\\x1b[J")[2]) for line in bars) <= width - len("^C")


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_wider_terminal_shows_more_and_never_a_shorter_bar(recording: str) -> None:
    bars, facts = [], []
    for width in (40, 60, 80):
        lines = picture(recording, f"bars-{width}").splitlines()
        done = next(line for line in reversed(lines) if "100%" in line and "\\x1b[J" in line)
        bars.append(done.count("\N{BOX DRAWINGS HEAVY HORIZONTAL}"))
        facts.append([word in done for word in (" MB of ", "/s ", "done")])
    assert min(bars) >= 10
    assert facts == [[False, False, False], [False, True, True], [True, True, True]]


@pytest.mark.parametrize("kind", ["bars-dumb", "bars-pipe", "lines", "json"])
def test_what_cannot_move_a_cursor_gets_no_escape_sequence(kind: str) -> None:
    assert "\\x1b" not in picture("success_slow", kind)
