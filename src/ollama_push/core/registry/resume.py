"""Unfinished uploads: what is needed to resume one, and the port that keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import attrs

from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.redaction import redact

__all__ = [
    "FinishedElsewhere",
    "InUseElsewhere",
    "LeasedResumeStore",
    "ResumePoint",
    "ResumeStore",
    "SentPart",
    "UploadKey",
    "decode_parts",
    "encode_parts",
]


_PART: Final = (str, int, int, str)


class UploadKey(NamedTuple):
    """Which upload: one blob on its way to one repository.

    Attributes:
        origin: Scheme, host and port of the registry.
        repository: ``namespace/model``.
        digest: The blob.
    """

    origin: str
    repository: str
    digest: str

    @property
    def id(self) -> str:
        """A name for files and keys: 64 hex digits."""
        return hashlib.sha256("\n".join(self).encode()).hexdigest()


def _shown(url: str) -> str:
    return repr(redact(url.partition("?")[0]))


@attrs.frozen
class SentPart:
    """A part of an upload whose bytes go to a URL that the registry has signed.

    Attributes:
        location: Absolute URL of the session that the registry was asked at for the signed one: a secret, too.
        offset: First byte, counted from the start of the blob.
        size: Length in bytes.
        md5: MD5 of the part in hexadecimal; empty until all of it was stored.
    """

    location: str = attrs.field(repr=_shown)
    offset: int
    size: int
    md5: str = ""


@attrs.frozen
class ResumePoint:
    """An upload session as the registry last described it.

    Attributes:
        location: Absolute URL of the session. Some registries put a signature into it: treat it as a secret.
        offset: Bytes the registry had acknowledged; a lower bound: its ``Range`` is the current one.
        parts: Those that were begun, in the order of their bytes, where they go to signed URLs; *offset* then says how
            many bytes of them were stored.
    """

    location: str = attrs.field(repr=_shown)
    offset: int = 0
    parts: tuple[SentPart, ...] = ()


def encode_parts(parts: Sequence[SentPart]) -> str:
    """Return *parts* as a line of text, for a store to keep; empty for none."""
    return encode_json([attrs.astuple(part) for part in parts]).decode() if parts else ""


def decode_parts(text: str) -> tuple[SentPart, ...]:
    """Return what :func:`encode_parts` made into *text*.

    Raises:
        ValueError: It is no such text.
    """
    value = decode_json(text.encode("utf-8", "replace")) if text else []
    if not isinstance(value, list) or not all(
        isinstance(each, list) and tuple(map(type, each)) == _PART for each in value
    ):
        raise ValueError("these are no parts of an upload")
    return tuple(SentPart(*each) for each in value)


@attrs.frozen
class InUseElsewhere:
    """Another process has the upload, and the store asks to wait for it: nothing was claimed.

    Attributes:
        retry_in: Seconds after which to claim again; the other process may have died by then.
    """

    retry_in: float


@attrs.frozen
class FinishedElsewhere:
    """The upload is claimed, and another process has finished or dropped it lately: the blob may be stored."""


class ResumeStore(Protocol):
    """Keeps unfinished uploads, so that a later run can resume them.

    Several threads and processes use it at the same time. None of its methods may fail a push: what cannot be
    kept is forgotten. The promises, which :mod:`ollama_push.testing.contract` checks:

    R1  What one process saves, the next one that claims the key finds, unchanged.
    R2  Uploads do not mix: keys differ in each of their parts.
    R3  One process at a time has a key: another one gets nothing to resume, and changes nothing.
    R4  What is forgotten is gone, and the claim stays.
    R5  Without a claim nothing is kept, forgotten or released.
    R6  Threads may use one store at the same time.
    R7  A store that cannot be used raises nothing, and finds nothing.
    R8  No secret of a session's URL is shown by the store, or logged.
    """

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | FinishedElsewhere | None:
        """Reserve *key* for this process and return what is known; ``None`` when nothing is.

        While another process has it, ``InUseElsewhere`` asks to wait. A store that knows no waiting returns ``None``
        then: the session of the other must not be used, and what this process then saves under the key is not kept.
        """
        ...

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        """Keep *upload*, replacing what was kept; does nothing unless this process has claimed *key*."""
        ...

    def forget(self, key: UploadKey, /) -> None:
        """Drop what is kept under *key*, because the upload is finished or dead; the claim stays."""
        ...

    def release(self, key: UploadKey, /) -> None:
        """Release the claim; what is kept stays for the next run."""
        ...


@runtime_checkable
class LeasedResumeStore(ResumeStore, Protocol):
    """A store whose claims end by themselves when their process dies, or is stopped for longer than a lease."""

    def holds(self, key: UploadKey, /) -> bool:
        """Say whether this process may still write to the upload that it has claimed.

        Asked before each request and each piece of a body: it looks at clocks and waits for nobody.
        """
        ...
