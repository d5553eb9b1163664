"""What a flow may ask of its driver, and the typed way to ask it.

A driver takes each effect in turn and sends the flow what its docstring promises. It decides nothing: no
status, no retry, no order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import attrs

from ollama_push.core.errors import OllamaPushError, TransportError
from ollama_push.core.events import PushEvent
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import Credential
from ollama_push.core.registry.resume import ResumePoint, UploadKey
from ollama_push.core.responses import BufferedResponse

__all__ = [
    "BlobSpan",
    "Claim",
    "Effect",
    "Emit",
    "FindCredential",
    "Flow",
    "Forget",
    "Gather",
    "News",
    "Rehash",
    "Release",
    "Retrying",
    "Save",
    "Send",
    "Sleep",
    "claim",
    "find_credential",
    "gather",
    "rehash",
    "send",
]

T = TypeVar("T")


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
class Send:
    """Send a request and read its whole answer.

    Sent back: an :class:`Answer`, or the ``TransportError`` that kept it away. A body that cannot be read
    from the store is raised where the flow waits.

    Attributes:
        request: Its body is empty when *span* is given.
        span: What to send as the body; its progress is reported as it goes out.
    """

    request: HttpRequest
    span: BlobSpan | None = None


@attrs.frozen
class Sleep:
    """Wait for so many seconds; sent back: ``None``. A push that is interrupted stops waiting."""

    seconds: float


@attrs.frozen
class Emit:
    """Tell hooks and caller of an event; sent back: ``None``."""

    event: PushEvent


@attrs.frozen
class Retrying:
    """Tell hooks that a request failed and will be sent again; sent back: ``None``."""

    error: OllamaPushError
    retry_in: float


@attrs.frozen
class Gather:
    """Run flows side by side; sent back: their results, in order.

    The first that raises ends the others, each at the end of the request it has under way, and is raised
    where this flow waits.

    Attributes:
        flows: Not started yet.
        limit: How many may run at the same time.
    """

    flows: Sequence[Flow[Any]]
    limit: int


@attrs.frozen
class FindCredential:
    """Look up who we are to *host*; sent back: a credential or ``None``."""

    host: str


@attrs.frozen
class Rehash:
    """Read the blob *digest* from the store; sent back: whether it still hashes to its name."""

    digest: str


@attrs.frozen
class Claim:
    """Wait while another push of this client uploads the same, then see ``ResumeStore.claim``.

    Sent back: whether another push of this client has had it, so that the blob may be there by now; and a
    ``ResumePoint`` or ``None``.
    """

    key: UploadKey


@attrs.frozen
class Save:
    """See ``ResumeStore.save``; sent back: ``None``."""

    key: UploadKey
    upload: ResumePoint


@attrs.frozen
class Forget:
    """See ``ResumeStore.forget``; sent back: ``None``."""

    key: UploadKey


@attrs.frozen
class Release:
    """Let the next one have *key*; see ``ResumeStore.release``; sent back: ``None``."""

    key: UploadKey


Effect = Send | Sleep | Emit | Retrying | Gather | FindCredential | Rehash | Claim | Save | Forget | Release
News = Emit | Retrying
"""What hooks and callers are told of."""

Flow = Generator[Effect, Any, T]
"""Yields effects, is sent what each promises, returns a ``T`` or raises an ``OllamaPushError``."""


def send(request: HttpRequest, span: BlobSpan | None = None) -> Flow[BufferedResponse | TransportError]:
    """Yield a :class:`Send`; the typed form, for ``yield from``."""
    response: BufferedResponse | TransportError = yield Send(request, span)
    return response


def find_credential(host: str) -> Flow[Credential | None]:
    """Yield a :class:`FindCredential`; the typed form, for ``yield from``."""
    credential: Credential | None = yield FindCredential(host)
    return credential


def claim(key: UploadKey) -> Flow[tuple[bool, ResumePoint | None]]:
    """Yield a :class:`Claim`; the typed form, for ``yield from``."""
    claimed: tuple[bool, ResumePoint | None] = yield Claim(key)
    return claimed


def gather(flows: Sequence[Flow[T]], limit: int) -> Flow[list[T]]:
    """Yield a :class:`Gather`; the typed form, for ``yield from``."""
    results: list[T] = yield Gather(flows, limit)
    return results


def rehash(digest: str) -> Flow[bool]:
    """Yield a :class:`Rehash`; the typed form, for ``yield from``."""
    sound: bool = yield Rehash(digest)
    return sound
