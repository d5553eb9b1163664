"""Reads back what a registry holds under a name: its manifest, and every blob with its size."""

from __future__ import annotations

from ollama_push.core.errors import VerificationFailed
from ollama_push.core.facts import Operation, VerificationProblem
from ollama_push.core.names import ModelName
from ollama_push.core.receipts import Verification
from ollama_push.core.registry.blob_upload.probe import accept_header
from ollama_push.core.registry.blob_upload.responses import ABSENT, PRESENT
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor, Manifest, digest_of

__all__ = ["verify_flow"]


def verify_flow(
    exchange: Exchange, name: ModelName, expected: Manifest | None, *, concurrency: int
) -> Flow[Verification]:
    """Ask the registry for the manifest and every blob of *name*.

    Args:
        exchange: The requests of this flow.
        name: What to look at.
        expected: What it must be; ``None`` to accept the registry's manifest and look for its blobs.
        concurrency: Requests at the same time.

    Raises:
        VerificationFailed: Something is missing or different.
    """
    url = exchange.endpoint.manifest(name.tag)
    wanted = expected.digest if expected is not None else str(name)
    response = yield from exchange.ask(
        Operation.READ_MANIFEST, "GET", url, frozenset({200, 404}), headers=accept_header(expected)
    )
    if response.status != 200:  # noqa: PLR2004 - OK
        raise VerificationFailed(wanted, VerificationProblem.NO_MANIFEST, expected=str(name))
    if expected is not None and response.body != expected.raw:
        raise VerificationFailed(wanted, VerificationProblem.OTHER_MANIFEST, digest_of(response.body), str(name))
    try:
        manifest = expected or Manifest.parse(response.body)
    except ValueError as exc:
        problem = VerificationProblem.NOT_A_MANIFEST
        raise VerificationFailed(wanted, problem, expected=str(name), words=str(exc)) from exc
    yield from result_of(Gather([_verify_blob(exchange, blob) for blob in manifest.blobs], concurrency))
    return Verification(str(name), manifest.digest, len(manifest.blobs), manifest.total_bytes, expected is not None)


def _verify_blob(exchange: Exchange, blob: Descriptor) -> Flow[None]:
    url = exchange.endpoint.blob(blob.digest)
    response = yield from exchange.ask(Operation.FIND_BLOB, "HEAD", url, PRESENT | ABSENT, subject=blob.digest)
    if response.status in ABSENT and response.status != 404:  # noqa: PLR2004 - no HEAD, which is not: no blob
        one = {"Range": "bytes=0-0"}
        response = yield from exchange.ask(
            Operation.FIND_BLOB, "GET", url, PRESENT | {404, 416}, subject=blob.digest, headers=one
        )
    if response.status == 404:  # noqa: PLR2004 - Not Found
        raise VerificationFailed(blob.digest, VerificationProblem.NO_BLOB)
    size = response.headers.get("content-length", "")
    if response.status == 200 and size.isdecimal() and size.lstrip("0") != str(blob.size).lstrip("0"):  # noqa: PLR2004 - OK
        raise VerificationFailed(blob.digest, VerificationProblem.OTHER_SIZE, int(size[:18]), blob.size)
    digest = response.headers.get("docker-content-digest", blob.digest)
    if digest != blob.digest:
        raise VerificationFailed(blob.digest, VerificationProblem.OTHER_BLOB, digest)
