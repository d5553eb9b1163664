"""Which models the command pushes in one run, under which names, and where each of them was asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs

from ollama_push.core.batch import PushItem, Shard, read_list
from ollama_push.core.errors import InvalidModelName, InvalidSetting
from ollama_push.core.names import ModelName, NameParts, is_host_like
from ollama_push.core.registry.target import direct_name, name_below
from ollama_push.local import ModelStore

__all__ = ["AskedItem", "items_asked_for", "lines_of"]

_STDIN: Final = "-"


@attrs.frozen
class AskedItem:
    """A model to push.

    Attributes:
        item: Under its canonical name, where it is legal.
        origin: The line of a list that it stands in, for people; empty for any other.
    """

    item: PushItem
    origin: str = ""


def items_asked_for(
    names: Sequence[str],
    *,
    source: str | None,
    listed: str | None,
    store: ModelStore | None,
    place: str | None,
    shard: Shard | None,
    plain_http: bool,
) -> list[AskedItem]:
    """Return what is to be pushed, each name once.

    Args:
        names: Of the command line.
        source: The local model of each of them; ``None`` where it is the same.
        listed: File with more of them, ``-`` for stdin.
        store: Whose models are pushed, too.
        place: Registry, perhaps with a path, of names without a host.
        shard: The part that belongs to this machine.
        plain_http: Whether the registries speak plain HTTP.

    Raises:
        InvalidSetting: The list cannot be read, or two models would be pushed to one name.
    """
    asked = [AskedItem(PushItem(name, source)) for name in names]
    if listed is not None:
        file = "stdin" if listed == _STDIN else listed
        asked += [AskedItem(item, f"line {line} of {file}") for line, item in read_list(lines_of(listed))]
    if store is not None:
        asked += [AskedItem(PushItem(name.shortest, name.shortest)) for name in store.models()]
    placed = (attrs.evolve(each, item=_placed(each.item, place, plain_http=plain_http)) for each in asked)
    return _unique(each for each in placed if shard is None or shard.has(each.item.model))


def _placed(item: PushItem, place: str | None, *, plain_http: bool) -> PushItem:
    try:
        parts = NameParts.split(item.model)
        if place is not None and parts.host is None and not is_host_like(parts.namespace or ""):
            # A name that is illegal below the place is illegal here.
            item = attrs.evolve(item, model=f"{place}/{item.model}", source=item.source or item.model)
            local = ModelName.parse_local(item.model.removeprefix(f"{place}/"))
            return PushItem(str(name_below(place, local)), item.source and _local(item.source))
        return PushItem(str(direct_name(item.model, plain_http=plain_http)), item.source)
    except InvalidModelName:
        return item  # its push ends in that


def _local(name: str) -> str:
    """Return a local name in full, if it is legal."""
    try:
        return str(ModelName.parse_local(name))
    except InvalidModelName:
        return name


def _unique(asked: Iterable[AskedItem]) -> list[AskedItem]:
    """Return each name once.

    Raises:
        InvalidSetting: Two models would be pushed to it.
    """
    found = dict[str, AskedItem]()
    for each in asked:
        first = found.setdefault(each.item.model, each)
        sources = [_local(item.source or item.model) for item in (first.item, each.item)]
        if sources[0] != sources[1]:
            problem = f"two models would be pushed there, {sources[0]!r} and {sources[1]!r}"
            raise InvalidSetting("name", each.item.model, f"{problem}: {each.origin}" if each.origin else problem)
    return list(found.values())


def lines_of(file: str) -> list[str]:
    """Return the lines of a list; ``-`` is stdin.

    Raises:
        InvalidSetting: It cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
        # Editors of Windows begin a text with a mark.
        return data.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as exc:
        words = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is no text in UTF-8"
        raise InvalidSetting("--list", file, words.lower()) from exc
