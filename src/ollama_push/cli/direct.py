"""How the command pushes straight to a registry: the options of ``--direct``, and the clients that they mean."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import click
from click.core import ParameterSource

from ollama_push.cli.client_runner import ClientRunner
from ollama_push.cli.connection import Settings, transport_for
from ollama_push.cli.display.streams import say
from ollama_push.cli.resume import RESUME_OPTION
from ollama_push.cli.sizes import parse_size, rate_in_bytes
from ollama_push.core.registry.blob_upload.part_sizes import SMALLEST_PART_BYTES, WHOLE, PartBytes
from ollama_push.core.registry.resume import ResumeStore
from ollama_push.local import Credentials

if TYPE_CHECKING:
    from ollama_push.client import RegistryClient

__all__ = [
    "TRANSFER_OPTIONS",
    "DirectSettings",
    "connect_directly",
    "copy_options",
    "credentials_of",
    "direct_options",
    "warn_of_empty_login",
]

TRANSFER_OPTIONS: Final = (
    "models",
    "plain_http",
    "concurrency",
    "no_verify",
    "no_resume",
    "resume",
    "part_size",
    "limit_rate",
    "force_upload",
    "mount_from",
)
"""Those of every transfer to a registry, whatever it is of."""

# Options of a push through a server that have no meaning with --direct, and what to do instead.
_FOR_SERVERS: Final = {
    "host": "--host names an Ollama server, and --direct uses none: the registry is the first part of NAME",
    "insecure": "--insecure is for pushes through an Ollama server; with --direct use --plain-http",
    "header": "--header is for requests to an Ollama server, and --direct uses none",
}


@attrs.frozen
class DirectSettings:
    """The values of the options of ``--direct``.

    Attributes:
        source: Where the model comes from; ``None`` for the local model that is pushed.
        models: Folder of the model store, if given.
        concurrency: Blobs at the same time.
        limit_rate: Bytes per second at most; ``None`` for no limit.
        part_size: Bytes of one part; ``"whole"`` for each blob in one request, ``None`` to adapt.
        plain_http: Speak plain HTTP to the registry.
        no_verify: Do not verify after the push.
        no_resume: Neither keep nor resume unfinished uploads.
        resume: URL of the Redis or Valkey that keeps unfinished uploads; ``None`` for files of this user.
        force_upload: Send even the blobs that the registry says it has.
        mount_from: Repository of the same registry that may have the blobs.
    """

    source: str | None = None
    models: str | None = None
    concurrency: int | None = None
    part_size: PartBytes = None
    limit_rate: int | None = None
    plain_http: bool = False
    no_verify: bool = False
    no_resume: bool = False
    resume: str | None = None
    force_upload: bool = False
    mount_from: str | None = None

    @property
    def client_options(self) -> dict[str, Any]:
        """The arguments of a client."""
        options: dict[str, Any] = {
            "store": self.models,
            "plain_http": self.plain_http,
            "verify": not self.no_verify,
            "part_bytes": self.part_size,
            "max_bytes_per_second": self.limit_rate,
            "force_upload": self.force_upload,
            "mount_from": self.mount_from,
        }
        return options if self.concurrency is None else {**options, "concurrency": self.concurrency}


def direct_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--direct`` and those of its options that are *named*.

    The command gets them as one argument ``direct``, which is ``None`` without ``--direct``.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_direct(*, direct: bool, **options: Any) -> Any:
            given = {name: options.pop(name) for name in names}
            # What is no model of a server can only be pushed directly.
            direct = direct or _is_place(given.get("source"))
            source_of = click.get_current_context().get_parameter_source
            typed = [name for name, value in given.items() if value and source_of(name) is ParameterSource.COMMANDLINE]
            _refuse_other_options(direct=direct, given=typed)
            return command(direct=DirectSettings(**given) if direct else None, **options)

        decorated: Callable[..., Any] = with_direct
        for name in reversed(names):
            decorated = _with_option(decorated, name, "With --direct: ")
        return click.option("--direct", is_flag=True, help="Push straight to the registry, without an Ollama server.")(
            decorated
        )

    return decorate


def copy_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add those options of direct pushes that are *named*, to a command that knows no other way.

    The command gets them as one argument ``direct``.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_options(**options: Any) -> Any:
            return command(direct=DirectSettings(**{name: options.pop(name) for name in names}), **options)

        decorated: Callable[..., Any] = with_options
        for name in reversed(names):
            decorated = _with_option(decorated, name)
        return decorated

    return decorate


def connect_directly(
    settings: Settings, direct: DirectSettings, resume: ResumeStore | None = None
) -> ClientRunner[RegistryClient]:
    """Return a runner of clients of registries, which keep uploads in *resume*; use it as a context manager.

    Raises:
        InvalidSetting: An option cannot be used.
    """
    return ClientRunner(
        transport_for(settings),
        "RegistryClient",
        credentials=credentials_of(settings),
        resume=resume,
        **settings.limits,
        **direct.client_options,
    )


def credentials_of(settings: Settings) -> Credentials:
    """Return where logins and keys for registries are found."""
    return Credentials(key=None if settings.cert else settings.key)


def warn_of_empty_login() -> None:
    """Warn of a login in the environment that is empty, as a secret that a CI system withholds is."""
    names = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")
    empty = [name for name in names if os.environ.get(name) == ""]
    if empty and not any(os.environ.get(name) for name in names):
        said = "is set and empty: it is" if len(empty) == 1 else "are set and empty: they are"
        say(f"warning: {' and '.join(empty)} {said} not used, and a stored login is")


def _refuse_other_options(*, direct: bool, given: list[str]) -> None:
    """Refuse options for a server with ``--direct``, and options of ``--direct`` without it."""
    context = click.get_current_context()
    if direct:
        for name, problem in _FOR_SERVERS.items():
            if context.params.get(name):
                raise click.UsageError(problem)
    elif given:
        option = next(option for option in context.command.params if option.name == given[0])
        raise click.UsageError(f"{option.opts[0]} needs --direct: it is for pushes straight to a registry")


def _is_place(source: str | None) -> bool:
    if source is None:
        return False
    from ollama_push.local.places import is_place

    return is_place(source)


def _with_option(command: Callable[..., Any], name: str, condition: str = "") -> Callable[..., Any]:
    option = _OPTIONS[name]
    return option.added_to(command, condition) if isinstance(option, _Option) else option(command)


def _part_bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> PartBytes:
    if text is None:
        return None
    if text.strip().lower() == WHOLE:
        return WHOLE
    size = parse_size(text)
    if size < SMALLEST_PART_BYTES:
        # Also what the core does not go below when a registry calls a part too large.
        least = f"{SMALLEST_PART_BYTES // 1024}KiB"
        raise click.BadParameter(f"expected at least {least}, such as 16MiB, 64MB or 1000000, or {WHOLE}")
    return size


@attrs.frozen
class _Option:
    """An option of direct pushes, which is also one of copies.

    Attributes:
        flags: As ``click.option`` takes them.
        says: Its help, without the condition that a push adds.
        settings: Passed to ``click.option``.
    """

    flags: tuple[str, ...]
    says: str
    settings: dict[str, Any] = attrs.field(factory=dict)

    def added_to(self, command: Callable[..., Any], condition: str = "") -> Callable[..., Any]:
        """Return *command* with this option."""
        says = f"{condition}{self.says}" if condition else f"{self.says[0].upper()}{self.says[1:]}"
        return click.option(*self.flags, help=says, **self.settings)(command)


_OPTIONS: Final[Mapping[str, _Option | Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "source": _Option(
        ("--from", "source"),
        "where the model comes from, if it is not the local model NAME: another, or what `copy` takes (then --direct"
        " need not be said).",
        {"metavar": "SOURCE"},
    ),
    "models": _Option(
        ("--models",), "Ollama's model store; default: OLLAMA_MODELS, else Ollama's default.", {"metavar": "DIR"}
    ),
    "plain_http": _Option(("--plain-http",), "use plain HTTP for the registry.", {"is_flag": True}),
    "concurrency": _Option(
        ("--concurrency",),
        "number of parallel blobs; default: 4.",
        {"type": click.IntRange(1, 64), "metavar": "N"},
    ),
    "no_verify": _Option(
        ("--no-verify",), "do not verify the model in the registry after the push.", {"is_flag": True}
    ),
    "no_resume": _Option(("--no-resume",), "neither keep nor resume unfinished uploads.", {"is_flag": True}),
    "resume": RESUME_OPTION,
    "force_upload": _Option(
        ("--force-upload",), "send even the blobs that the registry says it has.", {"is_flag": True}
    ),
    "mount_from": _Option(
        ("--mount-from",),
        "repository of the same registry that may have the blobs; they are not sent then.",
        {"metavar": "REPOSITORY"},
    ),
    "limit_rate": _Option(
        ("--limit-rate",),
        "bytes per second at most, such as 10MB, for all pushes of the command together.",
        {"callback": rate_in_bytes, "metavar": "SIZE"},
    ),
    "part_size": _Option(
        ("--part-size",),
        "size of a part, such as 16MiB, at least 256KiB, or whole to send each blob in one request;"
        " default: adapts to the speed.",
        {"callback": _part_bytes, "metavar": "SIZE"},
    ),
}
