"""What is known about a push straight to a registry, before it and after it."""

from __future__ import annotations

import attrs

__all__ = ["PlannedBlob", "PushPlan", "Verification"]


@attrs.frozen
class PlannedBlob:
    """One blob of a plan.

    Attributes:
        digest: ``"sha256:"`` plus 64 hex digits.
        size: Bytes.
        present: Whether the registry has it already.
    """

    digest: str
    size: int
    present: bool


@attrs.frozen
class PushPlan:
    """What a push would do: a dry run.

    Attributes:
        model: Canonical name to push to.
        manifest_digest: Digest of the manifest to push.
        manifest_present: Whether the name means that manifest already.
        blobs: In the order of the manifest, the config last.
    """

    model: str
    manifest_digest: str
    manifest_present: bool
    blobs: tuple[PlannedBlob, ...]

    @property
    def total_bytes(self) -> int:
        """Size of the whole push."""
        return sum(blob.size for blob in self.blobs)

    @property
    def present_bytes(self) -> int:
        """Bytes that need not be sent."""
        return sum(blob.size for blob in self.blobs if blob.present)

    @property
    def missing_bytes(self) -> int:
        """Bytes that must be sent."""
        return self.total_bytes - self.present_bytes


@attrs.frozen
class Verification:
    """What a registry was found to hold: the manifest by its digest, each blob by digest and size.

    Attributes:
        model: Canonical name.
        manifest_digest: Digest of the bytes the registry returned.
        blobs: How many blobs were checked.
        total_bytes: Sum of their sizes.
        matches_local: Whether it was compared with a local model (a difference is an error, not ``False``);
            ``False`` when there is none of that name.
    """

    model: str
    manifest_digest: str
    blobs: int
    total_bytes: int
    matches_local: bool
