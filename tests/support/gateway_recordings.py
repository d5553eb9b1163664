"""How each recorded situation is made with an embedded registry, and in what our answer differs from the recorded one.

The table of differences is data, so that it can be listed elsewhere: each entry says what a real server answers,
what we answer, and why that is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import attrs
from tests.support.blobs import MIB
from tests.support.gateway_requests import BIG

from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Reply, Reset, Stall, TokenAuth

USERS: Final = {"alice": "open-sesame"}
LOGIN: Final = {"username": "alice", "password": "open-sesame"}
_OTHERS: Final = (b"t" * 21, b"l" * 1200, b"p" * 20)
# As large as the recorded ones, but for the first, which has to be more than sockets hold.
LAYERS: Final = (BIG, *_OTHERS)
TENSORS: Final = (b"w" * 200_000, *_OTHERS)
_UPLOADS: Final = "/blobs/uploads/"
# As the recorded ones, the first layer takes longer than a tick: its first counter is told before it is full.
_TAKES_A_WHILE: Final = Fault("PUT", _UPLOADS, times=None, after_bytes=MIB, action=Stall(0.15))
_DENIED: Final = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
_UNKNOWN_BLOB: Final = (
    b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry",'
    b'"detail":{"digest":"sha256:00"}}]}'
)
_WRONG_DIGEST: Final = (
    b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
)


def _reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **headers}, body)


def _always(method: str, path: str, reply: Reply) -> Fault:
    return Fault(method, path, times=None, action=reply)


@attrs.frozen
class RecordingSetup:
    """One recording and what makes its situation.

    Attributes:
        recording: Its file's name.
        faults: What goes wrong at the registry.
        auth: Name of what the registry asks for, see ``auth_of``; empty for nothing.
        more: Put into the order besides what was recorded.
        tensors: Whether the model is made of tensors.
        listens: Whether there is a registry.
    """

    recording: str
    faults: Sequence[Fault] = ()
    auth: str = ""
    more: Mapping[str, Any] = attrs.field(factory=dict)
    tensors: bool = False
    listens: bool = True

    def registry(self, folder: Path) -> AbstractContextManager[EmbeddedRegistry | None]:
        if not self.listens:
            return nullcontext()
        faults = (*self.faults, _TAKES_A_WHILE)
        return EmbeddedRegistry(folder, listen=("127.0.0.1", 0), auth=auth_of(self.auth), faults=faults)


def auth_of(name: str) -> BasicAuth | TokenAuth | None:
    may_push = {"alice": {"team/demo": {"pull", "push"}}}
    match name:
        case "basic":
            return BasicAuth(USERS)
        case "tokens":
            return TokenAuth(USERS, may_push, same_origin=True)
        case "tokens-elsewhere":
            return TokenAuth(USERS, may_push)
        case "tokens-without-rights":
            return TokenAuth(USERS, {"": {"team/demo": set()}}, same_origin=True)
    return None


SETUPS: Final = (
    RecordingSetup("success"),
    RecordingSetup("success_not_streamed"),
    RecordingSetup("success_name_key"),
    RecordingSetup("success_bearer", auth="tokens", more=LOGIN),
    RecordingSetup("success_after_500_part", [Fault("PUT", _UPLOADS, after_bytes=MIB, action=_reply(500))]),
    RecordingSetup("success_after_dropped_part", [Fault("PUT", _UPLOADS, after_bytes=MIB, action=Reset())]),
    RecordingSetup("success_after_stall", [Fault("PUT", _UPLOADS, after_bytes=MIB, action=Stall(0.3))]),
    RecordingSetup("success_slow", [Fault("PUT", _UPLOADS, times=3, action=Stall(0.1))]),
    RecordingSetup("success_slow_manifest", [Fault("PUT", "/manifests/", action=Stall(0.2))]),
    RecordingSetup("success_tensors", tensors=True),
    RecordingSetup("success_tensors_not_streamed", tensors=True),
    RecordingSetup("error_access_denied", auth="tokens-without-rights"),
    RecordingSetup("error_bad_name"),
    RecordingSetup("error_basic_challenge", auth="basic"),
    RecordingSetup("error_commit_400", [_always("PUT", _UPLOADS, _reply(400, _WRONG_DIGEST))]),
    RecordingSetup("error_foreign_realm", auth="tokens-elsewhere", more=LOGIN),
    RecordingSetup("error_head_500", [_always("HEAD", "/blobs/", _reply(500))]),
    RecordingSetup("error_https_to_http"),
    RecordingSetup("error_manifest_400", [_always("PUT", "/manifests/", _reply(400, _UNKNOWN_BLOB))]),
    RecordingSetup("error_manifest_400_not_streamed", [_always("PUT", "/manifests/", _reply(400, _UNKNOWN_BLOB))]),
    RecordingSetup("error_model_missing"),
    RecordingSetup("error_model_missing_not_streamed"),
    RecordingSetup(
        "error_part_500_for_ever",
        [
            _always(
                method,
                _UPLOADS,
                Reply(502, {"Content-Type": "text/html"}, b"<html><body>502 Bad Gateway</body></html>"),
            )
            for method in ("PATCH", "PUT")
        ],
    ),
    RecordingSetup("error_post_403", [_always("POST", _UPLOADS, _reply(403, _DENIED))]),
    RecordingSetup("error_registry_refused", listens=False),
    RecordingSetup(
        "error_tensors_access_denied_manifest",
        [_always("PUT", "/manifests/", _reply(403, b'{"errors":[{"code":"DENIED","message":"denied"}]}'))],
        tensors=True,
    ),
    RecordingSetup(
        "error_tensors_commit_500", [_always("PUT", _UPLOADS, Reply(500, {}, b"no space left"))], tensors=True
    ),
    RecordingSetup(
        "error_token_denied",
        [_always("GET", "^/token", _reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}'))],
        auth="tokens",
    ),
)
"""Every recording whose situation is made by a registry; ``reject_*`` need none and are sent as recorded."""


@attrs.frozen
class Difference:
    """Where we answer otherwise.

    Attributes:
        recording: The situation.
        part: ``"lines"``: their kinds in order; ``"counters"``: how far each layer is said to have come; ``"error"``:
            the text of the last line.
        ours: What we say; ``HOST`` stands for the registry, ``DIGEST`` for a blob.
        reason: Why that is better.
    """

    recording: str
    part: str
    ours: str
    reason: str


_SAYS_WHAT_TO_DO: Final = "says what to do about it"
_WORDS: Final = (
    "the registry's words instead of its raw JSON, and at which step they came; the status still comes first"
)
_LOGIN: Final = "a real server knows no login but its own key; we log in as the registry asks, and say how"
_ALL_LINES: Final = (
    "retrieving manifest, pushing layer 1, pushing layer 2, pushing layer 3, pushing layer 4, pushing layer 5,"
    " pushing manifest, success"
)
_ALL_COUNTERS: Final = (
    "layer 1: from less than all to all, layer 2: to all, layer 3: to all, layer 4: to all, layer 5: to all"
)
_IT_SUCCEEDS: Final = "it succeeds"
_ONLY_ASKED: Final = (
    "whether a blob is there only saves its upload: what the registry does not say is asked again, then uploaded"
)
_WITHOUT_LOGIN: Final = (
    "unauthorized: access denied (HOST wants a login: run `ollama-push login HOST --plain-http` where the gateway"
    ' runs, or send "username" and "password")'
)
_UNKNOWN: Final = '400: MANIFEST_BLOB_UNKNOWN: blob unknown to registry ({"digest":"sha256:00"}) (pushing the manifest)'

DIFFERENCES: Final = (
    Difference("error_access_denied", "error", _WITHOUT_LOGIN, _SAYS_WHAT_TO_DO),
    Difference("error_basic_challenge", "error", _WITHOUT_LOGIN, _LOGIN),
    Difference(
        "error_commit_400",
        "error",
        "400: DIGEST_INVALID: provided digest did not match uploaded content (sending the blob DIGEST)",
        _WORDS,
    ),
    Difference(
        "error_commit_400",
        "counters",
        "layer 1: from less than all to none",
        "the registry refused it and keeps nothing of it",
    ),
    Difference(
        "error_foreign_realm",
        "lines",
        _ALL_LINES,
        "most registries keep their tokens on another host; the login goes to the host that the registry names",
    ),
    Difference("error_foreign_realm", "counters", _ALL_COUNTERS, _IT_SUCCEEDS),
    Difference("error_foreign_realm", "error", "", _IT_SUCCEEDS),
    Difference("error_head_500", "lines", _ALL_LINES, _ONLY_ASKED),
    Difference("error_head_500", "counters", _ALL_COUNTERS, _IT_SUCCEEDS),
    Difference("error_head_500", "error", "", _IT_SUCCEEDS),
    Difference(
        "error_https_to_http",
        "error",
        "tls: first record does not look like a TLS handshake (the registry at https://HOST does not"
        " speak TLS; plain HTTP must be asked for"
        ' with "insecure": true)',
        _SAYS_WHAT_TO_DO,
    ),
    Difference("error_manifest_400", "error", _UNKNOWN, _WORDS),
    Difference("error_manifest_400_not_streamed", "error", _UNKNOWN, _WORDS),
    Difference(
        "error_model_missing",
        "error",
        "open ROOT/manifests/HOST/team/none/latest: no such file or directory (there is no model"
        " 'HOST/team/none:latest' in the store ROOT; the nearest is 'HOST/team/demo:latest')",
        "says what is there instead",
    ),
    Difference(
        "error_model_missing_not_streamed",
        "error",
        "open ROOT/manifests/HOST/team/none/latest: no such file or directory (there is no model"
        " 'HOST/team/none:latest' in the store ROOT; the nearest is 'HOST/team/demo:latest')",
        "says what is there instead",
    ),
    Difference(
        "error_part_500_for_ever",
        "error",
        "max retries exceeded: http status 502 Bad Gateway: sending a part of DIGEST: 502 Bad Gateway",
        "what a person reads in the page instead of its HTML, and what was sent",
    ),
    Difference(
        "error_post_403",
        "error",
        "403: DENIED: requested access to the resource is denied (opening an upload)",
        _WORDS,
    ),
    Difference(
        "error_registry_refused",
        "error",
        "dial tcp HOST: connect: connection refused (nothing listens at http://HOST; is the registry running, and is"
        " the port in the name right?)",
        "the registry as the client named it, and what to look at",
    ),
    Difference("error_tensors_access_denied_manifest", "error", "403: DENIED: denied (pushing the manifest)", _WORDS),
    Difference(
        "error_tensors_commit_500",
        "error",
        "max retries exceeded: http status 500 Internal Server Error: sending the blob DIGEST: no space left",
        "says it once, and what was sent",
    ),
    Difference(
        "error_token_denied",
        "error",
        "unauthorized: access denied (HOST wants a login: run `ollama-push login HOST --plain-http` where the gateway"
        ' runs, or send "username" and "password" (UNAUTHORIZED: who are you))',
        _LOGIN,
    ),
)
