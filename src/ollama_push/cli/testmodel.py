"""``ollama-push testmodel``: a small model to try pushes with, where there is no Ollama."""

from __future__ import annotations

import click

from ollama_push.cli import exit_codes
from ollama_push.cli.addresses import system_message
from ollama_push.cli.display.streams import say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.core.errors import InvalidSetting, PushRejected, RejectionReason
from ollama_push.core.names import ModelName
from ollama_push.core.units import bytes_text
from ollama_push.local import ModelStore

__all__ = ["testmodel"]


@click.command(
    cls=HelpedCommand,
    short_help="Make a small model, to try pushes with.",
    examples=["ollama-push testmodel my-llama"],
)
@click.argument("name", metavar="NAME")
@click.option(
    "--models",
    metavar="DIR",
    help="Ollama's model store, made if missing; default: OLLAMA_MODELS, else Ollama's default.",
)
def testmodel(name: str, models: str | None) -> int:
    """Make a small model NAME in the model store, to try pushes with: 24 MB of random weights.

    It is stored as Ollama stores models, and `ollama rm` removes it. A model that is there is left as it is.
    """
    from ollama_push.testing.models import put_tiny_model

    model = ModelName.parse_local(name)
    store = ModelStore(models)
    if _holds(store, model):
        raise InvalidSetting("NAME", name, f"the store {store.root} has a model of that name; choose another")
    try:
        size = put_tiny_model(store.root, [model]).total_bytes
    except OSError as exc:
        raise InvalidSetting("models", str(store.root), f"cannot be written: {system_message(exc)}") from exc
    say(f"made {model.shortest}, {bytes_text(size)}, in {store.root}")
    return exit_codes.OK


def _holds(store: ModelStore, model: ModelName) -> bool:
    try:
        store.load(model)
    except InvalidSetting:  # there is no store yet
        return False
    except PushRejected as exc:
        return exc.reason is not RejectionReason.MODEL_NOT_FOUND
    return True
