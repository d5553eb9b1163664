"""Differences between real registries, as switches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

import attrs

__all__ = ["BrokenPartPolicy", "Quirks"]


class BrokenPartPolicy(Enum):
    """What happens to an upload session when the connection breaks within a part.

    Source: distribution 3.0.0 keeps the bytes that arrived; distribution 2.8.2 forgets the session.
    """

    KEEPS_BROKEN_PARTS = "keeps-broken-parts"
    KILLS_SESSION = "kills-session"


@attrs.frozen(kw_only=True)
class Quirks:
    """In what the registry differs from distribution 3, which is how it responds by default.

    Attributes:
        relative_location: A ``Location`` is a path, not a URL.
        foreign_location: Origin (``"http://host:port"``) in the ``Location`` of a session; empty for our own.
        no_status: ``GET`` of a session is refused with 400, as by crane's registry.
        no_range_in_202: A 202 has no ``Range``.
        range_416_without_headers: A 416 has neither ``Range`` nor ``Location``, as with distribution.
        monolithic_only: ``PATCH`` is refused with 405 ``UNSUPPORTED``.
        min_part_bytes: Announced as ``OCI-Chunk-Min-Length``. Only the last part may be shorter, and which part
            is the last is known afterwards: a part that follows a shorter one is refused with 416.
        max_part_bytes: A larger body is refused with 413 before it is read, and the connection closed.
        early_201: Digests that are stored by the ``PATCH`` that completes them, with 201.
        redirect_blobs: ``GET`` of a blob is redirected with 307 to a signed URL that needs no authorization.
        redirect_to_other_name: Such a redirect leads to the other name of the loopback, ``localhost`` or
            ``127.0.0.1``, which is what ``ollama pull`` expects of a registry; to clients that came by neither of
            them, blobs are sent at once.
        redirect_uploads: A ``PATCH`` that asks for it is redirected with 307 to a signed URL for that part, as by
            Ollama's registry: the parts of a blob then arrive side by side.
        direct_uploads: A session that asks for it is opened with a signed URL for the whole blob, as by newer ones.
        lies_about_blobs: Size by digest: ``HEAD`` of these is 200 although they are absent.
        loses_blobs: Digests that are accepted with 201 and not kept.
        wrong_manifest: ``GET`` and ``HEAD`` of a manifest return other bytes than were put.
        no_delete: ``DELETE`` of blobs and manifests is refused with 405 ``UNSUPPORTED``.
        oci_manifests_only: A manifest of docker's kind is refused with 415, as by zot without ``docker2s2``.
        plain_404: An invalid name of a repository gets the text ``404 page not found``, as with distribution,
            and not ``NAME_INVALID``.
        plain_errors: Every error body is text instead of JSON.
    """

    relative_location: bool = False
    foreign_location: str = ""
    no_status: bool = False
    no_range_in_202: bool = False
    range_416_without_headers: bool = True
    monolithic_only: bool = False
    min_part_bytes: int = 0
    max_part_bytes: int | None = None
    early_201: Collection[str] = frozenset()
    redirect_blobs: bool = False
    redirect_to_other_name: bool = False
    redirect_uploads: bool = False
    direct_uploads: bool = False
    lies_about_blobs: Mapping[str, int] = attrs.field(factory=dict)
    loses_blobs: Collection[str] = frozenset()
    wrong_manifest: bool = False
    no_delete: bool = False
    oci_manifests_only: bool = False
    plain_404: bool = True
    plain_errors: bool = False
