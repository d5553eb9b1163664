"""The Homebrew formula and the conda recipe say what ``pyproject.toml`` says, and their own programs can read them."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import rattler_build
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release.facts import Project
from release.recipes import CONDA_NAMES, FORMULA_EXTRAS, FORMULA_PYTHON, conda_recipe, formula
from tests.support.checkers import complaints, needs
from tests.support.installed import installed_for
from tests.support.source_trees import ROOT

PROJECT: Final = Project.read()
HOMEPAGE: Final = "https://github.com/example/ollama-push"
URL: Final = "https://files.pythonhosted.org/packages/source/o/ollama-push/ollama_push-7.8.9.tar.gz"
BROUGHT: Final = {"cryptography", "cffi", "pycparser"}


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def needed() -> list[str]:
    return [*PROJECT.dependencies, *(text for extra in FORMULA_EXTRAS for text in PROJECT.extras[extra])]


def package(name: str, marker: str | None = None) -> dict[str, Any]:
    """Return *name* as a lock has it (PEP 751)."""
    sdist = {"url": f"https://files.example.com/{name}.tar.gz", "hashes": {"sha256": digest_of(name)}}
    return {"name": name, "version": "1.0", "sdist": sdist} | ({"marker": marker} if marker else {})


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    file = tmp_path / "ollama_push-7.8.9.tar.gz"
    file.write_bytes(b"an sdist")
    return file


@pytest.fixture
def ruby(sdist: Path) -> str:
    return formula(PROJECT, sdist, [package(name) for name in sorted(installed_for(needed()))], HOMEPAGE)


@pytest.fixture
def recipe(sdist: Path) -> str:
    return conda_recipe(PROJECT, sdist, HOMEPAGE)


def field(name: str, text: str) -> list[str]:
    return re.findall(rf'^  {name} "(.*)"$', text, re.MULTILINE)


def test_the_formula_says_what_pyproject_says(ruby: str, sdist: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert ruby.startswith("class OllamaPush < Formula\n")
    assert (field("desc", ruby), field("license", ruby)) == ([project["description"]], [project["license"]])
    assert (field("url", ruby), field("homepage", ruby)) == ([URL], [HOMEPAGE])
    assert field("sha256", ruby) == [hashlib.sha256(sdist.read_bytes()).hexdigest()]
    # Homebrew's audit asks for that much of a description.
    assert len(project["description"]) < 80
    assert f'depends_on "python@{FORMULA_PYTHON}"' in ruby
    assert f"Programming Language :: Python :: {FORMULA_PYTHON}" in project["classifiers"]
    assert [*map(int, FORMULA_PYTHON.split("."))] >= [*map(int, PROJECT.python_floor.split("."))]


def test_the_formula_brings_what_the_command_needs(ruby: str) -> None:
    resources = dict(re.findall(r'resource "(.*)" do\n    url ".*"\n    sha256 "(.*)"\n  end', ruby))
    direct = {canonicalize_name(Requirement(text).name) for text in needed()}
    assert direct - BROUGHT <= resources.keys()
    assert "multidict" in resources, "and what those need"
    assert not BROUGHT & resources.keys()
    assert 'depends_on "cryptography" => :no_linkage' in ruby
    assert resources == {name: digest_of(name) for name in resources}


def test_a_package_for_windows_alone_is_no_resource(sdist: Path) -> None:
    text = formula(
        PROJECT,
        sdist,
        [
            package("colorama", "sys_platform == 'win32'"),
            package("appnope", "sys_platform == 'darwin'"),
            package("tomli", "python_full_version < '3.11'"),
            package("click"),
        ],
        HOMEPAGE,
    )
    assert re.findall(r'resource "(.*)" do', text) == ["appnope", "click"]


def test_a_package_without_an_sdist_is_refused_by_name(sdist: Path) -> None:
    wheel_only = {"name": "mystery", "version": "2.0", "wheels": []}
    with pytest.raises(ValueError, match=r"mystery 2\.0 has no sdist"):
        formula(PROJECT, sdist, [wheel_only], HOMEPAGE)


def test_no_text_becomes_code_of_ruby(sdist: Path) -> None:
    text = formula(PROJECT, sdist, [package("click")], 'https://example.com/#{system("id")}')
    assert field("homepage", text) == [r"https://example.com/\#{system(\"id\")}"]


@needs("ruby", "Debian's package ruby")
@pytest.mark.process
def test_ruby_can_read_the_formula(ruby: str, tmp_path: Path) -> None:
    file = tmp_path / "ollama-push.rb"
    file.write_text(ruby, "utf-8")
    assert complaints("ruby", "-wc", str(file)) == ""
    file.write_text(ruby.replace("  end\nend\n", "  end\n"), "utf-8")
    assert complaints("ruby", "-wc", str(file)) != ""


@pytest.mark.process
def test_what_the_formula_tries_ends_as_it_says(ruby: str) -> None:
    [(line, code)] = re.findall(r'shell_output\("#\{bin\}/ollama-push (.*)", (\d+)\)', ruby)
    command = [sys.executable, "-m", "ollama_push.cli", *shlex.split(line)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == int(code)


def test_the_recipe_says_what_pyproject_says(recipe: str, sdist: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    told = yaml.safe_load(recipe)
    assert told["context"] == {"name": project["name"], "version": "7.8.9", "python_min": "3.11"}
    assert project["requires-python"] == ">=3.11"
    assert told["source"] == {"url": URL, "sha256": hashlib.sha256(sdist.read_bytes()).hexdigest()}
    assert (told["about"]["license"], told["about"]["license_file"]) == (project["license"], *project["license-files"])
    assert told["about"]["summary"] == project["description"]
    [(command, function)] = project["scripts"].items()
    assert told["build"]["python"]["entry_points"] == [f"{command} = {function}"]


def conda_spec(text: str) -> str:
    asked = Requirement(text)
    return f"{CONDA_NAMES.get(asked.name, asked.name)} {asked.specifier}"


def test_the_recipe_has_the_bounds_of_pyproject(recipe: str) -> None:
    told = yaml.safe_load(recipe)["requirements"]
    run = {conda_spec(text) for text in (*PROJECT.dependencies, *PROJECT.extras["cli"])}
    assert told["run"] == ["python >=${{ python_min }}", *sorted(run)]
    extras = [text for name, texts in PROJECT.extras.items() if name != "all" for text in texts]
    assert set(told["run_constraints"]) | run == {conda_spec(text) for text in extras} | run
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert told["host"] == ["python ${{ python_min }}.*", "pip", *map(conda_spec, build)]


def test_rattler_build_renders_the_recipe(recipe: str) -> None:
    [variant] = rattler_build.Stage0Recipe.from_yaml(recipe).render(rattler_build.VariantConfig())
    assert variant.recipe.package.name == "ollama-push"
    assert str(variant.recipe.package.version) == "7.8.9"


def test_rattler_build_refuses_what_is_no_recipe(recipe: str) -> None:
    with pytest.raises(rattler_build.RecipeParseError):
        rattler_build.Stage0Recipe.from_yaml(recipe.replace("noarch: python", "noarch: cobra"))


def test_uv_can_be_run() -> None:
    # It makes the lock, which needs an index; here it only has to be there.
    done = subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, text=True, check=True)
    assert version("uv") in done.stdout
