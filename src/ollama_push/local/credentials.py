"""Finds the credential for a registry on this machine, and keeps and removes logins.

The environment variables of logins are read here only.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.registry.credentials import Credential, Login
from ollama_push.local.docker_config import DockerConfig
from ollama_push.local.files import problem_text
from ollama_push.local.helper_programs import HelperProgram
from ollama_push.local.homes import home_in
from ollama_push.local.keys import OllamaKey, ollama_key_path
from ollama_push.local.registry_keys import key_for

__all__ = ["Credentials"]

_LOCK_SECONDS: Final = 10.0
_PORT: Final = re.compile(r":[0-9]+\Z")


class Credentials:
    """Finds credentials (``core.registry.credentials.CredentialSource``), and keeps logins.

    The first one that exists is used: *explicit*; ``OLLAMA_USERNAME`` and ``OLLAMA_PASSWORD``; for Ollama's own
    registry, *key* or the key in ``OLLAMA_KEY`` (itself or its path); the JSON in
    ``DOCKER_AUTH_CONFIG``; the files ``$DOCKER_CONFIG/config.json``, ``$REGISTRY_AUTH_FILE``,
    ``~/.docker/config.json``, ``$XDG_RUNTIME_DIR/containers/auth.json`` and ``~/.config/containers/auth.json``; for
    Ollama's own registry, Ollama's key. In each file: a login for the repository or the nearest of its parents in
    ``auths``, ``credHelpers``, the registry's login in ``auths``, ``credsStore``. A source that cannot be read is an
    error only where no later one has a credential.

    Args:
        explicit: Used for every registry.
        environ: The environment, also for credential helpers; default: of this process.
        config_file: The only file to read and write, instead of those above.
        environment_for: The only registries, each ``"host"`` (any port) or ``"host:port"``, that the login in the
            environment is for; default: all. A program whose clients choose the registry must set it.
        key: Path of the OpenSSH private key for Ollama's own registry.
    """

    def __init__(
        self,
        explicit: Credential | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
        environment_for: Collection[str] | None = None,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        self._explicit = explicit
        self._environ = os.environ if environ is None else environ
        self._config_file = config_file
        self._environment_for = environment_for
        self._key = key

    def __getstate__(self) -> dict[str, Any]:
        # Another process has an environment of its own.
        return {**vars(self), "_environ": None if self._environ is os.environ else self._environ}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._environ is None:
            self._environ = os.environ

    def find(self, host: str, /) -> Credential | None:
        """Return the credential for *host* (``"host"`` or ``"host:port"``); ``None`` for an anonymous push.

        Raises:
            InvalidSetting: There is a credential, but it cannot be read.
        """
        return self.find_for(host, "")

    def find_for(self, host: str, repository: str, /) -> Credential | None:
        """Return the credential for *repository* at *host*; see :meth:`find`."""
        found = self._explicit or (self._from_environment() if self._environment_is_for(host) else None)
        if found is None and is_ollama_cloud(host):
            found = self._given_key()
        if found is not None:
            return found
        problem: InvalidSetting | None = None
        for read in self._configs():
            try:
                found = self._in_file(read(), host, repository)
            except InvalidSetting as exc:
                # Such as a helper that was removed together with the program it came with.
                problem = problem or exc
            if found is not None:
                return found
        key = ollama_key_path(self._home) if is_ollama_cloud(host) else None
        if key is not None:
            return OllamaKey.load(key)
        if problem is not None:
            raise problem
        return None

    def withholds_login_from(self, host: str) -> bool:
        """Say whether the environment holds a login that is not for *host*, because of *environment_for*."""
        names = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")
        return not self._environment_is_for(host) and all(self._environ.get(name) for name in names)

    def for_another_registry(self) -> Credentials:
        """Return these without what is said for whichever registry: the explicit one, and that of the environment."""
        return Credentials(environ=self._environ, config_file=self._config_file, environment_for=(), key=self._key)

    def login(self, host: str, login: Login) -> Path | str:
        """Keep *login* for *host* where docker would: with the configured helper, else in the file.

        Returns:
            The path of the file, or the name of the helper program.

        Raises:
            InvalidSetting: The login cannot be kept; the file is unchanged.
        """
        key = key_for(host)
        if ":" in login.username or not login.username:
            # RFC 7617, 2: the first colon ends the user name.
            raise InvalidSetting("username", login.username, "it must not be empty or hold a colon")
        with self._locked_config() as config:
            helper = self._helper(config, host)
            if helper is None:
                config.with_login(host, login).write()
                return config.path
            helper.store(key, login)
            config.with_login(host, None).write()
            return helper.program

    def logout(self, host: str) -> bool:
        """Remove the login that :meth:`login` kept for *host*; say whether there was one.

        Raises:
            InvalidSetting: It cannot be removed.
        """
        key = key_for(host)
        if not self._docker_file().exists():
            return False
        with self._locked_config() as config:
            helper = self._helper(config, host)
            kept = helper is not None and helper.get(key) is not None
            if helper is not None and kept:
                helper.erase(key)
            rest = config.without_login(host)
            if rest is not config:
                rest.write()
            return kept or config.holds(host)

    def _environment_is_for(self, host: str) -> bool:
        return self._environment_for is None or not {host, _PORT.sub("", host)}.isdisjoint(self._environment_for)

    def _from_environment(self) -> Login | None:
        username, password = (self._environ.get(name, "") for name in ("OLLAMA_USERNAME", "OLLAMA_PASSWORD"))
        if bool(username) is not bool(password):
            given, missing = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")[:: 1 if username else -1]
            state = "set and empty" if missing in self._environ else "not set"
            raise InvalidSetting(given, "<hidden>", f"{missing} is {state}; a login needs both")
        return Login(username, password) if username else None

    def _given_key(self) -> OllamaKey | None:
        if self._key is not None:
            return OllamaKey.load(self._key)
        text = self._environ.get("OLLAMA_KEY")
        return OllamaKey.given(text) if text else None

    def _in_file(self, config: DockerConfig, host: str, repository: str) -> Credential | None:
        def ask(helper: str | None) -> Credential | None:
            return None if helper is None else HelperProgram(helper, self._environ).get(key_for(host))

        return (
            config.namespace_login(host, repository)
            or ask(config.helper(host))
            or config.login(host)
            or ask(config.store)
        )

    def _helper(self, config: DockerConfig, host: str) -> HelperProgram | None:
        """Return the helper that keeps logins for *host*; ``None`` where the file keeps them."""
        name = config.helper(host) or config.store
        return None if name is None else HelperProgram(name, self._environ)

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

    def _configs(self) -> Iterator[Callable[[], DockerConfig]]:
        """Yield functions that read what may hold logins, in the order of the search."""
        text = self._environ.get("DOCKER_AUTH_CONFIG", "")
        if text and self._config_file is None:
            yield partial(DockerConfig.parse, Path("DOCKER_AUTH_CONFIG"), text.encode("utf-8", "surrogateescape"))
        for path in self._files():
            yield partial(DockerConfig.read, path)

    def _files(self) -> Iterator[Path]:
        """Yield the files that may hold logins, in the order of the search."""
        if self._config_file is not None:
            yield self._config_file
            return
        own = [self._docker_file()] if self._environ.get("DOCKER_CONFIG") or self._home is not None else []
        named = self._environ.get("REGISTRY_AUTH_FILE")
        others = [Path(named)] if named else []
        # What a variable names comes before the usual place.
        yield from own + others if self._environ.get("DOCKER_CONFIG") else others + own
        if runtime := self._environ.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers" / "auth.json"
        if configured := self._environ.get("XDG_CONFIG_HOME"):
            yield Path(configured) / "containers" / "auth.json"
        elif self._home is not None:
            yield self._home / ".config" / "containers" / "auth.json"

    @contextlib.contextmanager
    def _locked_config(self) -> Iterator[DockerConfig]:
        """Read docker's file, locked against other processes of this package until the block is left."""
        from filelock import FileLock, Timeout  # noqa: PLC0415 - only login and logout need it

        path = self._docker_file()
        DockerConfig(path).make_directory()
        real = Path(os.path.realpath(path))
        lock = FileLock(real.with_name(f".{real.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise InvalidSetting("docker config", str(path), "another program is changing it") from None
        except OSError as exc:
            raise InvalidSetting("docker config", str(path), f"it cannot be changed: {problem_text(exc)}") from exc
        try:
            yield DockerConfig.read(path)
        finally:
            if _is_of_another_user(real.parent):
                # root in the folder of a user, who could not open a lock of root's.
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
            lock.release()


def _is_of_another_user(directory: Path) -> bool:
    return hasattr(os, "geteuid") and directory.stat().st_uid != os.geteuid()
