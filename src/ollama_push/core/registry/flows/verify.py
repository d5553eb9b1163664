"""Reads back what a registry holds under a name: its manifest, and every blob with its size.

A ``HEAD`` is no proof: an index may know a blob that the disk has lost to a garbage collection (distribution 2.8 with
``blobdescriptor: inmemory``; distribution#1803, #4269). One byte of each blob is read instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from ollama_push.core.errors import (
    ConnectionLost,
    OllamaPushError,
    PushRejected,
    ServerError,
    TransportError,
    VerificationFailed,
)
from ollama_push.core.facts import Operation, VerificationProblem
from ollama_push.core.names import ModelName
from ollama_push.core.receipts import Verification
from ollama_push.core.registry.blob_upload.probe import FAILED, accept_header, side_by_side
from ollama_push.core.registry.blob_upload.responses import PRESENT
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.exchange import Exchange, RetryBudget
from ollama_push.core.registry.flows.pullability import PullObservations, told_pullability
from ollama_push.core.registry.manifests import Descriptor, Manifest, announced_digest, digest_of
from ollama_push.core.responses import BufferedResponse, OptionalRequest

__all__ = ["find_faults", "verify_flow"]

_FIRST_BYTE: Final = {"Range": "bytes=0-0"}
_NOT_FOUND: Final = 404
_NO_SUCH_RANGE: Final = 416
# Of a registry that cannot read a part of a blob; it may still know the whole.
_NO_RANGES: Final = frozenset({400, 405, 501})
_CONTENT_RANGE: Final = re.compile(r"bytes (?:0-0|\*)/([0-9]{1,18})")


def verify_flow(
    exchange: Exchange, name: ModelName, expected: Manifest | None, *, concurrency: int, pullability: bool = False
) -> Flow[Verification]:
    """Ask the registry for the manifest and every blob of *name*.

    Args:
        exchange: The requests of this flow.
        name: What to look at.
        expected: What it must be; ``None`` to accept the registry's manifest and look for its blobs.
        concurrency: Requests at the same time.
        pullability: Whether to ask also as a stock pull does.

    Raises:
        VerificationFailed: Something is missing or different.
    """
    if expected is None:
        manifest = yield from _read_manifest(exchange, name, None)
        blobs = [_outcome(exchange, partial(_read_blob, exchange, blob)) for blob in manifest.blobs]
        found = yield from result_of(Gather(blobs, concurrency))
        faults = [fault for fault in found if fault is not None]
    else:
        manifest = expected
        faults = list((yield from find_faults(exchange, name, expected, concurrency=concurrency)).values())
    if faults:
        raise faults[0]
    pull = (yield from told_pullability(exchange, name, manifest, concurrency)) if pullability else None
    is_local = expected is not None
    return Verification(str(name), manifest.digest, len(manifest.blobs), manifest.total_bytes, is_local, pull)


def find_faults(
    exchange: Exchange,
    name: ModelName,
    manifest: Manifest,
    *,
    concurrency: int,
    stored: Collection[str] = (),
    repairable: Collection[str] = (),
    observations: PullObservations | None = None,
) -> Flow[dict[str, OllamaPushError]]:
    """Read back *manifest* and its blobs, side by side; return what is wrong, by digest, the manifest first.

    Args:
        exchange: The requests of this flow.
        name: Where the manifest is.
        manifest: What must be there.
        concurrency: Blobs looked at at the same time.
        stored: Digests that have just been stored: they may show up late, and are asked for again.
        repairable: Digests that can be sent again: a failure to read them is returned, too.
        observations: Told of each read of a blob.
    """

    def look(digest: str, make: Callable[[], Flow[object]]) -> Flow[OllamaPushError | None]:
        patience = exchange.retry_budget() if digest in stored else None
        return _outcome(exchange, make, patience, repairable=digest in repairable)

    flows = [
        look(manifest.digest, partial(_read_manifest, exchange, name, manifest)),
        *(look(blob.digest, partial(_read_blob, exchange, blob, observations)) for blob in manifest.blobs),
    ]
    found = yield from result_of(Gather(flows, side_by_side(concurrency)))
    digests = [manifest.digest, *(blob.digest for blob in manifest.blobs)]
    return {digest: fault for digest, fault in zip(digests, found, strict=True) if fault is not None}


def _outcome(
    exchange: Exchange,
    make: Callable[[], Flow[object]],
    patience: RetryBudget | None = None,
    *,
    repairable: bool = False,
) -> Flow[OllamaPushError | None]:
    """Return what a flow of *make* ends in, after it was tried for as long as *patience* allows."""
    while True:
        try:
            yield from make()
        except VerificationFailed as error:
            # What is unreadable was tried as often as the policy says.
            if patience is None or error.problem is VerificationProblem.UNREADABLE:
                return error
            try:
                wait = patience.after_setback(error)
            except VerificationFailed:
                return error
            yield from exchange.wait(wait, error)
        except PushRejected as error:
            return error
        except (TransportError, ServerError) as error:
            if repairable:
                return error
            raise
        else:
            return None


def _read_manifest(exchange: Exchange, name: ModelName, expected: Manifest | None) -> Flow[Manifest]:
    url = exchange.endpoint.manifest(name.tag)
    wanted = expected.digest if expected is not None else str(name)
    response = yield from exchange.ask(
        Operation.READ_MANIFEST, "GET", url, frozenset({200, _NOT_FOUND}), headers=accept_header(expected)
    )
    if response.status == _NOT_FOUND:
        raise VerificationFailed(wanted, VerificationProblem.NO_MANIFEST, expected=str(name))
    is_other = announced_digest(response.headers, response.body) if expected is None else response.body != expected.raw
    if is_other:
        raise VerificationFailed(wanted, VerificationProblem.OTHER_MANIFEST, digest_of(response.body), str(name))
    try:
        return expected or Manifest.parse(response.body)
    except ValueError as exc:
        problem = VerificationProblem.NOT_A_MANIFEST
        raise VerificationFailed(wanted, problem, expected=str(name), words=str(exc)) from exc


def _read_blob(exchange: Exchange, blob: Descriptor, observations: PullObservations | None = None) -> Flow[None]:
    url = exchange.endpoint.blob(blob.digest)
    accept = PRESENT | _NO_RANGES | {_NOT_FOUND, _NO_SUCH_RANGE}
    try:
        response = yield from exchange.ask(
            Operation.FIND_BLOB, "GET", url, accept, subject=blob.digest, headers=_FIRST_BYTE
        )
    except (ConnectionLost, ServerError) as error:
        if not (yield from _is_claimed(exchange, url, error)):
            raise
        raise VerificationFailed(blob.digest, VerificationProblem.UNREADABLE) from error
    if observations is not None:
        observations.note(blob, response)
    size = _size_in(response)
    if response.status in _NO_RANGES:
        accept = PRESENT | {_NOT_FOUND}
        response = yield from exchange.ask(Operation.FIND_BLOB, "HEAD", url, accept, subject=blob.digest)
        size = _size_in(response) or None  # some say 0 of every blob to a HEAD
    if response.status == _NOT_FOUND:
        raise VerificationFailed(blob.digest, VerificationProblem.NO_BLOB)
    if size is not None and size != blob.size:
        raise VerificationFailed(blob.digest, VerificationProblem.OTHER_SIZE, size, blob.size)
    digest = response.headers.get("docker-content-digest", blob.digest)
    if digest != blob.digest:
        raise VerificationFailed(blob.digest, VerificationProblem.OTHER_BLOB, digest)


def _is_claimed(exchange: Exchange, url: str, error: ConnectionLost | ServerError) -> Flow[bool]:
    """Return whether the registry says that it has the blob at *url*, although it cannot send it.

    So does an index that knows a blob which the disk has lost: distribution begins its response and breaks it off. A
    connection that breaks before any response, or another status, says nothing of the blob.
    """
    begun = PRESENT if isinstance(error, ConnectionLost) else {FAILED}
    if error.status not in begun:
        return False
    try:
        response = yield from exchange.once("HEAD", url, kind=OptionalRequest)
    except (PushRejected, ServerError, TransportError):
        return False
    return response.status in PRESENT


def _size_in(response: BufferedResponse) -> int | None:
    """Return the size of the whole blob; ``None`` when *response* does not say."""
    if response.status == 200:  # noqa: PLR2004 - OK
        size = response.headers.get("content-length", "")
        return int(size[:18]) if size.isdecimal() else None
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    return None if found is None else int(found[1])
