"""A model in a registry, a gateway in front of it, and requests of those who pull."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
from tests.support.blobs import digest_of, noise
from tests.support.gateway import BufferedResponse, Gateway, nobody, settings_for, store_of
from tests.support.stores import put_model

from ollama_push import NoResume, RegistryClient
from ollama_push.core.registry.credentials import Credential, GivenCredential, Login
from ollama_push.testing.registry import Auth, EmbeddedRegistry, Quirks

__all__ = ["BLOB", "DIGEST", "KEY", "ME", "NAME", "Pulling", "as_basic", "pulling"]

NAME: Final = "team/my-llama"
BLOB: Final = noise(3_000_000, 1)
DIGEST: Final = digest_of(BLOB)
KEY: Final = b"k" * 32
ME: Final = Login("ann", "s3cret-of-ann")


@attrs.frozen
class Pulling:
    """A gateway in front of a registry that holds a model.

    Attributes:
        registry: The registry.
        gateway: The gateway.
        manifest: The bytes of the model's manifest.
    """

    registry: EmbeddedRegistry
    gateway: Gateway
    manifest: bytes

    @property
    def host(self) -> str:
        """The gateway, as clients name it."""
        return f"127.0.0.1:{self.gateway.port}"

    def get(
        self, path: str, method: str = "GET", host: str = "", headers: dict[str, str] | None = None
    ) -> BufferedResponse:
        """Ask the gateway, and follow nothing."""
        return self.gateway.send(method, path, headers={"Host": host or self.host, **(headers or {})})

    def direct(self, digest: str = DIGEST) -> str:
        """Return the path and query of a blob's signed address."""
        location = self.get(f"/v2/{NAME}/blobs/{digest}").headers["location"]
        return location.removeprefix(f"http://localhost:{self.gateway.port}")


def as_basic(login: Login) -> dict[str, str]:
    """Return the header that shows *login*."""
    text = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


@contextmanager
def pulling(
    tmp_path: Path,
    *,
    auth: Auth | None = None,
    credential: Credential | None = None,
    quirks: Quirks | None = None,
    repository: str = NAME,
    layers: tuple[bytes, ...] = (BLOB, b"a template", b""),
    **settings: Any,
) -> Iterator[Pulling]:
    """Put a model into a registry and run a gateway in front of it.

    Args:
        tmp_path: For everything.
        auth: Of the registry.
        credential: What the gateway shows there.
        quirks: Of the registry.
        repository: Where the model is.
        layers: What it is made of.
        settings: Of the gateway.
    """
    store = store_of(tmp_path)
    manifest = put_model(store.root, layers=layers)
    with EmbeddedRegistry(tmp_path / "registry", auth=auth, quirks=quirks) as registry:
        with RegistryClient(
            store=store, credentials=ME, plain_http=True, resume=NoResume(), verify=quirks is None
        ) as client:
            client.push(f"{registry.host}/{repository}", source="my-llama")
        asked = {
            "default_registry": registry.host,
            "plain_http": True,
            "pull_key": KEY,
            "credentials": nobody() if credential is None else GivenCredential(credential),
            **settings,
        }
        with Gateway(settings_for(store, **asked)) as gateway:
            yield Pulling(registry, gateway, manifest)
