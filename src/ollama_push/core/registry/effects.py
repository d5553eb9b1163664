"""What a flow of a push straight to a registry may ask of its driver, and the typed way to ask it.

A driver performs each effect in turn and sends the flow what its docstring promises. It decides nothing: no
status, no retry, no order.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar

import attrs

from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.observations import PauseReason
from ollama_push.core.registry.credentials import Credential
from ollama_push.core.registry.knowledge import LessonBook, Lessons
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.resume import FinishedElsewhere, InUseElsewhere, ResumePoint, UploadKey
from ollama_push.core.responses import SendRequest

__all__ = [
    "Asks",
    "ClaimUpload",
    "Effect",
    "EmitEvent",
    "Exclusive",
    "FindCredential",
    "FindInTarget",
    "Flow",
    "ForgetResumePoint",
    "ForgetStored",
    "Gather",
    "HoldsUpload",
    "KeepLessons",
    "KeepStored",
    "Knowledge",
    "Notice",
    "PutBlob",
    "PutManifest",
    "Rehash",
    "ReleaseUpload",
    "ReportPause",
    "ReportRetry",
    "SaveResumePoint",
    "Sleep",
    "keep_news",
    "result_of",
]

T = TypeVar("T")


class Asks(Generic[T]):
    """An effect for which a ``T`` is sent back."""


@attrs.frozen
class Sleep:
    """Wait for so many seconds; sent back: ``None``. A push that is interrupted stops waiting."""

    seconds: float


@attrs.frozen
class EmitEvent:
    """Tell hooks and the caller of an event; sent back: ``None``."""

    event: PushEvent


@attrs.frozen
class ReportRetry:
    """Tell hooks that a request failed and will be sent again; sent back: ``None``."""

    error: OllamaPushError
    retry_in: float


@attrs.frozen
class ReportPause:
    """Tell hooks that a request was held back; comes from drivers, not from flows."""

    reason: PauseReason
    seconds: float


@attrs.frozen
class Gather(Asks[list[T]]):
    """Run flows side by side; sent back: their results, in order.

    The first that raises interrupts the others, each at the end of its current request; its error is raised
    where this flow waits.

    Attributes:
        flows: Not started yet.
        limit: How many may run at the same time.
    """

    flows: Sequence[Flow[T]]
    limit: int


@attrs.frozen
class Exclusive(Asks[T]):
    """Run *flow* while no other flow of the same push is inside one of these with the same key; sent back: its result.

    Attributes:
        flow: Not started yet; it asks for no other ``Exclusive`` with this key, and with a key for none but the empty.
        key: What is not to be done twice at the same time; empty for the login.
    """

    flow: Flow[T]
    key: str = ""


@attrs.frozen
class FindCredential(Asks[Credential | None]):
    """Look up who we are to *host*, for its *repository*; sent back: a credential or ``None``."""

    host: str
    repository: str = ""


@attrs.frozen
class Rehash(Asks[bool]):
    """Read the blob *digest* from the store; sent back: whether it still hashes to its name."""

    digest: str


@attrs.frozen
class FindInTarget(Asks[bool]):
    """See ``ModelTarget.has``; sent back: whether *blob* is there."""

    blob: Descriptor


@attrs.frozen
class PutBlob(Asks[int]):
    """See ``ModelTarget.put_blob``; its progress is reported. Sent back: the first byte that the target asked for."""

    blob: Descriptor


@attrs.frozen
class PutManifest:
    """See ``ModelTarget.put_manifest``; sent back: ``None``."""

    manifest: Manifest


@attrs.frozen
class ClaimUpload(Asks[tuple[bool, ResumePoint | InUseElsewhere | FinishedElsewhere | None]]):
    """Wait while another push of this client uploads the same, then see ``ResumeStore.claim``.

    Sent back: whether another push of this client has had it, so that the blob may be stored by now; and what the
    store returns. ``ReleaseUpload`` comes last in each case.
    """

    key: UploadKey


@attrs.frozen
class HoldsUpload(Asks[bool]):
    """Look whether a claimed upload is still this process's; sent back: see ``LeasedResumeStore.holds``."""

    key: UploadKey


@attrs.frozen
class SaveResumePoint:
    """See ``ResumeStore.save``; sent back: ``None``."""

    key: UploadKey
    point: ResumePoint


@attrs.frozen
class ForgetResumePoint:
    """See ``ResumeStore.forget``; sent back: ``None``."""

    key: UploadKey


@attrs.frozen
class ReleaseUpload:
    """Let another push have *key*; see ``ResumeStore.release``; sent back: ``None``."""

    key: UploadKey


@attrs.frozen
class KeepLessons:
    """See ``KnowledgeStore.keep_lessons``, for the registry of the flow; sent back: ``None``."""

    lessons: Lessons


@attrs.frozen
class KeepStored:
    """See ``KnowledgeStore.keep_stored``, for the repository of the flow; sent back: ``None``."""

    digests: tuple[str, ...]


@attrs.frozen
class ForgetStored:
    """See ``KnowledgeStore.forget_stored``, for the registry of the flow; sent back: ``None``."""

    repository: str
    digest: str


Notice = EmitEvent | ReportRetry | ReportPause
"""What hooks, and callers of a push, are told of."""

Knowledge = KeepLessons | KeepStored | ForgetStored
"""What is kept of a registry for later pushes."""

_Kept = SaveResumePoint | ForgetResumePoint | ReleaseUpload | Knowledge

Effect = SendRequest | Sleep | Notice | Asks[Any] | PutManifest | _Kept

Flow = Generator[Effect, Any, T]
"""Yields effects, is sent what each promises, returns a ``T`` or raises an ``OllamaPushError``."""


def keep_news(book: LessonBook) -> Flow[None]:
    """Keep the lessons of *book* if they have changed."""
    lessons = book.news()
    if lessons is not None:
        yield KeepLessons(lessons)


def result_of(effect: Asks[T]) -> Flow[T]:
    """Yield *effect* and return what is sent back; the typed form, for ``yield from``."""
    result: T = yield effect
    return result
