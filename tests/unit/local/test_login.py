"""``login`` and ``logout`` change docker's file, and nothing in it that is not theirs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from tests.support.credential_helper import Helper

from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials
from ollama_push.local.files import write_private

_HOST = "registry.example.com"
_ME = Login("me", "s3cret:pässwörd")
_AUTH = base64.b64encode("me:s3cret:pässwörd".encode()).decode()


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path / "bin")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".docker" / "config.json"


@pytest.fixture
def credentials(tmp_path: Path, helper: Helper) -> Credentials:
    (tmp_path / "home").mkdir()
    return Credentials(environ={"HOME": str(tmp_path / "home"), "PATH": str(helper.directory)})


def _write(config: Path, content: Any) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(content if isinstance(content, str) else json.dumps(content))


def _mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def test_a_first_login_makes_a_file_for_its_owner_alone(credentials: Credentials, config: Path) -> None:
    assert credentials.login(_HOST, _ME) == config
    assert (_mode(config), _mode(config.parent)) == (0o600, 0o700)
    assert json.loads(config.read_text()) == {"auths": {_HOST: {"auth": _AUTH}}}
    assert credentials.find(_HOST) == _ME


def test_everything_else_and_its_order_are_kept(credentials: Credentials, config: Path) -> None:
    before = {
        "psFormat": "table {{.ID}}\\t\u2028",
        "auths": {"z.example.com": {"auth": "eDp5"}, "a.example.com": {}},
        "HttpHeaders": {"X": [1, 2.5, None, 12345678901234567890]},
        "credHelpers": {"gcr.io": "gcloud"},
    }
    _write(config, before)
    config.chmod(0o644)
    credentials.login(_HOST, _ME)
    after = json.loads(config.read_text())
    assert after.pop("auths") == {**before["auths"], _HOST: {"auth": _AUTH}}  # type: ignore[dict-item]  # a dict above
    assert after == {key: value for key, value in before.items() if key != "auths"}
    assert list(json.loads(config.read_text())) == list(before)
    assert list(json.loads(config.read_text())["auths"])[:2] == ["z.example.com", "a.example.com"]
    assert _mode(config) == 0o644, "as docker keeps it"
    credentials.logout(_HOST)
    assert json.loads(config.read_text()) == before


def test_an_older_login_under_any_spelling_is_replaced(credentials: Credentials, config: Path) -> None:
    _write(config, {"auths": {f"https://{_HOST}/v1/": {"auth": "eDp5"}, _HOST: {"identitytoken": "t"}}})
    credentials.login(f"https://{_HOST}/", _ME)
    assert json.loads(config.read_text()) == {"auths": {_HOST: {"auth": _AUTH}}}


def test_docker_s_own_registry_has_docker_s_own_key(credentials: Credentials, config: Path) -> None:
    credentials.login("docker.io", _ME)
    assert list(json.loads(config.read_text())["auths"]) == ["https://index.docker.io/v1/"]


def test_logout_removes_every_spelling_and_says_whether_there_was_one(credentials: Credentials, config: Path) -> None:
    assert credentials.logout(_HOST) is False
    assert not config.exists()
    _write(config, {"auths": {_HOST: {"auth": "no base64"}, f"https://{_HOST}": {"auth": "eDp5"}, "b": {}}})
    assert credentials.logout(_HOST) is True
    assert json.loads(config.read_text()) == {"auths": {"b": {}}}
    assert credentials.logout(_HOST) is False
    assert credentials.logout("b") is False


@pytest.mark.parametrize("setting", [{"credsStore": "fake"}, {"credHelpers": {_HOST: "fake"}, "credsStore": "none"}])
def test_a_configured_helper_keeps_the_login(
    credentials: Credentials, config: Path, helper: Helper, setting: dict[str, Any]
) -> None:
    helper.install()
    _write(config, {**setting, "auths": {_HOST: {"auth": _AUTH}}})
    assert credentials.login(_HOST, _ME) == "docker-credential-fake"
    assert helper.kept == {_HOST: {"Username": "me", "Secret": _ME.password}}
    assert json.loads(config.read_text()) == {**setting, "auths": {_HOST: {}}}, "no password is left in the file"
    assert credentials.find(_HOST) == _ME
    assert credentials.logout(_HOST) is True
    assert helper.kept == {}
    assert json.loads(config.read_text()) == {**setting, "auths": {}}
    assert credentials.logout(_HOST) is False


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\ncat; exit 1\n", "store failed with exit code 1"),
        ("#!/bin/sh\necho credentials not found in native keychain; exit 1\n", "it does not store logins"),
    ],
)
def test_a_helper_that_fails_leaves_the_file_alone(
    credentials: Credentials, config: Path, helper: Helper, script: str, words: str
) -> None:
    helper.install_script(script)
    _write(config, {"credsStore": "fake"})
    with pytest.raises(InvalidSetting, match=words) as caught:
        credentials.login(_HOST, _ME)
    assert "s3cret" not in str(caught.value)
    assert json.loads(config.read_text()) == {"credsStore": "fake"}


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": 5}', "null"])
def test_a_file_that_is_not_docker_s_is_not_touched(credentials: Credentials, config: Path, content: str) -> None:
    _write(config, content)
    for change in (lambda: credentials.login(_HOST, _ME), lambda: credentials.logout(_HOST)):
        with pytest.raises(InvalidSetting, match="JSON"):
            change()
    assert config.read_text() == content
    assert {path.name for path in config.parent.iterdir()} <= {config.name, ".config.json.lock"}


def test_a_link_stays_a_link(credentials: Credentials, config: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    _write(tmp_path / "dotfiles" / "docker.json", {"detachKeys": "x"})
    config.parent.mkdir()
    config.symlink_to(tmp_path / "dotfiles" / "docker.json")
    credentials.login(_HOST, _ME)
    assert config.is_symlink()
    assert json.loads((tmp_path / "dotfiles" / "docker.json").read_text()) == {
        "detachKeys": "x",
        "auths": {_HOST: {"auth": _AUTH}},
    }


@pytest.mark.parametrize(("host", "login"), [("a/b", _ME), ("", _ME), (_HOST, Login("", "p"))])
def test_what_cannot_be_a_login_is_refused(credentials: Credentials, config: Path, host: str, login: Login) -> None:
    with pytest.raises(InvalidSetting):
        credentials.login(host, login)
    assert not config.parent.exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    credentials = Credentials(environ={"DOCKER_CONFIG": str(tmp_path / "file" / "below")})
    with pytest.raises(InvalidSetting, match="the directory cannot be made: Not a directory"):
        credentials.login(_HOST, _ME)


def test_a_lock_that_cannot_be_taken_is_named(credentials: Credentials, config: Path) -> None:
    _write(config, {})
    (config.parent / ".config.json.lock").mkdir()
    with pytest.raises(InvalidSetting, match="it cannot be changed: Is a directory"):
        credentials.login(_HOST, _ME)


@pytest.mark.skipif(os.name != "posix", reason="not everybody may make links elsewhere")
def test_a_link_in_the_place_of_the_lock_is_not_followed(
    credentials: Credentials, config: Path, tmp_path: Path
) -> None:
    _write(config, {})
    (config.parent / ".config.json.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidSetting, match="it cannot be changed"):
        credentials.login(_HOST, _ME)
    assert not (tmp_path / "elsewhere").exists()
    assert config.read_text() == "{}"


def test_a_write_that_fails_leaves_the_old_file(config: Path, credentials: Credentials, tmp_path: Path) -> None:
    _write(config, {"auths": {}})
    program = f"""
import resource
from pathlib import Path
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials
from ollama_push.local.files import write_private
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))  # the disk is full, after five bytes
try:
    Credentials(environ={{"HOME": {str(tmp_path / "home")!r}}}).login("h", Login("me", "s3cret"))
except InvalidSetting as exc:
    print(exc.problem)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "the file cannot be written: File too large\n"
    assert config.read_text() == '{"auths": {}}'
    assert {path.name for path in config.parent.iterdir()} == {config.name, ".config.json.lock"}


def test_logins_at_the_same_time_are_all_kept(config: Path, credentials: Credentials, tmp_path: Path) -> None:
    program = f"""
import sys
from ollama_push.core.registry.credentials import Login
from ollama_push.local import Credentials
from ollama_push.local.files import write_private
sys.stdin.read(1)  # all start together
for number in range(10):
    host = f"h{{sys.argv[1]}}.example.com:{{number + 1}}"
    Credentials(environ={{"HOME": {str(tmp_path / "home")!r}}}).login(host, Login("me", "p"))
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(number)], stdin=subprocess.PIPE) for number in range(3)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"!")
        writer.stdin.close()
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(json.loads(config.read_text())["auths"]) == 30


_AS_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
_OTHER_USER = 12345


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o606])
def test_the_mode_of_a_file_is_kept(credentials: Credentials, config: Path, mode: int) -> None:
    _write(config, {})
    config.chmod(mode)
    credentials.login(_HOST, _ME)
    assert _mode(config) == mode
    credentials.logout(_HOST)
    assert _mode(config) == mode


@_AS_ROOT
@pytest.mark.parametrize("mode", [0o600, 0o640])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_root_leaves_a_file_to_its_owner(
    credentials: Credentials, config: Path, tmp_path: Path, *, through_a_link: bool, mode: int
) -> None:
    _write(config, {"psFormat": "t"})
    file = config
    if through_a_link:
        file = tmp_path / "elsewhere" / "config.json"
        file.parent.mkdir()
        config.rename(file)
        config.symlink_to(file)
    file.chmod(mode)
    os.chown(file, _OTHER_USER, _OTHER_USER + 1)
    os.chown(file.parent, _OTHER_USER, _OTHER_USER)
    for change in (lambda: credentials.login(_HOST, _ME), lambda: credentials.logout(_HOST)):
        change()
        now = file.lstat()
        assert (now.st_uid, now.st_gid, S_IMODE(now.st_mode)) == (_OTHER_USER, _OTHER_USER + 1, mode)
    assert config.is_symlink() is through_a_link
    assert [path for path in file.parent.iterdir() if path != file] == [], "no lock that its owner cannot open"


@_AS_ROOT
def test_a_file_of_another_user_is_not_taken_over() -> None:
    """By somebody who may write to the folder, and cannot give the file back to its owner."""
    # Not in tmp_path, whose parents only root may enter.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text("{}")
        file.chmod(0o644)
        os.chown(folder, _OTHER_USER, _OTHER_USER)
        os.seteuid(_OTHER_USER)
        try:
            with pytest.raises(PermissionError, match="the file belongs to another user"):
                write_private(file, b"x", durable=False, keep_access=True)
        finally:
            os.seteuid(0)
        assert file.read_text() == "{}"
        assert file.stat().st_uid == 0
        assert list(Path(folder).iterdir()) == [file]


@_AS_ROOT
def test_a_mode_for_a_group_is_not_passed_on_to_another_group() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text("{}")
        file.chmod(0o640)
        os.chown(file, _OTHER_USER, _OTHER_USER)
        os.chown(folder, _OTHER_USER, _OTHER_USER)
        os.seteuid(_OTHER_USER)  # which is in no group but root's
        try:
            write_private(file, b"x", durable=False, keep_access=True)
        finally:
            os.seteuid(0)
        assert (file.stat().st_uid, _mode(file)) == (_OTHER_USER, 0o600)
