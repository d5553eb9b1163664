"""One blob's upload with everything it is given within reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from tests.support.blobs import MIB, digest_of, noise
from tests.support.scripted_flow import HOST, ORIGIN, DictMemory, FlowPlayer, Responder, response

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    PushRejected,
    RejectionReason,
)
from ollama_push.core.events import LayerProgress
from ollama_push.core.registry.blob_upload.machine import BlobUpload, SharedFindings
from ollama_push.core.registry.blob_upload.offers import Redirects
from ollama_push.core.registry.blob_upload.part_sizes import WHOLE, PartBytes, PartSizes
from ollama_push.core.registry.effects import KeepLessons
from ollama_push.core.registry.knowledge import LessonBook, Lessons
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.resume import UploadKey
from ollama_push.core.responses import SendRequest
from ollama_push.core.retry import RetryPolicy

__all__ = ["DATA", "DIGEST", "HELD", "KEY", "LOST", "OPENED", "SIZE", "SMALL", "Upload", "reason_of"]

DATA: Final = noise(2_500_000)
SIZE: Final = len(DATA)
DIGEST: Final = digest_of(DATA)
SMALL: Final = b"hello"
KEY: Final = UploadKey(ORIGIN, "me/llama", DIGEST)
HELD: Final = ("me/llama", DIGEST)
OPENED: Final = response(202, {"location": "/u"})
LOST: Final = ConnectionLost(ORIGIN)


class Upload:
    """An upload with everything it is given within reach."""

    def __init__(
        self,
        peer: Responder,
        data: bytes = DATA,
        *,
        part: PartBytes = MIB,
        memory: DictMemory | None = None,
        sources: Sequence[str] = (),
        force: bool = False,
        asks_for_blobs: bool = False,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        lessons: Lessons = Lessons(),  # noqa: B008 - frozen
        shared: SharedFindings | None = None,
    ) -> None:
        self.blob = Descriptor(digest_of(data), len(data))
        self.player = FlowPlayer(peer, blobs=[(self.blob.digest, data)], memory=memory, retry=retry)
        self.sizes = PartSizes(HOST, part, LessonBook(lessons))
        self.redirects = Redirects(part_bytes=None if part == WHOLE else part, asks_for_blobs=asks_for_blobs)
        self.upload = BlobUpload(
            self.player.exchange, self.blob, self.sizes, self.redirects, sources, force=force, shared=shared
        )

    def run(self) -> list[str]:
        """Upload; return what was sent, without the places."""
        self.player.play(self.upload.run())
        return self.methods

    def fail(self) -> OllamaPushError:
        """Upload; return why it failed."""
        with pytest.raises(OllamaPushError) as caught:
            self.player.play(self.upload.run())
        assert self.player.memory.claimed == set(), "the claim is given back"
        return caught.value

    @property
    def methods(self) -> list[str]:
        """What was sent: the method, and the body's span."""
        return [
            f"{sent.request.method} {sent.span.offset}+{sent.span.size}" if sent.span else sent.request.method
            for sent in self.player.of(SendRequest)
        ]

    @property
    def lessons(self) -> list[Lessons]:
        """What was kept for later pushes, in order."""
        return [kept.lessons for kept in self.player.of(KeepLessons)]

    @property
    def progress(self) -> list[int]:
        """The counters that were told."""
        return [event.completed for event in self.player.events if isinstance(event, LayerProgress)]


def reason_of(error: OllamaPushError) -> RejectionReason:
    assert isinstance(error, PushRejected)
    return error.reason
