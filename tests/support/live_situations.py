"""Situations of which there is no recording: what a real server tells in them is seen where one is at hand."""

from __future__ import annotations

from typing import Final

from tests.support.gateway_recordings import (
    ALL_COUNTERS,
    ALL_LINES,
    DENIED,
    IT_SUCCEEDS,
    NO_SUCH_LOGIN,
    ONLY_ASKED,
    PART,
    UPLOADS,
    WORDS,
    Difference,
    RecordingSetup,
    always,
    reply,
)

from ollama_push.testing.registry import Fault, Reset

__all__ = ["LIVE_DIFFERENCES", "LIVE_SETUPS"]

_FULL: Final = b'{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}'
_BROKEN: Final = b'{"errors":[{"code":"UNKNOWN","message":"something broke"}]}'
_NO_LOGIN: Final = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'

LIVE_SETUPS: Final = (
    RecordingSetup("again", pushes=2),
    RecordingSetup("manifest_403", [always("PUT", "/manifests/", reply(403, DENIED))]),
    RecordingSetup("manifest_500", [always("PUT", "/manifests/", reply(500, _BROKEN))]),
    RecordingSetup(
        "unauthorized_without_challenge", [always("POST", UPLOADS, reply(401, _NO_LOGIN))], has_same_reason=False
    ),
    RecordingSetup("registry_full", [always(PART, UPLOADS, reply(507, _FULL))], takes_a_minute=True),
    RecordingSetup("post_404", [always("POST", UPLOADS, reply(404))]),
    RecordingSetup("head_403", [always("HEAD", "/blobs/", reply(403, DENIED))], has_same_reason=False),
    RecordingSetup("manifest_lost", [Fault("PUT", "/manifests/", times=None, action=Reset())]),
)
"""Situations of which there is no recording, for a real server that is at hand."""

LIVE_DIFFERENCES: Final = (
    Difference("head_403", "lines", ALL_LINES, ONLY_ASKED),
    Difference("head_403", "counters", ALL_COUNTERS, IT_SUCCEEDS),
    Difference("head_403", "error", "", IT_SUCCEEDS),
    Difference(
        "manifest_403",
        "error",
        "403: DENIED: requested access to the resource is denied (pushing the manifest)",
        WORDS,
    ),
    Difference(
        "manifest_500",
        "error",
        "max retries exceeded: http status 500 Internal Server Error: pushing the manifest: UNKNOWN: something broke",
        "it may pass, so it is tried again",
    ),
    Difference(
        "manifest_lost",
        "error",
        "max retries exceeded: the connection to http://HOST broke before the response was complete ([Errno 104]"
        " Connection reset by peer)",
        "it may pass, so it is tried again",
    ),
    Difference("post_404", "error", "file does not exist (opening an upload: HTTP 404)", WORDS),
    Difference(
        "registry_full",
        "error",
        "507: UNKNOWN: no space left on device (sending the blob DIGEST)",
        "to try it again for a minute does not make room",
    ),
    Difference(
        "unauthorized_without_challenge",
        "error",
        "unauthorized: access denied (HOST wants a login: run `ollama-push login HOST --plain-http` where the gateway"
        ' runs, or send "username" and "password" (UNAUTHORIZED: authentication required))',
        NO_SUCH_LOGIN,
    ),
)
"""Where the gateway tells something else in them."""
