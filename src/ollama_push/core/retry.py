"""Decides whether and when to retry; never sleeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidSetting,
    OllamaPushError,
    PushRejected,
    PushStalled,
    ServerError,
    StreamTruncated,
    TransportTimeout,
)
from ollama_push.core.facts import RejectionReason

__all__ = ["TRANSIENT_STATUSES", "RetryPolicy"]

# RFC 9110, 15: timeouts, overload and failures that may be over at the next request; so are Cloudflare's 520 to 530.
# Not what no repetition changes: 501, 505, 507 (no room) and 511 (a login page of the network).
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505, 507, 511}
_TRANSIENT_CAUSES: Final = frozenset({ConnectCause.REFUSED, ConnectCause.UNREACHABLE, ConnectCause.OTHER})
_MAX_DOUBLINGS: Final = 30
_PUT_OFFS_A_RETRY: Final = 3
_PUT_OFF_SHARE: Final = 10.0


def _at_least(minimum: float) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        # "not >=" also catches NaN.
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= minimum:
            raise InvalidSetting(attribute.name, value, f"expected a number of at least {minimum:g}")

    return check


@attrs.frozen
class RetryPolicy:
    """When to retry after a failure.

    Pushing again is safe: blobs are addressed by content and the manifest comes last. Permanent verdicts (name,
    identity, model not found, a malformed response) are never retried, nor is a peer that was never reached.

    Attributes:
        attempts: Requests in total, at least 1; 1 never retries. Pushes straight to a registry count them for
            each request.
        base: Longest wait before the second attempt, in seconds; doubled each time.
        cap: Longest wait in seconds, also for a server's ``Retry-After``: a longer one ends the push.
        retry_after_cap: Longest ``Retry-After`` that is waited for, in seconds, where it is not ``cap``.

    Raises:
        InvalidSetting: A value is out of range.
    """

    attempts: int = attrs.field(default=4, validator=_at_least(1))
    base: float = attrs.field(default=1.0, validator=_at_least(0))
    cap: float = attrs.field(default=60.0, validator=_at_least(0))
    retry_after_cap: float | None = attrs.field(default=None, validator=attrs.validators.optional(_at_least(0)))

    def wait_after(self, error: OllamaPushError, attempt: int, *, reached: bool, random: float) -> float | None:
        """Return the seconds to wait before the next attempt; ``None`` for no retry.

        Args:
            error: Why the attempt failed.
            attempt: Its number, from 1.
            reached: Whether any attempt of this push got the head of a response.
            random: A random number, 0.0 to 1.0: the wait is drawn from the upper half of the backoff, so that
                many clients do not retry at the same time.
        """
        if attempt >= self.attempts or not _is_transient(error, reached=reached):
            return None
        asked = error.retry_after if isinstance(error, ServerError) else None
        if asked is not None:
            return None if self._asks_too_long(error) else asked
        return self.backoff(attempt, random)

    @property
    def longest_wait(self) -> float:
        """The longest ``Retry-After`` that is waited for, in seconds."""
        return self.cap if self.retry_after_cap is None else self.retry_after_cap

    @property
    def shortest_put_off(self) -> float:
        """The wait after a first 429, in seconds; doubled each time."""
        return self.base / _PUT_OFF_SHARE

    def put_off(self, error: ServerError, count: int) -> float | None:
        """Return the seconds to wait after *error*, a 429, for time number *count* in a row; ``None`` to give up.

        It means that the request was not begun. So there is more patience than for what has failed: three times as
        many attempts, with waits that begin short. A ``Retry-After`` is the least.
        """
        asked = error.retry_after or 0.0
        if count > _PUT_OFFS_A_RETRY * (self.attempts - 1) or self._asks_too_long(error):
            return None
        return max(asked, min(self.cap, self.shortest_put_off * 2.0 ** min(count - 1, _MAX_DOUBLINGS)))

    def _asks_too_long(self, error: OllamaPushError) -> bool:
        """Say whether *error* asks for a longer wait than there is, which is then noted in it."""
        if not isinstance(error, ServerError) or (error.retry_after or 0.0) <= self.longest_wait:
            return False
        error.longest_wait = self.longest_wait
        return True

    def backoff(self, attempt: int, random: float) -> float | None:
        """Return the seconds to wait after failure number *attempt*, whatever it was; ``None`` for no retry."""
        return None if attempt >= self.attempts else self.growing_wait(attempt, random)

    def growing_wait(self, number: int, random: float) -> float:
        """Return the seconds of wait *number*, from 1, however many there are."""
        ceiling = min(self.cap, self.base * 2.0 ** min(number - 1, _MAX_DOUBLINGS))
        return ceiling * (0.5 + 0.5 * random)


def _is_transient(error: OllamaPushError, *, reached: bool) -> bool:
    match error:
        case ConnectFailed(cause=cause):
            return reached and cause in _TRANSIENT_CAUSES
        case TransportTimeout(phase="connect"):
            return reached
        case ConnectionLost() | TransportTimeout() | PushStalled() | StreamTruncated():
            return True
        case ServerError(status=status):
            known = error.reason
            return status in TRANSIENT_STATUSES and (known.is_transient or known is RejectionReason.UNKNOWN)
        case PushRejected(reason=RejectionReason.REGISTRY_UNREACHABLE):
            # Unreachable from the start is a wrong address; after bytes have moved it is an outage.
            return error.bytes_moved > 0
        case PushRejected(reason=reason):
            return reason.is_transient
        case _:
            return False
