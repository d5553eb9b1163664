"""Runs pushes and copies one after the other, and shows how each ends: what several commands share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from ollama_push.cli import exit_codes
from ollama_push.cli.display import CHOICES, Display
from ollama_push.cli.display.streams import log_handler, say
from ollama_push.cli.messages import USUAL
from ollama_push.cli.reports import model_text
from ollama_push.cli.resume import unkept_text
from ollama_push.client._hooks import tell_early_end
from ollama_push.contrib.logs import LogHook
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.names import ModelName
from ollama_push.core.observations import Observation, PushStarted
from ollama_push.core.ports import Hook
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.places import ModelSource
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.core.units import bytes_text, share_text
from ollama_push.local import ModelStore, NoResume

__all__ = [
    "PushTarget",
    "can_resume",
    "display_options",
    "exit_code_of",
    "log_hooks",
    "opened",
    "push_each",
    "show_push",
]

T = TypeVar("T")

_HASH_SECONDS: Final = 3.0
"""How often is said how far a hash is."""

_OPTIONS = (
    click.option(
        "--progress",
        type=click.Choice(CHOICES),
        default="auto",
        show_default=True,
        help="auto: bars on a terminal, lines elsewhere; json: one object per line on stdout.",
    ),
    click.option("--metrics-port", metavar="[ADDRESS:]PORT", help="Serve Prometheus metrics while pushing."),
    click.option("--metrics-file", metavar="FILE", help="Write Prometheus metrics to FILE, for node_exporter."),
    click.option("-v", "--verbose", count=True, help="Log to stderr; -vv logs every detail."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only; the same as --progress none."),
)


def display_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say what is shown and logged."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def log_hooks(verbose: int) -> list[Hook]:
    """Return the hooks of ``-v``."""
    return [_log_hook(verbose)] if verbose else []


@contextmanager
def opened(
    source: Any, store: ModelStore, *, quiet: bool, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Any]:
    """Open what *source* means, and close it; of large files it is said how far their hash is, unless *quiet*."""
    if not isinstance(source, str):
        yield source
        return
    from ollama_push.local.places import source_of_text

    tell = _HashLines()
    found = source_of_text(source, store, hashed=_say_nothing if quiet else tell, cancelled=cancelled)
    try:
        yield found
    finally:
        if isinstance(found, ModelSource):
            found.close()


def _say_nothing(_path: Path, _done: int, _size: int) -> None:
    """Tell nobody."""


class _HashLines:
    """Says now and then how far the hash of a file is."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _HASH_SECONDS

    def __call__(self, path: Path, done: int, size: int) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _HASH_SECONDS
            say(f"hashing {path}: {share_text(done / size)} of {bytes_text(size)}")


def exit_code_of(codes: Sequence[int]) -> int:
    """Return the exit code of several pushes: an interrupt says more than a failure before it."""
    return exit_codes.INTERRUPTED if exit_codes.INTERRUPTED in codes else next(filter(None, codes), exit_codes.OK)


@attrs.frozen
class PushTarget:
    """One model of a push, before the push begins.

    Attributes:
        name: Its name; as it was written where that is no legal name.
        total_bytes: Its size, if known.
        problem: Why the push cannot begin.
        address: Of the server that was asked; empty when none was.
    """

    name: ModelName | str
    total_bytes: int | None = None
    problem: OllamaPushError | KeyboardInterrupt | None = None
    address: str = ""


def push_each(
    names: Sequence[T], push_one: Callable[[T], int], is_interrupted: Callable[[], bool] = lambda: False
) -> list[int]:
    """Push each of *names* and return the exit codes; after an interrupt the rest is not begun."""
    codes: list[int] = []
    for index, name in enumerate(names, 1):
        codes.append(push_one(name))
        rest = names[index:]
        if rest and (codes[-1] == exit_codes.INTERRUPTED or is_interrupted()):
            say(f"not begun: {', '.join(model_text(str(each)) for each in rest)}")
            return [exit_codes.INTERRUPTED]
    return codes


def show_push(
    display: Display,
    target: PushTarget,
    send: Callable[[Sequence[Hook]], PushReceipt],
    *,
    hooks: Sequence[Hook],
    cancelled: str,
) -> int:
    """Send *target* with hooks, show how the push ends, and return the exit code; *cancelled* is told after a cancel.

    Of a push that ends before it begins, *hooks* are told here.
    """
    begun = list[Observation]()

    def note(seen: Observation) -> None:
        if isinstance(seen, PushStarted):
            begun.append(seen)

    try:
        if target.problem is not None:
            raise target.problem
        receipt = send([display, note, *hooks])
    except OllamaPushError as exc:
        if not begun:
            tell_early_end(hooks, target.name, target.address, exc)
        display.failed(exc)
        return exit_codes.exit_code(exc)
    except KeyboardInterrupt:
        if not begun:
            tell_early_end(hooks, target.name, target.address, None)
        display.cancelled(cancelled)
        return exit_codes.INTERRUPTED
    display.succeeded(receipt)
    return exit_codes.OK


def can_resume(store: ResumeStore, *, warn: bool) -> bool:
    """Say whether unfinished uploads can be kept in *store*; if not, print a warning if *warn* is set."""
    if isinstance(store, NoResume):
        return False
    warning = unkept_text(store)
    if warning is not None and warn:
        say(warning)
    return warning is None


def _log_hook(verbose: int) -> LogHook:
    """Return a hook with a logger of its own, because the root logger is not the command's to configure."""
    logger = logging.Logger("ollama_push", logging.INFO if verbose == 1 else logging.DEBUG)  # noqa: LOG001
    logger.addHandler(log_handler("%(asctime)s %(levelname)s %(message)s"))
    return LogHook(logger, describe=USUAL.format)
