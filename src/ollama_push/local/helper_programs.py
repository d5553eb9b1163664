"""Runs docker's credential helpers: programs that keep logins in a keychain.

The output of a helper may hold the secret, so no error shows it.

Source: docker/docker-credential-helpers, ``client/client.go``, ``credentials/error.go``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Final

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.json_text import decode_json
from ollama_push.core.registry.credentials import Credential, IdentityToken, Login

__all__ = ["HelperProgram"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_NOT_FOUND: Final = (b"credentials not found in native keychain", b"no credentials server URL")
_TOKEN_USER: Final = "<token>"  # noqa: S105 - the user name that marks the secret as an identity token
_TIMEOUT_SECONDS: Final = 30.0
_MAX_BYTES: Final = 1024 * 1024
"""The longest output that is read; tokens have a few kilobytes."""


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

        if not _NAME.fullmatch(self.name):
            raise self._problem("this is no helper's name; expected letters, digits and _ . -")
        path = shutil.which(self.program, path=self.environ.get("PATH", ""))
        if path is None:
            raise self._problem(f"there is no program {self.program} on the PATH")
        code, output = self._talk(path, verb, request)
        if code == 0:
            return output
        if any(message in output for message in _NOT_FOUND):
            return None
        raise self._problem(f"{self.program} {verb} failed with exit code {code}; run it to see why")

    def _talk(self, path: str, verb: str, request: bytes) -> tuple[int, bytes]:
        """Run the program and return its exit code and what it printed; kill it when either takes too much.

        ``subprocess.run`` keeps all output, and after a timeout it waits for whoever still holds the pipe.
        """
        import subprocess  # noqa: PLC0415 - few pushes run a helper

        try:
            process = subprocess.Popen(  # noqa: S603 - the name is checked, and the user configured it
                [path, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self.environ),
            )
        except OSError as exc:
            raise self._problem(f"{self.program} cannot be run: {exc.strerror}") from exc
        output: list[bytes] = []

        def talk(sending: IO[bytes], receiving: IO[bytes]) -> None:
            # OSError: it does not read what it is sent.
            with receiving:
                with suppress(OSError), sending:
                    sending.write(request)
                output.append(receiving.read(_MAX_BYTES + 1))

        talker = threading.Thread(target=talk, args=(process.stdin, process.stdout), daemon=True)
        deadline = time.monotonic() + self.timeout_seconds
        talker.start()
        try:
            talker.join(self.timeout_seconds)
            if output and len(output[0]) > _MAX_BYTES:
                raise self._problem(f"{self.program} {verb} printed more than {_MAX_BYTES} bytes")
            if output:
                return process.wait(max(0.0, deadline - time.monotonic())), output[0]
        except subprocess.TimeoutExpired:  # it closed its output and still runs
            pass
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        raise self._problem(f"{self.program} {verb} did not answer within {self.timeout_seconds:g} s") from None

    def _problem(self, text: str) -> InvalidSetting:
        return InvalidSetting("credential helper", self.name, text)
