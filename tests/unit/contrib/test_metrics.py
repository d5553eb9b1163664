"""Eleven pushes of known outcome, counted by every sink."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.observation_sequences import DIRECT, ELEVEN_PUSHES, uploaded
from tests.support.promtool import needs_promtool, promtool
from tests.support.push_run import PUSH

from ollama_push.contrib.metrics import METRICS, Kind, Metric, MetricsHook, OtelSink, PrometheusSink
from ollama_push.contrib.metrics.catalogue import PULL_METRICS, PULLED, PULLS_IN_PROGRESS
from ollama_push.contrib.metrics.prometheus import prometheus_name
from ollama_push.core.errors import InvalidSetting

_Sums = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_SUCCEEDED = 2 + 0.25 + 2 + 4 + 64 + 2 + 5
_SPEEDS = 140 / 2 + 140 / 2 + 100 / 4 + 100 / 64 + 100 / 2 + 50 / 5
_MOVED = 140 + 140 + 100 + 5 + 10 + 100 + 30 + 100 + 50

_EXPECTED: _Sums = {
    ("ollama_push_pushes_total", (("error", ""), ("outcome", "succeeded"))): 7,
    ("ollama_push_pushes_total", (("error", "PushRejected"), ("outcome", "failed"))): 1,
    ("ollama_push_pushes_total", (("error", "ConnectionLost"), ("outcome", "failed"))): 1,
    ("ollama_push_pushes_total", (("error", "PushStalled"), ("outcome", "failed"))): 1,
    ("ollama_push_pushes_total", (("error", ""), ("outcome", "cancelled"))): 1,
    ("ollama_push_pushes_in_progress", ()): 0,
    ("ollama_push_push_duration_seconds_count", (("outcome", "succeeded"),)): 7,
    ("ollama_push_push_duration_seconds_sum", (("outcome", "succeeded"),)): _SUCCEEDED,
    ("ollama_push_push_duration_seconds_count", (("outcome", "failed"),)): 3,
    ("ollama_push_push_duration_seconds_sum", (("outcome", "failed"),)): 1 + 3 + 61,
    ("ollama_push_push_duration_seconds_count", (("outcome", "cancelled"),)): 1,
    ("ollama_push_push_duration_seconds_sum", (("outcome", "cancelled"),)): 0.75,
    ("ollama_push_moved_bytes_total", ()): _MOVED,
    ("ollama_push_push_throughput_bytes_per_second_count", ()): 6,
    ("ollama_push_push_throughput_bytes_per_second_sum", ()): _SPEEDS,
    ("ollama_push_attempts_total", ()): 13,
    ("ollama_push_retries_total", (("cause", "ConnectionLost"),)): 2,
    ("ollama_push_retries_total", (("cause", "PushStalled"),)): 1,
    ("ollama_push_paused_seconds_total", (("reason", "breaker"),)): 1.5,
    ("ollama_push_paused_seconds_total", (("reason", "rate"),)): 0.25,
    ("ollama_push_stalls_total", ()): 2,
    ("ollama_push_rollbacks_total", ()): 1,
    ("ollama_push_rolled_back_bytes_total", ()): 40,
    ("ollama_push_delivered_bytes_total", (("how", "sent"),)): 50,
    ("ollama_push_delivered_bytes_total", (("how", "skipped"),)): 40,
    ("ollama_push_delivered_bytes_total", (("how", "resumed"),)): 10,
}


class ListSink:
    """A sink of the plainest kind."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Metric, float, dict[str, str]]] = []

    def count(self, metric: Metric, amount: float, labels: Mapping[str, str], /) -> None:
        self.calls.append(("count", metric, amount, dict(labels)))

    def gauge(self, metric: Metric, change: float, labels: Mapping[str, str], /) -> None:
        self.calls.append(("gauge", metric, change, dict(labels)))

    def observe(self, metric: Metric, value: float, labels: Mapping[str, str], /) -> None:
        self.calls.append(("observe", metric, value, dict(labels)))


def _tell_eleven_pushes(hook: MetricsHook) -> None:
    for story in ELEVEN_PUSHES:
        story(hook)


def _exposition(*, model_label: bool = False) -> str:
    registry = CollectorRegistry()
    _tell_eleven_pushes(MetricsHook(PrometheusSink(registry, model_label=model_label), model_label=model_label))
    return generate_latest(registry).decode()


def _scraped(exposition: str) -> _Sums:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


def test_what_is_scraped_after_eleven_pushes_is_their_sum() -> None:
    assert _scraped(_exposition()) == pytest.approx(_EXPECTED)


def test_every_metric_of_the_catalogue_is_among_what_eleven_pushes_expose() -> None:
    names = {name.removesuffix("_sum").removesuffix("_count") for name, _labels in _EXPECTED}
    assert names == {prometheus_name(metric) for metric in METRICS}


def test_durations_fall_into_the_buckets_of_the_catalogue() -> None:
    families = text_string_to_metric_families(_exposition())
    duration = next(family for family in families if family.name == "ollama_push_push_duration_seconds")
    buckets = {
        sample.labels["le"]: sample.value
        for sample in duration.samples
        if sample.name.endswith("_bucket") and sample.labels["outcome"] == "succeeded"
    }
    metric = next(metric for metric in METRICS if metric.name == "ollama_push.push.duration")
    assert [float(bound) for bound in buckets] == [*metric.buckets, float("inf")]
    assert (buckets["0.5"], buckets["2.5"], buckets["5.0"], buckets["60.0"], buckets["120.0"]) == (1, 4, 6, 6, 7)


@needs_promtool
@pytest.mark.parametrize("model_label", [False, True])
def test_promtool_has_nothing_to_say_about_what_is_scraped(*, model_label: bool) -> None:
    assert promtool("check", "metrics", text=_exposition(model_label=model_label)) == ""


def test_a_push_under_way_is_in_progress_until_it_ends() -> None:
    sink = ListSink()
    uploaded(MetricsHook(sink))
    gauges = [(index, call[2]) for index, call in enumerate(sink.calls) if call[0] == "gauge"]
    assert [change for _index, change in gauges] == [1, -1]
    assert gauges[0][0] == 0


def test_any_object_with_the_three_methods_is_a_sink() -> None:
    sink = ListSink()
    _tell_eleven_pushes(MetricsHook(sink))
    kinds = {metric: method for method, metric, _value, _labels in sink.calls}
    methods = {Kind.COUNTER: "count", Kind.GAUGE: "gauge", Kind.HISTOGRAM: "observe"}
    assert kinds == {metric: methods[metric.kind] for metric in METRICS}
    moved = sum(value for _method, metric, value, _labels in sink.calls if metric.name == "ollama_push.moved")
    assert moved == _MOVED


def test_measurements_carry_the_labels_of_the_catalogue_and_no_others() -> None:
    sink = ListSink()
    _tell_eleven_pushes(MetricsHook(sink))
    assert {(metric, frozenset(labels)) for _method, metric, _value, labels in sink.calls} == {
        (metric, frozenset(metric.labels)) for metric in METRICS
    }


def test_no_label_names_a_model_or_a_digest_unless_asked_for() -> None:
    exposition = _exposition()
    assert "model=" not in exposition
    assert "sha256:" not in exposition
    assert PUSH.model not in exposition


def test_a_model_label_stands_on_pushes_only_when_asked_for() -> None:
    named = [line for line in _exposition(model_label=True).splitlines() if "model=" in line]
    assert {line.partition("{")[0] for line in named} == {"ollama_push_pushes_total", "ollama_push_pushes_created"}
    models = {found for line in named for found in re.findall(r'model="([^"]*)"', line)}
    assert models == {PUSH.model, DIRECT.model}


def test_opentelemetry_gets_dotted_names_units_and_attributes() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    _tell_eleven_pushes(MetricsHook(OtelSink(provider)))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert scope.scope.name == "ollama_push"
    told = {metric.name: metric for metric in scope.metrics}
    assert {name: (metric.unit, metric.description) for name, metric in told.items()} == {
        metric.name: (metric.unit, metric.description) for metric in METRICS
    }
    sums: _Sums = {}
    for metric in METRICS:
        for point in told[metric.name].data.data_points:
            labels = tuple(sorted((name, str(value)) for name, value in (point.attributes or {}).items()))
            if isinstance(point, HistogramDataPoint):
                assert tuple(point.explicit_bounds) == metric.buckets
                sums[metric.name, labels] = point.sum
            elif isinstance(point, NumberDataPoint):
                sums[metric.name, labels] = point.value
    assert sums == pytest.approx(_as_attributes(_EXPECTED))


def _as_attributes(scraped: _Sums) -> _Sums:
    """Respell what Prometheus scrapes: ``error`` is ``error.type``, and an empty attribute is none."""
    dotted = {prometheus_name(metric): metric.name for metric in METRICS}
    return {
        (dotted[name.removesuffix("_sum")], tuple(sorted((_RENAMED.get(a, a), b) for a, b in labels if b))): value
        for (name, labels), value in scraped.items()
        if not name.endswith("_count")
    }


_RENAMED = {"error": "error.type"}


def test_sinks_of_one_registry_count_together() -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        PrometheusSink(registry).count(METRICS[0], 1, {"outcome": "failed", "error": "X"})
    assert registry.get_sample_value("ollama_push_pushes_total", {"outcome": "failed", "error": "X"}) == 2
    with pytest.raises(InvalidSetting, match="whose model_label differs"):
        PrometheusSink(registry, model_label=True)


def test_the_default_registry_takes_a_sink_more_than_once() -> None:
    assert PrometheusSink()._collectors is PrometheusSink()._collectors


def test_a_metric_of_somebody_elses_is_not_taken_over() -> None:
    registry = CollectorRegistry()
    Counter("ollama_push_attempts_total", "theirs", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusSink(registry)


def test_a_gateways_metrics_are_declared_beside_those_of_pushes() -> None:
    registry = CollectorRegistry()
    sink = PrometheusSink(registry)
    for _ in range(2):
        sink.declare(PULL_METRICS)
    PrometheusSink(registry).declare(PULL_METRICS)
    sink.count(PULLED, 5, {"source": "cache"})
    sink.gauge(PULLS_IN_PROGRESS, 1, {})
    assert registry.get_sample_value("ollama_push_pulled_bytes_total", {"source": "cache"}) == 5
    assert registry.get_sample_value("ollama_push_pulls_in_progress") == 1
