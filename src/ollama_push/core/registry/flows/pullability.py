"""Finds out whether a stock ``ollama pull`` gets a model: asks as it does, without credentials, up to the first byte.

Source: ollama ``server/download.go``, ``server/images.go`` (``makeRequestWithRetry``) and ``server/auth.go`` at
fb3076099: the blob's ``GET`` must be a 307 to another host name, and the realm of a token on the registry's own host.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.errors import OllamaPushError, PushRejected, ServerError, TransportError, VerificationFailed
from ollama_push.core.facts import Operation, VerificationProblem
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.pullability import Pullability, PullObstacle, PullProblem
from ollama_push.core.registry.challenges import Challenge, parse_challenges
from ollama_push.core.registry.effects import Flow, Gather, result_of
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.error_responses import refusal
from ollama_push.core.registry.exchange import Exchange
from ollama_push.core.registry.manifests import Descriptor, Manifest
from ollama_push.core.registry.tokens import REQUEST_TIMEOUT_SECONDS, token_in, token_request
from ollama_push.core.responses import BufferedResponse, OptionalRequest, SendRequest
from ollama_push.core.retry import TRANSIENT_STATUSES
from ollama_push.core.version import USER_AGENT

__all__ = ["PullObservations", "pullability_flow", "told_pullability"]

_ACCEPT: Final = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
"""All that a pull asks for; others may get another manifest."""
# A pull asks for the whole, and reads nothing of the first response. Registries redirect the one as the other.
_FIRST_BYTE: Final = {"Range": "bytes=0-0"}
_TENSOR: Final = "application/vnd.ollama.image.tensor"
_ONE_RANGE_BYTES: Final = 100_000_000
"""Up to here, a blob is pulled in one range (``minDownloadPartSize``)."""

_OK: Final = 200
_PARTIAL: Final = 206
_TEMPORARY_REDIRECT: Final = 307
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_SENT: Final = frozenset({_OK, _PARTIAL, 416})  # 416: of an empty blob there is no first byte
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})  # Go net/http, redirectBehavior
_MOST_REDIRECTS: Final = 10


class PullObservations:
    """What the responses to reads of blobs say about a pull of them, be they sent with a login or without.

    Args:
        endpoint: The repository.
        manifest: Of the model.
    """

    def __init__(self, endpoint: Endpoint, manifest: Manifest) -> None:
        self._endpoint = endpoint
        self._has_tensors = any(blob.media_type == _TENSOR for blob in manifest.blobs)
        self._obstacles: list[PullObstacle] = []
        self._of_blob: dict[str, list[PullObstacle]] = {}
        if urlsplit(endpoint.origin).scheme == "http":
            self._obstacles.append(PullObstacle(PullProblem.PLAIN_HTTP))
        if self._has_tensors:
            self._obstacles.append(PullObstacle(PullProblem.TENSORS))

    def add(self, obstacle: PullObstacle) -> None:
        """Note what was found otherwise."""
        self._obstacles.append(obstacle)

    def note(self, blob: Descriptor, response: BufferedResponse) -> None:
        """Note how the read of the first byte of *blob* ended, redirects followed to the end; the last one counts."""
        self._of_blob[blob.digest] = [*self._seen_in(blob, response)]

    def result(self) -> Pullability:
        """Return what all of it comes to, where the blobs were read without a login."""
        return Pullability([*self._obstacles, *chain(*self._of_blob.values())], len(self._of_blob))

    def result_with_login(self, refusal: str | None) -> Pullability:
        """Return what all of it comes to, where the blobs were perhaps read with a login.

        Args:
            refusal: How the registry challenged a read without a login; empty when it let it pass, ``None`` when it
                was not asked.
        """
        if refusal == "":
            return self.result()
        # Whether its own realm gives anybody a token was not asked.
        obstacle = None if refusal is None else _challenged(self._endpoint, refusal)[1]
        asked = 0 if obstacle is None else len(self._of_blob)
        return attrs.evolve(
            self.result(), obstacles=[*self.result().obstacles, *filter(None, [obstacle])], asked_blobs=asked
        )

    def _seen_in(self, blob: Descriptor, response: BufferedResponse) -> Iterator[PullObstacle]:
        if response.status not in _SENT:
            yield PullObstacle(PullProblem.NOT_SERVED, status=response.status, digest=blob.digest)
            return
        host = _host_name(self._endpoint.origin)
        leaving = next((status for status, url in response.redirects if _host_name(url) != host), None)
        if leaving != _TEMPORARY_REDIRECT and not self._has_tensors:
            # Tensors are pulled as the registry sends them; all else from where a 307 leads.
            yield _no_direct_url(blob, leaving, redirects=len(response.redirects))
        if response.status == _OK and blob.size > _ONE_RANGE_BYTES:
            yield PullObstacle(PullProblem.NO_RANGES, digest=blob.digest)


def _no_direct_url(blob: Descriptor, leaving: int | None, *, redirects: int) -> PullObstacle:
    if leaving is not None:
        return PullObstacle(PullProblem.REDIRECT_STATUS, status=leaving, digest=blob.digest)
    problem = PullProblem.REDIRECT_TO_ITSELF if redirects else PullProblem.NO_REDIRECT
    return PullObstacle(problem, digest=blob.digest)


def pullability_flow(
    exchange: Exchange,
    name: ModelName,
    manifest: Manifest | None,
    *,
    concurrency: int,
    kind: type[HttpRequest] = HttpRequest,
) -> Flow[Pullability]:
    """Ask the registry for *name* as a stock pull does.

    Args:
        exchange: The requests of this flow; none of them carries its credentials.
        name: What to look at.
        manifest: What it is or will be; ``None`` for what the registry has under that name.
        concurrency: Blobs looked at at the same time.
        kind: ``OptionalRequest`` where the result is no more than an addition.

    Raises:
        VerificationFailed: The registry has no manifest of that name, and none was given.
        TransportError: The registry does not respond.
        ServerError: It fails.
    """
    puller = _StockPuller(exchange, kind)
    response = yield from puller.ask("GET", exchange.endpoint.manifest(name.tag), _ACCEPT)
    is_there = isinstance(response, BufferedResponse) and response.status == _OK
    if manifest is None and isinstance(response, BufferedResponse):
        manifest = _manifest_in(response, name)
    if manifest is None:
        manifest = Manifest(b"", "", ())
    observations = PullObservations(exchange.endpoint, manifest)
    if isinstance(response, PullObstacle):
        observations.add(response)
        return observations.result()
    if not is_there and response.status != _NOT_FOUND:
        observations.add(PullObstacle(PullProblem.NOT_SERVED, status=response.status))
        return observations.result()
    looks = [puller.look_at(blob, observations, expected=is_there) for blob in manifest.blobs]
    yield from result_of(Gather(looks, concurrency))
    return observations.result()


def told_pullability(
    exchange: Exchange, name: ModelName, manifest: Manifest, concurrency: int
) -> Flow[Pullability | None]:
    """Return what :func:`pullability_flow` finds; ``None`` when it fails, beside something else that counts."""
    try:
        return (yield from pullability_flow(exchange, name, manifest, concurrency=concurrency, kind=OptionalRequest))
    except (PushRejected, ServerError, TransportError):
        return None


def _manifest_in(response: BufferedResponse, name: ModelName) -> Manifest | None:
    """Return the manifest in *response*; ``None`` when it is a refusal.

    Raises:
        VerificationFailed: There is none, or it is none.
    """
    if response.status == _NOT_FOUND:
        raise VerificationFailed(str(name), VerificationProblem.NO_MANIFEST, expected=str(name))
    if response.status != _OK:
        return None
    try:
        return Manifest.parse(response.body)
    except ValueError as exc:
        problem = VerificationProblem.NOT_A_MANIFEST
        raise VerificationFailed(str(name), problem, expected=str(name), words=str(exc)) from exc


@attrs.define(eq=False)
class _StockPuller:
    """Asks as a stock pull does: without credentials, but for a token that the registry's own host gives anybody.

    Attributes:
        exchange: The requests go with its patience.
        kind: Of the requests.
        token: What anybody gets.
    """

    exchange: Exchange
    kind: type[HttpRequest]
    token: str = attrs.field(default="", init=False)

    def look_at(self, blob: Descriptor, observations: PullObservations, *, expected: bool) -> Flow[None]:
        """Ask for the size and the first byte of *blob*; one that is not *expected* may be missing."""
        url = self.exchange.endpoint.blob(blob.digest)
        response = yield from self.ask("GET", url, _FIRST_BYTE)
        if isinstance(response, PullObstacle):
            observations.add(response)
            return
        if response.status == _NOT_FOUND and not expected:
            return
        if response.status in _REDIRECTS:
            response = yield from self._follow(url, response, needed=blob.size > _ONE_RANGE_BYTES)
        observations.note(blob, response)
        size = yield from self.ask("HEAD", url, {})
        if isinstance(size, BufferedResponse) and size.status == _OK and blob.size:
            length = size.headers.get("content-length", "")
            if not length.strip("0"):
                observations.add(PullObstacle(PullProblem.NO_SIZE, digest=blob.digest))

    def ask(self, method: str, url: str, headers: dict[str, str]) -> Flow[BufferedResponse | PullObstacle]:
        """Return the response within the registry's own host name, or why a pull gets none."""
        response = yield from self._send(method, url, headers)
        if response.status == _UNAUTHORIZED:
            obstacle = yield from self._fetch_token(response)
            if obstacle is not None:
                return obstacle
            response = yield from self._send(method, url, headers)
            if response.status == _UNAUTHORIZED:
                return PullObstacle(PullProblem.KEY, status=response.status)
        return response

    def _send(self, method: str, url: str, headers: dict[str, str]) -> Flow[BufferedResponse]:
        """Send a request, and follow redirects as long as the host name stays the same."""
        proof = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        asked, host, followed = url, _host_name(url), list[tuple[int, str]]()
        while True:
            response = yield from self._send_once(self.kind(method, asked, {**proof, **headers}))
            target = None
            if response.status in _REDIRECTS and len(followed) < _MOST_REDIRECTS:
                target = self.exchange.endpoint.resolved(response.headers.get("location", ""), asked)
            if target is not None:
                followed.append((response.status, target))
            if target is None or _host_name(target) != host:
                return attrs.evolve(response, redirects=tuple(followed))
            asked = target

    def _send_once(self, request: HttpRequest) -> Flow[BufferedResponse]:
        headers = {"User-Agent": USER_AGENT, **request.headers}
        request = attrs.evolve(request, headers=headers, read_timeout=REQUEST_TIMEOUT_SECONDS)
        patience = self.exchange.retry_budget()
        while True:
            response: BufferedResponse | TransportError = yield SendRequest(request)
            if isinstance(response, TransportError):
                error: OllamaPushError = response
            elif response.status in TRANSIENT_STATUSES:
                error = refusal(response, Operation.FIND_BLOB, request.url)
            else:
                return response
            yield from self.exchange.wait(patience.after(error), error)

    def _fetch_token(self, response: BufferedResponse) -> Flow[PullObstacle | None]:
        """Get a token that anybody gets; return why there is none."""
        endpoint = self.exchange.endpoint
        challenge, obstacle = _challenged(endpoint, response.headers.get("www-authenticate", ""))
        if challenge is None:
            return obstacle
        realm = attrs.evolve(challenge, parameters={**challenge.parameters, "realm": endpoint.realm(challenge.realm)})
        request = token_request(realm, challenge.scope.split(), None, nonce=bytes, now=self.exchange.clock, headers={})
        given = yield from self._send_once(request)
        token = token_in(given) if given.status == _OK else None
        if token is None:
            return PullObstacle(PullProblem.KEY, status=given.status)
        self.token = token.value
        return None

    def _follow(self, url: str, response: BufferedResponse, *, needed: bool) -> Flow[BufferedResponse]:
        """Return how the direct URL responds, where that is *needed*; else what a good one responds."""
        left = response.redirects and _host_name(response.redirects[-1][1]) != _host_name(url)
        if not left:
            return response
        if needed:
            target = response.redirects[-1][1]
            try:
                self.exchange.endpoint.require_allowed(target, url)
            except PushRejected:
                pass  # a pull would go there, and we do not
            else:
                given = yield from self._send_once(self.kind("GET", target, _FIRST_BYTE))
                return attrs.evolve(given, redirects=response.redirects)
        return attrs.evolve(response, status=_PARTIAL)


def _challenged(endpoint: Endpoint, text: str) -> tuple[Challenge | None, PullObstacle | None]:
    """Return the challenge in *text* that a pull can meet, or why there is none."""
    # A pull takes the first realm that it finds, whatever the scheme.
    challenge = next((each for each in parse_challenges(text) if each.realm), None)
    if challenge is None or challenge.scheme != "bearer":
        return None, PullObstacle(PullProblem.LOGIN)
    host = _host_and_port(challenge.realm)
    if host != urlsplit(endpoint.origin).netloc:
        return None, PullObstacle(PullProblem.FOREIGN_REALM, host)
    return challenge, None


def _host_name(url: str) -> str:
    return urlsplit(url).hostname or ""


def _host_and_port(realm: str) -> str:
    # What a registry calls a URL need not be one.
    try:
        return urlsplit(realm).netloc.rpartition("@")[2]
    except ValueError:
        return ""
