"""Facts of errors in words for Python code: what ``str(error)`` says.

:class:`Messages` has one method a kind of error. Other audiences subclass it: the command and the gateway replace
what they call a setting and how advice is followed there, and inherit the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ollama_push.core.facts import (
    Advice,
    ConnectCause,
    CredentialKind,
    ForbiddenAddress,
    LoginRefused,
    ModelMissing,
    Operation,
    Peer,
    PlaceFailed,
    PlaceProblem,
    RealmProblem,
    RealmRefused,
    RefusalFacts,
    RefusedRequest,
    ResponseProblem,
    StoreDamaged,
    StoreProblem,
    UnusableResponse,
    VerificationProblem,
)
from ollama_push.core.hosts import AddressProblem
from ollama_push.core.pullability import Pullability, PullAdvice, PullObstacle, PullProblem
from ollama_push.core.units import bytes_text

__all__ = ["PYTHON", "Messages", "joined", "plain_words", "printable", "shorten"]

_SHOWN: Final = 80
# As in: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)
_OPENSSL: Final = re.compile(r"\[(?:ssl|x509|pem)[^\]]*\] ?| ?\(_ssl\.c:\d+\)", re.IGNORECASE)

_OPERATIONS: Final[Mapping[Operation, str]] = {
    Operation.PUSH: "pushing",
    Operation.LOG_IN: "asking the registry",
    Operation.FETCH_TOKEN: "asking {subject} for a token",
    Operation.FIND_MANIFEST: "looking for the manifest",
    Operation.FIND_BLOB: "looking for {subject}",
    Operation.OPEN_UPLOAD: "opening an upload",
    Operation.UPLOAD_STATUS: "asking how far an upload is",
    Operation.SEND_PART: "sending a part of {subject}",
    Operation.SEND_BLOB: "sending the blob {subject}",
    Operation.COMMIT_BLOB: "committing the blob {subject}",
    Operation.PUSH_MANIFEST: "pushing the manifest",
    Operation.READ_MANIFEST: "reading the manifest",
    Operation.READ_BLOB: "reading the blob {subject}",
    Operation.LIST_TAGS: "listing the tags",
    Operation.LIST_REFERRERS: "listing what refers to the model",
}
_CONNECT: Final[Mapping[ConnectCause, str]] = {
    ConnectCause.REFUSED: "nothing listens at {address}",
    ConnectCause.UNKNOWN_HOST: "the host of {address} is unknown",
    ConnectCause.UNREACHABLE: "no route to {address}",
    ConnectCause.UNTRUSTED_CERTIFICATE: "the certificate of {address} is not trusted",
    ConnectCause.EXPIRED_CERTIFICATE: "the certificate of {address} has expired, or is not valid yet",
    ConnectCause.CERTIFICATE_OF_ANOTHER_HOST: "the certificate of {address} is for another host",
    ConnectCause.CLIENT_CERTIFICATE: "{address} wants a client certificate, or refused the one given",
    ConnectCause.NOT_TLS: "{address} does not speak TLS",
    ConnectCause.WANTS_TLS: "{address} speaks TLS, not plain HTTP",
    ConnectCause.TLS: "the TLS handshake with {address} failed",
    ConnectCause.PROXY: "the proxy in the way of {address} failed",
    ConnectCause.OTHER: "cannot connect to {address}",
}
_NAMES_THE_REGISTRY: Final = frozenset({ConnectCause.NOT_TLS, ConnectCause.WANTS_TLS, ConnectCause.TLS})
# What a status means of which the registry says nothing else.
_STATUS: Final[Mapping[int, str]] = {
    403: "this login may not do that there",
    413: "it is too large for the registry, or for a proxy before it",
    507: "the registry has no room left",
}
_ADDRESSES: Final[Mapping[AddressProblem, str]] = {
    AddressProblem.METADATA: "a metadata address",
    AddressProblem.LINK_LOCAL: "a link-local address, where clouds keep their metadata",
    AddressProblem.UNSPECIFIED: "an unspecified address",
    AddressProblem.MULTICAST: "a multicast address",
    AddressProblem.RESERVED: "a reserved address",
    AddressProblem.LOOPBACK: "an address of your own machine",
    AddressProblem.NOT_A_HOST: "neither an address nor a host name in ASCII",
    AddressProblem.PLAIN_HTTP: "named with http://, although the registry is reached by TLS",
}
_ADVICE: Final[Mapping[Advice, str]] = {
    Advice.START_SERVER: "start the Ollama server, or point OLLAMA_HOST at the right address",
    Advice.START_REGISTRY: "is the registry running, and is the port in the name right?",
    Advice.CHECK_SERVER_ADDRESS: "check its spelling, OLLAMA_HOST and DNS",
    Advice.CHECK_NAME: "check the spelling of the name, and DNS",
    Advice.CHECK_NETWORK: "check the network, a VPN or a firewall",
    Advice.CHECK_ROUTE: "is the host up, its port right, and no firewall or VPN between? Nothing answers there",
    Advice.CHECK_PROXY: "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or list the host in NO_PROXY",
    Advice.TRUST_CA: "pass the CA that signed it with ca_file=, or SSL_CERT_FILE",
    Advice.RENEW_CERTIFICATE: "it must be renewed there, if the clock of this machine is right",
    Advice.USE_NAME_IN_CERTIFICATE: "use a name that the certificate is for",
    Advice.SHOW_CERTIFICATE: "pass the right one with client_cert=",
    Advice.USE_HTTP_ADDRESS: "use http:// instead of https://",
    Advice.DROP_PLAIN_HTTP: "leave out plain_http=True",
    Advice.ASK_PLAIN_HTTP: "plain HTTP must be asked for with plain_http=True",
    Advice.TRY_PLAIN_HTTP: "if it speaks plain HTTP, ask for that with plain_http=True",
    Advice.PASS_HEADERS: "pass headers=",
    Advice.ALLOW_HOST: (
        "Ollama refuses this Host or Origin header; use a loopback name, or OLLAMA_ORIGINS on the server"
    ),
    Advice.FINAL_ADDRESS: "a push is not redirected, give the final address",
    Advice.SIGN_IN: "sign in at {url}",
    Advice.LOG_IN: "pass credentials=, or set OLLAMA_USERNAME and OLLAMA_PASSWORD",
    Advice.LOG_IN_AGAIN: "log in again",
    Advice.ADD_KEY: "add it to the account that may: ssh-ed25519 {key}",
    Advice.CHOOSE_SOURCE: "to push {twin!r} under this name, say source={twin!r}",
    Advice.COPY_ON_SERVER: "copy {twin!r} to this name on the server first",
    Advice.RECREATE_MODEL: "pull or create the model again",
    Advice.REACH_ELSEWHERE: "the address that a registry names must be one that this machine reaches",
    Advice.TAKE_DOCKER_MANIFESTS: (
        "it takes manifests of OCI's kind alone, and Ollama's are of docker's; in zot's configuration,"
        ' "http": {{"compat": ["docker2s2"]}} has it take both'
    ),
    Advice.DROP_PATH: "leave the path {path} out of the server's address: what a push asks for is not below it",
    Advice.PUSH_DIRECTLY: "it does not push, so is it an Ollama server? RegistryClient pushes without one",
}

_STORE: Final[Mapping[StoreProblem, str]] = {
    StoreProblem.MANIFEST_UNREADABLE: "the manifest {0.path} of {0.model} cannot be read: {0.words}",
    StoreProblem.BLOB_MISSING: "blob {0.digest} is missing: there is no {0.path}",
    StoreProblem.BLOB_UNREADABLE: "blob {0.digest} cannot be read from {0.path}: {0.words}",
    StoreProblem.BLOB_SIZE: (
        "blob {0.digest} has {0.found_bytes} bytes in {0.path}, but {0.expected_bytes} in the manifest"
    ),
    StoreProblem.BLOB_DIGEST: "the file of {0.digest} in the model store does not hold what its name says",
    StoreProblem.BLOB_CHANGED: "the blob file {0.path} cannot be sent: {0.words}",
}
_PULL: Final[Mapping[PullProblem, str]] = {
    PullProblem.PLAIN_HTTP: "the registry speaks plain HTTP",
    PullProblem.TENSORS: "the model is made of tensors, which machines without MLX refuse",
    PullProblem.KEY: "the registry's tokens are for logins, or for Ollama keys that it knows (HTTP {0.status})",
    PullProblem.LOGIN: "the registry wants a user name and a password, which a pull cannot send",
    PullProblem.FOREIGN_REALM: "the registry's tokens come from another host, {0.host}, which a pull refuses",
    PullProblem.NO_REDIRECT: "the registry sends blobs itself, where a pull wants a redirect to another host name",
    PullProblem.REDIRECT_TO_ITSELF: "the registry redirects blobs to its own host name, where a pull wants another one",
    PullProblem.REDIRECT_STATUS: "the registry redirects blobs with HTTP {0.status}, where a pull wants 307",
    PullProblem.NO_RANGES: "the registry does not send ranges of {0.digest}",
    PullProblem.NO_SIZE: "the registry does not tell the size of {0.digest}",
    PullProblem.NOT_SERVED: "the registry responded HTTP {0.status}",
}
_MET_BY_ANY_PULL: Final = frozenset({PullProblem.PLAIN_HTTP, PullProblem.KEY})
"""Not worth to be said where something else stops a pull anyway."""
_PULL_ADVICE: Final[Mapping[PullAdvice, str]] = {
    PullAdvice.PULL_INSECURE: "the pull must allow plain HTTP (insecure)",
    PullAdvice.USE_MLX: "pull on a machine with MLX",
    PullAdvice.ADD_KEY: "make the key of the pulling machine known there, or pull through the gateway of ollama-push",
    PullAdvice.PULL_THROUGH_GATEWAY: "pull through the gateway of ollama-push",
}
_PLACES: Final[Mapping[PlaceProblem, str]] = {
    PlaceProblem.NO_MODEL: "the {0.side.value} {0.place} holds no such model",
    PlaceProblem.NO_BLOB: "the {0.side.value} {0.place} does not hold {0.digest}",
    PlaceProblem.ENDS_EARLY: "{0.digest} ends too early in the {0.side.value} {0.place}",
    PlaceProblem.TOO_LONG: "{0.digest} has too many bytes in the {0.side.value} {0.place}",
    PlaceProblem.OTHER_BYTES: "what the {0.side.value} {0.place} gives as {0.digest} are other bytes",
    PlaceProblem.INCOMPLETE: "the {0.side.value} {0.place} does not hold all blobs of the model",
    PlaceProblem.BROKEN: "the {0.side.value} {0.place} failed",
}


def shorten(value: object, limit: int = _SHOWN) -> str:
    """Return ``repr(value)``, cut to *limit* characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def printable(text: str) -> str:
    """Return *text* with control characters escaped: it stays on one line of a terminal and changes nothing there.

    Also escaped are the characters that turn the direction of text (Unicode UAX #9), and lone surrogates.
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def plain_words(text: str) -> str:
    """Return *text* without the names and places in a source file that OpenSSL puts around its words."""
    return _OPENSSL.sub("", text)


def joined(text: str, *more: str, by: str = "; ") -> str:
    """Return *text* and what there is of *more*."""
    return by.join([text, *filter(None, more)])


class Messages:
    """Renders facts for people who write Python."""

    def advise(self, advice: Advice | None, **facts: object) -> str:
        """Return how *advice* is followed; empty when there is none."""
        return "" if advice is None else _ADVICE[advice].format(**facts)

    def setting(self, name: str) -> str:
        """Return what the argument or variable *name* is called."""
        return name

    # --- the caller's mistakes

    def other(self, *facts: object) -> str:
        """Return the text of an error that is said the same way to everybody."""
        return " ".join(map(str, facts))

    def invalid_name(self, name: str, problem: str, advice: Advice | None) -> str:
        return joined(f"{shorten(name)}: {problem}", self.advise(advice))

    def invalid_setting(self, setting: str, value: object, problem: str, advice: Advice | None) -> str:
        return joined(f"{self.setting(setting)}={shorten(value)}: {plain_words(problem)}", self.advise(advice))

    def used_after_close(self, what: str) -> str:
        return f"this {what} is closed; build a new one"

    def transport_misbehaved(self, transport: str, raised: str) -> str:
        return f"{transport} raised {raised}; a transport may raise only TransportError kinds"

    # --- whether a stock pull gets the model

    def pullability(self, found: Pullability) -> str:
        """Return whether a stock ``ollama pull`` gets the model, why not, and what helps; on one line."""
        if found.is_pullable is False:
            stops = [each for each in found.obstacles if each.problem not in _MET_BY_ANY_PULL]
            advice = dict.fromkeys(each.advice for each in stops)
            return joined(
                f"no: {'; '.join(map(self.pull_obstacle, stops))}",
                *(self.pull_advice(each) for each in advice if each is not None),
            )
        verdict = "yes" if found.is_pullable else "not known yet"
        return joined(verdict, *(self._pull_condition(each) for each in found.conditions))

    def _pull_condition(self, obstacle: PullObstacle) -> str:
        return joined(self.pull_obstacle(obstacle), *map(self.pull_advice, filter(None, [obstacle.advice])), by=": ")

    def pull_obstacle(self, obstacle: PullObstacle) -> str:
        text = _PULL[obstacle.problem].format(obstacle)
        named = obstacle.problem is PullProblem.NOT_SERVED and obstacle.digest
        return f"{text} for {obstacle.digest}" if named else text

    def pull_advice(self, advice: PullAdvice) -> str:
        return _PULL_ADVICE[advice]

    # --- the network

    def connect_failed(self, address: str, cause: ConnectCause, detail: str, peer: Peer, advice: Advice | None) -> str:
        shown = address
        if peer is Peer.REGISTRY and cause in _NAMES_THE_REGISTRY:
            shown = f"the registry at {address}"
        elif peer is Peer.ELSEWHERE:
            shown = f"{address}, where the registry leads"
        text = joined(_CONNECT[cause].format(address=shown), self.advise(advice))
        # What OpenSSL makes of a response that is not TLS says less than the text does.
        words = "" if cause is ConnectCause.NOT_TLS else plain_words(detail)
        return f"{text} ({words})" if words else text

    def connection_lost(self, address: str, detail: str) -> str:
        text = f"the connection to {address} broke before the response was complete"
        return f"{text} ({plain_words(detail)})" if detail else text

    def transport_timeout(self, address: str, phase: str, seconds: float) -> str:
        if phase == "connect":
            return joined(f"no connection to {address} within {seconds:g} s", self.advise(Advice.CHECK_ROUTE))
        if phase == "response":
            return f"{address} did not complete its response within {seconds:g} s"
        return f"{address} was silent for {seconds:g} s ({phase})"

    # --- the protocol of POST /api/push

    def malformed_line(self, line: str, problem: str) -> str:
        return f"malformed line {shorten(line)}: {problem}"

    def line_too_long(self, limit: int, buffered: int) -> str:
        return f"{buffered} bytes without a newline; the limit is {limit}"

    def unexpected_content(self, status: int, content_type: str, excerpt: str) -> str:
        text = f"HTTP {status} with {content_type or 'no content type'}; is this an Ollama server, or a proxy?"
        return f"{text} It says: {shorten(excerpt, 200)}" if excerpt else text

    def stream_truncated(self, last_status: str) -> str:
        seen = f"after {shorten(last_status)}" if last_status else "before any status"
        return f"the response ended {seen} with neither success nor error; the push may not have happened"

    # --- verdicts

    def stalled(self, seconds: float) -> str:
        return f"no bytes moved for {seconds:g} s although the server keeps responding"

    def interrupted(self, kept_bytes: int, total_bytes: int, lost_bytes: int) -> str:
        if not total_bytes:
            return "interrupted; push again to resume"
        kept = f"{bytes_text(kept_bytes)} of {bytes_text(total_bytes)}"
        if lost_bytes:
            why = f"{bytes_text(lost_bytes)} more have arrived, but this registry cannot tell how far an upload is"
            return f"interrupted; the registry has {kept}, push again to send the rest ({why})"
        return f"interrupted; the registry has {kept}, push again to resume"

    def server_error(
        self,
        status: int,
        words: str,
        request: RefusedRequest | None,
        *,
        location: str,
        signin_url: str | None,
        advice: Advice | None,
        path: str = "",
        asked: tuple[float, float] | None = None,
    ) -> str:
        peer = Peer.SERVER if request is None else Peer.REGISTRY
        said = self.server_words(words, request, location, advice, path)
        text = joined(f"the {peer.value} responded HTTP {status}", said, by=": ")
        if asked is not None:
            wait, longest = asked
            text += f"; it asks to wait {wait:.0f} s, and {self.setting('retry_after_cap')} is {longest:g} s"
        return f"{text} ({self.advise(Advice.SIGN_IN, url=signin_url)})" if signin_url else text

    def server_words(
        self, words: str, request: RefusedRequest | None, location: str, advice: Advice | None, path: str = ""
    ) -> str:
        """Return what is said behind the status of a ``ServerError``."""
        if advice in (Advice.DROP_PATH, Advice.PUSH_DIRECTLY):
            return "; ".join(filter(None, [words, self.advise(advice, path=path)]))
        if request is not None:
            return joined(self.operation(request), self.said(words, request), by=": ")
        if words or advice is Advice.SIGN_IN:
            return words
        return joined(f"redirected to {location}", self.advise(advice)) if location else self.advise(advice)

    def rejected(self, words: str, facts: RefusalFacts | None, *, by_peer: bool) -> str:
        text = self.refusal(words, facts)
        return f"the push was refused: {text or '(the server gave no text)'}" if by_peer else text

    def refusal(self, words: str, facts: RefusalFacts | None) -> str:
        """Return a refusal without what introduces it."""
        match facts:
            case None:
                return words
            case RefusedRequest():
                return joined(f"{self.operation(facts)}: HTTP {facts.status}", self.said(words, facts), by=": ")
            case UnusableResponse():
                return self._unusable(facts)
            case LoginRefused():
                text = self.login_refused(facts)
                return f"{text} ({words})" if words else text
            case RealmRefused():
                return self.realm_refused(facts)
            case ModelMissing():
                return self.model_missing(facts)
            case StoreDamaged():
                return joined(self.store_damaged(facts), self.advise(facts.advice))
            case PlaceFailed():
                return joined(_PLACES[facts.problem].format(facts), facts.words, by=": ")
        return self.forbidden_address(facts)

    def operation(self, facts: RefusedRequest | UnusableResponse) -> str:
        return _OPERATIONS[facts.operation].format(subject=facts.subject)

    def login_refused(self, facts: LoginRefused) -> str:
        advice = self.advise(facts.advice, host=facts.host, plain_http=facts.plain_http, key=facts.public_key)
        match facts.shown:
            case CredentialKind.NOTHING:
                return f"{facts.host} wants a login: {advice}"
            case CredentialKind.LOGIN if facts.is_known:
                return f"{facts.host} knows {facts.username!r}, who has no right to this in {facts.repository}"
            case CredentialKind.TOKEN if facts.is_known:
                return f"{facts.host} knows the stored token, which gives no right to this in {facts.repository}"
            case CredentialKind.LOGIN:
                text = f"{facts.host} does not accept the login of {facts.username!r}"
                return f"{text} for {facts.repository}" if facts.repository else text
            case CredentialKind.TOKEN:
                return f"{facts.host} does not accept the stored token; {advice}"
        return f"{facts.host} does not let this key push to {facts.repository}; {advice}"

    def realm_refused(self, facts: RealmRefused) -> str:
        if facts.problem is RealmProblem.NOT_HTTPS:
            return f"the registry sends logins to {facts.realm!r}, which is no https:// URL: nothing was sent there"
        return self.realm_mismatch(facts)

    def realm_mismatch(self, facts: RealmRefused) -> str:
        """Return what Ollama says of any realm that it refuses (ollama ``auth/auth.go``)."""
        return f'realm host "{facts.realm_host}" does not match original host "{facts.host}"'

    def model_missing(self, facts: ModelMissing) -> str:
        advice = self.advise(facts.advice, model=facts.model, twin=facts.twin)
        nearest = list(map(repr, facts.nearest))
        if facts.store is None:
            text = joined(
                f"the server has no model {facts.model!r}", f"the nearest are {', '.join(nearest)}" if nearest else ""
            )
            text = f"{text} ({advice})" if advice else text
            return joined(text, self.models_there(facts))
        text = f"there is no model {facts.model!r} in the store {facts.store}"
        if facts.is_empty:
            return f"{text}, which holds no models"
        near = f"the nearest is {' or '.join(nearest)}" if nearest else ""
        return joined(text, advice or near, self.models_there(facts))

    def models_there(self, facts: ModelMissing) -> str:
        """Return which models are there where none is like the one that is missing."""
        if not facts.others:
            return ""
        names = ", ".join(map(repr, facts.others))
        rest = facts.count - len(facts.others)
        return f"it has {names}{f' and {rest} more' if rest > 0 else ''}"

    def store_damaged(self, facts: StoreDamaged) -> str:
        return _STORE[facts.problem].format(facts)

    def forbidden_address(self, facts: ForbiddenAddress) -> str:
        return f"the registry leads to {facts.host}, which is {self.address(facts.problem)}: nothing was sent there"

    def address(self, problem: AddressProblem) -> str:
        return _ADDRESSES[problem]

    def verification_failed(
        self, digest: str, problem: VerificationProblem, found: str | int | None, expected: str | int | None, words: str
    ) -> str:
        texts = {
            VerificationProblem.NO_MANIFEST: f"the registry has no manifest for {expected}",
            VerificationProblem.OTHER_MANIFEST: f"the registry holds the manifest {found} under that name",
            VerificationProblem.NOT_A_MANIFEST: f"what the registry holds as {expected} is no image manifest: {words}",
            VerificationProblem.NO_BLOB: "the registry does not hold it",
            VerificationProblem.UNREADABLE: "the registry says that it has it, and fails whenever it is to send it",
            VerificationProblem.OTHER_SIZE: f"the registry holds {found} bytes of it instead of {expected}",
            VerificationProblem.OTHER_BLOB: f"the registry holds {found} in its place",
            VerificationProblem.PUBLIC: f"anybody can read {expected} without a login, although it is to be private",
        }
        return f"verification failed for {digest}: {texts[problem]}"

    def said(self, words: str, request: RefusedRequest) -> str:
        """Return the peer's *words*, or what its silence means."""
        if request.advice is Advice.TAKE_DOCKER_MANIFESTS:
            return joined(words, self.advise(request.advice)) if words else self.advise(request.advice)
        if words:
            return words
        if request.status in _STATUS:
            return _STATUS[request.status]
        return joined(f"redirected to {request.location}", self.advise(request.advice)) if request.location else ""

    def _unusable(self, facts: UnusableResponse) -> str:
        match facts.problem:
            case ResponseProblem.NO_LOCATION:
                return f"{self.operation(facts)}: the registry responded without a Location"
            case ResponseProblem.NO_TOKEN:
                return f"{facts.subject} responded without a token"
        return f"the registry counts {facts.counted_bytes} bytes of {facts.sent_bytes} sent"


PYTHON: Final = Messages()
"""The words of ``str(error)``."""
