"""What is installed here for some requirements: a lock or an environment is made of it without an index."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_for(requirements: Iterable[str]) -> set[str]:
    """Return the names of what is installed here for *requirements*, whatever those need included."""
    found: set[str] = set()
    open_ones = [(Requirement(text), frozenset[str]()) for text in requirements]
    while open_ones:
        needed, extras = open_ones.pop()
        if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        name = canonicalize_name(needed.name)
        try:
            more = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in found or needed.extras:
            open_ones += [(Requirement(text), frozenset(needed.extras)) for text in more]
        found.add(name)
    return found
