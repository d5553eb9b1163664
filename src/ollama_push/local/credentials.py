"""Who we are to a registry, and the order in which this machine is asked for it.

The environment of logins is read here and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.registry.credentials import Credential, Login
from ollama_push.local.docker_config import DockerConfig
from ollama_push.local.helper_programs import HelperProgram
from ollama_push.local.homes import home_in
from ollama_push.local.keys import OllamaKey, ollama_key_path
from ollama_push.local.registry_keys import key_for

__all__ = ["Credentials"]

_LOCK_SECONDS: Final = 10.0


class Credentials:
    """Finds credentials (``core.registry.credentials.CredentialSource``), and keeps logins.

    The first that exists: *explicit*; ``OLLAMA_USERNAME`` and ``OLLAMA_PASSWORD``; docker's configuration
    (``$DOCKER_CONFIG/config.json``, else ``~/.docker/config.json``), then podman's (``$REGISTRY_AUTH_FILE``,
    ``$XDG_RUNTIME_DIR/containers/auth.json``, ``~/.config/containers/auth.json``), in each ``credHelpers``,
    ``auths``, ``credsStore``; for Ollama's own registry, Ollama's key.

    Args:
        explicit: Used for every registry.
        environ: The environment, also of the credential helpers; this process's when not given.
        config_file: The one file to read and write instead of those above.
        environment_for: The only registries, each ``"host"`` (any port) or ``"host:port"``, that the login in the
            environment is for; all when not given. Whoever lets others choose the registry must say.
    """

    def __init__(
        self,
        explicit: Credential | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
        environment_for: Collection[str] | None = None,
    ) -> None:
        self._explicit = explicit
        self._environ = os.environ if environ is None else environ
        self._config_file = config_file
        self._environment_for = environment_for

    def find(self, host: str, /) -> Credential | None:
        """Return the credential for *host* (``"host"`` or ``"host:port"``); ``None`` to stay anonymous.

        Raises:
            InvalidSetting: There is one, but it cannot be read.
        """
        found = self._explicit or (self._from_environment() if self._environment_is_for(host) else None)
        if found is not None:
            return found
        for path in self._files():
            found = self._in_file(DockerConfig.read(path), host)
            if found is not None:
                return found
        key = ollama_key_path(self._home) if is_ollama_cloud(host) else None
        return None if key is None else OllamaKey.load(key)

    def login(self, host: str, login: Login) -> Path | str:
        """Keep *login* for *host*, where docker would: with the helper that is configured, else in the file.

        Returns:
            The file's path, or the helper program's name.

        Raises:
            InvalidSetting: It cannot be kept; the file is as it was.
        """
        key = key_for(host)
        if ":" in login.username or not login.username:
            # RFC 7617, 2: the first colon ends the user name.
            raise InvalidSetting("username", login.username, "it must not be empty or hold a colon")
        with self._changing() as config:
            name = config.helper(host) or config.store
            if name is None:
                config.with_login(host, login).write()
                return config.path
            helper = HelperProgram(name, self._environ)
            helper.store(key, login)
            config.with_login(host, None).write()
            return helper.program

    def logout(self, host: str) -> bool:
        """Forget what :meth:`login` kept for *host*; say whether there was anything.

        Raises:
            InvalidSetting: It cannot be forgotten.
        """
        key = key_for(host)
        path = self._docker_file()
        if not path.exists():
            return False
        with self._changing() as config:
            name = config.helper(host) or config.store
            helper = None if name is None else HelperProgram(name, self._environ)
            kept = helper is not None and helper.get(key) is not None
            if helper is not None and kept:
                helper.erase(key)
            held = config.holds(host)
            rest = config.without_login(host)
            if rest is not config:
                rest.write()
            return kept or held

    def _environment_is_for(self, host: str) -> bool:
        return self._environment_for is None or not {host, host.partition(":")[0]}.isdisjoint(self._environment_for)

    def _from_environment(self) -> Login | None:
        username, password = (self._environ.get(name, "") for name in ("OLLAMA_USERNAME", "OLLAMA_PASSWORD"))
        if bool(username) is not bool(password):
            there, missing = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")[:: 1 if username else -1]
            raise InvalidSetting(there, "<hidden>", f"{missing} is not set; a login needs both")
        return Login(username, password) if username else None

    def _in_file(self, config: DockerConfig, host: str) -> Credential | None:
        helper = config.helper(host)
        found = None if helper is None else HelperProgram(helper, self._environ).get(key_for(host))
        found = found or config.login(host)
        if found is None and config.store is not None:
            found = HelperProgram(config.store, self._environ).get(key_for(host))
        return found

    @property
    def _home(self) -> Path | None:
        return home_in(self._environ)

    def _docker_file(self) -> Path:
        if self._config_file is not None:
            return self._config_file
        directory = self._environ.get("DOCKER_CONFIG")
        if directory:
            return Path(directory) / "config.json"
        if self._home is None:
            raise InvalidSetting("DOCKER_CONFIG", "", "there is no home directory to keep logins in; set it")
        return self._home / ".docker" / "config.json"

    def _files(self) -> Iterator[Path]:
        if self._config_file is not None or self._environ.get("DOCKER_CONFIG") or self._home is not None:
            yield self._docker_file()
        if self._config_file is not None:
            return
        if named := self._environ.get("REGISTRY_AUTH_FILE"):
            yield Path(named)
        if runtime := self._environ.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers" / "auth.json"
        if configured := self._environ.get("XDG_CONFIG_HOME"):
            yield Path(configured) / "containers" / "auth.json"
        elif self._home is not None:
            yield self._home / ".config" / "containers" / "auth.json"

    @contextlib.contextmanager
    def _changing(self) -> Iterator[DockerConfig]:
        """Read docker's file and keep other writers of ours away until the block is left."""
        from filelock import FileLock, Timeout  # noqa: PLC0415 - only who changes logins needs it

        path = self._docker_file()
        DockerConfig(path).make_directory()
        real = Path(os.path.realpath(path))
        lock = FileLock(real.with_name(f".{real.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise InvalidSetting("docker config", str(path), "another program is changing it") from None
        except OSError as exc:
            raise InvalidSetting("docker config", str(path), f"it cannot be changed: {exc.strerror or exc}") from exc
        try:
            yield DockerConfig.read(path)
        finally:
            lock.release()
