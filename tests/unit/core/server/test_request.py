"""What goes out on the wire for a push, and which headers a user may add."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from ollama_push.core.arguments import checked_headers
from ollama_push.core.errors import InvalidModelName, InvalidSetting
from ollama_push.core.names import ModelName
from ollama_push.core.server.request import PushRequest, merged_headers
from ollama_push.core.version import USER_AGENT, __version__


def test_the_body_names_the_model_for_old_and_new_servers() -> None:
    body = PushRequest("myuser/my-llama", insecure=True).body()
    expected = {"model": "myuser/my-llama:latest", "name": "myuser/my-llama:latest", "insecure": True, "stream": True}
    assert json.loads(body) == expected


def test_text_and_name_make_the_same_request() -> None:
    assert PushRequest("a/b") == PushRequest(ModelName.parse("a/b"))


def test_an_illegal_name_makes_no_request() -> None:
    with pytest.raises(InvalidModelName):
        PushRequest("bare")


@pytest.mark.parametrize(("stream", "accept"), [(True, "application/x-ndjson"), (False, "application/json")])
def test_asks_for_what_it_can_read(stream: bool, accept: str) -> None:  # noqa: FBT001 - a table's column
    headers = PushRequest("a/b", stream=stream).headers()
    assert headers["Accept"] == accept
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"] == USER_AGENT == f"ollama-push/{__version__}"


def test_the_request_goes_to_api_push_below_the_prefix() -> None:
    request = PushRequest("a/b").to_http("http://h:1/ollama", {"user-agent": "mine", "X-More": "1"}, 60.0)
    assert (request.method, request.url, request.read_timeout) == ("POST", "http://h:1/ollama/api/push", 60.0)
    assert request.headers["user-agent"] == "mine"
    assert "User-Agent" not in request.headers
    assert request.headers["X-More"] == "1"


def test_a_push_that_does_not_stream_may_be_silent_for_ever() -> None:
    assert PushRequest("a/b", stream=False).to_http("http://h", {}, 60.0).read_timeout == math.inf


def test_later_headers_win_whatever_their_case() -> None:
    assert merged_headers({"A": "1", "B": "2"}, {"a": "3"}) == {"a": "3", "B": "2"}
    assert merged_headers() == {}


def test_legal_headers_are_copied() -> None:
    given = {"X-A": "tab\tand \xe9", "Authorization": ""}
    checked = checked_headers(given)
    assert checked == given
    assert checked is not given
    assert checked_headers(None) == {}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("", "x", "no header name"),
        ("a b", "x", "no header name"),
        ("a:b", "x", "no header name"),
        (5, "x", "no header name"),
        ("Content-Length", "5", "frames the message"),
        ("transfer-encoding", "chunked", "frames the message"),
        ("X", "hush\r\nY: 1", "holds characters"),
        ("X", "hush\x00", "holds characters"),
        ("X", "hush\u20ac", "holds characters"),
        ("X", 5, "holds characters"),
    ],
)
def test_refuses_headers_that_cannot_be_sent(name: object, value: object, problem: str) -> None:
    with pytest.raises(InvalidSetting, match=problem) as caught:
        checked_headers({cast("str", name): cast("str", value)})
    assert caught.value.value == name
    assert "hush" not in repr(caught.value)


def test_a_private_push_says_so_and_only_to_ollamas_registry() -> None:
    assert json.loads(PushRequest("myuser/my-llama", private=True).body())["private"] is True
    assert "private" not in json.loads(PushRequest("myuser/my-llama").body())
    with pytest.raises(InvalidSetting, match=r"registry\.example\.com decides itself who may read"):
        PushRequest("registry.example.com/team/my-llama", private=True)


@pytest.mark.parametrize(("stream", "accept"), [(True, "application/x-ndjson"), (False, "application/json")])
def test_the_headers_say_what_is_sent_and_what_is_read(*, stream: bool, accept: str) -> None:
    assert PushRequest("a/b", stream=stream).headers() == {
        "Content-Type": "application/json",
        "Accept": accept,
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
    }
