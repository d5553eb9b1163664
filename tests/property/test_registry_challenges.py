"""Challenges: what is well formed is read back as it was meant, and nothing makes the reader stumble."""

from __future__ import annotations

import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.challenges import Challenge, parse_challenges

pytestmark = pytest.mark.slow

_TOKEN_CHARACTERS = string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-"
_TOKEN68 = string.ascii_letters + string.digits + "-._~+/"

tokens = st.text(st.sampled_from(_TOKEN_CHARACTERS), min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255).filter(lambda c: c != "\x7f"), max_size=15)
challenges = st.builds(Challenge, tokens.map(str.lower), st.dictionaries(tokens.map(str.lower), values, max_size=4))
spaces = st.sampled_from(["", " ", "  ", "\t"])
messy = st.text(st.sampled_from('Bearer Basic=",\\ \t;:/a\u00e9\n'), max_size=40) | st.text(max_size=40)


@attrs.frozen
class Written:
    """Some challenges, and one of the ways to write them."""

    meant: tuple[Challenge, ...]
    text: str


@st.composite
def written(draw: st.DrawFn) -> Written:
    """Challenges with quotes where they are needed and sometimes where not, and any white space allowed."""
    meant = tuple(draw(st.lists(challenges, max_size=4)))
    texts = []
    for challenge in meant:
        parameters = []
        for name, value in challenge.parameters.items():
            bare = bool(value) and all(character in _TOKEN_CHARACTERS for character in value) and draw(st.booleans())
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            around = f"{draw(spaces)}={draw(spaces)}"
            shown = name.upper() if draw(st.booleans()) else name
            parameters.append(f"{shown}{around}{value}" if bare else f'{shown}{around}"{quoted}"')
        scheme = challenge.scheme.title() if draw(st.booleans()) else challenge.scheme
        comma = draw(st.sampled_from([",", ", ", " , ", ",,"]))
        texts.append(f"{scheme} {comma.join(parameters)}" if parameters else scheme)
    return Written(meant, draw(st.sampled_from([", ", ",", " ,, "])).join(texts))


@given(written())
def test_what_is_well_formed_is_read_back(given_text: Written) -> None:
    assert parse_challenges(given_text.text) == given_text.meant


@given(messy)
def test_nothing_makes_the_reader_stumble(text: str) -> None:
    for challenge in parse_challenges(text):
        assert challenge.scheme == challenge.scheme.lower() != ""
        assert all(name == name.lower() != "" for name in challenge.parameters)


@given(written(), messy)
def test_what_cannot_be_read_takes_nothing_back(given_text: Written, junk: str) -> None:
    read = parse_challenges(f'{given_text.text}, "{junk}')
    assert [challenge.scheme for challenge in read] == [challenge.scheme for challenge in given_text.meant]


@given(tokens, st.text(st.sampled_from(_TOKEN68), min_size=1, max_size=12), st.integers(0, 2), written())
def test_a_token68_is_no_parameter(scheme: str, token: str, padding: int, rest: Written) -> None:
    read = parse_challenges(f"{scheme} {token}{'=' * padding}, {rest.text}")
    assert read == (Challenge(scheme.lower()), *rest.meant)
