"""The questions before a push, asked by hand: no client, no server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from ollama_push.core.errors import (
    ConnectCause,
    ConnectFailed,
    ConnectionLost,
    InvalidModelName,
    InvalidSetting,
    PushRejected,
    RejectionReason,
    ServerError,
    TransportError,
    UnexpectedContent,
)
from ollama_push.core.names import ModelName
from ollama_push.core.ports import HttpRequest
from ollama_push.core.responses import BufferedResponse
from ollama_push.core.server.check import (
    CHECK_TIMEOUT_SECONDS,
    Readiness,
    check_flow,
    private_flow,
)
from ollama_push.core.version import USER_AGENT

_JSON: Final = {"content-type": "application/json; charset=utf-8"}
_ELSEWHERE: Final = "registry.example.com/team/my-llama"
_CLOUD: Final = "myuser/my-llama"

Reply = BufferedResponse | TransportError


def _json(value: Any, status: int = 200) -> BufferedResponse:
    return BufferedResponse(status, _JSON, json.dumps(value).encode())


VERSION: Final = _json({"version": "0.32.15"})


def _tags(*names: str, size: Any = 7) -> BufferedResponse:
    return _json({"models": [{"name": name, "model": name, "size": size} for name in names]})


def _ask(
    model: str | ModelName, *replies: Reply, headers: Mapping[str, str] | None = None
) -> tuple[list[HttpRequest], Readiness]:
    """Answer the flow's requests in turn; all replies must be used."""
    flow, requests, left = check_flow(model, "http://h:1/p", headers or {}), list[HttpRequest](), list(replies)
    with pytest.raises(StopIteration) as stop:  # noqa: PT012 - it may come with any answer
        requests.append(next(flow).request)
        while True:
            requests.append(flow.send(left.pop(0)).request)
    assert not left
    assert isinstance(stop.value.value, Readiness)
    return requests, stop.value.value


def test_a_push_that_will_work() -> None:
    requests, ready = _ask(_CLOUD, VERSION, _tags("myuser/my-llama:latest", size=12), _json({"name": "myuser"}))
    assert ready == Readiness("myuser/my-llama:latest", (), "0.32.15", 12, "myuser")
    assert ready.ok
    assert [(request.method, request.url) for request in requests] == [
        ("GET", "http://h:1/p/api/version"),
        ("GET", "http://h:1/p/api/tags"),
        ("POST", "http://h:1/p/api/me"),
    ]


def test_questions_are_small_and_carry_the_clients_headers() -> None:
    requests, _ = _ask(_ELSEWHERE, VERSION, _tags(_ELSEWHERE), headers={"accept": "x/y", "Authorization": "Bearer t"})
    for request in requests:
        assert request.read_timeout == CHECK_TIMEOUT_SECONDS
        assert request.body == b""
        assert (request.headers["User-Agent"], request.headers["accept"]) == (USER_AGENT, "x/y")
        assert request.headers["Authorization"] == "Bearer t"


def test_an_illegal_name_is_asked_about_nobody() -> None:
    requests, ready = _ask("bare")
    assert requests == []
    assert (ready.model, ready.ok) == ("bare", False)
    assert isinstance(ready.problems[0], InvalidModelName)


def test_another_registry_is_not_asked_who_we_are() -> None:
    requests, ready = _ask(ModelName.parse(_ELSEWHERE), VERSION, _tags(_ELSEWHERE))
    assert len(requests) == 2
    assert (ready.ok, ready.account) == (True, None)


def test_an_unreachable_server_is_asked_once() -> None:
    error = ConnectFailed("http://h:1", ConnectCause.REFUSED)
    requests, ready = _ask(_CLOUD, error)
    assert len(requests) == 1
    assert ready.problems == (error,)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_us_is_asked_once(status: int) -> None:
    requests, ready = _ask(_CLOUD, _json({"error": "who are you"}, status))
    assert len(requests) == 1
    (problem,) = ready.problems
    assert isinstance(problem, ServerError)
    assert problem.message == "who are you"


@pytest.mark.parametrize(
    "version", [_json({}, 404), BufferedResponse(200, {}, b"nope"), _json([1]), _json({"version": 5})]
)
def test_a_server_without_a_version_is_no_problem(version: BufferedResponse) -> None:
    _, ready = _ask(_ELSEWHERE, version, _tags(_ELSEWHERE))
    assert (ready.ok, ready.server_version) == (True, None)


def test_a_connection_that_breaks_is_the_problem() -> None:
    error = ConnectionLost("http://h:1")
    _, ready = _ask(_ELSEWHERE, VERSION, error)
    assert ready.problems == (error,)


def test_a_question_that_nobody_has_read_is_asked_again_by_a_new_connection() -> None:
    unread = ConnectionLost("http://h:1", unread=True)
    requests, ready = _ask(_ELSEWHERE, unread, VERSION, unread, _tags(_ELSEWHERE))
    assert ready.ok
    assert [request.fresh for request in requests] == [False, True, False, True]


def test_a_failing_list_of_models_is_the_problem() -> None:
    _, ready = _ask(_ELSEWHERE, VERSION, _json({"error": "disk"}, 500))
    (problem,) = ready.problems
    assert isinstance(problem, ServerError)
    assert (problem.status, problem.message) == (500, "disk")


@pytest.mark.parametrize(
    "response",
    [
        BufferedResponse(204, {}, b""),
        BufferedResponse(200, {"content-type": "text/html"}, b"<p>Welcome</p>"),
        BufferedResponse(200, _JSON | {"content-encoding": "gzip"}, b'{"models":[]}'),
        BufferedResponse(200, _JSON, b"nope"),
        BufferedResponse(200, _JSON, b"[]"),
        BufferedResponse(200, {}, b'{"models":[' + b"[" * 100_000),
    ],
    ids=["204", "html", "gzip", "text", "array", "deep"],
)
def test_a_list_that_is_no_ollamas_is_the_problem(response: BufferedResponse) -> None:
    _, ready = _ask(_ELSEWHERE, VERSION, response)
    assert [type(problem) for problem in ready.problems] == [UnexpectedContent]


def _missing(*names: str, model: str = _ELSEWHERE) -> PushRejected:
    _, ready = _ask(model, VERSION, _tags(*names), *([_json({"name": "me"})] if model == _CLOUD else []))
    (problem,) = ready.problems
    assert isinstance(problem, PushRejected)
    assert problem.reason is RejectionReason.MODEL_NOT_FOUND
    assert ready.total_bytes is None
    return problem


def test_a_model_that_is_not_there_is_the_problem() -> None:
    assert str(_missing()) == f"the server has no model '{_ELSEWHERE}:latest'"


def test_a_missing_model_names_its_copy_first() -> None:
    text = str(_missing("myuser/my-lama:latest", "my-llama:latest", model=_CLOUD))
    assert "the nearest are 'my-llama:latest', 'myuser/my-lama:latest'" in text
    assert "(copy 'my-llama:latest' to this name on the server first)" in text


@pytest.mark.parametrize(
    ("there", "wanted"),
    [("a/my-llama:v1", "a/my-llama:v3"), ("a/mistral-small:latest", "a/mixtral"), ("my-llama:v1", "a/my-llama:v3")],
)
def test_a_copy_that_would_publish_other_weights_is_never_advised(there: str, wanted: str) -> None:
    _, ready = _ask(wanted, VERSION, _tags(there), _json({"name": "me"}))
    (problem,) = ready.problems
    assert isinstance(problem, PushRejected)
    assert (problem.advice, there in str(problem)) == (None, True)


def test_a_gateway_copies_nothing_and_is_known_by_what_it_says() -> None:
    _, ready = _ask(
        _CLOUD, _json({"version": "0.1.0", "ollama_push_gateway": True}), _tags("my-llama:latest"), _json({}, 404)
    )
    (problem,) = ready.problems
    assert ready.is_gateway
    assert str(problem).endswith("; the nearest are 'my-llama:latest'")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (["zebra:v1"], "; it has 'zebra:v1'"),
        ([f"zebra{number}:v1" for number in range(5)], "; it has 'zebra0:v1', 'zebra1:v1', 'zebra2:v1' and 2 more"),
    ],
)
def test_what_is_there_is_named_where_nothing_is_like_it(models: list[str], said: str) -> None:
    assert str(_missing(*models)).endswith(said)


@pytest.mark.parametrize(("base", "said"), [("http://h:1/v1", "path /v1 out of"), ("http://h:1", "an Ollama server?")])
def test_a_server_that_knows_no_models_is_told_by_its_address(base: str, said: str) -> None:
    flow = check_flow(_ELSEWHERE, base, {})
    next(flow)
    page = BufferedResponse(404, {}, b"404 page not found")
    flow.send(page)
    with pytest.raises(StopIteration) as ended:
        flow.send(page)
    (problem,) = ended.value.value.problems
    assert "404 page not found; " in str(problem)
    assert said in str(problem)


def test_a_proxy_that_refuses_to_say_who_we_are_is_no_problem() -> None:
    _, ready = _ask(_CLOUD, VERSION, _tags(_CLOUD), BufferedResponse(401, {}, b"<h1>401 Authorization Required</h1>"))
    assert ready.ok


def test_only_the_nearest_models_are_named() -> None:
    text = str(_missing(*(f"my-llama:v{number}" for number in range(9)), "unlike:latest"))
    assert text.partition(" (")[0].count("'my-llama:v") == 3
    assert "unlike" not in text


@pytest.mark.parametrize(
    "models",
    [None, {}, [5], [{}], [{"model": 5}], [{"model": None, "name": ""}], [{"model": "a b", "size": 1}]],
)
def test_odd_lists_hold_no_model(models: Any) -> None:
    _, ready = _ask(_ELSEWHERE, VERSION, _json({"models": models, "x": 1}))
    assert [type(problem) for problem in ready.problems] == [PushRejected]


@pytest.mark.parametrize(("size", "total"), [(12, 12), (True, None), ("12", None), (None, None), (1.5, None)])
def test_only_a_whole_number_is_a_size(size: Any, total: int | None) -> None:
    _, ready = _ask(_ELSEWHERE, VERSION, _tags("x:1", _ELSEWHERE.upper(), size=size))
    assert (ready.ok, ready.total_bytes) == (True, total)


def test_old_servers_list_models_by_name() -> None:
    _, ready = _ask(_ELSEWHERE, VERSION, _json({"models": [{"name": f"{_ELSEWHERE}:latest", "size": 3}]}))
    assert ready.total_bytes == 3


def test_who_is_not_signed_in_learns_where() -> None:
    me = _json({"error": "unauthorized", "signin_url": "https://ollama.com/connect?k=1"}, 401)
    _, ready = _ask(_CLOUD, VERSION, _tags(_CLOUD), me)
    assert ready.signin_url == "https://ollama.com/connect?k=1"
    assert [type(problem) for problem in ready.problems] == [ServerError]
    assert ready.total_bytes == 7


@pytest.mark.parametrize(
    "me", [ConnectionLost("http://h:1"), _json({}, 404), _json({}), _json({"name": ""}), _json({"name": 5})]
)
def test_a_server_that_cannot_tell_who_we_are_is_no_problem(me: Reply) -> None:
    _, ready = _ask(_CLOUD, VERSION, _tags(_CLOUD), me)
    assert (ready.ok, ready.account, ready.signin_url) == (True, None, None)


def test_problems_add_up() -> None:
    _, ready = _ask(_CLOUD, VERSION, _tags(), _json({"error": "unauthorized"}, 401))
    assert [type(problem) for problem in ready.problems] == [PushRejected, ServerError]


@pytest.mark.parametrize("said", [{"version": "0.32.15"}, {"private": "yes"}, {"private": 1}, {"private": False}])
def test_a_server_that_does_not_say_that_it_knows_private_pushes_gets_none(said: dict[str, Any]) -> None:
    flow = private_flow("http://h:1", {"X-More": "1"})
    request = next(flow).request
    assert (request.method, request.url, request.headers["X-More"]) == ("GET", "http://h:1/api/version", "1")
    with pytest.raises(InvalidSetting, match="http://h:1 does not say that it knows private pushes"):
        flow.send(_json(said))


def test_a_server_that_says_so_may_push_privately() -> None:
    flow = private_flow("http://h:1", {})
    next(flow)
    with pytest.raises(StopIteration):
        flow.send(_json({"version": "1", "private": True}))


def test_a_server_that_cannot_be_asked_is_no_reason_to_publish() -> None:
    failure = ConnectFailed("http://h:1", ConnectCause.REFUSED)
    flow = private_flow("http://h:1", {})
    next(flow)
    with pytest.raises(ConnectFailed):
        flow.send(failure)
