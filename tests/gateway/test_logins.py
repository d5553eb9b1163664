"""Whose login goes to a registry: a client may name its own, and cannot have the gateway's travel in the clear."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.support.gateway import Gateway, settings_for, store_of

from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials
from ollama_push.testing.server import ScriptedServer, json_answer

OURS = Login("gateway", "correct horse")
THEIRS = Login("alice", "battery staple")
HOST = "registry.example.com"
CHALLENGE = {"WWW-Authenticate": 'Basic realm="a registry"', "Connection": "close"}


def basic(login: Login) -> str:
    return f"Basic {b64encode(f'{login.username}:{login.password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("settings", "order", "shown"),
    [
        pytest.param({"loopback": False}, {}, None, id="a client from elsewhere, our login"),
        pytest.param(
            {"loopback": False}, {"username": THEIRS.username, "password": THEIRS.password}, THEIRS, id="its own login"
        ),
        pytest.param({"loopback": False, "plain_http": True}, {}, OURS, id="plain HTTP is our own choice"),
        pytest.param({"loopback": True}, {}, OURS, id="a client on this machine"),
    ],
)
def test_in_the_clear_off_this_machine_goes_only_a_login_that_its_owner_sends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    order: dict[str, str],
    shown: Login | None,
) -> None:
    # In plain HTTP, a proxy reads what the registry would.
    with ScriptedServer(json_answer(b"", 401, CHALLENGE)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        store = store_of(tmp_path, f"{HOST}/team/demo/latest")
        with Gateway(settings_for(store, credentials=Credentials(OURS, environ={}), **settings)) as gateway:
            response = gateway.push({"model": f"{HOST}/team/demo", "insecure": True, **order})
    assert "access denied" in response.error
    assert {request.headers["host"] for request in proxy.requests} == {HOST}
    sent = {request.headers.get("authorization") for request in proxy.requests}
    assert sent == ({None} if shown is None else {None, basic(shown)})


def test_what_a_browser_sends_by_itself_pushes_nothing(tmp_path: Path) -> None:
    """After its status page was opened, pages of others that run on an allowed origin could use that."""
    with Gateway(settings_for(store_of(tmp_path), token="s3cret")) as gateway:
        known = {"Authorization": basic(Login("x", "s3cret"))}
        assert gateway.send("GET", "/ui", headers=known).status == 200
        for method, path in (("POST", "/api/push"), ("GET", "/api/tags"), ("GET", "/metrics")):
            assert gateway.send(method, path, b"{}" if method == "POST" else b"", known).status == 401


@pytest.mark.parametrize("stream", [True, False])
def test_a_user_name_that_nobody_can_have_is_no_push(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, stream: bool
) -> None:
    with Gateway(settings_for(store_of(tmp_path, f"{HOST}/team/demo/latest"))) as gateway:
        response = gateway.push({"model": f"{HOST}/team/demo", "username": "me:hunter2", "stream": stream})
        assert gateway.records() == ()
    assert (response.status, "no colon" in response.error) == (400, True)
    assert "hunter2" not in response.body.decode() + caplog.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("echo", ["/login?next=%2F&auth={}", "/login/{}/again", "ftp://sso.example.com/#{}"])
def test_our_login_in_a_location_reaches_no_client_and_no_page(tmp_path: Path, echo: str, *, stream: bool) -> None:
    location = echo.format(basic(OURS).partition(" ")[2])
    scripts = json_answer(b"", 401, CHALLENGE), json_answer(b"", 302, {"Location": location})
    with ScriptedServer(*scripts) as registry:
        host = registry.url.removeprefix("http://")
        store = store_of(tmp_path, f"{host}/team/demo/latest")
        with Gateway(settings_for(store, credentials=Credentials(OURS, environ={}))) as gateway:
            response = gateway.push({"model": f"{host}/team/demo", "insecure": True, "stream": stream})
            page = gateway.send("GET", "/ui").body
    assert any("authorization" in request.headers for request in registry.requests)
    assert b"redirected to" in response.body
    for form in (OURS.password, basic(OURS).partition(" ")[2].rstrip("=")):
        assert form.encode() not in response.body + page


@pytest.mark.parametrize("unit", ["a.", "a://", "://", "basic ", "password="])
def test_a_long_name_is_refused_in_few_words(tmp_path: Path, unit: str) -> None:
    """That it takes no longer than reading it is tested in tests/property/test_growth.py."""
    with Gateway(settings_for(store_of(tmp_path))) as gateway:
        response = gateway.push({"model": f"{unit * (60_000 // len(unit))}/b", "stream": False})
        assert len(gateway.send("GET", "/ui").body) < 20_000
    assert response.status == 500
    assert len(response.body) < 2_000
