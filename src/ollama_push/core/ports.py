"""What others may plug in: a transport that moves bytes, and a hook that observes.

A custom transport needs this module and :mod:`ollama_push.core.errors`, nothing else; a hook needs
:mod:`ollama_push.core.observations`.

The transport's promises (run them on your own: :mod:`ollama_push.testing.contract`):

=====  ==========================================================================================
T1     The request goes out as given: method, target, headers and body, once, with its length. An async
       transport sends bodies that are awaited, too.
T2     Status and headers are there before the body is; header names are lower case.
T3     A chunk is handed over when it has arrived, however the body is framed.
T4     Leaving the block early closes the connection at once.
T5     The body's bytes are not changed: no decoding, no splitting into lines.
T6     No status is an error, and no redirect is followed.
T7     Only ``TransportError`` kinds are raised, chained ``from`` the library's error.
T8     A refused connection is ``ConnectFailed`` and names the address.
T9     A body that ends before its framing says so is ``ConnectionLost``; what arrived is delivered first.
T10    No head, or no byte of the body, within ``read_timeout`` is ``TransportTimeout``, whatever drips meanwhile.
       So is a body that is not taken. There is no total timeout.
T11    An error raised inside the block, or by the body, passes through untouched, and the connection is gone.
T12    After ``close()`` nothing is left open, and ``open`` raises ``UsedAfterClose``.
T13    Requests may run at the same time; a finished one leaves nothing behind.
=====  ==========================================================================================

A transport that keeps connections does not send a request again when one of them has died: it says so by
``ConnectionLost(unread=True)``, and the core does. One that cannot tell says nothing: that costs an attempt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import attrs

from ollama_push.core.observations import Observation
from ollama_push.core.redaction import hide_secret_headers, redact

__all__ = [
    "AsyncResponse",
    "AsyncSizedBody",
    "AsyncTransport",
    "CancelsRequests",
    "Hook",
    "HttpRequest",
    "RequestBody",
    "Response",
    "ResponseHead",
    "SizedBody",
    "Transport",
]


@runtime_checkable
class SizedBody(Protocol):
    """A body too large to hold: ``len()`` bytes, given as buffers; each ``iter()`` starts over.

    A buffer is valid until the next one is asked for, so that one can be reused.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | memoryview]: ...


@runtime_checkable
class AsyncSizedBody(Protocol):
    """A :class:`SizedBody` whose buffers have to be waited for; only an async transport can send it."""

    def __len__(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]: ...


RequestBody = bytes | SizedBody | AsyncSizedBody


@attrs.frozen
class HttpRequest:
    """One HTTP request, as data.

    Attributes:
        method: The HTTP method, upper case.
        url: Absolute URL; the query is already encoded.
        headers: Header name to value; ``repr`` hides credentials.
        body: The whole body, or a sized iterable of buffers, for an async transport also an async one.
        read_timeout: Longest wait in seconds: for the peer to take more of the body, for the head of the response,
            and then for each further byte of its body; ``math.inf`` for no limit, ``None`` for the transport's own
            default. Where a client sets it, it is a :class:`ollama_push.core.arguments.ClientSeconds`: a transport
            that was given a shorter one keeps that (:func:`ollama_push.core.arguments.chosen_seconds`).
        fresh: Whether to use a new connection, because kept ones have died. A transport may ignore it.
        hold_seconds: How long to wait for a response before the body is sent, because the peer is likely to redirect
            the request. A transport may ignore it.
    """

    method: str
    url: str = attrs.field(repr=lambda url: repr(redact(url)))
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=hide_secret_headers)
    body: RequestBody = attrs.field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    read_timeout: float | None = None
    fresh: bool = False
    hold_seconds: float = 0.0


class ResponseHead(Protocol):
    """What a response begins with."""

    @property
    def status(self) -> int:
        """The HTTP status, 200 to 599."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names in lower case; repeated ones joined with ``", "`` (RFC 9110, 5.3)."""
        ...


class Response(ResponseHead, Protocol):
    """The response while it arrives; valid inside the block that opened it."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive; call it once."""
        ...


class Transport(Protocol):
    """Moves bytes; the module docstring lists what it promises."""

    def open(self, request: HttpRequest, /) -> AbstractContextManager[Response]:
        """Send *request*; the block holds the response, leaving it early closes the connection."""
        ...

    def close(self) -> None:
        """Close what this transport opened, not what was injected. Idempotent."""
        ...


@runtime_checkable
class CancelsRequests(Protocol):
    """An optional ability of a :class:`Transport`: a request can be cancelled from another thread.

    An async transport does not need it, since its tasks can be cancelled. Without it, ending a direct push whose thread
    waits for a response takes two seconds, and the thread and its connection stay until the response or a timeout; a
    push through a server ends with the next line of its response.
    """

    def cancel(self, request: HttpRequest, /) -> None:
        """Cancel *request*, while another thread sends it or reads its response.

        That thread then gets ``ConnectionLost``, and the connection is not used again. Does nothing for a
        request that has ended or is not known yet; best it is known once ``open`` has returned, before its block is
        entered. May be called from any thread and from a signal handler, and more than once.
        """
        ...


class AsyncResponse(ResponseHead, Protocol):
    """The awaited twin of :class:`Response`."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive; call it once."""
        ...


class AsyncTransport(Protocol):
    """The awaited twin of :class:`Transport`."""

    def open(self, request: HttpRequest, /) -> AbstractAsyncContextManager[AsyncResponse]:
        """Send *request*; the block holds the response, leaving it early closes the connection."""
        ...

    async def aclose(self) -> None:
        """Close what this transport opened, not what was injected. Idempotent."""
        ...


Hook = Callable[[Observation], Any]
"""Called with each observation, in order, on the pushing thread or loop: be quick, do not block."""
