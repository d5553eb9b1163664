"""How the command pushes many models in one run: which ones, how many at a time, and what it says of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.direct import DirectSettings
from ollama_push.cli.display.many import ManyDisplay, new_many_display
from ollama_push.cli.display.streams import say, tell
from ollama_push.cli.given_up import GivenUp
from ollama_push.cli.many_items import items_asked_for
from ollama_push.cli.messages import MessageFormatter
from ollama_push.cli.push_runner import exit_code_of
from ollama_push.cli.report_file import ReportFile
from ollama_push.core.batch import PushItem, PushVerdict, Shard
from ollama_push.core.errors import InvalidModelName, OllamaPushError, PushInterrupted
from ollama_push.core.names import ModelName
from ollama_push.core.observations import Observation, PushStarted
from ollama_push.core.ports import Hook
from ollama_push.local import ModelStore

if TYPE_CHECKING:
    from ollama_push.client import RegistryClient

__all__ = ["ManySettings", "many_options", "push_all"]

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
    asked = items_asked_for(
        names,
        source=direct.source,
        listed=many.listed,
        store=store if many.all_models else None,
        place=many.to,
        shard=None if many.shard is None else Shard.parse(many.shard),
        plain_http=direct.plain_http,
    )
    with ReportFile(many.report, words) as report:
        run = _Run([each.item for each in asked], report, is_quiet=progress not in ("auto", "bar", "lines"))
        if many.go_on:
            run.leave_out_what_is_pushed(store)
        if not run.items:
            run.tell("nothing to push" if asked or many.shard is None else f"no model belongs to part {many.shard}")
            return exit_codes.OK
        run.display = new_many_display(progress, len(run.items), words, {each.item: each.origin for each in asked})
        jobs, hooks = many.jobs or 1, [run.display, run.begin, *hooks]
        try:
            with closing(run.display):
                registry.run(lambda client: _drain(client.push_many(run.offered(), jobs=jobs), run.take), hooks=hooks)
        except KeyboardInterrupt:
            tell(sys.stderr, words.cancelled)
            run.cancel()
    return run.end(has_place=many.to is not None)


class _Run:
    """One run: what has which verdict.

    Args:
        items: What is to be pushed.
        report: Where verdicts are written to.
        is_quiet: Whether only what went wrong is said.

    Attributes:
        items: What is left to be pushed.
        display: Shows each verdict.
    """

    display: ManyDisplay

    def __init__(self, items: Sequence[PushItem], report: ReportFile, *, is_quiet: bool) -> None:
        self.items: Sequence[PushItem] = items
        self._report = report
        self._is_quiet = is_quiet
        self._codes: dict[PushItem, int] = {}
        self._given_up = GivenUp()
        self._begun: set[str] = set()
        self._needs_place = False

    def leave_out_what_is_pushed(self, store: ModelStore) -> None:
        """Leave out what the report says was pushed, if the local model is still that one."""
        left = [item for item in self.items if not _is_pushed(item, self._report, store)]
        say(f"{len(self.items) - len(left)} of {len(self.items)} models were pushed already")
        self.items = left

    def tell(self, text: str) -> None:
        """Say *text* unless only what went wrong is asked for."""
        if not self._is_quiet:
            say(text)

    def offered(self) -> Iterator[PushItem]:
        """Yield the items, but for those of registries that need not be asked any more."""
        return (item for item in self.items if not self._given_up.leaves_out(item.model))

    def begin(self, seen: Observation, /) -> None:
        """Note a push that has begun; this is a hook."""
        if isinstance(seen, PushStarted):
            self._begun.add(seen.push.model)

    def take(self, verdict: PushVerdict) -> None:
        """Take the verdict of a model."""
        if isinstance(verdict.error, PushInterrupted) and not verdict.error.total_bytes:
            return
        self._codes[verdict.item] = exit_codes.verdict_code(verdict.error)
        self._needs_place |= isinstance(verdict.error, InvalidModelName)
        self._given_up.take(verdict)
        self.display.add(verdict)
        self._report.add(verdict)

    def cancel(self) -> None:
        """Note that what has begun and has no verdict was cancelled."""
        for item in self.items:
            if item.model in self._begun and item not in self._codes:
                self._codes[item] = exit_codes.INTERRUPTED
                self._report.add_cancelled(item)

    def end(self, *, has_place: bool) -> int:
        """Say what became of the models, and return the exit code."""
        codes = [self._codes[item] for item in self.items if item in self._codes]
        left_out = sum(map(len, self._given_up.left_out.values()))
        say(*self._given_up.texts())
        if not_begun := len(self.items) - len(codes) - left_out:
            say(f"not begun: {not_begun} models")
            codes.append(exit_codes.INTERRUPTED)
        self.tell(f"{codes.count(exit_codes.OK)} of {len(self.items)} models pushed")
        if self._needs_place and not has_place:
            self.tell("with --to HOST[/PATH], names without a registry or a namespace go there")
        if self._report.problem is not None:
            say(f"error: the report cannot be written: {self._report.problem}; the pushes went on without it")
            codes.append(exit_codes.USAGE)
        return exit_code_of(codes)


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


def _is_pushed(item: PushItem, report: ReportFile, store: ModelStore) -> bool:
    """Say whether the local model is the one that was pushed."""
    digest = report.digest_of(item.model)
    if digest is None:
        return False
    try:
        return store.load(ModelName.parse_local(item.source or item.model)).manifest.digest == digest
    except OllamaPushError:
        return False
