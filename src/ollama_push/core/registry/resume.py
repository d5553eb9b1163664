"""Unfinished uploads: what is needed to resume one, and the port that keeps it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import attrs

from ollama_push.core.redaction import redact

__all__ = ["ResumePoint", "ResumeStore", "UploadKey"]


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


@attrs.frozen
class ResumePoint:
    """An upload session as the registry last described it.

    Attributes:
        location: Absolute URL of the session. Some registries put a signature into it: treat it as a secret.
        offset: Bytes the registry had acknowledged; a lower bound: its ``Range`` is the current one.
    """

    location: str = attrs.field(repr=lambda url: repr(redact(url.partition("?")[0])))
    offset: int = 0


class ResumeStore(Protocol):
    """Keeps unfinished uploads, so that a later run can resume them.

    Several threads and processes use it at the same time. None of its methods may fail a push: what cannot be
    kept is forgotten.
    """

    def claim(self, key: UploadKey, /) -> ResumePoint | None:
        """Reserve *key* for this process and return what is known; ``None`` when nothing is.

        Also ``None`` while another process has it: its session must not be used, and what this process then
        saves under the key is not kept.
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
