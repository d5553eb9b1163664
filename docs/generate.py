"""Writes into the pages what the code knows, between markers, and the picture of the architecture.

Run ``python -m docs.generate``; with ``--check`` it writes nothing and fails when a page is stale.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
from docs.architecture_picture import PICTURE, contracts, drawn

from ollama_push.cli import exit_codes
from ollama_push.contrib.metrics import METRICS, Kind
from ollama_push.contrib.metrics.catalogue import PULL_METRICS
from ollama_push.contrib.metrics.prometheus import prometheus_name
from ollama_push.core import errors, ports
from ollama_push.core.errors import ConnectCause, ConnectFailed, OllamaPushError, PushRejected, RejectionReason
from ollama_push.core.server.protocol import TRANSITIONS, PushState

PAGES: Final = Path(__file__).parent
COMMON: Final = {field.name for field in attrs.fields(OllamaPushError)}
OTHER_CODES: Final[Mapping[int, str]] = {
    exit_codes.OK: "every push succeeded, or every check found nothing",
    exit_codes.BUG: "a bug: of this package, of a hook or of a transport",
    exit_codes.USAGE: "wrong options or arguments",
    exit_codes.INTERRUPTED: "Ctrl-C",
}


def metrics_table() -> str:
    """Return every metric with both its names."""
    rows = [
        (
            f"`{prometheus_name(metric)}`<br>`{metric.name}`",
            metric.kind.value,
            f"`{metric.unit}`",
            ", ".join(f"`{label}`" for label in metric.labels) or "none",
            metric.description,
        )
        for metric in (*METRICS, *PULL_METRICS)
    ]
    return table(("Prometheus<br>OpenTelemetry", "kind", "unit", "labels", "meaning"), rows)


def buckets_table() -> str:
    """Return the bounds of every histogram."""
    rows = [
        (f"`{prometheus_name(metric)}`", ", ".join(f"{bound:g}".replace("e+0", "e") for bound in metric.buckets))
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
    ]
    return table(("histogram", "upper bounds"), rows)


def errors_table() -> str:
    """Return every exception with its fields and exit code."""
    rows = []
    for kind in error_kinds():
        parents = [base.__name__ for base in kind.__bases__ if not issubclass(base, OllamaPushError)]
        fields = [f"`{field.name}`" for field in attrs.fields(kind) if field.name not in COMMON]
        name = f"`{kind.__name__}`" + "".join(f" (`{parent}`)" for parent in parents if parent != "Exception")
        rows.append((name, summary(kind), ", ".join(fields), str(code_of(kind))))
    return table(("exception", "when", "fields", "exit code"), rows)


def exits_table() -> str:
    """Return every exit code with what ends in it."""
    meanings: dict[int, list[str]] = {code: [text] for code, text in OTHER_CODES.items()}
    for kind, code in exit_codes.EXIT_CODES:
        meanings.setdefault(code, []).append(f"`{kind.__name__}`")
    for status in (401, 403):
        meanings.setdefault(exit_codes.exit_code(errors.ServerError(status)), []).append(f"`ServerError` with {status}")
    usual = code_of(PushRejected)
    for reason in RejectionReason:
        code = exit_codes.exit_code(PushRejected("", reason))
        if code != usual:
            meanings.setdefault(code, []).append(f"`PushRejected` for `{reason.value}`")
    return table(("code", "ending"), [(str(code), ", ".join(meanings[code])) for code in sorted(meanings)])


def reasons_table() -> str:
    """Return every reason for a refusal."""
    texts = member_texts(RejectionReason)
    rows = [
        (
            f"`{reason.value}`",
            texts[reason.name],
            "yes" if reason.is_transient else "no",
            str(exit_codes.exit_code(PushRejected("", reason))),
        )
        for reason in RejectionReason
    ]
    return table(("reason", "meaning", "may pass", "exit code"), rows)


def causes_table() -> str:
    """Return every cause of a failed connection with its text."""
    rows = [(f"`{cause.value}`", str(ConnectFailed("URL", cause))) for cause in ConnectCause]
    return table(("cause", "text"), rows)


def promises_table() -> str:
    """Return what a transport promises, as its port says it."""
    found = re.findall(r"^(T\d+) +(.+)$", inspect.getdoc(ports) or "", re.MULTILINE)
    return table(("clause", "promise"), [(number, text.replace("``", "`")) for number, text in found])


def states_diagram() -> str:
    """Return the moves of ``TRANSITIONS``, by state."""
    width = max(len(_name(what)) for _state, what in TRANSITIONS)
    lines: list[str] = []
    for state in PushState:
        moves = [(what, after) for (before, what), after in TRANSITIONS.items() if before is state]
        lines.append(f"{state.name}: {state.value}")
        lines += [f"  |-- {_name(what)} {'-' * (width - len(_name(what)))}--> {after.name}" for what, after in moves]
    return "\n".join(["```text", *lines, "```"])


def contracts_list() -> str:
    """Return the names of the import contracts: each is a sentence."""
    return "\n".join(f"- {contract['name']}." for contract in contracts())


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "metrics": metrics_table,
    "buckets": buckets_table,
    "errors": errors_table,
    "exits": exits_table,
    "reasons": reasons_table,
    "causes": causes_table,
    "promises": promises_table,
    "states": states_diagram,
    "contracts": contracts_list,
}
_MARKED: Final = re.compile(r"(?<=<!-- generated: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def generated(page: str) -> str:
    """Return *page* with every marked block as the code has it now."""
    return _MARKED.sub(lambda found: f"{found[1]}{found[2]}\n{BLOCKS[found[1]]()}\n\n", page)


def main(arguments: Sequence[str]) -> int:
    """Write the stale pages, or name them when only checking; return the exit code."""
    stale = []
    fresh = {path: generated(path.read_text("utf-8")) for path in sorted(PAGES.glob("*.md"))}
    for path, now in {**fresh, PICTURE: drawn()}.items():
        if not path.exists() or path.read_text("utf-8") != now:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(now, "utf-8")
    if "--check" in arguments and stale:
        print(f"stale: {', '.join(stale)}; run python -m docs.generate", file=sys.stderr)
        return 1
    return 0


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def error_kinds() -> list[type[OllamaPushError]]:
    """Return every exception that is raised itself, in the order of the tree in the module's docstring."""
    tree = inspect.getdoc(errors) or ""
    named = [getattr(errors, name, None) for name in re.findall(r"── (\w+)", tree)]
    kinds = [kind for kind in named if isinstance(kind, type) and issubclass(kind, OllamaPushError)]
    return [kind for kind in kinds if not kind.__subclasses__()]


def code_of(kind: type[OllamaPushError]) -> int:
    """Return the usual exit code of *kind*."""
    return next((code for parent, code in exit_codes.EXIT_CODES if issubclass(kind, parent)), exit_codes.BUG)


def summary(kind: type) -> str:
    """Return the first sentence of the docstring of *kind*."""
    first = (inspect.getdoc(kind) or "").splitlines()[0]
    return first.replace("``", "`").replace("*not*", "not").rstrip(".")


def member_texts(kind: type[enum.Enum]) -> dict[str, str]:
    """Return the string below each member of *kind*: it does not exist at run time."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - for the type checker
    texts = {}
    for before, node in zip(body.body, body.body[1:], strict=False):
        match before, node:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text.replace("``", "`").rstrip(".")
    return texts


def _name(what: enum.Enum | type) -> str:
    return what.__name__ if isinstance(what, type) else what.value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
