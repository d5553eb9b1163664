"""Arguments that several classes take: what is a limit, what a hook is, what is refused."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from ollama_push.core.arguments import (
    DEFAULT_SECONDS,
    ClientSeconds,
    DefaultSeconds,
    checked_hooks,
    checked_seconds,
    checked_stall_timeout,
    chosen_seconds,
)
from ollama_push.core.errors import InvalidSetting


@pytest.mark.parametrize(
    ("value", "seconds"), [(1, 1.0), (0.5, 0.5), (None, math.inf), (math.inf, math.inf), (1e12, math.inf)]
)
def test_seconds_and_no_limit(value: float | None, seconds: float) -> None:
    assert checked_seconds("x", value) == seconds


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "5"])
def test_what_is_no_duration_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        checked_seconds("connect_timeout", value)
    assert caught.value.setting == "connect_timeout"
    with pytest.raises(InvalidSetting) as caught:
        checked_stall_timeout(value)
    assert caught.value.setting == "stall_timeout"


def test_hooks_are_kept_in_their_order() -> None:
    hooks = [print, repr]
    assert checked_hooks(hooks) == (print, repr)  # type: ignore[arg-type]  # any callable is one


class AsyncHook:
    async def __call__(self, seen: object) -> None: ...


async def async_hook(seen: object) -> None: ...


@pytest.mark.parametrize("hook", [async_hook, AsyncHook(), partial(async_hook)])
def test_a_hook_that_nobody_would_await_is_refused(hook: Any) -> None:
    with pytest.raises(InvalidSetting, match="a hook is a plain function"):
        checked_hooks([hook])


def test_a_hook_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="a hook is a callable that takes an observation"):
        checked_hooks([print, "no"])  # type: ignore[list-item]


def test_a_limit_that_nobody_chose_does_not_count_beside_one_that_somebody_did() -> None:
    assert chosen_seconds(DEFAULT_SECONDS, 1800.0) == 1800.0
    assert chosen_seconds(5.0, DEFAULT_SECONDS) == 5.0
    assert chosen_seconds(math.inf, DEFAULT_SECONDS) == math.inf
    assert chosen_seconds(5.0, 3.0) == 3.0
    assert chosen_seconds(DEFAULT_SECONDS, DEFAULT_SECONDS) == 900.0
    assert isinstance(checked_seconds("stall_timeout", DEFAULT_SECONDS), DefaultSeconds)
    assert not isinstance(checked_stall_timeout(900.0), DefaultSeconds)
    assert isinstance(checked_stall_timeout(None), ClientSeconds)
