"""What stops a stock pull, as data: which of it a puller can meet, and what helps."""

from __future__ import annotations

import pytest

from ollama_push.core.messages import PYTHON
from ollama_push.core.pullability import Pullability, PullAdvice, PullObstacle, PullProblem

_DIGEST = f"sha256:{'ab' * 32}"
_P = PullProblem
_CONDITIONS = {_P.PLAIN_HTTP, _P.TENSORS, _P.KEY}


@pytest.mark.parametrize("problem", PullProblem, ids=lambda problem: problem.value)
def test_a_problem_either_ends_a_pull_or_can_be_met(problem: PullProblem) -> None:
    found = Pullability([PullObstacle(problem)], asked_blobs=1)
    assert found.is_pullable is (problem in _CONDITIONS)
    assert bool(found.conditions) is (problem in _CONDITIONS)


def test_nothing_is_known_before_a_blob_was_asked_for() -> None:
    assert Pullability([], 0).is_pullable is None
    assert Pullability([PullObstacle(_P.PLAIN_HTTP)], 0).is_pullable is None
    assert Pullability([PullObstacle(_P.LOGIN)], 0).is_pullable is False
    assert Pullability([], 1).is_pullable is True


def test_of_each_problem_the_first_is_kept_in_a_fixed_order() -> None:
    first, second = PullObstacle(_P.NO_REDIRECT, digest="a"), PullObstacle(_P.NO_REDIRECT, digest="b")
    plain = PullObstacle(_P.PLAIN_HTTP)
    assert Pullability([first, second, plain], 2).obstacles == (plain, first)


def test_advice_is_given_once() -> None:
    found = Pullability([PullObstacle(_P.NO_REDIRECT), PullObstacle(_P.LOGIN), PullObstacle(_P.NO_SIZE)], 1)
    assert found.advice == (PullAdvice.PULL_THROUGH_GATEWAY,)
    assert PullObstacle(_P.NO_SIZE).advice is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Pullability([], 0), "not known yet"),
        (Pullability([], 1), "yes"),
        (
            Pullability([PullObstacle(_P.PLAIN_HTTP)], 1),
            "yes; the registry speaks plain HTTP: the pull must allow plain HTTP (insecure)",
        ),
        (
            Pullability([PullObstacle(_P.FOREIGN_REALM, "auth.test"), PullObstacle(_P.PLAIN_HTTP)], 0),
            (
                "no: the registry's tokens come from another host, auth.test, which a pull refuses;"
                " pull through the gateway of ollama-push"
            ),
        ),
        (
            Pullability([PullObstacle(_P.NO_SIZE, digest=_DIGEST)], 1),
            f"no: the registry does not tell the size of {_DIGEST}",
        ),
        (
            Pullability([PullObstacle(_P.NOT_SERVED, status=404, digest=_DIGEST)], 1),
            f"no: the registry responded HTTP 404 for {_DIGEST}",
        ),
        (Pullability([PullObstacle(_P.NOT_SERVED, status=403)], 0), "no: the registry responded HTTP 403"),
        (
            Pullability([PullObstacle(_P.REDIRECT_STATUS, status=302), PullObstacle(_P.TENSORS)], 1),
            (
                "no: the model is made of tensors, which machines without MLX refuse; the registry redirects blobs"
                " with HTTP 302, where a pull wants 307; pull on a machine with MLX;"
                " pull through the gateway of ollama-push"
            ),
        ),
    ],
)
def test_it_is_said_in_one_line(found: Pullability, text: str) -> None:
    assert PYTHON.pullability(found) == text
