"""What a successful push returns."""

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

    What is not known is ``None``: a push through a server that is not streamed reports no layers, and only a
    push straight to a registry knows ``manifest_digest`` and the fields below it, up to ``verified``.

    Attributes:
        model: Canonical name that was pushed.
        layers: The layers in the order in which they were first reported; empty when none was.
        total_bytes: Sum of the layers' sizes; ``None`` when no layer was reported.
        attempts: How many times the whole push was tried, at least 1. A push straight to a registry repeats single
            requests, never the whole.
        elapsed_seconds: From the first request to the verdict.
        manifest_digest: What the registry holds now.
        sent_bytes: Bytes of blobs that were sent, those that had to be sent again included.
        skipped_bytes: Bytes the registry had before the push began.
        resumed_bytes: Bytes an earlier push had left in unfinished uploads.
        verified: Whether the registry was asked afterwards, and holds what it should.
        retries: How many requests were sent again.
    """

    model: str
    layers: tuple[LayerReceipt, ...]
    total_bytes: int | None
    attempts: int
    elapsed_seconds: float
    manifest_digest: str | None = None
    sent_bytes: int | None = None
    skipped_bytes: int | None = None
    resumed_bytes: int | None = None
    verified: bool | None = None
    retries: int = 0
