"""Events to numbers: what never goes back, what counts as speed, when an end is foretold."""

from __future__ import annotations

import pytest

from ollama_push.core.events import MAX_LAYERS, LayerCounter, LayerProgress, PushPlanned, PushSucceeded, StatusChanged
from ollama_push.core.json_text import MAX_COUNT
from ollama_push.core.progress import LayerSnapshot, PushProgress


def _layer(completed: int, total: int = 1000, digest: str = "sha256:a") -> LayerProgress:
    return LayerProgress(digest, total, completed, f"pushing {digest[7:]}")


def test_nothing_is_known_before_the_first_event() -> None:
    shown = PushProgress(model="a/b:latest").snapshot(0.0)
    assert (shown.model, shown.status, shown.total_bytes, shown.completed_bytes) == ("a/b:latest", "", None, 0)
    assert (shown.fraction, shown.bytes_per_second, shown.eta_seconds) == (None, None, None)
    assert (shown.layers, shown.succeeded) == ((), False)


def test_a_repeat_changes_nothing() -> None:
    progress = PushProgress()
    assert progress.receive_event(_layer(1), 0.0)
    assert not progress.receive_event(_layer(1), 0.1)
    assert progress.receive_event(_layer(2), 0.2)


def test_the_last_status_is_shown() -> None:
    progress = PushProgress()
    progress.receive_event(StatusChanged("retrieving manifest"), 0.0)
    assert progress.snapshot(0.0).status == "retrieving manifest"
    progress.receive_event(_layer(1), 0.0)
    assert progress.snapshot(0.0).status == "pushing a"


def test_layers_are_listed_in_the_order_of_their_first_report() -> None:
    progress = PushProgress()
    for event in (_layer(0, digest="sha256:b"), _layer(7, 7, "sha256:a"), _layer(5, digest="sha256:b")):
        progress.receive_event(event, 0.0)
    assert progress.snapshot(0.0).layers == (
        LayerSnapshot("sha256:b", 1000, 5, was_present=False),
        LayerSnapshot("sha256:a", 7, 7, was_present=True),
    )


@pytest.mark.parametrize(
    ("completed", "planned", "moved", "was_present"),
    [
        ((0, 600, 400, 500), False, 600, False),
        ((300, 600), False, 600, False),
        ((300, 600), True, 300, False),
        ((1000, 200, 1000), False, 0, True),
        ((0, 1200), True, 1000, False),
    ],
    ids=["rolled back", "begun", "resumed", "present", "beyond its size"],
)
def test_a_layer_counts_what_moved_once(
    completed: tuple[int, ...],
    planned: bool,  # noqa: FBT001 - a parameter of the test
    moved: int,
    was_present: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    counter = LayerCounter(_layer(completed[0]), planned=planned)
    for later in completed[1:]:
        counter.receive_event(_layer(later))
    assert (counter.moved_bytes, counter.was_present, counter.completed) == (moved, was_present, completed[-1])


def test_the_total_is_unknown_until_somebody_says_it() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(500), 0.0)
    shown = progress.snapshot(0.0)
    assert (shown.total_bytes, shown.fraction, shown.completed_bytes) == (None, None, 500)


def test_the_sum_of_all_tensors_is_the_whole() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(250, digest="sha256:model"), 0.0)
    assert progress.snapshot(0.0).fraction == 0.25


def test_an_expected_size_makes_a_fraction_and_gives_way_to_a_larger_truth() -> None:
    progress = PushProgress(expected_bytes=2000)
    progress.receive_event(_layer(500), 0.0)
    assert progress.snapshot(0.0).fraction == 0.25
    progress.receive_event(_layer(0, 4000, "sha256:b"), 0.0)
    assert progress.snapshot(0.0).total_bytes == 5000


def test_only_success_is_all_of_it() -> None:
    progress = PushProgress(expected_bytes=1000)
    progress.receive_event(_layer(1000), 0.0)
    fraction = progress.snapshot(0.0).fraction
    assert fraction is not None
    assert 0.999 < fraction < 1.0
    progress.receive_event(PushSucceeded(), 0.0)
    shown = progress.snapshot(0.0)
    assert (shown.fraction, shown.eta_seconds, shown.succeeded, shown.status) == (1.0, 0.0, True, "success")


def test_success_without_layers_is_complete_too() -> None:
    progress = PushProgress()
    progress.receive_event(PushSucceeded(), 0.0)
    assert progress.snapshot(0.0).fraction == 1.0


def test_an_empty_push_has_no_share_before_it_succeeded() -> None:
    assert PushProgress(expected_bytes=0).snapshot(0.0).fraction is None


def test_a_rollback_is_not_shown_as_a_step_back() -> None:
    progress = PushProgress(expected_bytes=1000)
    for completed in (600, 200, 500):
        progress.receive_event(_layer(completed), 0.0)
        assert progress.snapshot(0.0).fraction == 0.6
    assert progress.snapshot(0.0).layers[0].completed_bytes == 500
    progress.receive_event(_layer(700), 0.0)
    assert progress.snapshot(0.0).fraction == 0.7
    assert progress.moved_bytes == 700


def test_a_counter_past_its_total_counts_as_the_total() -> None:
    progress = PushProgress(expected_bytes=4000)
    progress.receive_event(_layer(1200), 0.0)
    assert progress.snapshot(0.0).completed_bytes == 1000
    assert progress.snapshot(0.0).layers[0].fraction == 1.0


def test_a_total_that_changes_does_not_take_bytes_back() -> None:
    progress = PushProgress()
    for total in (1000, 2000, 500):
        progress.receive_event(_layer(800, total), 0.0)
        assert progress.snapshot(0.0).completed_bytes == 800


def test_a_layer_that_was_there_is_done_but_is_no_speed() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(0, digest="sha256:b"), 0.0)
    progress.receive_event(_layer(1000), 1.0)
    progress.receive_event(_layer(10, digest="sha256:b"), 2.0)
    shown = progress.snapshot(2.0)
    assert (shown.completed_bytes, progress.moved_bytes) == (1010, 10)
    assert shown.bytes_per_second == 10.0


def test_speed_is_unknown_until_a_byte_moved() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(0), 0.0)
    assert progress.snapshot(60.0).bytes_per_second is None
    progress.receive_event(_layer(100), 61.0)
    assert progress.snapshot(61.0).bytes_per_second == pytest.approx(100.0)


def test_speed_is_sampled_no_closer_than_half_a_second() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(0), 0.0)
    progress.receive_event(_layer(100), 0.25)
    assert progress.snapshot(0.49).bytes_per_second is None
    assert progress.snapshot(0.5).bytes_per_second == 200.0


def test_speed_is_smoothed_and_falls_during_a_stall() -> None:
    progress = PushProgress()
    progress.receive_event(_layer(0), 0.0)
    progress.receive_event(_layer(100), 1.0)
    progress.receive_event(_layer(100), 2.0)
    one_second_later = progress.snapshot(2.0).bytes_per_second
    assert one_second_later is not None
    assert 40.0 < one_second_later < 50.0, "the mean so far, the last second weighing a little more"
    long_after = progress.snapshot(100.0).bytes_per_second
    assert long_after is not None
    assert long_after < 1.0


def test_a_slow_beginning_is_soon_outweighed() -> None:
    """The demo showed 486 kB/s for 24 MB in 0.9 s: the first sample counted for eight seconds."""
    progress = PushProgress()
    progress.receive_event(_layer(0, 24_000_000), 0.0)
    progress.receive_event(_layer(262_000, 24_000_000), 0.5)
    progress.receive_event(_layer(24_000_000, 24_000_000), 1.0)
    speed = progress.snapshot(1.0).bytes_per_second
    assert speed == pytest.approx(24_000_000, rel=0.05)


def test_what_moved_since_the_last_sample_counts() -> None:
    """The demo showed it again where all but the beginning moved within half a second."""
    progress = PushProgress()
    progress.receive_event(_layer(0, 24_000_000), 0.0)
    progress.receive_event(_layer(262_000, 24_000_000), 0.55)
    progress.receive_event(_layer(24_000_000, 24_000_000), 0.8)
    assert progress.snapshot(0.8).bytes_per_second == pytest.approx(24_000_000 / 0.8, rel=0.05)


@pytest.mark.parametrize("samples", [2, 8, 16])
def test_the_speed_does_not_depend_on_how_often_it_is_sampled(samples: int) -> None:
    progress = PushProgress()
    for number in range(samples + 1):
        progress.receive_event(_layer(1 + number * 8000 // samples, 8001), number * 8 / samples)
    assert progress.snapshot(8.0).bytes_per_second == pytest.approx(1000.0)


def test_an_eta_is_given_at_a_real_speed_only() -> None:
    progress = PushProgress(expected_bytes=1000)
    progress.receive_event(_layer(0), 0.0)
    progress.receive_event(_layer(100), 1.0)
    assert progress.snapshot(1.0).eta_seconds == pytest.approx(9.0)
    assert progress.snapshot(100.0).eta_seconds is None


def test_a_new_attempt_reports_its_layers_again_and_shows_no_step_back() -> None:
    progress = PushProgress(expected_bytes=1000)
    progress.receive_event(_layer(600), 0.0)
    progress.restart()
    assert progress.snapshot(0.0).layers[0].completed_bytes == 0
    assert progress.receive_event(_layer(600), 1.0), "the same event is news in a new attempt"
    shown = progress.snapshot(1.0)
    assert (shown.fraction, progress.moved_bytes) == (0.6, 600)


@pytest.mark.parametrize(("total", "completed", "share"), [(0, 0, 1.0), (4, 1, 0.25), (4, 8, 1.0)])
def test_share_of_a_layer(total: int, completed: int, share: float) -> None:
    assert LayerSnapshot("sha256:a", total, completed, was_present=False).fraction == share


def test_a_plan_says_the_total_before_any_layer_does() -> None:
    progress = PushProgress()
    assert progress.receive_event(PushPlanned(2000), 0.0)
    shown = progress.snapshot(0.0)
    assert (shown.total_bytes, shown.fraction, shown.status) == (2000, 0.0, "retrieving manifest")
    progress.receive_event(_layer(500), 0.0)
    assert progress.snapshot(0.0).fraction == 0.25


def test_a_plan_knows_better_than_whoever_guessed() -> None:
    progress = PushProgress(expected_bytes=10_000)
    progress.receive_event(PushPlanned(2000), 0.0)
    assert progress.snapshot(0.0).total_bytes == 2000


def test_what_an_earlier_push_left_is_progress_but_no_speed() -> None:
    progress = PushProgress()
    progress.receive_event(PushPlanned(2000), 0.0)
    progress.receive_event(_layer(600), 0.0)
    assert progress.snapshot(0.0).completed_bytes == 600
    assert progress.moved_bytes == 0
    progress.receive_event(_layer(700), 1.0)
    shown = progress.snapshot(1.0)
    assert (shown.completed_bytes, progress.moved_bytes) == (700, 100)
    assert shown.bytes_per_second == pytest.approx(100.0)


def test_what_has_succeeded_shows_the_speed_of_the_whole_push() -> None:
    progress = PushProgress(1000)
    progress.receive_event(StatusChanged("retrieving manifest"), 10.0)
    for at, completed in ((10.5, 0), (11.0, 900), (13.9, 1000)):
        progress.receive_event(LayerProgress("sha256:a", 1000, completed, "pushing"), at)
    assert progress.snapshot(13.9).bytes_per_second != pytest.approx(250.0)
    progress.receive_event(PushSucceeded(), 14.0)
    assert progress.snapshot(14.0).bytes_per_second == progress.snapshot(99.0).bytes_per_second == pytest.approx(250.0)


def test_nothing_moved_has_no_speed_when_it_has_succeeded() -> None:
    progress = PushProgress()
    progress.receive_event(LayerProgress("sha256:a", 10, 10, "pushing"), 0.0)
    progress.receive_event(PushSucceeded(), 5.0)
    assert progress.snapshot(5.0).bytes_per_second is None


def test_counts_that_no_clock_can_hold_are_drawn_all_the_same() -> None:
    progress = PushProgress()
    for now, completed in enumerate((1, MAX_COUNT // 2, MAX_COUNT)):
        progress.receive_event(LayerProgress("sha256:model", MAX_COUNT, completed), float(now))
        shown = progress.snapshot(float(now))
    assert shown.total_bytes == MAX_COUNT
    assert shown.eta_seconds == 0


def test_of_more_layers_than_a_model_has_the_first_are_shown() -> None:
    progress = PushProgress()
    for number in range(MAX_LAYERS + 5):
        progress.receive_event(LayerProgress(f"sha256:{number}", 2, 1), 0.0)
    assert len(progress.snapshot(0.0).layers) == MAX_LAYERS


@pytest.mark.parametrize(("layers", "crowded"), [(1000, False), (1001, True)])
def test_a_push_with_ever_new_layers_is_crowded(layers: int, crowded: bool) -> None:  # noqa: FBT001 - a table
    progress = PushProgress()
    for number in range(layers):
        progress.receive_event(LayerProgress(f"sha256:{number}", 2, 1), 0.0)
    assert progress.is_crowded is crowded
