"""``ollama-push check``: what is known before a push, and whether it can succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, connect, connection_options
from ollama_push.cli.direct import DirectSettings, connect_directly, credentials_of, direct_options, warn_of_empty_login
from ollama_push.cli.display import CHOICES
from ollama_push.cli.display.json_lines import failure_fields, json_line
from ollama_push.cli.display.streams import report, say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.messages import USUAL
from ollama_push.cli.reports import model_text, plan_lines, pullability_fields, readiness_lines
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.registry.credentials import Signer
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.target import RegistryModel, direct_name
from ollama_push.local import Credentials

if TYPE_CHECKING:
    from ollama_push.client import PushClient, RegistryClient

__all__ = ["check"]

# In the order in which they are written; what a check did not find out is null.
_FACTS: Final = (
    "total_bytes",
    "server_version",
    "account",
    "registry",
    "public_key",
    "manifest_digest",
    "present_bytes",
    "missing_bytes",
    "pullability",
)


@click.command(
    cls=HelpedCommand,
    short_help="Ask whether a push is going to work.",
    examples=[
        "ollama-push check myuser/my-llama",
        "ollama-push check registry.example.com/team/my-llama --direct --from my-llama",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@direct_options("source", "models", "plain_http", "concurrency")
@click.option(
    "--progress",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="json: one object per name on stdout; none: problems only; all others: lines.",
)
@connection_options
def check(names: Sequence[str], settings: Settings, direct: DirectSettings | None, progress: str) -> int:
    """Check whether a push of NAME can succeed, without an upload.

    Checks the name, the connection to the server, the model and its size there, and for Ollama's own registry the
    account that the server is signed in with. With --direct, checks the local model, which of its blobs the registry
    already has, and the permission to push there.
    """
    if direct is None:
        with connect(settings) as server:
            codes = [_check(server, name, progress) for name in names]
    else:
        warn_of_empty_login()
        with connect_directly(settings, direct) as registry:
            codes = [_check_directly(registry, direct, name, credentials_of(settings), progress) for name in names]
    return next(filter(None, codes), exit_codes.OK)


def _check(server: ClientRunner[PushClient], name: str, progress: str) -> int:
    readiness = server.run(lambda client: client.check(name))
    facts = {name: getattr(readiness, name, None) for name in _FACTS}
    return _tell(progress, readiness.model, readiness_lines(readiness), facts, readiness.problems)


def _check_directly(
    registry: ClientRunner[RegistryClient],
    direct: DirectSettings,
    name: str,
    credentials: Credentials,
    progress: str,
) -> int:
    lines: list[str] = []
    facts = dict.fromkeys(_FACTS)
    problems: list[OllamaPushError] = []
    try:
        parsed = direct_name(name, plain_http=direct.plain_http)
        name = str(parsed)
        facts["registry"] = Endpoint.of(parsed.host, plain_http=direct.plain_http).origin
        lines.append(f"registry: {facts['registry']}")
        if is_ollama_cloud(parsed.host) and isinstance(signer := credentials.find(parsed.host), Signer):
            facts["public_key"] = f"ssh-ed25519 {signer.public_key}"
            lines.append(f"key: {facts['public_key']}")
        source, target = direct.source, RegistryModel(parsed)
        if source is None:
            plan = registry.run(lambda client: client.plan(parsed))
        else:
            plan = registry.run(lambda client: client.plan_copy(source, target))
        facts |= {name: getattr(plan, name) for name in _FACTS if hasattr(plan, name)}
        facts["pullability"] = pullability_fields(plan.pullability)
        lines += plan_lines(plan)
    except OllamaPushError as problem:
        problems.append(problem)
    return _tell(progress, name, lines, facts, problems)


def _tell(
    progress: str,
    model: str,
    lines: Sequence[str],
    facts: Mapping[str, Any],
    problems: Sequence[OllamaPushError],
) -> int:
    """Write the facts to stdout, what people must know to stderr, and return the exit code."""
    texts = [USUAL.format(problem, model) for problem in problems]
    if progress == "json":
        failures = [failure_fields(*problem, 0) for problem in zip(problems, texts, strict=True)]
        for failure in failures:
            del failure["attempts"]
        report(json_line("checked", model, {"ready": not problems, **facts, "problems": failures}))
    elif lines and progress != "none":
        report(*lines)
    if problems or progress not in {"json", "none"}:
        verdict = f"{model_text(model)}: {'not ready' if problems else 'ready'}"
        say(*(f"problem: {text}" for text in texts), verdict)
    return exit_codes.exit_code(problems[0]) if problems else exit_codes.OK
