"""``ollama-push copy``: models from wherever they are to wherever they shall be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, registry_options
from ollama_push.cli.direct import DirectSettings, connect_directly, copy_options, warn_of_empty_login
from ollama_push.cli.display import new_display
from ollama_push.cli.display.streams import report, say
from ollama_push.cli.messages import USUAL, MessageFormatter
from ollama_push.cli.metrics import metrics_hooks
from ollama_push.cli.push_runner import (
    PushTarget,
    can_resume,
    display_options,
    exit_code_of,
    log_hooks,
    push_each,
    show_push,
)
from ollama_push.cli.reports import plan_lines
from ollama_push.cli.resume import new_resume_store
from ollama_push.cli.signals import Interrupter
from ollama_push.client import RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt

__all__ = ["copy"]

_FORMS = """
    \b
    my-llama, ollama:my-llama       a model of Ollama's store
    oci:DIR[:NAME]                  an OCI image layout in a folder
    host/namespace/model[:tag]      a registry; docker://... in any case
"""


@click.command(epilog="Sources and targets:\n" + _FORMS)
@click.argument("source")
@click.argument("target")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and copy nothing.")
@copy_options(
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
@registry_options
@display_options
def copy(
    source: str,
    target: str,
    settings: Settings,
    direct: DirectSettings,
    progress: str,
    *,
    dry_run: bool,
    metrics_port: str | None,
    metrics_file: str | None,
    verbose: int,
    quiet: bool,
) -> int:
    """Copy a model from SOURCE to TARGET, byte for byte.

    What the target has is not copied again, and what broke is resumed where it stood. The first Ctrl-C interrupts after
    the part under way, a second one cancels at once.
    """
    if quiet or (verbose and progress == "auto"):
        progress = "none"  # the log shows the same
    copies = [_Copy(source, target)]
    if not quiet:
        warn_of_empty_login()
    resume = new_resume_store(direct.resume, no_resume=direct.no_resume)
    with (
        connect_directly(settings, direct, resume) as registry,
        metrics_hooks(metrics_port, metrics_file) as measurers,
    ):
        if dry_run:
            return exit_code_of([_plan(registry, each) for each in copies])
        words = MessageFormatter(resumes=can_resume(resume, warn=not quiet))
        interrupter = Interrupter(registry.interrupt, registry.cancel)
        hooks = [interrupter.interrupt_late_push, *measurers, *log_hooks(verbose)]
        copy_one = partial(_copy, registry, progress=progress, hooks=hooks, words=words)
        with interrupter.listening():
            codes = push_each(copies, copy_one, lambda: interrupter.interrupted)
    return exit_code_of(codes)


@attrs.frozen
class _Copy:
    """One of the copies that are to be made."""

    source: str
    target: str

    def __str__(self) -> str:
        return self.target


def _copy(
    registry: ClientRunner[RegistryClient],
    each: _Copy,
    *,
    progress: str,
    hooks: Sequence[Hook],
    words: MessageFormatter,
) -> int:
    display = new_display(progress, each.target, None, words)

    def send() -> PushReceipt:
        return registry.run(lambda client: client.copy(each.source, each.target), hooks=[display, *hooks])

    return show_push(display, PushTarget(each.target), send, cancelled=words.cancelled)


def _plan(registry: ClientRunner[RegistryClient], each: _Copy) -> int:
    try:
        plan = registry.run(lambda client: client.plan_copy(each.source, each.target))
    except OllamaPushError as error:
        say(f"error: {each.target}: {USUAL.format(error)}")
        return exit_codes.exit_code(error)
    report(*plan_lines(plan, "there", asks=False))
    return exit_codes.OK
