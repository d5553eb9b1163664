"""The bill of materials names the wheel, and all that comes with it; an audit that did not happen says so."""

from __future__ import annotations

import hashlib
import json
import shutil
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release.audit import AuditExit, audit, main, read_report
from release.environments import requirements_of_all
from release.facts import Project
from release.sbom import bill_of_materials
from tests.support.installed import installed_for

WHEEL: Final = "ollama_push-7.8.9-py3-none-any.whl"


@pytest.fixture
def environment(tmp_path: Path) -> tuple[Path, set[str]]:
    """Return an environment that says it has what an install with every extra has, and the names of that."""
    venv.create(tmp_path / "env", with_pip=False)
    [packages] = (tmp_path / "env").glob("lib/python3.*/site-packages")
    names = installed_for(requirements_of_all(Project.read()))
    for name in names:
        information = Path(str(distribution(name).locate_file(""))) / distribution(name)._path.name  # type: ignore[attr-defined] # no public way to it
        shutil.copytree(information, packages / information.name)
    return tmp_path / "env" / "bin" / "python", names


@pytest.mark.slow
@pytest.mark.process
def test_the_bill_names_the_wheel_and_what_comes_with_it(environment: tuple[Path, set[str]], tmp_path: Path) -> None:
    python, names = environment
    project = Project.read()
    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"a wheel")
    bill = bill_of_materials(wheel, python, project)
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"], root["purl"]) == ("ollama-push", "7.8.9", "pkg:pypi/ollama-push@7.8.9")
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"a wheel").hexdigest()}]
    assert [each["license"]["id"] for each in root["licenses"]] == ["MIT"]
    listed = {canonicalize_name(each["name"]): each for each in bill["components"]}
    assert listed.keys() == names
    assert {"aiohttp", "click", "redis", "cryptography", "multidict"} <= names
    assert [name for name, each in listed.items() if each["version"] != distribution(name).version] == []
    [needs] = [each["dependsOn"] for each in bill["dependencies"] if each["ref"] == root["bom-ref"]]
    direct = {canonicalize_name(Requirement(text).name) for text in requirements_of_all(project)} & names
    assert {canonicalize_name(ref.partition("==")[0]) for ref in needs} == direct
    assert "timestamp" not in bill["metadata"], "the same environment gives the same bill"


@pytest.mark.slow
@pytest.mark.process
def test_an_audit_without_its_data_says_so(environment: tuple[Path, set[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 1 of this machine is nobody's.
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    [packages] = environment[0].parents[1].glob("lib/python3.*/site-packages")
    found = audit(packages, "ollama-push")
    assert (found.audited, found.found) == ((), ())
    assert found.lines()[0].startswith("NOT AUDITED: ")
    assert found.exit_code(strict=False) is AuditExit.CLEAN
    assert found.exit_code(strict=True) is AuditExit.NOT_AUDITED


CLEAN: Final = {"name": "attrs", "version": "26.1.0", "vulns": []}
SKIPPED: Final = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1.25.1)"}
VULNERABLE: Final = {
    "name": "urllib3",
    "version": "1.26.4",
    "vulns": [{"id": "PYSEC-2021-108", "fix_versions": ["1.26.5"], "aliases": ["CVE-2021-33503"]}],
}
OWN: Final = {
    "name": "ollama-push",
    "skip_reason": "Dependency not found on PyPI: ollama-push",
}


@pytest.mark.parametrize(
    ("packages", "lines", "code", "strict"),
    [
        ([CLEAN, OWN], ["audited: 1 packages, 0 known vulnerabilities"], 0, 0),
        (
            [CLEAN, VULNERABLE],
            [
                "vulnerable: urllib3 1.26.4: PYSEC-2021-108, fixed in 1.26.5",
                "audited: 2 packages, 1 known vulnerabilities",
            ],
            1,
            1,
        ),
        (
            [CLEAN, SKIPPED],
            [f"NOT AUDITED: 1, such as yarl: {SKIPPED['skip_reason']}", "audited: 1 packages, 0 known vulnerabilities"],
            0,
            3,
        ),
        ([OWN], ["audited: 0 packages, 0 known vulnerabilities"], 0, 3),
        (
            [VULNERABLE, SKIPPED],
            [
                "vulnerable: urllib3 1.26.4: PYSEC-2021-108, fixed in 1.26.5",
                f"NOT AUDITED: 1, such as yarl: {SKIPPED['skip_reason']}",
                "audited: 1 packages, 1 known vulnerabilities",
            ],
            1,
            1,
        ),
    ],
)
def test_an_audit_tells_clean_from_not_looked_up(
    packages: list[dict[str, object]], lines: list[str], code: int, strict: int
) -> None:
    found = read_report(json.loads(json.dumps({"dependencies": packages, "fixes": []})), "ollama-push")
    assert found.lines() == lines
    assert (found.exit_code(strict=False), found.exit_code(strict=True)) == (code, strict)


def test_a_wheel_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--strict"]) == AuditExit.USAGE
    assert "usage" in capsys.readouterr().err
