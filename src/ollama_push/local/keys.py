"""Ollama's key: the ed25519 key pair that Ollama creates on its first start.

Source: ollama ``auth/auth.go``, ``cmd/cmd.go`` (``initializeKeypair``) at fb3076099.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from ollama_push.core.errors import InvalidSetting
from ollama_push.local.files import problem_text, read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["OllamaKey", "ollama_key_path"]

_MAX_BYTES: Final = 64 * 1024
_ARMOUR: Final = "-----BEGIN "
_SERVICE_KEY: Final = Path("/usr/share/ollama/.ollama/id_ed25519")
"""The key of the user ``ollama``, as whom the Linux package runs the server."""


class OllamaKey:
    """A key pair that signs for Ollama's registry (``core.registry.credentials.Signer``).

    Build it with :meth:`load`.
    """

    def __init__(self, key: Ed25519PrivateKey, public_key: str) -> None:
        self._key = key
        self._public_key = public_key

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an OpenSSH private key without a passphrase.

        Raises:
            InvalidSetting: It cannot be read, or is no such key.
                The package ``cryptography`` is not installed.
        """
        try:
            raw = read_regular(Path(path).resolve(), _MAX_BYTES)
        except (OSError, RuntimeError, ValueError) as exc:
            raise _problem(path, f"the key cannot be read: {problem_text(exc)}") from exc
        return cls.parse(raw, path)

    @classmethod
    def given(cls, text: str) -> Self:
        """Return the key that the variable ``OLLAMA_KEY`` means with *text*: the key itself, or its path.

        Raises:
            InvalidSetting: See :meth:`load`. The text of a key is not shown.
        """
        if text.lstrip().startswith(_ARMOUR):
            # Systems that keep secrets may cut the line end that OpenSSH's format has at its end.
            return cls.parse(f"{text.strip()}\n".encode("utf-8", "surrogateescape"), "<hidden>")
        return cls.load(text)

    @classmethod
    def parse(cls, raw: bytes, path: str | os.PathLike[str]) -> Self:
        """Return the OpenSSH private key in *raw*, the content of *path*; see :meth:`load`."""
        try:
            from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra
        except ImportError:
            raise _problem(path, "signing with it needs: pip install 'ollama-push[signing]'") from None
        try:
            key = serialization.load_ssh_private_key(raw, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Not chained: a traceback must show nothing of a private key.
            raise _problem(path, "this is no OpenSSH private key without a passphrase") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise _problem(path, "this is no ed25519 key")
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return cls(key, line.split()[1].decode("ascii"))

    @property
    def public_key(self) -> str:
        """The middle field of the OpenSSH public key, in base64."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature of *data*."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"OllamaKey(public_key={self._public_key!r})"


def ollama_key_path(home: Path | None) -> Path | None:
    """Return the path of this user's key, or of the Linux service's if it may be read; ``None`` without a key."""
    own = [] if home is None else [home / ".ollama" / "id_ed25519"]
    return next((path for path in (*own, _SERVICE_KEY) if os.access(path, os.R_OK)), None)


def _problem(path: str | os.PathLike[str], text: str) -> InvalidSetting:
    return InvalidSetting("Ollama's key", os.fspath(path), text)
