"""What callers are given: the receipt of a push, the plan before it, the verification after it."""

from __future__ import annotations

import attrs

from ollama_push.core.pullability import Pullability
from ollama_push.core.units import bytes_text, seconds_text

__all__ = ["LayerReceipt", "PlannedBlob", "PushPlan", "PushReceipt", "Verification"]


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
        read_refused: Whether the registry has taken everything and does not let this login read: ``verified`` is
            ``False`` then, because what it holds could not be read.
        pullability: Whether a stock ``ollama pull`` gets it from there; ``None`` when that was not looked at.
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
    read_refused: bool | None = None
    pullability: Pullability | None = None

    def __str__(self) -> str:
        """Return the receipt in one line, as the command prints it."""
        parts = [f"pushed {self.model}"]
        if self.total_bytes is not None:
            count = len(self.layers)
            parts.append(f"{count} layer{'s' if count > 1 else ''}, {bytes_text(self.total_bytes)}")
        if self.skipped_bytes:
            parts.append(f"{bytes_text(self.skipped_bytes)} already there")
        if self.resumed_bytes:
            parts.append(f"{bytes_text(self.resumed_bytes)} resumed")
        if self.verified:
            parts.append("verified")
        elif self.read_refused:
            parts.append("not verified (this login may not read there)")
        parts.append(f"in {seconds_text(self.elapsed_seconds)}")
        if self.attempts > 1:
            parts.append(f"after {self.attempts} attempts")
        return ", ".join([*parts, *filter(None, [self.manifest_digest])])


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
        pullability: Whether a stock ``ollama pull`` will get it from there, as far as what is there already tells;
            ``None`` when that was not looked at.
    """

    model: str
    manifest_digest: str
    manifest_present: bool
    blobs: tuple[PlannedBlob, ...]
    pullability: Pullability | None = None

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
        pullability: Whether a stock ``ollama pull`` gets it from there; ``None`` when that was not looked at.
    """

    model: str
    manifest_digest: str
    blobs: int
    total_bytes: int
    matches_local: bool
    pullability: Pullability | None = None
