"""Keeps in Redis or Valkey which registries are ill, so that machines learn it from each other.

A registry that is well has no key. An ill one has a text, which is replaced only where it is still the one that was
read; what follows from it is decided in the core. No clock is compared: the text counts from the moment in which it was
written, and the server says how long ago that was.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any, Final

import attrs

from ollama_push.core.json_text import decode_json, encode_json
from ollama_push.core.registry.breaker import CLOSED, BreakerState, BreakerStep, Sighting
from ollama_push.fleet.connection import RedisProblem

__all__ = ["RedisBreakerStore"]

_VERSION: Final = 1
_KEPT_MS: Final = 3_600_000
"""An hour: longer than every pause, and the time after which a breaker that nobody looked at is forgotten."""
_FACTS: Final = (int, float, str, float)
_ROW: Final = (str, int)
_RACES: Final = 100
"""So many others may be faster. Each of them has changed something, and after most changes there is nothing to do."""

_READ: Final = "return {redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1])}"
_REPLACE: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


@attrs.frozen
class RedisBreakerStore:
    """Which registries are ill (``core.registry.breaker.BreakerStore``), for all machines with one Redis or Valkey.

    It belongs to a ``RedisResumeStore``, whose server, prefix and warnings it shares.

    Args:
        run: Runs a script with keys and arguments; ``None`` while the server cannot be used, which it has told.
        warn: Tells of a problem.
        prefix: Begins the names of all keys.
    """

    _run: Callable[..., Any]
    _warn: Callable[[RedisProblem], None]
    _prefix: str = attrs.field(repr=False)

    def change(self, registry: str, step: BreakerStep, /) -> Sighting | None:
        # Names of registries are not in the names of keys.
        key = f"{self._prefix}:{{{hashlib.sha256(registry.encode()).hexdigest()}}}:breaker"
        for _ in range(_RACES):
            if (found := self._run(_READ, [key])) is None:
                return None
            if not isinstance(found, list) or tuple(map(type, found)) != _ROW:
                self._warn(RedisProblem.DAMAGED)
                return None
            text, left_ms = found
            try:
                known = _decoded(text)
            except ValueError:
                self._warn(RedisProblem.OTHER_VERSION)
                return None
            now = max(0, _KEPT_MS - left_ms) / 1000 if text else 0.0
            then = step(known, now)
            if then == known:
                return Sighting(known, now)
            if (was_first := self._run(_REPLACE, [key], text, _encoded(then.moved(-now)), _KEPT_MS)) is None:
                return None
            if was_first:
                return Sighting(then, now)
        return Sighting(known, now)


def _encoded(state: BreakerState) -> str:
    """Return the text for *state*, whose times count from now; empty for one that is over."""
    if not state.is_open:
        return ""
    # Two texts are never equal: each counts from its own moment.
    return encode_json([_VERSION, uuid.uuid4().hex, *attrs.astuple(state)]).decode()


def _decoded(text: str) -> BreakerState:
    """Return what is known by *text*.

    Raises:
        ValueError: It is of another version.
    """
    if not text:
        return CLOSED
    value = decode_json(text.encode("utf-8", "replace"))
    if not isinstance(value, list) or value[:1] != [_VERSION] or tuple(map(type, value[2:])) != _FACTS:
        raise ValueError("it is of another version")
    known = BreakerState(*value[2:])
    if not known.is_open or max(known.until, known.probed_until) > _KEPT_MS / 1000:
        raise ValueError("nobody has written that")
    return known
