"""Bodies as Go reads them: what is taken, and the words for what is not."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.credentials import Login
from ollama_push.gateway.go_json import GoSyntaxError, encode_go, read_value
from ollama_push.gateway.push_request import BadRequest, PushOrder, read_order


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
        (b"nul", "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b'"abc', "unexpected EOF"),
        (b"{model:1}", "invalid character 'm' looking for beginning of object key string"),
        (b"{'model':1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a":[1 2]}', "invalid character '2' after array element"),
        (b'{"a":[1,]}', "invalid character ']' looking for beginning of value"),
        (b'{"a":01}', "invalid character '1' after object key:value pair"),
        (b'{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"a":1e}', "invalid character '}' in exponent of numeric literal"),
        (b'{"a":-x}', "invalid character 'x' in numeric literal"),
        (b'{"a":trux}', "invalid character 'x' in literal true (expecting 'e')"),
        (b'{"a":nil}', "invalid character 'i' in literal null (expecting 'u')"),
        (b'{"a":"\n"}', r"invalid character '\n' in string literal"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"a":"\\u12g4"}', r"invalid character 'g' in \u hexadecimal character escape"),
        (b"\xef\xbb\xbf{}", "invalid character '\u00ef' looking for beginning of value"),
        (b"\x1f\x8b", r"invalid character '\x1f' looking for beginning of value"),
        (b"\x80", r"invalid character '\u0080' looking for beginning of value"),
        (b"\x7f", r"invalid character '\x7f' looking for beginning of value"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"[" * 10_001, "exceeded max depth"),
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
        (b'{"model":5,}', "invalid character '}' looking for beginning of object key string"),
    ],
)
def test_what_go_refuses_is_refused_in_its_words(body: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_order(body)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("body", "order"),
    [
        (b'{"model":"a/b"}', PushOrder("a/b")),
        (b'{"name":"a/b"}', PushOrder("a/b")),
        (b'{"name":"a/b","model":"c/d"}', PushOrder("c/d")),
        (b'{"name":"a/b","model":""}', PushOrder("a/b")),
        (b'{"MODEL":"a/b","Stream":false,"InSecure":true}', PushOrder("a/b", insecure=True, stream=False)),
        (b'{"model":"a/b","model":"c/d"}', PushOrder("c/d")),
        (b'{"model":"a/b","model":null}', PushOrder("a/b")),
        (b'{"model":"a/b","stream":false,"stream":null}', PushOrder("a/b")),
        (b'{"model":"a/b","insecure":true,"insecure":null}', PushOrder("a/b", insecure=True)),
        (b'{"model":"a/b"} trailing', PushOrder("a/b")),
        (b'{"model":"a/b"}{"model":"c/d"}', PushOrder("a/b")),
        (b'{"model":"a\xff\xfe/b"}', PushOrder("a\ufffd\ufffd/b")),
        (b'{"model":"a\\ud800/b"}', PushOrder("a\ufffd/b")),
        (b'{"model":"\\u0061/b"}', PushOrder("a/b")),
        (b'{"x":[{"model":"no"}],"model":"a/b","y":{"z":[]}}', PushOrder("a/b")),
        (b'{"x":%s%s,"model":"a/b"}' % (b"[" * 5000, b"]" * 5000), PushOrder("a/b")),
        ('{"mode\u017f":1,"pa\u017f\u017fword":"p","model":"a/b"}'.encode(), PushOrder("a/b", login=Login("", "p"))),
        ('{"pa\u00dfword":5,"model":"a/b"}'.encode(), PushOrder("a/b")),
    ],
)
def test_what_go_takes_is_taken(body: bytes, order: PushOrder) -> None:
    assert read_order(body) == order


@pytest.mark.parametrize("username", ["me:hunter2", ":hunter2"])
def test_a_user_name_that_holds_a_password_is_refused_without_it(username: str) -> None:
    with pytest.raises(BadRequest, match="a user name has no colon") as caught:
        read_order(f'{{"model":"a/b","username":"{username}"}}'.encode())
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_password_does_not_show() -> None:
    order = read_order(b'{"model":"a/b","username":"alice","password":"hunter2"}')
    assert "hunter2" not in repr(order)
    assert order.login is not None
    assert order.login.password == "hunter2"
    assert read_order(b'{"model":"a/b"}').login is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans(), st.binary(max_size=5))
def test_every_value_is_read_to_its_end(value: Any, ascii_only: bool, more: bytes) -> None:  # noqa: FBT001 - drawn
    raw = json.dumps([value], ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert read_value(b" " + raw + more).raw == raw


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123.eE+-truefalsnl\\u ', max_size=40).map(str.encode))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    try:
        token = read_value(body)
    except GoSyntaxError:
        return
    json.loads(token.raw.decode("utf-8", "replace"))


def test_marks_of_html_are_escaped_as_go_does() -> None:
    assert encode_go({"error": "<a href='x'>&\u2028\u2029\x85\x7f\n\ud800"}) == (
        b'{"error":"\\u003ca href=\'x\'\\u003e\\u0026\\u2028\\u2029\xc2\x85\x7f\\n\xef\xbf\xbd"}'
    )
