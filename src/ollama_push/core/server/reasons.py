"""What a server's error text means: one table, each row with the versions that send it.

The server has no machine-readable code: an error line is ``{"error": "<text>"}`` only. A text no row
knows stays ``UNKNOWN``; rows are tried from top to bottom and the first match wins. A row without a reason of its
own takes the one of the status that it finds. Atomic groups, ``(?>...)``, keep a row linear where it looks for one text
and then for another behind it.

Source: ollama at fb3076099 and its 245 final tags; the recordings of 0.32.15 in ``tests/data``.
"""

from __future__ import annotations

import re
from typing import Final

from ollama_push.core.facts import RejectionReason
from ollama_push.core.peer_text import INSPECTED_CHARACTERS

__all__ = ["REASONS", "reason_for"]


_R = RejectionReason

REASONS: Final[tuple[tuple[re.Pattern[str], RejectionReason | None, str], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, source)
    for pattern, reason, source in (
        # --- no room in the registry, whatever the status that the server quotes it with
        (
            r"no space left on device|disk quota exceeded|\"Err\": ?(?:28|122)\b",
            _R.REGISTRY_FULL,
            "distribution 2.8 and 3, a filesystem's error; errno.h of Linux",
        ),
        # --- identity
        (r"^unauthorized\b", _R.UNAUTHORIZED, "v0.1.10+; 'unauthorized: access denied' since v0.1.33"),
        (r"\"code\": ?\"(?:UNAUTHORIZED|DENIED)\"", _R.UNAUTHORIZED, "distribution error codes"),
        # --- the registry's own codes and statuses, quoted by the server; what stands behind a status is not read
        (r"MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN", _R.BLOB_UNKNOWN, "distribution error codes"),
        (r"DIGEST_INVALID", _R.DIGEST_INVALID, "distribution error codes; upload.go commit"),
        (
            r"^(?:status )?(?P<status>[345]\d\d)\b",
            None,
            "v0.1.8+, images.go '<code>: <body>'; x/transfer 'status <c>'; token endpoint v0.1.24+",
        ),
        (r"registry responded with code (?P<status>\d{3})\b", None, "v0.0.6-v0.1.23"),
        (r"\baccess denied\b", _R.UNAUTHORIZED, "v0.1.33+, images.go errUnauthorized"),
        (r"^unable to push .*make sure this namespace exists", _R.UNAUTHORIZED, "v0.1.10-v0.1.32"),
        (r"^open .*id_ed25519: ", _R.UNAUTHORIZED, "v0.0.14+, after a 401"),
        (r"^realm host .* does not match original host", _R.REALM_MISMATCH, "v0.14.3+, auth.go"),
        (r"^(?>.*?\?nonce=).*unsupported protocol scheme", _R.REALM_MISMATCH, "v0.0.14-v0.14.2, a Basic challenge"),
        # --- the model and its name
        (
            r"^(?>.*?[/\\]manifests[/\\]).*: (?:no such file|the system cannot find)",
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
        (r"^unexpected end of json input\b", _R.STORE_DAMAGED, "corrupt manifest, manifest.go"),
        # --- the registry's refusal, in the server's words
        (r"^file does not exist\b", _R.REPOSITORY_NOT_FOUND, "v0.1.8+, images.go: any registry 404 on POST or PUT"),
        (
            r"^(?:max retries exceeded: )*(?:http status |init upload: status |commit: status )413\b",
            _R.TOO_LARGE,
            "a proxy's body limit",
        ),
        (
            r"^(?:max retries exceeded: )*(?:http status |init upload: status |commit: status )507\b",
            _R.REGISTRY_FULL,
            "a registry without room, seen with v0.32.15",
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
        # --- uploads that broke
        (r"^context canceled$|: context canceled$", _R.CANCELLED, "v0.1.8+, upload.go"),
        (r"^max retr(?:ies|y) exceeded", _R.REGISTRY_FAILED, "v0.0.15+, upload.go; x/transfer"),
        (r"connection reset by peer|broken pipe|: (?:unexpected )?EOF$|^EOF$", _R.REGISTRY_FAILED, "Go net"),
    )
)


def reason_for(text: str) -> RejectionReason:
    """Return what *text* means; ``UNKNOWN`` when no row of the table knows it.

    Of a long text the beginning and the end are read: what stands between them is a page that the server quotes.
    """
    if len(text) > INSPECTED_CHARACTERS:
        text = f"{text[: INSPECTED_CHARACTERS // 2]}\n{text[-INSPECTED_CHARACTERS // 2 :]}"
    for pattern, reason, _source in REASONS:
        if found := pattern.search(text):
            return RejectionReason.of_status(int(found["status"])) if reason is None else reason
    return RejectionReason.UNKNOWN
