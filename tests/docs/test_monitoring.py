"""The dashboard and the alerts that ship with the documentation fit the metrics there are."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from tests.support.promtool import needs_promtool, promtool

from ollama_push.contrib.metrics import METRICS, Kind
from ollama_push.contrib.metrics.catalogue import PULL_METRICS
from ollama_push.contrib.metrics.prometheus import prometheus_name

_ALL: Final = (*METRICS, *PULL_METRICS)
_FOLDER: Final = Path(__file__).parents[2] / "docs" / "monitoring"
_ALERTS: Final = _FOLDER / "alerts.yml"
_ALERTS_TEXT: Final = _ALERTS.read_text("utf-8")
_DASHBOARD: Final[dict[str, Any]] = json.loads((_FOLDER / "grafana-dashboard.json").read_text("utf-8"))
_NAME: Final = re.compile(r"\bollama_push_\w+")
_COLUMNS: Final = 24  # of Grafana's grid


def _exposed() -> dict[str, str]:
    """Return every name that is scraped, with the metric it belongs to."""
    names = {}
    for metric in _ALL:
        name = prometheus_name(metric)
        suffixes = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names.update({f"{name}{suffix}": name for suffix in suffixes})
    return names


def _expressions() -> list[str]:
    return [target["expr"] for panel in _DASHBOARD["panels"] for target in panel["targets"]]


def _used_by_the_dashboard() -> set[str]:
    return set(_NAME.findall(json.dumps(_DASHBOARD)))


def _labels_in(expression: str) -> set[tuple[str, str]]:
    """Return (metric, label) for each label an expression selects a metric by."""
    found = set[tuple[str, str]]()
    for name, selector in re.findall(r"(ollama_push_\w+)\{([^}]*)\}", expression):
        found.update((_exposed()[name], label) for label in re.findall(r"(\w+)\s*[=!]~?\s*[\"~]", selector))
    return found


def test_the_dashboard_uses_only_names_that_are_exposed() -> None:
    assert _used_by_the_dashboard() - _exposed().keys() == set()


def test_every_metric_stands_on_the_dashboard() -> None:
    shown = {_exposed()[name] for name in _NAME.findall(" ".join(_expressions()))}
    assert shown == {prometheus_name(metric) for metric in _ALL}


def test_the_alerts_use_only_names_that_are_exposed() -> None:
    used = set(_NAME.findall(_ALERTS_TEXT))
    assert used
    assert used - _exposed().keys() == set()


def test_metrics_are_selected_by_labels_they_have() -> None:
    labels = {prometheus_name(metric): {*metric.labels, "job", "instance"} for metric in _ALL}
    selected = set[tuple[str, str]]()
    for expression in (*_expressions(), _ALERTS_TEXT):
        selected |= _labels_in(expression)
    assert ("ollama_push_pushes_total", "outcome") in selected
    assert [(name, label) for name, label in selected if label not in labels[name]] == []


@needs_promtool
def test_promtool_accepts_every_alert() -> None:
    said = promtool("check", "rules", str(_ALERTS))
    assert f"SUCCESS: {_ALERTS_TEXT.count('- alert:')} rules found" in said


@needs_promtool
def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [re.sub(r"\$__\w+", "5m", expression) for expression in _expressions()]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(path))


def test_every_alert_says_how_bad_it_is_and_what_it_is_about() -> None:
    head, *alerts = _ALERTS_TEXT.split("- alert: ")
    assert "expr:" not in head
    assert alerts
    for alert in alerts:
        assert re.search(r"^ +severity: (critical|warning|info)$", alert, re.MULTILINE)
        assert re.search(r"^ +summary: \w", alert, re.MULTILINE)
        assert re.search(r"^ +description: \S", alert, re.MULTILINE)


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    assert isinstance(_DASHBOARD["schemaVersion"], int)
    assert _DASHBOARD["title"]
    assert "id" not in _DASHBOARD  # Grafana's own number of it
    variables = {variable["name"] for variable in _DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(_DASHBOARD)))
    assert used == variables
    panels = _DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["datasource"]["uid"] == "${datasource}"
        identities = [target["refId"] for target in panel["targets"]]
        assert len(set(identities)) == len(identities) > 0


def test_panels_do_not_cover_each_other() -> None:
    places = [panel["gridPos"] for panel in _DASHBOARD["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= _COLUMNS
    for one, two in combinations(places, 2):
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        above = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert beside or above
