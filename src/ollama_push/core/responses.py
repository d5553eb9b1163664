"""A request that a flow sends, and what comes back for it, as data.

A *flow* is a generator: it yields an effect and is sent what came of it. :class:`SendRequest` is the effect that flows
of both ways share; the others are in :mod:`ollama_push.core.registry.effects`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeGuard

import attrs
from attrs import validators

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    TransportError,
    TransportMisbehaved,
    TransportTimeout,
)
from ollama_push.core.hosts import origin_of
from ollama_push.core.ports import HttpRequest

__all__ = [
    "MAX_RESPONSE_BYTES",
    "MAX_RESPONSE_SECONDS",
    "BlobRequest",
    "BlobSpan",
    "BodyWatch",
    "BufferedResponse",
    "NotAsked",
    "OptionalRequest",
    "SendRequest",
    "StreamedResponse",
    "failed_request",
    "is_unread",
    "own_error",
    "response_late",
    "response_limit",
    "response_seconds",
    "retry_after_seconds",
]

MAX_RESPONSE_BYTES: Final = 8_000_000
"""Longest body read: a list of some thousand models fits, and any manifest (4 MiB at most by convention)."""

MAX_RESPONSE_SECONDS: Final = 60.0
"""Longest time from the head of a response to its end, for all responses but the stream of a push."""

_MOST_SILENCES: Final = 5

# Longer than every date of RFC 9110, 5.6.7, with a zone in words.
_DATE_CHARACTERS: Final = 64
_MAX_WAIT_SECONDS: Final = 1e9


# A range is asked for to see that a blob can be read: a registry that ignores it would send the whole of it.
_MAX_RANGE_BYTES: Final = 1


@attrs.frozen
class BufferedResponse:
    """A whole response to a small request.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        body: At most ``MAX_RESPONSE_BYTES``.
        redirects: The redirects that were followed to it, as the statuses and the URLs that they led to.
    """

    status: int = attrs.field(validator=validators.instance_of(int))
    headers: Mapping[str, str] = attrs.field(
        validator=validators.deep_mapping(validators.instance_of(str), validators.instance_of(str))
    )
    body: bytes
    redirects: tuple[tuple[int, str], ...] = ()


@attrs.frozen
class BlobRequest(HttpRequest):
    """A request for the content of a blob: a success is sent back while it arrives, as a ``StreamedResponse``."""


@attrs.frozen
class OptionalRequest(HttpRequest):
    """A request that only saves work: its failure does not make a registry ill, and an ill one is not sent it."""


class NotAsked(TransportError):
    """An :class:`OptionalRequest` was not sent, because its registry is left alone. Flows get it, and keep it."""


@attrs.frozen
class StreamedResponse(BufferedResponse):
    """The head of a success of a :class:`BlobRequest`; its body is empty here.

    Attributes:
        stream: What reads the rest, and must be closed; it belongs to whoever carried out the request.
    """

    stream: object = attrs.field(default=None, repr=False)


def response_limit(request: HttpRequest) -> int:
    """Return how many bytes of the response to *request* are read."""
    is_look = "Range" in request.headers and not isinstance(request, BlobRequest)
    return _MAX_RANGE_BYTES if is_look else MAX_RESPONSE_BYTES


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait a ``Retry-After`` header asks for, in seconds; ``None`` without a usable one.

    The HTTP-date form is measured against the response's own ``Date``, so no clock is needed.
    """
    value, now = (headers.get(name, "").strip() for name in ("retry-after", "date"))
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        wait = parsedate_to_datetime(value[:_DATE_CHARACTERS]) - parsedate_to_datetime(now[:_DATE_CHARACTERS])
        return min(max(0.0, wait.total_seconds()), _MAX_WAIT_SECONDS)
    # OverflowError: a year, a day or an offset from UTC that datetime cannot hold.
    except (OverflowError, TypeError, ValueError):
        return None


class BodyWatch(Protocol):
    """Sees the bytes of a body on their way, in whichever thread sends them."""

    @property
    def completed(self) -> int:
        """Bytes of the blob that were sent so far, those of other bodies included."""
        ...

    def begin(self) -> None:
        """Take note that the body is sent from its first byte on."""
        ...

    def receive(self, buffer: memoryview, /) -> None:
        """Look at the next bytes, which are sent afterwards."""
        ...


@attrs.frozen
class BlobSpan:
    """A part of a blob, to be read from the store and sent as a body.

    Attributes:
        digest: The blob.
        offset: First byte, counted from the start of the blob.
        size: Length in bytes.
        watch: Sees the bytes where parts of the blob are sent side by side; ``None`` where one follows the other.
        hold_seconds: See ``HttpRequest.hold_seconds``.
    """

    digest: str
    offset: int
    size: int
    watch: BodyWatch | None = attrs.field(default=None, eq=False, repr=False)
    hold_seconds: float = attrs.field(default=0.0, eq=False, repr=False)


@attrs.frozen
class SendRequest:
    """Send a request and read its whole response.

    Sent back: a ``BufferedResponse``, for a ``BlobRequest`` that succeeds a ``StreamedResponse``, or the
    ``TransportError`` that prevented it; for an ``OptionalRequest`` perhaps ``NotAsked``. A body that cannot be read
    from the store is raised where the flow waits.

    Attributes:
        request: Its body is empty when *span* is given.
        span: What to send as the body; its progress is reported while it is sent.
    """

    request: HttpRequest
    span: BlobSpan | None = None


def response_seconds(request: HttpRequest) -> float:
    """Return how long the response to *request* may take from its head on: a minute, or five of its read timeouts."""
    silence = math.inf if request.read_timeout is None else request.read_timeout
    return min(MAX_RESPONSE_SECONDS, _MOST_SILENCES * silence)


def response_late(request: HttpRequest) -> TransportTimeout:
    """Return the error of a response that is not complete after ``response_seconds``."""
    return TransportTimeout(origin_of(request.url), "response", response_seconds(request))


def is_unread(given: object) -> TypeGuard[ConnectionLost]:
    """Say whether *given* for a request is that of a kept connection which had died before its peer read that.

    The request is sent again at once, and that counts as no attempt. A peer that has read it after all, and could not
    say so, meets it twice: of one that could do harm then, it is asked what came of it.
    """
    return isinstance(given, ConnectionLost) and given.unread


def own_error(exc: Exception, transport: object) -> OllamaPushError:
    """Return *exc* if it is ours, otherwise the error that blames *transport* for it."""
    return exc if isinstance(exc, OllamaPushError) else TransportMisbehaved.by(transport, exc)


def failed_request(exc: Exception, transport: object) -> TransportError:
    """Return what a flow is sent instead of the response that *exc* prevented.

    Raises:
        OllamaPushError: *exc* is not the network's fault.
    """
    error = own_error(exc, transport)
    if isinstance(error, TransportError):
        return error
    raise error
