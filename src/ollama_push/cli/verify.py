"""``ollama-push verify``: whether a registry holds a model, whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, registry_options
from ollama_push.cli.direct import DirectSettings, connect_directly, warn_of_empty_login
from ollama_push.cli.display import CHOICES
from ollama_push.cli.display.json_lines import failure_fields, json_line
from ollama_push.cli.display.streams import report, say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.messages import USUAL, failure_line
from ollama_push.cli.reports import model_text, pullability_fields, verification_lines
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.target import direct_name

if TYPE_CHECKING:
    from ollama_push.client import RegistryClient

__all__ = ["verify"]


@click.command(
    cls=HelpedCommand,
    short_help="Ask whether a model is there, whole.",
    examples=["ollama-push verify registry.example.com/team/my-llama --from my-llama"],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--from", "source", metavar="MODEL", help="Name of the local model to compare with; default: NAME.")
@click.option("--models", metavar="DIR", help="Ollama's model store; default: OLLAMA_MODELS, else Ollama's default.")
@click.option("--plain-http", is_flag=True, help="Use plain HTTP for the registry.")
@click.option(
    "--progress",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="json: one object per name on stdout; none: failures only; all others: lines.",
)
@registry_options
def verify(
    names: Sequence[str], settings: Settings, source: str | None, models: str | None, progress: str, *, plain_http: bool
) -> int:
    """Ask the registry whether NAME is there, whole.

    The manifest is read back, and a byte of each blob. They must be those of the local model: the one of --from, else
    the one called NAME. Without such a model, the blobs must be those that the registry's own manifest names.

    The exit code is 0, or 10 when something is missing or different.
    """
    warn_of_empty_login()
    direct = DirectSettings(source=source, models=models, plain_http=plain_http)
    with connect_directly(settings, direct) as registry:
        codes = [_verify(registry, direct, name, progress) for name in names]
    return next(filter(None, codes), exit_codes.OK)


def _verify(registry: ClientRunner[RegistryClient], direct: DirectSettings, name: str, progress: str) -> int:
    try:
        parsed = direct_name(name, plain_http=direct.plain_http)
        name = str(parsed)
        found = registry.run(lambda client: client.verify(parsed, source=direct.source))
    except OllamaPushError as error:
        if progress == "json":
            report(json_line("failed", name, failure_fields(error, USUAL.format(error), error.attempts)))
        say(failure_line(model_text(name), error, USUAL))
        return exit_codes.exit_code(error)
    origin = Endpoint.of(parsed.host, plain_http=direct.plain_http).origin
    if progress == "json":
        fields: dict[str, Any] = {"registry": origin, **attrs.asdict(found, recurse=False)}
        del fields["model"]
        fields["pullability"] = pullability_fields(found.pullability)
        report(json_line("verified", name, fields))
    elif progress != "none":
        report(f"registry: {origin}", *verification_lines(found, direct.source or ""))
        say(f"{model_text(name)}: verified")
    return exit_codes.OK
