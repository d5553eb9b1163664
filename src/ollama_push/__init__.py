"""Upload Ollama models, through an Ollama server or straight to a registry, with one truthful verdict.

>>> import ollama_push
>>> str(ollama_push.ModelName.parse("myuser/my-llama"))
'myuser/my-llama:latest'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.client import AsyncPushClient, AsyncRegistryClient, PushClient, RegistryClient
    from ollama_push.core.errors import (
        ConnectFailed,
        ConnectionLost,
        InvalidModelName,
        InvalidSetting,
        LineTooLong,
        MalformedLine,
        OllamaPushError,
        ProtocolError,
        PushInterrupted,
        PushRejected,
        PushStalled,
        RejectionReason,
        ServerError,
        StreamTruncated,
        TransportError,
        TransportTimeout,
        UnexpectedContent,
        UsedAfterClose,
        VerificationFailed,
    )
    from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, PushSucceeded, StatusChanged
    from ollama_push.core.names import ModelName
    from ollama_push.core.progress import ProgressSnapshot, PushProgress
    from ollama_push.core.pullability import Pullability
    from ollama_push.core.receipts import PushPlan, PushReceipt, Verification
    from ollama_push.core.registry.credentials import Login
    from ollama_push.core.registry.target import RegistryModel
    from ollama_push.core.retry import RetryPolicy
    from ollama_push.core.server.check import Readiness
    from ollama_push.core.server.request import PushRequest
    from ollama_push.core.version import __version__
    from ollama_push.local import Credentials, FileResumeStore, ModelStore, NoResume
    from ollama_push.transports import AiohttpTransport, Urllib3Transport

__all__ = [
    "AiohttpTransport",
    "AsyncPushClient",
    "AsyncRegistryClient",
    "ConnectFailed",
    "ConnectionLost",
    "Credentials",
    "FileResumeStore",
    "InvalidModelName",
    "InvalidSetting",
    "LayerProgress",
    "LineTooLong",
    "Login",
    "MalformedLine",
    "ModelName",
    "ModelStore",
    "NoResume",
    "OllamaPushError",
    "ProgressSnapshot",
    "ProtocolError",
    "Pullability",
    "PushClient",
    "PushEvent",
    "PushInterrupted",
    "PushPlan",
    "PushPlanned",
    "PushProgress",
    "PushReceipt",
    "PushRejected",
    "PushRequest",
    "PushStalled",
    "PushSucceeded",
    "Readiness",
    "RegistryClient",
    "RegistryModel",
    "RejectionReason",
    "RetryPolicy",
    "ServerError",
    "StatusChanged",
    "StreamTruncated",
    "TransportError",
    "TransportTimeout",
    "UnexpectedContent",
    "Urllib3Transport",
    "UsedAfterClose",
    "Verification",
    "VerificationFailed",
    "__version__",
]

# "import ollama_push" loads neither urllib3 nor aiohttp nor asyncio.
__getattr__: Callable[[str], Any] = lazy(
    __name__,
    {
        "AiohttpTransport": "transports",
        "AsyncPushClient": "client",
        "AsyncRegistryClient": "client",
        "ConnectFailed": "core.errors",
        "ConnectionLost": "core.errors",
        "Credentials": "local",
        "InvalidModelName": "core.errors",
        "InvalidSetting": "core.errors",
        "LayerProgress": "core.events",
        "LineTooLong": "core.errors",
        "Login": "core.registry.credentials",
        "MalformedLine": "core.errors",
        "ModelName": "core.names",
        "ModelStore": "local",
        "NoResume": "local",
        "OllamaPushError": "core.errors",
        "ProgressSnapshot": "core.progress",
        "ProtocolError": "core.errors",
        "Pullability": "core.pullability",
        "PushClient": "client",
        "PushEvent": "core.events",
        "PushInterrupted": "core.errors",
        "PushPlan": "core.receipts",
        "PushPlanned": "core.events",
        "PushProgress": "core.progress",
        "PushReceipt": "core.receipts",
        "PushRejected": "core.errors",
        "PushRequest": "core.server.request",
        "PushStalled": "core.errors",
        "PushSucceeded": "core.events",
        "Readiness": "core.server.check",
        "RegistryClient": "client",
        "RegistryModel": "core.registry.target",
        "RejectionReason": "core.errors",
        "RetryPolicy": "core.retry",
        "ServerError": "core.errors",
        "StatusChanged": "core.events",
        "StreamTruncated": "core.errors",
        "TransportError": "core.errors",
        "TransportTimeout": "core.errors",
        "UnexpectedContent": "core.errors",
        "FileResumeStore": "local",
        "Urllib3Transport": "transports",
        "UsedAfterClose": "core.errors",
        "Verification": "core.receipts",
        "VerificationFailed": "core.errors",
        "__version__": "core.version",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
