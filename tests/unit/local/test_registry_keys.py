"""Spellings of registries in the files of docker and podman."""

from __future__ import annotations

import pytest

from ollama_push.core.errors import InvalidSetting
from ollama_push.local.registry_keys import key_for, keys_for, namespace_keys

_HUB = "https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("registry.example.com", "registry.example.com"),
        ("Registry.Example.com:5000", "registry.example.com:5000"),
        ("https://registry.example.com/", "registry.example.com"),
        ("http://localhost:5000/v2/", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io", _HUB),
        ("registry-1.docker.io", _HUB),
        (_HUB, _HUB),
    ],
)
def test_a_host_has_one_usual_key(host: str, key: str) -> None:
    assert key_for(host) == key


@pytest.mark.parametrize("host", ["", " ", "a b", "a/b", "ftp://a", "https://", "a\nb", "a:port", "a;b"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidSetting, match="expected host or host:port"):
        key_for(host)


def test_a_password_in_a_host_is_not_shown() -> None:
    with pytest.raises(InvalidSetting) as caught:
        key_for("me:s3cret@registry.example.com")
    assert "s3cret" not in f"{caught.value} {caught.value!r}"


def test_every_spelling_of_a_host_is_found_the_usual_one_first() -> None:
    keys = ["https://h/v1/", "http://h/", "https://h", "H", "h", "https://h/v2/", "h/", "h/v2/"]
    others = ["h:443", "h/namespace", "hh", "", "ftp://h", "https://index.docker.io/v1/"]
    assert keys_for("h", [*others, *keys]) == ["h", *(key for key in keys if key != "h")]
    assert keys_for("docker.io", [*keys, *others, "docker.io"]) == [_HUB, "docker.io"]


def test_keys_with_a_namespace_are_for_it_alone_the_longest_first() -> None:
    keys = ["h", "h/team/", "H/team", "h/tea", "h/team/m", "h/team/m2", "h/other", "g/team", "https://h/team", "h/Team"]
    assert namespace_keys("h", "team/m", keys) == ["h/team/m", "h/team/", "H/team"]
    assert namespace_keys("docker.io", "team/m", ["index.docker.io/team"]) == ["index.docker.io/team"]
    assert namespace_keys("h", "", keys) == []
