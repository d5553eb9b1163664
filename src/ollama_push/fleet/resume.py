"""Keeps resume points in Redis or Valkey, so that another machine resumes an upload.

Each upload has two keys: a hash with the resume point, and a lease, which says who uploads now and ends by itself.
A holder renews its leases while it lives. Each claim has a number of its own, the fence, which grows: a holder that was
stopped for longer than its lease finds another number there, and may neither save nor send.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs

from ollama_push.core.arguments import YEAR_SECONDS
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.resume import (
    FinishedElsewhere,
    InUseElsewhere,
    ResumePoint,
    UploadKey,
    decode_parts,
    encode_parts,
)
from ollama_push.fleet.breakers import RedisBreakerStore
from ollama_push.fleet.connection import RedisConnection, RedisProblem, RedisUnusable

__all__ = ["RedisResumeStore"]

_LOGGER: Final = logging.getLogger("ollama_push.resume")
_VERSION: Final = "1"
_LEASE_SECONDS: Final = 15.0
_WEEK_SECONDS: Final = 7 * 24 * 3600.0
_DAY_SECONDS: Final = 24 * 3600.0
_RENEWALS: Final = 3
"""In one lease: two of them may fail."""
_SAFE_SHARE: Final = 0.8
"""Of a lease, after which its holder no longer sends: what is on its way arrives before the lease ends."""
_LEAST_SECONDS: Final = 0.01
_POLL_SECONDS: Final = 1.0

# KEYS: the lease, the hash. Both have the same hash tag, so that a cluster keeps them on one node.
# A claimant that asks has no claim: a lease of its own is from a claim or a release whose response was lost.
_CLAIM: Final = """
local version = redis.call('HGET', KEYS[2], 'version')
if version and version ~= ARGV[1] then return {'version'} end
local left = redis.call('PTTL', KEYS[1])
local is_own = left > 0 and string.sub(redis.call('GET', KEYS[1]), 1, #ARGV[2] + 1) == ARGV[2] .. ':'
if left > 0 and not is_own then return {'busy', left} end
local fence = redis.call('HINCRBY', KEYS[2], 'fence', 1)
local found = redis.call('HMGET', KEYS[2], 'location', 'offset', 'parts', 'last')
redis.call('HSET', KEYS[2], 'version', ARGV[1], 'last', ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[2] .. ':' .. fence, 'PX', ARGV[3])
return {'claimed', fence, found[1] or '', found[2] or '', found[3] or '', found[4] or ''}
"""
# A lease that has ended and that nobody else has had since, or that the server has lost, is taken again.
_KEEP: Final = """
local had = redis.call('HMGET', KEYS[2], 'fence', 'last')
local holder = redis.call('GET', KEYS[1])
if holder then
  if holder ~= ARGV[2] .. ':' .. ARGV[3] then return 0 end
elseif had[1] and (had[1] ~= ARGV[3] or had[2] ~= ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2] .. ':' .. ARGV[3], 'PX', ARGV[4])
redis.call('HSET', KEYS[2], 'version', ARGV[1], 'fence', ARGV[3], 'last', ARGV[2])
if ARGV[6] == '' then
  redis.call('HDEL', KEYS[2], 'location', 'offset', 'parts')
else
  redis.call('HSET', KEYS[2], 'location', ARGV[6], 'offset', ARGV[7], 'parts', ARGV[8])
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
_PROBE: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)
return redis.call('DEL', KEYS[1])
"""


@attrs.define(eq=False)
class _Claim:
    """A key that this instance has claimed.

    Attributes:
        key: Which upload.
        fence: Number of the claim; ``None`` when the server gave none: its session is this instance's secret.
        point: What is kept, so that a server that has lost it gets it again.
        sends_until: On the store's clock; after that, this machine was stopped.
        lost: Whether another machine has the upload now, or may have it.
    """

    key: UploadKey
    fence: int | None = None
    point: ResumePoint | None = None
    sends_until: float = 0.0
    lost: bool = False
    turn: threading.Lock = attrs.field(factory=threading.Lock)
    """One question about the claim at a time: a renewal behind the release would take the lease again."""


@attrs.define(eq=False)
class _Claimant:
    """What one process has: a forked child may use neither the claims nor the locks of its parent.

    Attributes:
        connection: To the server.
        name: Of the process, in leases.
        claims: What it has claimed.
        changed: Held by the thread that uses them.
        renewer: Renews their leases, while there are any.
    """

    connection: RedisConnection
    name: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    claims: dict[UploadKey, _Claim] = attrs.field(factory=dict)
    changed: threading.Condition = attrs.field(factory=threading.Condition)
    renewer: threading.Thread | None = None


def boot_clock() -> float:
    """Return seconds that also pass while the machine sleeps, where the system counts them."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class RedisResumeStore:
    """Keeps resume points (``core.registry.resume.LeasedResumeStore``) in Redis or Valkey, for many machines.

    One machine at a time uploads a blob to a repository; the others wait, and find it stored, or resume it when the
    lease of its holder has ended. Safe with several threads and processes; an instance is one claimant. A server that
    cannot be used fails no push: nothing is kept then, nobody waits, and a warning says so once. Whoever may read the
    server's keys may write to unfinished uploads: it needs a password, and TLS outside of one machine.

    Args:
        url: ``redis://[user[:password]@]host[:port][/db]``; ``rediss://`` for TLS. ``valkey://`` and ``valkeys://``
            mean the same; ``unix://[[user]:password@]/path[?db=1]`` for a socket of this machine. The query may name
            the files ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``, and the ``prefix``.
        password: For a URL without one; else ``OLLAMA_PUSH_REDIS_PASSWORD`` is used, if it is set.
        prefix: Begins the names of all keys, which teams with prefixes of their own do not share; ``ollama-push`` if
            neither this nor the URL says another one.
        lease_seconds: How long a claim outlives a holder that died; one that lives renews it.
        max_age_seconds: The longest time since the last ``save`` after which a resume point is used.
        timeout: Seconds to connect, and for each response.
        pause: Seconds for which a server that failed is not asked again.
        clock: Seconds that also pass while this process is stopped.

    Raises:
        ImportError: The extra ``redis`` is not installed.
        InvalidSetting: The URL, or a number of seconds, cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str | None = None,
        lease_seconds: float = _LEASE_SECONDS,
        max_age_seconds: float = _WEEK_SECONDS,
        timeout: float = 2.0,
        pause: float = 10.0,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._lease = _milliseconds("lease_seconds", lease_seconds)
        self._kept = _milliseconds("max_age_seconds", max_age_seconds)
        self._connect = partial(RedisConnection, url, password=password, prefix=prefix, timeout=timeout, pause=pause)
        self._rebuild = partial(
            RedisResumeStore,
            url,
            password=password,
            prefix=prefix,
            lease_seconds=lease_seconds,
            max_age_seconds=max_age_seconds,
            timeout=timeout,
            pause=pause,
            clock=clock,
        )
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._by_process = {os.getpid(): _Claimant(self._connect())}
        self._warned: set[RedisProblem] = set()

    def __repr__(self) -> str:
        return f"RedisResumeStore({self.place!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process: with sockets, claims and a name of its own.
        return self._rebuild, ()

    def _own(self) -> _Claimant:
        """Return what this process has. A forked child leaves what its parent has alone, and has nothing at first."""
        own = self._by_process.get(os.getpid())
        # setdefault: two threads may get here at once.
        return self._by_process.setdefault(os.getpid(), _Claimant(self._connect())) if own is None else own

    @property
    def _connection(self) -> RedisConnection:
        return self._own().connection

    @property
    def _instance(self) -> str:
        return self._own().name

    @property
    def _claims(self) -> dict[UploadKey, _Claim]:
        return self._own().claims

    @property
    def _changed(self) -> threading.Condition:
        return self._own().changed

    @property
    def place(self) -> str:
        """Where resume points are kept, for people: the URL without secrets."""
        return self._connection.shown

    @property
    def breakers(self) -> RedisBreakerStore:
        """Where machines tell each other which registries are ill (``core.registry.breaker.KeepsBreakers``)."""
        return RedisBreakerStore(self._run_or_warn, self._warn, self._connection.prefix)

    def problem(self) -> str | None:
        """Return why nothing can be kept, after a try; ``None`` if the server can be used."""
        try:
            self._connection.run(_PROBE, [f"{self._connection.prefix}:probe:{self._instance}"], _VERSION)
        except RedisUnusable as exc:
            # The caller is told: it need not be logged, too.
            with self._changed:
                self._warned.add(exc.problem)
            return exc.problem.value
        return None

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | FinishedElsewhere | None:
        claim = _Claim(key)
        with self._changed:
            if key in self._claims:
                return InUseElsewhere(_POLL_SECONDS)
            self._claims[key] = claim
        try:
            found = self._try_claim(claim)
        except RedisUnusable as exc:
            self._warn(exc.problem)
            return None
        if isinstance(found, InUseElsewhere):
            with self._changed:
                del self._claims[key]
        return found

    def holds(self, key: UploadKey, /) -> bool:
        claim = self._claims.get(key)
        if claim is None:
            return False
        return claim.fence is None or (not claim.lost and self._clock() < claim.sends_until)

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        self._keep(key, upload)

    def forget(self, key: UploadKey, /) -> None:
        self._keep(key, None)

    def release(self, key: UploadKey, /) -> None:
        with self._changed:
            claim = self._claims.pop(key, None)
            self._changed.notify_all()
        if claim is None or claim.fence is None:
            return
        with claim.turn:
            claim.lost = True
            try:
                self._connection.run(_RELEASE, self._keys(key), f"{self._instance}:{claim.fence}")
            except RedisUnusable as exc:  # the lease ends by itself
                self._warn(exc.problem)

    def close(self) -> None:
        """Close the sockets. Claims that were not released end with their leases."""
        with self._changed:
            for claim in self._claims.values():
                claim.lost = True
            self._claims.clear()
            self._changed.notify_all()
        self._connection.close()

    def _try_claim(self, claim: _Claim) -> ResumePoint | InUseElsewhere | FinishedElsewhere | None:
        began = self._clock()
        found = self._connection.run(_CLAIM, self._keys(claim.key), _VERSION, self._instance, self._lease, self._kept)
        answer, facts = (found[0], found[1:]) if isinstance(found, list) and found else (None, [])
        match answer, facts:
            case "version", []:
                raise RedisUnusable(RedisProblem.OTHER_VERSION)
            case "busy", [int(left)]:
                return InUseElsewhere(min(_POLL_SECONDS, left / 1000))
            case "claimed", [int(fence), str(location), str(offset), str(parts), str(last)]:
                claim.point = _point_of(location, offset, parts)
            case _:
                raise RedisUnusable(RedisProblem.DAMAGED)
        with self._changed:
            claim.sends_until = began + self._lease_seconds * _SAFE_SHARE
            claim.fence = fence
            self._start_renewing()
        if claim.point is not None:
            return claim.point
        return FinishedElsewhere() if last and last != self._instance else None

    def _keep(self, key: UploadKey, point: ResumePoint | None) -> None:
        claim = self._claims.get(key)
        if claim is not None and claim.fence is not None:
            with claim.turn:
                claim.point = point
                self._renew(claim, claim.fence)

    def _renew(self, claim: _Claim, fence: int) -> None:
        """Keep the lease and the point of *claim*, or find out that another machine has them. Needs its turn."""
        if claim.lost:
            return
        began = self._clock()
        point = claim.point or ResumePoint("")
        facts = (point.location, point.offset, encode_parts(point.parts))
        kept = self._kept if claim.point else round(_DAY_SECONDS * 1000)
        try:
            found = self._connection.run(
                _KEEP, self._keys(claim.key), _VERSION, self._instance, fence, self._lease, kept, *facts
            )
            held = found == 1
        except RedisUnusable as exc:
            self._warn(exc.problem)
            # While this machine runs, a server that is away changes nothing. After a stop nobody knows.
            held = began < claim.sends_until
        if not held:
            claim.lost = True
        claim.sends_until = began + self._lease_seconds * _SAFE_SHARE

    def _start_renewing(self) -> None:
        own = self._own()
        if own.renewer is None:
            own.renewer = threading.Thread(target=self._renew_all, name="ollama-push-leases", daemon=True)
            own.renewer.start()

    def _renew_all(self) -> None:
        """Renew what is claimed, until nothing is."""
        due = self._clock() + self._lease_seconds / _RENEWALS
        while True:
            with self._changed:
                held = [(claim, claim.fence) for claim in self._claims.values() if claim.fence is not None]
                if not held:
                    self._own().renewer = None
                    return
                if (left := due - self._clock()) > 0:
                    self._changed.wait(left)
                    continue
            due = self._clock() + self._lease_seconds / _RENEWALS
            for claim, fence in held:
                with claim.turn:
                    self._renew(claim, fence)

    def _run_or_warn(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Return what *script* returns; ``None`` while the server cannot be used."""
        try:
            return self._connection.run(script, keys, *arguments)
        except RedisUnusable as exc:
            self._warn(exc.problem)
            return None

    def _warn(self, problem: RedisProblem) -> None:
        """Log once that nothing is kept."""
        with self._changed:
            if problem in self._warned:
                return
            self._warned.add(problem)
        _LOGGER.warning("unfinished uploads are not kept in %s: %s; the push goes on", self.place, problem.value)

    def _keys(self, key: UploadKey) -> tuple[str, str]:
        name = f"{self._connection.prefix}:{{{key.id}}}"
        return f"{name}:lease", f"{name}:upload"


def _point_of(location: str, offset: str, parts: str) -> ResumePoint | None:
    """Return what was kept; ``None`` when nothing was, or what can be none: it is a hint, and may have been damaged."""
    try:
        point = ResumePoint(location, int(offset), decode_parts(parts)) if location else None
    except ValueError:
        return None
    return point if point is None or point.offset >= 0 else None


def _milliseconds(setting: str, seconds: float) -> int:
    # "not <" also catches NaN.
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not _LEAST_SECONDS <= seconds <= YEAR_SECONDS
    ):
        raise InvalidSetting(setting, seconds, f"expected seconds, from {_LEAST_SECONDS:g} to a year")
    return round(seconds * 1000)
