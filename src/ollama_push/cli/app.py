"""The command group, and the only place where errors become exit codes."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final

import click

from ollama_push.cli import exit_codes
from ollama_push.cli.display.streams import say, tell, write_whole
from ollama_push.cli.messages import USUAL
from ollama_push.cli.signals import sigterm_as_ctrl_c
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.messages import printable
from ollama_push.core.version import __version__

__all__ = ["app", "run"]


_SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Push": {
        "check": "check:check",
        "push": "push:push",
        "verify": "verify:verify",
        "attach": "attach:attach",
    },
    "Copy": {
        "copy": "copy:copy",
        "save": "copy:save",
        "load": "copy:load",
    },
    "Logins": {
        "login": "login:login",
        "logout": "login:logout",
    },
    "Serve": {
        "serve": "serve:serve_command",
    },
    "Try": {
        "demo": "demo:demo",
        "testmodel": "testmodel:testmodel",
        "registry": "registry:registry",
    },
    "Shell": {
        "completion": "completion:completion",
    },
}
"""Where each command is, in the order of the help."""
_COMMANDS: Final = {name: home for commands in _SECTIONS.values() for name, home in commands.items()}


class _Commands(click.Group):
    """Imports a command when it is asked for: no command pays for the packages of another."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], _COMMANDS, n=1):
                exc.message += f" Did you mean {near[0]!r}?"  # type: ignore[misc]  # final for others; `show` reads it
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = max(map(len, _COMMANDS))
        for heading, homes in _SECTIONS.items():
            commands = [(name, command) for name in homes if (command := self.get_command(ctx, name)) is not None]
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(names), command.short_help or "") for name, command in commands])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"ollama_push.cli.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Upload Ollama models, with one truthful verdict.

    \b
    Exit codes:
      0 done               5 refused            9 timeout or stall
      1 a bug              6 not authorized    10 verification failed
      2 wrong usage        7 model not found  130 Ctrl-C
      3 wrong name         8 not the protocol
      4 no connection
    """  # noqa: D301 - \b keeps click from rewrapping


def run(arguments: Sequence[str]) -> int:
    """Run the command with *arguments* and return its exit code."""
    try:
        with sigterm_as_ctrl_c():
            code = app.main(list(arguments), prog_name="ollama-push", standalone_mode=False)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        with suppress(OSError):  # there is nowhere to show it
            exc.show()
        return exit_codes.USAGE
    except click.ClickException as exc:
        # It quotes arguments, which may be what somebody else chose.
        exc.message = printable(exc.message)  # type: ignore[misc]  # final for others; `show` reads it
        with suppress(OSError):  # there is nowhere to show it
            exc.show()
        return exit_codes.USAGE
    except SystemExit:
        # click's own, where the reader of its help or its version has closed the pipe (8.2 "Command.main").
        return exit_codes.OK
    except (KeyboardInterrupt, click.Abort):
        tell(sys.stderr, "cancelled")
        return exit_codes.INTERRUPTED
    except OllamaPushError as exc:
        say(f"error: {USUAL.format(exc)}")
        return exit_codes.exit_code(exc)
    except OSError as exc:
        # Transports and metrics translate their OSErrors, so this one is from our own output.
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        write_whole(sys.stdout, "")  # What is still buffered would fail again at exit.
        say(f"error: the output cannot be written: {exc.strerror}")
        return exit_codes.USAGE
    return code if isinstance(code, int) else exit_codes.OK
