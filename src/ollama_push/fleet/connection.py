"""The connection to a Redis or Valkey server: its URL, its scripts, and what its failures mean.

The only module that knows the library. A server that does not respond in time is left alone for a while, so that a
push waits for it once and not at every part.
"""

from __future__ import annotations

import enum
import os
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import attrs

from ollama_push.core.errors import InvalidSetting

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AuthenticationError,
        AuthorizationError,
        BusyLoadingError,
        NoPermissionError,
        OutOfMemoryError,
        ReadOnlyError,
        RedisError,
        ResponseError,
    )
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError
    from redis.retry import Retry
except ImportError as _exc:
    raise ImportError("Redis needs: pip install 'ollama-push[redis]'") from _exc

__all__ = ["PASSWORD_VARIABLE", "RedisConnection", "RedisProblem", "RedisUnusable", "shown_url"]

PASSWORD_VARIABLE: Final = "OLLAMA_PUSH_REDIS_PASSWORD"  # noqa: S105 - the name of a variable
"""Holds the password when the URL has none."""

_SCHEMES: Final[Mapping[str, str]] = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_OPTIONS: Final = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""What the query of a URL may say; options that weaken TLS are none of them."""

_TIMEOUT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 10.0


class RedisProblem(enum.Enum):
    """Why a server cannot be used."""

    AWAY = "it cannot be reached"
    NOT_TRUSTED = "the TLS handshake with it failed; is its certificate trusted?"
    SLOW = "it does not respond in time"
    FULL = "it has no room left (maxmemory)"
    UNSAVED = "it takes no writes, because it cannot save to its disk"
    WRONG_PASSWORD = "it does not accept the user name or password"  # noqa: S105 - no password
    NOT_PERMITTED = "its user may not run the commands that are needed"
    READ_ONLY = "it is a read-only replica"
    LOADING = "it is still loading its data"
    OTHER_VERSION = "it holds keys of another version of ollama-push"
    OTHER = "it refused a command"


@attrs.define(eq=False, slots=False)
class RedisUnusable(Exception):
    """The server cannot be used now.

    Attributes:
        problem: Why.
    """

    problem: RedisProblem


# The first row whose class and beginning of the text fit; errors of Redis begin with a code.
# Source: redis ``src/server.c`` "shared" and ``src/script.c`` at 7.0, valkey the same.
_MEANINGS: Final[tuple[tuple[type[RedisError], str, RedisProblem], ...]] = (
    (AuthenticationError, "", RedisProblem.WRONG_PASSWORD),
    (AuthorizationError, "", RedisProblem.WRONG_PASSWORD),
    (BusyLoadingError, "", RedisProblem.LOADING),
    (RedisTimeoutError, "", RedisProblem.SLOW),
    (RedisConnectionError, "", RedisProblem.AWAY),
    (OutOfMemoryError, "", RedisProblem.FULL),
    (ReadOnlyError, "", RedisProblem.READ_ONLY),
    (NoPermissionError, "", RedisProblem.NOT_PERMITTED),
    (ResponseError, "NOAUTH", RedisProblem.WRONG_PASSWORD),
    (ResponseError, "WRONGPASS", RedisProblem.WRONG_PASSWORD),
    (ResponseError, "WRONGTYPE", RedisProblem.OTHER_VERSION),
    (ResponseError, "MISCONF", RedisProblem.UNSAVED),
    (ResponseError, "OOM", RedisProblem.FULL),
    (ResponseError, "BUSY", RedisProblem.SLOW),
    (ResponseError, "MASTERDOWN", RedisProblem.AWAY),
)


def shown_url(url: str) -> str:
    """Return *url* without what may be a secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RedisConnection:
    """Runs scripts on one server. Safe with several threads.

    Args:
        url: ``redis://[user[:password]@]host[:port][/db]``; ``rediss://`` for TLS; ``valkey://`` and ``valkeys://``
            mean the same. The query may name ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``.
        password: For a URL without one; else ``OLLAMA_PUSH_REDIS_PASSWORD`` is used, if it is set.
        timeout: Seconds to connect, and for each response.
        pause: Seconds for which a server that failed is not asked again.

    Attributes:
        shown: The URL without secrets.

    Raises:
        InvalidSetting: The URL cannot be used.
    """

    def __init__(
        self, url: str, *, password: str | None = None, timeout: float = _TIMEOUT_SECONDS, pause: float = _PAUSE_SECONDS
    ) -> None:
        self.shown: str = shown_url(url)
        self._pause = pause
        self._guard = threading.Lock()
        self._unusable: tuple[float, RedisProblem] | None = None
        self._client: Any = _new_client(url, password or os.environ.get(PASSWORD_VARIABLE) or None, timeout)
        self._scripts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"RedisConnection({self.shown!r})"

    def run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a Lua *script*, which the server executes as one step, and return what it returns.

        Raises:
            RedisUnusable: The server failed now, or a moment ago.
        """
        with self._guard:
            if self._unusable is not None:
                until, problem = self._unusable
                if time.monotonic() < until:
                    raise RedisUnusable(problem)
            if script not in self._scripts:
                self._scripts[script] = self._client.register_script(script)
            registered = self._scripts[script]
        try:
            result = registered(keys=list(keys), args=list(arguments))
        except RedisError as exc:
            problem = _problem_of(exc)
            with self._guard:
                if problem is not RedisProblem.OTHER_VERSION:
                    self._unusable = time.monotonic() + self._pause, problem
            # Not chained: the library's text may quote the URL, and with it the password.
            raise RedisUnusable(problem) from None
        with self._guard:
            self._unusable = None
        return result

    def close(self) -> None:
        """Close the sockets; the next script opens them again."""
        self._client.close()
        self._client.connection_pool.disconnect()


def _problem_of(exc: RedisError) -> RedisProblem:
    if isinstance(exc.__cause__ or exc.__context__, ssl.SSLError):
        return RedisProblem.NOT_TRUSTED
    text = str(exc)
    return next(
        (meant for kind, code, meant in _MEANINGS if isinstance(exc, kind) and text.startswith(code)),
        RedisProblem.OTHER,
    )


def _new_client(url: str, password: str | None, timeout: float) -> Any:
    parts = urlsplit(url)
    try:
        scheme = _SCHEMES[parts.scheme.lower()]
        _ = parts.port
    except (KeyError, ValueError):
        problem = "expected redis://host[:port][/db], or rediss:// for TLS"
        raise InvalidSetting("resume", shown_url(url), problem) from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise InvalidSetting("resume", shown_url(url), f"its query may not say {unknown[0]!r}")
    try:
        return redis.Redis.from_url(
            parts._replace(scheme=scheme).geturl(),
            password=password,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # One more try: an idle connection may have been closed by the server.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
        )
    except (ValueError, TypeError):
        raise InvalidSetting("resume", shown_url(url), "it cannot be used as a URL of Redis") from None
