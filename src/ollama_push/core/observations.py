"""What a hook sees: facts about our side of a push.

The union is closed; a later release may add kinds and fields, so a hook ``match``es and ends in
``case _: pass``. All observations of one push share its ``PushContext``, which identifies it, and
``elapsed`` counts from its start.
"""

from __future__ import annotations

import enum
from collections.abc import MutableMapping

import attrs

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.receipts import PushReceipt

__all__ = [
    "AttemptFailed",
    "AttemptStarted",
    "EventSeen",
    "Observation",
    "PauseReason",
    "PushContext",
    "PushFinished",
    "PushOutcome",
    "PushStarted",
    "RequestPaused",
    "RequestRetried",
    "RolledBack",
]


@attrs.frozen(eq=False)
class PushContext:
    """Identity of one push; compare with ``is``, use it as a key.

    Attributes:
        model: Canonical model name.
        target: Origin of the server or registry, without credentials.
    """

    model: str
    target: str


class PushOutcome(enum.Enum):
    """How a push ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@attrs.frozen
class _Observed:
    """What all observations have in common."""

    push: PushContext
    elapsed: float
    """Seconds since the push began."""


@attrs.frozen
class PushStarted(_Observed):
    """A push began; nothing was sent yet."""


@attrs.frozen
class AttemptStarted(_Observed):
    """An attempt at the whole push begins. A later one repeats the phases of the one before."""

    attempt: int
    """Counted from 1."""
    trace_headers: MutableMapping[str, str] = attrs.field(factory=dict, eq=False)
    """A tracing hook may put its context here (W3C Trace Context); it is sent with this attempt's request."""


@attrs.frozen
class EventSeen(_Observed):
    """The peer reported an event. ``elapsed`` is when its bytes arrived."""

    event: PushEvent


@attrs.frozen
class RolledBack(_Observed):
    """A layer's counter fell: bytes have to be sent again."""

    digest: str
    rolled_back_bytes: int
    """By how much it fell."""


@attrs.frozen
class RequestRetried(_Observed):
    """A request of a push straight to a registry failed and will be sent again; acknowledged bytes are kept."""

    error: OllamaPushError
    retry_in: float
    """Seconds until then."""


class PauseReason(enum.Enum):
    """Why a push waited, although it had something to send."""

    RATE = "rate"
    """More bytes a second than its client allows."""
    CONCURRENCY = "concurrency"
    """More requests at a time than the registry bears, as its refusals say (429, 503)."""
    BREAKER = "breaker"
    """The registry kept failing, and is left alone for a while."""


@attrs.frozen
class RequestPaused(_Observed):
    """A request of a push straight to a registry was held back for a while, or its body was; it goes on."""

    reason: PauseReason
    seconds: float
    """How long it was held back."""


@attrs.frozen
class AttemptFailed(_Observed):
    """An attempt ended without success."""

    attempt: int
    error: OllamaPushError
    retry_in: float | None
    """Seconds until the next attempt; ``None`` when there is none."""


@attrs.frozen
class PushFinished(_Observed):
    """The push is over: ``receipt`` or ``error`` is set; neither when it was cancelled or a bug ended it."""

    outcome: PushOutcome
    receipt: PushReceipt | None = None
    error: OllamaPushError | None = None


Observation = (
    PushStarted
    | AttemptStarted
    | EventSeen
    | RolledBack
    | RequestRetried
    | RequestPaused
    | AttemptFailed
    | PushFinished
)
