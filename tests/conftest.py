"""What every test starts from, whatever the process that started the tests left behind."""

from __future__ import annotations

import signal

# A shell starts background jobs with Ctrl-C ignored, and programs inherit that: commands under test would never stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
