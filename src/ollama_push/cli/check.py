"""``ollama-push check``: what is known before a push."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ollama_push.cli import exits
from ollama_push.cli.connection import Settings, connect, connection_options
from ollama_push.cli.texts import readiness_lines

__all__ = ["check"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@connection_options
def check(names: Sequence[str], settings: Settings) -> int:
    """Say whether a push of NAME is going to work; nothing is uploaded.

    Asks: is the server there? does it have the model, how large is it? for Ollama's own registry, is it
    signed in? is the name legal?
    """
    codes = []
    with connect(settings) as connection:
        for name in names:
            readiness = connection.check(name)
            for line in readiness_lines(readiness):
                click.echo(line)
            # Spelled out when it is no name: it may hold what a terminal should not get.
            shown = readiness.model if readiness.model.isprintable() and readiness.model else repr(readiness.model)
            click.echo(f"{shown}: {'ready' if readiness.ok else 'not ready'}", err=True)
            codes += [exits.exit_code(problem) for problem in readiness.problems[:1]]
    return next(filter(None, codes), exits.SUCCESS)
