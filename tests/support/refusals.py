"""Errors as a push through an Ollama server raises them for a text of the server."""

from ollama_push.core.errors import PushRejected, ServerError
from ollama_push.core.server.reasons import reason_for

__all__ = ["refused", "server_error"]


def refused(text: str) -> PushRejected:
    """Return the error for an error line that holds *text*."""
    return PushRejected(text, reason_for(text))


def server_error(
    status: int, text: str = "", signin_url: str | None = None, *, retry_after: float | None = None, location: str = ""
) -> ServerError:
    """Return the error for a response of *status* whose body says *text*."""
    return ServerError(status, text, signin_url, retry_after, reason_for(text), location=location)
