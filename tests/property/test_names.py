"""The rules of names, stated anew: by counting and looking at characters, not by the code's patterns."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.errors import InvalidModelName
from ollama_push.core.names import ModelName, NameParts, is_valid_part

pytestmark = pytest.mark.slow

_WORD = string.ascii_letters + string.digits + "_"
_LONGEST = {"host": 350, "namespace": 80, "model": 80, "tag": 80}
_MARKS = {"host": "-.:", "namespace": "-", "model": "-.", "tag": "-."}

kinds = st.sampled_from(list(_LONGEST))
messy = st.text(st.sampled_from(_WORD + "-.:/@ \n\u00e9\u0661"), max_size=12)


def _is_legal(kind: str, text: str) -> bool:
    """Say what types/model/name.go says: length in bytes, the first character, then the rest."""
    return (
        1 <= len(text.encode()) <= _LONGEST[kind]
        and text[0] in _WORD
        and all(character in _WORD + _MARKS[kind] for character in text)
    )


def _part(kind: str) -> st.SearchStrategy[str]:
    rest = st.text(st.sampled_from(_WORD + _MARKS[kind]), max_size=20)
    return st.builds(lambda first, more: first + more, st.sampled_from(_WORD), rest)


names = st.builds(ModelName, _part("host"), _part("namespace"), _part("model"), _part("tag"))


@given(kinds, messy | st.builds(lambda c, n: c * n, st.sampled_from("a_-."), st.integers(0, 400)))
def test_a_part_is_legal_by_its_characters_and_length(kind: str, text: str) -> None:
    assert is_valid_part(kind, text) is _is_legal(kind, text)


@given(names)
def test_a_name_survives_being_written(name: ModelName) -> None:
    assert ModelName.parse(str(name)) == name
    assert str(ModelName.parse(str(name))) == str(name)
    assert ModelName.from_store_path(f"{name.host}/{name.repository}/{name.tag}") == name
    assert ModelName.parse_local(name.shortest) == name


@given(names, st.booleans())
def test_case_does_not_make_another_model(name: ModelName, upper: bool) -> None:  # noqa: FBT001 - hypothesis names it
    other = ModelName.parse(str(name).upper() if upper else str(name).swapcase())
    assert other == name
    assert hash(other) == hash(name)


@given(names, names)
def test_equal_names_have_equal_texts_but_for_case(one: ModelName, other: ModelName) -> None:
    assert (one == other) is (str(one).lower() == str(other).lower())


@given(messy)
def test_any_text_is_a_legal_name_or_refused(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidModelName as refused:
        problem, given_name = refused.problem, refused.name
    else:
        problem, given_name = "", text
    assert given_name == text
    if problem:
        return
    assert all(_is_legal(kind, getattr(name, kind)) for kind in _LONGEST)
    assert "/" in text, "a bare name is not pushed"
    assert ModelName.parse(str(name)) == name


@given(messy)
def test_a_push_takes_what_upstream_takes_or_a_host_with_its_library(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidModelName:
        return
    try:
        local = ModelName.parse_local(text)
    except InvalidModelName:
        assert name.namespace == "library"
        assert set(name.host) & {".", ":"}
    else:
        assert local == name


@given(messy)
def test_parts_put_together_are_the_text(text: str) -> None:
    parts = NameParts.split(text)
    again = parts.model if parts.tag is None else f"{parts.model}:{parts.tag}"
    for left in (parts.namespace, parts.host):
        again = again if left is None else f"{left}/{again}"
    again = again if parts.scheme is None else f"{parts.scheme}://{again}"
    assert again == text


@given(names)
def test_a_registry_takes_a_name_in_lower_case_only(name: ModelName) -> None:
    if name.oci_problem() is None:
        assert name.repository == name.repository.lower()
        assert not name.repository.startswith("_")
