"""Many pushes as one job: what is pushed, the verdict of each, and the share of one machine of many."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final, Self

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.receipts import PushReceipt

__all__ = ["PushItem", "PushVerdict", "Shard", "read_list"]

_SHARD: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_MOST_WORDS: Final = 2


@attrs.frozen
class PushItem:
    """One model of many.

    Attributes:
        model: Name to push to.
        source: Name of the local model; ``None`` where it is the same.
    """

    model: str
    source: str | None = None


@attrs.frozen
class PushVerdict:
    """How the push of one model of many ended: with a receipt, or with an error.

    Attributes:
        item: Which model.
        receipt: Of a push that succeeded.
        error: Of any other: an ``OllamaPushError``, or what an executor raised that lost its worker.
    """

    item: PushItem
    receipt: PushReceipt | None = None
    error: Exception | None = None


@attrs.frozen
class Shard:
    """One of several machines, each of which pushes a part of the models.

    The part of a model depends on its name alone: models that are added or removed move no other one.

    Attributes:
        index: From 1.
        count: How many machines.

    Raises:
        InvalidSetting: There is no such machine.
    """

    index: int
    count: int

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InvalidSetting("shard", f"{self.index}/{self.count}", "expected I/N with I from 1 to N")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard of ``"I/N"``.

        Raises:
            InvalidSetting: It is none.
        """
        found = _SHARD.fullmatch(text)
        if found is None:
            raise InvalidSetting("shard", text, "expected I/N with I from 1 to N, such as 1/4")
        return cls(int(found[1]), int(found[2]))

    def has(self, model: str) -> bool:
        """Say whether the model of that canonical name belongs to this machine."""
        number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8])
        return number % self.count == self.index - 1


def read_list(lines: Iterable[str]) -> Iterator[tuple[int, PushItem]]:
    """Yield the items of a list, each with the number of its line, from 1.

    A line is a name, perhaps with the name of the local model behind it; ``#`` begins a comment.

    Raises:
        InvalidSetting: A line holds more than two names.
    """
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) > _MOST_WORDS:
            raise InvalidSetting("list", line.strip(), f"line {number} holds more than two names")
        if words:
            yield number, PushItem(*words)
