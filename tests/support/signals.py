"""Signals whose handlers raise, sent to this process while it does something."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["JobTimeLimit", "raising"]

_AGAIN_SECONDS: Final = 0.02


class JobTimeLimit(Exception):
    """A time limit as task queues have it: an exception of theirs, no ``TimeoutError``."""


@contextmanager
def raising(error: BaseException, when: Callable[[], bool], *, in_select: bool = False) -> Iterator[None]:
    """Have a signal handler raise *error* inside the block, once *when*, which is asked again and again, says yes.

    With *in_select*, it raises only where an event loop waits: asyncio logs and drops what is raised in a callback.

    The signal is sent until its handler has run: one that comes just before a blocking call does not interrupt that.
    """
    over, main = threading.Event(), threading.get_ident()

    def handle(_number: int, frame: FrameType | None) -> None:
        waits = frame is not None and frame.f_code.co_name == "select"
        if not over.is_set() and (waits or not in_select):
            over.set()
            raise error

    def send() -> None:
        while not over.wait(_AGAIN_SECONDS):
            if when():
                signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
