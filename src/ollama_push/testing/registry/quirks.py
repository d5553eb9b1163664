"""Habits of real registries that a client must live with, as switches."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

import attrs

__all__ = ["BrokenPartPolicy", "Quirks"]


class BrokenPartPolicy(Enum):
    """What becomes of an upload session whose part breaks off.

    Source: distribution 3.0.0 keeps what arrived; distribution 2.8.2 forgets the session.
    """

    KEEPS_BROKEN_PARTS = "keeps-broken-parts"
    KILLS_SESSION = "kills-session"


@attrs.frozen(kw_only=True)
class Quirks:
    """What is odd about this registry; as it comes, it answers like distribution 3.

    Attributes:
        relative_location: A ``Location`` is a path, not a URL.
        foreign_location: Origin (``"http://host:port"``) that the ``Location`` of a session points to instead
            of ours; empty for ours.
        no_status: ``GET`` on a session answers 400, as crane's registry does.
        no_range_in_202: 202 answers carry no ``Range``.
        range_416_without_headers: A 416 carries neither ``Range`` nor ``Location``, as distribution's.
        monolithic_only: ``PATCH`` answers 405 ``UNSUPPORTED``.
        min_part_bytes: Announced as ``OCI-Chunk-Min-Length``. Which part is the last shows only afterwards: a
            part that follows a shorter one is refused with 416.
        max_part_bytes: A larger body is answered with 413 before it is read, and the connection closed.
        early_201: Digests that are stored, and answered with 201, by the ``PATCH`` that completes them.
        redirect_blobs: ``GET`` of a blob answers 307 to a signed URL that needs no authorization, which is what
            ``ollama pull`` expects of a registry.
        lies_about_blobs: Size by digest: ``HEAD`` of these answers 200 although they are absent.
        loses_blobs: Digests that are accepted with 201 and not kept.
        wrong_manifest: ``GET`` and ``HEAD`` of a manifest give other bytes than were put.
        no_delete: ``DELETE`` of blobs and manifests answers 405 ``UNSUPPORTED``.
        plain_404: A name outside the grammar answers the text ``404 page not found``, as distribution does,
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
    lies_about_blobs: Mapping[str, int] = attrs.field(factory=dict)
    loses_blobs: Collection[str] = frozenset()
    wrong_manifest: bool = False
    no_delete: bool = False
    plain_404: bool = True
    plain_errors: bool = False
