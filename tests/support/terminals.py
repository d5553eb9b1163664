"""The command on a real terminal: a pseudo-terminal, of which the test is the other end."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from tests.support.command import command, environment

__all__ = ["BAR", "HIDE", "SHOW", "Terminal", "terminal"]

BAR = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@attrs.define
class Terminal:
    """What a process wrote to its terminal so far."""

    process: subprocess.Popen[bytes]
    _end: int
    screen: str = ""
    _decoder: codecs.IncrementalDecoder = attrs.field(factory=codecs.getincrementaldecoder("utf-8"))

    def read_until(self, text: str) -> None:
        while text not in self.screen:
            assert self._read(), f"{text!r} never came: {self.screen!r}"

    def read_all(self) -> int:
        while self._read():
            pass
        return self.process.wait(10)

    def close(self) -> None:
        os.close(self._end)

    def hang_up(self) -> None:
        """Close our end, as a terminal's window is closed."""
        os.close(self._end)
        self._end = os.open(os.devnull, os.O_RDONLY)

    def _read(self) -> bool:
        if not select.select([self._end], [], [], 20)[0]:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # Linux says so when the process has closed its end
            return False
        self.screen += self._decoder.decode(data)
        return bool(data)


@contextmanager
def terminal(columns: int, *arguments: str, **changed: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = environment(**{"TERM": "xterm", "PYTHONUTF8": "1", **changed})
    process = subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    screen = Terminal(process, ours)
    try:
        yield screen
    finally:
        process.kill()
        process.wait()
        screen.close()
