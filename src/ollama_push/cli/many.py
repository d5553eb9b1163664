"""How the command pushes many models in one run: which ones, how many at a time, and what it says of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.direct import DirectSettings
from ollama_push.cli.display.many import new_many_display
from ollama_push.cli.display.streams import say, tell
from ollama_push.cli.messages import MessageFormatter
from ollama_push.cli.push_runner import exit_code_of
from ollama_push.cli.report_file import ReportFile
from ollama_push.client import RegistryClient
from ollama_push.core.batch import PushItem, PushVerdict, Shard, read_list
from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError, PushInterrupted
from ollama_push.core.names import ModelName, NameParts, is_host_like
from ollama_push.core.ports import Hook
from ollama_push.core.registry.target import direct_name, name_below
from ollama_push.local import ModelStore

__all__ = ["ManySettings", "lines_of", "many_options", "push_all"]

_MAX_JOBS: Final = 64


@attrs.frozen
class ManySettings:
    """The values of the options for many models.

    Attributes:
        listed: File with a name a line, or ``-`` for stdin.
        all_models: Every model of the store.
        to: Registry, perhaps with a path, of names without a host.
        shard: Which part of the models.
        jobs: Pushes at the same time.
        report: File to append the verdicts to.
        go_on: Leave out what the report says was pushed.
    """

    listed: str | None
    all_models: bool
    to: str | None
    shard: str | None
    jobs: int | None
    report: str | None
    go_on: bool

    @property
    def given(self) -> list[str]:
        """The options that are given."""
        values = zip(_OPTIONS, attrs.astuple(self), strict=True)
        return [option for option, value in values if value is not None and value is not False]


_OPTIONS: Final = ("--list", "--all", "--to", "--shard", "--jobs", "--report", "--continue")


def many_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for many models to *command*; it gets them as one argument ``many``."""

    @functools.wraps(command)
    def with_many(**options: Any) -> Any:
        names = [field.name for field in attrs.fields(ManySettings)]
        return command(many=ManySettings(**{name: options.pop(name) for name in names}), **options)

    decorated: Callable[..., Any] = with_many
    for option in (
        click.option(
            "--list", "listed", metavar="FILE", help="With --direct: push the names in FILE, or in stdin for -."
        ),
        click.option("--all", "all_models", is_flag=True, help="With --direct: push every model of the store."),
        click.option(
            "--to", metavar="HOST[/PATH]", help="With --list or --all: registry of names without one, and of --all."
        ),
        click.option("--shard", metavar="I/N", help="With --list or --all: push the I-th of N parts, stable by name."),
        click.option(
            "--jobs", type=click.IntRange(1, _MAX_JOBS), metavar="N", help="With --direct: models at the same time."
        ),
        click.option("--report", metavar="FILE", help="With --direct: append each verdict to FILE, as a line of JSON."),
        click.option("--continue", "go_on", is_flag=True, help="With --report: leave out what FILE says was pushed."),
    )[::-1]:
        decorated = option(decorated)
    return decorated


def push_all(
    registry: ClientRunner[RegistryClient],
    direct: DirectSettings,
    many: ManySettings,
    names: Sequence[str],
    *,
    progress: str,
    hooks: Sequence[Hook],
    words: MessageFormatter,
) -> int:
    """Push all models that *names* and *many* mean, and return the exit code of the first failure in their order.

    Raises:
        InvalidSetting: An option cannot be used.
    """
    if many.go_on and many.report is None:
        raise click.UsageError("--continue needs --report: the file says what was pushed")
    store = ModelStore(direct.models)
    items = _unique(_items(many, names, direct, store))
    with ReportFile(many.report, words) as report:
        if many.go_on:
            items, begun = [item for item in items if not _is_pushed(item, report, store)], len(items)
            say(f"{begun - len(items)} of {begun} models were pushed already")
        codes = dict.fromkeys(items, exit_codes.OK)
        display = new_many_display(progress, len(items), words)
        not_begun = 0

        def take(verdict: PushVerdict) -> None:
            nonlocal not_begun
            codes[verdict.item] = exit_codes.verdict_code(verdict.error)
            if isinstance(verdict.error, PushInterrupted) and not verdict.error.total_bytes:
                not_begun += 1
                return
            display.add(verdict)
            report.add(verdict)

        jobs = many.jobs or 1
        try:
            registry.run(lambda client: _drain(client.push_many(items, jobs=jobs), take), hooks=[display, *hooks])
        except KeyboardInterrupt:
            display.close()
            tell(sys.stderr, words.cancelled)
            return exit_codes.INTERRUPTED
        display.close()
    if not_begun:
        say(f"not begun: {not_begun} models")
    failed = [code for code in codes.values() if code]
    if progress in ("auto", "bar", "lines"):
        say(f"{len(items) - len(failed)} of {len(items)} models pushed")
    if report.problem is not None:
        say(f"error: the report cannot be written: {report.problem}; the pushes went on without it")
        failed.append(exit_codes.USAGE)
    return exit_code_of(failed)


def _drain(verdicts: Iterable[PushVerdict] | AsyncIterator[PushVerdict], take: Callable[[PushVerdict], None]) -> Any:
    """Have *take* called with each verdict; of an async client, this is to be awaited."""
    if isinstance(verdicts, AsyncIterator):
        return _drain_async(verdicts, take)
    for verdict in verdicts:
        take(verdict)
    return None


async def _drain_async(verdicts: AsyncIterator[PushVerdict], take: Callable[[PushVerdict], None]) -> None:
    async for verdict in verdicts:
        take(verdict)


def _items(many: ManySettings, names: Sequence[str], direct: DirectSettings, store: ModelStore) -> Iterator[PushItem]:
    """Yield what is to be pushed, under canonical names where they are legal."""
    shard = None if many.shard is None else Shard.parse(many.shard)
    asked = [PushItem(name, direct.source) for name in names]
    if many.listed is not None:
        asked += read_list(lines_of(many.listed))
    if many.all_models:
        asked += [PushItem(name.shortest, name.shortest) for name in store.models()]
    for item in asked:
        placed = _placed(item, many.to, plain_http=direct.plain_http)
        if shard is None or shard.has(placed.model):
            yield placed


def _placed(item: PushItem, place: str | None, *, plain_http: bool) -> PushItem:
    try:
        parts = NameParts.split(item.model)
        if place is not None and parts.host is None and not is_host_like(parts.namespace or ""):
            local = ModelName.parse_local(item.model)
            return PushItem(str(name_below(place, local)), item.source or str(local))
        return PushItem(str(direct_name(item.model, plain_http=plain_http)), item.source)
    except InvalidModelName:
        return item  # its push ends in that


def _unique(items: Iterable[PushItem]) -> list[PushItem]:
    """Return *items* without those that go to the same name as one before."""
    return list({item.model: item for item in reversed(list(items))}.values())[::-1]


def _is_pushed(item: PushItem, report: ReportFile, store: ModelStore) -> bool:
    """Say whether the local model is the one that was pushed."""
    digest = report.digest_of(item.model)
    if digest is None:
        return False
    try:
        return store.load(ModelName.parse_local(item.source or item.model)).manifest.digest == digest
    except OllamaPushError:
        return False


def lines_of(file: str) -> list[str]:
    """Return the lines of a list; ``-`` is stdin.

    Raises:
        InvalidSetting: It cannot be read.
    """
    try:
        if file == "-":
            return sys.stdin.read().splitlines()
        return Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as exc:
        words = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is no text in UTF-8"
        raise InvalidSetting("--list", file, words.lower()) from exc
