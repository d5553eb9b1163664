"""``ollama-push push``: one or several models, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, connect, connection_options
from ollama_push.cli.direct import (
    TRANSFER_OPTIONS,
    DirectSettings,
    connect_directly,
    direct_options,
    warn_of_empty_login,
)
from ollama_push.cli.display import new_display
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.many import ManySettings, many_options, push_all
from ollama_push.cli.messages import SERVER_STOPS, MessageFormatter
from ollama_push.cli.metrics import metrics_hooks
from ollama_push.cli.push_runner import (
    PushTarget,
    can_resume,
    display_options,
    exit_code_of,
    log_hooks,
    opened,
    push_each,
    show_push,
)
from ollama_push.cli.resume import new_resume_store
from ollama_push.cli.signals import Interrupter
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
from ollama_push.core.registry.target import RegistryModel, direct_name
from ollama_push.local import ModelStore

if TYPE_CHECKING:
    from ollama_push.client import PushClient, RegistryClient

__all__ = ["push"]


@click.command(
    cls=HelpedCommand,
    short_help="Push models.",
    examples=[
        "ollama-push push myuser/my-llama",
        "ollama-push push registry.example.com/team/my-llama --direct --from my-llama",
        "ollama-push push registry.example.com/team/my-llama --from ./Modelfile",
        "ollama-push push --all --to registry.example.com/team --direct --jobs 4",
    ],
)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--insecure", is_flag=True, help="Plain HTTP between the server and the registry.")
@click.option("--private", is_flag=True, help="Nobody reads the model without a login; in Ollama's registry alone.")
@direct_options("source", *TRANSFER_OPTIONS)
@many_options
@connection_options
@display_options
def push(
    names: Sequence[str],
    settings: Settings,
    direct: DirectSettings | None,
    progress: str,
    *,
    many: ManySettings,
    metrics_port: str | None,
    metrics_file: str | None,
    verbose: int,
    insecure: bool,
    private: bool,
    quiet: bool,
) -> int:
    """Push models through an Ollama server, or with --direct straight to a registry.

    NAME is [host/]namespace/model[:tag]. Several models are pushed one after the other, or with --jobs side by side. If
    one fails, the others are pushed all the same, and the exit code is that of the first failure.

    With --direct, the first Ctrl-C interrupts the push after the part under way, and the same command resumes it. A
    second Ctrl-C cancels it at once, and the registry may lose the part under way.
    """
    if not names and many.listed is None and not many.all_models:
        raise click.UsageError("Missing argument 'NAME...'.")
    if many.given and direct is None:
        raise click.UsageError(f"{many.given[0]} needs --direct: an Ollama server pushes one model at a time")
    if many.given and private:
        raise click.UsageError(f"{many.given[0]} does not go with --private: push such models by name")
    if quiet or (verbose and progress == "auto"):
        # The log shows the same.
        progress = "none"
    logs = log_hooks(verbose)
    if direct is None:
        with connect(settings) as server, metrics_hooks(metrics_port, metrics_file) as measurers:
            hooks = [*measurers, *logs]
            push_one = partial(
                _push_through, server, progress=progress, hooks=hooks, insecure=insecure, private=private
            )
            codes = push_each(names, push_one)
    else:
        if not quiet:
            warn_of_empty_login()
        resume = new_resume_store(direct.resume, no_resume=direct.no_resume)
        with (
            connect_directly(settings, direct, resume) as registry,
            metrics_hooks(metrics_port, metrics_file) as measurers,
        ):
            words = MessageFormatter(resumes=can_resume(resume, warn=not quiet))
            interrupter = Interrupter(registry.interrupt, registry.cancel)
            hooks = [interrupter.interrupt_late_push, *measurers, *logs]
            with interrupter.listening():
                if many.given:
                    return push_all(registry, direct, many, names, progress=progress, hooks=hooks, words=words)
                push_one = partial(
                    _push_directly, registry, direct, progress=progress, hooks=hooks, words=words, private=private
                )
                codes = push_each(names, push_one, lambda: interrupter.interrupted)
    return exit_code_of(codes)


def _push_through(
    server: ClientRunner[PushClient], name: str, *, progress: str, hooks: Sequence[Hook], insecure: bool, private: bool
) -> int:
    """Check and push one model through a server."""
    target = _checked(server, name)
    display = new_display(progress, str(target.name), target.total_bytes)

    def send(told: Sequence[Hook]) -> PushReceipt:
        return server.run(lambda client: client.push(target.name, insecure=insecure, private=private), hooks=told)

    return show_push(display, target, send, hooks=hooks, cancelled=SERVER_STOPS)


def _checked(server: ClientRunner[PushClient], name: str) -> PushTarget:
    try:
        parsed = ModelName.parse(name)
        readiness = server.run(lambda client: client.check(parsed))
    except (OllamaPushError, KeyboardInterrupt) as exc:
        return PushTarget(name, problem=exc, address=server.address)
    problem = next(filter(_is_fatal, readiness.problems), None)
    return PushTarget(parsed, readiness.total_bytes, problem, server.address)


def _push_directly(
    registry: ClientRunner[RegistryClient],
    direct: DirectSettings,
    name: str,
    *,
    progress: str,
    hooks: Sequence[Hook],
    words: MessageFormatter,
    private: bool,
) -> int:
    """Push one model straight to its registry."""
    try:
        target = PushTarget(direct_name(name, plain_http=direct.plain_http))
    except InvalidModelName as exc:
        target = PushTarget(name, problem=exc)
    display = new_display(progress, str(target.name), None, words)

    def send(told: Sequence[Hook]) -> PushReceipt:
        if direct.source is None:
            return registry.run(lambda client: client.push(target.name, private=private), hooks=told)
        with opened(direct.source, ModelStore(direct.models), quiet=progress in {"json", "none"}) as source:
            to = RegistryModel(target.name)
            return registry.run(lambda client: client.copy(source, to, private=private), hooks=told)

    return show_push(display, target, send, hooks=hooks, cancelled=words.cancelled)


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
