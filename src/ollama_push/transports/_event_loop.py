"""Finds the event loop that async code of this package needs: that of asyncio."""

from __future__ import annotations

import asyncio

from ollama_push.core.errors import MachineMisuse

__all__ = ["running_loop"]


def running_loop(user: object) -> asyncio.AbstractEventLoop:
    """Return the running event loop, which *user* needs.

    Raises:
        MachineMisuse: None of asyncio runs here.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        problem = (
            f"{type(user).__name__} needs the event loop of asyncio, which does not run here; under trio, use the sync"
            " client in trio.to_thread.run_sync, or trio-asyncio"
        )
    raise MachineMisuse(problem)
