"""``ollama-push push``: one or several models, each with an outcome of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, connect, connection_options
from ollama_push.cli.direct import DirectSettings, connect_directly, direct_options, warn_of_empty_login
from ollama_push.cli.display import CHOICES, Display, new_display
from ollama_push.cli.display.streams import log_handler, say
from ollama_push.cli.messages import SERVER_STOPS, USUAL, MessageFormatter
from ollama_push.cli.metrics import metrics_hooks
from ollama_push.cli.reports import model_text
from ollama_push.cli.resume import new_resume_store, unkept_text
from ollama_push.cli.signals import Interrupter
from ollama_push.client import PushClient, RegistryClient
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import (
    ConnectFailed,
    InvalidModelName,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
)
from ollama_push.core.names import ModelName
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.registry.target import direct_name
from ollama_push.local import NoResume

__all__ = ["push"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--insecure", is_flag=True, help="Plain HTTP between the server and the registry.")
@direct_options(
    "source",
    "models",
    "plain_http",
    "concurrency",
    "no_verify",
    "no_resume",
    "resume",
    "part_size",
    "force_upload",
    "mount_from",
)
@click.option(
    "--progress",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="auto: bars on a terminal, lines elsewhere; json: one object per line on stdout.",
)
@connection_options
@click.option("--metrics-port", metavar="[ADDRESS:]PORT", help="Serve Prometheus metrics while pushing.")
@click.option("--metrics-file", metavar="FILE", help="Write Prometheus metrics to FILE, for node_exporter.")
@click.option("-v", "--verbose", count=True, help="Log to stderr; -vv logs every detail.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only; the same as --progress none.")
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

    NAME is [host/]namespace/model[:tag]. Several models are pushed one after the other. If one fails, the others
    are pushed all the same, and the exit code is that of the first failure.

    With --direct, the first Ctrl-C interrupts the push after the part under way, and the same command resumes it. A
    second Ctrl-C cancels it at once, and the registry may lose the part under way.
    """
    if quiet or (verbose and progress == "auto"):
        # The log shows the same.
        progress = "none"
    logs: list[Hook] = [_log_hook(verbose)] if verbose else []
    if direct is None:
        with connect(settings) as server, metrics_hooks(metrics_port, metrics_file) as measurers:
            push_one = partial(_push_through, server, progress=progress, hooks=[*measurers, *logs], insecure=insecure)
            codes = _push_each(names, push_one)
    else:
        if not quiet:
            warn_of_empty_login()
        resume = new_resume_store(direct.resume, no_resume=direct.no_resume)
        with (
            connect_directly(settings, direct, resume) as registry,
            metrics_hooks(metrics_port, metrics_file) as measurers,
        ):
            words = MessageFormatter(resumes=_can_resume(resume, warn=not quiet))
            interrupter = Interrupter(registry.interrupt, registry.cancel)
            hooks = [interrupter.interrupt_late_push, *measurers, *logs]
            push_one = partial(_push_directly, registry, direct, progress=progress, hooks=hooks, words=words)
            with interrupter.listening():
                codes = _push_each(names, push_one, lambda: interrupter.interrupted)
    # An interrupt says more than a failure before it.
    return exit_codes.INTERRUPTED if exit_codes.INTERRUPTED in codes else next(filter(None, codes), exit_codes.OK)


@attrs.frozen
class _Target:
    """One model of a push, before the push begins.

    Attributes:
        name: Its name; as it was written where that is no legal name.
        total_bytes: Its size, if known.
        problem: Why the push cannot begin.
    """

    name: ModelName | str
    total_bytes: int | None = None
    problem: OllamaPushError | KeyboardInterrupt | None = None


def _push_each(
    names: Sequence[str], push_one: Callable[[str], int], is_interrupted: Callable[[], bool] = lambda: False
) -> list[int]:
    """Push each of *names* and return the exit codes; after an interrupt the rest is not begun."""
    codes: list[int] = []
    for index, name in enumerate(names, 1):
        codes.append(push_one(name))
        rest = names[index:]
        if rest and (codes[-1] == exit_codes.INTERRUPTED or is_interrupted()):
            say(f"not begun: {', '.join(map(model_text, rest))}")
            return [exit_codes.INTERRUPTED]
    return codes


def _push_through(
    server: ClientRunner[PushClient], name: str, *, progress: str, hooks: Sequence[Hook], insecure: bool
) -> int:
    """Check and push one model through a server."""
    target = _checked(server, name)
    display = new_display(progress, str(target.name), target.total_bytes)

    def send() -> PushReceipt:
        return server.run(lambda client: client.push(target.name, insecure=insecure), hooks=[display, *hooks])

    return _show(display, target, send, cancelled=SERVER_STOPS)


def _checked(server: ClientRunner[PushClient], name: str) -> _Target:
    try:
        parsed = ModelName.parse(name)
        readiness = server.run(lambda client: client.check(parsed))
    except (OllamaPushError, KeyboardInterrupt) as exc:
        return _Target(name, problem=exc)
    return _Target(parsed, readiness.total_bytes, next(filter(_is_fatal, readiness.problems), None))


def _push_directly(
    registry: ClientRunner[RegistryClient],
    direct: DirectSettings,
    name: str,
    *,
    progress: str,
    hooks: Sequence[Hook],
    words: MessageFormatter,
) -> int:
    """Push one model straight to its registry."""
    try:
        target = _Target(direct_name(name, plain_http=direct.plain_http))
    except InvalidModelName as exc:
        target = _Target(name, problem=exc)
    display = new_display(progress, str(target.name), None, words)

    def send() -> PushReceipt:
        return registry.run(lambda client: client.push(target.name, source=direct.source), hooks=[display, *hooks])

    return _show(display, target, send, cancelled=words.cancelled)


def _show(display: Display, target: _Target, send: Callable[[], PushReceipt], *, cancelled: str) -> int:
    """Send *target*, show how the push ends, and return the exit code; *cancelled* is told after a cancel."""
    try:
        if target.problem is not None:
            raise target.problem
        receipt = send()
    except OllamaPushError as exc:
        display.failed(exc)
        return exit_codes.exit_code(exc)
    except KeyboardInterrupt:
        display.cancelled(cancelled)
        return exit_codes.INTERRUPTED
    display.succeeded(receipt)
    return exit_codes.OK


def _can_resume(store: ResumeStore, *, warn: bool) -> bool:
    """Say whether unfinished uploads can be kept in *store*; if not, print a warning if *warn* is set."""
    if isinstance(store, NoResume):
        return False
    warning = unkept_text(store)
    if warning is not None and warn:
        say(warning)
    return warning is None


def _is_fatal(problem: OllamaPushError) -> bool:
    """Say whether a push would fail with *problem* too; a server may refuse only the requests of the check."""
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
    """Return a hook with a logger of its own, because the root logger is not the command's to configure."""
    logger = logging.Logger("ollama_push", logging.INFO if verbose == 1 else logging.DEBUG)  # noqa: LOG001
    logger.addHandler(log_handler("%(asctime)s %(levelname)s %(message)s"))
    return LogHook(logger, describe=USUAL.format)
