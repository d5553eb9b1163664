"""Writes a wheel's bill of materials, in CycloneDX 1.6: ``python -m release.sbom dist/NAME.whl`` (make sbom).

It lists what pip installs today for the wheel with every extra. ``cyclonedx-py`` reads that environment; the digest of
the wheel, which no environment knows, is put in here, and the whole is checked against the schema.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.environments import installed_wheel, requirements_of_all
from release.facts import Project

__all__ = ["bill_of_materials", "main"]

_SPEC: Final = SchemaVersion.V1_6


def bill_of_materials(wheel: Path, python: Path, project: Project) -> dict[str, Any]:
    """Return the bill of *wheel*, whose dependencies are what *python* has installed.

    Raises:
        ValueError: ``cyclonedx-py`` failed, or the bill does not follow the schema.
    """
    version = wheel.name.split("-")[1]
    with tempfile.TemporaryDirectory() as folder:
        table = {
            "name": project.name, "version": version, "description": project.summary, "license": project.licence,
            "dependencies": requirements_of_all(project),
        }  # fmt: skip
        # The project's own file names no version, and extras are not read. Strings and lists of JSON are TOML.
        facts = Path(folder) / "pyproject.toml"
        facts.write_text(
            "[project]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items()), "utf-8"
        )
        command = [
            sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(facts), "--mc-type", "library",
            "--output-reproducible", "--no-validate", "--spec-version", _SPEC.to_version(),
            "--output-file", "-", str(python),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"cyclonedx-py failed: {done.stderr}")
    bill: dict[str, Any] = json.loads(done.stdout)
    root = bill["metadata"]["component"]
    root["purl"] = f"pkg:pypi/{project.name}@{version}"
    root["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    problem = JsonStrictValidator(_SPEC).validate_str(json.dumps(bill))
    if problem is not None:
        raise ValueError(f"not a bill of CycloneDX {_SPEC.to_version()}: {problem}")
    return bill


def main(arguments: list[str]) -> int:
    """Write the bill beside the wheel; return 2 for wrong arguments."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m release.sbom dist/NAME.whl\n")
        return 2
    wheel = Path(arguments[0]).resolve(strict=True)
    project = Project.read()
    with tempfile.TemporaryDirectory() as folder:
        bill = bill_of_materials(wheel, installed_wheel(wheel, Path(folder) / "env", project), project)
    target = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json")
    target.write_text(f"{json.dumps(bill, indent=2)}\n", "utf-8")
    sys.stdout.write(f"{target.name}: {len(bill['components'])} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
