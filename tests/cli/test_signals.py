"""A signal is noticed whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

# The state that a signal leaves when it comes just before a call that waits, made at will: the main thread blocks the
# signal, another takes it, and nothing interrupts the call.
UNNOTICED = """
import signal, socket, threading
from ollama_push.cli.signals import sigterm_as_ctrl_c

ours, theirs = socket.socketpair()
threading.Thread(target=threading.Event().wait, daemon=True).start()
with sigterm_as_ctrl_c():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        print("waiting", flush=True)
        ours.recv(1)
    except KeyboardInterrupt:
        print("ended", flush=True)
"""


def test_a_signal_that_comes_just_before_a_call_that_waits_ends_it() -> None:
    with subprocess.Popen([sys.executable, "-c", UNNOTICED], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=10)[0] == "ended\n"
        finally:
            process.kill()
    assert process.returncode == 0
