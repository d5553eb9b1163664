"""Renders pushes as HTML: the page is readable as it arrives, and its script only replaces these pieces.

Text from outside is escaped here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from typing import Final

from ollama_push.core.progress import LayerSnapshot, ProgressSnapshot
from ollama_push.core.registry.manifests import short_digest
from ollama_push.core.units import bytes_text, seconds_text
from ollama_push.gateway.messages import pullability_text
from ollama_push.gateway.push_history import PushRecord

__all__ = ["push_html", "push_items"]

_LAYERS_SHOWN: Final = 12
"""Most models have five layers; one stored as tensors has hundreds, which nobody reads."""

_DAY_SECONDS: Final = 86_400
"""A time left beyond this is only shown as long."""


def push_items(records: Iterable[PushRecord], *, running: bool) -> str:
    """Return the list items of the pushes that run, or of those that have ended."""
    return "".join(push_html(record) for record in records if record.is_running is running)


def push_html(record: PushRecord) -> str:
    """Return one push as a list item with the id ``push-N``."""
    scheme, _, host = record.target.partition("://")
    plain = ' <span class="plain">plain HTTP</span>' if scheme == "http" else ""
    model = escape(record.model.removeprefix(f"{host}/"))
    state = "running" if record.outcome is None else record.outcome.value
    body = _running(record, model) if record.outcome is None else _ended(record)
    # Where it goes is not known of a name that is none.
    where = f'<p class="where">to {escape(host)}{plain}</p>' if host else ""
    return (
        f'<li id="push-{record.id}" class="push {state}" data-news="{model}: {state}">'
        f'<div class="head"><h3>{model}</h3><span class="state">{state}</span></div>'
        f"{where}{body}</li>"
    )


def _running(record: PushRecord, model: str) -> str:
    progress = record.progress
    speed = "" if progress.bytes_per_second is None else f"{bytes_text(progress.bytes_per_second)}/s"
    facts = [_share(progress), speed, _left(progress), f"for {seconds_text(record.elapsed_seconds)}"]
    return (
        f"{_bar(progress.fraction, f'{model}, whole push')}"
        f'<p class="facts">{_facts(facts)}</p>'
        f'<p class="status">{escape(progress.status or "starting")}</p>{_layers(progress.layers)}'
    )


def _ended(record: PushRecord) -> str:
    facts = [_share(record.progress), _present(record.progress)]
    facts += [f"in {seconds_text(record.elapsed_seconds)}", f"began {_when(record.started_unix)}"]
    error = f'<p class="error">{escape(record.error)}</p>' if record.error else ""
    found = record.pullability
    pull = "" if found is None else f'<p class="facts">{escape(pullability_text(found))}</p>'
    return f'{error}<p class="facts">{_facts(facts)}</p>{pull}'


def _share(progress: ProgressSnapshot) -> str:
    done, total = progress.completed_bytes, progress.total_bytes
    if progress.succeeded:
        return bytes_text(total or done)
    if total is None:
        return f"{bytes_text(done)} so far" if done else ""
    return f"{_percent(progress.fraction or 0.0)}, {bytes_text(done)} of {bytes_text(total)}"


def _present(progress: ProgressSnapshot) -> str:
    present = sum(layer.total_bytes for layer in progress.layers if layer.was_present)
    if present and present == progress.total_bytes:
        return "all of it was there already"
    return f"{bytes_text(present)} of it were there already" if present else ""


def _left(progress: ProgressSnapshot) -> str:
    if progress.eta_seconds is None:
        return ""
    return f"{seconds_text(progress.eta_seconds)} left" if progress.eta_seconds < _DAY_SECONDS else "over a day left"


def _layers(layers: tuple[LayerSnapshot, ...]) -> str:
    if not layers:
        return ""
    done = sum(layer.fraction == 1.0 for layer in layers)
    # Layers under way come first; the sort is stable.
    shown = sorted(layers, key=lambda layer: layer.fraction == 1.0)[:_LAYERS_SHOWN]
    rows = "".join(_layer(layer) for layer in shown)
    more = len(layers) - _LAYERS_SHOWN
    rest = f'<li class="more">and {more} more</li>' if more > 0 else ""
    word = "layer" if len(layers) == 1 else "layers"
    return (
        f'<details><summary>{len(layers)} {word}, {done} done</summary><ul class="layers">{rows}{rest}</ul></details>'
    )


def _layer(layer: LayerSnapshot) -> str:
    # Of "sha256:model", the sum of all tensors, this is the word.
    digest = escape(short_digest(layer.digest))
    state = "there already" if layer.was_present else f"{_percent(layer.fraction)} of {bytes_text(layer.total_bytes)}"
    return f"<li><code>{digest}</code>{_bar(layer.fraction, f'layer {digest}')}<span>{state}</span></li>"


def _bar(fraction: float | None, label: str) -> str:
    """Return a bar; *label* is HTML already. Without a fraction it only shows that work is under way."""
    value = "" if fraction is None else f' value="{fraction:.3f}"'
    return f'<progress max="1"{value} aria-label="{label}"></progress>'


def _percent(fraction: float) -> str:
    # Rounded down: only what is complete shows 100 %.
    return f"{int(fraction * 100)} %"


def _facts(facts: Iterable[str]) -> str:
    return "".join(f"<span>{fact}</span>" for fact in facts if fact)


def _when(unix: float) -> str:
    moment = time.gmtime(unix)
    exact, readable = (time.strftime(form, moment) for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M UTC"))
    return f'<time datetime="{exact}">{readable}</time>'
