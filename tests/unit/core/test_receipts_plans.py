"""A plan's sums."""

from __future__ import annotations

from ollama_push.core.receipts import PlannedBlob, PushPlan


def test_present_and_missing_bytes_add_up_to_the_whole() -> None:
    blobs = (
        PlannedBlob("sha256:a", 5, present=True),
        PlannedBlob("sha256:b", 7, present=False),
        PlannedBlob("sha256:c", 0, present=False),
    )
    plan = PushPlan("h/a/b:c", "sha256:m", manifest_present=False, blobs=blobs)
    assert (plan.total_bytes, plan.present_bytes, plan.missing_bytes) == (12, 5, 7)
