"""Reads and changes the files in which docker and podman keep logins.

Source: docker/cli ``cli/config/configfile/file.go``, ``cli/config/types/authconfig.go``; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import attrs

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.json_text import decode_json
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.local.files import read_regular
from ollama_push.local.private_files import make_private_directory, write_private
from ollama_push.local.registry_keys import key_for, keys_for

__all__ = ["DockerConfig"]

_MAX_BYTES: Final = 4 * 1024 * 1024


@attrs.frozen
class DockerConfig:
    """One configuration file, as it was read.

    Attributes:
        path: The file; need not exist.
        content: All of it, in the file's order; what is not about logins is kept as it is.
    """

    path: Path
    content: dict[str, Any] = attrs.field(factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read *path*; without content when there is no such file.

        Raises:
            InvalidSetting: It cannot be read, or is no JSON object.
        """
        try:
            raw = read_regular(path.resolve(), _MAX_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (OSError, RuntimeError, ValueError) as exc:
            words = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise _problem(path, f"the file cannot be read: {words}") from exc
        try:
            # docker takes an empty file for one without content.
            content = decode_json(raw) if raw.strip() else {}
        except ValueError:
            # Not chained: the decoder's error quotes the file.
            raise _problem(path, "the file is no JSON") from None
        if not isinstance(content, dict):
            raise _problem(path, "the file is no JSON object")
        return cls(path, content)

    def helper(self, host: str) -> str | None:
        """Return the name of the helper that is configured for *host* alone."""
        helpers = self._section("credHelpers")
        return next((name for key in keys_for(host, helpers) if isinstance(name := helpers[key], str) and name), None)

    @property
    def store(self) -> str | None:
        """The name of the helper for all registries without one of their own."""
        name = self.content.get("credsStore")
        return name if isinstance(name, str) and name else None

    def login(self, host: str) -> Credential | None:
        """Return what the file itself holds for *host*.

        Raises:
            InvalidSetting: It is not readable as docker wrote it.
        """
        entries = self._section("auths")
        for key in keys_for(host, entries):
            try:
                found = _credential(entries[key])
            except ValueError as exc:
                raise _problem(self.path, f"the login for {key!r} cannot be read: {exc}") from None
            if found is not None:
                return found
        return None

    def holds(self, host: str) -> bool:
        """Say whether the file itself holds anything for *host*, readable or not."""
        entries = self._section("auths")
        return any(entries[key] for key in keys_for(host, entries))

    def with_login(self, host: str, login: Login | None) -> DockerConfig:
        """Return the content with one entry for *host*: *login*, or none of its own when a helper keeps it.

        The empty entry is what docker writes too: its ``logout`` looks for it.
        """
        said = "" if login is None else f"{login.username}:{login.password}"
        entry = {"auth": base64.b64encode(said.encode()).decode("ascii")} if said else {}
        entries = dict(self._section("auths"))
        same = keys_for(host, entries)
        for key in same[1:]:
            del entries[key]
        entries[same[0] if same else key_for(host)] = entry
        return attrs.evolve(self, content={**self.content, "auths": entries})

    def without_login(self, host: str) -> DockerConfig:
        """Return the content without any entry for *host*; itself when there is none."""
        entries = self._section("auths")
        same = keys_for(host, entries)
        if not same:
            return self
        rest = {key: entry for key, entry in entries.items() if key not in same}
        return attrs.evolve(self, content={**self.content, "auths": rest})

    def write(self) -> None:
        """Replace the file, mode 0600; a link stays a link.

        Raises:
            InvalidSetting: It cannot be written; the old content is still there.
        """
        data = json.dumps(self.content, ensure_ascii=False, indent="\t").encode("utf-8", "surrogatepass")
        try:
            write_private(self.path, data, durable=True)
        except OSError as exc:
            raise _problem(self.path, f"the file cannot be written: {exc.strerror or exc}") from exc

    def make_directory(self) -> None:
        """Make the file's directory, for its owner alone, where it is missing.

        Raises:
            InvalidSetting: It cannot be made.
        """
        directory = self.path.parent
        if directory.is_dir():
            return
        try:
            make_private_directory(directory)
        except OSError as exc:
            raise _problem(self.path, f"the directory cannot be made: {exc.strerror or exc}") from exc

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
    said = {key: value for key, value in entry.items() if isinstance(value, str) and value}
    if "identitytoken" in said:
        return IdentityToken(said["identitytoken"])
    if "registrytoken" in said:
        return AccessToken(said["registrytoken"])
    if "auth" in said:
        return _decoded(said["auth"])
    if "username" in said and "password" in said:
        return Login(said["username"], said["password"])
    return None


def _decoded(auth: str) -> Login:
    try:
        text = base64.b64decode(auth.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("its auth is no base64 of user:password") from None
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise ValueError("its auth is no base64 of user:password")
    # docker pads with NULs what it wrote in old versions
    return Login(username, password.strip("\0"))


def _problem(path: Path, text: str) -> InvalidSetting:
    return InvalidSetting("docker config", str(path), text)
