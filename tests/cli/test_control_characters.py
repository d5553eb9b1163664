"""What a peer says reaches a terminal without its control characters, by whatever way the command writes."""

from __future__ import annotations

import ast
import json
import logging
import re
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.support.command import HERE, NAME, command, environment, push, run
from tests.support.terminals import terminal

from ollama_push.cli.display.streams import log_handler
from ollama_push.testing.server import ScriptedServer, lines_answer

SOURCE: Final = Path(__file__).parents[2] / "src" / "ollama_push" / "cli"
# Sets the title, clears the screen, turns red; C1; turns the direction of text; ends the line; a line of its own.
HOSTILE: Final = "\x1b]0;OWNED\x07\x1b[2J\x1b[31mpushed\x1b[0m\u009b31mX\u202e\r\nFORGED\x00"
CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ON_ONE_LINE: Final = HOSTILE.replace("\r\n", "").replace("\x00", "").encode()


def clean(text: str) -> bool:
    return CONTROLS.search(text) is None and not any(line.startswith("FORGED") for line in text.splitlines())


def head(status: bytes, *fields: bytes, text: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"Content-Length: %d" % len(text), b"", text])


@contextmanager
def saying(response: bytes) -> Iterator[str]:
    """Respond to every request with *response*; yield the address."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            self.wfile.write(response)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "response",
    [
        *(head(b"%d X" % status, text=HOSTILE.encode()) for status in (503, 403, 401)),
        head(ON_ONE_LINE + b" 200"),
        head(b"307 X", b"Location: /" + ON_ONE_LINE),
        head(b"401 X", b'WWW-Authenticate: Bearer realm="http://127.0.0.1:9/' + ON_ONE_LINE + b'"'),
        head(b"401 X", b'WWW-Authenticate: Bearer realm="' + ON_ONE_LINE + b'"'),
    ],
    ids=["503", "403", "401", "status line", "Location", "realm", "no realm"],
)
def test_login_shows_no_control_characters(response: bytes, tmp_path: Path) -> None:
    with saying(response) as host:
        words = command("login", host, "--plain-http", "-u", "me", "--password-stdin")
        done = subprocess.run(
            words,
            input="secret\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(DOCKER_CONFIG=str(tmp_path)),
        )
    assert done.returncode not in (0, 1)
    assert done.stderr
    assert clean(done.stderr)
    assert done.stdout == ""


def layer(digest: str) -> list[bytes]:
    moved = ({"status": "pushing", "digest": digest, "total": 9, "completed": count} for count in (1, 9))
    return [*(json.dumps(line).encode() for line in moved), b'{"status":"success"}']


LINES: Final = {
    "status": [json.dumps({"status": HOSTILE}).encode(), b'{"status":"success"}'],
    "digest": layer(f"sha256:{HOSTILE}"),
    "short digest": layer("\x1b]0;OWNED\x07"),
    "error": [json.dumps({"error": HOSTILE}).encode()],
}
EACH: Final = pytest.mark.parametrize("lines", LINES.values(), ids=LINES)


@pytest.mark.slow
@pytest.mark.process
@EACH
@pytest.mark.parametrize(
    "options", [["--progress", "lines"], ["--progress", "json"], ["-q"], ["-vv"]], ids=["lines", "json", "quiet", "log"]
)
def test_push_shows_no_control_characters(lines: list[bytes], options: list[str]) -> None:
    done = push(lines_answer(lines), *options)
    assert done.returncode in (0, 5)
    assert clean(done.stdout)
    assert clean(done.stderr)


@pytest.mark.process
@EACH
def test_bars_show_none_but_their_own(lines: list[bytes]) -> None:
    with (
        ScriptedServer(lines_answer(lines), answers=HERE) as server,
        terminal(80, "push", NAME, "--host", server.url, "--retries", "0") as screen,
    ):
        assert screen.read_all() in (0, 5)
    for foreign in ("\x1b]", "\x07", "\x1b[31mpushed", "\u009b", "\u202e", "\x00", "\nFORGED"):
        assert foreign not in screen.screen


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [
        ["push", f"{NAME}\x1b[2J\x9b\u202e\nFORGED"],
        ["push", NAME, "--timeout", "\x1b[2J\u202e\nFORGED"],
        ["push", NAME, "--progress", "\x1b[2J\u202e\nFORGED"],
        ["push", NAME, "--\x1b[2J\u202e\nFORGED"],
        ["\x1b[2J\u202e\nFORGED"],
        ["check", NAME, "--host", "http://\x1b[2J\u202e"],
        ["login", "\x1b[2J\u202e\nFORGED"],
        ["registry", "--data", "/dev/null/\x1b[2J\u202e\nFORGED"],
    ],
)
def test_arguments_are_quoted_without_their_control_characters(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode not in (0, 1)
    assert clean(done.stdout)
    assert clean(done.stderr)


def test_a_record_is_one_line_and_its_traceback_keeps_its_lines() -> None:
    layout = log_handler("%(levelname)s %(message)s").formatter
    assert layout is not None
    try:
        raise ValueError(HOSTILE)
    except ValueError as exc:
        told = (type(exc), exc, exc.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "it says %s", (HOSTILE,), told)
    first, *more = layout.format(record).split("\n")
    assert first.startswith("ERROR it says \\x1b]0;OWNED")
    assert more[0].startswith("Traceback")
    assert CONTROLS.search("".join([first, *more])) is None


def test_nothing_of_the_command_writes_past_the_one_way() -> None:
    """``click.echo`` is refused by the linter; here are the streams themselves."""
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="print")) | ast.Call(func=ast.Attribute(attr="write" | "writelines")):
                    found.add((file.relative_to(SOURCE).as_posix(), ast.unparse(node.func)))
                case ast.Call(func=ast.Attribute(attr="StreamHandler" | "print" | "show")):
                    found.add((file.relative_to(SOURCE).as_posix(), ast.unparse(node.func)))
                case _:
                    pass
    assert found == {
        ("__init__.py", "sys.stderr.write"),  # a constant, where the packages of the command are missing
        ("app.py", "exc.show"),  # click's, of an escaped message
        ("display/bars.py", "self._terminal.print"),  # rich's, of an escaped text
        ("display/streams.py", "stream.write"),
        ("help_text.py", "formatter.write"),  # click's, of texts of ours
        ("metrics.py", "stream.write"),  # to a pipe or a device
        ("report_file.py", "self._file.write"),  # JSON in ASCII, to a file
    }
