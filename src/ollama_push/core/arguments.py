"""Arguments that users pass to more than one class: checked in one place, before anything uses them."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.ports import Hook

__all__ = [
    "DEFAULT_SECONDS",
    "YEAR_SECONDS",
    "ClientSeconds",
    "DefaultSeconds",
    "checked_headers",
    "checked_hooks",
    "checked_seconds",
    "checked_stall_timeout",
    "chosen_seconds",
    "is_header_name",
]

YEAR_SECONDS: Final = 366 * 86400.0
"""The longest limit that every platform's timers take."""
# RFC 9110, 5.6.2 (token) and 5.5 (field-content, here visible ASCII, spaces and tabs).
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# They frame the message: the transport's to set.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})


class ClientSeconds(float):
    """A limit of a client: where a transport was given a shorter one, that counts."""


class DefaultSeconds(ClientSeconds):
    """A limit that nobody chose: it does not count beside one that somebody did."""


DEFAULT_SECONDS: Final = DefaultSeconds(900.0)
"""The default of ``stall_timeout`` in clients, and of ``read_timeout`` in transports."""


def chosen_seconds(*limits: float) -> float:
    """Return the shortest of the *limits* that were chosen; without any, the shortest default."""
    return min([each for each in limits if not isinstance(each, DefaultSeconds)] or limits)


def checked_seconds(setting: str, value: float | None) -> float:
    """Return *value* seconds; ``None`` and anything above a year are ``math.inf``, which is no limit.

    Raises:
        InvalidSetting: It is no number above 0.
    """
    if value is None:
        return math.inf
    # "not >" also catches NaN.
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidSetting(setting, value, "expected seconds above 0, or None for no limit")
    if isinstance(value, DefaultSeconds):
        return value
    return float(value) if value <= YEAR_SECONDS else math.inf


def checked_stall_timeout(value: float | None) -> float:
    """Return the ``stall_timeout`` of a client; see :func:`checked_seconds`."""
    seconds = checked_seconds("stall_timeout", value)
    return seconds if isinstance(seconds, ClientSeconds) else ClientSeconds(seconds)


def is_header_name(text: str) -> bool:
    """Say whether *text* can be the name of a header (RFC 9110, 5.6.2)."""
    return _HEADER_NAME.fullmatch(text) is not None


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of a user's headers.

    Raises:
        InvalidSetting: A name or value cannot be sent, or frames the message. The value is not shown.
    """
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not is_header_name(name):
            raise InvalidSetting("headers", name, "this is no header name (RFC 9110, 5.6.2)")
        if name.lower() in _FRAMING:
            raise InvalidSetting("headers", name, "this header frames the message and is set by the transport")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidSetting("headers", name, "its value holds characters that no header can (RFC 9110, 5.5)")
    return dict(headers or {})


def checked_hooks(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """Return *hooks* as they are kept.

    Raises:
        InvalidSetting: One cannot be called, or is an ``async def``, which nobody would await.
    """
    kept = tuple(hooks)
    for hook in kept:
        if not callable(hook):
            raise InvalidSetting("hooks", hook, "a hook is a callable that takes an observation")
        if any(inspect.iscoroutinefunction(each) for each in (hook, getattr(hook, "__call__", None))):  # noqa: B004
            problem = "a hook is a plain function, also in async code: of an async one nobody awaits what it returns"
            raise InvalidSetting("hooks", hook, problem)
    return kept
