"""What a process has of its own: a forked child inherits the memory of its parent, and must not use its connections.

Two processes that write to one connection mix their requests, and each may be given the other's response. So what
holds connections, locks or threads is made again in a child.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerProcess"]

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value of which a forked child gets its own.

    A child keeps what it inherited, unused: the finalizers of libraries take locks that a thread of the parent may have
    held when it forked, and they change what both processes share.

    Args:
        new: Makes one.
        leave: Called in a child with what its parent had.
    """

    def __init__(self, new: Callable[[], T], leave: Callable[[T], object] = lambda _: None) -> None:
        self._new = new
        self._leave = leave
        self._values = {os.getpid(): new()}
        self._inherited = list[T]()

    def get(self) -> T:
        """Return the value of this process."""
        process = os.getpid()
        value = self._values.get(process)
        if value is None:
            # setdefault: two threads may get here at once, and both must end up with one value. Not under a lock,
            # which another thread of the parent may have held when it forked.
            value = self._values.setdefault(process, self._new())
            for other in [each for each in self._values if each != process]:
                inherited = self._values.pop(other, None)
                if inherited is not None:
                    self._inherited.append(inherited)
                    self._leave(inherited)
        return value
