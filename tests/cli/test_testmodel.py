"""``testmodel`` makes a model that a push takes, and touches nothing that is there."""

from pathlib import Path

import pytest
from tests.support.command import run
from tests.support.command_direct import at_home

from ollama_push.core.names import ModelName
from ollama_push.local import ModelStore
from ollama_push.testing.registry import EmbeddedRegistry

pytestmark = pytest.mark.process


def test_a_model_is_made_where_there_was_no_store_and_can_be_pushed(tmp_path: Path) -> None:
    models = tmp_path / "new" / "models"
    made = run("testmodel", "my-llama", "--models", str(models))
    assert (made.returncode, made.stdout) == (0, "")
    assert made.stderr == f"made my-llama:latest, 24.0 MB, in {models}\n"
    stored = ModelStore(models).load(ModelName.parse_local("my-llama"))
    assert all(stored.rehash(digest) for digest in stored.files)
    assert sorted(path.name for path in (models / "blobs").iterdir()) == sorted(
        file.path.name for file in stored.files.values()
    )
    with EmbeddedRegistry(tmp_path / "data") as registry:
        name = f"{registry.host}/team/my-llama"
        options = ("--plain-http", "--from", "my-llama", "--models", str(models))
        assert run("push", name, "--direct", *options, XDG_STATE_HOME=str(tmp_path)).returncode == 0
        assert run("verify", name, *options).returncode == 0


def test_a_model_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        before = sorted(tmp_path.rglob("models/**/*"))
        done = home.run("testmodel", "my-llama")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: NAME='my-llama': the store {tmp_path / 'models'} has a model of that name; choose another\n"
    )
    assert sorted(tmp_path.rglob("models/**/*")) == before


def test_the_usual_store_is_the_default_and_another_model_stays(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        assert home.run("testmodel", "me/other:v1").returncode == 0
    names = [name.shortest for name in ModelStore(tmp_path / "models").models()]
    assert names == ["me/other:v1", "my-llama:latest"]


def test_a_store_that_cannot_be_written_and_a_name_that_is_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("testmodel", "my-llama", "--models", str(tmp_path / "file"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: --models=")
    assert done.stderr.endswith("cannot be written: not a directory\n")
    assert run("testmodel", "a b", "--models", str(tmp_path)).returncode == 3
