r"""What each display shows of a recorded push, the recorded times being the clock, and of a direct one by script.

``python -m tests.support.display_scripts --write`` writes the golden files anew. An escape sequence stands in them as
``\x1b``; nothing else is changed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import pyte
from rich.console import Console
from tests.support.clocks import Clock
from tests.support.server_recordings import NDJSON

from ollama_push.cli.display import Display
from ollama_push.cli.display.bars import Bars
from ollama_push.cli.display.json_lines import JsonLines
from ollama_push.cli.display.lines import SparseLines
from ollama_push.core.errors import ConnectionLost
from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, StatusChanged
from ollama_push.core.hooks import HookSet
from ollama_push.core.observations import EventSeen, PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import LayerReceipt, PushReceipt
from ollama_push.core.registry.blob_upload.probe import layer_progress
from ollama_push.core.registry.effects import ReportRetry
from ollama_push.core.registry.flows.push import Delivery
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.run import RegistryRun
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server.request import PushRequest
from ollama_push.core.server.run import PushRun
from ollama_push.testing.recordings import Recording

__all__ = ["GOLDEN", "PICTURES", "RECORDINGS", "picture", "silent_job"]

DIRECT: Final = "direct"
RECORDINGS: Final = ("success_slow", "success_after_500_part", DIRECT)
GOLDEN: Final = Path(__file__).parents[1] / "cli" / "golden"

_DATA: Final = Path(__file__).parents[1] / "data" / "recordings"
_MODEL: Final = "localhost:5001/team/demo:latest"
_TOTAL_BYTES: Final = 40_001_744


@attrs.frozen
class _Picture:
    """A display, and after which seconds to look at it; all of it when there are none."""

    new_display: Callable[[io.StringIO, Clock], Display]
    looks: tuple[float, ...] = ()
    screen_columns: int = 0
    """Look as a person does, at a terminal of so many columns; 0 to see every byte."""


def _bars(width: int, *, expected: int | None = _TOTAL_BYTES, terminal: bool = True, term: str = "xterm") -> _Picture:
    def new(stream: io.StringIO, clock: Clock) -> Display:
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
    "bars-60": _bars(60),
    "bars-40": _bars(40),
    "bars-80-size-unknown": _bars(80, expected=None),
    "bars-dumb": _bars(80, term="dumb"),
    "bars-pipe": _bars(80, terminal=False),
    "screen-80": attrs.evolve(_bars(80), screen_columns=80),
    "screen-40": attrs.evolve(_bars(40), screen_columns=40),
    "lines": _Picture(lambda stream, _clock: SparseLines(stream, _MODEL, _TOTAL_BYTES)),
    "lines-size-unknown": _Picture(lambda stream, _clock: SparseLines(stream, _MODEL)),
    "json": _Picture(lambda stream, _clock: JsonLines(stream, io.StringIO(), _MODEL, _TOTAL_BYTES)),
}


def picture(recording: str, kind: str) -> str:
    """Return what the display *kind* shows of *recording*."""
    wanted, clock, stream = PICTURES[kind], Clock(0.0), io.StringIO()
    display = wanted.new_display(stream, clock)
    play = _direct(display, clock) if recording == DIRECT else _recorded(recording, display, clock)
    drawn: list[tuple[float, str]] = []
    before = 0
    while True:
        now = stream.tell()
        try:
            next(play)
        except StopIteration as end:
            display.succeeded(end.value)
            break
        before = now
        drawn.append((clock.now, stream.getvalue()[before:]))
    shown = stream.getvalue()
    if wanted.screen_columns:
        return _screens(drawn, shown, wanted)
    if wanted.looks:
        frames = [next(each for each in drawn if each[0] >= look and each[1]) for look in wanted.looks]
        # From the last event on: the final bars and the verdict.
        frames.append((clock.now, shown[before:]))
        shown = "".join(f"--- drawn after {seconds} s\n{text.removesuffix(chr(10))}\n" for seconds, text in frames)
    return shown.replace("\x1b", "\\x1b").replace("\r", "\\r")


def _screens(drawn: Sequence[tuple[float, str]], whole: str, wanted: _Picture) -> str:
    """Return what stands on the terminal at each look, and at the end."""
    screen = pyte.Screen(wanted.screen_columns, 24)
    stream = pyte.Stream(screen)
    looks, text, fed = [*wanted.looks], "", 0
    for seconds, part in drawn:
        stream.feed(part.replace("\n", "\r\n"))
        fed += len(part)
        if looks and seconds >= looks[0] and part:
            looks.pop(0)
            text += f"--- after {seconds} s\n{_standing(screen)}"
    stream.feed(whole[fed:].replace("\n", "\r\n"))
    return f"{text}--- at the end\n{_standing(screen)}"


def _standing(screen: pyte.Screen) -> str:
    return "\n".join(line.rstrip() for line in screen.display).rstrip("\n") + "\n"


def _recorded(recording: str, display: Display, clock: Clock) -> Generator[None, None, PushReceipt]:
    """Play a push through a server, a line at a time."""
    context = PushContext(_MODEL, "http://127.0.0.1:11434")
    run = PushRun(
        PushRequest(_MODEL).to_http(context.target, {}, 900.0),
        context=context,
        stream=True,
        retry=RetryPolicy(1),
        stall_timeout=900.0,
        hooks=HookSet([display], context, _hooks_do_not_fail),
        clock=clock,
        random=lambda: 0.0,
        transport="recording",
    )
    run.begin_attempt()
    run.receive_head(200, NDJSON)
    for clock.now, line in _lines(recording):
        for _event in run.receive_data(line):
            pass
        yield
    return run.result()


def _direct(display: Display, clock: Clock) -> Generator[None, None, PushReceipt]:
    """Play a push straight to a registry: a layer that is there, one resumed, one from the start, a request lost."""
    context = PushContext(_MODEL, "https://localhost:5001")
    there, resumed, new = blobs = [
        Descriptor(f"sha256:{letter * 64}", size)
        for letter, size in (("a", 20_000_000), ("b", 20_000_000), ("c", 1744))
    ]
    run = RegistryRun(
        Manifest(b"{}", "x/y", tuple(blobs)),
        context=context,
        hooks=HookSet([display], context, _hooks_do_not_fail),
        clock=clock,
    )
    run.begin()
    news: list[tuple[float, PushEvent | ReportRetry]] = [
        (0.1, PushPlanned(40_001_744)),
        (0.2, layer_progress(there, there.size)),
        (0.3, layer_progress(resumed, 8_000_000)),
        (0.3, layer_progress(new, 0)),
        (0.8, layer_progress(new, new.size)),
        (0.9, layer_progress(resumed, 10_000_000)),
        (1.0, ReportRetry(ConnectionLost("https://localhost:5001"), 0.5)),
        (1.5, layer_progress(resumed, 10_000_000)),
        (3.0, layer_progress(resumed, 16_000_000)),
        (4.0, layer_progress(resumed, 20_000_000)),
        (4.1, StatusChanged("pushing manifest")),
    ]
    for clock.now, new_one in news:
        if isinstance(new_one, ReportRetry):
            run.receive(new_one)
        else:
            run.receive_event(new_one)
        yield
    run.succeed(Delivery(skipped_bytes=there.size, resumed_bytes=8_000_000, verified=True))
    return run.result()


def _lines(recording: str) -> Iterator[tuple[float, bytes]]:
    # The server writes whole lines, a chunk each: the chunks' framing is what does not begin with a brace.
    for seconds, data in Recording.load(_DATA / f"{recording}.json").received:
        for line in data.splitlines(keepends=True):
            if line.startswith(b"{"):
                yield seconds, line


def _hooks_do_not_fail(hook: Hook, exc: Exception) -> None:
    raise AssertionError(f"{hook} raised") from exc


def silent_job() -> str:
    """Return what the log of a CI system has of a push whose registry does not move for two minutes."""
    clock, stream = Clock(0.0), io.StringIO()
    display = SparseLines(stream, _MODEL, _TOTAL_BYTES, clock=clock)
    context = PushContext(_MODEL, "http://127.0.0.1:11434")
    layer = f"sha256:{'a' * 64}"
    news: dict[int, PushEvent] = {
        35: StatusChanged("retrieving manifest"),
        36: LayerProgress(layer, _TOTAL_BYTES, 0, "pushing aaaaaaaaaaaa"),
        40: LayerProgress(layer, _TOTAL_BYTES, 8_000_000, "pushing aaaaaaaaaaaa"),
        160: LayerProgress(layer, _TOTAL_BYTES, _TOTAL_BYTES, "pushing aaaaaaaaaaaa"),
        161: StatusChanged("pushing manifest"),
    }
    for second in range(195):
        clock.now = float(second)
        if second in news:
            display(EventSeen(context, clock.now, news[second]))
        display.break_silence()
    receipt = PushReceipt(_MODEL, (LayerReceipt(layer, _TOTAL_BYTES),), _TOTAL_BYTES, 1, 195.0)
    display.succeeded(receipt)
    return stream.getvalue()


def _write() -> None:
    (GOLDEN / "silent-job.txt").write_bytes(silent_job().encode())
    for recording in RECORDINGS:
        for kind in PICTURES:
            (GOLDEN / f"{recording}-{kind}.txt").write_bytes(picture(recording, kind).encode())


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    _write()
