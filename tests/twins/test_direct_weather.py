"""What passes, on every step of a direct push: survived when it happens once, and the exact end when it stays."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Final

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.direct_push import (
    BIG,
    BIG_DIGEST,
    SMALL,
    SMALL_DIGEST,
    TOTAL,
    Colour,
    Direct,
    either_colour,
    push,
    push_awaited,
    steps,
    stored,
)
from tests.support.stores import CONFIG

from ollama_push.core.errors import ConnectionLost, ServerError
from ollama_push.core.observations import PushFinished, PushOutcome, RequestRetried
from ollama_push.core.retry import RetryPolicy
from ollama_push.testing.registry import (
    Action,
    BrokenPartPolicy,
    EmbeddedRegistry,
    Fault,
    Hangup,
    Reply,
    Reset,
    TokenAuth,
)

BUSY: Final = Reply(503, {"Retry-After": "0"})
SLOW_DOWN: Final = Reply(429, {"Retry-After": "0"}, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}')


@attrs.frozen
class Step:
    """A step of a push: the faulty request, what it is called, and the words its error begins with."""

    method: str
    path: str
    called: str
    doing: str
    nth: int = 1


STEPS: Final = (
    Step("GET", "/token", "GET token", "asking "),
    Step("HEAD", "/manifests/", "HEAD manifest", "looking for the manifest"),
    Step("HEAD", "/blobs/", "HEAD blob", "looking for sha256:"),
    Step("POST", "/blobs/uploads/", "POST open", "opening an upload"),
    Step("PATCH", "/blobs/uploads/", "PATCH session", f"sending a part of {BIG_DIGEST}"),
    Step("PUT", BIG_DIGEST, "PUT commit", f"committing the blob {BIG_DIGEST}"),
    Step("PUT", SMALL_DIGEST, "PUT commit", f"sending the blob {SMALL_DIGEST}"),
    Step("PUT", "/manifests/", "PUT manifest", "pushing the manifest"),
    Step("GET", "/manifests/", "GET manifest", "reading the manifest"),
    Step("GET", "/blobs/sha256:", "GET blob", "looking for sha256:"),
)
each_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.called} {step.path[:15]} {step.nth}")


def auth() -> TokenAuth:
    return TokenAuth({"ann": "s3cret-of-ann"}, {"ann": {"myuser/my-llama": ["pull", "push"]}}, same_origin=True)


def test_the_quiet_push_that_the_others_are_measured_by(tmp_path: Path) -> None:
    """The order of questions; both colours keep it in every test below."""
    stories = []
    for colour in (push, push_awaited):
        home = tmp_path / colour.__name__
        raw = stored(home)
        with EmbeddedRegistry(home / "registry", auth=auth()) as registry:
            told = colour(Direct(host=registry.host, home=home))
            assert registry.manifest("myuser/my-llama", "v1") == raw
            assert told.receipt is not None
            assert told.receipt.sent_bytes == told.receipt.total_bytes == TOTAL
            stories.append(steps(registry))
    assert stories[0] == stories[1]
    assert stories[0] == [
        *["HEAD manifest", "GET token", "HEAD manifest"],
        *["HEAD blob"] * 3,
        *["POST open", "PATCH session", "PATCH session", "PATCH session", "PUT commit"],
        *["POST open", "PUT commit"] * 2,
        *["PUT manifest", "GET manifest"],
        *["GET blob"] * 3,
    ]


@pytest.mark.slow
@either_colour
@each_step
@pytest.mark.parametrize("action", [BUSY, SLOW_DOWN, Reset(), Hangup()], ids=["503", "429", "reset", "hangup"])
def test_what_happens_once_is_survived(action: Action, step: Step, colour: Colour, tmp_path: Path) -> None:
    raw = stored(tmp_path)
    fault = Fault(step.method, step.path, step.nth, action=action)
    with EmbeddedRegistry(tmp_path / "registry", auth=auth(), faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        assert told.error is None
        assert registry.manifest("myuser/my-llama", "v1") == raw
        assert (registry.blob(BIG_DIGEST), registry.blob(SMALL_DIGEST)) == (BIG, SMALL)
        assert registry.sessions() == []
    assert told.receipt is not None
    assert (told.receipt.total_bytes, told.receipt.verified) == (TOTAL, True)
    (retried,) = [seen for seen in told.seen if isinstance(seen, RequestRetried)]
    assert retried.retry_in == 0
    if isinstance(action, Reply):
        assert isinstance(retried.error, ServerError)
        assert (retried.error.status, retried.error.retry_after) == (action.status, 0)
    else:
        assert isinstance(retried.error, ConnectionLost)


@pytest.mark.slow
@either_colour
@each_step
@pytest.mark.parametrize("action", [BUSY, SLOW_DOWN, Reset()], ids=["503", "429", "reset"])
def test_what_stays_ends_the_push(action: Action, step: Step, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    fault = Fault(step.method, step.path, step.nth, times=None, action=action)
    with EmbeddedRegistry(tmp_path / "registry", auth=auth(), faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, retry=RetryPolicy(attempts=3, base=0)))
        asked = sum(seen.method == step.method and step.path in seen.path for seen in registry.requests)
    assert told.error is not None
    # What is put off has more patience: it was not begun.
    attempts = 7 if action is SLOW_DOWN else 3
    assert told.error.attempts == attempts
    # Once more on a new connection, at once, where the one that was kept has ended without a word: of the token each
    # time, as the question before it is answered on one that is kept.
    unread = {"HEAD manifest": 0, "GET token": 3}.get(step.called, 1) if isinstance(action, Reset) else 0
    assert asked - (step.nth - 1) == attempts + unread
    if isinstance(action, Reply):
        assert isinstance(told.error, ServerError)
        assert told.error.status == action.status
        assert told.error.message.startswith(step.doing)
        assert f"HTTP {action.status}" in str(told.error)
    else:
        assert isinstance(told.error, ConnectionLost)
        assert told.error.address == f"http://{registry.host}"
    assert told.error.last_event == told.events[-1]
    assert isinstance(told.seen[-1], PushFinished)
    assert (told.seen[-1].outcome, told.seen[-1].error) == (PushOutcome.FAILED, told.error)


@either_colour
def test_a_wait_longer_than_the_policy_allows_is_not_waited_for(colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    fault = Fault("POST", action=Reply(503, {"Retry-After": "86400"}))
    with EmbeddedRegistry(tmp_path / "registry", faults=[fault]) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path))
        counted = Counter(steps(registry))
        assert registry.received_bytes == 0
    assert isinstance(told.error, ServerError)
    assert (told.error.status, told.error.retry_after, told.error.attempts) == (503, 86400.0, 1)
    assert counted["POST open"] == 1


@pytest.mark.slow
@either_colour
@pytest.mark.parametrize(
    "action", [Reset(), Hangup(), Reply(502), Reply(504)], ids=lambda action: type(action).__name__
)
def test_a_front_that_breaks_every_long_request_gets_shorter_ones(
    action: Action, colour: Colour, tmp_path: Path
) -> None:
    """Whichever method carries the part: here the first one is also the last, and ends the upload."""
    blob, limit = random.Random(7).randbytes(12 * MIB), 6 * MIB
    stored(tmp_path, blob)
    faults = [Fault(method, times=None, after_bytes=limit, action=action) for method in ("PATCH", "PUT")]
    with EmbeddedRegistry(
        tmp_path / "registry", faults=faults, broken_parts=BrokenPartPolicy.KILLS_SESSION
    ) as registry:
        told = colour(Direct(host=registry.host, home=tmp_path, part_bytes=None))
        assert told.error is None
        assert registry.blob(digest_of(blob)) == blob
        # Breaks once as a whole and once behind a part that was taken, and then no more.
        assert registry.received_bytes <= len(blob) + limit + 5 * MIB + limit + len(CONFIG)
