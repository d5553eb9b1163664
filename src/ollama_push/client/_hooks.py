"""Logs a hook that raised; the pure core cannot."""

from __future__ import annotations

import logging

from ollama_push.core.ports import Hook

__all__ = ["report_hook"]

_hook_log = logging.getLogger("ollama_push.hooks")


def report_hook(hook: Hook, exc: Exception) -> None:
    """Log that *hook* raised; ``HookSet`` calls it once."""
    _hook_log.error("hook %r raised and is dropped for this push", hook, exc_info=exc)
