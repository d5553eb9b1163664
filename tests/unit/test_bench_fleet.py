"""The simulated fleet: no storm, bounded load, everything arrives; and the same seed gives the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs
import pytest
from bench.fleet import FIXED, OURS, SHARING, Figures, Weather, figures_of, simulate

from ollama_push.core.retry import RetryPolicy

_WEATHER: Final = Weather(places=5, slow=(20.0, 30.0), down=(40.0, 100.0))
_DOWN: Final = _WEATHER.down


@pytest.fixture(scope="module")
def ours() -> Figures:
    return simulate(OURS, machines=60, models=600, weather=_WEATHER)


@pytest.fixture(scope="module")
def fixed() -> Figures:
    return simulate(FIXED, machines=60, models=600, weather=_WEATHER)


def test_every_model_arrives(ours: Figures) -> None:
    assert ours.pushed == ours.models == 600
    assert ours.drained > _DOWN[1], "the failure came in the middle"


def test_the_load_is_bounded(ours: Figures, fixed: Figures) -> None:
    assert ours.requests < 1.3 * ours.needed
    assert fixed.requests > 2 * ours.requests, "the measure tells clients apart"


def test_a_registry_that_fails_is_left_alone(ours: Figures, fixed: Figures) -> None:
    assert ours.most_between(_DOWN[0] + 10, _DOWN[1]) < 20
    assert fixed.most_between(_DOWN[0] + 10, _DOWN[1]) > 60


def test_machines_that_share_what_they_know_leave_it_alone_from_the_first_failures_on(ours: Figures) -> None:
    sharing = simulate(SHARING, machines=60, models=600, weather=_WEATHER)
    first = slice(int(_DOWN[0]) + 2, int(_DOWN[0]) + 30)
    assert sum(sharing.per_second[first]) < 0.3 * sum(ours.per_second[first])
    assert sharing.pushed == sharing.models
    assert sharing.requests <= ours.requests
    assert sharing.most_between(_DOWN[1], _DOWN[1] + 60) < 100


def test_machines_do_not_come_back_together(ours: Figures, fixed: Figures) -> None:
    """What the registry serves in a second is 50; all at once would be 120."""
    assert ours.most_between(_DOWN[1], _DOWN[1] + 60) < 100
    assert ours.most_between(_DOWN[1], _DOWN[1] + 60) < fixed.most_between(_DOWN[1], _DOWN[1] + 60)


def test_the_same_seed_gives_the_same_figures(ours: Figures) -> None:
    again = simulate(OURS, machines=60, models=600, weather=_WEATHER)
    assert again == ours
    assert simulate(OURS, machines=60, models=600, weather=_WEATHER, seed=18) != ours


def test_few_retries_end_with_verdicts() -> None:
    few = simulate(attrs.evolve(OURS, retry=RetryPolicy(attempts=2)), machines=20, models=200, weather=_WEATHER)
    assert few.pushed < few.models


def test_the_page_shows_a_table_of_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text("utf-8")
    table = page.partition("<!-- simulated -->\n\n")[2].partition("\n\n<!-- end of the simulation -->")[0]
    shape = figures_of([simulate(each, machines=2, models=4, weather=_WEATHER) for each in (FIXED, OURS, SHARING)])
    assert [line.split("|")[1] for line in table.splitlines()] == [line.split("|")[1] for line in shape.splitlines()]
    assert " | ".join(["10,000 of 10,000"] * 3) in table
