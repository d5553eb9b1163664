"""How each recorded situation is made with an embedded registry, and in what our answer differs from the recorded one.

The table of differences is data, so that it can be listed elsewhere: each entry says what a real server answers,
what we answer, and why that is better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import attrs
from tests.support.blobs import MIB
from tests.support.gateway_requests import BIG

from ollama_push.testing.recordings import Recording
from ollama_push.testing.registry import (
    Auth,
    BasicAuth,
    EmbeddedRegistry,
    Fault,
    Reply,
    Reset,
    SignedAuth,
    Stall,
    TokenAuth,
)

RECORDINGS: Final = Path(__file__).parents[1] / "data" / "recordings"
USERS: Final = {"alice": "open-sesame"}
LOGIN: Final = {"username": "alice", "password": "open-sesame"}
_OTHERS: Final = (b"t" * 21, b"l" * 1200, b"p" * 20)
# As large as the recorded ones, but for the first, which has to be more than sockets hold.
LAYERS: Final = (BIG, *_OTHERS)
TENSORS: Final = (b"w" * 200_000, *_OTHERS)
UPLOADS: Final = "/blobs/uploads/"
# The gateway sends a blob of this size with the closing PUT, a real server each part by PATCH.
PART: Final = "the request with the bytes"
# As the recorded ones, the first layer takes longer than a tick: its first counter is told before it is full.
_TAKES_A_WHILE: Final = Fault(PART, UPLOADS, times=None, after_bytes=MIB, action=Stall(0.15))
DENIED: Final = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
_UNKNOWN_BLOB: Final = (
    b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry",'
    b'"detail":{"digest":"sha256:00"}}]}'
)
_WRONG_DIGEST: Final = (
    b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}'
)


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **headers}, body)


def always(method: str, path: str, reply: Reply) -> Fault:
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
        pushes: How often it is pushed; what the last push is told counts.
        has_same_reason: Whether the gateway's error has the reason of a real server's; not where that one fails and the
            gateway goes on, or where it has no words for what is wrong.
        takes_a_minute: Whether a real server tries it six times, with waits of up to 32 s.
    """

    recording: str
    faults: Sequence[Fault] = ()
    auth: str = ""
    more: Mapping[str, Any] = attrs.field(factory=dict)
    tensors: bool = False
    listens: bool = True
    pushes: int = 1
    has_same_reason: bool = True
    takes_a_minute: bool = False

    def order(self, host: str) -> dict[str, Any]:
        """What a client sends to have it pushed to *host*: what was recorded, or what is sent of most."""
        order = {"model": "HOST/team/demo", "insecure": True}
        path = RECORDINGS / f"{self.recording}.json"
        if path.exists():
            order = json.loads(Recording.load(path).request.partition(b"\r\n\r\n")[2])
        text = json.dumps({**order, **self.more})
        return dict(json.loads(text.replace("localhost:5001", "HOST").replace("HOST", host)))

    def registry(self, folder: Path) -> AbstractContextManager[EmbeddedRegistry | None]:
        if not self.listens:
            return nullcontext()
        faults = (*self.faults, _TAKES_A_WHILE)
        return _registry(folder, auth_of(self.auth), [_of_part(fault, "PUT") for fault in faults])

    def registry_for_ollama(self, folder: Path, key: str) -> AbstractContextManager[EmbeddedRegistry | None]:
        """Start it for a real server with the public *key*, which sends a broken part from its first byte again."""
        if not self.listens:
            return nullcontext()
        auth = SignedAuth([key]) if self.auth == "tokens" else auth_of(self.auth)
        # So nothing may be left of a broken part: a registry that keeps it refuses its first byte for ever.
        breaks = [
            attrs.evolve(fault, after_bytes=None) if isinstance(fault.action, Reply | Reset) else fault
            for fault in self.faults
        ]
        return _registry(folder, auth, [_of_part(fault, "PATCH") for fault in (*breaks, _TAKES_A_WHILE)])


def _of_part(fault: Fault, method: str) -> Fault:
    return attrs.evolve(fault, method=method) if fault.method == PART else fault


def _registry(folder: Path, auth: Auth | None, faults: Sequence[Fault]) -> EmbeddedRegistry:
    return EmbeddedRegistry(folder, listen=("127.0.0.1", 0), auth=auth, faults=faults)


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
    RecordingSetup("success_after_500_part", [Fault(PART, UPLOADS, after_bytes=MIB, action=reply(500))]),
    RecordingSetup("success_after_dropped_part", [Fault(PART, UPLOADS, after_bytes=MIB, action=Reset())]),
    RecordingSetup("success_after_stall", [Fault(PART, UPLOADS, after_bytes=MIB, action=Stall(0.3))]),
    RecordingSetup("success_slow", [Fault(PART, UPLOADS, times=3, action=Stall(0.1))]),
    RecordingSetup("success_slow_manifest", [Fault("PUT", "/manifests/", action=Stall(0.2))]),
    RecordingSetup("success_tensors", tensors=True),
    RecordingSetup("success_tensors_not_streamed", tensors=True),
    RecordingSetup("error_access_denied", auth="tokens-without-rights"),
    RecordingSetup("error_bad_name"),
    RecordingSetup("error_basic_challenge", auth="basic", has_same_reason=False),
    RecordingSetup("error_commit_400", [always("PUT", UPLOADS, reply(400, _WRONG_DIGEST))], takes_a_minute=True),
    RecordingSetup("error_foreign_realm", auth="tokens-elsewhere", more=LOGIN, has_same_reason=False),
    RecordingSetup("error_head_500", [always("HEAD", "/blobs/", reply(500))], has_same_reason=False),
    RecordingSetup("error_https_to_http"),
    RecordingSetup("error_manifest_400", [always("PUT", "/manifests/", reply(400, _UNKNOWN_BLOB))]),
    RecordingSetup("error_manifest_400_not_streamed", [always("PUT", "/manifests/", reply(400, _UNKNOWN_BLOB))]),
    RecordingSetup("error_model_missing"),
    RecordingSetup("error_model_missing_not_streamed"),
    RecordingSetup(
        "error_part_500_for_ever",
        [
            always(
                method,
                UPLOADS,
                Reply(502, {"Content-Type": "text/html"}, b"<html><body>502 Bad Gateway</body></html>"),
            )
            for method in ("PATCH", "PUT")
        ],
        takes_a_minute=True,
    ),
    RecordingSetup("error_post_403", [always("POST", UPLOADS, reply(403, DENIED))]),
    RecordingSetup("error_registry_refused", listens=False),
    RecordingSetup(
        "error_tensors_access_denied_manifest",
        [always("PUT", "/manifests/", reply(403, b'{"errors":[{"code":"DENIED","message":"denied"}]}'))],
        tensors=True,
    ),
    RecordingSetup(
        "error_tensors_commit_500", [always("PUT", UPLOADS, Reply(500, {}, b"no space left"))], tensors=True
    ),
    RecordingSetup(
        "error_token_denied",
        [always("GET", "^/token", reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}'))],
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
WORDS: Final = "the registry's words instead of its raw JSON, and at which step they came; the status still comes first"
NO_SUCH_LOGIN: Final = "a real server knows no login but its own key; we log in as the registry asks, and say how"
ALL_LINES: Final = (
    "retrieving manifest, pushing layer 1, pushing layer 2, pushing layer 3, pushing layer 4, pushing layer 5,"
    " pushing manifest, success"
)
ALL_COUNTERS: Final = (
    "layer 1: from less than all to all, layer 2: to all, layer 3: to all, layer 4: to all, layer 5: to all"
)
IT_SUCCEEDS: Final = "it succeeds"
ONLY_ASKED: Final = (
    "whether a blob is there only saves its upload: what the registry does not say is asked again, then uploaded"
)
_WITHOUT_LOGIN: Final = (
    "unauthorized: access denied (HOST wants a login: run `ollama-push login HOST --plain-http` where the gateway"
    ' runs, or send "username" and "password")'
)
_UNKNOWN: Final = '400: MANIFEST_BLOB_UNKNOWN: blob unknown to registry ({"digest":"sha256:00"}) (pushing the manifest)'

DIFFERENCES: Final = (
    Difference(
        "error_access_denied",
        "error",
        f"{_WITHOUT_LOGIN.removesuffix(')')} (UNAUTHORIZED: authentication required))",
        _SAYS_WHAT_TO_DO,
    ),
    Difference("error_basic_challenge", "error", _WITHOUT_LOGIN, NO_SUCH_LOGIN),
    Difference(
        "error_commit_400",
        "error",
        "400: DIGEST_INVALID: provided digest did not match uploaded content (sending the blob DIGEST)",
        WORDS,
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
        ALL_LINES,
        "most registries keep their tokens on another host; the login goes to the host that the registry names",
    ),
    Difference("error_foreign_realm", "counters", ALL_COUNTERS, IT_SUCCEEDS),
    Difference("error_foreign_realm", "error", "", IT_SUCCEEDS),
    Difference("error_head_500", "lines", ALL_LINES, ONLY_ASKED),
    Difference("error_head_500", "counters", ALL_COUNTERS, IT_SUCCEEDS),
    Difference("error_head_500", "error", "", IT_SUCCEEDS),
    Difference(
        "error_https_to_http",
        "error",
        "tls: first record does not look like a TLS handshake (the registry at https://HOST does not"
        " speak TLS; plain HTTP must be asked for"
        ' with "insecure": true)',
        _SAYS_WHAT_TO_DO,
    ),
    Difference("error_manifest_400", "error", _UNKNOWN, WORDS),
    Difference("error_manifest_400_not_streamed", "error", _UNKNOWN, WORDS),
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
        WORDS,
    ),
    Difference(
        "error_registry_refused",
        "error",
        "dial tcp HOST: connect: connection refused (nothing listens at http://HOST; is the registry running, and is"
        " the port in the name right?)",
        "the registry as the client named it, and what to look at",
    ),
    Difference("error_tensors_access_denied_manifest", "error", "403: DENIED: denied (pushing the manifest)", WORDS),
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
        NO_SUCH_LOGIN,
    ),
)
