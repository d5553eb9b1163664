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
    """

    model: str
    layers: tuple[LayerReceipt, ...]
    total_bytes: int
    attempts: int
    elapsed_seconds: float
