"""The peer does not speak the protocol of ``POST /api/push``."""

from __future__ import annotations

import attrs

from ollama_push.core.errors.root import OllamaPushError, shorten
from ollama_push.core.redaction import redact

__all__ = [
    "LineTooLong",
    "MalformedLine",
    "ProtocolError",
    "StreamTruncated",
    "UnexpectedContent",
]


@attrs.define(eq=False, slots=False)
class ProtocolError(OllamaPushError):
    """The peer does not speak the protocol of ``POST /api/push``."""


@attrs.define(eq=False, slots=False)
class MalformedLine(ProtocolError):
    """A line is no JSON object of the protocol.

    Attributes:
        line: The beginning of the line, as received.
        problem: What is wrong with it.
    """

    line: str = attrs.field(converter=redact)
    problem: str

    def __str__(self) -> str:
        return f"malformed line {shorten(self.line)}: {self.problem}"


@attrs.define(eq=False, slots=False)
class LineTooLong(ProtocolError):
    """A line outgrew the buffer before its newline arrived.

    Attributes:
        limit: Configured ceiling, in bytes.
        buffered: Bytes held when the ceiling was crossed.
    """

    limit: int
    buffered: int

    def __str__(self) -> str:
        return f"{self.buffered} bytes without a newline; the limit is {self.limit}"


@attrs.define(eq=False, slots=False)
class UnexpectedContent(ProtocolError):
    """A successful status came with a body that cannot be a push's answer.

    Attributes:
        status: The HTTP status.
        content_type: The body's media type, or the encoding nobody asked for.
        excerpt: The readable beginning of the body.
    """

    status: int
    content_type: str
    excerpt: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        text = (
            f"HTTP {self.status} with {self.content_type or 'no content type'}; is this an Ollama server, or a proxy?"
        )
        return f"{text} It says: {shorten(self.excerpt, 200)}" if self.excerpt else text


@attrs.define(eq=False, slots=False)
class StreamTruncated(ProtocolError):
    """The answer ended without success or error. This is *not* a success.

    Attributes:
        last_status: The last status text seen, empty when there was none.

    Source: ollama ``api/client.go`` returns nil here; ``server/routes.go`` answers 200 before it knows.
    """

    last_status: str = attrs.field(default="", converter=redact)

    def __str__(self) -> str:
        seen = f"after {shorten(self.last_status)}" if self.last_status else "before any status"
        return f"the answer ended {seen} with neither success nor error; the push may not have happened"
