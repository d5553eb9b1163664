"""The promises S1 to S8 of sources and D1 to D11 of targets, each with its proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from itertools import zip_longest
from typing import Final, Generic, Protocol, TypeVar

import attrs

from ollama_push.core.errors import OllamaPushError, PushRejected, UsedAfterClose
from ollama_push.core.registry.manifests import Descriptor
from ollama_push.core.registry.places import ModelSource, ModelTarget
from ollama_push.testing.contract._clauses import ForeignError, expect, fail, prove, raised_by
from ollama_push.testing.contract._sample_models import LARGE, SAMPLE, SampleModel

__all__ = [
    "SOURCE_CLAUSES",
    "TARGET_CLAUSES",
    "MakeSource",
    "MakeTargetPlace",
    "PlaceClause",
    "PlaceClauseList",
    "TargetPlace",
    "run_place_clauses",
    "run_source_contract",
    "run_target_contract",
]

S = TypeVar("S")

_LIMIT_SECONDS: Final = 60.0
_UNKNOWN: Final = f"sha256:{'0' * 64}"

MakeSource = Callable[[SampleModel], ModelSource]
"""Puts a model, which may be damaged, to where sources read it, and returns a new source for it."""


class TargetPlace(Protocol):
    """Where targets write one model."""

    def target(self) -> ModelTarget:
        """Return a new target, as another run would make it."""
        ...

    def read(self) -> SampleModel | None:
        """Return the model that is there; ``None`` when there is none."""
        ...


MakeTargetPlace = Callable[[], TargetPlace]
"""Makes a new, empty place."""


@attrs.frozen
class PlaceClause(Generic[S]):
    """One promise of sources, targets or breaker stores, and the proof of it.

    Attributes:
        number: ``"S1"`` to ``"S8"`` or ``"D1"`` to ``"D11"``, as in :mod:`ollama_push.core.registry.places`; ``"B1"``
            to ``"B6"``, as in :class:`~ollama_push.core.registry.breaker.BreakerStore`.
        case: Which case of the promise; empty when there is only one.
        promise: What must be done.
        proof: Raises ``AssertionError`` when the promise is broken.
    """

    number: str
    case: str
    promise: str
    proof: Callable[[S], None] = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.number} {self.case}".rstrip()

    def check(self, make: S) -> None:
        """Check what *make* makes: a ``MakeSource``, a ``MakeTargetPlace`` or ``BreakerStores``.

        Raises:
            AssertionError: The promise is broken; the text says what was seen.
        """
        prove(lambda: self.proof(make), "place", _LIMIT_SECONDS)


class PlaceClauseList(list[PlaceClause[S]]):
    """Clauses, as their proofs are written."""

    def add(self, number: str, case: str, promise: str) -> Callable[[Callable[[S], None]], None]:
        """Return what adds a clause with its proof."""
        return lambda proof: self.append(PlaceClause(number, case, promise, proof))


def run_source_contract(make: MakeSource) -> dict[str, str | None]:
    """Check every clause of sources; return what was seen of each by its name, ``None`` where it is kept."""
    return run_place_clauses(SOURCE_CLAUSES, make)


def run_target_contract(make: MakeTargetPlace) -> dict[str, str | None]:
    """Check every clause of targets; return what was seen of each by its name, ``None`` where it is kept."""
    return run_place_clauses(TARGET_CLAUSES, make)


def run_place_clauses(clauses: Iterable[PlaceClause[S]], make: S) -> dict[str, str | None]:
    """Check *clauses*; return what was seen of each by its name, ``None`` where it is kept."""
    results: dict[str, str | None] = {}
    for clause in clauses:
        results[str(clause)] = None
        try:
            clause.check(make)
        except AssertionError as exc:
            results[str(clause)] = str(exc)
    return results


_SOURCE: Final = PlaceClauseList[MakeSource]()
_TARGET: Final = PlaceClauseList[MakeTargetPlace]()

# --- sources


def _read(source: ModelSource, digest: str, offset: int, size: int) -> bytes:
    """Read a range; each buffer is used before the next one is asked for."""
    return b"".join(bytes(piece) for piece in source.read_blob(digest, offset, size))


def _expect_bytes(got: bytes, expected: bytes, what: str) -> None:
    expect(len(got) == len(expected), f"{what} has {len(got)} bytes instead of {len(expected)}")
    expect(got == expected, f"{what} has other bytes")


@_SOURCE.add("S1", "", "the manifest's own bytes, each time")
def _gives_the_manifest(make: MakeSource) -> None:
    with closing(make(SAMPLE)) as source:
        for _ in range(2):
            _expect_bytes(source.read_manifest(), SAMPLE.manifest, "the manifest")
        expect(isinstance(source.label, str) and source.label, "it has no label")


@_SOURCE.add("S2", "whole blobs", "exactly the bytes that were asked for")
def _gives_whole_blobs(make: MakeSource) -> None:
    with closing(make(SAMPLE)) as source:
        for digest, data in SAMPLE.blobs.items():
            _expect_bytes(_read(source, digest, 0, len(data)), data, f"the blob of {len(data)} bytes")


@_SOURCE.add("S3", "any range", "any range, in any order and again")
def _gives_any_range(make: MakeSource) -> None:
    data = SAMPLE.blobs[LARGE]
    ranges = [(0, 1), (len(data) - 1, 1), (65_535, 65_537), (1, len(data) - 1), (0, 1), (7, 100), (262_143, 3)]
    with closing(make(SAMPLE)) as source:
        for offset, size in ranges:
            got = _read(source, LARGE, offset, size)
            _expect_bytes(got, data[offset : offset + size], f"the range of {size} bytes from {offset} on")


@_SOURCE.add("S3", "empty ranges", "an empty range gives nothing")
def _gives_nothing_for_nothing(make: MakeSource) -> None:
    with closing(make(SAMPLE)) as source:
        for offset in (0, 5, len(SAMPLE.blobs[LARGE])):
            _expect_bytes(_read(source, LARGE, offset, 0), b"", f"the empty range at {offset}")


@_SOURCE.add("S4", "", "blobs are read at the same time, each also twice")
def _reads_side_by_side(make: MakeSource) -> None:
    data = SAMPLE.blobs[LARGE]
    with closing(make(SAMPLE)) as source:
        turns: list[tuple[int, Iterator[bytes | memoryview], list[bytes]]] = [
            (offset, iter(source.read_blob(LARGE, offset, len(data) - offset)), []) for offset in (0, 1)
        ]
        # A buffer is valid until the next one of the same read.
        for held in zip_longest(*(pieces for _offset, pieces, _got in turns), fillvalue=b""):
            for (_offset, _pieces, got), piece in zip(turns, held, strict=True):
                got.append(bytes(piece))
        for offset, _pieces, got in turns:
            _expect_bytes(b"".join(got), data[offset:], "a blob that is read twice at the same time")
        with ThreadPoolExecutor(4) as threads:
            asked = [(digest, len(blob)) for digest, blob in SAMPLE.blobs.items() for _ in range(4)]
            read = threads.map(lambda each: _read(source, each[0], 0, each[1]), asked)
            for (digest, _size), whole in zip(asked, read, strict=True):
                _expect_bytes(whole, SAMPLE.blobs[digest], "a blob that is read in several threads")


def _expect_failure(make: MakeSource, damaged: SampleModel) -> None:
    """Expect that the largest blob of *damaged* is not given as a whole."""
    size = len(SAMPLE.blobs[LARGE])
    got = b""
    source: ModelSource | None = None
    try:
        source = make(damaged)
        source.read_manifest()
        for piece in source.read_blob(LARGE, 0, size):
            got += bytes(piece)
    except OllamaPushError:
        expect(len(got) < size, "the range was complete before the error came")
    else:
        fail(f"{len(got)} of {size} bytes were given, and no error raised")
    finally:
        if source is not None:
            source.close()


@_SOURCE.add("S5", "missing", "a blob that is missing is an error")
def _raises_for_a_missing_blob(make: MakeSource) -> None:
    _expect_failure(make, SAMPLE.with_blob(LARGE, None))


@_SOURCE.add("S5", "short", "a blob that is shorter than its range is an error before the range is complete")
def _raises_for_a_short_blob(make: MakeSource) -> None:
    _expect_failure(make, SAMPLE.with_blob(LARGE, SAMPLE.blobs[LARGE][:-1]))
    _expect_failure(make, SAMPLE.with_blob(LARGE, b""))


@_SOURCE.add("S6", "unknown digest", "a digest that is not the model's is PushRejected")
def _rejects_an_unknown_digest(make: MakeSource) -> None:
    with closing(make(SAMPLE)) as source:
        raised_by(PushRejected, lambda: _read(source, _UNKNOWN, 0, 1), caused=False)


@_SOURCE.add("S6", "behind the end", "what is behind the end of a blob is an error of ours")
def _raises_behind_the_end(make: MakeSource) -> None:
    size = len(SAMPLE.blobs[LARGE])
    with closing(make(SAMPLE)) as source:
        raised_by(OllamaPushError, lambda: _read(source, LARGE, size - 1, 2), caused=False)


@_SOURCE.add("S7", "", "closing a read early leaves the others alone")
def _survives_a_closed_read(make: MakeSource) -> None:
    data = SAMPLE.blobs[LARGE]
    with closing(make(SAMPLE)) as source:
        for _ in range(50):
            pieces = iter(source.read_blob(LARGE, 0, len(data)))
            next(pieces)
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        _expect_bytes(_read(source, LARGE, 0, len(data)), data, "a blob that is read after others were left")


@_SOURCE.add("S8", "", "after close, reads raise UsedAfterClose")
def _refuses_after_close(make: MakeSource) -> None:
    source = make(SAMPLE)
    source.read_manifest()
    source.close()
    source.close()
    raised_by(UsedAfterClose, source.read_manifest, caused=False)
    raised_by(UsedAfterClose, lambda: _read(source, LARGE, 0, 1), caused=False)


# --- targets


def _put_all(target: ModelTarget, model: SampleModel, *, but: str = "") -> None:
    for blob in model.parsed.blobs:
        if blob.digest != but:
            target.put_blob(blob, model.reader(blob.digest))


def _put_missing(target: ModelTarget, model: SampleModel) -> None:
    for blob in model.parsed.blobs:
        if not target.has(blob):
            target.put_blob(blob, model.reader(blob.digest))


def _expect_model(place: TargetPlace, expected: SampleModel | None, when: str) -> None:
    found = place.read()
    if expected is None:
        expect(found is None, f"there is a model {when}")
        return
    if found is None:
        fail(f"there is no model {when}")
    _expect_bytes(found.manifest, expected.manifest, f"the manifest {when}")
    for digest, data in expected.blobs.items():
        if digest not in found.blobs:
            fail(f"a blob is missing {when}")
        _expect_bytes(found.blobs[digest], data, f"a blob {when}")


@_TARGET.add("D1", "", "has is true of a blob that is there, and of no other")
def _knows_what_it_has(make: MakeTargetPlace) -> None:
    with closing(make().target()) as target:
        for blob in SAMPLE.parsed.blobs:
            expect(not target.has(blob), f"it has a blob of {blob.size} bytes before it was put")
            target.put_blob(blob, SAMPLE.reader(blob.digest))
            expect(target.has(blob), f"it has not the blob of {blob.size} bytes that was put")
        large = SAMPLE.blob(LARGE)
        expect(not target.has(Descriptor(_UNKNOWN, large.size)), "it has a blob that was never put")


@_TARGET.add("D2", "", "it reads ranges of the blob, and none beyond it")
def _reads_within_the_blob(make: MakeTargetPlace) -> None:
    with closing(make().target()) as target:
        for blob in SAMPLE.parsed.blobs:
            asked: list[tuple[int, int]] = []
            target.put_blob(blob, SAMPLE.reader(blob.digest, asked))
            for offset, size in asked:
                expect(
                    offset >= 0 and size >= 0 and offset + size <= blob.size,
                    f"of a blob of {blob.size} bytes it read {size} from {offset} on",
                )


def _reading(data: bytes, error: Exception | None = None) -> Callable[[int, int], Iterator[bytes]]:
    def read(offset: int, size: int) -> Iterator[bytes]:
        yield data[offset : offset + size]
        if error is not None:
            raise error

    return read


@_TARGET.add("D3", "", "bytes of another digest are refused")
def _refuses_other_bytes(make: MakeTargetPlace) -> None:
    blob, data = SAMPLE.blob(LARGE), SAMPLE.blobs[LARGE]
    for other, what in [(b"!" + data[1:], "a flipped byte"), (data[:-1] + b"!", "a flipped last byte")]:
        with closing(make().target()) as target:
            raised_by(OllamaPushError, partial(target.put_blob, blob, _reading(other)), caused=False)
            expect(not target.has(blob), f"the blob with {what} is there")


@_TARGET.add("D3", "short", "fewer bytes than the blob has are refused")
def _refuses_a_short_blob(make: MakeTargetPlace) -> None:
    blob, data = SAMPLE.blob(LARGE), SAMPLE.blobs[LARGE]
    with closing(make().target()) as target:
        raised_by(OllamaPushError, lambda: target.put_blob(blob, _reading(data[:-1])), caused=False)
        expect(not target.has(blob), "the blob that is too short is there")


@_TARGET.add("D4", "", "an error that a read raises comes out as it is")
def _lets_errors_through(make: MakeTargetPlace) -> None:
    blob, data = SAMPLE.blob(LARGE), SAMPLE.blobs[LARGE]
    errors: list[Exception] = [ForeignError("the source"), OSError("the source's"), PushRejected("no")]
    for error in errors:
        with closing(make().target()) as target:
            action = partial(target.put_blob, blob, _reading(data[:5000], error))
            caught = raised_by(type(error), action, caused=False)
            expect(caught is error, f"{error!r} came out as {caught!r}")
            expect(not target.has(blob), "the blob is there although its read failed")


@_TARGET.add("D5", "same run", "a blob whose put failed can be put again")
def _puts_again(make: MakeTargetPlace) -> None:
    blob, data = SAMPLE.blob(LARGE), SAMPLE.blobs[LARGE]
    place = make()
    with closing(place.target()) as target:
        for broken in (_reading(data[:5000], ForeignError()), _reading(b"!" + data[1:])):
            with suppress(ForeignError, OllamaPushError):
                target.put_blob(blob, broken)
        _put_all(target, SAMPLE)
        target.put_manifest(SAMPLE.parsed)
    _expect_model(place, SAMPLE, "after a blob was put again")


@_TARGET.add("D5", "next run", "what an earlier run has left does not spoil the next one")
def _goes_on_in_the_nextrun_place_clauses(make: MakeTargetPlace) -> None:
    blob, data = SAMPLE.blob(LARGE), SAMPLE.blobs[LARGE]
    place = make()
    with closing(place.target()) as target, suppress(ForeignError):
        target.put_blob(blob, _reading(data[:5000], ForeignError()))
    with closing(place.target()) as target:
        _put_missing(target, SAMPLE)
        target.put_manifest(SAMPLE.parsed)
    _expect_model(place, SAMPLE, "after the next run")


@_TARGET.add("D6", "", "the model is there with its manifest, and not before")
def _shows_the_model_last(make: MakeTargetPlace) -> None:
    place = make()
    with closing(place.target()) as target:
        _expect_model(place, None, "before anything was put")
        _put_all(target, SAMPLE)
        _expect_model(place, None, "before the manifest was put")
        target.put_manifest(SAMPLE.parsed)
    _expect_model(place, SAMPLE, "after the manifest was put")


@_TARGET.add("D7", "", "a manifest replaces the model of the same name")
def _replaces_a_model(make: MakeTargetPlace) -> None:
    place, other = make(), SampleModel.of(b"other weights")
    for model in (SAMPLE, other, SAMPLE):
        with closing(place.target()) as target:
            _put_missing(target, model)
            target.put_manifest(model.parsed)
        _expect_model(place, model, "after it replaced another")


@_TARGET.add("D8", "", "a manifest with a blob that is not there is refused")
def _refuses_an_incomplete_model(make: MakeTargetPlace) -> None:
    place, other = make(), SampleModel.of(b"other weights")
    with closing(place.target()) as target:
        raised_by(OllamaPushError, lambda: target.put_manifest(SAMPLE.parsed), caused=False)
    _expect_model(place, None, "after its manifest was refused")
    with closing(place.target()) as target:
        _put_all(target, other)
        target.put_manifest(other.parsed)
    with closing(place.target()) as target:
        _put_all(target, SAMPLE, but=LARGE)
        raised_by(OllamaPushError, lambda: target.put_manifest(SAMPLE.parsed), caused=False)
    _expect_model(place, other, "after the manifest of another was refused")


@_TARGET.add("D9", "", "as many blobs as it says are put at the same time")
def _takes_blobs_side_by_side(make: MakeTargetPlace) -> None:
    model = SampleModel.of(*(bytes([number]) * 50_000 for number in range(6)), b"", b"x")
    place = make()
    with closing(place.target()) as target:
        expect(isinstance(target.at_once, int) and target.at_once >= 1, f"it takes {target.at_once!r} blobs at once")
        with ThreadPoolExecutor(target.at_once) as threads:
            list(threads.map(lambda blob: target.put_blob(blob, model.reader(blob.digest)), model.parsed.blobs))
        target.put_manifest(model.parsed)
    _expect_model(place, model, "whose blobs were put side by side")


@_TARGET.add("D10", "", "a blob that is there may be put again")
def _takes_a_blob_twice(make: MakeTargetPlace) -> None:
    place = make()
    with closing(place.target()) as target:
        for _ in range(2):
            _put_all(target, SAMPLE)
        target.put_manifest(SAMPLE.parsed)
    _expect_model(place, SAMPLE, "whose blobs were put twice")


@_TARGET.add("D11", "", "after close, calls raise UsedAfterClose, and nothing unfinished is visible")
def _refuses_calls_after_close(make: MakeTargetPlace) -> None:
    place = make()
    target = place.target()
    blob = SAMPLE.blob(LARGE)
    _put_all(target, SAMPLE)
    target.close()
    target.close()
    _expect_model(place, None, "after the target was closed without a manifest")
    raised_by(UsedAfterClose, lambda: target.has(blob), caused=False)
    raised_by(UsedAfterClose, lambda: target.put_blob(blob, SAMPLE.reader(LARGE)), caused=False)
    raised_by(UsedAfterClose, lambda: target.put_manifest(SAMPLE.parsed), caused=False)


SOURCE_CLAUSES: Final[tuple[PlaceClause[MakeSource], ...]] = (*_SOURCE,)
"""Every clause of sources, by number; several may share one."""

TARGET_CLAUSES: Final[tuple[PlaceClause[MakeTargetPlace], ...]] = (*_TARGET,)
"""Every clause of targets, by number; several may share one."""
