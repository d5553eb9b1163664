"""Every example of the documentation runs, every option it names exists, and what is generated is fresh."""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
from tests.support.example_runner import run_example

from ollama_push.cli.app import app
from ollama_push.testing.contract import run_contract

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"(?:^<!-- (\w+) -->\n+)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@attrs.define
class Example:
    code: str
    printed: str | None = None


def blocks(page: Path) -> Sequence[tuple[str, str, str]]:
    return BLOCK.findall(page.read_text("utf-8"))


def examples(page: Path) -> list[Example]:
    """Return the page's scripts, with what each prints where the page says so."""
    found: list[Example] = []
    for mark, language, text in blocks(page):
        match mark, language:
            case "notebook", "python":
                pass  # a cell that awaits: only a kernel runs it, in test_recipes.py
            case "continues", "python":
                found.append(Example(f"{found[-1].code}\n{text}"))
            case _, "python":
                found.append(Example(text))
            case "prints", "text":
                found[-1].printed = text
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT / "docs").with_suffix("").as_posix()


EXAMPLES = [
    pytest.param(example, id=f"{name_of(page)}-{number}")
    for page in PAGES
    for number, example in enumerate(examples(page), 1)
]
COMMANDS = [
    pytest.param(line.strip(), id=f"{name_of(page)}-{number}")
    for page in PAGES
    for _mark, language, text in blocks(page)
    if language in {"sh", "bash", "console"}
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1)
    if "ollama-push " in line.partition("#")[0]
    if "pip install" not in line
]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs_as_written(example: Example, tmp_path: Path) -> None:
    done = run_example(example.code, tmp_path)
    assert (done.returncode, done.stderr if "Traceback" in done.stderr else "") == (0, "")
    if example.printed is not None:
        assert done.stdout == example.printed


@pytest.mark.slow
def test_the_transport_on_the_standard_library_keeps_every_promise() -> None:
    [sketch] = [each.code for each in examples(ROOT / "docs" / "transports.md") if "class PlainTransport" in each.code]
    names: dict[str, Any] = {}
    exec(compile(sketch.partition("\nwith PushClient")[0], "transports.md", "exec"), names)
    results = run_contract(names["PlainTransport"])
    assert [f"{result.clause}: {result.failure}" for result in results if result.failure is not None] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_command_line_names_only_what_exists(line: str) -> None:
    words = shlex.split(line.partition(" >")[0].removeprefix("if ").partition(";")[0], comments=True)
    name, *arguments = words[words.index("ollama-push") + 1 :]
    # Parses as the process would: an option that is not there, or a wrong value, raises.
    every_command()[name].make_context(name, arguments, parent=click.Context(app)).close()


def every_command() -> dict[str, click.Command]:
    context = click.Context(app)
    found = {name: app.get_command(context, name) for name in app.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def test_the_options_page_names_every_option_and_command() -> None:
    page = (ROOT / "docs" / "command.md").read_text("utf-8")
    options = {
        option
        for command in every_command().values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert sorted(option for option in options if f"`{option}" not in page) == []
    assert sorted(name for name in every_command() if f"`ollama-push {name}" not in page) == []


@pytest.mark.process
def test_no_page_lacks_what_the_code_knows() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_includes_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    # In a block of Python the short form would be an expression, which formatters put blanks into.
    included = re.findall(r"^--8<--\n(\S+)\n--8<--$|^--8<-- \"(\S+)\"$", text, re.MULTILINE)
    assert sum(1 + bool(block) for block, _ in included) == len(re.findall(r"8 ?< ?--", text))
    assert [path for pair in included for path in pair if path and not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)


def test_there_are_examples_and_command_lines_to_check() -> None:
    assert len(EXAMPLES) > 15
    assert len(COMMANDS) > 8
