"""What peers and files of others say beside the stream of a push: each a target of ``tests.fuzz`` with its own law.

A law is a function that raises what it must not: whatever the bytes are, they are read, or refused by one of our
errors, the numbers and texts that come of them are bounded, and a secret that they quote is in no error.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import re
import tempfile
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from ollama_push.core.errors import InvalidModelName, InvalidSetting, OllamaPushError
from ollama_push.core.facts import Operation
from ollama_push.core.hosts import is_loopback
from ollama_push.core.json_text import MAX_COUNT
from ollama_push.core.names import MAX_NAME_CHARACTERS
from ollama_push.core.peer_text import SHOWN_CHARACTERS
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.authorizer import Authorizer
from ollama_push.core.registry.blob_upload.responses import bytes_arrived, smallest_part
from ollama_push.core.registry.challenges import parse_challenges
from ollama_push.core.registry.credentials import Login
from ollama_push.core.registry.effects import FindCredential
from ollama_push.core.registry.endpoints import Endpoint
from ollama_push.core.registry.error_responses import codes_in, refusal
from ollama_push.core.registry.manifests import Manifest
from ollama_push.core.registry.tokens import basic
from ollama_push.core.responses import BufferedResponse, SendRequest, retry_after_seconds
from ollama_push.core.secrets import Secrets
from ollama_push.core.server.error_body import server_error
from ollama_push.gateway.messages import name_text
from ollama_push.gateway.push_request import PushRequestBody
from ollama_push.gateway.responses import RequestRefused
from ollama_push.gateway.route import route_for
from ollama_push.local.docker_config import DockerConfig

__all__ = ["TARGETS", "Target", "damaged"]

_LONGEST: Final = 6_000
_LOGIN: Final = Login("svc", "Passw0rd-of-mine")
_SECRETS: Final = Secrets()
_SECRETS.add_login(_LOGIN.username, _LOGIN.password)
_QUOTED: Final = (_LOGIN.password, quote(basic(_LOGIN)), b64encode(b"svc:Passw0rd-of-mine").decode().rstrip("="))
_SHOWN: Final = re.compile("|".join(map(re.escape, (_LOGIN.password, _QUOTED[2]))), re.IGNORECASE)
_ENDPOINT: Final = Endpoint.of("registry.example", "team/m", plain_http=False)
_NAME: Final = "127.0.0.1:5000/team/m:latest"
_DIGEST: Final = f"sha256:{'a' * 64}"


@attrs.frozen
class Target:
    """One kind of bytes.

    Attributes:
        check: Raises when the bytes break the law.
        seeds: What the damage starts from.
        fragments: What it puts in.
    """

    check: Callable[[bytes], object]
    seeds: Sequence[bytes]
    fragments: Sequence[bytes] = ()


def damaged(target: Target, data: bytes, chance: random.Random) -> bytes:
    """Return *data* with a few things changed, lost, doubled or put in."""
    body, fragments = bytearray(data), (*_FRAGMENTS, *target.fragments)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(body) + 1)
        end = min(len(body), place + chance.choice((0, 1, 1, 4, 60)))
        match chance.randrange(5):
            case 0:
                body[place:end] = chance.randbytes(chance.randrange(4))
            case 1 | 2:
                body[place:end] = chance.choice(fragments) * chance.choice((1, 1, 1, 2, 40))
            case 3:
                del body[place:end]
            case _:
                body[place:place] = body[end : end + 200]
    return bytes(body[:_LONGEST])


_FRAGMENTS: Final = (
    *(
        b'"',
        b"'",
        b"\\",
        b"\\u0050",
        b"\\ud800",
        b"%",
        b"%25",
        b"&#80;",
        b"&#",
        b"<",
        b"<title>",
        b">",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\t",
        b" ",
        b",",
        b";",
        b"=",
        b":",
        b".",
    ),
    *(
        b"/",
        b"//",
        b"/../",
        b"?",
        b"#",
        b"@",
        b"-",
        b"0",
        b"9" * 25,
        b"9" * 5000,
        b"1e400",
        b"-1",
        b"0x10",
        b"NaN",
        b"null",
    ),
    *(text.encode() for text in _QUOTED),
)


def _header(data: bytes) -> str:
    """Return the value of a header as a transport hands it over."""
    return re.sub(r"[\r\n\0]", " ", data.decode("latin-1"))


def _hides(error: OllamaPushError) -> None:
    _SECRETS.hide_in(error)
    text = f"{error} {error!r} {error.args!r} {pickle.loads(pickle.dumps(error))!r}"
    assert not _SHOWN.search(text), text
    assert len(str(error)) < 4 * SHOWN_CHARACTERS, text


def _is_short(text: str) -> None:
    assert len(text.encode("utf-8", "surrogatepass")) <= 4 * SHOWN_CHARACTERS, text


def _check_challenge(data: bytes) -> None:
    """A challenge leads to a request that shows the login to nobody who must not have it, or to our error."""
    text = _header(data)
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower() != ""
    authorizer = Authorizer(_ENDPOINT, ("s",), plain_http=False, clock=lambda: 0.0, now=lambda: 0.0, nonce=bytes)
    flow = authorizer.send(HttpRequest("GET", _ENDPOINT.base))
    sent = next(flow)
    try:
        for _ in range(3):
            answer = BufferedResponse(401, {"www-authenticate": text}, data)
            sent = flow.send(_LOGIN if isinstance(sent, FindCredential) else answer)
            if isinstance(sent, SendRequest) and sent.request.headers.get("Authorization"):
                there = urlsplit(sent.request.url)
                assert there.scheme == "https" or is_loopback(there.hostname or ""), sent
    except OllamaPushError as error:
        _hides(error)
    except StopIteration:
        pass


def _check_location(data: bytes) -> None:
    """A ``Location`` is no place, or one that can be connected to, without a login in it."""
    headers = {"location": _header(data)}
    url = _ENDPOINT.located(headers, f"{_ENDPOINT.base}team/m/blobs/uploads/")
    if url is not None:
        there = urlsplit(url)
        assert there.scheme in ("http", "https")
        assert there.hostname
        assert there.port != 0
        assert "@" not in there.netloc
        assert urlsplit(_ENDPOINT.finishing(url, _DIGEST)).query.endswith(_DIGEST)
        assert not _SHOWN.search(_SECRETS.hide(repr(HttpRequest("GET", url))))
    _hides(refusal(BufferedResponse(307, headers, b""), Operation.OPEN_UPLOAD))
    _hides(server_error(307, headers, b""))


def _check_numbers(data: bytes) -> None:
    """Numbers in headers are bounded, or there are none."""
    text = _header(data)
    names = ("range", "oci-chunk-min-length", "retry-after", "date", "content-length")
    response = BufferedResponse(202, dict.fromkeys(names, text), b"")
    arrived, wait = bytes_arrived(response), retry_after_seconds(response.headers)
    assert arrived is None or 0 <= arrived <= MAX_COUNT
    assert 0 <= smallest_part(response) <= MAX_COUNT
    assert wait is None or (0.0 <= wait <= 1e9 and math.isfinite(wait))
    with_date = retry_after_seconds({"retry-after": text, "date": "Mon, 01 Jan 2024 00:00:00 GMT"})
    assert with_date is None or 0.0 <= with_date <= 1e9


def _check_error_body(data: bytes) -> None:
    """A registry's or a server's refusal becomes an error of ours, bounded and without secrets."""
    for status in (400, 401, 404, 503):
        response = BufferedResponse(status, {"content-type": "application/json"}, data)
        error = refusal(response, Operation.SEND_PART, _DIGEST)
        assert len(error.words) <= SHOWN_CHARACTERS
        assert all(len(code) <= SHOWN_CHARACTERS for code in codes_in(response))
        _hides(error)
        _hides(server_error(status, {}, data))


def _check_manifest(data: bytes) -> None:
    """A manifest is refused by a ``ValueError`` that quotes little of it, or has digests and bounded sizes."""
    try:
        manifest = Manifest.parse(data)
    except ValueError as exc:
        _is_short(str(exc))
        return
    assert manifest.raw == data
    assert re.fullmatch(r"[!-~]+/[!-~]+", manifest.media_type)
    assert all(
        re.fullmatch("sha256:[0-9a-f]{64}", blob.digest) and 0 <= blob.size <= MAX_COUNT for blob in manifest.blobs
    )


def _check_docker_config(data: bytes) -> None:
    """A configuration is read, changed and read again, or refused by our error, which quotes no login."""
    _CONFIG.write_bytes(data)
    with suppress(InvalidSetting):
        config = DockerConfig.read(_CONFIG)
        for host in ("registry.example", "127.0.0.1:5000", "docker.io"):
            with suppress(InvalidSetting):
                config.helper(host), config.store, config.holds(host)
                credential = config.login(host)
                assert _LOGIN.password not in repr(credential)
                assert config.with_login(host, _LOGIN).login(host) == _LOGIN
                assert config.with_login(host, _LOGIN).without_login(host).login(host) is None
                config.with_login(host, _LOGIN).write()
                assert DockerConfig.read(_CONFIG).login(host) == _LOGIN


def _check_gateway_request(data: bytes) -> None:
    """A request is refused in bounded words that can be sent, or its name leads to a registry or to such words."""
    try:
        body = PushRequestBody.parse(data)
    except RequestRefused as exc:
        _is_short(str(exc))
        return
    assert body.model
    try:
        route = route_for(body.model, None)
    except InvalidModelName as error:
        said = name_text(body.model, error)
        said.encode()
        assert len(said) <= 3 * MAX_NAME_CHARACTERS, said
        _hides(error)
    else:
        assert len(str(route.target)) <= MAX_NAME_CHARACTERS


_CONFIG: Final = Path(tempfile.mkdtemp(prefix="fuzz-")) / "config.json"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_LAYER: Final = {
    "mediaType": "application/vnd.ollama.image.model",
    "digest": _DIGEST,
    "size": 5,
    "from": "registry.example/a/b",
}
_AUTH: Final = b64encode(b"svc:Passw0rd-of-mine").decode()

TARGETS: Final = {
    "challenges": Target(
        _check_challenge,
        (
            b'Bearer realm="https://auth.example/token",service="registry",scope="repository:team/m:pull,push"',
            b'Basic realm="a, b", Bearer realm="https://registry.example/token"',
            b'Bearer realm="http://127.0.0.1:5000/token"',
            b"Negotiate abc==, Basic",
        ),
        (b'realm="', b"Bearer ", b"Basic ", b"http://", b"https://", b"scope=", b'\\"', b"127.0.0.1", b"localhost"),
    ),
    "locations": Target(
        _check_location,
        (
            b"/v2/team/m/blobs/uploads/1?_state=abc",
            b"https://registry.example:443/v2/team/m/blobs/uploads/1",
            b"http://registry.example/x",
            b"https://svc:pw@storage.example/b?X-Amz-Signature=abc#f",
            b"../1",
            b"http://[::1]:5000/x",
        ),
        (b"http://", b"https://", b"://", b"[", b"]", b":0", b":99999", b"\xbc", b"registry.example", b"\\"),
    ),
    "numbers": Target(
        _check_numbers,
        (
            b"0-99",
            b"bytes=0-99",
            b"0--1",
            b"120",
            b"Mon, 01 Jan 2024 00:00:00 GMT",
            b"Mon, 01 Jan 99999999999 00:00:00 GMT",
        ),
        (b"Mon, ", b" Jan ", b"+9999", b"-0000", b"00:00:00", b"GMT", b"bytes ", b"\xb2", b"99999999999"),
    ),
    "error-bodies": Target(
        _check_error_body,
        (
            _json({"errors": [{"code": "DENIED", "message": "no", "detail": {"a": [1, _LOGIN.password]}}]}),
            _json({"error": "no", "signin_url": "https://ollama.com/connect?key=abc"}),
            f"<html><head><title>502</title><style>x</style></head><body>{_LOGIN.password}</body></html>".encode(),
            b"plain words",
        ),
        (
            b"<!--",
            b"-->",
            b"</title>",
            b"<script",
            b'"code":',
            b'"message":',
            b'"detail":',
            b"://a:b@",
            b"?sig=",
            b"&amp;",
        ),
    ),
    "manifests": Target(
        _check_manifest,
        (
            _json(
                {
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": _LAYER,
                    "layers": [],
                }
            ),
            _json({"config": {"digest": ""}, "layers": [_LAYER, {**_LAYER, "digest": f"sha256-{'b' * 64}"}]}),
        ),
        (b'"size":', b'"digest":', _DIGEST.encode(), b'"layers":', b"application/", b"true"),
    ),
    "docker-config": Target(
        _check_docker_config,
        (
            _json(
                {"auths": {"registry.example": {"auth": _AUTH}, "https://index.docker.io/v1/": {"identitytoken": "t"}}}
            ),
            _json(
                {
                    "credsStore": "secretservice",
                    "credHelpers": {"registry.example": "pass"},
                    "auths": {"127.0.0.1:5000": {}},
                }
            ),
            _json(
                {
                    "auths": {
                        "registry.example": {"username": "svc", "password": "pw"},
                        "docker.io": {"registrytoken": "t"},
                    }
                }
            ),
        ),
        (
            b'"auths":',
            b'"auth":',
            b'"identitytoken":',
            b'"registrytoken":',
            b"https://",
            b"/v1/",
            b"true",
            _AUTH.encode(),
        ),
    ),
    "gateway-requests": Target(
        _check_gateway_request,
        (
            _json({"model": _NAME, "insecure": True, "stream": False}),
            _json({"name": "team/m", "username": "svc", "password": _LOGIN.password}),
            b'{"Model":"http://a/b/c:d","model":null}',
        ),
        (b'"model":', b'"name":', b'"username":', b'"stream":', b"http://", b"a.", b"a://", b"true", b"\\udc00"),
    ),
}
