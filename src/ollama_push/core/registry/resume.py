"""Uploads that are not finished: what must be known to go on with one, and the port to whoever keeps it."""

from __future__ import annotations

from typing import Protocol

import attrs

from ollama_push.core.redaction import redact

__all__ = ["ResumePoint", "ResumeStore", "UploadKey"]


@attrs.frozen
class UploadKey:
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
        offset: Bytes the registry had acknowledged; a lower bound, its ``Range`` says what is true now.
    """

    location: str = attrs.field(repr=lambda url: repr(redact(url.partition("?")[0])))
    offset: int = 0


class ResumeStore(Protocol):
    """Keeps unfinished uploads, so that a later run goes on where an earlier one was stopped.

    Several threads and processes use it at once. None of its methods may fail a push: what cannot be kept
    is forgotten.
    """

    def claim(self, key: UploadKey, /) -> ResumePoint | None:
        """Reserve *key* for this process and return what is known; ``None`` when nothing is.

        Also ``None`` while another process has it: that one's session must not be used, and what this
        process saves under the key is then not kept.
        """
        ...

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        """Keep *upload*, replacing what was kept; does nothing unless *key* is claimed by us."""
        ...

    def forget(self, key: UploadKey, /) -> None:
        """Drop what is kept under *key*, because the upload is finished or dead; the claim stays."""
        ...

    def release(self, key: UploadKey, /) -> None:
        """Give the claim back; what is kept stays for the next run."""
        ...
