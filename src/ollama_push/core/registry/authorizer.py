"""Adds credentials to requests: reads challenges, keeps tokens, renews them before they expire.

One :class:`Authorizer` belongs to one push. Credentials go to the registry's own origin and to the realm that
its challenge names, never elsewhere, also not where either redirects to, and never in the clear off this machine
unless plain HTTP was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Final
from urllib.parse import urljoin, urlsplit

import attrs

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    OllamaPushError,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
)
from ollama_push.core.facts import (
    CredentialKind,
    LoginRefused,
    Operation,
    RealmProblem,
    RealmRefused,
    ResponseProblem,
    UnusableResponse,
)
from ollama_push.core.hosts import is_ollama_cloud, origin_of
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.challenges import Challenge, parse_challenges
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.effects import Exclusive, FindCredential, Flow, ReportRetry, result_of
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets, origin_key, without_userinfo
from ollama_push.core.registry.error_responses import refusal, words_in
from ollama_push.core.registry.tokens import (
    REQUEST_TIMEOUT_SECONDS,
    basic,
    merged_scopes,
    signed_realm,
    token_in,
    token_request,
)
from ollama_push.core.responses import BlobSpan, BufferedResponse, SendRequest, is_unread
from ollama_push.core.secrets import Secrets
from ollama_push.core.version import USER_AGENT

__all__ = ["Authorizer"]

_REDIRECTION: Final = 300
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_MOST_REDIRECTS: Final = 6
_UNAUTHORIZED: Final = 401
_MOST_PROOFS: Final = 5
"""Requests of which a registry may refuse each, before its word is taken."""
_RENEWED_AHEAD: Final = 0.1
"""Share of a token's life before whose end a new one is fetched."""

_Tried = dict[object, OllamaPushError | None]
"""The proofs that one request was sent with, and the realms that were asked for one, with their errors."""


@attrs.define(eq=False, repr=False)
class Authorizer:
    """The credentials of one push for one repository.

    Args:
        endpoint: The repository.
        scopes: What tokens must allow, as in ``repository:<name>:pull,push``.
        plain_http: Whether secrets may travel in plain HTTP off this machine.
        clock: Monotonic seconds, for the age of tokens.
        now: Unix time in seconds, for signatures.
        nonce: Random bytes, for signatures.
        read_timeout: Longest silence of a realm.
        optional_scopes: What tokens should allow, too; a realm that refuses a token because of them gets asked without.

    Attributes:
        secrets: What was shown, or is to be, to the registry and its realm.
        refusal: How the registry challenged the first read without a credential; empty when it let that pass,
            ``None`` before there was one.
    """

    _endpoint: Endpoint
    _scopes: Sequence[str]
    _plain_http: bool
    _clock: Callable[[], float]
    _now: Callable[[], float]
    _nonce: Callable[[int], bytes]
    _read_timeout: float = REQUEST_TIMEOUT_SECONDS
    _optional_scopes: Sequence[str] = ()
    secrets: Secrets = attrs.field(factory=Secrets, init=False)
    refusal: str | None = attrs.field(default=None, init=False)
    _credential: Credential | None = attrs.field(default=None, init=False)
    _looked: bool = attrs.field(default=False, init=False)
    # Whether the registry has accepted a proof in this push.
    _accepted: bool = attrs.field(default=False, init=False)
    # Whether the realm has given a token for what is shown.
    _known: bool = attrs.field(default=False, init=False)
    _refusal: PushRejected | None = attrs.field(default=None, init=False)
    # Why the realm could not be asked when it last was.
    _failure: OllamaPushError | None = attrs.field(default=None, init=False)
    # The Authorization value in use; empty while nobody asked for one.
    _proof: str = attrs.field(default="", init=False)
    _bearer: Challenge | None = attrs.field(default=None, init=False)
    _renew_at: float = attrs.field(default=math.inf, init=False)
    # Whether parts of blobs go over new connections.
    _fresh: bool = attrs.field(default=False, init=False)

    @property
    def asked(self) -> bool:
        """Whether the registry wanted a credential, and was shown one."""
        return bool(self._proof)

    def send(self, request: HttpRequest, span: BlobSpan | None = None) -> Flow[BufferedResponse | TransportError]:
        """Send *request*, with a credential when the registry wants one; redirects are followed.

        Raises:
            PushRejected: The registry wants a login and there is none, or does not accept the one there is.
                It redirects to where it must not lead.
            ServerError: The realm cannot give a token now.
        """
        if not self._endpoint.owns(request.url):
            return (yield from self._send(request, span))[0]
        if self._bearer is not None and self._clock() >= self._renew_at:
            # Flows side by side: one renews it, the others go on with what is left of its life.
            self._renew_at = math.inf
            yield from self._obtain_proof((self._bearer,), "", {})
        used = self._proof
        response, is_challenge = yield from self._try(request, span)
        if isinstance(response, TransportError) or not is_challenge:
            return response
        again = self._send_again(request, span, response, used)
        if self._accepted:
            return (yield from again)
        # Flows side by side are challenged at the same time. One finds a proof that is accepted, the others use it.
        return (yield from result_of(Exclusive(self._send_first(again, self._failure))))

    def send_signed(self, request: HttpRequest, span: BlobSpan | None) -> Flow[BufferedResponse | TransportError]:
        """Send *request* to a URL that carries a signature, without any credential of ours; redirects are followed."""
        return (yield from self._send(request, span))[0]

    def _send_first(
        self, again: Flow[BufferedResponse | TransportError], known: OllamaPushError | None
    ) -> Flow[BufferedResponse | TransportError]:
        """Run *again*, unless the registry has refused all there is: it may lock an account after a few.

        Nor is a realm asked that failed, other than as *known*, while this flow waited for its turn: each would wait
        as long for it, one after the other.
        """
        if self._refusal is not None:
            raise PushRejected(self._refusal.words, self._refusal.reason, self._refusal.facts)
        if self._failure is not None and self._failure is not known and not self._accepted:
            raise copy(self._failure)
        try:
            return (yield from again)
        except PushRejected as error:
            self._refusal = error
            raise
        except (ServerError, TransportError) as error:
            self._failure = error
            raise

    def _send_again(
        self, request: HttpRequest, span: BlobSpan | None, response: BufferedResponse, used: str
    ) -> Flow[BufferedResponse | TransportError]:
        """Send *request* with the next proof, until the registry accepts one: it refused *used* by *response*."""
        try:
            return (yield from self._send_until_accepted(request, span, response, used))
        except PushRejected as no:
            # The response to a HEAD has no words.
            if request.method == "HEAD" and self._proof and not no.words:
                asked, _ = yield from self._send(self._signed(attrs.evolve(request, method="GET")))
                if isinstance(asked, BufferedResponse) and asked.status == _UNAUTHORIZED:
                    no.words = words_in(asked)
            raise

    def _send_until_accepted(
        self, request: HttpRequest, span: BlobSpan | None, response: BufferedResponse, used: str
    ) -> Flow[BufferedResponse | TransportError]:
        tried: _Tried = {}
        for _ in range(1, _MOST_PROOFS):
            # Another flow may have renewed it since: then that one is tried first.
            if self._proof == used:
                challenges = yield from self._challenges(request.url, response)
                yield from self._obtain_proof(challenges, words_in(response), tried)
            used = self._proof
            given, is_challenge = yield from self._try(request, span)
            if isinstance(given, TransportError) or not is_challenge:
                return given
            response = given
        raise self._refused(words_in(response))

    def _try(self, request: HttpRequest, span: BlobSpan | None) -> Flow[tuple[BufferedResponse | TransportError, bool]]:
        """Send *request* with the proof in use; also return whether the registry wants another one."""
        used = self._proof
        response, is_own = yield from self._send(self._signed(request), span)
        if isinstance(response, TransportError):
            return response, False
        is_challenge = response.status == _UNAUTHORIZED and is_own
        if not used and self.refusal is None and request.method in ("GET", "HEAD"):
            self.refusal = response.headers.get("www-authenticate", "-") if is_challenge else ""
        self._accepted = self._accepted or bool(used and not is_challenge)
        return response, is_challenge

    def _send(
        self, request: HttpRequest, span: BlobSpan | None = None
    ) -> Flow[tuple[BufferedResponse | TransportError, bool]]:
        """Send *request* and follow redirects; also return whether the response is of the origin that was asked."""
        origin, url = origin_key(request.url), request.url
        redirects: list[tuple[int, str]] = []
        for _ in range(_MOST_REDIRECTS):
            response = yield from self._send_once(request, span)
            if isinstance(response, TransportError) or (target := self._redirected(request, response)) is None:
                break
            redirects.append((response.status, target.url))
            request = target
        if redirects and isinstance(response, BufferedResponse):
            response = attrs.evolve(response, redirects=tuple(redirects))
        if request.url != url and isinstance(response, BufferedResponse) and "location" in response.headers:
            # A relative one is relative to the last URL (RFC 9110, 10.2.2).
            located = urljoin(request.url, response.headers["location"])
            response = attrs.evolve(response, headers={**response.headers, "location": located})
        return response, origin_key(request.url) == origin

    def _send_once(self, request: HttpRequest, span: BlobSpan | None) -> Flow[BufferedResponse | TransportError]:
        self.secrets.add_headers(request.headers)
        self.secrets.add_url(request.url)
        response = yield from self._send_unless_unread(request, span)
        # A success is what was asked for, and must stay as it is. Of anything else, no more is read.
        if isinstance(response, TransportError) or response.status < _REDIRECTION:
            return response
        body = self.secrets.hidden(response.body[: 2 * MAX_ERROR_BODY_BYTES])
        return response if body == response.body else attrs.evolve(response, body=body)

    def _send_unless_unread(
        self, request: HttpRequest, span: BlobSpan | None
    ) -> Flow[BufferedResponse | TransportError]:
        """Send *request*, at once again when a kept connection dies before it is read; that is told, and not counted.

        Not a part of a blob, nor a commit: its peer may have read it all the same, and is asked first. After the first
        such death, parts go over new connections, where that cannot happen.
        """
        is_upload = span is not None or (request.method == "PUT" and not request.body)
        request = attrs.evolve(request, fresh=is_upload and self._fresh)
        response: BufferedResponse | TransportError = yield SendRequest(request, span)
        if not is_upload and is_unread(response):
            self.secrets.hide_in(response)
            yield ReportRetry(response, 0.0)
            request = attrs.evolve(request, fresh=True)
            response = yield SendRequest(request)
        if is_unread(response):
            response.unread = not request.fresh
            self._fresh = True
        return response

    def _redirected(self, request: HttpRequest, response: BufferedResponse) -> HttpRequest | None:
        """Return the request that *response* redirects *request* to; ``None`` when it is to be taken as it is.

        The method stays the same, which RFC 9110, 15.4 allows for each of these statuses but 303.

        Raises:
            PushRejected: The registry must not lead there.
        """
        reads = request.method in ("GET", "HEAD")
        if response.status not in _REDIRECTS and not (response.status == 303 and reads):  # noqa: PLR2004 - See Other
            return None
        url = self._endpoint.resolved(response.headers.get("location", ""), request.url)
        if url is None or (request.method == "PATCH" and "docker-upload-location" in response.headers):
            # The latter leads to a signed URL for the part, which takes a PUT: Ollama's protocol (server/upload.go).
            return None
        if origin_key(url) == origin_key(request.url):
            return attrs.evolve(request, url=url)
        was, parts = urlsplit(request.url), urlsplit(url)
        # A redirected question whether something is there says yes. A form with a token goes to its realm only.
        # From plain HTTP to TLS: the registry itself must be asked by TLS, or its login would never be shown.
        upgrade = (was.scheme, was.hostname) == ("http", parts.hostname) and parts.scheme == "https"
        if upgrade and (was.path, was.query) == (parts.path, parts.query):
            raise ConnectFailed(origin_of(request.url), ConnectCause.WANTS_TLS, f"it redirects to {origin_of(url)}")
        if request.method == "HEAD" or upgrade or (isinstance(self._credential, IdentityToken) and request.body):
            return None
        self._endpoint.require_allowed(url, request.url)
        headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
        return attrs.evolve(request, url=url, headers=headers)

    def _signed(self, request: HttpRequest) -> HttpRequest:
        if not self._proof:
            return request
        return attrs.evolve(request, headers={**request.headers, "Authorization": self._proof})

    def _challenges(self, url: str, response: BufferedResponse) -> Flow[tuple[Challenge, ...]]:
        """Return what *response* to *url* offers, else what was offered before, else what the registry's root does."""
        found = _usable(response)
        if found:
            return found
        if self._bearer is not None:
            return (self._bearer,)
        if self._proof.startswith("Basic "):
            return (Challenge("basic"),)
        if self._proof or url == self._endpoint.base:
            return ()
        request = HttpRequest("GET", self._endpoint.base, {"User-Agent": USER_AGENT}, b"", self._read_timeout)
        root, is_own = yield from self._send(request)
        return _usable(root) if isinstance(root, BufferedResponse) and is_own else ()

    def _obtain_proof(self, challenges: Sequence[Challenge], words: str, tried: _Tried) -> Flow[None]:
        """Take the first proof that meets one of *challenges* and was not tried before.

        Raises:
            OllamaPushError: There is none.
        """
        credential = yield from self._who()
        problem = yield from self._prove(challenges, credential, words, tried)
        if problem is not None and self._accepted and not self._signs():
            # What was good has run out: a credential helper may have a new one.
            self._looked = False
            renewed = yield from self._who()
            if renewed != credential:
                problem = yield from self._prove(challenges, renewed, words, tried)
        if problem is not None:
            raise problem

    def _prove(
        self, challenges: Sequence[Challenge], credential: Credential | None, words: str, tried: _Tried
    ) -> Flow[OllamaPushError | None]:
        """Take the next proof of *credential*; return why there is none."""
        if isinstance(credential, AccessToken):
            return self._take(f"Bearer {credential.token}", words, tried)
        for challenge in challenges:
            way = (challenge.realm, self._scopes_of(challenge), credential)
            if challenge.scheme != "bearer" or (way in tried and not self._is_taken_back(challenge, tried[way])):
                continue
            tried[way] = None
            try:
                yield from self._fetch_token(challenge, credential)
            except (PushRejected, ServerError, TransportError) as error:
                tried[way] = error
            else:
                return None
        if isinstance(credential, Login) and any(challenge.scheme == "basic" for challenge in challenges):
            return self._take(basic(credential), words, tried)
        return self._problem(words, tried)

    def _is_taken_back(self, challenge: Challenge, problem: OllamaPushError | None) -> bool:
        """Whether *challenge* refuses a token that its realm gave without *problem*, and may give again.

        A token may end before its time, or one replica of a registry may know it later than another (RFC 6750, 3.1).
        """
        return problem is None and self._accepted and challenge.error == "invalid_token"

    def _take(self, proof: str, words: str, tried: _Tried) -> OllamaPushError | None:
        if proof in tried or proof == self._proof:
            return self._problem(words, tried)
        tried[proof] = None
        self._bearer, self._proof, self._renew_at = None, proof, math.inf
        return None

    def _problem(self, words: str, tried: _Tried) -> OllamaPushError:
        return next(filter(None, tried.values()), None) or self._refused(words)

    def _who(self) -> Flow[Credential | None]:
        if not self._looked:
            self._credential = yield from result_of(FindCredential(self._endpoint.host, self._endpoint.repository))
            match self._credential:
                case Login(username, password):
                    self.secrets.add_login(username, password)
                case IdentityToken(token) | AccessToken(token):
                    self.secrets.add(token)
            self._looked = True
        return self._credential

    def _scopes_of(self, challenge: Challenge) -> tuple[str, ...]:
        # Ollama's registry names its scopes itself, and its own client asks for just those (server/auth.go). Others
        # may call the repository differently than its clients do, or know scopes of their own.
        named = challenge.scope.split()
        return tuple(named) if self._signs() else merged_scopes([*self._scopes, *self._optional_scopes, *named])

    def _fetch_token(self, offered: Challenge, credential: Credential | None) -> Flow[None]:
        realm = self._endpoint.realm(offered.realm)
        problem = self._realm_problem(realm)
        if problem:
            facts = RealmRefused(realm, _host_of(realm), urlsplit(self._endpoint.origin).netloc, problem)
            raise PushRejected("", RejectionReason.REALM_MISMATCH, facts)
        self._endpoint.require_allowed(realm)
        realm = without_userinfo(realm).geturl()
        challenge = attrs.evolve(offered, parameters={**offered.parameters, "realm": realm})
        asked_at = self._clock()
        scopes = self._scopes_of(challenge)
        request = token_request(
            challenge,
            scopes,
            credential,
            nonce=self._nonce,
            now=self._now,
            headers={"User-Agent": USER_AGENT},
            read_timeout=self._read_timeout,
        )
        response, _ = yield from self._send(request)
        if isinstance(response, TransportError):
            raise response
        token = token_in(response) if response.status == 200 else None  # noqa: PLR2004 - OK
        if token is None:
            if self._optional_scopes and response.status in (400, _UNAUTHORIZED, 403):
                self._optional_scopes = ()
                yield from self._fetch_token(offered, credential)
                return
            raise self._no_token(realm, response)
        if not self._signs():
            self._scopes = [scope for scope in scopes if scope not in self._optional_scopes]
        self._known = credential is not None
        self._bearer, self._proof = challenge, f"Bearer {token.value}"
        self._renew_at = asked_at + token.life_seconds * (1.0 - _RENEWED_AHEAD)

    def _realm_problem(self, realm: str) -> RealmProblem | None:
        own_host = urlsplit(self._endpoint.origin).hostname
        # Plain HTTP was asked for with the registry in mind, not with whatever realm it names.
        if not may_carry_secrets(realm, plain_for=own_host if self._plain_http else None):
            return RealmProblem.NOT_HTTPS
        host = urlsplit(self._endpoint.origin).netloc
        if not self._signs() or signed_realm(realm, host):
            return None
        # Ollama's registry has named a realm of its own at ollama.com (ollama#17361).
        if is_ollama_cloud(host) and is_ollama_cloud(urlsplit(realm).hostname or ""):
            return None
        return RealmProblem.OTHER_HOST

    def _signs(self) -> bool:
        return not isinstance(self._credential, Login | IdentityToken | AccessToken | None)

    def _no_token(self, realm: str, response: BufferedResponse) -> OllamaPushError:
        if response.status in (_UNAUTHORIZED, 403):
            self._known = False
            return self._refused(words_in(response))
        if response.status == 200:  # noqa: PLR2004 - OK
            facts = UnusableResponse(Operation.FETCH_TOKEN, ResponseProblem.NO_TOKEN, realm)
            return PushRejected("", RejectionReason.UNAUTHORIZED, facts)
        error = refusal(response, Operation.FETCH_TOKEN, realm)
        if isinstance(error, PushRejected):
            error.reason = RejectionReason.UNAUTHORIZED
        return error

    def _refused(self, words: str) -> PushRejected:
        shown, username, public_key = CredentialKind.NOTHING, "", ""
        match self._credential:
            case None:
                pass
            case Login(username=username):
                shown = CredentialKind.LOGIN
            case IdentityToken() | AccessToken():
                shown = CredentialKind.TOKEN
            case signer:
                shown, public_key = CredentialKind.KEY, signer.public_key
        facts = LoginRefused(
            self._endpoint.host,
            shown,
            self._endpoint.repository,
            username,
            public_key,
            plain_http=self._plain_http,
            is_known=self._known and bool(self._endpoint.repository),
        )
        return PushRejected(words, RejectionReason.UNAUTHORIZED, facts)


def _usable(response: BufferedResponse) -> tuple[Challenge, ...]:
    """Return the challenges in *response* that can be met: Basic, and Bearer with a realm."""
    challenges = parse_challenges(response.headers.get("www-authenticate", ""))
    return tuple(c for c in challenges if c.scheme == "basic" or (c.scheme == "bearer" and c.realm))


def _host_of(realm: str) -> str:
    # What a registry calls a URL need not be one.
    try:
        return urlsplit(realm).netloc.rpartition("@")[2]
    except ValueError:
        return ""
