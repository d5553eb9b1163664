"""The registry in a thread of its own, for a ``with`` block of a test or a demo."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import attrs

from ollama_push.testing._loop_thread import LoopThread
from ollama_push.testing.registry.app import application_of
from ollama_push.testing.registry.auth import Auth, listening
from ollama_push.testing.registry.faults import Fault, FaultPlan
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.refused import is_digest, is_repository, is_tag
from ollama_push.testing.registry.request_context import RegistryState
from ollama_push.testing.registry.seen import Seen
from ollama_push.testing.registry.store import OpenSession

__all__ = ["EmbeddedRegistry"]


class EmbeddedRegistry:
    """A registry that listens from construction on.

    Args:
        data: Folder for everything the registry keeps; created when missing.
        listen: Host and port; port 0 takes a free one and keeps it over :meth:`restart`.
        auth: Who may do what; ``None`` lets everybody do everything.
        tls: Serve TLS with this context.
        broken_parts: What a broken part does to its session.
        quirks: In what the registry differs from distribution 3.
        faults: Which requests fail, and how.

    Attributes:
        host: ``"127.0.0.1:PORT"``, as in the name of a model.
        url: Origin, without a trailing slash.

    Raises:
        OSError: It cannot listen on the address, or not write to *data*.
    """

    def __init__(
        self,
        data: Path,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        auth: Auth | None = None,
        tls: ssl.SSLContext | None = None,
        broken_parts: BrokenPartPolicy = BrokenPartPolicy.KEEPS_BROKEN_PARTS,
        quirks: Quirks | None = None,
        faults: Iterable[Fault] = (),
    ) -> None:
        self._address, self._port = listen
        self._tls = tls
        self._state = RegistryState(data, auth, broken_parts, quirks or Quirks(), FaultPlan(faults))
        self._running: LoopThread[int] | None = None
        self.start()

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in order of arrival, over restarts too."""
        return self._state.log.snapshot()

    @property
    def received_bytes(self) -> int:
        """Bytes of blob bodies read so far, over restarts too."""
        return self._state.log.received_bytes

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until *holds* is true; ``False`` when it took too long.

        Args:
            holds: Called in this thread at once, and whenever a request arrived or bytes of a blob were stored;
                such as ``lambda: registry.received_bytes > 1_000_000``.
            seconds: How long at most.
        """
        return self._state.log.wait_until(holds, seconds)

    def add_fault(self, fault: Fault) -> None:
        """Add a rule; it counts from now on."""
        self._state.faults.add(fault)

    def blob_path(self, digest: str) -> Path:
        """Return where the content of *digest* is, or would be.

        Raises:
            ValueError: It is no sha256 digest.
        """
        if not is_digest(digest):
            raise ValueError(f"no sha256 digest: {digest!r}")
        return self._state.store.blob_path(digest)

    def blob(self, digest: str) -> bytes | None:
        """Return the content of *digest*; ``None`` when it is not held."""
        path = self.blob_path(digest)
        return path.read_bytes() if path.exists() else None

    def manifest(self, repository: str, reference: str) -> bytes | None:
        """Return the bytes of a manifest by tag or digest; ``None`` when it is not held."""
        if not is_repository(repository) or not (is_tag(reference) or is_digest(reference)):
            return None
        found = self._state.store.manifest(repository, reference)
        return None if found is None else found.raw

    def sessions(self) -> list[OpenSession]:
        """Return the uploads that are neither finished nor cancelled."""
        return [OpenSession(each.repository, each.id, each.size) for each in self._state.sessions.all()]

    def expire_sessions(self) -> None:
        """Drop all open uploads: a client that continues one gets 404."""

        async def expire() -> None:
            for session in self._state.sessions.all():
                self._state.sessions.drop(session)

        if self._running is None:
            asyncio.run(expire())
        else:
            asyncio.run_coroutine_threadsafe(expire(), self._running.loop).result()

    def start(self) -> None:
        """Listen, on the same port as before; does nothing while it listens."""
        if self._running is not None:
            return
        # The same log and faults, but what is on disk is read again, as by a new process.
        self._state = attrs.evolve(self._state)
        app = application_of(self._state, self._tls)
        self._running = LoopThread(lambda: listening(app, self._address, self._port, self._tls), "embedded-registry")
        self._port = self._running.value
        self.host: str = f"{self._address}:{self._port}"
        self.url: str = f"{'https' if self._tls else 'http'}://{self.host}"

    def stop(self) -> None:
        """Cancel the requests in progress and stop listening; what is on disk stays. Idempotent."""
        if self._running is not None:
            running, self._running = self._running, None
            running.close()

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    close = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()
