"""What a successful push leaves in the caller's hand."""

from __future__ import annotations

import attrs

__all__ = ["LayerReceipt", "PushReceipt"]


@attrs.frozen
class LayerReceipt:
    """One layer as it was last reported.

    Attributes:
        digest: ``"sha256:"`` plus 64 hex digits, or ``"sha256:model"`` for all tensors together.
        total_bytes: Its size.
    """

    digest: str
    total_bytes: int


@attrs.frozen
class PushReceipt:
    """A push that succeeded.

    Attributes:
        model: Canonical name that was pushed.
        layers: The layers in the order in which they were first reported; empty when not streamed.
        total_bytes: Sum of the layers' sizes.
        attempts: How many requests it took, at least 1.
        elapsed_seconds: From the first request to the verdict.
        manifest_digest: What the registry holds now, here and below known for pushes straight to a registry only.
        sent_bytes: Bytes of blobs that went out, those that had to be sent again included.
        skipped_bytes: Bytes the registry had before the push began.
        resumed_bytes: Bytes an earlier push had left in unfinished uploads.
        verified: Whether the registry was asked afterwards, and holds what it should.
    """

    model: str
    layers: tuple[LayerReceipt, ...]
    total_bytes: int
    attempts: int
    elapsed_seconds: float
    manifest_digest: str | None = None
    sent_bytes: int | None = None
    skipped_bytes: int | None = None
    resumed_bytes: int | None = None
    verified: bool | None = None
