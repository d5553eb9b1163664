"""The effect that flows of both ways share, and what a driver sends back for it.

A *flow* is a generator: it yields an effect and is sent what came of it. Effects of pushes straight to a registry
alone are in :mod:`ollama_push.core.registry.effects`.
"""

from __future__ import annotations

import attrs

from ollama_push.core.errors import OllamaPushError, TransportError, TransportMisbehaved
from ollama_push.core.ports import HttpRequest

__all__ = ["BlobSpan", "SendRequest", "failed_request", "own_error"]


@attrs.frozen
class BlobSpan:
    """A part of a blob, to be read from the store and sent as a body.

    Attributes:
        digest: The blob.
        offset: First byte, counted from the start of the blob.
        size: Length in bytes.
    """

    digest: str
    offset: int
    size: int


@attrs.frozen
class SendRequest:
    """Send a request and read its whole response.

    Sent back: a ``BufferedResponse``, or the ``TransportError`` that prevented it. A body that cannot be read
    from the store is raised where the flow waits.

    Attributes:
        request: Its body is empty when *span* is given.
        span: What to send as the body; its progress is reported while it is sent.
    """

    request: HttpRequest
    span: BlobSpan | None = None


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
