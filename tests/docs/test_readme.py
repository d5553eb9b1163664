"""What the READMEs show is so: examples run as they are written, and figures and screens come from real runs."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests import verdicts as table
from tests.catalogue.case import Case
from tests.catalogue.table import THEMES
from tests.pictures import MOST_BYTES, PICTURES
from tests.support.command import command
from tests.support.command_direct import Home
from tests.support.example_runner import run_example
from tests.support.gateway import Gateway, settings_for, store_of
from tests.verdicts import HANGS, counted, is_failed, official_verdict

from ollama_push.core.errors import PushStalled
from ollama_push.core.names import ModelName
from ollama_push.testing.models import put_tiny_model
from ollama_push.testing.registry import EmbeddedRegistry, Quirks

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PRINTED = (
    "pushed 250 bytes in 0.0 s\n",
    "0 bytes are there, 8033 are missing\nsent 8033 bytes, skipped 0, verified: True\n",
)
LINES = 150
OFFICIAL = re.compile(r"^ollama (?P<version>\S+) \(official\): (?P<counted>.*)$", re.MULTILINE)


def text_of(readme: str) -> str:
    return (ROOT / readme).read_text("utf-8")


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(readme), re.MULTILINE | re.DOTALL)


def console(readme: str, word: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the console block that holds *word*, with the lines that it prints."""
    [block] = [block for block in blocks(readme, "console") if word in block]
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *printed = step.splitlines()
        yield line, printed


def without_figures(text: str) -> str:
    """Leave out what differs from run to run: how much and how long; a digest is cut as in the READMEs."""
    text = re.sub(r"sha256:(\w{4})\w*(?:\.\.\.)?", r"sha256:\1...", text)
    return re.sub(r"\d+(?:\.\d+)? (?:[kM]?B|s)\b", "N", text)


@pytest.mark.parametrize("readme", READMES)
def test_it_is_short(readme: str) -> None:
    assert len(text_of(readme).splitlines()) < LINES


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("readme", READMES)
@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_example_runs_as_written(readme: str, number: int, tmp_path: Path) -> None:
    done = run_example(blocks(readme, "python")[number], tmp_path)
    assert done.stderr == ""
    printed = re.sub(r"\b\d+\.\d s\b", "0.0 s", done.stdout)  # how long it took is the machine's
    assert printed == PRINTED[number]


def test_every_example_is_run() -> None:
    assert [len(blocks(readme, "python")) for readme in READMES] == [len(PRINTED)] * 2


def test_both_readmes_show_the_same() -> None:
    for language in ("python", "text", "console"):
        assert blocks("README.md", language) == blocks("README.zh-CN.md", language), language
    commands = [[shlex.split(block, comments=True) for block in blocks(readme, "sh")] for readme in READMES]
    assert commands[0] == commands[1]
    targets = [re.findall(r"(?:\]\(|src(?:set)?=\")([^)\"]+)", text_of(readme)) for readme in READMES]
    assert sorted({*targets[0], "README.md"}) == sorted({*targets[1], "README.zh-CN.md"})
    heads = [re.findall(r"^(#+) ", text_of(readme), re.MULTILINE) for readme in READMES]
    assert heads[0] == heads[1]


def test_our_verdicts_are_what_the_readme_says() -> None:
    failed = sum(is_failed(case) for cases in THEMES.values() for case in cases)
    # That each of ours is the right one is tested with the catalogue.
    assert f"ollama-push: of {failed} failed pushes, 0 reported as OK, 0 never reported" in text_of("README.md")


@pytest.mark.slow
def test_the_rows_of_verdicts_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = [block for block in blocks("README.md", "text") if OFFICIAL.search(block)]
    head, *rows = block.partition("\n...\n")[0].splitlines()
    table.main([row[:40].rstrip() for row in rows])
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:-2] == rows
    assert re.sub(r"ollama \d\S+", "ollama", printed[0]) == re.sub(r"ollama \d\S+", "ollama", head)


@pytest.mark.slow
def test_the_official_clients_verdicts_are_what_the_readme_says() -> None:
    said = OFFICIAL.search(text_of("README.md"))
    assert said is not None
    if said["version"] != version("ollama"):
        pytest.skip(f"the figure is that of {said['version']}, and ollama {version('ollama')} is installed")
    failed = [case for cases in THEMES.values() for case in cases if is_failed(case)]
    # All that hang do so at the same time, so that the bound may be a patient one.
    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(_patient_verdict, failed))
    assert counted(verdicts) == said["counted"]


def _patient_verdict(case: Case) -> str:
    verdict = official_verdict(case, 20.0)
    # Who has read a whole flood of lines that say nothing has not noticed: that it ends is this server's doing.
    flooded = isinstance(case.expected.error, PushStalled) and "peer closed connection" in verdict
    return HANGS if flooded else verdict


@pytest.mark.slow
@pytest.mark.process
def test_a_push_that_is_killed_is_resumed_as_the_readme_shows(tmp_path: Path) -> None:
    (make, _), (broken, said), (again, printed) = console("README.md", "timeout -s KILL")
    # As `ollama-push registry` does.
    with EmbeddedRegistry(tmp_path / "registry", quirks=Quirks(redirect_to_other_name=True)) as registry:
        home = Home(tmp_path, registry, b"")

        def arguments(line: str) -> list[str]:
            _, _, words = line.replace("localhost:5000", registry.host).partition("ollama-push ")
            return shlex.split(words)

        assert home.run(*arguments(make)).returncode == 0
        with subprocess.Popen(
            command(*arguments(broken)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=home.variables,
        ) as process:
            assert registry.wait_until(lambda: registry.received_bytes > 4_000_000, 60)
            process.kill()
        assert said == ["Killed"]
        done = home.run(*arguments(again))
    assert done.returncode == 0
    shown = [line for line in done.stderr.splitlines() if not line.startswith(("pushing", "verifying"))]
    assert [without_figures(line.replace(registry.host, "localhost:5000")) for line in shown[-2:]] == [
        without_figures(line) for line in printed
    ]


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: apt-get install curl")
def test_curl_is_told_what_the_readme_shows(tmp_path: Path) -> None:
    *_, (line, printed) = console("README.md", "curl http")
    store = store_of(tmp_path)
    put_tiny_model(store.root, [ModelName.parse_local("my-llama")], rows=1)
    body = shlex.split(line)[-1]
    with (
        EmbeddedRegistry(tmp_path / "registry") as registry,
        Gateway(settings_for(store, default_registry=registry.host, plain_http=True)) as gateway,
    ):
        done = subprocess.run(
            ["curl", "--silent", "--noproxy", "*", f"http://127.0.0.1:{gateway.port}/api/push", "-d", body],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    # Which layers there are, and how large, is the model's: one stands for all.
    kinds = [re.sub(r"pushing \w{12}.*", "pushing a layer", each) for each in done.stdout.splitlines()]
    assert list(dict.fromkeys(kinds)) == [re.sub(r"pushing \w{12}.*", "pushing a layer", each) for each in printed]


@pytest.mark.parametrize("picture", sorted(PICTURES.iterdir()), ids=lambda picture: str(picture.name))
def test_a_picture_is_small_shown_and_loads_nothing(picture: Path) -> None:
    assert picture.stat().st_size <= MOST_BYTES
    assert all(f"docs/pictures/{picture.name}" in text_of(readme) for readme in READMES)
    if picture.suffix == ".svg":
        drawn = ET.fromstring(picture.read_text("utf-8"))
        assert "{http://www.w3.org/2000/svg}text" in {each.tag for each in drawn.iter()}
        assert re.findall(r"url\((?!#)|@import|href", picture.read_text("utf-8")) == []


@pytest.mark.parametrize("page", [*READMES, *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_every_picture_is_there_and_says_what_it_shows(page: str) -> None:
    text = text_of(page)
    shown = re.findall(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)]+)\)", text)
    shown += [(alt, path) for path, alt in re.findall(r"<img src=\"([^\"]+)\"[^>]* alt=\"([^\"]*)\"", text)]
    shown += [("another colour of the same", path) for path in re.findall(r"srcset=\"([^\"]+)\"", text)]
    assert len(shown) == len(re.findall(r"!\[|<img|<source", text))
    for alt, path in shown:
        assert len(alt) > 20
        assert ((ROOT / page).parent / path).exists()
