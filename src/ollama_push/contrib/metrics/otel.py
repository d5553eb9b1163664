"""Records measurements with OpenTelemetry: dotted names, UCUM units, attributes as labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_push.contrib.metrics.catalogue import METRICS, Kind, Metric
from ollama_push.core.version import __version__

try:
    from opentelemetry import metrics
except ImportError as _exc:
    raise ImportError("OtelSink needs: pip install 'ollama-push[otel]'") from _exc

__all__ = ["OtelSink"]


class OtelSink:
    """Records measurements with OpenTelemetry instruments.

    Args:
        meter_provider: Default: the global one.

    Source: OpenTelemetry semantic conventions, "General metrics semantic conventions".
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("ollama_push", __version__, meter_provider)
        self._instruments: dict[Metric, Any] = {metric: _instrument(meter, metric) for metric in METRICS}

    def count(self, metric: Metric, amount: float, labels: Mapping[str, str], /) -> None:
        self._instruments[metric].add(amount, _attributes(labels))

    gauge = count

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str], /) -> None:
        self._instruments[metric].record(value, _attributes(labels))


def _instrument(meter: metrics.Meter, metric: Metric) -> Any:
    match metric.kind:
        case Kind.COUNTER:
            return meter.create_counter(metric.name, metric.unit, metric.description)
        case Kind.GAUGE:
            return meter.create_up_down_counter(metric.name, metric.unit, metric.description)
        case Kind.HISTOGRAM:
            return meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
            )


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as attributes; ``error`` becomes ``error.type``, and empty labels are left out."""
    return {("error.type" if name == "error" else name): value for name, value in labels.items() if value}
