"""Progress as a callback and as bars: sync and async, several pushes at once, nothing shown that is not so."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable
from typing import Any, Final

import pytest
from rich.console import Console
from tests.support.observation_sequences import SUCCESS, rolled_back, stalled_then_done, uploaded
from tests.support.push_run import Driven, tick
from tests.support.server_push import MODEL, Push, Told, push, push_awaited

from ollama_push import AsyncPushClient, PushClient
from ollama_push.contrib.progress import ProgressCallback, RichProgress, TqdmProgress
from ollama_push.core.errors import ConnectionLost
from ollama_push.core.events import LayerProgress, PushSucceeded
from ollama_push.core.observations import EventSeen, PushContext
from ollama_push.core.ports import Hook
from ollama_push.core.progress import ProgressSnapshot
from ollama_push.testing.memory import AsyncScriptedTransport, ScriptedAnswer, ScriptedTransport

_HOST: Final = "http://server"
_NEVER: Final = 1e9  # seconds between two looks: only what is never skipped is left
_LAYERS: Final = ScriptedAnswer(
    (
        b'{"status":"retrieving manifest"}\n',
        *(tick(done, 100, "sha256:a") for done in range(1, 101)),
        *(tick(done, 50, "sha256:b") for done in range(2, 51)),
        SUCCESS,
    )
)


def _push(answer: ScriptedAnswer, *hooks: Hook) -> Told:
    return push(Push(_HOST, hooks=hooks), ScriptedTransport(answer))


def _push_awaited(answer: ScriptedAnswer, *hooks: Hook) -> Told:
    return push_awaited(Push(_HOST, hooks=hooks), lambda: AsyncScriptedTransport(answer))


def _two_at_once(hook: Hook) -> None:
    client = PushClient(_HOST, transport=ScriptedTransport(_LAYERS), hooks=[hook])
    with client.stream("myuser/one") as one, client.stream("myuser/two") as two:
        for _ in zip(one, two, strict=True):
            pass


def _two_awaited_at_once(hook: Hook) -> None:
    async def main() -> None:
        client = AsyncPushClient(_HOST, transport=AsyncScriptedTransport(_LAYERS), hooks=[hook])
        await asyncio.gather(client.push("myuser/one"), client.push("myuser/two"))

    asyncio.run(main())


both_colours = pytest.mark.parametrize("run", [_push, _push_awaited], ids=["sync", "async"])
two_at_once = pytest.mark.parametrize("run", [_two_at_once, _two_awaited_at_once], ids=["sync", "async"])


class Screen:
    """A terminal that keeps everything that was drawn on it."""

    def __init__(self, width: int = 120, *, terminal: bool = True) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, width=width, force_terminal=terminal, color_system=None, legacy_windows=False, _environ={}
        )

    @property
    def text(self) -> str:
        """All that was drawn, the last picture last."""
        return self.file.getvalue()


def _rich(screen: Screen, min_interval: float = 0.0, **options: Any) -> RichProgress:
    return RichProgress(screen.console, min_interval, clock=lambda: 0.0, **options)


def _tqdm(screen: Screen, **options: Any) -> TqdmProgress:
    return TqdmProgress(0.0, file=screen.file, ncols=120, ascii=True, **options)


@both_colours
def test_the_first_and_the_last_word_of_a_layer_are_never_skipped(run: Callable[..., Told]) -> None:
    seen: list[ProgressSnapshot] = []
    run(_LAYERS, ProgressCallback(seen.append, _NEVER))
    assert [(now.status, *((layer.digest, layer.completed_bytes) for layer in now.layers)) for now in seen] == [
        ("retrieving manifest",),
        ("p", ("sha256:a", 1)),
        ("p", ("sha256:a", 100)),
        ("p", ("sha256:a", 100), ("sha256:b", 2)),
        ("p", ("sha256:a", 100), ("sha256:b", 50)),
        ("success", ("sha256:a", 100), ("sha256:b", 50)),
    ]


@both_colours
def test_without_an_interval_every_tick_is_told(run: Callable[..., Told]) -> None:
    seen: list[ProgressSnapshot] = []
    told = run(_LAYERS, ProgressCallback(seen.append, 0.0))
    assert len(seen) == len(told.events) == 151


@both_colours
def test_a_callback_prints_nothing(run: Callable[..., Told], capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[ProgressSnapshot] = []
    run(_LAYERS, ProgressCallback(seen.append, 0.0))
    assert seen[-1].succeeded
    assert capfd.readouterr() == ("", "")


@two_at_once
def test_snapshots_tell_two_pushes_apart(run: Callable[[Hook], None]) -> None:
    seen: list[ProgressSnapshot] = []
    run(ProgressCallback(seen.append, 0.0, expected_bytes={"myuser/one:latest": 150}))
    for model in ("myuser/one:latest", "myuser/two:latest"):
        completed = [now.completed_bytes for now in seen if now.model == model]
        assert completed == sorted(completed)
        assert len(completed) == 151
        assert completed[-1] == 150
    assert seen[0].model != seen[1].model or seen[1].model != seen[-1].model
    assert {now.model for now in seen if not now.succeeded and now.total_bytes is not None} == {"myuser/one:latest"}


def test_the_fraction_never_falls_over_rollbacks_and_retries() -> None:
    seen: list[ProgressSnapshot] = []
    run = Driven(hooks=[ProgressCallback(seen.append, 0.0, expected_bytes=200)])
    run.begin()
    run.feed(tick(60) + tick(20) + tick(90))
    run.run.attempt_failed(ConnectionLost("http://h:1"))
    run.begin()
    run.feed(tick(10) + tick(100) + tick(0, 100, "sha256:b") + tick(100, 100, "sha256:b") + SUCCESS)
    fractions = [now.fraction for now in seen]
    assert fractions[:4] == [0.3, 0.3, 0.45, 0.45]
    assert fractions == sorted(fraction for fraction in fractions if fraction is not None)
    assert fractions[-1] == 1.0
    assert all(fraction is not None and fraction < 1.0 for fraction in fractions[:-1])


def test_an_attempt_that_begins_again_is_shown_at_once() -> None:
    seen: list[ProgressSnapshot] = []
    stalled_then_done(ProgressCallback(seen.append, _NEVER))
    assert [[layer.completed_bytes for layer in now.layers] for now in seen] == [[10], [10], [0], [100], [100]]


def test_a_callback_that_raises_is_logged_once_and_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[ProgressSnapshot] = []

    def broken(now: ProgressSnapshot) -> None:
        calls.append(now)
        raise LookupError("mine")

    with caplog.at_level(logging.ERROR, "ollama_push.hooks"):
        told = _push(_LAYERS, ProgressCallback(broken, 0.0))
    assert told.error is None
    assert len(calls) == len(caplog.records) == 1


@both_colours
def test_rich_leaves_the_last_picture_standing(run: Callable[..., Told]) -> None:
    screen = Screen(terminal=False)
    run(_LAYERS, _rich(screen))
    overall, first, second = screen.text.splitlines()
    assert overall.startswith(MODEL)
    assert overall.rstrip().endswith("done")
    assert "150 B of 150 B" in overall
    assert first.startswith("  a ")
    assert second.startswith("  b ")
    assert [line.count("100%") for line in (overall, first, second)] == [1, 1, 1]


@two_at_once
def test_rich_draws_two_pushes_into_one_picture(run: Callable[[Hook], None]) -> None:
    screen = Screen(terminal=False)
    run(_rich(screen))
    lines = screen.text.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["myuser/one:latest", "myuser/two:latest"]
    assert len(lines) == 6


def test_rich_says_that_the_time_left_is_unknown_until_it_is_known() -> None:
    screen = Screen()
    run = Driven(hooks=[_rich(screen, expected_bytes=1000)])
    run.begin()
    run.feed(tick(100, 1000))
    assert "? left" in screen.text
    before = len(screen.text)
    run.clock.now += 1.0
    run.feed(tick(200, 1000))
    assert "8.0 s left" in screen.text[before:]
    assert "? left" not in screen.text[before:]
    run.run.close()


def test_rich_marks_a_layer_that_was_there() -> None:
    screen = Screen(terminal=False)
    run = Driven(hooks=[_rich(screen)])
    run.begin()
    run.feed(tick(100) + tick(0, 100, "sha256:b") + tick(100, 100, "sha256:b") + SUCCESS)
    run.run.close()
    _overall, first, second = screen.text.splitlines()
    assert "there" in first
    assert "there" not in second


def test_rich_shows_an_empty_layer_as_full() -> None:
    screen = Screen(terminal=False)
    _push(ScriptedAnswer((tick(0, 0), SUCCESS)), _rich(screen))
    assert "100%" in screen.text.splitlines()[1]


def test_rich_goes_on_while_one_of_two_pushes_has_ended() -> None:
    screen = Screen(terminal=False)
    client = PushClient(_HOST, transport=ScriptedTransport(_LAYERS), hooks=[_rich(screen)])
    with client.stream("myuser/long") as events:
        next(events)
        client.push("myuser/short")
        assert screen.text == ""
        for _ in events:
            pass
    overall = [line for line in screen.text.splitlines() if line.startswith("myuser")]
    assert [line.split()[0] for line in overall] == ["myuser/long:latest", "myuser/short:latest"]
    assert all(line.rstrip().endswith("done") for line in overall)


def test_rich_keeps_within_a_narrow_terminal() -> None:
    screen = Screen(40, terminal=False)
    _push(_LAYERS, _rich(screen))
    assert max(len(line) for line in screen.text.splitlines()) <= 40
    assert "100%" in screen.text
    assert "done" not in screen.text


def test_rich_shows_text_of_a_peer_as_it_is() -> None:
    screen = Screen(terminal=False)
    _push(ScriptedAnswer((tick(1, 2, "[red]x"), tick(2, 2, "[red]x"), SUCCESS)), _rich(screen))
    assert "  [red]x" in screen.text


def test_rich_draws_again_for_a_push_after_the_last_one_ended() -> None:
    screen = Screen(terminal=False)
    hook = _rich(screen)
    _push(_LAYERS, hook)
    _push(_LAYERS, hook)
    assert screen.text.count(MODEL) == 2


@both_colours
def test_tqdm_ends_in_a_full_bar(run: Callable[..., Told]) -> None:
    screen = Screen()
    run(_LAYERS, _tqdm(screen))
    assert screen.text.endswith("\n")
    last = screen.text.rstrip().rpartition("\r")[2]
    assert last.startswith(f"{MODEL} 100%|")
    assert "150/150" in last
    assert last.endswith("done")


@two_at_once
def test_tqdm_draws_a_bar_per_push(run: Callable[[Hook], None]) -> None:
    screen = Screen()
    run(_tqdm(screen))
    assert "myuser/one:latest 100%|" in screen.text
    assert "myuser/two:latest 100%|" in screen.text


def test_tqdm_says_that_speed_and_time_left_are_unknown_until_they_are_known() -> None:
    screen = Screen()
    run = Driven(hooks=[_tqdm(screen, expected_bytes=1000)])
    run.begin()
    run.feed(tick(100, 1000))
    assert "speed unknown, time left unknown" in screen.text
    run.clock.now += 1.0
    run.feed(tick(200, 1000))
    assert screen.text.rpartition("\r")[2].rstrip().endswith("100 B/s, 8.0 s left")
    run.run.close()


def test_tqdm_shows_no_share_of_an_unknown_total() -> None:
    screen = Screen()
    run = Driven(hooks=[_tqdm(screen)])
    run.begin()
    run.feed(tick(10))
    assert "%" not in screen.text
    run.run.close()


@pytest.mark.parametrize("story", [uploaded, rolled_back, stalled_then_done])
def test_all_displays_see_the_same_bytes(story: Callable[[Hook], None]) -> None:
    seen: list[ProgressSnapshot] = []
    rich, tqdm = Screen(terminal=False), Screen()
    story(ProgressCallback(seen.append))
    story(_rich(rich))
    story(_tqdm(tqdm))
    done = seen[-1].completed_bytes
    assert f"{done} B of {done} B" in rich.text
    assert f"{done:.0f}/{done:.0f}" in tqdm.text


def test_ever_new_layers_are_shown_by_the_clock() -> None:
    """Each snapshot has all layers: one for each event would let a server stop the push."""
    shown: list[int] = []
    hook = ProgressCallback(lambda now: shown.append(len(now.layers)), min_interval=1.0)
    context = PushContext("a/b:latest", "http://h:1")
    for number in range(3000):
        hook(EventSeen(context, number / 1000, LayerProgress(f"sha256:{number}", 2, 1)))
    hook(EventSeen(context, 3.0, PushSucceeded()))
    assert shown == [*range(1, 1001), 2000, 3000, 3000]
