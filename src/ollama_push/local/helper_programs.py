"""Runs docker's credential helpers: programs that keep logins in a keychain.

Source: docker/docker-credential-helpers, ``client/client.go``, ``credentials/error.go``. What a helper prints may
hold the secret itself, so none of it gets into an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.json_text import decode_json
from ollama_push.core.registry.credentials import Credential, IdentityToken, Login

__all__ = ["HelperProgram"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NOT_THERE: Final = (b"credentials not found in native keychain", b"no credentials server URL")
_TOKEN_USER: Final = "<token>"  # noqa: S105 - the user name that says that the secret is a token
_TIMEOUT_SECONDS: Final = 30.0


@attrs.frozen
class HelperProgram:
    """The program ``docker-credential-<name>``, found on the ``PATH``.

    Attributes:
        name: What follows ``docker-credential-``.
        environ: Its environment.
        timeout_seconds: How long it may take; it may be waiting for a person.
    """

    name: str
    environ: Mapping[str, str] = attrs.field(repr=False)
    timeout_seconds: float = _TIMEOUT_SECONDS

    @property
    def program(self) -> str:
        """The program's name."""
        return f"docker-credential-{self.name}"

    def get(self, server: str) -> Credential | None:
        """Return what the helper keeps for *server*; ``None`` when it keeps nothing.

        Raises:
            InvalidSetting: There is no such program, or it failed.
        """
        response = self._run("get", server.encode())
        if response is None:
            return None
        try:
            value = decode_json(response)
            username, secret = value["Username"], value["Secret"]
            if not isinstance(username, str) or not isinstance(secret, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise self._problem("it did not answer with Username and Secret") from None
        if not secret:
            return None
        return IdentityToken(secret) if username == _TOKEN_USER else Login(username, secret)

    def store(self, server: str, login: Login) -> None:
        """Give the helper *login* to keep for *server*.

        Raises:
            InvalidSetting: There is no such program, or it failed.
        """
        said = {"ServerURL": server, "Username": login.username, "Secret": login.password}
        if self._run("store", json.dumps(said).encode()) is None:
            raise self._problem("it does not store logins")

    def erase(self, server: str) -> None:
        """Let the helper forget what it keeps for *server*.

        Raises:
            InvalidSetting: There is no such program, or it failed.
        """
        self._run("erase", server.encode())

    def _run(self, verb: str, said: bytes) -> bytes | None:
        import shutil  # noqa: PLC0415 - few pushes run a helper
        import subprocess  # noqa: PLC0415 - likewise

        if not _NAME.fullmatch(self.name):
            raise self._problem("this is no helper's name; expected letters, digits and _ . -")
        path = shutil.which(self.program, path=self.environ.get("PATH", ""))
        if path is None:
            raise self._problem(f"there is no program {self.program} on the PATH")
        try:
            done = subprocess.run(  # noqa: S603 - the name is checked, and the user configured it
                [path, verb],
                input=said,
                capture_output=True,
                check=False,
                env=dict(self.environ),
                timeout=self.timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            # Not chained: it holds what was printed so far.
            raise self._problem(f"{self.program} {verb} did not answer within {self.timeout_seconds:g} s") from None
        except OSError as exc:
            raise self._problem(f"{self.program} cannot be run: {exc.strerror}") from exc
        if done.returncode == 0:
            return done.stdout
        if any(words in done.stdout for words in _NOT_THERE):
            return None
        raise self._problem(f"{self.program} {verb} failed with exit code {done.returncode}; run it to see why")

    def _problem(self, text: str) -> InvalidSetting:
        return InvalidSetting("credential helper", self.name, text)
