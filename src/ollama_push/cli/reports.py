"""Plans, checks and verifications as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ollama_push.cli.messages import pullability_line
from ollama_push.core.pullability import Pullability
from ollama_push.core.receipts import PlannedBlob, PushPlan, PushReceipt, Verification
from ollama_push.core.units import bytes_text

if TYPE_CHECKING:
    from ollama_push.core.server.check import Readiness

__all__ = [
    "model_text",
    "plan_lines",
    "pullability_fields",
    "readiness_lines",
    "receipt_lines",
    "verification_lines",
]


def receipt_lines(receipt: PushReceipt) -> list[str]:
    """Return a success: what is known of pulls from there, and the receipt in one line, which is the last."""
    found = receipt.pullability
    return [*([] if found is None else [pullability_line(found)]), str(receipt)]


def pullability_fields(found: Pullability | None) -> dict[str, Any] | None:
    """Return whether a stock pull gets the model, as values of JSON."""
    if found is None:
        return None
    obstacles = [
        {"problem": each.problem.value, "host": each.host, "status": each.status, "digest": each.digest}
        for each in found.obstacles
    ]
    return {"is_pullable": found.is_pullable, "obstacles": obstacles, "asked_blobs": found.asked_blobs}


def model_text(name: str) -> str:
    """Return a model's name; escaped if it is not printable or empty, as an illegal name may be."""
    return name if name.isprintable() and name else repr(name)


def plan_lines(plan: PushPlan, where: str = "in the registry", *, asks: bool = True) -> list[str]:
    """Return what a direct push or a copy would do, one fact per line."""
    there = [blob for blob in plan.blobs if blob.present]
    missing = [blob for blob in plan.blobs if not blob.present]
    lines = [
        f"model: {plan.model}, {_blobs_text(plan.blobs)}",
        f"already {where}: {_blobs_text(there)}; to send: {_blobs_text(missing)}",
    ]
    if not asks:
        return lines
    if missing or not plan.manifest_present:
        lines.append("may push: yes")
    else:
        lines.append(f"nothing to do: the registry holds this model as {plan.manifest_digest}")
    if plan.pullability is not None:
        lines.append(pullability_line(plan.pullability))
    return lines


def verification_lines(found: Verification, source: str) -> list[str]:
    """Return what a registry holds, one fact per line; *source* is the local model that was named."""
    lines = [
        f"model: {found.model}, {_size_text(found.total_bytes, found.blobs)}",
        f"manifest: {found.manifest_digest}",
    ]
    if found.matches_local:
        lines.append(f"the same as the local model {source or found.model}")
    else:
        lines.append("not compared: this machine has no model of that name; --from MODEL names another one")
    return lines if found.pullability is None else [*lines, pullability_line(found.pullability)]


def _blobs_text(blobs: Sequence[PlannedBlob]) -> str:
    return _size_text(sum(blob.size for blob in blobs), len(blobs)) if blobs else "nothing"


def _size_text(total_bytes: int, blobs: int) -> str:
    return f"{bytes_text(total_bytes)} in {blobs} blob{'s' if blobs > 1 else ''}"


def readiness_lines(readiness: Readiness) -> list[str]:
    """Return what a check found, one fact per line."""
    lines = []
    if readiness.server_version is not None:
        kind = "gateway of ollama-push" if readiness.is_gateway else "Ollama"
        lines.append(f"server: {kind} {readiness.server_version}")
    if readiness.total_bytes is not None:
        lines.append(f"model: {readiness.model}, {bytes_text(readiness.total_bytes)}")
    if readiness.account is not None:
        lines.append(f"signed in as: {readiness.account}")
    return lines
