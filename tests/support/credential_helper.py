"""Puts a real credential helper program on a PATH of its own; its keychain is a JSON file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs

_PROGRAM = """#!{python}
import json, pathlib, sys
keychain = pathlib.Path({keychain!r})
kept = json.loads(keychain.read_text())
said = sys.stdin.read()
if sys.argv[1:] == ["get"]:
    if said not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps({{"ServerURL": said, **kept[said]}}))
elif sys.argv[1:] == ["store"]:
    entry = json.loads(said)
    kept[entry.pop("ServerURL")] = entry
    keychain.write_text(json.dumps(kept))
elif sys.argv[1:] == ["erase"]:
    del kept[said]
    keychain.write_text(json.dumps(kept))
else:
    sys.exit(2)
"""


@attrs.frozen
class Helper:
    """``docker-credential-<name>`` in *directory*."""

    directory: Path
    name: str = "fake"

    def install(self, **kept: dict[str, str]) -> Helper:
        self.keep(kept)
        return self.install_script(_PROGRAM.format(python=sys.executable, keychain=str(self._keychain)))

    def install_script(self, text: str) -> Helper:
        program = self.directory / f"docker-credential-{self.name}"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
        return self

    def keep(self, kept: dict[str, dict[str, str]]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._keychain.write_text(json.dumps(kept))

    @property
    def kept(self) -> dict[str, dict[str, str]]:
        kept: dict[str, dict[str, str]] = json.loads(self._keychain.read_text())
        return kept

    @property
    def _keychain(self) -> Path:
        return self.directory / f"{self.name}.json"
