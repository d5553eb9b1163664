"""The root of the exception tree, and what all of it shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ollama_push.core.messages import PYTHON, Messages

if TYPE_CHECKING:
    from ollama_push.core.events import PushEvent

__all__ = ["OllamaPushError"]


@attrs.define(eq=False, slots=False)
class OllamaPushError(Exception):
    """Root of everything this package raises on purpose.

    Attributes:
        last_event: The last event seen before the failure, if any.
        attempts: How many times was tried what failed: the push through a server, or one request to a registry;
            0 when nothing was sent.
        bytes_moved: Bytes that moved in this push, as ``PushProgress.moved_bytes`` counts them: layers that were
            complete at first sight do not count, and bytes that were sent again count once.
    """

    last_event: PushEvent | None = attrs.field(default=None, init=False, repr=False)
    attempts: int = attrs.field(default=0, init=False, repr=False)
    bytes_moved: int = attrs.field(default=0, init=False, repr=False)

    def render(self, messages: Messages) -> str:
        """Return the text of this error in the words of *messages*."""
        return messages.other(*self.args)

    def __str__(self) -> str:
        return self.render(PYTHON)
