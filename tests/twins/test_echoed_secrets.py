"""A peer quotes the login that it was shown, wherever it can: in no error, cause or observation is it found."""

from __future__ import annotations

import asyncio
import json
import pickle
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import AT_ONCE, Colour, Direct, either_colour, stored
from tests.support.server_push import Told

from ollama_push import AsyncPushClient, PushClient
from ollama_push.core.errors import OllamaPushError
from ollama_push.core.events import LayerProgress, PushEvent
from ollama_push.testing.server import ScriptedServer, json_answer, lines_answer

PASSWORD: Final = "s3cret-of-ann"
BASIC: Final = b64encode(f"ann:{PASSWORD}".encode()).decode()
CHALLENGE: Final = json_answer(b"", 401, {"WWW-Authenticate": 'Basic realm="x"', "Connection": "close"})
CLOSE: Final = "Connection: close\r\n"


def _wire(status: str, *fields: str, body: str = "") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", body]).encode("latin-1")


ECHOES: Final = {
    "a query": _wire("302 Found", f"Location: https://sso.example.com/login?next=%2F&auth=Basic%20{BASIC}"),
    "a path": _wire("307 Moved", f"Location: /login/{PASSWORD}/again"),
    "a fragment": _wire("302 Found", f"Location: /login#{PASSWORD.upper()}"),
    "the status line": f"{PASSWORD} {BASIC}\r\n\r\n".encode(),
    "the reason phrase": _wire(f"403 no, {PASSWORD}"),
    "the size of a chunk": f"HTTP/1.1 403 No\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n{PASSWORD}\r\n".encode(),
    "a challenge": _wire("401 No", f'WWW-Authenticate: Bearer realm="http://a.example/{PASSWORD}/{BASIC}"'),
    "the type of a body": _wire("200 OK", f"Content-Type: text/html; {PASSWORD}", body="<p>"),
    "an error that passes": _wire("503 Busy", body=f"busy with {BASIC}"),
    "escapes of JSON": _wire(
        "403 No", body=json.dumps({"error": PASSWORD, "errors": [{"code": PASSWORD}]}).replace("s3", "\\u00733")
    ),
    "entities of HTML": _wire("403 No", body=f"<title>{''.join(f'&#{ord(sign)};' for sign in PASSWORD)}</title>"),
    "a digest": _wire(
        "200 OK", f"Docker-Content-Digest: {PASSWORD}", body=json.dumps({"layers": [{"digest": PASSWORD}]})
    ),
}
every_echo = pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_hidden(*values: object) -> None:
    links = [link for value in values if isinstance(value, BaseException) for link in _chain(value)]
    texts = [f"{link} {link!r} {link.args!r}" for link in links]
    # Causes, too: with tblib they go along.
    pickled = [pickle.dumps(link) for link in links]
    shown = f"{texts} {pickled} {values!r}".lower()
    assert PASSWORD not in shown
    assert BASIC.rstrip("=").lower() not in shown


@every_echo
@either_colour
def test_no_text_of_a_direct_push_quotes_its_login(colour: Colour, tmp_path: Path, echo: bytes) -> None:
    stored(tmp_path)
    with ScriptedServer(CHALLENGE, (echo,)) as server:
        told: Told = colour(Direct(host=server.url.removeprefix("http://"), home=tmp_path, retry=AT_ONCE))
    assert "authorization" in server.requests[1].headers
    assert told.error is not None
    assert_hidden(told.error, *told.seen, *(getattr(seen, "error", None) for seen in told.seen))


HEADERS: Final = {"Authorization": f"Basic {BASIC}"}
Pushed = tuple[object, OllamaPushError | None, list[PushEvent]]


def _push(host: str) -> Pushed:
    events: list[PushEvent] = []
    with PushClient(host, headers=HEADERS, retry=AT_ONCE) as client:
        ready = client.check("u/m")
        try:
            with client.stream("u/m") as stream:
                events.extend(stream)
        except OllamaPushError as error:
            return ready, error, events
    return ready, None, events


def _push_async(host: str) -> Pushed:
    async def main() -> Pushed:
        events: list[PushEvent] = []
        async with AsyncPushClient(host, headers=HEADERS, retry=AT_ONCE) as client:
            ready = await client.check("u/m")
            try:
                async with client.stream("u/m") as stream:
                    async for event in stream:
                        events.append(event)  # noqa: PERF401 - what came before an error is kept
            except OllamaPushError as error:
                return ready, error, events
        return ready, None, events

    return asyncio.run(main())


either_client = pytest.mark.parametrize("push", [_push, _push_async], ids=["sync", "async"])


@every_echo
@either_client
def test_no_text_of_a_push_through_a_server_quotes_its_headers(push: Callable[[str], Pushed], echo: bytes) -> None:
    with ScriptedServer((echo,)) as server:
        ready, error, events = push(server.url)
    assert error is not None
    assert_hidden(ready, error, *getattr(ready, "problems", ()), *events)


@either_client
def test_no_event_quotes_the_headers_of_a_push(push: Callable[[str], Pushed]) -> None:
    lines = [{"status": f"you sent {PASSWORD}", "digest": BASIC, "total": 9, "completed": n} for n in (1, 2)]
    answer = lines_answer([*(json.dumps(line).encode() for line in lines), b'{"status":"success"}'])
    version = json_answer(json.dumps({"version": PASSWORD}).encode())
    with ScriptedServer(answer, answers={"/api/version": version}) as server:
        ready, error, events = push(server.url)
    assert error is None
    assert events[:2] == [LayerProgress("<hidden>", 9, n, "you sent <hidden>") for n in (1, 2)]
    assert_hidden(ready, *events)
