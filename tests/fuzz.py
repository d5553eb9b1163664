"""Fuzzes what reads bytes of others: ``python -m tests.fuzz [TARGET...]``, FUZZ_SECONDS each (default 600).

The targets are ``stream``, the state machine of a push, and those of :mod:`tests.fuzz_targets`. The law of ``stream``:
whatever bytes come, ``PushProtocol`` ends in success or in one of our verdicts, the verdict fits the status, and
cutting the bytes changes nothing. Inputs are recordings of a real server, damaged; atheris guides the damage by
coverage when it can be imported, a seeded generator does otherwise. FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from tests.fuzz_targets import TARGETS, Target, damaged
from tests.support.odd_lines import ODD_LINES
from tests.support.server_recordings import NDJSON, Reading, cut_at, read_answer, recorded_answers

from ollama_push.core.errors import ProtocolError, PushRejected, ServerError
from ollama_push.core.events import PushSucceeded
from ollama_push.core.server.protocol import PushState

_LONGEST_LINE: Final = 2_000
_LONGEST_BODY: Final = 6_000

# The first byte of an input chooses one: status, headers, whether a stream was asked for.
HEADS: Final[tuple[tuple[int, Mapping[str, str], bool], ...]] = (
    (200, NDJSON, True),
    (200, {}, True),
    (200, {"content-type": "application/json"}, True),
    (200, {"content-type": "application/json"}, False),
    (200, NDJSON, False),
    (200, {"content-type": "text/html"}, True),
    (200, {**NDJSON, "content-encoding": "gzip"}, True),
    (204, {}, True),
    (307, {"location": "/x"}, True),
    (401, {"content-type": "application/json"}, True),
    (503, {"retry-after": "5"}, False),
)

_FRAGMENTS: Final = (
    *(line for line in ODD_LINES if len(line) < _LONGEST_LINE),
    *(b"\n", b"\r\n", b'"', b"{", b"}", b"\\ud800", b"\xe2\x80\xa8", b"\xc2\x85", b"\xff", b"\x00"),
    *(b',"completed":', b"}\n", b'{"status":"success"}\n', b'{"error":', b"-1", b"1e3", b"9" * 25),
)


def check(data: bytes) -> None:
    """Hold *data* against the law: a head's number, then where to cut, then the body."""
    if len(data) < 4:
        return
    status, headers, stream = HEADS[data[0] % len(HEADS)]
    body = data[4:]
    # Two places near each other, so that a cut falls inside short things too.
    first = int.from_bytes(data[1:3], "big")
    whole = _read([body], status, headers, stream=stream)
    for places in ((first, first + data[3] % 8), range(0, len(body), 1 + data[3])):
        cut = _read(cut_at(body, places), status, headers, stream=stream)
        assert cut == whole, f"cutting at {places!r} changed {whole!r} to {cut!r}"
    ended_well = bool(whole.events) and whole.events[-1] == PushSucceeded()
    assert ended_well == (whole.verdict is None) == (whole.state is PushState.SUCCEEDED), whole
    expected = (ServerError,) if status >= 300 else (ProtocolError, PushRejected)
    assert whole.verdict is None or issubclass(whole.verdict[0], expected), whole


def _read(pieces: Sequence[bytes], status: int, headers: Mapping[str, str], *, stream: bool) -> Reading:
    return read_answer(pieces, status, headers, stream=stream, max_line_bytes=_LONGEST_LINE)


def seeds() -> list[bytes]:
    """Return what the damage starts from: each recording's beginning and end, and each odd line alone."""
    bodies = [recorded.body for recorded in recorded_answers()]
    short = [body[:_LONGEST_BODY] for body in bodies] + [body[-_LONGEST_BODY // 4 :] for body in bodies]
    return [b"\x00\x00\x20\x05" + body for body in (*short, *(line + b"\n" for line in _FRAGMENTS))]


def damage(data: bytes, chance: random.Random) -> bytes:
    """Return *data* with a few things changed, lost, doubled or put in, and perhaps another head."""
    body = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(4, len(body) + 1)
        end = min(len(body), place + chance.choice((0, 1, 1, 4, 60)))
        match chance.randrange(5):
            case 0:
                body[place:end] = chance.randbytes(chance.randrange(4))
            case 1:
                body[place:end] = chance.choice(_FRAGMENTS)
            case 2:
                del body[place:end]
            case 3:
                body[place:place] = body[end : end + 200]
            case _:
                # Counters are what the decoder treats by a short cut of its own.
                body[place:end] = b"%d" % chance.choice((0, 9, 10, 2**53, 10**17, 10**18, 10**19))
    body[:4] = bytes((chance.choice((0, 0, chance.randrange(256))), *chance.randbytes(3)))
    return bytes(body)


STREAM: Final = Target(check, seeds())


def _damaged(target: Target, data: bytes, chance: random.Random) -> bytes:
    return damage(data, chance) if target is STREAM else damaged(target, data, chance)


def fuzz_by_chance(target: Target, seconds: float, seed: int) -> int:
    """Damage what *target* starts from for *seconds*; return how many inputs held."""
    chance, runs = random.Random(seed), 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        data = _damaged(target, chance.choice(target.seeds), chance)
        try:
            target.check(data)
        except BaseException:
            _say(f"failed after {runs} executions, seed {seed}, input {data!r}")
            raise
        runs += 1
    return runs


def fuzz_by_coverage(target: Target, seconds: float, seed: int) -> None:
    """Let atheris look for *seconds*; it prints the number of executions and ends the process.

    Raises:
        ImportError: atheris is not installed.
    """
    atheris = import_module("atheris")  # optional, untyped, and slow to load

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        chance = random.Random(number)
        if len(data) < 4 or chance.random() < 0.1:
            return _damaged(target, chance.choice(target.seeds), chance)[:max_size]
        return (
            _damaged(target, data, chance)[:max_size]
            if chance.random() < 0.5
            else bytes(atheris.Mutate(data, max_size))
        )

    atheris.instrument_all()
    options = (f"-max_total_time={seconds:.0f}", f"-seed={seed}", f"-max_len={_LONGEST_BODY}", "-print_final_stats=1")
    atheris.Setup([sys.argv[0], *options], target.check, custom_mutator=mutate)
    atheris.Fuzz()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(names: Sequence[str]) -> None:
    """Fuzz what *names* say, or everything, for as long as the environment says."""
    targets = {"stream": STREAM, **TARGETS}
    if len(names) != 1:
        # Each in a process of its own: atheris ends its process.
        for name in names or targets:
            subprocess.run([sys.executable, "-m", "tests.fuzz", name], check=True)
        return
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(1, 2**31))
    target = targets[names[0]]
    _say(f"fuzzing {names[0]} for {seconds:g} s, seed {seed}")
    try:
        fuzz_by_coverage(target, seconds, seed)
    except ImportError:
        _say("atheris is not installed: damage by chance")
        _say(f"{fuzz_by_chance(target, seconds, seed)} executions, no input broke the law")


if __name__ == "__main__":
    main(sys.argv[1:])
