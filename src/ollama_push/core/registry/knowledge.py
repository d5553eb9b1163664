"""What pushes learn of a registry, for the next ones: its lessons, and which repository has which blob.

All of it only saves work: a push that knows nothing, or something wrong, finds out by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import attrs

__all__ = ["KeepsKnowledge", "KnowledgeStore", "LessonBook", "Lessons", "NoKnowledge", "knowledge_of"]


@attrs.frozen
class Lessons:
    """How a registry wants blobs, as it has taught pushes.

    Attributes:
        largest_part_bytes: More than this it, or a proxy before it, does not take in one request; ``None`` when no
            limit is known.
        whole_only: Whether it takes a blob in one request only.
        last_part_apart: Whether it takes no part in the request that ends an upload.
        has_status: Whether it can tell how far an upload is; ``None`` when nobody has asked.
        oci_only: Whether it takes no manifests of docker's kind, as Ollama writes them.
    """

    largest_part_bytes: int | None = None
    whole_only: bool = False
    last_part_apart: bool = False
    has_status: bool | None = None
    oci_only: bool = False


class LessonBook:
    """The lessons of one push, which may grow.

    Attributes:
        known: All of them.
    """

    def __init__(self, known: Lessons = Lessons()) -> None:
        self.known: Lessons = known
        self._kept = known

    def learn(self, **changes: Any) -> None:
        """Change what is known; *changes* are attributes of :class:`Lessons`."""
        self.known = attrs.evolve(self.known, **changes)

    def news(self) -> Lessons | None:
        """Return what is known when it has changed since the last call; ``None`` when it has not."""
        if self.known == self._kept:
            return None
        self._kept = self.known
        return self.known


class KnowledgeStore(Protocol):
    """Keeps what pushes learn of registries. ``origin`` is the scheme, host and port of one.

    Several threads and processes use it at the same time. None of its methods may fail a push: what cannot be kept
    is forgotten, and so is what is old.
    """

    def lessons(self, origin: str, /) -> Lessons:
        """Return what the registry has taught lately."""
        ...

    def keep_lessons(self, origin: str, lessons: Lessons, /) -> None:
        """Keep *lessons*, in place of those that were kept."""
        ...

    def repositories(self, origin: str, digests: Collection[str], /) -> Mapping[str, tuple[str, ...]]:
        """Return the repositories that were given each of *digests*, the last one first; only those that were."""
        ...

    def keep_stored(self, origin: str, repository: str, digests: Collection[str], /) -> None:
        """Note that *repository* was given the blobs *digests*."""
        ...

    def forget_stored(self, origin: str, repository: str, digest: str, /) -> None:
        """Drop that *repository* has the blob *digest*: the registry did not take it from there."""
        ...


class NoKnowledge:
    """Keeps nothing (:class:`KnowledgeStore`)."""

    def lessons(self, _origin: str, /) -> Lessons:
        return Lessons()

    def keep_lessons(self, _origin: str, _lessons: Lessons, /) -> None:
        return

    def repositories(self, _origin: str, _digests: Collection[str], /) -> Mapping[str, tuple[str, ...]]:
        return {}

    def keep_stored(self, _origin: str, _repository: str, _digests: Collection[str], /) -> None:
        return

    def forget_stored(self, _origin: str, _repository: str, _digest: str, /) -> None:
        return


@runtime_checkable
class KeepsKnowledge(Protocol):
    """A resume store that has a place for what pushes learn of registries, too."""

    @property
    def knowledge(self) -> KnowledgeStore:
        """The place."""
        ...


def knowledge_of(store: object) -> KnowledgeStore:
    """Return the place for knowledge that a resume *store* has; one that keeps nothing where it has none."""
    return store.knowledge if isinstance(store, KeepsKnowledge) else NoKnowledge()
