"""What all clients do with hooks: check them at construction, and log the one that raised."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook

__all__ = ["checked_hooks", "report_hook"]

_hook_log = logging.getLogger("ollama_push.hooks")


def report_hook(hook: Hook, exc: Exception) -> None:
    """Log that *hook* raised; ``HookSet`` calls it once."""
    _hook_log.error("hook %r raised and is dropped for this push", hook, exc_info=exc)


def checked_hooks(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """Return *hooks* as they are kept.

    Raises:
        InvalidSetting: One cannot be called.
    """
    kept = tuple(hooks)
    for hook in kept:
        if not callable(hook):
            raise InvalidSetting("hooks", hook, "a hook is a callable that takes an observation")
    return kept
