"""The connection to a Redis or Valkey server: its URL, its scripts, and what its failures mean.

The only module that knows the library. A server that does not respond in time is left alone for a while, so that a
push waits for it once and not at every part.
"""

from __future__ import annotations

import enum
import os
import re
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs

from ollama_push.core.errors import InvalidSetting

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AuthenticationError,
        AuthorizationError,
        BusyLoadingError,
        ClusterDownError,
        InvalidResponse,
        MovedError,
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

_SCHEMES: Final[Mapping[str, str]] = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS: Final = frozenset({"db", "prefix", *_FILES})
"""What the query of a URL may say; options that weaken TLS are none of them."""

_DEFAULT_PREFIX: Final = "ollama-push"
_PREFIX: Final = re.compile(r"[A-Za-z0-9:._-]{1,64}")
"""No braces: they would begin another hash tag."""

_TIMEOUT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 10.0


class RedisProblem(enum.Enum):
    """Why a server cannot be used."""

    AWAY = "it cannot be reached"
    HANGS_UP = "it closes the connection; does it want TLS (rediss://)?"
    CROWDED = "it takes no more connections (maxclients)"
    NO_REDIS = "what responds there is no Redis"
    NO_TLS = "it does not respond to the TLS handshake; does it want redis:// instead of rediss://?"
    NOT_TRUSTED = "the TLS handshake with it failed; is its certificate trusted?"
    SLOW = "it does not respond in time"
    FULL = "it has no room left (maxmemory)"
    UNSAVED = "it takes no writes, because it cannot save to its disk"
    WRONG_PASSWORD = "it does not accept the user name or password"  # noqa: S105 - no password
    NOT_PERMITTED = "its user may not run the commands that are needed"
    READ_ONLY = "it is a read-only replica"
    LOADING = "it is still loading its data"
    CLUSTER = "it is a node of a cluster, and keeps a part of the keys"
    NO_DATABASE = "it has no database of that number"
    NO_SCRIPTS = "it runs no scripts; is it a sentinel?"
    OTHER_VERSION = "it holds keys of another version of ollama-push"
    DAMAGED = "its responses are damaged on their way"
    OTHER = "it refused a command"


@attrs.define(eq=False, slots=False)
class RedisUnusable(Exception):
    """The server cannot be used now.

    Attributes:
        problem: Why.
    """

    problem: RedisProblem


# The first row whose class and beginning of the text fit. Errors of Redis begin with a code; where that is "ERR", the
# library takes it off.
# Source: redis ``src/server.c`` "shared", ``src/script.c`` and ``src/cluster.c`` at 7.0, valkey the same.
_MEANINGS: Final[tuple[tuple[type[RedisError], str, RedisProblem], ...]] = (
    (AuthenticationError, "", RedisProblem.WRONG_PASSWORD),
    (AuthorizationError, "", RedisProblem.WRONG_PASSWORD),
    (BusyLoadingError, "", RedisProblem.LOADING),
    (InvalidResponse, "", RedisProblem.NO_REDIS),
    (RedisTimeoutError, "", RedisProblem.SLOW),
    (RedisConnectionError, "max number of clients", RedisProblem.CROWDED),
    # The library's own words: they are said of a connection that was made.
    (RedisConnectionError, "Connection closed by server", RedisProblem.HANGS_UP),
    (RedisConnectionError, "Error while reading from", RedisProblem.HANGS_UP),
    (RedisConnectionError, "", RedisProblem.AWAY),
    (ClusterDownError, "", RedisProblem.CLUSTER),
    (MovedError, "", RedisProblem.CLUSTER),
    # redis-py 5 raises those two in its cluster client alone.
    (ResponseError, "CLUSTERDOWN", RedisProblem.CLUSTER),
    (ResponseError, "MOVED", RedisProblem.CLUSTER),
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
    (ResponseError, "The user executing the script can't", RedisProblem.NOT_PERMITTED),
    (ResponseError, "SELECT is not allowed in cluster mode", RedisProblem.CLUSTER),
    (ResponseError, "DB index is out of range", RedisProblem.NO_DATABASE),
    (ResponseError, "unknown command", RedisProblem.NO_SCRIPTS),
)


def shown_url(url: str) -> str:
    """Return *url* without what may be a secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RedisConnection:
    """Runs scripts on one server. Safe with several threads.

    Args:
        url: ``redis://[user[:password]@]host[:port][/db]``; ``rediss://`` for TLS; ``valkey://`` and ``valkeys://``
            mean the same; ``unix://[[user]:password@]/path[?db=1]`` for a socket of this machine. The query may name
            the files ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile``, and the ``prefix`` of all keys.
        password: For a URL without one; else ``OLLAMA_PUSH_REDIS_PASSWORD`` is used, if it is set.
        prefix: Of all keys; else what the URL says, or ``ollama-push``.
        timeout: Seconds to connect, and for each response.
        pause: Seconds for which a server that failed is not asked again.

    Attributes:
        shown: The URL without secrets.
        prefix: Begins the names of all keys.

    Raises:
        InvalidSetting: The URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str | None = None,
        timeout: float = _TIMEOUT_SECONDS,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        self.shown: str = shown_url(url)
        self._pause = pause
        self._guard = threading.Lock()
        self._unusable: tuple[float, RedisProblem] | None = None
        options = _options_of(url)
        self.prefix: str = prefix or options.get("prefix", _DEFAULT_PREFIX)
        self._client: Any = _new_client(url, options, password or os.environ.get(PASSWORD_VARIABLE) or None, timeout)
        self._scripts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"RedisConnection({self.shown!r})"

    def run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Run a Lua *script*, which the server executes as one step, and return what it returns.

        Raises:
            RedisUnusable: The server failed now, or a moment ago, or its response cannot be read.
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
        except Exception as exc:  # noqa: BLE001 - redis-py (8.1) reads damaged responses without a check
            problem = _problem_of(exc)
            if problem in (RedisProblem.READ_ONLY, RedisProblem.DAMAGED):
                # The name may lead to another server by now; connections that are kept lead to this one. And the
                # library keeps a connection in the middle of a response, after an error that it does not know.
                self._client.connection_pool.disconnect(inuse_connections=False)
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


def _problem_of(exc: Exception) -> RedisProblem:
    if not isinstance(exc, RedisError):
        return RedisProblem.DAMAGED
    cause = exc.__cause__ or exc.__context__
    if isinstance(cause, ssl.SSLError):
        return RedisProblem.NOT_TRUSTED
    # CPython's words, Modules/_ssl.c; a timeout of the handshake has no class of its own.
    if isinstance(cause, TimeoutError) and "handshake" in str(cause):
        return RedisProblem.NO_TLS
    text = str(exc)
    return next(
        (meant for kind, code, meant in _MEANINGS if isinstance(exc, kind) and text.startswith(code)),
        RedisProblem.OTHER,
    )


def _options_of(url: str) -> dict[str, str]:
    """Return what the query of *url* says.

    Raises:
        InvalidSetting: The URL, or what its query says, cannot be used.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    try:
        known, _ = scheme in _SCHEMES, parts.port
    except ValueError:
        known = False
    if not known or (scheme == "unix" and (parts.hostname or len(parts.path) <= 1)):
        raise _refusal(url, _expected(scheme))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise _refusal(url, f"its query may not say {unknown[0]!r}")
    if "prefix" in options and not _PREFIX.fullmatch(options["prefix"]):
        raise _refusal(url, "its prefix may hold letters, digits, and : . _ -, 64 of them at most")
    for name in _FILES:
        if name in options:
            try:
                Path(options[name]).open("rb").close()
            except (OSError, ValueError) as exc:
                words = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is no path"
                raise _refusal(url, f"{name}={options[name]}: {words.lower()}") from None
    return options


def _expected(scheme: str) -> str:
    if "sentinel" in scheme or "cluster" in scheme:
        return "sentinels and clusters are not asked: name the primary, or a proxy that finds it, as redis://host"
    return "expected redis://host[:port][/db], rediss:// for TLS, or unix:///path"


def _refusal(url: str, problem: str) -> InvalidSetting:
    return InvalidSetting("resume", shown_url(url), problem)


def _new_client(url: str, options: Mapping[str, str], password: str | None, timeout: float) -> Any:
    parts = urlsplit(url)
    query = urlencode({name: value for name, value in options.items() if name != "prefix"})
    try:
        return redis.Redis.from_url(
            # Not geturl(): the library wants the slashes that it leaves out of "unix:/path".
            f"{_SCHEMES[parts.scheme.lower()]}://{parts.netloc}{parts.path}?{query}",
            password=password,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # One more try: an idle connection may have been closed by the server.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
        )
    except (ValueError, TypeError):
        raise _refusal(url, "it cannot be used as a URL of Redis") from None
