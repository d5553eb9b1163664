"""What both adapters make of a request before their library sees it."""

from __future__ import annotations

import math

from ollama_push.core.ports import HttpRequest

__all__ = ["body_length", "timer"]


def body_length(request: HttpRequest) -> dict[str, str]:
    """Return the header that tells the length of a body which a library would otherwise send chunked."""
    return {} if isinstance(request.body, bytes) else {"Content-Length": str(len(request.body))}


def timer(seconds: float) -> float | None:
    """Return *seconds* as timers take them: ``None`` for no limit."""
    return None if seconds == math.inf else seconds
