"""Files are replaced as a whole; what is no regular file is never replaced by one."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ollama_push.core.errors import InvalidSetting
from ollama_push.local.docker_config import DockerConfig
from ollama_push.local.files import write_private, write_public

WRITERS = pytest.mark.parametrize(
    "write",
    [partial(write_private, durable=False), partial(write_private, durable=True, keep_access=True), write_public],
)
Write = Callable[[Path, bytes], None]


@WRITERS
def test_a_link_stays_and_what_it_leads_to_is_replaced(write: Write, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(Path("folder") / "real")
    write(link, b"new")
    assert (link.is_symlink(), real.read_bytes()) == (True, b"new")
    assert list((tmp_path / "folder").iterdir()) == [real]


@WRITERS
def test_a_pipe_a_socket_and_a_folder_stay_what_they_are(write: Write, tmp_path: Path) -> None:
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    before = sorted(tmp_path.iterdir())
    for each in (pipe, folder, link):
        with pytest.raises(OSError, match="it is no regular file"):
            write(each, b"new")
    assert (pipe.is_fifo(), folder.is_dir(), sorted(tmp_path.iterdir())) == (True, True, before)


@WRITERS
def test_links_that_lead_to_themselves_are_refused(write: Write, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    with pytest.raises(OSError) as refused:
        write(one, b"new")
    assert type(refused.value) is OSError
    assert sorted(tmp_path.iterdir()) == [one, other]
    assert one.is_symlink()


@WRITERS
def test_what_could_not_be_written_leaves_nothing_behind(write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_new_public_file_has_what_the_umask_leaves_and_a_private_one_is_the_owners(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_public(tmp_path / "public", b"")
        write_private(tmp_path / "private", b"", durable=False)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("public", "private")] == [0o640, 0o600]


def test_a_public_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o604)
    write_public(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o604)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links for others")
def test_a_public_file_is_not_written_through_a_link_of_another_user(tmp_path: Path) -> None:
    mine, own, planted = tmp_path / "mine", tmp_path / "own", tmp_path / "planted"
    mine.write_bytes(b"mine")
    planted.symlink_to(mine)
    os.lchown(planted, 12345, 12345)
    own.symlink_to(planted)
    for link in (planted, own):
        with pytest.raises(PermissionError, match="it is a link of another user"):
            write_public(link, b"new")
    assert mine.read_bytes() == b"mine"


def test_dockers_file_that_is_a_pipe_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "config.json"
    os.mkfifo(pipe)
    with pytest.raises(InvalidSetting, match="it is no regular file"):
        DockerConfig.read(pipe)
    with pytest.raises(InvalidSetting, match="it is no regular file"):
        DockerConfig(pipe, {"auths": {}}).write()
    assert pipe.is_fifo()
