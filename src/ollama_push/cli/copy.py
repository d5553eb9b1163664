"""``ollama-push copy``, ``save`` and ``load``: models from wherever they are to wherever they shall be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, registry_options
from ollama_push.cli.direct import TRANSFER_OPTIONS, DirectSettings, connect_directly, copy_options, warn_of_empty_login
from ollama_push.cli.display import new_display
from ollama_push.cli.display.streams import report, say
from ollama_push.cli.help_text import HelpedCommand
from ollama_push.cli.many_items import lines_of
from ollama_push.cli.messages import USUAL, MessageFormatter
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
from ollama_push.cli.reports import plan_lines
from ollama_push.cli.resume import new_resume_store
from ollama_push.cli.signals import Interrupter
from ollama_push.core.errors import InvalidSetting, OllamaPushError
from ollama_push.core.names import ModelName
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.target import RegistryModel
from ollama_push.local import ModelStore, OciArchive, OciArchiveWriter, OciLayout, StoreTarget
from ollama_push.local.places import tags_of_text, with_tag

if TYPE_CHECKING:
    from ollama_push.client import RegistryClient

__all__ = ["copy", "load", "save"]

_FORMS = """
    \b
    my-llama, ollama:my-llama       a model of Ollama's store
    ./weights.gguf, gguf:FILE       a GGUF file, as `ollama create` would make a model of it
    ./Modelfile, modelfile:FILE     a Modelfile, likewise
    oci:DIR[:NAME]                  an OCI image layout in a folder
    oci-archive:FILE[:NAME]         the same in a tar archive
    host/namespace/model[:tag]      a registry; docker://... in any case
"""


_PAIR: Final = 2

_OPTIONS: Final = (
    click.option("--dry-run", is_flag=True, help="Say what would be copied, and copy nothing."),
    copy_options(*TRANSFER_OPTIONS),
    registry_options,
    display_options,
)


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all copies; the command gets them as one argument ``way``."""

    @functools.wraps(command)
    def with_way(**options: Any) -> Any:
        way = _Way(**{field.name: options.pop(field.name) for field in attrs.fields(_Way)})
        return command(way=way, **options)

    decorated: Callable[..., Any] = with_way
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@attrs.frozen
class _Way:
    """How copies are made and shown: the values of the options."""

    settings: Settings
    direct: DirectSettings
    progress: str
    dry_run: bool
    metrics_port: str | None
    metrics_file: str | None
    verbose: int
    quiet: bool

    @property
    def shown(self) -> str:
        """How progress is shown; a log on the terminal shows the same."""
        return "none" if self.quiet or (self.verbose and self.progress == "auto") else self.progress

    @property
    def store(self) -> ModelStore:
        """Ollama's store."""
        return ModelStore(self.direct.models)


@click.command(
    epilog="Sources and targets:\n" + _FORMS,
    cls=HelpedCommand,
    short_help="Copy a model from anywhere to anywhere.",
    examples=[
        "ollama-push copy my-llama oci:models:my-llama",
        "ollama-push copy registry.ollama.ai/library/all-minilm ollama:all-minilm",
    ],
)
@click.argument("source", required=False)
@click.argument("target", required=False)
@click.option("--all-tags", is_flag=True, help="Copy every tag of SOURCE to the same tag of TARGET.")
@click.option(
    "--list", "listing", metavar="FILE", help="Copy what FILE lists, a SOURCE and a TARGET a line; - is stdin."
)
@_options
def copy(source: str | None, target: str | None, way: _Way, *, all_tags: bool, listing: str | None) -> int:
    """Copy a model from SOURCE to TARGET, byte for byte.

    What the target has is not copied again, and what broke is resumed where it stood. The first Ctrl-C interrupts after
    the part under way, a second one cancels at once.
    """
    if listing is not None:
        if source is not None or all_tags:
            raise click.UsageError("--list names sources and targets itself")
        copies = _listed(listing)
    elif source is None or target is None:
        raise click.UsageError("expected SOURCE and TARGET, or --list FILE")
    elif all_tags:
        tags = _tags(way, source)
        if not tags:
            raise InvalidSetting("source", source, "it has no tags")
        copies = [_of_texts(with_tag(source, tag, target=False), with_tag(target, tag, target=True)) for tag in tags]
    else:
        copies = [_of_texts(source, target)]
    return exit_code_of(_run(way, copies))


def _of_texts(source: str, target: str) -> _Copy:
    return _Copy(source, target, target)


def _tags(way: _Way, source: str) -> Sequence[str]:
    found = tags_of_text(source, way.store)
    if not isinstance(found, RegistryModel):
        return found
    with connect_directly(way.settings, way.direct) as registry:
        tags: tuple[str, ...] = registry.run(lambda client: client.tags(found))
        return tags


def _listed(path: str) -> list[_Copy]:
    """Return the copies that a file lists; a comment begins with ``#``."""
    copies = []
    for number, line in enumerate(lines_of(path), 1):
        words = line.partition("#")[0].split()
        if words and len(words) != _PAIR:
            raise InvalidSetting(
                "list", path, f"line {number}: expected a source and a target, and saw {len(words)} words"
            )
        if words:
            copies.append(_of_texts(*words))
    return copies


@click.command(
    cls=HelpedCommand,
    short_help="Save models in one file.",
    examples=["ollama-push save my-llama team/other:v1 -o models.tar"],
)
@click.argument("names", nargs=-1, required=True, metavar="MODEL...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The archive; one that is there is replaced.")
@_options
def save(names: Sequence[str], output: str, way: _Way) -> int:
    """Save models in one file, an OCI archive that `load`, skopeo and others read.

    MODEL is a model of Ollama's store, or any other source of `copy`. The file is there when all of them are in it; a
    run that was interrupted is resumed behind the last blob that was whole.
    """
    with closing(OciArchiveWriter(output)) as archive:
        copies = [_Copy(model, archive.target(_ref_of(model)), f"{output} ({model})") for model in names]
        code = exit_code_of(_run(way, copies))
        if code == exit_codes.OK and not way.dry_run:
            archive.finish()
    return code


@click.command(
    cls=HelpedCommand,
    short_help="Load the models of such a file.",
    examples=["ollama-push load models.tar"],
)
@click.argument("file")
@_options
def load(file: str, way: _Way) -> int:
    """Load all models of FILE, an OCI archive or folder, into Ollama's store, under the names they have in it."""
    folder = Path(file).is_dir()
    prefix, found = ("oci", OciLayout(file)) if folder else ("oci-archive", OciArchive(file))
    refs = found.refs()
    if not refs:
        problem = f"its models have no names: say `ollama-push copy {prefix}:{file} ollama:NAME`"
        raise InvalidSetting("FILE", file, problem)
    copies = [
        _Copy(found.model(ref), StoreTarget(way.store, ModelName.parse_local(ref)), f"ollama:{ref}") for ref in refs
    ]
    return exit_code_of(_run(way, copies))


def _ref_of(model: str) -> str:
    """Return the name that *model* gets in an archive: that of the store it would be loaded into."""
    text = model.removeprefix("ollama:").removeprefix("docker://")
    prefix, colon, rest = text.partition(":")
    if colon and prefix in ("oci", "oci-archive"):
        _path, colon, ref = rest.partition(":")
        if not colon:
            raise InvalidSetting("MODEL", model, "expected its name behind a colon: it gets the same in the archive")
        return ref
    return ModelName.parse_local(text).shortest


def _run(way: _Way, copies: Sequence[_Copy]) -> list[int]:
    """Make *copies* one after the other and return their exit codes."""
    if not way.quiet:
        warn_of_empty_login()
    resume = new_resume_store(way.direct.resume, no_resume=way.direct.no_resume)
    with (
        connect_directly(way.settings, way.direct, resume) as registry,
        metrics_hooks(way.metrics_port, way.metrics_file) as measurers,
    ):
        if way.dry_run:
            return [_plan(registry, each) for each in copies]
        words = MessageFormatter(resumes=can_resume(resume, warn=not way.quiet))
        interrupter = Interrupter(registry.interrupt, registry.cancel)
        hooks = [interrupter.interrupt_late_push, *measurers, *log_hooks(way.verbose)]

        def is_interrupted() -> bool:
            return interrupter.interrupted

        copy_one = partial(_copy, registry, way=way, hooks=hooks, words=words, cancelled=is_interrupted)
        with interrupter.listening():
            return push_each(copies, copy_one, is_interrupted)


@attrs.frozen
class _Copy:
    """One of the copies that are to be made, and what it is called."""

    source: Any
    target: Any
    label: str

    def __str__(self) -> str:
        return self.label


def _copy(
    registry: ClientRunner[RegistryClient],
    each: _Copy,
    *,
    way: _Way,
    hooks: Sequence[Hook],
    words: MessageFormatter,
    cancelled: Callable[[], bool],
) -> int:
    display = new_display(way.shown, each.label, None, words)

    def send(told: Sequence[Hook]) -> PushReceipt:
        with opened(each.source, way.store, quiet=way.shown in {"json", "none"}, cancelled=cancelled) as source:
            return registry.run(lambda client: client.copy(source, each.target), hooks=told)

    return show_push(display, PushTarget(each.label), send, hooks=hooks, cancelled=words.cancelled)


def _plan(registry: ClientRunner[RegistryClient], each: _Copy) -> int:
    try:
        plan = registry.run(lambda client: client.plan_copy(each.source, each.target))
    except OllamaPushError as error:
        say(f"error: {each.label}: {USUAL.format(error)}")
        return exit_codes.exit_code(error)
    report(*plan_lines(plan, "there", asks=False))
    return exit_codes.OK
