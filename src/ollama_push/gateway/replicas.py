"""What several replicas of one gateway know of each other: how many pushes run in all of them, and which."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError, StructureHandlerNotFoundError

from ollama_push.client._lanes import Lane
from ollama_push.gateway.push_history import PushHistory, PushRecord

__all__ = ["Replicas", "SharedPushes"]

_VERSION: Final = 1
_INTERVAL_SECONDS: Final = 1.0
_SHOWN_ENDED: Final = 20
_SHOWN_LAYERS: Final = 100
_NUMBER_BITS: Final = 32
_NAME_BITS: Final = 20
"""The id of another replica's push is made of its name and its number; a page counts up to 2**53."""
_MALFORMED: Final = (
    AttributeError,
    BaseValidationError,
    KeyError,
    OverflowError,
    StructureHandlerNotFoundError,
    TypeError,
    ValueError,
)


class SharedPushes(Protocol):
    """Where replicas meet. The methods block; none raises, and without that place all replicas are alone."""

    def admit(self, push: int, limit: int) -> bool:
        """Count the push with that number in; return whether no more than *limit* run in all replicas."""
        ...

    def leave(self, push: int) -> None:
        """Count the push out."""
        ...

    def exchange(self, shown: str) -> dict[str, str]:
        """Publish what this replica shows, and return what the others show, by their names."""
        ...

    def close(self) -> None:
        """Take back what this replica has."""
        ...


class Replicas:
    """The replicas of this gateway, seen from it.

    Args:
        shared: Where they meet; ``None`` for a gateway that is alone.
        history: The pushes of this one; it is told of those of the others.
        interval: Seconds between two exchanges.
    """

    def __init__(self, shared: SharedPushes | None, history: PushHistory, interval: float = _INTERVAL_SECONDS) -> None:
        self._shared = shared
        self._history = history
        self._interval = interval
        self._numbers = 0
        self._converter = Converter(detailed_validation=False)
        # Of their own: a place that does not respond holds up nothing else, and pushes do not wait for the list.
        self._listing, self._admitting = Lane("gateway-replicas", 1), Lane("gateway-admission", 4)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[bool]:
        """Count a push in while the block runs; yield whether it may run."""
        if self._shared is None:
            yield True
            return
        self._numbers += 1
        number = self._numbers
        may_run = await self._admitting.run(self._shared.admit, number, self._history.limit)
        try:
            yield may_run
        finally:
            if may_run:
                # Also when this task is cancelled.
                await asyncio.shield(self._admitting.start(self._shared.leave, number))

    @asynccontextmanager
    async def meeting(self) -> AsyncIterator[None]:
        """Exchange what is shown while the block runs."""
        if self._shared is None:
            yield
            return
        task = asyncio.create_task(self._exchange(self._shared), name="ollama-push-replicas")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._listing.run(self._shared.close)
            self._listing.retire()
            self._admitting.retire()

    async def _exchange(self, shared: SharedPushes) -> None:
        while True:
            others = await self._listing.run(shared.exchange, self._shown())
            self._history.show_elsewhere(
                [record for name, shown in others.items() for record in self._records(name, shown)],
                sum(self._running(shown) for shown in others.values()),
            )
            await asyncio.sleep(self._interval)

    def _shown(self) -> str:
        running, ended = list[PushRecord](), list[PushRecord]()
        for record in self._history.own_records():
            (running if record.is_running else ended).append(record)
        records = [_trimmed(record) for record in (*running, *ended[:_SHOWN_ENDED])]
        fields = {
            "version": _VERSION,
            "running": len(running),
            "records": [self._converter.unstructure(record) for record in records],
        }
        return json.dumps(fields, separators=(",", ":"))

    def _records(self, name: str, shown: str) -> Iterable[PushRecord]:
        """Return the records that another replica shows; none if it is of another version."""
        replica = (zlib.crc32(name.encode()) & ((1 << _NAME_BITS) - 1)) + 1
        try:
            fields: Any = json.loads(shown)
            if fields["version"] != _VERSION:
                return []
            records = self._converter.structure(fields["records"], list[PushRecord])
        except _MALFORMED:
            return []
        return [attrs.evolve(record, id=(replica << _NUMBER_BITS) | record.id) for record in records]

    @staticmethod
    def _running(shown: str) -> int:
        try:
            return int(json.loads(shown)["running"])
        except _MALFORMED:
            return 0


def _trimmed(record: PushRecord) -> PushRecord:
    """Return *record* with the layers that a page has room for."""
    layers = record.progress.layers
    if len(layers) <= _SHOWN_LAYERS:
        return record
    shown = sorted(layers, key=lambda layer: layer.fraction == 1.0)[:_SHOWN_LAYERS]
    return attrs.evolve(record, progress=attrs.evolve(record.progress, layers=tuple(shown)))
