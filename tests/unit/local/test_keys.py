"""Ollama's own key signs for Ollama's registry, and only there."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ollama_push.core.errors import InvalidSetting
from ollama_push.local import Credentials, OllamaKey

_PEM, _SSH, _PLAIN = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def path(key: Ed25519PrivateKey, tmp_path: Path) -> Path:
    path = tmp_path / "home" / ".ollama" / "id_ed25519"
    path.parent.mkdir(parents=True)
    path.write_bytes(key.private_bytes(_PEM, _SSH, _PLAIN))
    return path


def test_a_key_signs_and_names_itself(key: Ed25519PrivateKey, path: Path) -> None:
    signer = OllamaKey.load(path)
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert f"ssh-ed25519 {signer.public_key}" == line.decode()
    assert base64.b64decode(signer.public_key).startswith(b"\0\0\0\x0bssh-ed25519")
    signature = signer.sign(b"GET,https://registry.ollama.ai")
    assert len(signature) == 64
    key.public_key().verify(signature, b"GET,https://registry.ollama.ai")


def test_a_key_shows_its_public_half_only(key: Ed25519PrivateKey, path: Path) -> None:
    signer = OllamaKey.load(path)
    assert repr(signer) == f"OllamaKey(public_key={signer.public_key!r})"


@pytest.mark.parametrize("host", ["registry.ollama.ai", "registry.ollama.ai:443", "ollama.com"])
def test_ollama_s_registry_gets_the_key(path: Path, host: str) -> None:
    found = Credentials(environ={"HOME": str(path.parents[1])}).find(host)
    assert isinstance(found, OllamaKey)


def test_no_other_registry_does(path: Path) -> None:
    assert Credentials(environ={"HOME": str(path.parents[1])}).find("registry.example.com") is None


def test_a_login_for_ollama_s_registry_comes_before_the_key(path: Path) -> None:
    environ = {"HOME": str(path.parents[1]), "OLLAMA_USERNAME": "me", "OLLAMA_PASSWORD": "p"}
    assert not isinstance(Credentials(environ=environ).find("registry.ollama.ai"), OllamaKey)


def _locked(key: Ed25519PrivateKey) -> bytes:
    """Say of a key that it has a passphrase (PROTOCOL.key: cipher, key derivation, its options)."""
    lines = key.private_bytes(_PEM, _SSH, _PLAIN).splitlines()
    plain = base64.b64decode(b"".join(lines[1:-1]))
    open_header, options = b"\0\0\0\x04none" * 2 + b"\0\0\0\0", b"\0\0\0\x10" + b"s" * 16 + b"\0\0\0\x10"
    locked_header = b"\0\0\0\x0aaes256-ctr\0\0\0\x06bcrypt" + len(options).to_bytes(4) + options
    assert open_header in plain
    return b"\n".join([lines[0], base64.b64encode(plain.replace(open_header, locked_header)), lines[-1], b""])


def _other(_key: Ed25519PrivateKey) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(_PEM, _SSH, _PLAIN)


def _pkcs8(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, _PLAIN)


def _torn(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(_PEM, _SSH, _PLAIN)[:-80]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_locked, "this is no OpenSSH private key without a passphrase"),
        (_pkcs8, "this is no OpenSSH private key without a passphrase"),
        (_torn, "this is no OpenSSH private key without a passphrase"),
        (_other, "this is no ed25519 key"),
        (lambda _key: b"", "this is no OpenSSH private key without a passphrase"),
    ],
)
def test_what_is_no_such_key_is_named(key: Ed25519PrivateKey, path: Path, make: object, words: str) -> None:
    assert callable(make)
    path.write_bytes(make(key))
    with pytest.raises(InvalidSetting, match=words) as caught:
        Credentials(environ={"HOME": str(path.parents[1])}).find("registry.ollama.ai")
    assert caught.value.value == str(path)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="the key cannot be read: No such file or directory"):
        OllamaKey.load(tmp_path / "id_ed25519")


def test_the_extra_is_asked_for_only_when_the_key_is_needed(path: Path) -> None:
    program = f"""
import sys
sys.modules["cryptography"] = None  # import says that there is no such module
from ollama_push.core.errors import InvalidSetting
from ollama_push.local import Credentials
found = Credentials(environ={{"HOME": {str(path.parents[1])!r}}})
print(found.find("registry.example.com"))
print(Credentials(environ={{"HOME": "/nowhere"}}).find("registry.ollama.ai"))
try:
    found.find("registry.ollama.ai")
except InvalidSetting as exc:
    print(exc.problem)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "None\nNone\nsigning with it needs: pip install 'ollama-push[signing]'\n"


def test_a_key_comes_from_a_variable_or_an_argument(path: Path, tmp_path: Path) -> None:
    own, text = OllamaKey.load(path), path.read_text()
    assert OllamaKey.given(str(path)).public_key == own.public_key
    assert OllamaKey.given(f"  {text.strip()}").public_key == own.public_key
    other = tmp_path / "other"
    other.write_bytes(Ed25519PrivateKey.generate().private_bytes(_PEM, _SSH, _PLAIN))
    environ = {"HOME": str(path.parent.parent), "OLLAMA_KEY": str(other)}
    for credentials, wanted in [
        (Credentials(environ={**environ, "OLLAMA_KEY": ""}), own),
        (Credentials(environ=environ), OllamaKey.load(other)),
        (Credentials(environ=environ, key=path), own),
    ]:
        found = credentials.find("registry.ollama.ai")
        assert isinstance(found, OllamaKey)
        assert found.public_key == wanted.public_key
    assert Credentials(environ=environ).find("registry.example.com") is None


def test_a_key_in_a_variable_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(InvalidSetting) as caught:
        OllamaKey.given("-----BEGIN OPENSSH PRIVATE KEY----- s3cret")
    assert "s3cret" not in f"{caught.value} {caught.value!r}"
