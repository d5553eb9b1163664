"""Writes a Homebrew formula and a conda recipe beside an sdist (make recipes HOMEPAGE=URL).

Both say what ``pyproject.toml`` says. The formula also names the sdist of every package that is installed beside ours,
with the URL and the digest that a lock of today has (PEP 751, made by uv). They are made for a release, and never
committed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from packaging.markers import Marker
from packaging.requirements import Requirement

from release.facts import ROOT, Project

__all__ = ["CONDA_NAMES", "FORMULA_EXTRAS", "FORMULA_PYTHON", "conda_recipe", "formula", "locked", "main", "source_url"]

FORMULA_PYTHON: Final = "3.13"
"""The Python that Homebrew would install beside the command."""

FORMULA_EXTRAS: Final = ("cli", "prometheus", "signing", "socks")
"""What a command that is installed for a person can do."""

_OF_HOMEBREW: Final = {"cryptography": ("cryptography", "cffi", "pycparser")}
"""Formulae that exist already, and what they bring: Homebrew builds no cryptography of one's own, which needs Rust."""

_PLATFORMS: Final = ("darwin", "linux")

CONDA_NAMES: Final = {"prometheus-client": "prometheus_client", "redis": "redis-py"}
"""Packages that conda-forge calls otherwise."""


def source_url(sdist: Path) -> str:
    """Return where the index serves *sdist* once it is published."""
    name = sdist.name.rpartition("-")[0].replace("_", "-")
    return f"https://files.pythonhosted.org/packages/source/{name[0]}/{name}/{sdist.name}"


def locked(root: Path = ROOT) -> list[Mapping[str, Any]]:
    """Resolve what the command needs, and return the packages of the lock.

    Raises:
        subprocess.CalledProcessError: uv could not; it has said why.
    """
    extras = [word for extra in FORMULA_EXTRAS for word in ("--extra", extra)]
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "--system-certs", "--quiet", "--universal",
        "--python-version", FORMULA_PYTHON, "--format", "pylock.toml", *extras, str(root / "pyproject.toml"),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    packages: list[Mapping[str, Any]] = tomllib.loads(done.stdout)["packages"]
    return packages


def formula(project: Project, sdist: Path, packages: Iterable[Mapping[str, Any]], homepage: str) -> str:
    """Return the formula, in Ruby, with a resource for each of *packages* that no other formula brings.

    Raises:
        ValueError: A package has no sdist, which is what Homebrew builds from.
    """
    brought = {name for names in _OF_HOMEBREW.values() for name in names}
    resources = [_resource(each) for each in packages if each["name"] not in brought and _is_for_homebrew(each)]
    class_name = "".join(word.capitalize() for word in project.name.split("-"))
    depends = [f'  depends_on "{name}" => :no_linkage' for name in _OF_HOMEBREW]
    return "\n".join([
        f"class {class_name} < Formula",
        "  include Language::Python::Virtualenv",
        "",
        f"  desc {_ruby(project.summary)}",
        f"  homepage {_ruby(homepage)}",
        f"  url {_ruby(source_url(sdist))}",
        f"  sha256 {_ruby(_digest(sdist))}",
        f"  license {_ruby(project.licence)}",
        "",
        *depends,
        f'  depends_on "python@{FORMULA_PYTHON}"',
        "",
        *resources,
        "  def install",
        "    virtualenv_install_with_resources",
        "  end",
        "",
        "  test do",
        f'    assert_match version.to_s, shell_output("#{{bin}}/{project.command} --version")',
        "    # Nobody listens there: the command says so, and ends with the code for that.",
        f'    shell_output("#{{bin}}/{project.command} check myuser/my-llama --host http://127.0.0.1:1", 4)',
        "  end",
        "end",
        "",
    ])  # fmt: skip


def _ruby(text: str) -> str:
    """Return *text* as a string of Ruby, where ``#{`` would be code."""
    return json.dumps(text, ensure_ascii=False).replace("#{", "\\#{")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _is_for_homebrew(package: Mapping[str, Any]) -> bool:
    if "marker" not in package:
        return True
    marker = Marker(package["marker"])
    return any(marker.evaluate({"sys_platform": platform, "python_version": FORMULA_PYTHON}) for platform in _PLATFORMS)


def _resource(package: Mapping[str, Any]) -> str:
    if "sdist" not in package:
        raise ValueError(f"{package['name']} {package['version']} has no sdist: Homebrew builds from nothing else")
    source = package["sdist"]
    return (
        f"  resource {_ruby(package['name'])} do\n"
        f"    url {_ruby(source['url'])}\n"
        f"    sha256 {_ruby(source['hashes']['sha256'])}\n"
        "  end\n"
    )


def conda_recipe(project: Project, sdist: Path, homepage: str) -> str:
    """Return the recipe, in the first version of the format that rattler-build reads."""
    version = sdist.name.removesuffix(".tar.gz").rpartition("-")[2]
    optional = {
        _conda(text)
        for extra, needed in project.extras.items()
        for text in needed
        if extra != "cli" and Requirement(text).name != project.name
    }
    run = {_conda(text) for text in (*project.dependencies, *project.extras["cli"])}
    recipe = {
        "schema_version": 1,
        "context": {"name": project.name, "version": version, "python_min": project.python_floor},
        "package": {"name": "${{ name }}", "version": "${{ version }}"},
        "source": {"url": source_url(sdist), "sha256": _digest(sdist)},
        "build": {
            "number": 0,
            "noarch": "python",
            "script": "${{ PYTHON }} -m pip install . -vv --no-deps --no-build-isolation",
            "python": {"entry_points": [f"{project.command} = {project.entry_point}"]},
        },
        "requirements": {
            "host": ["python ${{ python_min }}.*", "pip", *map(_conda, project.build_requirements)],
            "run": ["python >=${{ python_min }}", *sorted(run)],
            # The extras: whoever installs one of these beside it gets a version that works.
            "run_constraints": sorted(optional - run),
        },
        "tests": [
            {"python": {"imports": ["ollama_push"], "python_version": "${{ python_min }}.*"}},
            {"script": [f"{project.command} --version"]},
        ],
        "about": {
            "homepage": homepage,
            "summary": project.summary,
            "license": project.licence,
            "license_file": "LICENSE",
        },
    }
    dumped: str = yaml.safe_dump(recipe, sort_keys=False, width=200)
    return dumped


def _conda(text: str) -> str:
    needed = Requirement(text)
    return f"{CONDA_NAMES.get(needed.name, needed.name)} {needed.specifier}".strip()


def main(arguments: list[str]) -> int:
    """Write both files beside the sdist."""
    parser = argparse.ArgumentParser(prog="python -m release.recipes")
    parser.add_argument("--homepage", required=True, help="the URL of the repository")
    parser.add_argument("sdist", type=Path)
    options = parser.parse_args(arguments)
    sdist: Path = options.sdist.resolve(strict=True)
    project = Project.read()
    for name, text in (
        (f"{project.name}.rb", formula(project, sdist, locked(), options.homepage)),
        ("recipe.yaml", conda_recipe(project, sdist, options.homepage)),
    ):
        sdist.with_name(name).write_text(text, "utf-8")
        sys.stdout.write(f"{name}: {len(text.splitlines())} lines\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
