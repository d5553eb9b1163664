"""What is seen today instead of what is right: each row says where, what, and why.

A row is asserted as what is right is. Who mends something drops or changes the row, runs ``make test-registries``, and
writes the page with ``python -m tests.registries.table --write``.
"""

from __future__ import annotations

from typing import Final

import attrs
from tests.registries.checks import Check

__all__ = ["DEVIATIONS", "Deviation", "deviation_of", "expected"]


@attrs.frozen
class Deviation:
    """One thing that is seen otherwise.

    Attributes:
        check: Its name.
        registries: Where; ``None`` for everywhere.
        seen: Instead of what is right.
        why: For people.
        theirs: Whether it is not for this package to mend.
    """

    check: str
    registries: tuple[str, ...] | None
    seen: str
    why: str
    theirs: bool = False


_DISTRIBUTION: Final = ("distribution-2.8", "distribution-3", "tokens", "nginx")

DEVIATIONS: Final = (
    Deviation(
        "kill-9",
        ("distribution-2.8", "zot", "crane"),
        "verified, that layer sent from its start",
        "the registry drops an upload when a part of it breaks",
        theirs=True,
    ),
    Deviation(
        "ctrl-c",
        ("crane",),
        "verified, that layer sent from its start",
        "the registry cannot tell how far an upload is, and the push that is interrupted says so",
        theirs=True,
    ),
    Deviation(
        "garbage-collected",
        _DISTRIBUTION,
        "VerificationFailed, every blob is there",
        "the blobs are sent again; the registry does not store the manifest again, which it says it has",
        theirs=True,
    ),
    Deviation(
        "crane",
        ("tokens",),
        "Error: fetching manifest HOST/team/my-llama:v1: invalid realm in www-authenticate: "
        'realm host "127.0.0.1" is a private or link-local address',
        "crane refuses a realm at a private address",
        theirs=True,
    ),
)


def deviation_of(registry: str, check: str) -> Deviation | None:
    """Return the row for a check of a registry."""
    rows = [row for row in DEVIATIONS if row.check == check and (row.registries is None or registry in row.registries)]
    assert len(rows) <= 1, "a check can be seen in one way"
    return rows[0] if rows else None


def expected(registry: str, check: Check) -> str:
    """Return what *check* sees at *registry* today."""
    row = deviation_of(registry, check.name)
    return check.right if row is None else row.seen
