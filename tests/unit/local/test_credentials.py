"""Who we are: the first of several places that knows, and no secret on the way."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.support.credential_helper import Helper

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import AccessToken, Credential, IdentityToken, Login
from ollama_push.local import Credentials
from ollama_push.local.helper_programs import HelperProgram

_HOST = "registry.example.com"
_SECRET = "s3cret:with:colons"
_ME = Login("me", _SECRET)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@attrs.frozen
class Machine:
    """A home directory and an environment of its own."""

    home: Path
    environ: dict[str, str]
    helper: Helper

    def write(self, content: Any, path: str = ".docker/config.json") -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    def credentials(self, **environ: str) -> Credentials:
        return Credentials(environ={**self.environ, **environ})

    def problem(self, **environ: str) -> InvalidSetting:
        with pytest.raises(InvalidSetting) as caught:
            self.credentials(**environ).find(_HOST)
        chain: BaseException | None = caught.value
        while chain is not None:
            assert "s3cret" not in f"{chain} {chain!r}"
            chain = chain.__cause__
        assert caught.value.__suppress_context__ or caught.value.__cause__ is caught.value.__context__
        return caught.value


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    helper = Helper(tmp_path / "bin")
    return Machine(home, {"HOME": str(home), "PATH": str(helper.directory)}, helper)


def test_nobody_is_anonymous(machine: Machine) -> None:
    assert machine.credentials().find(_HOST) is None


def test_places_are_asked_in_order(machine: Machine) -> None:
    machine.helper.install(**{_HOST: {"Username": "helper", "Secret": "s"}})
    machine.write({"auths": {_HOST: {"auth": encoded("podman:s")}}}, "run/containers/auth.json")
    runtime = {"XDG_RUNTIME_DIR": str(machine.home / "run")}
    environment = {"OLLAMA_USERNAME": "env", "OLLAMA_PASSWORD": "s"}
    seen = [machine.credentials(**runtime).find(_HOST)]
    for docker in (
        {"credsStore": "fake"},
        {"credsStore": "fake", "auths": {_HOST: {"auth": encoded("file:s")}}},
        {"credsStore": "none", "credHelpers": {_HOST: "fake"}, "auths": {_HOST: {"auth": encoded("file:s")}}},
    ):
        machine.write(docker)
        seen.append(machine.credentials(**runtime).find(_HOST))
    seen.append(machine.credentials(**runtime, **environment).find(_HOST))
    everything = {**machine.environ, **runtime, **environment}
    seen.append(Credentials(Login("explicit", "s"), environ=everything).find(_HOST))
    names = ["podman", "helper", "file", "helper", "env", "explicit"]
    assert seen == [Login(name, "s") for name in names]


@pytest.mark.parametrize("there", ["OLLAMA_USERNAME", "OLLAMA_PASSWORD"])
def test_half_a_login_in_the_environment_is_an_error_without_its_value(machine: Machine, there: str) -> None:
    error = machine.problem(**{there: "s3cret"})
    assert error.setting == there
    assert "is not set; a login needs both" in str(error)


def test_empty_variables_are_no_login(machine: Machine) -> None:
    assert machine.credentials(OLLAMA_USERNAME="", OLLAMA_PASSWORD="").find(_HOST) is None


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"auth": encoded(f"me:{_SECRET}")}, _ME),
        ({"auth": encoded("me:pass\0\0")}, Login("me", "pass")),
        ({"auth": encoded("me:")}, Login("me", "")),
        ({"username": "me", "password": _SECRET}, _ME),
        ({"auth": encoded("x:y"), "identitytoken": "t"}, IdentityToken("t")),
        ({"registrytoken": "t"}, AccessToken("t")),
        ({}, None),
        ({"auth": "", "email": "me@x"}, None),
        ("nonsense", None),
    ],
)
def test_entries_are_read_as_docker_writes_them(machine: Machine, entry: Any, found: Credential | None) -> None:
    machine.write({"auths": {_HOST: entry}})
    assert machine.credentials().find(_HOST) == found


@pytest.mark.parametrize("key", [_HOST, f"https://{_HOST}", f"http://{_HOST}/", f"https://{_HOST}/v1/"])
def test_any_spelling_of_the_registry_is_found(machine: Machine, key: str) -> None:
    machine.write({"auths": {"other.example.com": {"auth": encoded("no:no")}, key: {"auth": encoded("me:p")}}})
    assert machine.credentials().find(_HOST) == Login("me", "p")


@pytest.mark.parametrize(
    ("path", "environ"),
    [
        ("d/config.json", {"DOCKER_CONFIG": "d"}),
        ("a.json", {"REGISTRY_AUTH_FILE": "a.json"}),
        ("r/containers/auth.json", {"XDG_RUNTIME_DIR": "r"}),
        ("c/containers/auth.json", {"XDG_CONFIG_HOME": "c"}),
        (".config/containers/auth.json", {}),
    ],
)
def test_each_usual_file_is_read(machine: Machine, path: str, environ: dict[str, str]) -> None:
    machine.write({"auths": {_HOST: {"auth": encoded("me:p")}}}, path)
    named = {name: str(machine.home / value) for name, value in environ.items()}
    assert machine.credentials(**named).find(_HOST) == Login("me", "p")


def test_a_given_file_is_the_only_one_read(machine: Machine, tmp_path: Path) -> None:
    machine.write({"auths": {_HOST: {"auth": encoded("me:p")}}})
    assert Credentials(environ=machine.environ, config_file=tmp_path / "none.json").find(_HOST) is None


def test_an_empty_file_is_no_error(machine: Machine) -> None:
    machine.write("\n")
    assert machine.credentials().find(_HOST) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("s3cret", "the file is no JSON"),
        ('["s3cret"]', "the file is no JSON object"),
        ({"auths": ["s3cret"]}, "its auths is no JSON object"),
        ({"auths": {_HOST: {"auth": "s3cret!"}}}, f"the login for '{_HOST}' cannot be read"),
        ({"auths": {_HOST: {"auth": encoded("s3cret")}}}, "its auth is no base64 of user:password"),
        ({"auths": {_HOST: {"auth": "/w=="}}}, "its auth is no base64 of user:password"),
        ({"auths": {_HOST: {"registrytoken": "s3cret\r\nX: 1"}}}, "expected visible ASCII characters"),
        ({"auths": {_HOST: {"registrytoken": "s3cret and more"}}}, "expected visible ASCII characters"),
        ({"auths": {_HOST: {"username": "a:b", "password": "s3cret"}}}, "a user name has no colon"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_without_its_content(machine: Machine, content: Any, words: str) -> None:
    path = machine.write(content)
    error = machine.problem()
    assert words in str(error)
    assert error.value == str(path)


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_an_error_at_once(machine: Machine, kind: str) -> None:
    path = machine.write({})
    path.unlink()
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    assert "it is no regular file" in str(machine.problem())


def test_a_helper_may_answer_with_a_token_or_with_nothing(machine: Machine) -> None:
    machine.helper.install(**{_HOST: {"Username": "<token>", "Secret": "t"}, "empty:1": {"Username": "", "Secret": ""}})
    machine.write({"credsStore": "fake"})
    assert machine.credentials().find(_HOST) == IdentityToken("t")
    assert machine.credentials().find("empty:1") is None
    assert machine.credentials().find("unknown:1") is None


def test_a_helper_is_asked_by_docker_s_own_name_for_its_registry(machine: Machine) -> None:
    machine.helper.install(**{"https://index.docker.io/v1/": {"Username": "me", "Secret": "p"}})
    machine.write({"credHelpers": {"docker.io": "fake"}})
    assert machine.credentials().find("docker.io") == Login("me", "p")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho s3cret; echo s3cret >&2; exit 3\n", "docker-credential-fake get failed with exit code 3"),
        ("#!/bin/sh\necho s3cret\n", "it did not answer with Username and Secret"),
        ('#!/bin/sh\necho \'{"Username":5,"Secret":"s3cret"}\'\n', "it did not answer with Username and Secret"),
        ('#!/bin/sh\necho \'{"Username":"s3cret"}\'\n', "it did not answer with Username and Secret"),
        ("#!/bin/sh\necho '[\"s3cret\"]'\n", "it did not answer with Username and Secret"),
        ("#!/nowhere/at/all\n", "docker-credential-fake cannot be run: No such file or directory"),
    ],
)
def test_a_helper_that_fails_is_named_without_what_it_printed(machine: Machine, script: str, words: str) -> None:
    machine.helper.install_script(script)
    machine.write({"credsStore": "fake"})
    error = machine.problem()
    assert words in str(error)
    assert error.value == "fake"


def test_a_helper_that_is_not_installed_is_named(machine: Machine) -> None:
    machine.write({"credsStore": "absent"})
    assert "there is no program docker-credential-absent on the PATH" in str(machine.problem())


@pytest.mark.parametrize("name", ["../fake", "a b", "a/b", "fake;x"])
def test_a_helper_s_name_cannot_lead_anywhere_else(machine: Machine, name: str) -> None:
    machine.helper.install(**{_HOST: {"Username": "me", "Secret": "p"}})
    machine.write({"credsStore": name})
    assert "this is no helper's name" in str(machine.problem())


def test_a_helper_that_hangs_is_given_up(machine: Machine) -> None:
    machine.helper.install_script(f"#!{sys.executable}\nimport signal\nprint('s3cret', flush=True)\nsignal.pause()\n")
    with pytest.raises(InvalidSetting, match=r"did not answer within 0\.5 s") as caught:
        HelperProgram("fake", machine.environ, timeout_seconds=0.5).get(_HOST)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "script",
    ["printf s3cret; exec >&-; exec $SLEEP 60", "while :; do printf s3cret; $SLEEP 0.1; done"],
    ids=["closes its output", "drips"],
)
@pytest.mark.parametrize("verb", ["get", "store"])
def test_a_helper_that_never_ends_is_cut_off(machine: Machine, script: str, verb: str) -> None:
    machine.helper.install_script(f"#!/bin/sh\nSLEEP={shutil.which('sleep')}\n{script}\n")
    helper = HelperProgram("fake", machine.environ, timeout_seconds=0.5)
    with pytest.raises(InvalidSetting, match=rf"{verb} did not answer within 0\.5 s"):
        helper.get(_HOST) if verb == "get" else helper.store(_HOST, Login("me", "p" * 1_000_000))


def test_a_helper_whose_child_keeps_its_output_open_is_cut_off(machine: Machine, tmp_path: Path) -> None:
    script = f"#!/bin/sh\n{shutil.which('sleep')} 60 & echo $! > {tmp_path}/child\nwait\n"
    machine.helper.install_script(script)
    began = time.monotonic()
    with pytest.raises(InvalidSetting, match=r"did not answer within 2 s"):
        HelperProgram("fake", machine.environ, timeout_seconds=2).get(_HOST)
    took = time.monotonic() - began
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert took < 30


def test_a_helper_that_prints_for_ever_is_cut_off(machine: Machine) -> None:
    machine.helper.install_script(f"#!/bin/sh\nexec {shutil.which('yes')} s3cret\n")
    with pytest.raises(InvalidSetting, match="get printed more than 1048576 bytes") as caught:
        HelperProgram("fake", machine.environ).get(_HOST)
    assert "s3cret" not in repr(caught.value)


def test_a_helper_that_reads_nothing_is_heard_all_the_same(machine: Machine) -> None:
    machine.helper.install_script("#!/bin/sh\nexit 0\n")
    HelperProgram("fake", machine.environ).store(_HOST, Login("me", "p" * 1_000_000))


def test_nothing_of_a_helper_shows_its_environment(machine: Machine) -> None:
    assert "s3cret" not in repr(HelperProgram("fake", {"TOKEN": "s3cret"}))


def test_the_process_s_own_environment_is_the_default(machine: Machine) -> None:
    program = "from ollama_push.local import Credentials; print(Credentials().find('h').username)"
    environ = {**machine.environ, "OLLAMA_USERNAME": "me", "OLLAMA_PASSWORD": "p"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, timeout=30, check=True)
    assert done.stdout == b"me\n"


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("registry.example.com", True),
        ("registry.example.com:5000", True),
        ("other.example.com:5000", True),
        ("other.example.com", False),
        ("evil.example.com", False),
    ],
)
def test_the_environments_login_is_for_the_registries_it_is_said_to_be_for(
    tmp_path: Path,
    host: str,
    found: bool,  # noqa: FBT001 - a row of the table
) -> None:
    environ = {"OLLAMA_USERNAME": "me", "OLLAMA_PASSWORD": "hush", "HOME": str(tmp_path)}
    credentials = Credentials(environ=environ, environment_for=["registry.example.com", "other.example.com:5000"])
    assert (credentials.find(host) == Login("me", "hush")) is found


# --- logins for namespaces, and more places


def _robots(**logins: str) -> dict[str, Any]:
    return {"auths": {key.replace("_", "/"): {"auth": encoded(f"{name}:s")} for key, name in logins.items()}}


def test_the_login_of_the_nearest_namespace_counts(machine: Machine) -> None:
    machine.helper.install(h={"Username": "helper", "Secret": "s"})
    machine.write({"credsStore": "fake", **_robots(h="host", h_team="team", h_team_m="model", h_tea="other")})
    credentials = machine.credentials()
    found = [credentials.find_for("h", name) for name in ("team/m", "team/x", "team2/m", "tea")]
    assert found == [Login(name, "s") for name in ("model", "team", "host", "other")]
    assert credentials.find("h") == Login("host", "s")


def test_a_helper_that_is_gone_does_not_hide_a_later_login(machine: Machine) -> None:
    machine.write({"credsStore": "gone"})
    assert "gone" in str(machine.problem())
    machine.write({"auths": {_HOST: {"auth": encoded("podman:s")}}}, ".config/containers/auth.json")
    assert machine.credentials().find(_HOST) == Login("podman", "s")


def test_what_a_variable_names_comes_before_the_usual_places(machine: Machine) -> None:
    def login(name: str) -> dict[str, Any]:
        return {"auths": {_HOST: {"auth": encoded(f"{name}:s")}}}

    machine.write(login("home"))
    named = {"REGISTRY_AUTH_FILE": str(machine.write(login("podman"), "podman.json"))}
    chosen = {"DOCKER_CONFIG": str(machine.write(login("docker"), "docker/config.json").parent)}
    text = {"DOCKER_AUTH_CONFIG": json.dumps(login("text"))}
    places: list[dict[str, str]] = [{}, named, {**named, **chosen}, {**named, **chosen, **text}]
    found = [machine.credentials(**environ).find(_HOST) for environ in places]
    assert found == [Login(name, "s") for name in ("home", "podman", "docker", "text")]


def test_a_configuration_in_a_variable_that_cannot_be_read_is_not_shown(machine: Machine) -> None:
    assert "DOCKER_AUTH_CONFIG" in str(machine.problem(DOCKER_AUTH_CONFIG="{s3cret"))


def test_base64_may_be_wrapped(machine: Machine) -> None:
    machine.write({"auths": {_HOST: {"auth": "\n".join([encoded(f"me:{_SECRET}")[:9], encoded(f"me:{_SECRET}")[9:]])}}})
    assert machine.credentials().find(_HOST) == _ME
