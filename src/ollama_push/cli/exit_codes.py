"""Exit codes: one per kind of ending, stable, the same for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ollama_push.core.errors import (
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    InvalidSetting,
    OllamaPushError,
    ProtocolError,
    PushInterrupted,
    PushRejected,
    PushStalled,
    RejectionReason,
    ServerError,
    TransportTimeout,
    VerificationFailed,
)

__all__ = ["BUG", "EXIT_CODES", "INTERRUPTED", "OK", "USAGE", "exit_code", "reason_of", "verdict_code"]

OK: Final = 0
BUG: Final = 1
"""Of this package, a hook or a transport."""
USAGE: Final = 2
INTERRUPTED: Final = 130

_UNAUTHORIZED: Final = 6
_MODEL_NOT_FOUND: Final = 7

EXIT_CODES: Final[tuple[tuple[type[OllamaPushError], int], ...]] = (
    (InvalidModelName, 3),
    (InvalidSetting, USAGE),
    (ConnectFailed, 4),
    (ConnectionLost, 4),
    (TransportTimeout, 9),
    (ServerError, 5),
    (PushRejected, 5),
    (ProtocolError, 8),
    (PushStalled, 9),
    (VerificationFailed, 10),
    (PushInterrupted, INTERRUPTED),
)
"""The code of each error; the first row whose class fits. Two kinds of refusal have their own, below."""

_REASONS: Final[Mapping[RejectionReason, int]] = {
    RejectionReason.UNAUTHORIZED: _UNAUTHORIZED,
    RejectionReason.MODEL_NOT_FOUND: _MODEL_NOT_FOUND,
}


def exit_code(error: OllamaPushError) -> int:
    """Return the exit code for *error*."""
    match error:
        case ServerError(status=401 | 403):
            return _UNAUTHORIZED
        case PushRejected(reason=reason) if reason in _REASONS:
            return _REASONS[reason]
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return BUG


def verdict_code(error: Exception | None) -> int:
    """Return the exit code for the *error* of one push of many; ``None`` is a success."""
    if error is None:
        return OK
    return exit_code(error) if isinstance(error, OllamaPushError) else BUG


def reason_of(error: OllamaPushError) -> str | None:
    """Return the machine-readable reason of a refusal; ``None`` for every other error."""
    return error.reason.value if isinstance(error, PushRejected | ServerError) else None
