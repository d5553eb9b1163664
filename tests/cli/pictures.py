r"""What each display shows of a recorded push, the recorded times being the clock.

``python -m tests.cli.pictures --write`` writes the golden files anew. An escape sequence stands in them as
``\x1b``; nothing else is changed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console
from tests.recorded import NDJSON

from ollama_push.cli.display import Display
from ollama_push.cli.display.bars import Bars
from ollama_push.cli.display.json_lines import JsonLines
from ollama_push.cli.display.lines import SparseLines
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.requests import PushRequest
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.run import PushRun
from ollama_push.testing.recordings import Recording

__all__ = ["GOLDEN", "PICTURES", "RECORDINGS", "picture"]

RECORDINGS: Final = ("success_slow", "success_after_500_part")
GOLDEN: Final = Path(__file__).parent / "golden"

_DATA: Final = Path(__file__).parents[1] / "data" / "recordings"
_MODEL: Final = "localhost:5001/team/demo:latest"
_TOTAL_BYTES: Final = 40_001_744


@attrs.define
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@attrs.frozen
class _Picture:
    """A display, and after which seconds to look at it; all of it when there are none."""

    new_display: Callable[[io.StringIO, _Clock], Display]
    looks: tuple[float, ...] = ()


def _bars(width: int, *, expected: int | None = _TOTAL_BYTES, terminal: bool = True, term: str = "xterm") -> _Picture:
    def new(stream: io.StringIO, clock: _Clock) -> Display:
        console = Console(
            file=stream,
            force_terminal=terminal,
            width=width,
            color_system=None,
            legacy_windows=False,
            _environ={"TERM": term},
        )
        return Bars(stream, _MODEL, expected, console=console, clock=clock)

    return _Picture(new, (0.7, 1.4, 2.9) if terminal and term != "dumb" else ())


PICTURES: Final[Mapping[str, _Picture]] = {
    "bars-80": _bars(80),
    "bars-40": _bars(40),
    "bars-80-size-unknown": _bars(80, expected=None),
    "bars-dumb": _bars(80, term="dumb"),
    "bars-pipe": _bars(80, terminal=False),
    "lines": _Picture(lambda stream, _clock: SparseLines(stream, _MODEL, _TOTAL_BYTES)),
    "lines-size-unknown": _Picture(lambda stream, _clock: SparseLines(stream, _MODEL)),
    "json": _Picture(lambda stream, _clock: JsonLines(stream, io.StringIO(), _MODEL, _TOTAL_BYTES)),
}


def picture(recording: str, kind: str) -> str:
    """Return what the display *kind* shows of *recording*."""
    wanted, clock, stream = PICTURES[kind], _Clock(), io.StringIO()
    display = wanted.new_display(stream, clock)
    context = PushContext(_MODEL, "http://127.0.0.1:11434")
    run = PushRun(
        PushRequest(_MODEL).to_http(context.target, {}, 900.0),
        context=context,
        stream=True,
        retry=RetryPolicy(1),
        stall_timeout=900.0,
        hooks=HookSet([display], context, _hooks_do_not_fail),
        clock=clock,
        chance=lambda: 0.0,
        transport="recording",
    )
    run.begin_attempt()
    run.receive_head(200, NDJSON)
    drawn: list[tuple[float, str]] = []
    for clock.now, line in _lines(recording):
        before = stream.tell()
        for _event in run.receive_data(line):
            pass
        drawn.append((clock.now, stream.getvalue()[before:]))
    display.succeeded(run.result())
    shown = stream.getvalue()
    if wanted.looks:
        frames = [next(each for each in drawn if each[0] >= look and each[1]) for look in wanted.looks]
        # From the last event on: the final bars and the verdict.
        frames.append((clock.now, shown[before:]))
        shown = "".join(f"--- drawn after {seconds} s\n{text.removesuffix(chr(10))}\n" for seconds, text in frames)
    return shown.replace("\x1b", "\\x1b").replace("\r", "\\r")


def _lines(recording: str) -> Iterator[tuple[float, bytes]]:
    # The server writes whole lines, a chunk each: the chunks' framing is what does not begin with a brace.
    for seconds, data in Recording.load(_DATA / f"{recording}.json").received:
        for line in data.splitlines(keepends=True):
            if line.startswith(b"{"):
                yield seconds, line


def _hooks_do_not_fail(hook: Hook, exc: Exception) -> None:
    raise AssertionError(f"{hook} raised") from exc


def _write() -> None:
    for recording in RECORDINGS:
        for kind in PICTURES:
            (GOLDEN / f"{recording}-{kind}.txt").write_bytes(picture(recording, kind).encode())


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    _write()
