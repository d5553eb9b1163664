"""What Ctrl-C and SIGTERM do while the command runs: end it in order, or at once when pressed twice."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Final

from ollama_push.cli.display.streams import write_whole
from ollama_push.core.observations import Observation, PushStarted

__all__ = ["Stopper", "ending_like_ctrl_c"]

_Handler = Callable[[int, FrameType | None], object]

_NUDGE_SECONDS: Final = 0.1
"""What a signal's own handler gets before."""

_NO_MORE: Final = b"\0"
"""No signal's number."""

_NOTICE: Final = "stopping at the end of the part under way; press Ctrl-C again to stop at once\n"


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: a terminal's cursor comes back, files are written, sockets closed."""
    with _handling({signal.SIGTERM: _as_ctrl_c}), _nudging():
        yield


class Stopper:
    """Ends pushes on a signal: the first one asks, the second one hangs up.

    Args:
        ask: Ends what is under way where nothing is lost; called in a thread of its own.
        hang_up: Ends it at once; called in the main thread, and may raise.
    """

    def __init__(self, ask: Callable[[], None], hang_up: Callable[[], None]) -> None:
        self._ask = ask
        self._hang_up = hang_up
        # Putting is safe wherever a signal interrupts; locks, and writing to a stream, are not.
        self._wanted: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.asked = False

    def remind(self, seen: Observation, /) -> None:
        """Ask again when a push begins that was not there when the signal came; this is a hook."""
        if self.asked and isinstance(seen, PushStarted):
            self._ask()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals until the block is left."""
        listener = threading.Thread(target=self._listen, name="ollama-push-signals", daemon=True)
        listener.start()
        try:
            with _handling({signal.SIGINT: self._take, signal.SIGTERM: self._take}):
                yield
        finally:
            self._wanted.put(None)
            listener.join()

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            self._hang_up()
        self.asked = True
        self._wanted.put(self._ask)

    def _listen(self) -> None:
        ask = self._wanted.get()
        if ask is not None:
            # stderr as it is now: bars put a stream there that writes above them.
            write_whole(sys.stderr, _NOTICE)
            ask()


@contextmanager
def _handling(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle signals until the block is left; those that are ignored (``nohup``, ``&`` in a script) stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in handlers}
    ours = [number for number, before in usual.items() if before not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, usual[number])


@contextmanager
def _nudging() -> Iterator[None]:
    """Have every signal noticed until the block is left, also one that comes just before a call that waits.

    Python looks for signals between its own steps, and when one interrupts a call. In between the call has not begun
    yet, and then waits for what never comes: another signal, which does nothing, interrupts it.
    """
    if not hasattr(signal, "pthread_kill") or threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tells = socket.socketpair()
    tells.settimeout(0)  # the signal's handler must not wait
    main, over = threading.get_ident(), threading.Event()

    def nudge() -> None:
        while (number := told.recv(1)) != _NO_MORE:
            if number != bytes([signal.SIGURG]) and not over.wait(_NUDGE_SECONDS):
                signal.pthread_kill(main, signal.SIGURG)

    nudger = threading.Thread(target=nudge, name="ollama-push-nudge", daemon=True)
    with told, tells, _handling({signal.SIGURG: lambda _number, _frame: None}):
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        nudger.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            over.set()
            tells.settimeout(None)
            tells.sendall(_NO_MORE)
            nudger.join()


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)  # asyncio may have put a handler of its own there
    else:
        raise KeyboardInterrupt
