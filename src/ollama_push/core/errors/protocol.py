"""The peer does not speak the protocol of ``POST /api/push``."""

from __future__ import annotations

import attrs

from ollama_push.core.errors.root import OllamaPushError
from ollama_push.core.messages import Messages
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

    def render(self, messages: Messages) -> str:
        return messages.malformed_line(self.line, self.problem)


@attrs.define(eq=False, slots=False)
class LineTooLong(ProtocolError):
    """A line outgrew the buffer before its newline arrived.

    Attributes:
        limit: Configured ceiling, in bytes.
        buffered: Bytes held when the ceiling was crossed.
    """

    limit: int
    buffered: int

    def render(self, messages: Messages) -> str:
        return messages.line_too_long(self.limit, self.buffered)


@attrs.define(eq=False, slots=False)
class UnexpectedContent(ProtocolError):
    """A successful status came with a body that cannot be the response to a push.

    Attributes:
        status: The HTTP status.
        content_type: The body's media type, or the encoding nobody asked for.
        excerpt: The readable beginning of the body.
    """

    status: int
    content_type: str
    excerpt: str = attrs.field(default="", converter=redact)

    def render(self, messages: Messages) -> str:
        return messages.unexpected_content(self.status, self.content_type, self.excerpt)


@attrs.define(eq=False, slots=False)
class StreamTruncated(ProtocolError):
    """The response ended without success or error. This is *not* a success.

    Attributes:
        last_status: The last status text seen, empty when there was none.

    Source: ollama ``api/client.go`` returns nil here; ``server/routes.go`` sends status 200 before it knows.
    """

    last_status: str = attrs.field(default="", converter=redact)

    def render(self, messages: Messages) -> str:
        return messages.stream_truncated(self.last_status)
