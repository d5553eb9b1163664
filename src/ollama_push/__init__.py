"""Upload Ollama models, through an Ollama server or straight to a registry, with one truthful verdict.

>>> import ollama_push
>>> str(ollama_push.ModelName.parse("myuser/my-llama"))
'myuser/my-llama:latest'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
        VerificationFailed,
    )
    from ollama_push.core.events import LayerProgress, PushEvent, PushPlanned, PushSucceeded, StatusChanged
    from ollama_push.core.names import ModelName
    from ollama_push.core.progress import ProgressSnapshot, PushProgress
    from ollama_push.core.readiness import Readiness
    from ollama_push.core.receipts import PushReceipt
    from ollama_push.core.registry.credentials import Login
    from ollama_push.core.registry.plans import PushPlan, Verification
    from ollama_push.core.requests import PushRequest
    from ollama_push.core.retry import RetryPolicy
    from ollama_push.core.version import __version__
    from ollama_push.local import Credentials, ModelStore, NoUploads, UploadSessions
    from ollama_push.transports import AiohttpTransport, Urllib3Transport

# Public name -> where it lives. Loaded on first use: "import ollama_push" costs next to nothing and
# brings in neither urllib3 nor aiohttp nor asyncio (PEP 562).
_EXPORTS = {
    "AiohttpTransport": "ollama_push.transports",
    "AsyncPushClient": "ollama_push.client",
    "AsyncRegistryClient": "ollama_push.client",
    "ConnectFailed": "ollama_push.core.errors",
    "ConnectionLost": "ollama_push.core.errors",
    "Credentials": "ollama_push.local",
    "InvalidModelName": "ollama_push.core.errors",
    "InvalidSetting": "ollama_push.core.errors",
    "LayerProgress": "ollama_push.core.events",
    "LineTooLong": "ollama_push.core.errors",
    "Login": "ollama_push.core.registry.credentials",
    "MalformedLine": "ollama_push.core.errors",
    "ModelName": "ollama_push.core.names",
    "ModelStore": "ollama_push.local",
    "NoUploads": "ollama_push.local",
    "OllamaPushError": "ollama_push.core.errors",
    "ProgressSnapshot": "ollama_push.core.progress",
    "ProtocolError": "ollama_push.core.errors",
    "PushClient": "ollama_push.client",
    "PushEvent": "ollama_push.core.events",
    "PushInterrupted": "ollama_push.core.errors",
    "PushPlan": "ollama_push.core.registry.plans",
    "PushPlanned": "ollama_push.core.events",
    "PushProgress": "ollama_push.core.progress",
    "PushReceipt": "ollama_push.core.receipts",
    "PushRejected": "ollama_push.core.errors",
    "PushRequest": "ollama_push.core.requests",
    "PushStalled": "ollama_push.core.errors",
    "PushSucceeded": "ollama_push.core.events",
    "Readiness": "ollama_push.core.readiness",
    "RegistryClient": "ollama_push.client",
    "RejectionReason": "ollama_push.core.errors",
    "RetryPolicy": "ollama_push.core.retry",
    "ServerError": "ollama_push.core.errors",
    "StatusChanged": "ollama_push.core.events",
    "StreamTruncated": "ollama_push.core.errors",
    "TransportError": "ollama_push.core.errors",
    "TransportTimeout": "ollama_push.core.errors",
    "UnexpectedContent": "ollama_push.core.errors",
    "UploadSessions": "ollama_push.local",
    "Urllib3Transport": "ollama_push.transports",
    "Verification": "ollama_push.core.registry.plans",
    "VerificationFailed": "ollama_push.core.errors",
    "__version__": "ollama_push.core.version",
}

__all__ = [
    "AiohttpTransport",
    "AsyncPushClient",
    "AsyncRegistryClient",
    "ConnectFailed",
    "ConnectionLost",
    "Credentials",
    "InvalidModelName",
    "InvalidSetting",
    "LayerProgress",
    "LineTooLong",
    "Login",
    "MalformedLine",
    "ModelName",
    "ModelStore",
    "NoUploads",
    "OllamaPushError",
    "ProgressSnapshot",
    "ProtocolError",
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
    "RejectionReason",
    "RetryPolicy",
    "ServerError",
    "StatusChanged",
    "StreamTruncated",
    "TransportError",
    "TransportTimeout",
    "UnexpectedContent",
    "UploadSessions",
    "Urllib3Transport",
    "Verification",
    "VerificationFailed",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
