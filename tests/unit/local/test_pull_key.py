"""The secret of the gateway's addresses: made once, for its owner only."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_push.local.pull_key import pull_key


def test_it_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    key = pull_key(tmp_path / "pulls")
    assert len(key) == 32
    assert pull_key(tmp_path / "pulls") == key
    assert (tmp_path / "pulls").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "pulls" / "key").stat().st_mode & 0o777 == 0o600


def test_another_place_has_another(tmp_path: Path) -> None:
    assert pull_key(tmp_path / "a") != pull_key(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"short"])
def test_what_is_no_key_is_replaced(tmp_path: Path, content: bytes) -> None:
    pull_key(tmp_path / "pulls")
    (tmp_path / "pulls" / "key").write_bytes(content)
    key = pull_key(tmp_path / "pulls")
    assert len(key) == 32
    assert pull_key(tmp_path / "pulls") == key


def test_where_others_may_write_or_nobody_can_it_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "open", tmp_path / "file" / "pulls"):
        assert pull_key(place) != pull_key(place)
    assert list((tmp_path / "open").iterdir()) == []


def test_its_place_is_in_the_state_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    key = pull_key()
    assert (tmp_path / "ollama-push" / "pulls" / "key").read_bytes() == key
