"""A whole push straight to a registry, its dry run, and the look afterwards: what is asked in which order.

Order: what is there already, a session for the first blob that is not (so a missing permission shows before any
byte is sent), the blobs side by side, the manifest, and then the proof.

Source: distribution-spec v1.1.1, "Pushing manifests": a manifest comes after its blobs.
"""

from __future__ import annotations

from typing import Final

import attrs

from ollama_push.core.errors import (
    InvalidModelName,
    PushInterrupted,
    PushRejected,
    ServerError,
    TransportError,
    VerificationFailed,
)
from ollama_push.core.events import PushPlanned, StatusChanged
from ollama_push.core.names import ModelName
from ollama_push.core.registry.digests import digest_of
from ollama_push.core.registry.effects import Emit, Flow, together
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import MANIFEST_MEDIA_TYPES, Descriptor, Manifest
from ollama_push.core.registry.parts import PartSizes
from ollama_push.core.registry.plans import PlannedBlob, PushPlan, Verification
from ollama_push.core.registry.probing import layer_progress, probe
from ollama_push.core.registry.upload_answers import ABSENT, PRESENT
from ollama_push.core.registry.uploads import BlobUpload

__all__ = [
    "Delivery",
    "direct_name",
    "login_flow",
    "mount_source",
    "plan_flow",
    "push_flow",
    "scopes_for",
    "verify_flow",
]

_ACCEPT: Final = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}


@attrs.frozen
class Delivery:
    """What a push moved.

    Attributes:
        skipped_bytes: In blobs the registry had, took from another repository, or got from another push meanwhile.
        resumed_bytes: In unfinished uploads of an earlier push.
        verified: Whether the registry was asked afterwards.
    """

    skipped_bytes: int
    resumed_bytes: int
    verified: bool


def direct_name(text: str | ModelName, *, plain_http: bool) -> ModelName:
    """Return the name of a push straight to a registry, before any I/O.

    Raises:
        InvalidModelName: Ollama's grammar or a registry's does not allow it, or it carries a scheme that
            says something else than *plain_http*.
    """
    name = text if isinstance(text, ModelName) else ModelName.parse(text)
    problem = name.oci_problem()
    if name.scheme == "http" and not plain_http:
        problem = "a name does not choose plain HTTP; leave http:// out and ask with plain_http=True (--plain-http)"
    elif name.scheme not in ("", "https", "http"):
        problem = f"a registry is reached by https://, not {name.scheme}://"
    elif name.scheme == "https" and plain_http:
        problem = "https:// in the name contradicts plain HTTP"
    if problem is not None:
        raise InvalidModelName(text if isinstance(text, str) else str(name), problem)
    return name


def mount_source(blob: Descriptor, name: ModelName) -> str:
    """Return the repository of the same registry that *blob* came from; empty when there is none."""
    if not blob.mount_from:
        return ""
    try:
        source = ModelName.parse_local(blob.mount_from)
    except InvalidModelName:
        return ""
    elsewhere = source.host.lower() != name.host.lower() or source.repository == name.repository
    return "" if elsewhere or source.oci_problem() else source.repository


def scopes_for(name: ModelName, manifest: Manifest | None = None) -> tuple[str, ...]:
    """Return what a token must allow for pushing *manifest* to *name*.

    Source: distribution "Token Scope Documentation".
    """
    sources = dict.fromkeys(mount_source(blob, name) for blob in manifest.blobs) if manifest else {}
    mounts = (f"repository:{source}:pull" for source in sources if source)
    return (f"repository:{name.repository}:pull,push", *mounts)


def push_flow(
    exchange: Exchange, name: ModelName, manifest: Manifest, *, sizes: PartSizes, concurrency: int, verify: bool
) -> Flow[Delivery]:
    """Push *manifest* and its blobs to *name*; see the module docstring for the order.

    Raises:
        OllamaPushError: The verdict, when it is not a success.
    """
    uploads: list[BlobUpload] = []
    had = 0
    try:
        yield Emit(PushPlanned(manifest.total_bytes))
        manifest_present = yield from _manifest_present(exchange, name, manifest)
        present = yield from _present(exchange, manifest, concurrency)
        had = sum(blob.size for blob in manifest.blobs if blob.digest in present)
        for blob in manifest.blobs:
            if blob.digest in present:
                yield Emit(layer_progress(blob, blob.size))
            else:
                uploads.append(BlobUpload(exchange, blob, sizes, mount_source(blob, name)))
        if uploads:
            yield from uploads[0].begin()
            yield from together([upload.run() for upload in uploads], concurrency)
        exchange.require_going_on()
        yield Emit(StatusChanged("pushing manifest"))
        if uploads or not manifest_present:
            url = exchange.endpoint.manifest(name.tag)
            headers = {"Content-Type": manifest.media_type}
            yield from exchange.ask(
                "pushing the manifest", "PUT", url, (200, 201, 202, 204), headers=headers, body=manifest.raw
            )
        if verify:
            yield Emit(StatusChanged("verifying"))
            yield from verify_flow(exchange, name, manifest, concurrency=concurrency)
    except PushInterrupted as stop:
        kept = had + sum(upload.kept_bytes for upload in uploads)
        raise PushInterrupted(kept, manifest.total_bytes) from stop
    borrowed = sum(upload.kept_bytes for upload in uploads if upload.borrowed)
    return Delivery(had + borrowed, sum(upload.resumed_bytes for upload in uploads), verify)


def plan_flow(exchange: Exchange, name: ModelName, manifest: Manifest, *, concurrency: int) -> Flow[PushPlan]:
    """Find out what a push would send, and whether it may; nothing is uploaded.

    Raises:
        OllamaPushError: What the push would end in.
    """
    manifest_present = yield from _manifest_present(exchange, name, manifest)
    present = yield from _present(exchange, manifest, concurrency)
    blobs = tuple(PlannedBlob.of(blob, present=blob.digest in present) for blob in manifest.blobs)
    if not manifest_present or len(present) < len(blobs):
        yield from _try_to_write(exchange)
    return PushPlan(str(name), manifest.digest, manifest_present, blobs)


def verify_flow(
    exchange: Exchange, name: ModelName, expected: Manifest | None, *, concurrency: int
) -> Flow[Verification]:
    """Ask the registry for the manifest and every blob of *name*.

    Args:
        exchange: The conversation.
        name: What to look at.
        expected: What it must be; ``None`` to take the registry's manifest at its word and look for its blobs.
        concurrency: Questions at the same time.

    Raises:
        VerificationFailed: Something is missing or another than expected.
    """
    url = exchange.endpoint.manifest(name.tag)
    wanted = expected.digest if expected is not None else str(name)
    answer = yield from exchange.ask(
        "reading the manifest back", "GET", url, frozenset({200, 404}), headers=_accept(expected)
    )
    if answer.status != 200:  # noqa: PLR2004 - OK
        raise VerificationFailed(wanted, f"the registry has no manifest for {name}")
    if expected is not None and answer.body != expected.raw:
        raise VerificationFailed(wanted, f"the registry holds the manifest {digest_of(answer.body)} under that name")
    try:
        manifest = expected or Manifest.parse(answer.body)
    except ValueError as exc:
        raise VerificationFailed(wanted, f"what the registry holds as {name} is no image manifest: {exc}") from exc
    yield from together([_verify_blob(exchange, blob) for blob in manifest.blobs], concurrency)
    return Verification(str(name), manifest.digest, len(manifest.blobs), manifest.total_bytes, expected is not None)


def login_flow(exchange: Exchange) -> Flow[bool]:
    """Ask the registry as such, which makes it look at our login; say whether it wanted to see one.

    Raises:
        PushRejected: It does not accept the login.

    Source: distribution-spec v1.1.1, "Determining Support": ``/v2/`` asks for what the registry wants.
    """
    yield from exchange.ask("asking the registry", "GET", exchange.endpoint.base, (200, 404))
    return exchange.authorized


def _present(exchange: Exchange, manifest: Manifest, concurrency: int) -> Flow[set[str]]:
    found = yield from together([probe(exchange, blob) for blob in manifest.blobs], concurrency)
    return {blob.digest for blob, there in zip(manifest.blobs, found, strict=True) if there}


def _manifest_present(exchange: Exchange, name: ModelName, manifest: Manifest) -> Flow[bool]:
    """Say whether *name* means *manifest* already. As the first question, it also settles who we are."""
    url = exchange.endpoint.manifest(name.tag)
    answer = yield from exchange.ask(
        "looking for the manifest", "HEAD", url, PRESENT | ABSENT, headers=_accept(manifest)
    )
    return answer.headers.get("docker-content-digest") == manifest.digest


def _try_to_write(exchange: Exchange) -> Flow[None]:
    """Open a session and cancel it: the only question about permission that every registry answers."""
    url = exchange.endpoint.uploads()
    answer = yield from exchange.ask("opening an upload", "POST", url, (201, 202))
    location = exchange.endpoint.located(answer.headers, url)
    if location is not None:
        try:
            yield from exchange.once("DELETE", location)
        except (TransportError, ServerError, PushRejected):
            return  # the registry drops it in time: we could open it, that was the question


def _verify_blob(exchange: Exchange, blob: Descriptor) -> Flow[None]:
    url = exchange.endpoint.blob(blob.digest)
    answer = yield from exchange.ask(f"looking for {blob.digest}", "HEAD", url, PRESENT | ABSENT)
    if answer.status in ABSENT and answer.status != 404:  # noqa: PLR2004 - it has no HEAD, not: it has no blob
        one = {"Range": "bytes=0-0"}
        answer = yield from exchange.ask(f"looking for {blob.digest}", "GET", url, PRESENT | {404, 416}, headers=one)
    if answer.status == 404:  # noqa: PLR2004 - Not Found
        raise VerificationFailed(blob.digest, "the registry does not hold it")
    size = answer.headers.get("content-length", "")
    if answer.status == 200 and size.isdecimal() and size.lstrip("0") != str(blob.size).lstrip("0"):  # noqa: PLR2004 - OK
        raise VerificationFailed(blob.digest, f"the registry holds {size} bytes of it instead of {blob.size}")
    digest = answer.headers.get("docker-content-digest", blob.digest)
    if digest != blob.digest:
        raise VerificationFailed(blob.digest, f"the registry holds {digest} in its place")


def _accept(manifest: Manifest | None) -> dict[str, str]:
    if manifest is None or manifest.media_type in MANIFEST_MEDIA_TYPES:
        return _ACCEPT
    return {"Accept": f"{manifest.media_type}, {_ACCEPT['Accept']}"}
