"""This machine's disk: Ollama's model store, who we are to registries, uploads that are not finished.

Importing it is cheap: each name loads its module when it is first asked for, and locks, subprocesses and
cryptography are loaded by what uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.local.bodies import BlobBody, BodyHalted
    from ollama_push.local.credentials import Credentials
    from ollama_push.local.files import BlobFile
    from ollama_push.local.keys import OllamaKey
    from ollama_push.local.resume.store import FileResumeStore, NoResume
    from ollama_push.local.store import ModelStore, StoredModel

__all__ = [
    "BlobBody",
    "BlobFile",
    "BodyHalted",
    "Credentials",
    "FileResumeStore",
    "ModelStore",
    "NoResume",
    "OllamaKey",
    "StoredModel",
]

__getattr__ = lazy(
    __name__,
    {
        "BlobBody": "bodies",
        "BlobFile": "files",
        "BodyHalted": "bodies",
        "Credentials": "credentials",
        "ModelStore": "store",
        "NoResume": "resume.store",
        "OllamaKey": "keys",
        "StoredModel": "store",
        "FileResumeStore": "resume.store",
    },
)
