"""The facts that errors carry: who, what was asked, why, what to do. No text for people is made here.

``core.messages`` renders them for Python; the command and the gateway have renderers of their own.
"""

from __future__ import annotations

import enum
from typing import Final, Self

import attrs

from ollama_push.core.hosts import AddressProblem
from ollama_push.core.peer_text import clean

__all__ = [
    "Advice",
    "ConnectCause",
    "CredentialKind",
    "ForbiddenAddress",
    "LoginRefused",
    "ModelMissing",
    "Operation",
    "Peer",
    "PlaceFailed",
    "PlaceProblem",
    "RealmProblem",
    "RealmRefused",
    "RefusalFacts",
    "RefusedRequest",
    "RejectionReason",
    "ResponseProblem",
    "Side",
    "StoreDamaged",
    "StoreProblem",
    "UnusableResponse",
    "VerificationProblem",
]


class Peer(enum.Enum):
    """The program at the other end of a connection."""

    SERVER = "server"
    """An Ollama server."""
    REGISTRY = "registry"
    ELSEWHERE = "elsewhere"
    """Where a registry leads: to the place of an upload, or to the realm of its tokens."""


class ConnectCause(enum.Enum):
    """Why a peer could not be reached, as far as the adapter can tell."""

    REFUSED = "refused"
    UNKNOWN_HOST = "unknown-host"
    UNREACHABLE = "unreachable"
    UNTRUSTED_CERTIFICATE = "untrusted-certificate"
    EXPIRED_CERTIFICATE = "expired-certificate"
    CERTIFICATE_OF_ANOTHER_HOST = "certificate-of-another-host"
    CLIENT_CERTIFICATE = "client-certificate"
    NOT_TLS = "not-tls"
    WANTS_TLS = "wants-tls"
    """It speaks TLS only, and was spoken to in plain HTTP."""
    TLS = "tls"
    PROXY = "proxy"
    OTHER = "other"


class Operation(enum.Enum):
    """What a request asked for."""

    PUSH = "push"
    """``POST /api/push`` of an Ollama server, or another question to it."""
    LOG_IN = "log-in"
    FETCH_TOKEN = "fetch-token"  # noqa: S105 - the operation's name
    FIND_MANIFEST = "find-manifest"
    FIND_BLOB = "find-blob"
    OPEN_UPLOAD = "open-upload"
    UPLOAD_STATUS = "upload-status"
    SEND_PART = "send-part"
    SEND_BLOB = "send-blob"
    COMMIT_BLOB = "commit-blob"
    PUSH_MANIFEST = "push-manifest"
    READ_MANIFEST = "read-manifest"
    READ_BLOB = "read-blob"
    LIST_TAGS = "list-tags"
    LIST_REFERRERS = "list-referrers"


class Advice(enum.Enum):
    """What may help. How it is done differs: in Python, on the command line, for a client of the gateway."""

    START_SERVER = "start-server"
    START_REGISTRY = "start-registry"
    CHECK_SERVER_ADDRESS = "check-server-address"
    CHECK_NAME = "check-name"
    CHECK_NETWORK = "check-network"
    CHECK_ROUTE = "check-route"
    """A host does not answer at all."""
    CHECK_PROXY = "check-proxy"
    TRUST_CA = "trust-ca"
    RENEW_CERTIFICATE = "renew-certificate"
    USE_NAME_IN_CERTIFICATE = "use-name-in-certificate"
    SHOW_CERTIFICATE = "show-certificate"
    USE_HTTP_ADDRESS = "use-http-address"
    """The address of a server says https:// where the server speaks plain HTTP."""
    DROP_PLAIN_HTTP = "drop-plain-http"
    """Plain HTTP was asked for where TLS is spoken."""
    ASK_PLAIN_HTTP = "ask-plain-http"
    """Plain HTTP to a registry must be asked for."""
    TRY_PLAIN_HTTP = "try-plain-http"
    PASS_HEADERS = "pass-headers"  # noqa: S105 - the advice's name
    """Credentials for a server belong in a header."""
    ALLOW_HOST = "allow-host"
    """A server refuses the ``Host`` or ``Origin`` of the request."""
    FINAL_ADDRESS = "final-address"
    """A push is not redirected."""
    SIGN_IN = "sign-in"
    LOG_IN = "log-in"
    LOG_IN_AGAIN = "log-in-again"
    ADD_KEY = "add-key"
    CHOOSE_SOURCE = "choose-source"
    """Another local model can be pushed under this name."""
    COPY_ON_SERVER = "copy-on-server"
    """The server has the model under another name."""
    RECREATE_MODEL = "recreate-model"
    REACH_ELSEWHERE = "reach-elsewhere"
    """The registry leads to an address that this machine cannot reach."""
    TAKE_DOCKER_MANIFESTS = "take-docker-manifests"
    """The registry must be told to take manifests of docker's kind, as Ollama writes them."""
    DROP_PATH = "drop-path"
    """The address of a server has a path that Ollama's own API is not below."""
    PUSH_DIRECTLY = "push-directly"
    """The server does not push; a push straight to the registry needs none."""


class RejectionReason(enum.Enum):
    """Why a push was refused."""

    UNAUTHORIZED = "unauthorized"
    """The registry does not let this identity push there."""
    REALM_MISMATCH = "realm-mismatch"
    """The registry's token realm is on another host, or it wants Basic; the server refuses both."""
    MODEL_NOT_FOUND = "model-not-found"
    """The server has no such model."""
    INVALID_NAME = "invalid-name"
    """The server cannot read the name."""
    STORE_DAMAGED = "store-damaged"
    """The server's own model store lacks a blob or holds a broken manifest."""
    REPOSITORY_NOT_FOUND = "repository-not-found"
    """The registry responded 404 for the repository."""
    BLOB_UNKNOWN = "blob-unknown"
    """The registry refused the manifest because a blob is not there."""
    DIGEST_INVALID = "digest-invalid"
    """The registry computed another digest than the one announced."""
    TOO_LARGE = "too-large"
    """A body was larger than the registry, or a proxy before it, takes."""
    REGISTRY_UNREACHABLE = "registry-unreachable"
    """The server could not connect to the registry."""
    REGISTRY_NOT_TLS = "registry-not-tls"
    """The registry speaks plain HTTP; ``insecure=True`` selects it."""
    CERTIFICATE = "certificate"
    """The server does not trust the registry's certificate."""
    REGISTRY_FAILED = "registry-failed"
    """The registry responded with a server error, or the upload broke too often."""
    REGISTRY_FULL = "registry-full"
    """The registry has no room left."""
    REGISTRY_REFUSED = "registry-refused"
    """The registry responded with another 4xx."""
    CANCELLED = "cancelled"
    """The upload was cancelled on the server, because another client closed its connection for example."""
    SOURCE_FAILED = "source-failed"
    """A model cannot be read from where it is to come from."""
    TARGET_FAILED = "target-failed"
    """A model cannot be written to where it is to go."""
    UNKNOWN = "unknown"
    """No row of the table knows the text."""

    @classmethod
    def of_status(cls, status: int) -> Self:
        """Return the reason of a registry's *status* of 300 or above, where nothing else is known."""
        return cls(_STATUS_REASONS.get(status) or ("registry-failed" if status >= 500 else "registry-refused"))  # noqa: PLR2004 - RFC 9110, 15.6

    @property
    def is_transient(self) -> bool:
        """Whether the same push may succeed when tried again."""
        return self in _TRANSIENT


# 507 is RFC 4918, 11.5, and what some object stores respond when a disk is full.
_STATUS_REASONS: Final = {401: "unauthorized", 403: "unauthorized", 413: "too-large", 507: "registry-full"}

_TRANSIENT: Final = frozenset(
    {RejectionReason.CANCELLED, RejectionReason.REGISTRY_FAILED, RejectionReason.REGISTRY_UNREACHABLE}
)


@attrs.frozen
class RefusedRequest:
    """A registry refused one request.

    Attributes:
        operation: What was asked for.
        status: The HTTP status of the response.
        codes: The registry's error codes, upper case (distribution-spec v1.1.1, "Error Codes").
        subject: The digest or the URL that the operation is about, where it needs one; of a manifest its media type.
        location: Where the response redirects to; empty when it does not.
    """

    operation: Operation
    status: int
    codes: tuple[str, ...] = ()
    subject: str = attrs.field(default="", converter=clean)
    location: str = attrs.field(default="", converter=clean)

    @property
    def advice(self) -> Advice | None:
        if self.operation is Operation.PUSH_MANIFEST and self.status == 415 and "vnd.docker." in self.subject:  # noqa: PLR2004 - Unsupported Media Type
            return Advice.TAKE_DOCKER_MANIFESTS
        return Advice.FINAL_ADDRESS if self.location else None


class ResponseProblem(enum.Enum):
    """Why a response that is no refusal cannot be used."""

    NO_LOCATION = "no-location"
    NO_TOKEN = "no-token"  # noqa: S105 - the problem's name
    WRONG_COUNT = "wrong-count"


@attrs.frozen
class UnusableResponse:
    """A registry's response is no refusal, and still lacks what it must say.

    Attributes:
        operation: What was asked for.
        problem: What is wrong with the response.
        subject: As in :class:`RefusedRequest`.
        counted_bytes: Bytes of the blob that the registry counts (``WRONG_COUNT``).
        sent_bytes: Bytes of the blob that were sent (``WRONG_COUNT``).
    """

    operation: Operation
    problem: ResponseProblem
    subject: str = attrs.field(default="", converter=clean)
    counted_bytes: int = 0
    sent_bytes: int = 0
    advice: None = attrs.field(default=None, init=False)


class CredentialKind(enum.Enum):
    """What was shown to a registry."""

    NOTHING = "nothing"
    LOGIN = "login"
    TOKEN = "token"  # noqa: S105 - the kind's name
    KEY = "key"


@attrs.frozen
class LoginRefused:
    """A registry wants a credential and there is none, or it does not accept the one there is.

    Attributes:
        host: The registry, as in names.
        shown: What was shown.
        repository: The repository it was shown for; empty for the registry as such.
        username: Of a login.
        public_key: Of a key, as base64.
        plain_http: Whether plain HTTP was asked for.
        is_known: Whether the realm of the registry's tokens knows what was shown: it lacks the right, then.
    """

    host: str
    shown: CredentialKind
    repository: str = ""
    username: str = ""
    public_key: str = ""
    plain_http: bool = False
    is_known: bool = False

    @property
    def advice(self) -> Advice | None:
        if self.is_known and self.shown is not CredentialKind.KEY:
            return None
        return _CREDENTIAL_ADVICE.get(self.shown)


_CREDENTIAL_ADVICE: Final = {
    CredentialKind.NOTHING: Advice.LOG_IN,
    CredentialKind.TOKEN: Advice.LOG_IN_AGAIN,
    CredentialKind.KEY: Advice.ADD_KEY,
}


class RealmProblem(enum.Enum):
    """Why no credential was sent to a realm."""

    NOT_HTTPS = "not-https"
    OTHER_HOST = "other-host"


@attrs.frozen
class RealmRefused:
    """The registry sends logins to a realm that must not have them; nothing was sent there.

    Attributes:
        realm: The realm's URL, as the registry's challenge has it.
        realm_host: Host and port of the realm; empty when it is no URL.
        host: Host and port of the registry.
        problem: What is wrong with the realm.
    """

    realm: str = attrs.field(converter=clean)
    realm_host: str = attrs.field(converter=clean)
    host: str
    problem: RealmProblem
    advice: None = attrs.field(default=None, init=False)


@attrs.frozen
class ModelMissing:
    """The model to push is not where it is to be read from.

    Attributes:
        model: Its name.
        store: Folder of the local store; ``None`` when an Ollama server was asked.
        is_empty: Whether the store holds no model at all.
        twin: A model that is there and could be pushed under that name; empty when there is none.
        nearest: Names that are like it.
        others: Some names that are there, where none is like it.
        count: How many models are there; 0 also where nobody counted.
    """

    model: str
    store: str | None
    is_empty: bool = False
    twin: str = ""
    nearest: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    count: int = 0

    @property
    def advice(self) -> Advice | None:
        if not self.twin:
            return None
        return Advice.COPY_ON_SERVER if self.store is None else Advice.CHOOSE_SOURCE


class StoreProblem(enum.Enum):
    """What is wrong in the local model store."""

    MANIFEST_UNREADABLE = "manifest-unreadable"
    BLOB_MISSING = "blob-missing"
    BLOB_UNREADABLE = "blob-unreadable"
    BLOB_SIZE = "blob-size"
    BLOB_DIGEST = "blob-digest"
    BLOB_CHANGED = "blob-changed"
    """The file could not be read to its end, or is another than when the push began."""


@attrs.frozen
class StoreDamaged:
    """The local model store holds the model, but not as it should.

    Attributes:
        problem: What is wrong.
        path: The file that is wrong; empty when only the digest is known.
        digest: The blob; empty for a manifest.
        model: Name of the model; empty for a blob.
        words: What the system or the parser said; may be empty.
        found_bytes: Size of the file (``BLOB_SIZE``).
        expected_bytes: Size in the manifest (``BLOB_SIZE``).
        advice: What may help.
    """

    problem: StoreProblem
    path: str = ""
    digest: str = ""
    model: str = ""
    words: str = ""
    found_bytes: int = 0
    expected_bytes: int = 0
    advice: Advice | None = None


@attrs.frozen
class ForbiddenAddress:
    """A rule of this side forbids to reach an address that the name or the registry leads to.

    Attributes:
        host: The host, without a port.
        problem: What is wrong with it.
    """

    host: str = attrs.field(converter=clean)
    problem: AddressProblem
    advice: None = attrs.field(default=None, init=False)


class Side(enum.Enum):
    """One of the two places of a copy."""

    SOURCE = "source"
    TARGET = "target"


class PlaceProblem(enum.Enum):
    """What is wrong with a source or a target of models."""

    NO_MODEL = "no-model"
    NO_BLOB = "no-blob"
    ENDS_EARLY = "ends-early"
    """A blob has fewer bytes than its manifest says."""
    TOO_LONG = "too-long"
    """A blob has more bytes than were asked for."""
    OTHER_BYTES = "other-bytes"
    """The bytes of a blob have another digest."""
    INCOMPLETE = "incomplete"
    """A manifest was put before its blobs."""
    BROKEN = "broken"
    """Anything else; the words say what."""


@attrs.frozen
class PlaceFailed:
    """A source cannot give a model, or a target cannot take it.

    Attributes:
        side: Which of the two.
        place: As it is written, such as ``"oci:models"``.
        problem: What is wrong.
        digest: The blob; empty when it is not about one.
        words: What the system or a parser said; may be empty.
    """

    side: Side
    place: str = attrs.field(converter=clean)
    problem: PlaceProblem
    digest: str = attrs.field(default="", converter=clean)
    words: str = attrs.field(default="", converter=clean)
    advice: None = attrs.field(default=None, init=False)


RefusalFacts = (
    RefusedRequest
    | UnusableResponse
    | LoginRefused
    | RealmRefused
    | ModelMissing
    | StoreDamaged
    | ForbiddenAddress
    | PlaceFailed
)
"""What is known of a refusal beyond its reason and the peer's words."""


class VerificationProblem(enum.Enum):
    """What a registry holds instead of what was sent."""

    NO_MANIFEST = "no-manifest"
    OTHER_MANIFEST = "other-manifest"
    NOT_A_MANIFEST = "not-a-manifest"
    NO_BLOB = "no-blob"
    UNREADABLE = "unreadable"
    """It says that it has the blob, and fails whenever it is to send it."""
    OTHER_SIZE = "other-size"
    OTHER_BLOB = "other-blob"
    PUBLIC = "public"
    """Anybody can read a model that is to be private."""
