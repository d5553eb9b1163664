"""Many pushes at once that are forked, signalled, stopped, interrupted and left: every verdict is right."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest
from tests.support.verdict_server import VerdictServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs fork() and /proc"),
]

WORKER: Final = Path(__file__).parents[1] / "support" / "stress_worker.py"
SECONDS: Final = 6.0
PATIENCE: Final = 120.0
LATE_SECONDS: Final = 10.0
"""A push that goes on for so long after its caller left goes on by itself; a busy machine is faster than that."""


def disturb(process: subprocess.Popen[str], chance: random.Random, over: threading.Event) -> None:
    """Stop the process now and then, once for longer than its stall timeout."""
    pauses = [chance.uniform(0.01, 0.3) for _ in range(12)]
    pauses[chance.randrange(len(pauses))] = 5.5
    for pause in pauses:
        if over.wait(chance.uniform(0.1, 0.5)):
            return
        process.send_signal(signal.SIGSTOP)
        over.wait(pause)
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_verdict_is_right_and_nothing_is_left(kind: str, seed: int) -> None:
    over = threading.Event()
    with VerdictServer() as server:
        arguments = [sys.executable, str(WORKER), kind, server.url, str(seed), str(SECONDS)]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            disturber = threading.Thread(target=disturb, args=(process, random.Random(seed), over), daemon=True)
            disturber.start()
            said, complaints = process.communicate(timeout=PATIENCE)
            over.set()
            disturber.join()
        finally:
            over.set()
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()
        assert process.returncode == 0, complaints
        report = json.loads(said)
        assert report["problems"] == []
        assert report["verdicts"] > 10
        assert server.wait_until_left(PATIENCE)
        ended = {push.model: push.ended_at for push in server.pushes}
        late = {model: ended[model] - at for model, at in report["left"].items() if model in ended}
        assert {model: seconds for model, seconds in late.items() if seconds > LATE_SECONDS} == {}
        # One verdict a push, and one push a verdict: nothing was sent twice.
        assert len(ended) == len(server.pushes)
