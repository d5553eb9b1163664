"""Resume stores that break one promise each, and the sound one in memory that they are made from."""

from __future__ import annotations

import logging
import threading
from typing import Final, NoReturn

import attrs

from ollama_push.core.registry.resume import InUseElsewhere, ResumePoint, UploadKey

__all__ = [
    "Blunt",
    "ClaimsTwice",
    "ForgetsForEverybody",
    "ForgetsNothing",
    "ForgetsTheClaim",
    "HoldsBack",
    "IgnoresOrigins",
    "Invents",
    "KeepsTheFirst",
    "KeepsWithoutAClaim",
    "Leased",
    "LogsSessions",
    "LosesHalf",
    "MixesThreads",
    "Place",
    "Raises",
    "ReleasesForEverybody",
    "RoundsOffsets",
    "ShowsSessions",
    "Sound",
    "Unusable",
    "WaitsForNothing",
]

_LOGGER: Final = logging.getLogger("tests.stores")


@attrs.define
class Place:
    """Where several stores keep their uploads."""

    kept: dict[UploadKey, ResumePoint] = attrs.field(factory=dict)
    holders: dict[UploadKey, object] = attrs.field(factory=dict)
    mutex: threading.RLock = attrs.field(factory=threading.RLock)


class Sound:
    """A store in memory that keeps every promise. Its instances are the processes."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        with self.place.mutex:
            if key in self.place.holders:
                return self.taken(key)
            self.place.holders[key] = self
            return self.place.kept.get(key)

    def taken(self, _key: UploadKey) -> ResumePoint | InUseElsewhere | None:
        return InUseElsewhere(0.01)

    def mine(self, key: UploadKey) -> bool:
        return self.place.holders.get(key) is self

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        with self.place.mutex:
            if self.mine(key):
                self.place.kept[key] = upload

    def forget(self, key: UploadKey, /) -> None:
        with self.place.mutex:
            if self.mine(key):
                self.place.kept.pop(key, None)

    def release(self, key: UploadKey, /) -> None:
        with self.place.mutex:
            if self.mine(key):
                del self.place.holders[key]


class Leased(Sound):
    """A sound store with leases that do not end."""

    def holds(self, key: UploadKey, /) -> bool:
        return self.mine(key)


class LosesHalf(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        location = upload.location.encode("ascii", "ignore").decode()
        super().save(key, attrs.evolve(upload, location=location))


class RoundsOffsets(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(key, attrs.evolve(upload, offset=upload.offset & 0xFFFFFFFF))


class ForgetsParts(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(key, attrs.evolve(upload, parts=()))


class KeepsTheFirst(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(key, self.place.kept.get(key, upload))


class IgnoresOrigins(Sound):
    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        return super().claim(key._replace(origin=""))

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(key._replace(origin=""), upload)

    def release(self, key: UploadKey, /) -> None:
        super().release(key._replace(origin=""))


class ClaimsTwice(Sound):
    def taken(self, key: UploadKey) -> ResumePoint | InUseElsewhere | None:
        return self.place.kept.get(key)


class WaitsForNothing(Sound):
    """Not atomic: looks who has a key, and takes it later."""

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        if key in self.place.holders:
            return self.taken(key)
        threading.Event().wait(0.05)
        self.place.holders[key] = self
        return self.place.kept.get(key)


class KeepsWithoutAClaim(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        self.place.kept[key] = upload


class ForgetsForEverybody(Sound):
    def forget(self, key: UploadKey, /) -> None:
        self.place.kept.pop(key, None)


class ReleasesForEverybody(Sound):
    def release(self, key: UploadKey, /) -> None:
        self.place.holders.pop(key, None)


class ForgetsNothing(Sound):
    def forget(self, key: UploadKey, /) -> None:
        pass


class ForgetsTheClaim(Sound):
    def forget(self, key: UploadKey, /) -> None:
        super().forget(key)
        super().release(key)


class Blunt(Leased):
    """Says of every key that it is held."""

    def holds(self, key: UploadKey, /) -> bool:
        return True


class MixesThreads(Sound):
    """Keeps the key of the last claim for all threads."""

    last: UploadKey | None = None

    def claim(self, key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        self.last = key
        found = super().claim(key)
        threading.Event().wait(0.002)
        return found

    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        super().save(self.last or key, upload)


class Unusable(Sound):
    """A sound store whose place cannot be used."""

    def claim(self, _key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        return None


class Invents(Unusable):
    def claim(self, _key: UploadKey, /) -> ResumePoint | InUseElsewhere | None:
        return InUseElsewhere(1.0)


class HoldsBack(Unusable):
    def holds(self, _key: UploadKey, /) -> bool:
        return False


class Raises(Unusable):
    def save(self, _key: UploadKey, _upload: ResumePoint, /) -> NoReturn:
        raise OSError("no space left on device")


class LogsSessions(Sound):
    def save(self, key: UploadKey, upload: ResumePoint, /) -> None:
        _LOGGER.debug("saved %s", upload.location)
        super().save(key, upload)


class ShowsSessions(Sound):
    def __repr__(self) -> str:
        return repr({key: point.location for key, point in self.place.kept.items()})
