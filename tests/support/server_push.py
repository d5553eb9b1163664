"""One push through a server by the sync or the async client, in a form in which two pushes compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, closing
from typing import Any, Final

import attrs

from ollama_push import AsyncPushClient, PushClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.observations import Observation, PushFinished
from ollama_push.core.ports import AsyncTransport, Hook, Transport
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.retry import RetryPolicy

__all__ = ["ADDRESS", "MODEL", "ONCE", "Expected", "Push", "Told", "facts_of", "push", "push_async", "push_awaited"]

MODEL: Final = "myuser/my-llama:latest"
ONCE: Final = RetryPolicy(attempts=1)
ADDRESS: Final = "http://server"
"""Stands for the address in expected errors; it is not compared, for ports differ."""

_PATIENCE_SECONDS: Final = 10.0

# Differ from run to run (where, how long, how much was buffered) or from library to library (its own words).
_CHANCE: Final = frozenset({"address", "detail", "buffered", "elapsed", "elapsed_seconds", "push", "trace_headers"})
_ABOUT_THE_PUSH: Final = ("last_event", "attempts", "bytes_moved")


@attrs.frozen
class Push:
    """What a push is asked for; nothing on loopback is silent for so long unless a script wants it."""

    host: str
    stream: bool = True
    stall_timeout: float | None = 5.0
    retry: RetryPolicy = ONCE
    hooks: tuple[Hook, ...] = ()


def facts_of(value: Any) -> object:
    """Return what is fixed about an error, an observation or a receipt, in a form that compares."""
    if isinstance(value, tuple):
        return tuple(facts_of(item) for item in value)
    if not attrs.has(type(value)):
        return value
    names = [field.name for field in attrs.fields(type(value)) if field.name not in (*_CHANCE, *_ABOUT_THE_PUSH)]
    # Of a stall it is known only that it was longer than allowed.
    if type(value).__name__ == "PushStalled":
        names.remove("seconds")
    return type(value).__name__, {name: facts_of(getattr(value, name)) for name in names}


@attrs.frozen
class Expected:
    """How a push ends: after so many events with *error*, or else with a receipt over *layers*.

    ``events`` is ``None`` where nobody counts them.
    """

    events: int | None
    error: OllamaPushError | None = attrs.field(default=None, eq=facts_of)
    layers: tuple[tuple[str, int], ...] = ()


@attrs.frozen
class Told:
    """All that one push told."""

    events: tuple[PushEvent, ...]
    seen: tuple[Observation, ...]
    error: OllamaPushError | None

    @property
    def receipt(self) -> PushReceipt | None:
        """What the last observation handed over."""
        last = self.seen[-1] if self.seen else None
        return last.receipt if isinstance(last, PushFinished) else None

    @property
    def outcome(self) -> Expected:
        """The end of it, as a table would expect it."""
        layers = () if self.receipt is None else tuple((a.digest, a.total_bytes) for a in self.receipt.layers)
        return Expected(len(self.events), self.error, layers)

    @property
    def facts(self) -> tuple[object, ...]:
        """Everything but what differs from run to run and from library to library."""
        about = None if self.error is None else [getattr(self.error, name) for name in _ABOUT_THE_PUSH]
        return self.events, facts_of(self.error), about, [facts_of(seen) for seen in self.seen]


def push(asked: Push, transport: Transport) -> Told:
    """Push with the sync client; *transport* is closed afterwards."""
    seen: list[Observation] = []
    events: list[PushEvent] = []
    with closing(transport):
        client = PushClient(
            asked.host,
            transport=transport,
            hooks=[seen.append, *asked.hooks],
            retry=asked.retry,
            stall_timeout=asked.stall_timeout,
        )
        try:
            with client.stream(MODEL, stream=asked.stream) as stream:
                events.extend(stream)
        except OllamaPushError as exc:
            return Told(tuple(events), tuple(seen), exc)
    return Told(tuple(events), tuple(seen), None)


async def push_async(asked: Push, transport: AsyncTransport) -> Told:
    """Push with the async client; *transport* is closed afterwards."""
    seen: list[Observation] = []
    events: list[PushEvent] = []
    async with aclosing(transport):
        client = AsyncPushClient(
            asked.host,
            transport=transport,
            hooks=[seen.append, *asked.hooks],
            retry=asked.retry,
            stall_timeout=asked.stall_timeout,
        )
        try:
            async with client.stream(MODEL, stream=asked.stream) as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - what came before an error is kept
        except OllamaPushError as exc:
            return Told(tuple(events), tuple(seen), exc)
    return Told(tuple(events), tuple(seen), None)


def push_awaited(asked: Push, make: Callable[[], AsyncTransport]) -> Told:
    """Push with the async client on an event loop of its own; *make* is called there."""

    async def main() -> Told:
        # Whoever hangs fails, instead of stopping the suite.
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await push_async(asked, make())

    return asyncio.run(main())
