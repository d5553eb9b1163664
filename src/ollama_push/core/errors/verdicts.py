"""The peer understood and the push still did not happen."""

from __future__ import annotations

import attrs

from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.redaction import redact
from ollama_push.core.server.reasons import RejectionReason, reason_for
from ollama_push.core.units import bytes_text

__all__ = [
    "PushInterrupted",
    "PushRejected",
    "PushStalled",
    "ServerError",
    "VerificationFailed",
]


@attrs.define(eq=False, slots=False)
class ServerError(OllamaPushError):
    """The server answered with HTTP status 300 or above.

    With ``stream=False`` a real server reports every failure as status 500, so the
    status alone says little: read ``reason``.

    Attributes:
        status: The HTTP status.
        message: The ``error`` text of a JSON body, or the readable part of any other body.
        signin_url: Where to sign in, when the server says so.
        retry_after: Seconds the server asks to wait, or ``None``.

    Source: ollama ``api/client.go`` ``checkError``; contract of ``POST /api/push``, statuses.
    """

    status: int
    message: str = attrs.field(default="", converter=redact)
    # A sign-in URL is meant to be opened by the user; it holds a *public* key.
    signin_url: str | None = None
    retry_after: float | None = None

    @property
    def reason(self) -> RejectionReason:
        """The reason the message names, by the same table as ``PushRejected.reason``."""
        return reason_for(self.message)

    def __str__(self) -> str:
        text = f"the server answered HTTP {self.status}"
        if self.message:
            text = f"{text}: {self.message}"
        return f"{text} (sign in at {self.signin_url})" if self.signin_url else text


@attrs.define(eq=False, slots=False)
class PushRejected(OllamaPushError):
    """The push was refused in words: an ``error`` line, the registry's own no, or the local store's.

    Attributes:
        message: The peer's text, redacted.
        reason: What the text means by :mod:`ollama_push.core.server.reasons`; ``UNKNOWN`` rather than a guess.
        by_peer: Whether it is a peer's no. Otherwise this side found out that there is nothing to push.

    Source: ollama ``server/routes.go`` ``streamResponse``.
    """

    message: str = attrs.field(converter=redact)
    reason: RejectionReason = attrs.field(default=attrs.Factory(lambda self: reason_for(self.message), takes_self=True))
    by_peer: bool = True

    def __str__(self) -> str:
        if not self.by_peer:
            return self.message
        return f"the push was refused: {self.message or '(the server gave no text)'}"


@attrs.define(eq=False, slots=False)
class PushStalled(OllamaPushError, TimeoutError):
    """No *bytes* moved for too long, although the server keeps sending lines.

    Attributes:
        seconds: How long nothing had moved.

    Source: ollama ``server/upload.go`` ``Wait`` repeats a line every 60 ms while an upload hangs.
    """

    seconds: float

    def __str__(self) -> str:
        return f"no bytes moved for {self.seconds:g} s although the server keeps answering"


@attrs.define(eq=False, slots=False)
class VerificationFailed(OllamaPushError):
    """The registry does not hold what was sent.

    Attributes:
        digest: Digest of the manifest or blob that is wrong.
        problem: What the registry holds instead.
    """

    digest: str
    problem: str = attrs.field(converter=redact)

    def __str__(self) -> str:
        return f"verification failed for {self.digest}: {self.problem}"


@attrs.define(eq=False, slots=False)
class PushInterrupted(OllamaPushError):
    """The push was asked to stop, and stopped at the end of what it had under way.

    Attributes:
        kept_bytes: Bytes the registry holds or keeps for this push, so that the next one need not send them.
        total_bytes: Size of the whole push.
    """

    kept_bytes: int = 0
    total_bytes: int = 0

    def __str__(self) -> str:
        kept = f"{bytes_text(self.kept_bytes)} of {bytes_text(self.total_bytes)}"
        return f"stopped on request; the registry has {kept}, push again to go on"
