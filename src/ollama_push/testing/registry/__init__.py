"""A small registry on disk, as a server of its own: what a push is tested against, and what the demo runs.

It speaks the push and the pull side of distribution-spec v1.1 for sha256, asks for Basic, Bearer or Ollama's
signed authentication, copies the habits of real registries (:class:`Quirks`, :class:`Temper`) and misbehaves
by rule (:class:`Fault`). aiohttp serves it; ``SignedAuth`` needs the extra ``signing``.
"""

from ollama_push.testing.registry.app import registry_app
from ollama_push.testing.registry.auth import Access, Auth, BasicAuth
from ollama_push.testing.registry.faults import (
    AFTER_BODY,
    Action,
    Fault,
    Hangup,
    LoseAnswer,
    Reply,
    Reset,
    Stall,
)
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.seen import Seen
from ollama_push.testing.registry.server import EmbeddedRegistry
from ollama_push.testing.registry.sessions import OpenSession
from ollama_push.testing.registry.signing import SignedAuth
from ollama_push.testing.registry.tokens import TokenAuth, TokenRequest

__all__ = [
    "AFTER_BODY",
    "Access",
    "Action",
    "Auth",
    "BasicAuth",
    "BrokenPartPolicy",
    "EmbeddedRegistry",
    "Fault",
    "Hangup",
    "LoseAnswer",
    "OpenSession",
    "Quirks",
    "Reply",
    "Reset",
    "Seen",
    "SignedAuth",
    "Stall",
    "TokenAuth",
    "TokenRequest",
    "registry_app",
]
