"""What a server's error text means: one table, each row with the versions that send it.

The server has no machine-readable code: an error line is ``{"error": "<text>"}`` only. A text no row
knows stays ``UNKNOWN``; rows are tried from top to bottom and the first match wins.

Source: ollama at fb3076099 and its 245 final tags; the recordings of 0.32.15 in ``tests/data``.
"""

from __future__ import annotations

import enum
import re
from typing import Final

__all__ = ["REASONS", "RejectionReason", "reason_for"]


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
    """The registry answered 404 for the repository."""
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
    """The registry answered with a server error, or the upload broke too often."""
    REGISTRY_FULL = "registry-full"
    """The registry has no room left."""
    REGISTRY_REFUSED = "registry-refused"
    """The registry answered with another 4xx."""
    CANCELLED = "cancelled"
    """The upload was cancelled on the server, by another client's hang-up for example."""
    UNKNOWN = "unknown"
    """No row of the table knows the text."""

    @property
    def is_transient(self) -> bool:
        """Whether the same push may succeed when tried again."""
        return self in _TRANSIENT


_TRANSIENT: Final = frozenset(
    {RejectionReason.CANCELLED, RejectionReason.REGISTRY_FAILED, RejectionReason.REGISTRY_UNREACHABLE}
)

_R = RejectionReason

REASONS: Final[tuple[tuple[re.Pattern[str], RejectionReason, str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, source)
    for pattern, reason, source in (
        # --- identity
        (r"^unauthorized\b", _R.UNAUTHORIZED, "v0.1.10+; 'unauthorized: access denied' since v0.1.33"),
        (r"\baccess denied\b", _R.UNAUTHORIZED, "v0.1.33+, images.go errUnauthorized"),
        (r"^unable to push .*make sure this namespace exists", _R.UNAUTHORIZED, "v0.1.10-v0.1.32"),
        (r"^(?:status )?40[13]\b", _R.UNAUTHORIZED, "v0.1.8+, images.go '<code>: <body>'; token endpoint v0.1.24+"),
        (r"registry responded with code 40[13]\b", _R.UNAUTHORIZED, "v0.0.6-v0.1.23"),
        (r"\"code\": ?\"(?:UNAUTHORIZED|DENIED)\"", _R.UNAUTHORIZED, "distribution error codes"),
        (r"^open .*id_ed25519: ", _R.UNAUTHORIZED, "v0.0.14+, after a 401"),
        (r"^realm host .* does not match original host", _R.REALM_MISMATCH, "v0.14.3+, auth.go"),
        (r"\?nonce=.*unsupported protocol scheme", _R.REALM_MISMATCH, "v0.0.14-v0.14.2, a Basic challenge"),
        # --- the model and its name
        (
            r"[/\\]manifests[/\\].*: (?:no such file|the system cannot find)",
            _R.MODEL_NOT_FOUND,
            "open v0.3.7+, stat v0.0.12-v0.3.6",
        ),
        (r"^couldn't (?:open file|find model) '", _R.MODEL_NOT_FOUND, "v0.0.6-v0.0.11"),
        (r"^unqualified name: ", _R.INVALID_NAME, "v0.15.0+, manifest.go"),
        (r"^invalid model (?:path|name)\b", _R.INVALID_NAME, "v0.3.9-v0.5.1"),
        (r"^(?:model|name) is required$", _R.INVALID_NAME, "v0.1.4+"),
        (r"^insecure protocol http$", _R.INVALID_NAME, "v0.0.16+, reachable up to v0.5.1"),
        (
            r"[/\\]blobs[/\\]sha256[-:][0-9a-f]+: (?:no such file|the system cannot find)",
            _R.STORE_DAMAGED,
            "upload.go, transfer/upload.go",
        ),
        (r"^invalid digest format$", _R.STORE_DAMAGED, "v0.1.34+, paths.go"),
        (r"ensure path elements are traversable", _R.STORE_DAMAGED, "v0.8.0+, paths.go"),
        (r"^the manifest .* cannot be read\b", _R.STORE_DAMAGED, "this package's own gateway"),
        (r"^unexpected end of json input$", _R.STORE_DAMAGED, "corrupt manifest, manifest.go"),
        # --- the registry's own no
        (r"MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN", _R.BLOB_UNKNOWN, "distribution error codes"),
        (r"DIGEST_INVALID", _R.DIGEST_INVALID, "distribution error codes; upload.go commit"),
        (
            r"^file does not exist(?: \(|$)",
            _R.REPOSITORY_NOT_FOUND,
            "v0.1.8+, images.go: any registry 404 on POST or PUT; in parentheses what this package's own gateway knows",
        ),
        (
            r"^(?:max retries exceeded: )*(?:http status |init upload: status |commit: status |status )?413\b",
            _R.TOO_LARGE,
            "a proxy's body limit",
        ),
        # --- reaching the registry
        (
            r"tls: first record does not look like|server gave HTTP response to HTTPS client",
            _R.REGISTRY_NOT_TLS,
            "Go net/http, crypto/tls",
        ),
        (r"x509: |failed to verify certificate", _R.CERTIFICATE, "Go crypto/x509"),
        (
            r"dial tcp .*|no such host|connection refused|i/o timeout|network is unreachable",
            _R.REGISTRY_UNREACHABLE,
            "Go net",
        ),
        (r"^(?:status )?507\b", _R.REGISTRY_FULL, "RFC 4918, 11.5; this package's own gateway"),
        # --- uploads that broke
        (r"^context canceled$|: context canceled$", _R.CANCELLED, "v0.1.8+, upload.go"),
        (r"^max retr(?:ies|y) exceeded", _R.REGISTRY_FAILED, "v0.0.15+, upload.go; x/transfer"),
        (
            r"^(?:status )?5\d\d(?:: |$)",
            _R.REGISTRY_FAILED,
            "v0.1.8+, images.go '<code>: <body>'; x/transfer 'status <c>'",
        ),
        (r"registry responded with code 5\d\d", _R.REGISTRY_FAILED, "v0.0.6-v0.1.7"),
        (r"connection reset by peer|broken pipe|: (?:unexpected )?EOF$|^EOF$", _R.REGISTRY_FAILED, "Go net"),
        (
            r"^(?:status )?4\d\d(?:: |$)",
            _R.REGISTRY_REFUSED,
            "v0.1.8+, images.go '<code>: <body>'; x/transfer 'status <c>'",
        ),
        (r"^refused by the registry\b", _R.REGISTRY_REFUSED, "this package's own gateway, where no status says it"),
        (r"registry responded with code 4\d\d", _R.REGISTRY_REFUSED, "v0.0.6-v0.1.7"),
    )
)


def reason_for(text: str) -> RejectionReason:
    """Return what *text* means; ``UNKNOWN`` when no row of the table knows it."""
    for pattern, reason, _source in REASONS:
        if pattern.search(text):
            return reason
    return RejectionReason.UNKNOWN
