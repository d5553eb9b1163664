"""``ollama-push push``: one or several models, one verdict each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click

from ollama_push.cli import exit_codes as exits
from ollama_push.cli.connection import Connection, Settings, connect, connection_options
from ollama_push.cli.direct import DirectConnection, DirectSettings, connect_directly, direct_options
from ollama_push.cli.display import CHOICES, new_display
from ollama_push.cli.display.streams import write_whole
from ollama_push.cli.messages import SERVER_STOPS, MessageFormatter, option_for
from ollama_push.cli.metrics import measuring
from ollama_push.cli.reports import model_text, unkept_text
from ollama_push.cli.signals import Stopper
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import (
    ConnectFailed,
    InvalidModelName,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
)
from ollama_push.core.ports import Hook
from ollama_push.core.registry.target import direct_name
from ollama_push.local import FileResumeStore

__all__ = ["push"]


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

    With --direct, the first Ctrl-C ends the part under way, and the same command again goes on behind it; a
    second one stops at once, and what arrived of a part may be lost.
    """
    if quiet or (verbose and progress == "auto"):
        # The log tells the story already.
        progress = "none"
    logs: list[Hook] = [_log_hook(verbose)] if verbose else []
    if direct is None:
        with connect(settings) as connection, measuring(metrics_port, metrics_file) as measurers:
            codes = _push_through(connection, names, progress, [*measurers, *logs], insecure=insecure)
    else:
        with connect_directly(settings, direct) as registry, measuring(metrics_port, metrics_file) as measurers:
            resumes = not direct.no_resume and _can_resume(say=not quiet)
            words = MessageFormatter(resumes=resumes)
            codes = _push_directly(registry, direct, names, words=words, progress=progress, hooks=[*measurers, *logs])
    # Being stopped says more than what failed before.
    return exits.INTERRUPTED if exits.INTERRUPTED in codes else next(filter(None, codes), exits.SUCCESS)


def _push_through(
    connection: Connection, names: Sequence[str], progress: str, hooks: Sequence[Hook], *, insecure: bool
) -> list[int]:
    """Push each of *names* through a server; once stopped, the rest is not begun."""
    codes: list[int] = []
    for index, name in enumerate(names):
        codes.append(_push_one(connection, name, progress, hooks, insecure=insecure))
        if codes[-1] == exits.INTERRUPTED:
            _tell_not_begun(names[index + 1 :])
            break
    return codes


def _push_one(
    connection: Connection,
    name: str,
    progress: str,
    hooks: Sequence[Hook],
    *,
    insecure: bool,
) -> int:
    display = new_display(progress, name, None)
    try:
        readiness = connection.check(name)
        display = new_display(progress, readiness.model, readiness.total_bytes)
        fatal = next(filter(_is_fatal, readiness.problems), None)
        if fatal is not None:
            raise fatal
        receipt = connection.push(name, [display, *hooks], insecure=insecure)
    except OllamaPushError as exc:
        display.failed(exc)
        return exits.exit_code(exc)
    except KeyboardInterrupt:
        display.stopped(SERVER_STOPS)
        return exits.INTERRUPTED
    display.succeeded(receipt)
    return exits.SUCCESS


def _push_directly(
    registry: DirectConnection,
    direct: DirectSettings,
    names: Sequence[str],
    *,
    words: MessageFormatter,
    progress: str,
    hooks: Sequence[Hook],
) -> list[int]:
    """Push each of *names* straight to its registry; once stopped, the rest is not begun."""
    stopper = Stopper(registry.interrupt, registry.hang_up)
    codes: list[int] = []
    with stopper.listening():
        for index, name in enumerate(names):
            codes.append(
                _push_one_directly(
                    registry, direct, name, words=words, progress=progress, hooks=[stopper.remind, *hooks]
                )
            )
            if stopper.asked and names[index + 1 :]:
                _tell_not_begun(names[index + 1 :])
                return [exits.INTERRUPTED]
    return codes


def _push_one_directly(
    registry: DirectConnection,
    direct: DirectSettings,
    name: str,
    *,
    words: MessageFormatter,
    progress: str,
    hooks: Sequence[Hook],
) -> int:
    display = new_display(progress, name, None, words)
    try:
        name = str(direct_name(name, plain_http=direct.plain_http))
        display = new_display(progress, name, None, words)
        receipt = registry.push(name, [display, *hooks])
    except OllamaPushError as exc:
        display.failed(exc)
        return exits.exit_code(exc)
    except KeyboardInterrupt:
        display.stopped(words.hung_up)
        return exits.INTERRUPTED
    display.succeeded(receipt)
    return exits.SUCCESS


def _tell_not_begun(names: Sequence[str]) -> None:
    if names:
        write_whole(sys.stderr, f"not begun: {', '.join(map(model_text, names))}\n")


def _can_resume(*, say: bool) -> bool:
    """Look whether unfinished uploads can be kept; when not, warn as soon as that is known."""
    uploads = FileResumeStore()
    problem = uploads.problem()
    if problem is not None and say:
        write_whole(sys.stderr, f"{unkept_text(uploads.directory, problem)}\n")
    return problem is None


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


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return option_for(super().format(record))


def _log_hook(verbose: int) -> LogHook:
    """Return a hook with a logger of its own: the command must not set up logging for the whole process."""
    logger = logging.Logger("ollama_push", logging.INFO if verbose == 1 else logging.DEBUG)  # noqa: LOG001
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    return LogHook(logger)
