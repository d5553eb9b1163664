"""What hooks need beside the pure core: a log of what they raise, and to be told of pushes that never begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ollama_push.client._foreign import raise_foreign
from ollama_push.core.errors import MachineMisuse, OllamaPushError, PushInterrupted, UsedAfterClose
from ollama_push.core.hooks import HookSet
from ollama_push.core.names import MAX_NAME_CHARACTERS
from ollama_push.core.observations import PushContext, PushFinished, PushOutcome, PushStarted
from ollama_push.core.peer_text import clean
from ollama_push.core.ports import Hook

__all__ = ["report_hook", "tell_early_end", "telling_early_end"]

_hook_log = logging.getLogger("ollama_push.hooks")


def report_hook(hook: Hook, exc: Exception) -> None:
    """Log that *hook* raised; ``HookSet`` calls it once."""
    _hook_log.error("hook %r raised and is dropped for this push", hook, exc_info=exc)


def tell_early_end(hooks: Sequence[Hook], model: object, target: str, error: OllamaPushError | None) -> None:
    """Tell *hooks* of a push that ended before it began.

    Args:
        hooks: Told that it started, and that it finished.
        model: Its name as it was given.
        target: Origin of the server or registry; empty when that is not known.
        error: Why it ended; ``None`` when somebody cancelled it.
    """
    context = PushContext(clean(str(model), MAX_NAME_CHARACTERS), target)
    cancelled = error is None or isinstance(error, PushInterrupted)
    told = HookSet(hooks, context, report_hook)
    told.tell(PushStarted(context, 0.0))
    outcome = PushOutcome.CANCELLED if cancelled else PushOutcome.FAILED
    told.tell(PushFinished(context, 0.0, outcome, error=error))


@contextmanager
def telling_early_end(hooks: Sequence[Hook], model: object, target: str) -> Iterator[Callable[[], None]]:
    """Tell *hooks* of a push that ends in one of our errors inside the block.

    The block gets what to call when the push begins, which tells them itself from then on.
    """
    begun = list[bool]()
    try:
        yield lambda: begun.append(True)
    except OllamaPushError as exc:
        raise_foreign(exc)
        if not begun and not isinstance(exc, UsedAfterClose | MachineMisuse):  # mistakes of the program, no pushes
            tell_early_end(hooks, model, target, exc)
        raise
