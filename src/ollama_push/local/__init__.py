"""The files of this machine: Ollama's model store, layouts of models, credentials for registries, resume points.

The import is cheap: a name loads its module when it is first used, and ``filelock``, ``subprocess`` and
``cryptography`` are loaded by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ollama_push._exports import lazy

if TYPE_CHECKING:
    from ollama_push.local.bodies import BlobBody, BodyCancelled
    from ollama_push.local.credentials import Credentials
    from ollama_push.local.file_source import FileModel, blob_body
    from ollama_push.local.files import BlobFile
    from ollama_push.local.keys import OllamaKey
    from ollama_push.local.oci.archive import OciArchive, OciArchiveTarget, OciArchiveWriter
    from ollama_push.local.oci.layout import OciLayout, OciLayoutTarget
    from ollama_push.local.resume.store import FileResumeStore, NoResume
    from ollama_push.local.store import ModelStore, StoredModel
    from ollama_push.local.store_target import StoreTarget

__all__ = [
    "BlobBody",
    "BlobFile",
    "BodyCancelled",
    "Credentials",
    "FileModel",
    "FileResumeStore",
    "ModelStore",
    "NoResume",
    "OciArchive",
    "OciArchiveTarget",
    "OciArchiveWriter",
    "OciLayout",
    "OciLayoutTarget",
    "OllamaKey",
    "StoreTarget",
    "StoredModel",
    "blob_body",
]

__getattr__: Callable[[str], Any] = lazy(
    __name__,
    {
        "BlobBody": "bodies",
        "BlobFile": "files",
        "BodyCancelled": "bodies",
        "Credentials": "credentials",
        "FileModel": "file_source",
        "FileResumeStore": "resume.store",
        "ModelStore": "store",
        "NoResume": "resume.store",
        "OciArchive": "oci.archive",
        "OciArchiveTarget": "oci.archive",
        "OciArchiveWriter": "oci.archive",
        "OciLayout": "oci.layout",
        "OciLayoutTarget": "oci.layout",
        "OllamaKey": "keys",
        "StoreTarget": "store_target",
        "StoredModel": "store",
        "blob_body": "file_source",
    },
)
