"""Records measurements for Prometheus, with names by its rules: snake case, base units, ``_total`` for counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ollama_push.contrib.metrics.catalogue import METRICS, PUSHES, Kind, Metric

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
        registry: Default: that of prometheus_client. A registry takes only one sink, which several hooks can
            share.
        model_label: Declare the label ``model`` on ``ollama_push_pushes_total``; goes with
            ``MetricsHook(model_label=True)``.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, model_label: bool = False) -> None:
        self._collectors: dict[Metric, Any] = {}
        for metric in METRICS:
            labels = (*metric.labels, "model") if model_label and metric is PUSHES else metric.labels
            name = prometheus_name(metric)
            match metric.kind:
                case Kind.COUNTER:
                    collector: Any = Counter(name, metric.description, labels, registry=registry)
                case Kind.GAUGE:
                    collector = Gauge(name, metric.description, labels, registry=registry)
                case Kind.HISTOGRAM:
                    collector = Histogram(name, metric.description, labels, registry=registry, buckets=metric.buckets)
            self._collectors[metric] = collector

    def count(self, metric: Metric, amount: float, labels: Mapping[str, str], /) -> None:
        self._child(metric, labels).inc(amount)

    gauge = count

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str], /) -> None:
        self._child(metric, labels).observe(value)

    def _child(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        collector = self._collectors[metric]
        return collector.labels(**labels) if labels else collector
