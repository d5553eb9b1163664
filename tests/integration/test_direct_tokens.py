"""Tokens that are signed by somebody else and judged by real registries."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import BIG, BIG_DIGEST, Colour, Direct, either_colour, stored
from tests.support.registries import (
    DEBIAN_REGISTRY,
    DISTRIBUTION_3,
    RealRegistry,
    needs_debian_registry,
    needs_distribution_3,
)
from tests.support.signed_tokens import SignedTokens

from ollama_push.core.errors import PushRejected, RejectionReason

_LOGIN: Final = ("ann", "s3cret-of-ann")
_RIGHTS: Final = {"team/one": ("pull", "push"), "team/two": ("pull", "push"), "team/three": ("pull",)}

either_program = pytest.mark.parametrize(
    "program",
    [
        pytest.param(DEBIAN_REGISTRY, id="distribution-2.8", marks=needs_debian_registry),
        pytest.param(DISTRIBUTION_3, id="distribution-3", marks=needs_distribution_3),
    ],
)


@either_colour
@either_program
def test_a_real_registry_takes_the_tokens_of_its_realm(program: str, colour: Colour, tmp_path: Path) -> None:
    stored(tmp_path)
    with (
        SignedTokens(tmp_path, _LOGIN, _RIGHTS) as tokens,
        RealRegistry(program, tmp_path / "registry", tokens.auth) as registry,
    ):
        for name in ("team/one", "team/two"):
            told = colour(Direct(host=registry.host, home=tmp_path, credentials=_LOGIN, repository=name))
            assert told.error is None
        # The second push mounts what the first has brought.
        assert tokens.scopes == [
            "repository:team/one:pull,push",
            "repository:team/two:pull,push repository:team/one:pull",
        ]
        assert registry.blob_path(BIG_DIGEST).read_bytes() == BIG


@either_colour
@either_program
@pytest.mark.parametrize(
    ("login", "repository"),
    [(_LOGIN, "team/three"), (("ann", "another"), "team/one")],
    ids=["not-allowed", "wrong-password"],
)
def test_a_real_registry_says_no_before_a_byte_is_sent(
    login: tuple[str, str], repository: str, program: str, colour: Colour, tmp_path: Path
) -> None:
    stored(tmp_path)
    with (
        SignedTokens(tmp_path, _LOGIN, _RIGHTS) as tokens,
        RealRegistry(program, tmp_path / "registry", tokens.auth) as registry,
    ):
        told = colour(Direct(host=registry.host, home=tmp_path, credentials=login, repository=repository))
        assert isinstance(told.error, PushRejected)
        assert told.error.reason is RejectionReason.UNAUTHORIZED
        assert told.error.bytes_moved == 0
        assert not registry.blob_path(BIG_DIGEST).exists()
