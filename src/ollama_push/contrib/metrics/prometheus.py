"""Records measurements for Prometheus, with names by its rules: snake case, base units, ``_total`` for counters."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from ollama_push.contrib.metrics.catalogue import METRICS, PUSHES, Kind, Metric
from ollama_push.core.errors import InvalidSetting

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError as _exc:
    raise ImportError("PrometheusSink needs: pip install 'ollama-push[prometheus]'") from _exc

__all__ = ["PrometheusSink", "prometheus_name"]

_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "By": "bytes", "By/s": "bytes_per_second"}


def prometheus_name(metric: Metric) -> str:
    """Return the name in Prometheus' output.

    Source: Prometheus documentation, "Metric and label naming".
    """
    name = metric.name.replace(".", "_")
    if unit := _UNITS.get(metric.unit):
        name = f"{name}_{unit}"
    return f"{name}_total" if metric.kind is Kind.COUNTER else name


class PrometheusSink:
    """Records measurements in a Prometheus registry.

    Args:
        registry: Default: that of prometheus_client. Several sinks of one registry count together.
        model_label: Declare the label ``model`` on ``ollama_push_pushes_total``; goes with
            ``MetricsHook(model_label=True)``. The same for all sinks of a registry.

    Raises:
        InvalidSetting: *registry* has a sink whose *model_label* differs.
        ValueError: *registry* has a metric of that name from elsewhere.
    """

    # A registry takes each metric once, and does not give it back: sinks that are made later must know the first one's.
    _made: ClassVar[WeakKeyDictionary[CollectorRegistry, dict[Metric, Any]]] = WeakKeyDictionary()
    _labelled: ClassVar[WeakKeyDictionary[CollectorRegistry, bool]] = WeakKeyDictionary()
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, model_label: bool = False) -> None:
        with self._making:
            self._collectors = self._made.get(registry) or _new_collectors(METRICS, registry, model_label=model_label)
            self._made[registry] = self._collectors
            has_label = self._labelled.setdefault(registry, model_label)
        if has_label is not model_label:
            problem = "this registry has a sink already, whose model_label differs"
            raise InvalidSetting("model_label", model_label, problem)
        self._registry = registry

    def declare(self, metrics: Iterable[Metric]) -> None:
        """Take measurements of *metrics*, too, and show them from now on; what is declared already stays as it is.

        Raises:
            ValueError: The registry has a metric of that name from elsewhere.
        """
        with self._making:
            new = [metric for metric in metrics if metric not in self._collectors]
            self._collectors.update(_new_collectors(new, self._registry))

    def count(self, metric: Metric, amount: float, labels: Mapping[str, str], /) -> None:
        self._child(metric, labels).inc(amount)

    gauge = count

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str], /) -> None:
        self._child(metric, labels).observe(value)

    def _child(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        collector = self._collectors[metric]
        return collector.labels(**labels) if labels else collector


def _new_collectors(
    metrics: Iterable[Metric], registry: CollectorRegistry, *, model_label: bool = False
) -> dict[Metric, Any]:
    collectors: dict[Metric, Any] = {}
    for metric in metrics:
        labels = (*metric.labels, "model") if model_label and metric is PUSHES else metric.labels
        name = prometheus_name(metric)
        match metric.kind:
            case Kind.COUNTER:
                collector: Any = Counter(name, metric.description, labels, registry=registry)
            case Kind.GAUGE:
                # Where several processes share a folder (PROMETHEUS_MULTIPROC_DIR), the sum over those that live.
                collector = Gauge(name, metric.description, labels, registry=registry, multiprocess_mode="livesum")
            case Kind.HISTOGRAM:
                collector = Histogram(name, metric.description, labels, registry=registry, buckets=metric.buckets)
        collectors[metric] = collector
    return collectors
