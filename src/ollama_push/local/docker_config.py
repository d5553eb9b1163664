"""Reads and changes the files in which docker and podman keep logins.

Source: docker/cli ``cli/config/configfile/file.go``, ``cli/config/types/authconfig.go``; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.json_text import decode_json
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.local.files import make_private_directory, problem_text, read_regular, write_private
from ollama_push.local.registry_keys import key_for, keys_for, namespace_keys

__all__ = ["DockerConfig"]

_MAX_BYTES: Final = 4 * 1024 * 1024


@attrs.frozen
class DockerConfig:
    """One configuration file, as it was read.

    Attributes:
        path: The file; it need not exist.
        content: All of it, in the file's order; entries that are not about logins are kept.
    """

    path: Path
    content: dict[str, Any] = attrs.field(factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read *path*; a file that does not exist has no content.

        Raises:
            InvalidSetting: The file cannot be read, or is not a JSON object.
        """
        try:
            raw = read_regular(path.resolve(), _MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (OSError, RuntimeError, ValueError) as exc:
            raise _problem(path, f"the file cannot be read: {problem_text(exc)}") from exc
        return cls.parse(path, raw)

    @classmethod
    def parse(cls, path: Path, raw: bytes) -> Self:
        """Return the configuration in *raw*, the content of *path*.

        Raises:
            InvalidSetting: It is not a JSON object.
        """
        try:
            # docker reads an empty file as one without content.
            content = decode_json(raw) if raw.strip() else {}
        except ValueError:
            # Not chained: the error of the decoder quotes the file.
            raise _problem(path, "the file is no JSON") from None
        if not isinstance(content, dict):
            raise _problem(path, "the file is no JSON object")
        return cls(path, content)

    def helper(self, host: str) -> str | None:
        """Return the name of the helper that is configured for *host* only."""
        helpers = self._section("credHelpers")
        return next((name for key in keys_for(host, helpers) if isinstance(name := helpers[key], str) and name), None)

    @property
    def store(self) -> str | None:
        """The name of the helper for all registries without their own helper."""
        name = self.content.get("credsStore")
        return name if isinstance(name, str) and name else None

    def login(self, host: str) -> Credential | None:
        """Return the credential for *host* in the file itself.

        Raises:
            InvalidSetting: The entry is not in docker's format.
        """
        return self._first_login(keys_for(host, self._section("auths")))

    def namespace_login(self, host: str, repository: str) -> Credential | None:
        """Return the credential for *repository* at *host*, or for the nearest of its parents below the host.

        Raises:
            InvalidSetting: The entry is not in docker's format.
        """
        return self._first_login(namespace_keys(host, repository, self._section("auths")))

    def _first_login(self, keys: Iterable[str]) -> Credential | None:
        entries = self._section("auths")
        for key in keys:
            try:
                found = _credential(entries[key])
            except ValueError as exc:
                raise _problem(self.path, f"the login for {key!r} cannot be read: {exc}") from None
            if found is not None:
                return found
        return None

    def holds(self, host: str) -> bool:
        """Say whether the file itself has an entry for *host*, in docker's format or not."""
        entries = self._section("auths")
        return any(entries[key] for key in keys_for(host, entries))

    def with_login(self, host: str, login: Login | None) -> DockerConfig:
        """Return the content with one entry for *host*: *login*, or an empty one when a helper keeps the login.

        docker writes the empty entry too, and its ``logout`` looks for it.
        """
        entry = {}
        if login is not None:
            entry["auth"] = base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")
        entries = dict(self._section("auths"))
        kept, *others = keys_for(host, entries) or [key_for(host)]
        for key in others:
            del entries[key]
        return self._with_entries({**entries, kept: entry})

    def without_login(self, host: str) -> DockerConfig:
        """Return the content without any entry for *host*; itself if there is none."""
        entries = self._section("auths")
        removed = keys_for(host, entries)
        if not removed:
            return self
        return self._with_entries({key: entry for key, entry in entries.items() if key not in removed})

    def write(self) -> None:
        """Replace the file: owner and mode stay, a new one has mode 0600; a link stays a link.

        Raises:
            InvalidSetting: The file cannot be written; the old content is still there.
        """
        data = json.dumps(self.content, ensure_ascii=False, indent="\t").encode("utf-8", "surrogatepass")
        try:
            # As docker does: docker/cli ``cli/config/configfile/file_unix.go`` (``copyFilePermissions``).
            write_private(self.path, data, durable=True, keep_access=True)
        except OSError as exc:
            raise _problem(self.path, f"the file cannot be written: {problem_text(exc)}") from exc

    def make_directory(self) -> None:
        """Make the directory of the file, for its owner only, if it is missing.

        Raises:
            InvalidSetting: The directory cannot be made.
        """
        directory = self.path.parent
        if directory.is_dir():
            return
        try:
            make_private_directory(directory)
        except OSError as exc:
            raise _problem(self.path, f"the directory cannot be made: {problem_text(exc)}") from exc

    def _with_entries(self, entries: dict[str, Any]) -> DockerConfig:
        return attrs.evolve(self, content={**self.content, "auths": entries})

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.content.get(name)
        if section is None:
            return {}
        if not isinstance(section, dict):
            raise _problem(self.path, f"its {name} is no JSON object")
        return section


def _credential(entry: Any) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    match {key: value for key, value in entry.items() if isinstance(value, str) and value}:
        case {"identitytoken": token}:
            return IdentityToken(token)
        case {"registrytoken": token}:
            return AccessToken(token)
        case {"auth": auth}:
            return _decoded(auth)
        case {"username": username, "password": password}:
            return Login(username, password)
        case _:
            return None


def _decoded(auth: str) -> Login:
    try:
        # Tools that write it may wrap the lines, as base64(1) does.
        text = base64.b64decode("".join(auth.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise ValueError("its auth is no base64 of user:password")
    # docker removes NULs too (docker/cli, ``decodeAuth``).
    return Login(username, password.strip("\0"))


def _problem(path: Path, text: str) -> InvalidSetting:
    return InvalidSetting("docker config", str(path), text)
