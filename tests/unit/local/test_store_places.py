"""Where the model store is looked for, and what is said when it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.stores import put_model

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.names import ModelName
from ollama_push.local import ModelStore
from ollama_push.local.homes import home_in


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.ollama/models").mkdir(parents=True)
    return tmp_path / "home"


def test_without_a_word_the_user_s_own_store_is_taken(home: Path) -> None:
    assert ModelStore().root == home / ".ollama/models"


@pytest.mark.parametrize("spelling", ["{}", ' "{}" ', "'{}'"])
def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", spelling.format(tmp_path / "m"))
    assert ModelStore().root == tmp_path / "m"


def test_an_empty_variable_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", "")
    assert ModelStore().root == home / ".ollama/models"


def test_an_argument_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "m"))
    assert ModelStore(tmp_path / "n").root == tmp_path / "n"
    assert ModelStore(str(tmp_path / "n")).root == tmp_path / "n"


@pytest.mark.parametrize("make", ["missing", "empty", "file"])
def test_a_folder_that_is_no_store_is_refused_by_every_question(tmp_path: Path, make: str) -> None:
    root = tmp_path / make
    if make == "empty":
        root.mkdir()
    if make == "file":
        root.write_text("")
    store = ModelStore(root)
    said = "there is no such folder" if make == "missing" else "this is no model store; expected a folder that holds"
    for ask in (store.models, lambda: store.load(ModelName.parse_local("a"))):
        with pytest.raises(InvalidSetting, match=said) as caught:
            ask()
        assert (caught.value.setting, caught.value.value) == ("models", str(root))


def test_the_variable_is_named_when_it_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidSetting) as caught:
        ModelStore().models()
    assert caught.value.setting == "OLLAMA_MODELS"


def test_a_guess_that_is_wrong_says_how_to_help(home: Path) -> None:
    with pytest.raises(InvalidSetting, match="OLLAMA_MODELS says where it is"):
        ModelStore().models()


def test_the_folder_above_the_store_is_recognised(home: Path) -> None:
    put_model(home / ".ollama/models")
    with pytest.raises(InvalidSetting, match=r"such as .*/\.ollama/models"):
        ModelStore(home / ".ollama").models()


def test_a_path_that_no_disk_takes_is_put_into_words() -> None:
    with pytest.raises(InvalidSetting, match="the model store cannot be read: File name too long"):
        ModelStore("/" + "x" * 300).models()


def test_a_home_that_cannot_be_looked_into_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/" + "x" * 300)
    with pytest.raises(InvalidSetting):
        ModelStore().models()


def test_a_user_without_a_home_is_no_crash() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user that nobody knows")
    program = """
import os
import filelock  # while it can be read
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials, ModelStore
os.environ.clear()
os.environ["PATH"] = "/nowhere"
os.setuid(54321)
print(ModelStore().root)
print(Credentials().find("h"))
try:
    Credentials().login("h", Login("me", "p"))
except InvalidSetting as exc:
    print(exc.problem)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == [
        "/usr/share/ollama/.ollama/models",
        "None",
        "there is no home directory to keep logins in; set it",
    ]


def test_a_home_is_found_as_go_finds_it() -> None:
    assert home_in({"HOME": "/h", "USERPROFILE": "/u"}) == Path("/h")
    assert home_in({"HOME": "", "USERPROFILE": "/u"}) == Path("/u")
    assert home_in({}) == Path.home()
