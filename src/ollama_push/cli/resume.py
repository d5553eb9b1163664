"""Where the command keeps unfinished uploads: in files of this user, or in a Redis that many machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import click

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.local import FileResumeStore, NoResume

if TYPE_CHECKING:
    from ollama_push.fleet import RedisPushes, RedisResumeStore

__all__ = ["RESUME_OPTION", "RESUME_VARIABLE", "new_resume_store", "new_shared_pushes", "unkept_text"]

RESUME_VARIABLE: Final = "OLLAMA_PUSH_RESUME"
RESUME_OPTION: Final = click.option(
    "--resume",
    envvar=RESUME_VARIABLE,
    metavar="URL",
    help="Redis or Valkey that keeps unfinished uploads for all machines, redis://HOST[:PORT][/DB], rediss:// for TLS,"
    f" or unix:///PATH; default: {RESUME_VARIABLE}, else files of this user. Its password is best in"
    " OLLAMA_PUSH_REDIS_PASSWORD.",
)


def new_resume_store(url: str | None, *, no_resume: bool = False) -> ResumeStore:
    """Return the store that the options mean.

    Raises:
        InvalidSetting: The URL cannot be used, or the extra is missing.
    """
    if no_resume:
        return NoResume()
    return FileResumeStore() if url is None else _redis_store(url)


def new_shared_pushes(url: str | None) -> RedisPushes | None:
    """Return where the replicas of a gateway meet; ``None`` for one that is alone."""
    if url is None:
        return None
    from ollama_push.fleet import RedisPushes

    return RedisPushes(url)


def unkept_text(store: ResumeStore) -> str | None:
    """Return the warning that unfinished uploads cannot be kept in *store*, after a try; ``None`` if they can be."""
    if not isinstance(store, _CanBeTried) or (problem := store.problem()) is None:
        return None
    said = f"unfinished uploads cannot be kept in {store.place}: {problem.lower()}"
    return f"warning: {said}; a push that is interrupted sends its unfinished blobs again from the start"


@runtime_checkable
class _CanBeTried(Protocol):
    @property
    def place(self) -> str: ...

    def problem(self) -> str | None: ...


def _redis_store(url: str) -> RedisResumeStore:
    try:
        from ollama_push.fleet import RedisResumeStore
    except ImportError as exc:
        raise InvalidSetting("resume", "<hidden>", str(exc)) from exc
    return RedisResumeStore(url)
