"""The READMEs' Python examples run as they are written, against a server and a registry."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.example_runner import run_example

from ollama_push.testing.contract import run_contract

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh-CN.md")
PRINTED = (
    "pushed 250 bytes in 0.0 s\n",
    "retrieving manifest\n3f2a9c11d0aa 0 of 250 bytes\n3f2a9c11d0aa 250 of 250 bytes\npushing manifest\nsuccess\n",
    "0 bytes are there, 8033 are missing\nsent 8033 bytes, skipped 0, verified: True\n",
    (
        "retrieving manifest 0 bytes, speed None time left None\n"
        "pushing 3f2a9c11d0aa 0 bytes, speed None time left None\n"
        "pushing 3f2a9c11d0aa 250 bytes, speed None time left None\n"
        "pushing manifest 250 bytes, speed None time left None\n"
        "success 250 bytes, speed None time left 0.0\n"
    ),
    "myuser/my-llama:latest\n",
    "pushing myuser/my-llama:latest to http://127.0.0.1:11434\nsucceeded after 0.0 s\n",
)


def python_blocks(readme: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text("utf-8"), re.DOTALL)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("readme", READMES)
@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_example_runs_as_written(readme: str, number: int, tmp_path: Path) -> None:
    done = run_example(python_blocks(readme)[number], tmp_path)
    assert done.stderr == ""
    printed = re.sub(r"\b\d+\.\d s\b", "0.0 s", done.stdout)  # how long it took is the machine's
    assert printed == PRINTED[number]


@pytest.mark.slow
def test_the_transport_keeps_every_promise() -> None:
    sketch = next(code for code in python_blocks("README.md") if "class PlainTransport" in code)
    names: dict[str, Any] = {}
    exec(compile(sketch.partition("\nwith PushClient")[0], "README.md", "exec"), names)
    results = run_contract(names["PlainTransport"])
    assert [f"{result.clause}: {result.failure}" for result in results if result.failure is not None] == []


def test_every_example_is_run() -> None:
    assert [len(python_blocks(readme)) for readme in READMES] == [len(PRINTED)] * 2


def test_both_readmes_show_the_same_code_and_verdicts() -> None:
    english, chinese = ((ROOT / readme).read_text("utf-8") for readme in READMES)
    assert python_blocks("README.md") == python_blocks("README.zh-CN.md")
    names = [re.findall(r"^\| (`.*?`) *(?:[(\uff08]|\|)", text, re.MULTILINE) for text in (english, chinese)]
    assert len(names[0]) == 11
    assert [re.findall(r"`(\w+)`", name) for name in names[0]] == [re.findall(r"`(\w+)`", name) for name in names[1]]
