"""One push straight to a registry by the sync or the async client, and the requests that the registry saw."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from tests.support.blobs import MIB, digest_of
from tests.support.server_push import Told
from tests.support.stores import CONFIG, put_model

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import PushEvent
from ollama_push.core.observations import Observation
from ollama_push.core.ports import Hook
from ollama_push.core.registry.blob_upload.part_sizes import PartBytes
from ollama_push.core.registry.credentials import Credential, CredentialSource
from ollama_push.core.registry.resume import ResumePoint, ResumeStore, UploadKey
from ollama_push.core.retry import RetryPolicy
from ollama_push.local import FileResumeStore
from ollama_push.testing.registry import EmbeddedRegistry
from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = [
    "AT_ONCE",
    "BIG",
    "BIG_DIGEST",
    "PATIENCE",
    "REPOSITORY",
    "SMALL",
    "SMALL_DIGEST",
    "TOTAL",
    "Colour",
    "Direct",
    "Saving",
    "either_colour",
    "push",
    "push_async",
    "push_awaited",
    "settings",
    "steps",
    "stored",
]

PATIENCE: Final = 20.0
REPOSITORY: Final = "myuser/my-llama"
LOCAL: Final = "my-llama"

BIG: Final = random.Random(5).randbytes(3 * MIB + MIB // 2)
"""Goes in parts: three of 1 MiB each, and the rest with the request that ends the upload."""
SMALL: Final = random.Random(6).randbytes(300_000)
"""Goes in one request."""
TOTAL: Final = len(BIG) + len(SMALL) + len(CONFIG)
BIG_DIGEST: Final = digest_of(BIG)
SMALL_DIGEST: Final = digest_of(SMALL)

AT_ONCE: Final = RetryPolicy(attempts=4, base=0)


@attrs.frozen(kw_only=True)
class Direct:
    """What a push is asked for.

    Attributes:
        host: Of the registry.
        home: Folder that holds the store, ``models``, and the unfinished uploads, ``uploads``.
        spelled: The whole name, where it is not made of *host* and *repository*.
        told: Called with each event, in the loop that consumes them.
    """

    host: str
    home: Path
    repository: str = REPOSITORY
    spelled: str | None = None
    source: str | None = LOCAL
    plain_http: bool = True
    verify: bool = True
    part_bytes: PartBytes = MIB
    concurrency: int = 1
    stall_timeout: float | None = 10.0
    retry: RetryPolicy = AT_ONCE
    credentials: Credential | CredentialSource | tuple[str, str] | None = ("ann", "s3cret-of-ann")
    hooks: tuple[Hook, ...] = ()
    resume: ResumeStore | None = None
    mount_from: str | None = None
    ca_file: Path | None = None
    told: Callable[[PushEvent], None] | None = None

    @property
    def name(self) -> str:
        """What is pushed to."""
        return f"{self.host}/{self.repository}:v1" if self.spelled is None else self.spelled


Colour = Callable[[Direct], Told]


class Saving(FileResumeStore):
    """Also says, between two parts and by whoever sends them, how far an upload is."""

    def __init__(self, home: Path, told: Callable[[int], None]) -> None:
        super().__init__(home / "uploads")
        self._told = told

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(key, upload)
        self._told(upload.offset)


def settings(asked: Direct, hooks: Iterable[Hook] = ()) -> dict[str, Any]:
    """Return the arguments of a client of either colour, but for its transport."""
    return {
        "store": asked.home / "models",
        "credentials": asked.credentials,
        "hooks": [*hooks, *asked.hooks],
        "retry": asked.retry,
        "concurrency": asked.concurrency,
        "plain_http": asked.plain_http,
        "verify": asked.verify,
        "resume": asked.resume or FileResumeStore(asked.home / "uploads"),
        "part_bytes": asked.part_bytes,
        "stall_timeout": asked.stall_timeout,
        "mount_from": asked.mount_from,
    }


def push(asked: Direct) -> Told:
    """Push with the sync client."""
    seen: list[Observation] = []
    events: list[PushEvent] = []
    with closing(Urllib3Transport(ca_file=asked.ca_file)) as transport:
        client = RegistryClient(transport=transport, **settings(asked, [seen.append]))
        try:
            with client.stream(asked.name, source=asked.source) as stream:
                for event in stream:
                    events.append(event)
                    if asked.told is not None:
                        asked.told(event)
        except OllamaPushError as exc:
            return Told(tuple(events), tuple(seen), exc)
    return Told(tuple(events), tuple(seen), None)


async def push_async(asked: Direct) -> Told:
    """Push with the async client."""
    seen: list[Observation] = []
    events: list[PushEvent] = []
    async with aclosing(AiohttpTransport(ca_file=asked.ca_file)) as transport:
        client = AsyncRegistryClient(transport=transport, **settings(asked, [seen.append]))
        try:
            async with client.stream(asked.name, source=asked.source) as stream:
                async for event in stream:
                    events.append(event)
                    if asked.told is not None:
                        asked.told(event)
        except OllamaPushError as exc:
            return Told(tuple(events), tuple(seen), exc)
    return Told(tuple(events), tuple(seen), None)


def push_awaited(asked: Direct) -> Told:
    """Push with the async client on an event loop of its own."""

    async def main() -> Told:
        # Whoever hangs fails, instead of stopping the suite.
        async with asyncio.timeout(PATIENCE):
            return await push_async(asked)

    return asyncio.run(main())


either_colour = pytest.mark.parametrize("colour", [push, push_awaited], ids=["sync", "async"])


def stored(home: Path, *layers: bytes) -> bytes:
    """Write the local model into ``home/models``; return its manifest's bytes."""
    return put_model(home / "models", layers=layers or (BIG, SMALL))


_STEPS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/blobs/uploads/(?:\?|$)", "open"),
        (r"/blobs/uploads/.*[?&]digest=", "commit"),
        (r"/blobs/uploads/", "session"),
        (r"/blobs/", "blob"),
        (r"/manifests/", "manifest"),
        (r"/token", "token"),
    )
)


def steps(registry: EmbeddedRegistry) -> list[str]:
    """Return what the registry was asked, as in ``"PATCH session"``, in order of arrival."""
    return [
        f"{seen.method} {next((name for pattern, name in _STEPS if pattern.search(seen.path)), seen.path)}"
        for seen in registry.requests
    ]
