"""Hashes a blob's bytes on their way: whether they are the blob is known when the last one has passed."""

from __future__ import annotations

import hashlib

from ollama_push.core.registry.manifests import Descriptor, hex_of

__all__ = ["DigestCheck"]


class DigestCheck:
    """The bytes of one blob, as its ranges pass one after the other; a range may pass again.

    Args:
        blob: What they should be.
    """

    def __init__(self, blob: Descriptor) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()
        self._hashed = 0
        # What was hashed when a range began, so that it can begin again.
        self._begun = {0: hashlib.sha256()}
        self._at = 0

    def begin(self, offset: int) -> None:
        """Take note that the bytes from *offset* on follow."""
        self._at = offset
        again = self._begun.get(offset)
        if again is not None:
            self._hash, self._hashed = again.copy(), offset
        elif offset == self._hashed:
            # Two are enough: a range begins again where it began, or at the first byte.
            self._begun = {0: self._begun[0], offset: self._hash.copy()}

    def receive(self, data: bytes | memoryview) -> None:
        """Hash *data*, the bytes that follow; bytes behind a gap cannot be hashed, and those of before need not."""
        known = self._hashed - self._at
        self._at += len(data)
        if 0 <= known < len(data):
            self._hash.update(data[known:])
            self._hashed = self._at

    @property
    def is_wrong(self) -> bool:
        """Whether all bytes have passed, and are not the blob."""
        return self._hashed == self._blob.size and self._hash.hexdigest() != hex_of(self._blob.digest)
