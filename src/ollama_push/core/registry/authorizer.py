"""Adds credentials to requests: reads challenges, keeps tokens, renews them before they expire.

One :class:`Authorizer` belongs to one push. Credentials go to the registry's own origin and to the realm that
its challenge names, never elsewhere, and never in the clear off this machine unless plain HTTP was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import attrs

from ollama_push.core.errors import OllamaPushError, PushRejected, RejectionReason, TransportError
from ollama_push.core.facts import (
    CredentialKind,
    LoginRefused,
    Operation,
    RealmProblem,
    RealmRefused,
    ResponseProblem,
    UnusableResponse,
)
from ollama_push.core.hosts import is_ollama_cloud
from ollama_push.core.peer_text import MAX_ERROR_BODY_BYTES
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.challenges import Challenge, parse_challenges
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.core.registry.effects import FindCredential, Flow, result_of
from ollama_push.core.registry.endpoints import Endpoint, may_carry_secrets, without_userinfo
from ollama_push.core.registry.error_responses import refusal, words_in
from ollama_push.core.registry.tokens import REQUEST_TIMEOUT_SECONDS, basic, signed_realm, token_in, token_request
from ollama_push.core.responses import BlobSpan, BufferedResponse, SendRequest
from ollama_push.core.secrets import Secrets
from ollama_push.core.version import USER_AGENT

__all__ = ["Authorizer"]

_REDIRECTION: Final = 300
_UNAUTHORIZED: Final = 401
_RENEWED_AHEAD: Final = 0.1
"""Share of a token's life before whose end a new one is fetched."""


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

    Attributes:
        secrets: What was shown, or is to be, to the registry and its realm.
    """

    _endpoint: Endpoint
    _scopes: Sequence[str]
    _plain_http: bool
    _clock: Callable[[], float]
    _now: Callable[[], float]
    _nonce: Callable[[int], bytes]
    _read_timeout: float = REQUEST_TIMEOUT_SECONDS
    secrets: Secrets = attrs.field(factory=Secrets, init=False)
    _credential: Credential | None = attrs.field(default=None, init=False)
    _looked: bool = attrs.field(default=False, init=False)
    # The Authorization value in use; empty while nobody asked for one.
    _proof: str = attrs.field(default="", init=False)
    _bearer: Challenge | None = attrs.field(default=None, init=False)
    _renew_at: float = attrs.field(default=math.inf, init=False)

    @property
    def asked(self) -> bool:
        """Whether the registry wanted a credential, and was shown one."""
        return bool(self._proof)

    def send(self, request: HttpRequest, span: BlobSpan | None = None) -> Flow[BufferedResponse | TransportError]:
        """Send *request*, with a credential when the registry wants one.

        Raises:
            PushRejected: The registry wants a login and there is none, or does not accept the one there is.
            ServerError: The realm cannot give a token now.
        """
        if not self._endpoint.owns(request.url):
            return (yield from self._send(request, span))
        if self._bearer is not None and self._clock() >= self._renew_at:
            # Flows side by side: one renews it, the others go on with what is left of its life.
            self._renew_at = math.inf
            yield from self._fetch_token(self._bearer)
        used = self._proof
        response = yield from self._send(self._signed(request), span)
        if isinstance(response, TransportError) or response.status != _UNAUTHORIZED:
            return response
        # Another flow may have renewed it since: then that one is tried first.
        if self._proof == used:
            yield from self._answer_challenge(response, refused=bool(used))
        response = yield from self._send(self._signed(request), span)
        if isinstance(response, BufferedResponse) and response.status == _UNAUTHORIZED:
            raise self._refused(words_in(response))
        return response

    def _send(self, request: HttpRequest, span: BlobSpan | None = None) -> Flow[BufferedResponse | TransportError]:
        self.secrets.add_headers(request.headers)
        self.secrets.add_url(request.url)
        response: BufferedResponse | TransportError = yield SendRequest(request, span)
        # A success is what was asked for, and must stay as it is. Of anything else, no more is read.
        if isinstance(response, TransportError) or response.status < _REDIRECTION:
            return response
        body = self.secrets.hidden(response.body[: 2 * MAX_ERROR_BODY_BYTES])
        return response if body == response.body else attrs.evolve(response, body=body)

    def _signed(self, request: HttpRequest) -> HttpRequest:
        if not self._proof:
            return request
        return attrs.evolve(request, headers={**request.headers, "Authorization": self._proof})

    def _answer_challenge(self, response: BufferedResponse, *, refused: bool) -> Flow[None]:
        challenges = parse_challenges(response.headers.get("www-authenticate", ""))
        credential = yield from self._who()
        if isinstance(credential, AccessToken):
            if refused:
                raise self._refused(words_in(response))
            self._proof = f"Bearer {credential.token}"
            return
        bearer = next((c for c in challenges if c.scheme == "bearer" and c.realm), None)
        if bearer is not None:
            yield from self._fetch_token(bearer)
            return
        if isinstance(credential, Login) and any(c.scheme == "basic" for c in challenges):
            used, self._proof = self._proof, basic(credential)
            if self._proof != used:
                return
        raise self._refused(words_in(response))

    def _who(self) -> Flow[Credential | None]:
        if not self._looked:
            self._credential = yield from result_of(FindCredential(self._endpoint.host))
            match self._credential:
                case Login(username, password):
                    self.secrets.add_login(username, password)
                case IdentityToken(token) | AccessToken(token):
                    self.secrets.add(token)
            self._looked = True
        return self._credential

    def _fetch_token(self, challenge: Challenge) -> Flow[None]:
        credential = yield from self._who()
        problem = self._realm_problem(challenge.realm)
        if problem:
            facts = RealmRefused(
                challenge.realm, _host_of(challenge.realm), urlsplit(self._endpoint.origin).netloc, problem
            )
            raise PushRejected("", RejectionReason.REALM_MISMATCH, facts)
        self._endpoint.require_allowed(challenge.realm)
        realm = without_userinfo(challenge.realm).geturl()
        challenge = attrs.evolve(challenge, parameters={**challenge.parameters, "realm": realm})
        asked_at = self._clock()
        # Ollama's registry names its scopes itself, and its own client asks for just those (server/auth.go).
        scopes = challenge.scope.split() if self._signs() or not self._scopes else self._scopes
        request = token_request(
            challenge,
            scopes,
            credential,
            nonce=self._nonce,
            now=self._now,
            headers={"User-Agent": USER_AGENT},
            read_timeout=self._read_timeout,
        )
        response = yield from self._send(request)
        if isinstance(response, TransportError):
            raise response
        token = token_in(response) if response.status == 200 else None  # noqa: PLR2004 - OK
        if token is None:
            raise self._no_token(challenge.realm, response)
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
            self._endpoint.host, shown, self._endpoint.repository, username, public_key, plain_http=self._plain_http
        )
        return PushRejected(words, RejectionReason.UNAUTHORIZED, facts)


def _host_of(realm: str) -> str:
    # What a registry calls a URL need not be one.
    try:
        return urlsplit(realm).netloc.rpartition("@")[2]
    except ValueError:
        return ""
