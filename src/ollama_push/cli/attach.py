"""``ollama-push attach``: an SBOM, a signature, any file that refers to a model of a registry."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ollama_push.cli.connection import Settings, registry_options
from ollama_push.cli.direct import DirectSettings, connect_directly, copy_options, warn_of_empty_login
from ollama_push.cli.display import new_display
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.messages import MessageFormatter
from ollama_push.cli.push_runner import PushTarget, display_options, log_hooks, show_push
from ollama_push.cli.resume import new_resume_store
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt

__all__ = ["attach"]


@click.command(
    cls=HelpedCommand,
    short_help="Attach a file to a model of a registry.",
    examples=["ollama-push attach localhost:5000/a/b sbom.json --type application/spdx+json"],
)
@click.argument("name")
@click.argument("file")
@click.option("--type", "media_type", required=True, metavar="MEDIA_TYPE", help="What it is: application/spdx+json.")
@copy_options("plain_http", "no_verify", "no_resume", "resume", "part_size")
@registry_options
@display_options
def attach(
    name: str,
    file: str,
    media_type: str,
    progress: str,
    *,
    settings: Settings,
    direct: DirectSettings,
    metrics_port: str | None,  # noqa: ARG001 - one file is not worth a metric
    metrics_file: str | None,  # noqa: ARG001
    verbose: int,
    quiet: bool,
) -> int:
    """Attach FILE to the model NAME of a registry, as an artifact that refers to its manifest.

    Whoever asks the registry what refers to the model finds it: an SBOM, a signature, a licence. A registry that has no
    such list gets a tag for it.
    """
    if quiet or (verbose and progress == "auto"):
        progress = "none"  # the log shows the same
    if not quiet:
        warn_of_empty_login()
    resume = new_resume_store(direct.resume, no_resume=direct.no_resume)
    words = MessageFormatter()
    display = new_display(progress, name, None, words)
    with connect_directly(settings, direct, resume) as registry:

        def send(told: Sequence[Hook]) -> PushReceipt:
            return registry.run(lambda client: client.attach(name, file, media_type), hooks=told)

        return show_push(display, PushTarget(name), send, hooks=log_hooks(verbose), cancelled=words.cancelled)
