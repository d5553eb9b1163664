"""A small registry on disk with a server of its own, for tests and for the demo.

It implements push and pull of distribution-spec v1.1 for sha256, with Basic, Bearer or Ollama's signed
authentication. It can copy the differences between real registries (:class:`Quirks`,
:class:`BrokenPartPolicy`) and fail by rule (:class:`Fault`). aiohttp serves it; ``SignedAuth`` needs the extra
``signing``.
"""

from ollama_push.testing.registry.app import registry_app
from ollama_push.testing.registry.auth import Access, Auth, BasicAuth
from ollama_push.testing.registry.faults import (
    AFTER_BODY,
    Action,
    Fault,
    LoseAnswer,
    Reply,
    Stall,
)
from ollama_push.testing.registry.quirks import BrokenPartPolicy, Quirks
from ollama_push.testing.registry.seen import Seen
from ollama_push.testing.registry.server import EmbeddedRegistry
from ollama_push.testing.registry.store import OpenSession
from ollama_push.testing.registry.tokens import SignedAuth, TokenAuth, TokenRequest
from ollama_push.testing.server import Hangup, Reset

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
