"""What ``--help`` shows: every option once, under a heading, with examples that work, on wide and narrow screens."""

from __future__ import annotations

import re
import shlex
from collections import Counter

import click
import pytest
from click.testing import CliRunner

from ollama_push.cli.app import app
from ollama_push.cli.help_text import HEADINGS, HelpedCommand

_CONTEXT = click.Context(app, info_name="ollama-push")
NAMES = app.list_commands(_CONTEXT)


def command(name: str) -> HelpedCommand:
    found = app.get_command(_CONTEXT, name)
    assert isinstance(found, HelpedCommand)
    return found


def help_of(*arguments: str, columns: int = 80) -> str:
    done = CliRunner().invoke(app, [*arguments, "--help"], terminal_width=columns, max_content_width=columns)
    assert done.exit_code == 0
    return str(done.output)


def test_every_command_is_listed_once_under_its_heading() -> None:
    text = help_of()
    assert [text.count(f"\n  {name} ") for name in NAMES] == [1] * len(NAMES)
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options:", "Push:", "Copy:", "Logins:", "Serve:", "Try:", "Shell:"]
    assert "..." not in text.partition("Push:")[2], "a text was cut"


def test_an_option_has_one_heading() -> None:
    listed = Counter(option for options in HEADINGS.values() for option in options)
    assert [option for option, times in listed.items() if times > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_shown_once(name: str) -> None:
    text = help_of(name)
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            option = max(parameter.opts, key=len)
            shown = re.findall(rf"^  (?:-\w, )?{option}(?= |$)", text.partition("\nExamples:")[0], re.MULTILINE)
            assert len(shown) == 1, option


@pytest.mark.parametrize("name", NAMES)
def test_its_examples_are_understood(name: str) -> None:
    examples = command(name).examples
    assert examples
    for line in examples:
        words = shlex.split(line.partition(" >")[0].rpartition("| ")[2].removeprefix("source <(").removesuffix(")"))
        program, verb, *arguments = words
        assert (program, verb) == ("ollama-push", name)
        command(name).make_context(name, arguments, parent=_CONTEXT).close()
        assert line in help_of(name)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_it_fits_the_screen(name: str, columns: int) -> None:
    text = help_of(name, columns=columns).partition("Examples:")[0]
    words = (word for word in text.split() if len(word) > columns // 2)
    longest = max([columns, *(len(word) + 10 for word in words)])
    assert [line for line in text.splitlines() if len(line) > longest] == []
    if columns == 40:
        # A column of text that is left over beside the options would be one word wide.
        assert len(text.splitlines()) < 5 * len(help_of(name, columns=200).splitlines())


def test_examples_fit_into_eighty_columns() -> None:
    assert [line for name in NAMES for line in command(name).examples if len(line) > 78] == []
