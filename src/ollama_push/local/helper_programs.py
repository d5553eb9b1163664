"""Runs docker's credential helpers: programs that keep logins in a keychain.

The output of a helper may hold the secret, so no error shows it.

Source: docker/docker-credential-helpers, ``client/client.go``, ``credentials/error.go``.
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
_NOT_FOUND: Final = (b"credentials not found in native keychain", b"no credentials server URL")
_TOKEN_USER: Final = "<token>"  # noqa: S105 - the user name that marks the secret as an identity token
_TIMEOUT_SECONDS: Final = 30.0


@attrs.frozen
class HelperProgram:
    """The program ``docker-credential-<name>``, found on the ``PATH``.

    Attributes:
        name: What follows ``docker-credential-``.
        environ: Its environment.
        timeout_seconds: How long it may run; it may ask the user to unlock the keychain.
    """

    name: str
    environ: Mapping[str, str] = attrs.field(repr=False)
    timeout_seconds: float = _TIMEOUT_SECONDS

    @property
    def program(self) -> str:
        """The program's name."""
        return f"docker-credential-{self.name}"

    def get(self, server: str) -> Credential | None:
        """Return the credential that the helper keeps for *server*; ``None`` if it keeps none.

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
        """Have the helper keep *login* for *server*.

        Raises:
            InvalidSetting: There is no such program, or it failed.
        """
        entry = {"ServerURL": server, "Username": login.username, "Secret": login.password}
        if self._run("store", json.dumps(entry).encode()) is None:
            raise self._problem("it does not store logins")

    def erase(self, server: str) -> None:
        """Have the helper forget the credential for *server*.

        Raises:
            InvalidSetting: There is no such program, or it failed.
        """
        self._run("erase", server.encode())

    def _run(self, verb: str, request: bytes) -> bytes | None:
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
                input=request,
                capture_output=True,
                check=False,
                env=dict(self.environ),
                timeout=self.timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            # Not chained: the exception holds the output so far.
            raise self._problem(f"{self.program} {verb} did not answer within {self.timeout_seconds:g} s") from None
        except OSError as exc:
            raise self._problem(f"{self.program} cannot be run: {exc.strerror}") from exc
        if done.returncode == 0:
            return done.stdout
        if any(message in done.stdout for message in _NOT_FOUND):
            return None
        raise self._problem(f"{self.program} {verb} failed with exit code {done.returncode}; run it to see why")

    def _problem(self, text: str) -> InvalidSetting:
        return InvalidSetting("credential helper", self.name, text)
