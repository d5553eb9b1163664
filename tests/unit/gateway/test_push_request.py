"""Bodies as a real server reads them: what is taken, and the texts for what is refused."""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.credentials import Login
from ollama_push.gateway.go_json import decode_first, encode_go
from ollama_push.gateway.push_request import PushRequestBody
from ollama_push.gateway.responses import RequestRefused


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b" \r\n\t", "missing request body"),
        (b"{}", "model is required"),
        (b"null", "model is required"),
        (b'{"model":""}', "model is required"),
        (b'{"model":null,"name":null}', "model is required"),
        (b'{"model":"a/b"', "unexpected EOF"),
        (b'{"model":', "unexpected EOF"),
        (b'{"model":"a/', "unexpected EOF"),
        (b'"abc', "unexpected EOF"),
        (b"\x1f\x8b", r"invalid character '\x1f' looking for beginning of value"),
        (b"\x7f", r"invalid character '\x7f' looking for beginning of value"),
        (b"\xef\xbb\xbf{}", r"invalid character '\ufeff' looking for beginning of value"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"nul", "malformed JSON at character 1"),
        (b"{model:1}", "malformed JSON at character 2"),
        (b"{'model':1}", "malformed JSON at character 2"),
        (b'{"a" 1}', "malformed JSON at character 6"),
        (b'{"a":1 "b":2}', "malformed JSON at character 8"),
        (b'{"a":[1 2]}', "malformed JSON at character 9"),
        (b'{"a":01}', "malformed JSON at character 7"),
        (b'{"a":1.}', "malformed JSON at character 7"),
        (b'{"a":-x}', "malformed JSON at character 6"),
        (b'{"a":trux}', "malformed JSON at character 6"),
        (b'{"a":"\n"}', "malformed JSON at character 7"),
        (b'{"a":-Infinity}', "malformed JSON: -Infinity"),
        (b"[" * 10_001, "malformed JSON: nested too deeply"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.PushRequest"),
        (b'"a/b"', "json: cannot unmarshal string into Go value of type api.PushRequest"),
        (b"5", "json: cannot unmarshal number into Go value of type api.PushRequest"),
        (b"true", "json: cannot unmarshal bool into Go value of type api.PushRequest"),
        (b'{"model":5}', "json: cannot unmarshal number into Go struct field PushRequest.model of type string"),
        (
            b'{"Insecure":"yes","model":5}',
            "json: cannot unmarshal string into Go struct field PushRequest.insecure of type bool",
        ),
        (b'{"stream":0}', "json: cannot unmarshal number into Go struct field PushRequest.stream of type bool"),
        (
            b'{"username":{},"model":"a/b"}',
            "json: cannot unmarshal object into Go struct field PushRequest.username of type string",
        ),
        (
            b'{"password":[],"model":"a/b"}',
            "json: cannot unmarshal array into Go struct field PushRequest.password of type string",
        ),
        # A syntax error is found before any wrong type is.
        (b'{"model":5 "name":6}', "malformed JSON at character 12"),
    ],
)
def test_what_a_real_server_refuses_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        PushRequestBody.parse(body)
    assert (refused.value.status, str(refused.value)) == (400, text)


@pytest.mark.parametrize("raw", [b'{"model":5,}', b'{"a":[1,]}', b'{"a":1e}', b'{"a":"\\x"}', b'{"a":"\\u12g4"}'])
def test_where_json_is_malformed_is_said_as_far_as_python_knows_it(raw: bytes) -> None:
    """The exact place differs between versions of CPython."""
    with pytest.raises(RequestRefused, match=r"^malformed JSON at character \d+$"):
        PushRequestBody.parse(raw)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b'{"model":"a/b"}', PushRequestBody("a/b")),
        (b'{"name":"a/b"}', PushRequestBody("a/b")),
        (b'{"name":"a/b","model":"c/d"}', PushRequestBody("c/d")),
        (b'{"name":"a/b","model":""}', PushRequestBody("a/b")),
        (b'{"MODEL":"a/b","Stream":false,"InSecure":true}', PushRequestBody("a/b", insecure=True, stream=False)),
        (b'{"model":"a/b","model":"c/d"}', PushRequestBody("c/d")),
        (b'{"model":"a/b","model":null}', PushRequestBody("a/b")),
        (b'{"model":"a/b","stream":false,"stream":null}', PushRequestBody("a/b")),
        (b'{"model":"a/b","insecure":true,"insecure":null}', PushRequestBody("a/b", insecure=True)),
        (b'{"model":"a/b"} trailing', PushRequestBody("a/b")),
        (b'{"model":"a/b"}{"model":"c/d"}', PushRequestBody("a/b")),
        (b'{"model":"a\xff\xfe/b"}', PushRequestBody("a\ufffd\ufffd/b")),
        (b'{"model":"a\\ud800/b"}', PushRequestBody("a\ufffd/b")),
        (b'{"model":"\\u0061/b"}', PushRequestBody("a/b")),
        (b'{"x":[{"model":"no"}],"model":"a/b","y":{"z":[]}}', PushRequestBody("a/b")),
        (b'{"x":%s%s,"model":"a/b"}' % (b"[" * 500, b"]" * 500), PushRequestBody("a/b")),
        (
            '{"mode\u017f":1,"pa\u017f\u017fword":"p","model":"a/b"}'.encode(),
            PushRequestBody("a/b", login=Login("", "p")),
        ),
        ('{"pa\u00dfword":5,"model":"a/b"}'.encode(), PushRequestBody("a/b")),
    ],
)
def test_what_a_real_server_takes_is_taken(raw: bytes, body: PushRequestBody) -> None:
    assert PushRequestBody.parse(raw) == body


@pytest.mark.parametrize("username", ["me:hunter2", ":hunter2"])
def test_a_user_name_that_holds_a_password_is_refused_without_it(username: str) -> None:
    with pytest.raises(RequestRefused, match="a user name has no colon") as caught:
        PushRequestBody.parse(f'{{"model":"a/b","username":"{username}"}}'.encode())
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_password_does_not_show() -> None:
    body = PushRequestBody.parse(b'{"model":"a/b","username":"alice","password":"hunter2"}')
    assert "hunter2" not in repr(body)
    assert body.login is not None
    assert body.login.password == "hunter2"
    assert PushRequestBody.parse(b'{"model":"a/b"}').login is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """*value* as ``decode_first`` returns it."""
    if isinstance(value, dict):
        return tuple((key, plain(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return float(value) if type(value) is int else value


@given(JSON_VALUES, st.booleans(), st.binary(max_size=5))
def test_every_value_is_read_to_its_end(value: Any, ascii_only: bool, more: bytes) -> None:  # noqa: FBT001 - drawn
    raw = json.dumps([value], ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert decode_first(b" " + raw + more) == decode_first(raw) == [plain(value)]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123.eE+-truefalsnl\\u ', max_size=40).map(str.encode))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    with suppress(RequestRefused):
        assert PushRequestBody.parse(body).model


def test_marks_of_html_are_escaped_as_go_does() -> None:
    assert encode_go({"error": "<a href='x'>&\u2028\u2029\x85\x7f\n\ud800"}) == (
        b'{"error":"\\u003ca href=\'x\'\\u003e\\u0026\\u2028\\u2029\xc2\x85\x7f\\n\xef\xbf\xbd"}'
    )


def test_private_is_read_as_a_switch() -> None:
    assert PushRequestBody.parse(b'{"model":"a/b","private":true}').private
    assert not PushRequestBody.parse(b'{"model":"a/b"}').private
    with pytest.raises(RequestRefused, match=r"cannot unmarshal string .* PushRequest\.private of type bool"):
        PushRequestBody.parse(b'{"model":"a/b","private":"yes"}')
