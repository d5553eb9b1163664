"""``ollama-push push``: one or several models, one verdict each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click

from ollama_push.cli import exits
from ollama_push.cli.connection import Connection, Settings, connect, connection_options
from ollama_push.cli.display import CHOICES, new_display
from ollama_push.cli.measuring import measuring
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import (
    ConnectFailed,
    InvalidModelName,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportMisbehaved,
)
from ollama_push.core.ports import Hook

__all__ = ["push"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--insecure", is_flag=True, help="Plain HTTP between the server and the registry.")
@click.option(
    "--progress",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="auto is a bar on a terminal and lines elsewhere; json writes one object a line to stdout.",
)
@connection_options
@click.option("--metrics-port", metavar="[ADDRESS:]PORT", help="Serve Prometheus metrics while pushing.")
@click.option("--metrics-file", metavar="FILE", help="Leave Prometheus metrics in a file, for node_exporter.")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for every detail.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors; the same as --progress none.")
def push(
    names: Sequence[str],
    settings: Settings,
    progress: str,
    *,
    metrics_port: str | None,
    metrics_file: str | None,
    verbose: int,
    insecure: bool,
    quiet: bool,
) -> int:
    """Push models through an Ollama server.

    NAME is [host/]namespace/model[:tag]. Several are pushed one after the other; one that fails does not stop
    the others, and the exit code is the first failure's.
    """
    if quiet or (verbose and progress == "auto"):
        # The log tells the story already.
        progress = "none"
    with connect(settings) as connection, measuring(metrics_port, metrics_file) as measurers:
        hooks: list[Hook] = [*measurers, *([_log_hook(verbose)] if verbose else [])]
        codes = [_push_one(connection, name, progress, hooks, insecure=insecure) for name in names]
    return next(filter(None, codes), exits.SUCCESS)


def _push_one(
    connection: Connection,
    name: str,
    progress: str,
    hooks: Sequence[Hook],
    *,
    insecure: bool,
) -> int:
    try:
        readiness = connection.check(name)
    except TransportMisbehaved as exc:
        new_display(progress, name, None).failed(exc)
        return exits.exit_code(exc)
    display = new_display(progress, readiness.model, readiness.total_bytes)
    fatal = next(filter(_is_fatal, readiness.problems), None)
    try:
        if fatal is not None:
            raise fatal
        receipt = connection.push(name, [display, *hooks], insecure=insecure)
    except OllamaPushError as exc:
        display.failed(exc)
        return exits.exit_code(exc)
    display.succeeded(receipt)
    return exits.SUCCESS


def _is_fatal(problem: OllamaPushError) -> bool:
    """Say whether a push would end in *problem* too: what only the check stumbled over is not."""
    match problem:
        case InvalidModelName() | ConnectFailed():
            return True
        case ServerError(status=status):
            return status in (401, 403)
        case PushRejected(reason=reason):
            return reason is RejectionReason.MODEL_NOT_FOUND
        case _:
            return False


def _log_hook(verbose: int) -> LogHook:
    """Return a hook with a logger of its own: the command must not set up logging for the whole process."""
    logger = logging.Logger("ollama_push", logging.INFO if verbose == 1 else logging.DEBUG)  # noqa: LOG001
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    return LogHook(logger)
