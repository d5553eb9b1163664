"""Whether and when to try again, from the error and the attempt alone."""

from __future__ import annotations

import math
from typing import Any, Final

import pytest
from tests.support.refusals import refused, server_error

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    InvalidSetting,
    LineTooLong,
    MalformedLine,
    OllamaPushError,
    PushStalled,
    RejectionReason,
    ServerError,
    StreamTruncated,
    TransportMisbehaved,
    TransportTimeout,
    UnexpectedContent,
    VerificationFailed,
    VerificationProblem,
)
from ollama_push.core.retry import RetryPolicy

_AT: Final = "http://h:1"

PASSING: Final[tuple[OllamaPushError, ...]] = (
    ConnectFailed(_AT, ConnectCause.REFUSED),
    ConnectFailed(_AT, ConnectCause.UNREACHABLE),
    ConnectFailed(_AT, ConnectCause.OTHER),
    ConnectionLost(_AT),
    TransportTimeout(_AT, "connect", 1.0),
    TransportTimeout(_AT, "read", 1.0),
    PushStalled(900.0),
    StreamTruncated("pushing"),
    ServerError(408),
    ServerError(425),
    ServerError(429),
    ServerError(500),
    server_error(502, "Bad Gateway"),
    ServerError(503),
    ServerError(504),
    server_error(500, "max retries exceeded: EOF"),
    refused("max retries exceeded: EOF"),
    refused("context canceled"),
)

PERMANENT: Final[tuple[OllamaPushError, ...]] = (
    InvalidModelName("x", "bare"),
    ConnectFailed(_AT, ConnectCause.UNKNOWN_HOST),
    ConnectFailed(_AT, ConnectCause.UNTRUSTED_CERTIFICATE),
    ConnectFailed(_AT, ConnectCause.CLIENT_CERTIFICATE),
    ConnectFailed(_AT, ConnectCause.NOT_TLS),
    ConnectFailed(_AT, ConnectCause.TLS),
    ConnectFailed(_AT, ConnectCause.PROXY),
    ServerError(307),
    ServerError(400),
    server_error(401, "unauthorized"),
    ServerError(404),
    ServerError(501),
    # Without a stream every refusal is a 500: the text decides.
    server_error(500, "unauthorized: access denied"),
    refused("unauthorized: access denied"),
    refused("open /m/manifests/h/a/b/latest: no such file or directory"),
    refused("something new"),
    refused("dial tcp: connection refused"),
    MalformedLine("x", "not JSON"),
    LineTooLong(1, 2),
    UnexpectedContent(200, "text/html"),
    VerificationFailed("sha256:ab", VerificationProblem.NO_BLOB),
    TransportMisbehaved("Mine", "KeyError()"),
)


def _wait(error: OllamaPushError, attempt: int = 1, *, reached: bool = True, **policy: Any) -> float | None:
    return RetryPolicy(**policy).wait_after(error, attempt, reached=reached, random=1.0)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_tries_again_after(error: OllamaPushError) -> None:
    assert _wait(error) == 1.0


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_gives_up_at_once_after(error: OllamaPushError) -> None:
    assert _wait(error) is None


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (ConnectFailed(_AT, ConnectCause.REFUSED), None),
        (TransportTimeout(_AT, "connect", 1.0), None),
        (ConnectionLost(_AT), 1.0),
        (TransportTimeout(_AT, "read", 1.0), 1.0),
    ],
    ids=repr,
)
def test_a_server_that_was_never_reached_is_not_asked_again(error: OllamaPushError, wait: float | None) -> None:
    assert _wait(error, reached=False) == wait


def test_a_registry_lost_in_mid_upload_is_an_outage() -> None:
    error = refused("dial tcp: connection refused")
    error.bytes_moved = 1
    assert _wait(error) == 1.0


@pytest.mark.parametrize(("attempts", "attempt", "wait"), [(4, 3, 4.0), (4, 4, None), (4, 5, None), (1, 1, None)])
def test_attempts_are_counted(attempts: int, attempt: int, wait: float | None) -> None:
    assert _wait(ConnectionLost(_AT), attempt, attempts=attempts) == wait


def test_waits_double_up_to_the_cap() -> None:
    waits = [_wait(ConnectionLost(_AT), attempt, attempts=99, base=2.0, cap=30.0) for attempt in range(1, 7)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_very_late_attempt_does_not_overflow() -> None:
    assert _wait(ConnectionLost(_AT), 10_000, attempts=10_001, cap=math.inf) == 2.0**30


@pytest.mark.parametrize(("random", "wait"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_the_wait_is_drawn_from_the_upper_half(random: float, wait: float) -> None:
    policy = RetryPolicy(base=4.0)
    assert policy.wait_after(ConnectionLost(_AT), 1, reached=True, random=random) == wait


@pytest.mark.parametrize(("asked", "wait"), [(0.0, 0.0), (7.0, 7.0), (60.0, 60.0), (61.0, None)])
def test_the_servers_own_wait_is_honoured_up_to_the_cap(asked: float, wait: float | None) -> None:
    assert _wait(ServerError(503, retry_after=asked)) == wait


def test_the_servers_own_wait_does_not_make_a_no_a_perhaps() -> None:
    assert _wait(ServerError(401, retry_after=1.0)) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("attempts", 0),
        ("attempts", True),
        ("attempts", "4"),
        ("base", -0.1),
        ("base", math.nan),
        ("base", None),
        ("cap", -1),
    ],
)
def test_refuses_settings_out_of_range(setting: str, value: Any) -> None:
    with pytest.raises(InvalidSetting, match="expected a number of at least") as caught:
        RetryPolicy(**{setting: value})
    assert caught.value.setting == setting


@pytest.mark.parametrize(("setting", "value"), [("attempts", 1), ("base", 0), ("cap", 0.0), ("cap", math.inf)])
def test_takes_settings_at_the_edge(setting: str, value: Any) -> None:
    assert getattr(RetryPolicy(**{setting: value}), setting) == value


@pytest.mark.parametrize(("attempt", "wait"), [(1, 2.0), (2, 4.0), (3, 5.0), (4, None), (5, None)])
def test_a_setback_waits_as_long_as_a_failure_would(attempt: int, wait: float | None) -> None:
    policy = RetryPolicy(attempts=4, base=2.0, cap=5.0)
    assert policy.backoff(attempt, 1.0) == wait
    assert policy.wait_after(ConnectionLost(_AT), attempt, reached=True, random=1.0) == wait


def test_a_setback_that_happens_for_ever_is_not_waited_for_for_ever() -> None:
    assert RetryPolicy(attempts=1).backoff(1, 0.0) is None
    assert RetryPolicy(attempts=2, base=4.0).backoff(1, 0.0) == 2.0


def test_a_longer_retry_after_is_waited_for_where_that_is_allowed() -> None:
    busy = ServerError(429, "", retry_after=300.0, reason=RejectionReason.REGISTRY_FAILED)
    waits = [
        policy.wait_after(busy, 1, reached=True, random=1.0)
        for policy in (RetryPolicy(), RetryPolicy(retry_after_cap=300), RetryPolicy(retry_after_cap=0))
    ]
    assert waits == [None, 300.0, None]


@pytest.mark.parametrize("status", [501, 505, 507, 511, 520, 524, 530, 599])
def test_every_failure_of_a_server_may_pass_but_those_that_cannot(status: int) -> None:
    error = ServerError(status, "", reason=RejectionReason.REGISTRY_FAILED)
    wait = RetryPolicy().wait_after(error, 1, reached=True, random=1.0)
    assert (wait is not None) == (status >= 520)


def test_a_server_that_asks_for_a_wait_gets_no_attempt_more_for_it() -> None:
    policy, error = RetryPolicy(attempts=3), ServerError(503, "", retry_after=2.0)
    assert policy.wait_after(error, 2, reached=True, random=0.5) == 2.0
    assert policy.wait_after(error, 3, reached=True, random=0.5) is None


def test_a_request_that_was_put_off_is_sent_again_sooner_than_one_that_failed() -> None:
    policy = RetryPolicy(base=2.0)
    assert 0 < policy.shortest_put_off < policy.growing_wait(1, 0.0)


def test_a_setting_that_is_refused_is_shown() -> None:
    with pytest.raises(InvalidSetting) as caught:
        RetryPolicy(attempts=0)
    assert (caught.value.setting, caught.value.value) == ("attempts", 0)


def test_the_longest_wait_that_is_obeyed_is_no_negative_time() -> None:
    with pytest.raises(InvalidSetting):
        RetryPolicy(retry_after_cap=-1.0)


def test_a_status_beyond_those_of_http_is_not_tried_again() -> None:
    policy = RetryPolicy()
    assert policy.wait_after(ServerError(599, ""), 1, reached=True, random=0.5) is not None
    assert policy.wait_after(ServerError(600, ""), 1, reached=True, random=0.5) is None
