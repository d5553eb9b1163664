"""Whether a stock ``ollama pull`` gets a model from where it lies, without this package, and what stops it.

Source: ollama ``server/download.go``, ``server/images.go``, ``server/auth.go`` and ``x/transfer/download.go`` at
fb3076099.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import attrs

__all__ = ["PullAdvice", "PullObstacle", "PullProblem", "Pullability"]


class PullProblem(enum.Enum):
    """What stops a stock ``ollama pull``, or what its user must know."""

    PLAIN_HTTP = "plain-http"
    """The registry is reached by plain HTTP, which a pull must be told."""
    TENSORS = "tensors"
    """The model is made of tensors: a machine without MLX refuses it (ollama#17710)."""
    KEY = "key"
    """The registry's own realm gives nobody a token: only a machine whose Ollama key it knows can pull."""
    LOGIN = "login"
    """The registry wants a user name and a password, which a pull cannot send."""
    FOREIGN_REALM = "foreign-realm"
    """Tokens come from another host than the registry, which a pull refuses."""
    NO_REDIRECT = "no-redirect"
    """A blob is sent at once, where a pull wants a redirect to another host name."""
    REDIRECT_TO_ITSELF = "redirect-to-itself"
    """A blob is redirected, but within the registry's own host name."""
    REDIRECT_STATUS = "redirect-status"
    """A blob is redirected by another status than 307."""
    NO_RANGES = "no-ranges"
    """A blob that is pulled in several ranges is only sent as a whole."""
    NO_SIZE = "no-size"
    """A blob's ``HEAD`` does not tell its size, which a pull needs."""
    NOT_SERVED = "not-served"
    """The registry does not send the manifest or a blob at all."""


class PullAdvice(enum.Enum):
    """How the model can be pulled after all."""

    PULL_INSECURE = "pull-insecure"
    """Say ``--insecure``."""
    USE_MLX = "use-mlx"
    """Pull on a machine with MLX."""
    ADD_KEY = "add-key"
    """Make the machine's Ollama key known to the registry, or pull through the gateway."""
    PULL_THROUGH_GATEWAY = "pull-through-gateway"
    """Pull through this package's gateway, which logs in and redirects."""


_ADVICE: Final = {
    PullProblem.PLAIN_HTTP: PullAdvice.PULL_INSECURE,
    PullProblem.TENSORS: PullAdvice.USE_MLX,
    PullProblem.KEY: PullAdvice.ADD_KEY,
    PullProblem.LOGIN: PullAdvice.PULL_THROUGH_GATEWAY,
    PullProblem.FOREIGN_REALM: PullAdvice.PULL_THROUGH_GATEWAY,
    PullProblem.NO_REDIRECT: PullAdvice.PULL_THROUGH_GATEWAY,
    PullProblem.REDIRECT_TO_ITSELF: PullAdvice.PULL_THROUGH_GATEWAY,
    PullProblem.REDIRECT_STATUS: PullAdvice.PULL_THROUGH_GATEWAY,
}
_CONDITIONS: Final = frozenset({PullProblem.PLAIN_HTTP, PullProblem.TENSORS, PullProblem.KEY})


@attrs.frozen
class PullObstacle:
    """One thing that a stock ``ollama pull`` meets.

    Attributes:
        problem: What it is.
        host: The host and port of a realm elsewhere; empty otherwise.
        status: The status of a redirect or of a refusal; 0 otherwise.
        digest: The blob it was seen at, the first of several; empty when it is about no blob.
    """

    problem: PullProblem
    host: str = ""
    status: int = 0
    digest: str = ""

    @property
    def is_condition(self) -> bool:
        """Whether a puller can meet it, without anything between it and the registry."""
        return self.problem in _CONDITIONS

    @property
    def advice(self) -> PullAdvice | None:
        """What helps; ``None`` when nothing is known to."""
        return _ADVICE.get(self.problem)


def _of_each_problem(obstacles: Iterable[PullObstacle]) -> tuple[PullObstacle, ...]:
    first = {each.problem: each for each in reversed(tuple(obstacles))}
    return tuple(first[problem] for problem in PullProblem if problem in first)


@attrs.frozen
class Pullability:
    """Whether a stock ``ollama pull`` gets the model, as the registry was seen to respond without credentials.

    Attributes:
        obstacles: One of each problem.
        asked_blobs: Blobs whose ``GET`` was looked at; of a model that is not there yet it may be 0.
    """

    obstacles: tuple[PullObstacle, ...] = attrs.field(converter=_of_each_problem)
    asked_blobs: int

    @property
    def is_pullable(self) -> bool | None:
        """Whether a pull succeeds, once its conditions are met; ``None`` when nothing speaks against it so far."""
        if any(not each.is_condition for each in self.obstacles):
            return False
        return True if self.asked_blobs else None

    @property
    def conditions(self) -> tuple[PullObstacle, ...]:
        """The obstacles that a puller can meet."""
        return tuple(each for each in self.obstacles if each.is_condition)

    @property
    def advice(self) -> tuple[PullAdvice, ...]:
        """What helps, each once; empty when a pull needs nothing, or when nothing is known to help."""
        return tuple(dict.fromkeys(each.advice for each in self.obstacles if each.advice is not None))
