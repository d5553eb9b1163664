"""A whole answer to a small question, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

__all__ = ["MAX_ANSWER_BYTES", "Answer", "AnswerBuffer"]

MAX_ANSWER_BYTES: Final = 8_000_000
"""Longest body read: a list of some thousand models fits, and any manifest (4 MiB at most by convention)."""


@attrs.frozen
class Answer:
    """A whole answer to a small question.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        body: At most ``MAX_ANSWER_BYTES``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerBuffer:
    """Gathers the body of a small answer, up to ``MAX_ANSWER_BYTES``."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def receive_data(self, data: bytes) -> bool:
        """Store *data*; return whether more is wanted."""
        self._pieces.append(data)
        self._size += len(data)
        return self._size < MAX_ANSWER_BYTES

    def answer(self, status: int, headers: Mapping[str, str]) -> Answer:
        """Return the answer with what was gathered."""
        return Answer(status, dict(headers), b"".join(self._pieces)[:MAX_ANSWER_BYTES])
