"""Metrics of pushes: one mapping from observations to measurements, any exporter behind it.

``MetricsHook(sink)`` turns observations into the measurements of ``METRICS``; a sink is any object with
``count``, ``gauge`` and ``observe``. Shipped: ``PrometheusSink`` (extra ``prometheus``) and ``OtelSink``
(extra ``otel``), each loaded on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy
from ollama_push.contrib.metrics.catalogue import METRICS, Kind, Metric, MetricsSink
from ollama_push.contrib.metrics.hook import MetricsHook

if TYPE_CHECKING:
    from ollama_push.contrib.metrics.otel import OtelSink
    from ollama_push.contrib.metrics.prometheus import PrometheusSink

__all__ = ["METRICS", "Kind", "Metric", "MetricsHook", "MetricsSink", "OtelSink", "PrometheusSink"]

__getattr__: Callable[[str], Any] = lazy(__name__, {"OtelSink": "otel", "PrometheusSink": "prometheus"})
