"""Many pushes as one job: lists, and parts of machines that depend on names alone."""

from __future__ import annotations

import pytest

from ollama_push.core.batch import PushItem, Shard, read_list
from ollama_push.core.errors import InvalidSetting

_NAMES = [f"registry.example.com/team/model-{number}:latest" for number in range(200)]


def test_a_list_holds_names_sources_and_comments() -> None:
    text = """
    # the fleet
    registry.example.com/team/a
    registry.example.com/team/b:v1   local-b   # another name here
    \t
    registry.example.com/team/c#no tag
    """
    assert list(read_list(text.splitlines())) == [
        (3, PushItem("registry.example.com/team/a")),
        (4, PushItem("registry.example.com/team/b:v1", "local-b")),
        (6, PushItem("registry.example.com/team/c")),
    ]


def test_a_line_with_too_many_names_is_named_by_its_number() -> None:
    with pytest.raises(InvalidSetting, match="line 2 holds more than two names"):
        list(read_list(["a", "a b c"]))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_model_belongs_to_one_machine(count: int) -> None:
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert all(sum(shard.has(name) for shard in shards) == 1 for name in _NAMES)
    sizes = [sum(map(shard.has, _NAMES)) for shard in shards]
    assert min(sizes) > len(_NAMES) // count // 2


def test_the_machine_of_a_model_depends_on_its_name_alone() -> None:
    """Pinned: another function would move models between machines with an update."""
    assert [name for name in _NAMES[:12] if Shard.parse("1/3").has(name)] == _pinned()


def _pinned() -> list[str]:
    return [_NAMES[number] for number in (3, 4)]


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "0/2", "3/2", "-1/2", "1/2/3", "a/b", "1/0", " 1/2", "1 / 2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="expected I/N with I from 1 to N"):
        Shard.parse(text)
