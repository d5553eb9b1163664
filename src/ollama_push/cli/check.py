"""``ollama-push check``: what is known before a push."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ollama_push.cli import exit_codes as exits
from ollama_push.cli.connection import Connection, Settings, connect, connection_options
from ollama_push.cli.direct import DirectConnection, DirectSettings, connect_directly, direct_options
from ollama_push.cli.messages import USUAL
from ollama_push.cli.reports import model_text, plan_lines, printable, readiness_lines
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.target import direct_name

__all__ = ["check"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@direct_options("source", "models", "plain_http", "concurrency")
@connection_options
def check(names: Sequence[str], settings: Settings, direct: DirectSettings | None) -> int:
    """Say whether a push of NAME is going to work; nothing is uploaded.

    Asks: is the server there? does it have the model, how large is it? for Ollama's own registry, is it
    signed in? is the name legal? With --direct, the registry is asked: what of the model does it have
    already, and may we push there?
    """
    if direct is None:
        with connect(settings) as connection:
            codes = [_check(connection, name) for name in names]
    else:
        with connect_directly(settings, direct) as registry:
            codes = [_check_directly(registry, name, plain_http=direct.plain_http) for name in names]
    return next(filter(None, codes), exits.SUCCESS)


def _check(connection: Connection, name: str) -> int:
    readiness = connection.check(name)
    problem = next(iter(readiness.problems), None)
    _tell(readiness.model, readiness_lines(readiness), is_ready=problem is None)
    return exits.SUCCESS if problem is None else exits.exit_code(problem)


def _check_directly(registry: DirectConnection, name: str, *, plain_http: bool) -> int:
    lines = []
    try:
        parsed = direct_name(name, plain_http=plain_http)
        lines.append(f"registry: {Endpoint.of(parsed.host, plain_http=plain_http).origin}")
        name = str(parsed)
        lines += plan_lines(registry.plan(name))
    except OllamaPushError as problem:
        _tell(name, [*lines, f"problem: {printable(USUAL.of(problem))}"], is_ready=False)
        return exits.exit_code(problem)
    _tell(name, lines, is_ready=True)
    return exits.SUCCESS


def _tell(model: str, lines: Sequence[str], *, is_ready: bool) -> None:
    for line in lines:
        click.echo(line)
    click.echo(f"{model_text(model)}: {'ready' if is_ready else 'not ready'}", err=True)
