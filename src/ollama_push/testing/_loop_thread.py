"""An event loop in a thread of its own, for code that is called without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread(Generic[T]):
    """Holds an async context manager open on an event loop in a thread, until it is closed.

    Args:
        make: Returns the context manager; called on the loop.
        name: Name of the thread.

    Attributes:
        loop: The event loop.
        value: What the context manager gave on entering.

    Raises:
        BaseException: What entering the context manager raised.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]], name: str) -> None:
        self._make = make
        self._entered: Future[T] = Future()
        self._left: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        try:
            self.value = self._entered.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """Leave the context manager, end the loop and the thread. To be called once.

        Raises:
            BaseException: What leaving the context manager raised.
        """
        self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._left.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._hold())
        except BaseException as exc:  # noqa: BLE001 - the constructor or close() raises it in the thread that called
            (self._left if self._entered.done() else self._entered).set_exception(exc)
        else:
            self._left.set_result(None)

    async def _hold(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        async with self._make() as value:
            self._entered.set_result(value)
            await self._closing.wait()
