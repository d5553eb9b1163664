"""Draws the pictures of ``docs/pictures`` from real runs: a terminal, and the gateway's status page.

``python -m tests.pictures`` needs Debian's ``docker-registry`` and ``chromium``, port 5000, and 3 GB in the temporary
folder. What a run shows differs from run to run: look at the pictures before they are committed.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import itertools
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pyte
from aiohttp import ClientSession
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from tests.support.browser import open_tab
from tests.support.large_models import put_large_model
from tests.support.registries import DEBIAN_REGISTRY, RealRegistry

from ollama_push.core.names import ModelName
from ollama_push.testing.models import put_tiny_model

__all__ = ["MOST_BYTES", "PICTURES", "main"]

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
MOST_BYTES: Final = 150_000
"""Of one picture: they are loaded by everybody who reads the README."""

_COLUMNS: Final = 90
_ROWS: Final = 25
_PATIENCE_SECONDS: Final = 120.0
_REGISTRY_PORT: Final = 5000
_GATEWAY_PORT: Final = 11435
_MODEL: Final = "my-llama"
_SIZES: Final = (1_200_000_000, 300_000_000, 1_482, 59)
_PUSH: Final = f"ollama-push push localhost:{_REGISTRY_PORT}/team/{_MODEL} --from {_MODEL} --direct --plain-http"
_PROMPT: Final = "$ "
_CTRL_C: Final = b"\x03"
_INTERRUPT_AT: Final = re.compile(r" [12]\d% ")
_TRIES: Final = 10
"""The part under way when Ctrl-C comes may be all the rest."""

# The colours of Solarized dark, but for a text that is easier to read: https://ethanschoonover.com/solarized/.
_THEME: Final = TerminalTheme(
    (0, 43, 54),
    (210, 216, 216),
    [
        (7, 54, 66), (220, 50, 47), (133, 153, 0), (181, 137, 0),
        (38, 139, 210), (211, 54, 130), (42, 161, 152), (238, 232, 213),
    ],
    [
        (101, 123, 131), (203, 75, 22), (163, 190, 60), (222, 180, 60),
        (90, 170, 230), (108, 113, 196), (90, 200, 190), (253, 246, 227),
    ],
)  # fmt: skip
_ANSI: Final[Mapping[str, str]] = {"brown": "yellow", "brightbrown": "bright_yellow"}
"""What pyte calls a colour, where rich has another name for it."""


class _Registry(RealRegistry):
    """Distribution on the port that the pages name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(DEBIAN_REGISTRY, folder)
        self._port = _REGISTRY_PORT


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        put_large_model(folder / "models", *_SIZES)
        put_tiny_model(folder / "models", [ModelName.parse("library/tiny:q4")])
        screen = next(filter(_was_interrupted, (_record_terminal(folder, number) for number in range(_TRIES))))
        (PICTURES / "terminal.svg").write_text(_drawn(screen), "utf-8")
        with _Registry(folder / "registry-of-the-gateway"):
            for scheme, picture in asyncio.run(_page_pictures(folder)).items():
                (PICTURES / f"page-{scheme}.webp").write_bytes(picture)
    for path in sorted(PICTURES.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")  # noqa: T201 - what the program is for


def _was_interrupted(screen: pyte.Screen) -> bool:
    said = "".join(screen.display)  # lines of full width: what was wrapped is whole again
    return "; the registry has " in said and "resumed" in said


def _variables(folder: Path, home: Path) -> dict[str, str]:
    """Return the environment of a machine of its own, on which ``ollama-push`` is this interpreter's."""
    commands = home / "bin"
    commands.mkdir(parents=True)
    program = commands / "ollama-push"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ollama_push.cli "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(home),
        "OLLAMA_MODELS": str(folder / "models"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PS1": _PROMPT,
    }


def _record_terminal(folder: Path, number: int) -> pyte.Screen:
    """Type a push, Ctrl-C and the same push into a shell of a new machine, and return the screen at the end."""
    screen = pyte.Screen(_COLUMNS, _ROWS)
    variables = _variables(folder, folder / f"home-{number}")
    with _Registry(folder / f"registry-{number}"), _shell(variables, screen) as shell:
        shell.until(lambda: _last_line(screen) == _PROMPT.strip())
        shell.type(f"{_PUSH}\n".encode())
        shell.until(lambda: any(_INTERRUPT_AT.search(line) and "team/" in line for line in screen.display))
        shell.type(_CTRL_C)
        shell.until(lambda: _last_line(screen) == _PROMPT.strip())
        shell.type(f"{_PUSH}\n".encode())
        shell.until(lambda: _last_line(screen) == _PROMPT.strip())
    return screen


def _last_line(screen: pyte.Screen) -> str:
    return next((line.rstrip() for line in reversed(screen.display) if line.strip()), "")


class _Shell:
    """The end of a terminal at which people sit."""

    def __init__(self, end: int, screen: pyte.Screen) -> None:
        self._end = end
        self._stream = pyte.ByteStream(screen)

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)
        # The screen of a moment ago may end in a prompt, too.
        assert self._read(), "the shell does not echo"

    def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            assert self._read(), "the shell ended, or said nothing any more"

    def _read(self) -> bool:
        if not select.select([self._end], [], [], _PATIENCE_SECONDS)[0]:
            return False
        data = os.read(self._end, 65536)
        self._stream.feed(data)
        return bool(data)


@contextmanager
def _shell(variables: Mapping[str, str], screen: pyte.Screen) -> Iterator[_Shell]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=dict(variables), cwd=variables["HOME"],
    )  # fmt: skip
    os.close(theirs)
    try:
        yield _Shell(ours, screen)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _drawn(screen: pyte.Screen) -> str:
    """Return *screen* as an SVG that loads nothing."""
    used = max(row for row, line in enumerate(screen.display) if line.strip())
    # The last line is the prompt that waits.
    rows = [_text_of(screen.buffer[row][column] for column in range(_COLUMNS)) for row in range(used)]
    console = Console(record=True, width=_COLUMNS, file=open(os.devnull, "w"), color_system="truecolor")  # noqa: SIM115, PTH123
    console.print(Text("\n").join(rows), no_wrap=True, overflow="crop")
    drawn = console.export_svg(title="ollama-push", theme=_THEME, unique_id="terminal")
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def _text_of(cells: Iterator[Char]) -> Text:
    text = Text()
    for (colour, bold), group in itertools.groupby(cells, lambda cell: (cell.fg, cell.bold)):
        text.append("".join(cell.data for cell in group), Style(color=_colour(colour), bold=bold))
    return text


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return _ANSI.get(name, re.sub("^bright(?=[a-z])", "bright_", name))


async def _page_pictures(folder: Path) -> dict[str, bytes]:
    """Return the status page while two pushes run, light and dark, as WebP."""
    pictures = {}
    async with _gateway(folder) as origin, ClientSession() as session, open_tab(folder / "chromium") as tab:

        async def push(model: str, source: str) -> None:
            async with session.post(f"{origin}/api/push", json={"model": model, "from": source}) as response:
                async for _line in response.content:
                    pass

        await push("team/tiny:q4", "tiny:q4")
        await push("team/summariser:v2", "summariser")
        async with session.post(f"{origin}/api/push", json={"model": "team/draft", "from": _MODEL}) as response:
            async for line in response.content:
                if json.loads(line).get("completed", 0) > _SIZES[0] // 10:
                    break
        await push("team/tiny:latest", "tiny:q4")
        await tab.show(f"{origin}/ui", width=760)
        await tab.until("document.querySelectorAll('#lately li').length === 4")
        await tab.command("Emulation.setScrollbarsHidden", hidden=True)
        await tab.command(
            "Emulation.setDeviceMetricsOverride", width=760, height=640, deviceScaleFactor=1.5, mobile=False
        )
        under_way = [asyncio.create_task(push(model, _MODEL)) for model in ("team/my-llama:v1", "lab/my-llama:nightly")]
        await tab.until("document.querySelectorAll('#now progress').length > 1")
        await tab.value("document.querySelector('details').open = true")
        await tab.until("document.querySelector('#now progress').value > .35")
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await tab.command("Emulation.setEmulatedMedia", features=features)
            shot = await tab.command("Page.captureScreenshot", format="webp", quality=80, captureBeyondViewport=True)
            pictures[scheme] = base64.b64decode(shot["data"])
        await asyncio.gather(*under_way)
    return pictures


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[str]:
    """Run ``ollama-push serve`` and yield its origin."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ollama_push.cli", "serve", "--plain-http",
        "--listen", f"127.0.0.1:{_GATEWAY_PORT}", "--default-registry", f"localhost:{_REGISTRY_PORT}",
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder), "OLLAMA_MODELS": "models"}, cwd=folder,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while b"Ctrl-C ends it" not in (line := await process.stderr.readline()):
                assert line, "the gateway ended before it listened"
        drain = asyncio.create_task(process.stderr.read())
        yield f"http://127.0.0.1:{_GATEWAY_PORT}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    await drain


if __name__ == "__main__":
    main()
