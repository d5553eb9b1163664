"""What the replicas of a gateway share in Redis: how many pushes run in all of them, and what each of them shows.

Both are leases: what a replica that died had ends by itself.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Any, Final

from ollama_push.fleet.connection import RedisConnection, RedisProblem, RedisUnusable

__all__ = ["RedisPushes"]

_LOGGER: Final = logging.getLogger("ollama_push.gateway")
_LEASE_SECONDS: Final = 5.0
_NOW: Final = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# KEYS: pushes with the ends of their leases, replicas likewise, and what each replica shows.
_ADMIT: Final = f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[3])
return 1
"""
_LEAVE: Final = "return redis.call('ZREM', KEYS[1], ARGV[1])"
_EXCHANGE: Final = f"""{_NOW}
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[i]) end
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('HDEL', KEYS[3], gone)
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 2 * ARGV[3]) end
return redis.call('HGETALL', KEYS[3])
"""
_CLOSE: Final = """
for i = 2, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[3], ARGV[1])
"""


class RedisPushes:
    """The pushes of all replicas of a gateway (``gateway.replicas.SharedPushes``), in Redis or Valkey.

    A server that cannot be used fails no push: each replica then has its own limit and shows its own pushes, and a
    warning says so once.

    Args:
        url: See ``RedisResumeStore``.
        password: See ``RedisResumeStore``.
        prefix: See ``RedisResumeStore``; gateways with the same one are replicas of each other.
        lease_seconds: How long what a replica has outlives it.
        timeout: Seconds to connect, and for each response.
        pause: Seconds for which a server that failed is not asked again.

    Attributes:
        name: Of this replica; random.

    Raises:
        InvalidSetting: The URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str | None = None,
        lease_seconds: float = _LEASE_SECONDS,
        timeout: float = 2.0,
        pause: float = 10.0,
    ) -> None:
        self.name: str = uuid.uuid4().hex
        self._connection = RedisConnection(url, password=password, prefix=prefix, timeout=timeout, pause=pause)
        self._lease = round(lease_seconds * 1000)
        # One hash tag, so that a cluster keeps all of it on one node.
        self._keys = tuple(f"{self._connection.prefix}:{{gateway}}:{kind}" for kind in ("pushes", "replicas", "shown"))
        self._guard = threading.Lock()
        self._held: set[str] = set()
        self._warned: set[RedisProblem] = set()

    def __repr__(self) -> str:
        return f"RedisPushes({self._connection.shown!r})"

    def admit(self, push: int, limit: int) -> bool:
        """Count the push with that number in; return whether no more than *limit* run in all replicas."""
        member = self._member(push)
        with self._guard:
            self._held.add(member)
        if self._run(_ADMIT, member, limit, self._lease) == 0:
            with self._guard:
                self._held.discard(member)
            return False
        return True

    def leave(self, push: int) -> None:
        """Count the push out."""
        member = self._member(push)
        with self._guard:
            self._held.discard(member)
        self._run(_LEAVE, member)

    def exchange(self, shown: str) -> dict[str, str]:
        """Renew what this replica has, publish what it shows, and return what the others show, by their names."""
        with self._guard:
            held = sorted(self._held)
        found = self._run(_EXCHANGE, self.name, shown, self._lease, *held)
        # Pairs of texts, unless they were damaged on their way.
        texts = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
        by_name = dict(zip(texts[::2], texts[1::2], strict=False))
        by_name.pop(self.name, None)
        return by_name

    def close(self) -> None:
        """Take back what this replica has; the sockets are closed."""
        with self._guard:
            held, self._held = sorted(self._held), set()
        self._run(_CLOSE, self.name, *held)
        self._connection.close()

    def _member(self, push: int) -> str:
        return f"{self.name}:{push}"

    def _run(self, script: str, *arguments: str | int) -> Any:
        """Return what *script* returns; ``None`` while the server cannot be used."""
        try:
            return self._connection.run(script, self._keys, *arguments)
        except RedisUnusable as exc:
            with self._guard:
                is_new = exc.problem not in self._warned
                self._warned.add(exc.problem)
            if is_new:
                shown, why = self._connection.shown, exc.problem.value
                _LOGGER.warning("replicas are not known by %s: %s; each has its own limit of pushes", shown, why)
            return None
