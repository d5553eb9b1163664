"""What every test starts from, whatever the process that started the tests left behind."""

from __future__ import annotations

import os
import signal
from typing import Final

# A shell starts background jobs with Ctrl-C ignored, and programs inherit that: commands under test would never stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A proxy, a terminal, a login or a server's address of the caller must not change what a test finds; a locale must
# not, either, and stays so that it can be tried. Coverage and pytest measure and count with variables of theirs.
_KEPT: Final = ("HOME", "LANG", "OLLAMA_BIN", "PATH", "TMPDIR")
_KEPT_FAMILIES: Final = ("COV_", "COVERAGE_", "LC_", "PYTEST_")

for _name in [*os.environ]:
    if _name not in _KEPT and not _name.startswith(_KEPT_FAMILIES):
        del os.environ[_name]
