"""``ollama-push push``: one or several models, one verdict each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Final

import click

from ollama_push.cli import exits
from ollama_push.cli.connection import Connection, Settings, connect, connection_options
from ollama_push.cli.direct import DirectConnection, DirectSettings, connect_directly, direct_options
from ollama_push.cli.display import CHOICES, new_display
from ollama_push.cli.measuring import measuring
from ollama_push.cli.signals import Stopper
from ollama_push.cli.texts import model_text
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
from ollama_push.core.registry.pushing import direct_name

__all__ = ["push"]

_SERVER_STOPS: Final = (
    "stopped: the connection is closed, so the server stops too. Layers that were complete stay in the registry;"
    " run the same command again to go on."
)
_HUNG_UP: Final = (
    "stopped at once: blobs that were complete stay in the registry, and so does what it keeps of a broken part;"
    " run the same command again to go on."
)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--insecure", is_flag=True, help="Plain HTTP between the server and the registry.")
@direct_options("source", "models", "plain_http", "concurrency", "no_verify", "no_resume", "part_size")
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
    direct: DirectSettings | None,
    progress: str,
    *,
    metrics_port: str | None,
    metrics_file: str | None,
    verbose: int,
    insecure: bool,
    quiet: bool,
) -> int:
    """Push models through an Ollama server, or with --direct straight to a registry.

    NAME is [host/]namespace/model[:tag]. Several are pushed one after the other; one that fails does not stop
    the others, and the exit code is the first failure's.

    With --direct, what was sent before Ctrl-C is kept: the first one ends the part under way, a second one
    stops at once, and the same command again goes on.
    """
    if quiet or (verbose and progress == "auto"):
        # The log tells the story already.
        progress = "none"
    logs: list[Hook] = [_log_hook(verbose)] if verbose else []
    try:
        if direct is None:
            with connect(settings) as connection, measuring(metrics_port, metrics_file) as measurers:
                hooks = [*measurers, *logs]
                codes = [_push_one(connection, name, progress, hooks, insecure=insecure) for name in names]
        else:
            with connect_directly(settings, direct) as registry, measuring(metrics_port, metrics_file) as measurers:
                codes = _push_directly(registry, names, direct, progress, [*measurers, *logs])
    except KeyboardInterrupt:
        # On a terminal "^C" stands at the beginning of the line.
        click.echo(f"\n{_SERVER_STOPS if direct is None else _HUNG_UP}", err=True)
        return exits.INTERRUPTED
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


def _push_directly(
    registry: DirectConnection,
    names: Sequence[str],
    direct: DirectSettings,
    progress: str,
    hooks: Sequence[Hook],
) -> list[int]:
    """Push each of *names*; once stopped, the rest is not begun."""
    stopper = Stopper(registry.interrupt, registry.hang_up)
    codes = []
    with stopper.listening():
        for index, name in enumerate(names):
            codes.append(_push_one_directly(registry, name, progress, [stopper.remind, *hooks], direct))
            rest = names[index + 1 :]
            if stopper.asked and rest:
                click.echo(f"not begun: {', '.join(map(model_text, rest))}", err=True)
                return [exits.INTERRUPTED]
    # Being stopped says more than what failed before.
    return [exits.INTERRUPTED] if exits.INTERRUPTED in codes else codes


def _push_one_directly(
    registry: DirectConnection, name: str, progress: str, hooks: Sequence[Hook], direct: DirectSettings
) -> int:
    display = new_display(progress, name, None)
    try:
        name = str(direct_name(name, plain_http=direct.plain_http))
        display = new_display(progress, name, None)
        receipt = registry.push(name, [display, *hooks])
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
