"""``login`` and ``logout``: tried first, kept where docker keeps it, never shown."""

import base64
import json
import os
import pty
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from tests.support.command import command
from tests.support.command_direct import PASSWORD, Home, at_home

from ollama_push.testing.registry import Auth, BasicAuth, EmbeddedRegistry, TokenAuth

pytestmark = pytest.mark.process

AUTHS: list[Auth] = [
    BasicAuth({"me": PASSWORD}),
    TokenAuth({"me": PASSWORD}, {"me": {"team/my-llama": {"pull", "push"}}}),
]
SCHEMES = pytest.mark.parametrize("auth", AUTHS, ids=["basic", "token"])


def log_in(home: Home, *more: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    options = ("--plain-http", "-u", "me", "--password-stdin")
    return home.run("login", home.registry.host, *options, *more, typed=f"{password}\n")


def kept(home: Home) -> Path:
    return home.folder / "docker" / "config.json"


@SCHEMES
def test_a_login_is_kept_and_used_until_the_logout(tmp_path: Path, auth: Auth) -> None:
    with at_home(tmp_path, auth=auth) as home:
        before = home.direct("push")
        done = log_in(home)
        file = json.loads(kept(home).read_text())
        pushed = home.direct("push")
        outs = [home.run("logout", home.registry.host) for _ in range(2)]
        after = home.direct("check")
    assert (before.returncode, done.returncode, pushed.returncode, after.returncode) == (6, 0, 0, 6)
    assert (done.stdout, done.stderr.splitlines()[0]) == ("", f"logged in to {home.registry.host} as me")
    assert done.stderr.splitlines()[1].startswith(f"warning: {kept(home)} holds the password in base64, which is no")
    assert base64.b64decode(file["auths"][home.registry.host]["auth"]).decode() == f"me:{PASSWORD}"
    assert stat.S_IMODE(kept(home).stat().st_mode) == 0o600
    assert [(out.returncode, out.stderr) for out in outs] == [
        (0, f"logged out of {home.registry.host}\n"),
        (0, f"there was no login for {home.registry.host}\n"),
    ]
    assert PASSWORD not in kept(home).read_text()


@SCHEMES
def test_a_wrong_password_exits_with_6_at_once_and_is_kept_and_shown_nowhere(tmp_path: Path, auth: Auth) -> None:
    with at_home(tmp_path, auth=auth) as home:
        done = log_in(home, password="hunter2")
        asked = [(seen.method, seen.path, seen.had_authorization) for seen in home.registry.requests]
    assert len(set(asked)) == len(asked)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith(f"error: {home.registry.host} does not accept the login of 'me'")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
    assert not kept(home).exists()


def test_a_mode_that_lets_others_read_is_kept_and_told(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        kept(home).parent.mkdir(exist_ok=True)
        kept(home).write_text("{}")
        kept(home).chmod(0o640)
        done = log_in(home)
    assert done.returncode == 0
    assert "warning: its mode 640 was kept, with which other users may read it; chmod 600 stops that" in done.stderr
    assert stat.S_IMODE(kept(home).stat().st_mode) == 0o640


def test_a_registry_that_wants_no_login_is_said_so(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = log_in(home)
    assert done.returncode == 0
    assert "did not ask for the login, so it was not checked" in done.stderr


def test_a_helper_that_docker_uses_keeps_the_password(tmp_path: Path) -> None:
    store = tmp_path / "kept.json"
    helper = tmp_path / "bin" / "docker-credential-box"
    helper.parent.mkdir()
    helper.write_text(f"#!/bin/sh\n[ \"$1\" = store ] && cat > '{store}'\nexit 0\n")
    helper.chmod(0o755)
    with at_home(tmp_path, auth=AUTHS[0]) as home:
        kept(home).parent.mkdir()
        kept(home).write_text('{"credsStore":"box"}')
        options = ("--plain-http", "-u", "me", "--password-stdin")
        path = f"{helper.parent}{os.pathsep}{os.environ['PATH']}"
        done = home.run("login", home.registry.host, *options, typed=PASSWORD, PATH=path)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, ["the password is kept by docker-credential-box"])
    assert json.loads(store.read_text())["Secret"] == PASSWORD
    assert PASSWORD not in kept(home).read_text()


def test_a_certificate_nobody_trusts_exits_with_4_and_ca_helps(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with EmbeddedRegistry(tmp_path / "data", auth=AUTHS[0], tls=context) as registry:
        home = Home(tmp_path, registry, b"")
        options = ("login", registry.host, "-u", "me", "--password-stdin")
        refused = home.run(*options, typed=PASSWORD)
        done = home.run(*options, "--ca", str(tmp_path / "ca.pem"), typed=PASSWORD)
    assert (refused.returncode, done.returncode) == (4, 0)
    assert "pass the CA that signed it with --ca, or SSL_CERT_FILE" in refused.stderr


def test_no_registry_exits_with_4_and_nothing_is_kept(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        home.registry.stop()
        done = log_in(home)
    assert done.returncode == 4
    assert not kept(home).exists()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["login", "logout"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://registry.example.com", "without a scheme or a path: registry.example.com"),
        ("registry.example.com/team", "without a scheme or a path: registry.example.com"),
        ("http://localhost:5000/v2/", "without a scheme or a path: localhost:5000"),
        ("https://me:hunter2@registry.example.com/", "without a scheme or a path: registry.example.com"),
        ("a b", "without a scheme or a path"),
        ("", "without a scheme or a path"),
    ],
)
def test_what_is_no_registry_is_refused_with_the_right_form(tmp_path: Path, verb: str, text: str, said: str) -> None:
    with at_home(tmp_path) as home:
        done = home.run(verb, text, *(("-u", "me", "--password-stdin") if verb == "login" else ()), typed=PASSWORD)
        assert home.registry.requests == []
    assert done.returncode == 2
    assert done.stderr.endswith(f"expected host or host:port, {said}\n")
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("options", "typed", "said"),
    [
        ([], "", "there is no terminal to ask on; use --user and --password-stdin"),
        (["-u", "me"], "", "there is no terminal to ask on; use --user and --password-stdin"),
        (["--password-stdin"], "x", "--password-stdin needs --user"),
        (["-u", "me", "--password-stdin"], "\n", "stdin holds no password"),
        (["-u", "me", PASSWORD], "", "unexpected extra argument"),
    ],
)
def test_a_login_that_cannot_be_asked_for_is_wrong_usage(
    tmp_path: Path, options: list[str], typed: str, said: str
) -> None:
    with at_home(tmp_path) as home:
        done = home.run("login", home.registry.host, *options, typed=typed)
        assert home.registry.requests == []
    assert done.returncode == 2
    assert said in done.stderr


def test_a_password_that_is_no_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        arguments = command("login", home.registry.host, "-u", "me", "--password-stdin")
        variables = {**home.variables, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run(
            arguments, input=b"hunter2\xff", capture_output=True, timeout=30, check=False, env=variables
        )
    assert done.returncode == 2
    assert done.stderr.endswith(b"Error: the password on stdin is not UTF-8\n")
    assert b"hunter2" not in done.stderr


@contextmanager
def typing(home: Home, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the command on a terminal of which the test has the other end."""
    ours, theirs = pty.openpty()
    # A session of its own: /dev/tty is then nobody's, and the password is asked for on this terminal.
    process = subprocess.Popen(
        command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=home.variables, start_new_session=True
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(ours: int, text: str) -> str:
    screen = ""
    while text not in screen:
        data = os.read(ours, 4096).decode()
        assert data, screen
        screen += data
    return screen


def test_a_terminal_is_asked_and_the_password_is_not_echoed(tmp_path: Path) -> None:
    with (
        at_home(tmp_path, auth=AUTHS[0]) as home,
        typing(home, "login", home.registry.host, "--plain-http") as (ours, process),
    ):
        screen = read_until(ours, "user: ")
        os.write(ours, b"me\n")
        screen += read_until(ours, "assword: ")
        os.write(ours, f"{PASSWORD}\n".encode())
        screen += read_until(ours, "protects it.")
        assert process.wait(10) == 0
    assert f"logged in to {home.registry.host} as me" in screen
    assert PASSWORD not in screen
