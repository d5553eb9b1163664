"""What Ctrl-C and SIGTERM do while the command runs: interrupt it in order, and cancel it at once the second time."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Final

from ollama_push.cli.display.streams import say
from ollama_push.core.observations import Observation, PushStarted

__all__ = ["Interrupter", "sigterm_as_ctrl_c"]

_Handler = Callable[[int, FrameType | None], object]

_NUDGE_SECONDS: Final = 0.1
"""How long the handler of a signal has before a second signal interrupts the main thread."""

_END: Final = b"\0"
"""Ends the thread that repeats signals; no signal has the number 0."""

_NOTICE: Final = "interrupting after the part under way; press Ctrl-C again to cancel at once"


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: restore the terminal's cursor, write files, close sockets."""
    with _handling({signal.SIGTERM: _as_ctrl_c}), _nudging():
        yield


class Interrupter:
    """Ends pushes on a signal: the first one interrupts, the second one cancels.

    Args:
        interrupt: Ends what is under way where nothing is lost; called in a thread of its own.
        cancel: Ends it at once; called in the main thread, and may raise.

    Attributes:
        interrupted: Whether a signal came.
    """

    def __init__(self, interrupt: Callable[[], None], cancel: Callable[[], None]) -> None:
        self._interrupt = interrupt
        self._cancel = cancel
        # A handler may put into a SimpleQueue wherever the signal came; it may not take locks or write to a stream,
        # because the interrupted code may be in the middle of that (CPython docs, ``queue.SimpleQueue.put``).
        self._signals: SimpleQueue[int | None] = SimpleQueue()
        self.interrupted: bool = False

    def interrupt_late_push(self, seen: Observation, /) -> None:
        """Interrupt a push that began after the signal; this is a hook."""
        if self.interrupted and isinstance(seen, PushStarted):
            self._interrupt()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals until the block is left."""
        listener = threading.Thread(target=self._listen, name="ollama-push-signals", daemon=True)
        listener.start()
        try:
            with _handling({signal.SIGINT: self._take, signal.SIGTERM: self._take}):
                yield
        finally:
            self._signals.put(None)
            listener.join()

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.interrupted:
            self._cancel()
        self.interrupted = True
        self._signals.put(number)

    def _listen(self) -> None:
        if self._signals.get() is not None:
            # stderr as it is now: bars put a stream there that writes above them.
            say(_NOTICE)
            self._interrupt()


@contextmanager
def _handling(handlers: dict[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle signals until the block is left; those that are ignored (``nohup``, ``&`` in a script) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    ours = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def _nudging() -> Iterator[None]:
    """Have every signal noticed until the block is left, also one that comes just before a blocking call.

    CPython runs handlers between bytecodes, and when a signal interrupts a system call. A signal that comes between
    the two does not interrupt the call that begins then, and its handler waits as long as the call. So a thread
    repeats each signal a little later as SIGURG, whose handler does nothing but interrupts the call.
    """
    if not hasattr(signal, "pthread_kill") or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.settimeout(0)  # the signal's handler must not wait
    main, over = threading.get_ident(), threading.Event()

    def nudge() -> None:
        while (number := reader.recv(1)) != _END:
            if number != bytes([signal.SIGURG]) and not over.wait(_NUDGE_SECONDS):
                signal.pthread_kill(main, signal.SIGURG)

    nudger = threading.Thread(target=nudge, name="ollama-push-nudge", daemon=True)
    with reader, writer, _handling({signal.SIGURG: lambda _number, _frame: None}):
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        nudger.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            over.set()
            writer.settimeout(None)
            writer.sendall(_END)
            nudger.join()


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)  # asyncio may have put a handler of its own there
    else:
        raise KeyboardInterrupt
