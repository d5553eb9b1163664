"""All measurements: name, kind, unit, labels. Sinks, docs, dashboard and tests read this table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

__all__ = [
    "ATTEMPTS",
    "BYTES",
    "DELIVERED",
    "DURATION",
    "FETCHED",
    "IN_PROGRESS",
    "METRICS",
    "PAUSED",
    "PULLED",
    "PULLS",
    "PULLS_IN_PROGRESS",
    "PULL_METRICS",
    "PUSHES",
    "RETRIES",
    "ROLLBACKS",
    "ROLLED_BACK_BYTES",
    "STALLS",
    "THROUGHPUT",
    "Kind",
    "Metric",
    "MetricsSink",
]


class Kind(enum.Enum):
    """The kind of a measurement."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen(eq=False)  # each metric is defined once and compared by identity
class Metric:
    """One measurement.

    Attributes:
        name: Dotted, without unit or suffix; each sink derives its own form.
        kind: Counter, gauge or histogram.
        unit: UCUM: ``"s"``, ``"By"``, ``"By/s"``, or ``"{thing}"`` for counts of things.
        description: One sentence.
        labels: Names of its labels; few values each.
        buckets: Upper bounds of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class MetricsSink(Protocol):
    """Takes measurements. Called in the thread or event loop of the push, so its methods must not block."""

    def count(self, metric: Metric, amount: float, labels: Mapping[str, str], /) -> None:
        """Add *amount*, never negative, to a counter."""

    def gauge(self, metric: Metric, change: float, labels: Mapping[str, str], /) -> None:
        """Add *change*, of either sign, to a gauge."""

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str], /) -> None:
        """Put *value* into a histogram."""


# From a few bytes to a hundred gigabytes over a slow line.
_SECONDS: Final = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200)
# From a modem to a local disk.
_BYTES_PER_SECOND: Final = (1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9)

PUSHES: Final = Metric(
    "ollama_push.pushes",
    Kind.COUNTER,
    "{push}",
    "Pushes that ended, by outcome; error is the exception's name, or empty.",
    ("outcome", "error"),
)
IN_PROGRESS: Final = Metric("ollama_push.pushes_in_progress", Kind.GAUGE, "{push}", "Pushes under way.")
DURATION: Final = Metric(
    "ollama_push.push.duration", Kind.HISTOGRAM, "s", "From first request to verdict.", ("outcome",), _SECONDS
)
BYTES: Final = Metric(
    "ollama_push.moved",
    Kind.COUNTER,
    "By",
    "Bytes that moved, or were only handed to a socket when a push ended early; layers the registry had do not count.",
)
THROUGHPUT: Final = Metric(
    "ollama_push.push.throughput",
    Kind.HISTOGRAM,
    "By/s",
    "Moved bytes by duration of each successful push that moved any.",
    (),
    _BYTES_PER_SECOND,
)
ATTEMPTS: Final = Metric(
    "ollama_push.attempts", Kind.COUNTER, "{attempt}", "Attempts at a whole push, first ones and retries."
)
RETRIES: Final = Metric(
    "ollama_push.retries",
    Kind.COUNTER,
    "{retry}",
    "Attempts and single requests tried again, by the exception that caused it.",
    ("cause",),
)
PAUSED: Final = Metric(
    "ollama_push.paused",
    Kind.COUNTER,
    "s",
    "Seconds for which requests and bodies were held back, by why: rate, concurrency, or breaker for an ill registry.",
    ("reason",),
)
STALLS: Final = Metric("ollama_push.stalls", Kind.COUNTER, "{stall}", "Attempts that ended because no bytes moved.")
ROLLBACKS: Final = Metric("ollama_push.rollbacks", Kind.COUNTER, "{rollback}", "Times a layer's counter fell.")
ROLLED_BACK_BYTES: Final = Metric("ollama_push.rolled_back", Kind.COUNTER, "By", "Bytes taken back by rollbacks.")
DELIVERED: Final = Metric(
    "ollama_push.delivered",
    Kind.COUNTER,
    "By",
    "Bytes of successful pushes straight to a registry: sent, skipped as there already, resumed from an earlier push.",
    ("how",),
)

METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of pushes, in the order of their definition."""

PULLS: Final = Metric(
    "ollama_push.pulls",
    Kind.COUNTER,
    "{pull}",
    "Manifests and blobs, or ranges of them, that were pulled through the gateway, by what it was and how it ended.",
    ("what", "outcome"),
)
PULLS_IN_PROGRESS: Final = Metric(
    "ollama_push.pulls_in_progress", Kind.GAUGE, "{pull}", "Manifests and blobs that the gateway is sending."
)
PULLED: Final = Metric(
    "ollama_push.pulled",
    Kind.COUNTER,
    "By",
    "Bytes of blobs that the gateway sent to those who pull, by where they came from: registry or cache.",
    ("source",),
)

FETCHED: Final = Metric(
    "ollama_push.fetched", Kind.COUNTER, "By", "Bytes of blobs that the gateway read from registries into its cache."
)
PULL_METRICS: Final = (PULLS, PULLS_IN_PROGRESS, PULLED, FETCHED)
"""All of pulls: only a gateway measures them."""
