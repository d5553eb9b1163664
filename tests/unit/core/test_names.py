"""Model names: every row of upstream's tables, and the two rules of a push."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

import pytest

from ollama_push.core.errors import InvalidModelName
from ollama_push.core.names import ModelName, NameParts, is_valid_part

_TABLES: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "cases" / "names.json").read_text("utf-8")
)["tables"]


def _rows(table: str) -> list[Any]:
    return [pytest.param(case, id=str(number)) for number, case in enumerate(_TABLES[table]["cases"])]


def _is_legal(text: str) -> bool:
    try:
        ModelName.parse(text)
    except InvalidModelName:
        return False
    return True


@pytest.mark.parametrize("case", _rows("ParseNameBare_parts"))
def test_splits_as_upstream(case: dict[str, Any]) -> None:
    parts, expected = NameParts.split(case["input"]), case["expected_bare"]
    assert (parts.host or "", parts.namespace or "", parts.model, parts.tag or "", parts.scheme or "") == (
        expected["host"],
        expected["namespace"],
        expected["model"],
        expected["tag"],
        expected["protocol_scheme"],
    )
    name = ModelName.parse_local(case["input"])
    path = f"{name.host}/{name.repository}/{name.tag}"
    assert path == case["expected_filepath_with_defaults"]


@pytest.mark.parametrize("case", _rows("IsValid_bare"))
def test_judges_complete_names_as_upstream(case: dict[str, Any]) -> None:
    text, valid = case["input"], case["valid_bare"]
    assert NameParts.split(text).is_complete is valid
    if valid:
        name = ModelName.parse(text)
        assert f"{name.host}/{name.repository}:{name.tag}" == text


@pytest.mark.parametrize("case", _rows("ParseName_default"))
def test_fills_in_upstream_defaults(case: dict[str, Any]) -> None:
    name = ModelName.parse_local(case["input"])
    assert f"{name.host}/{name.repository}:{name.tag}" == case["expected_string"]


@pytest.mark.parametrize("case", [row for row in _rows("isValidPart") if row.values[0]["kind"] != "digest"])
def test_judges_parts_as_upstream(case: dict[str, Any]) -> None:
    assert is_valid_part(case["kind"], case["input"]) is case["valid"]


@pytest.mark.parametrize("case", _rows("IsValidNamespace"))
def test_judges_namespaces_as_upstream(case: dict[str, Any]) -> None:
    assert is_valid_part("namespace", case["input"]) is case["valid"]


@pytest.mark.parametrize("case", _rows("ParseNameFromFilepath"))
def test_reads_store_paths_as_upstream(case: dict[str, Any]) -> None:
    expected = case["expected"]
    assert ModelName.from_store_path(case["input_path"]) == (None if expected is None else ModelName(**expected))


@pytest.mark.parametrize("case", _rows("DisplayShortest"))
def test_shortens_as_upstream(case: dict[str, Any]) -> None:
    assert ModelName.parse(case["input"]).shortest == case["expected"]


@pytest.mark.parametrize("case", _rows("ParseModelPath"))
def test_reads_model_paths_as_upstream(case: dict[str, Any]) -> None:
    name, expected = ModelName.parse_local(case["input"]), case["expected"]
    assert (name.scheme or "https", name.host, name.namespace, name.model, name.tag) == (
        expected["protocol_scheme"],
        expected["registry"],
        expected["namespace"],
        expected["repository"],
        expected["tag"],
    )


@pytest.mark.parametrize("case", _rows("GetManifestPath_traversal"))
def test_refuses_to_leave_the_store(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidModelName):
        ModelName.parse_local(case["input"])


@pytest.mark.parametrize(("text", "form"), [("my-llama", "'myuser/my-llama'"), (":v1", "'myuser/mymodel'")])
def test_a_push_of_a_bare_name_is_refused_with_the_form_to_use(text: str, form: str) -> None:
    with pytest.raises(InvalidModelName, match="a push needs a namespace") as caught:
        ModelName.parse(text)
    assert form in str(caught.value)
    assert caught.value.name == text


def test_a_bare_name_is_enough_in_a_store() -> None:
    assert str(ModelName.parse_local("my-llama")) == "library/my-llama:latest"


@pytest.mark.parametrize("host", ["registry.example.com", "localhost:5000", "a.b", "a:1"])
def test_two_parts_with_a_dot_or_colon_mean_a_host_and_its_library(host: str) -> None:
    name = ModelName.parse(f"{host}/my-llama:v1")
    assert (name.host, name.namespace, name.model, name.tag) == (host, "library", "my-llama", "v1")
    assert not NameParts(None, "h", host, "my-llama", "v1").is_complete, "upstream refuses it, so nothing is ambiguous"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the model name is empty"),
        (" \t", "the model name is empty"),
        (" a/b", "spaces around"),
        ("a/b\n", "spaces around"),
        ("a/b:", "tag '' is not legal"),
        ("a/", "model '' is not legal"),
        ("/b", "namespace '' is not legal"),
        ("/a/b", "host '' is not legal"),
        ("a b/c", "namespace 'a b' is not legal"),
        ("h.x/a.b/c", "namespace 'a.b' is not legal"),
        ("a/b@sha256:00", "model 'b@sha256' is not legal"),
        ("a/mod\u00e8le", "is not legal; expected 1 to 80"),
        ("a/" + "b" * 81, "is not legal; expected 1 to 80"),
        ("h" * 351 + "/a/b", "is not legal; expected 1 to 350"),
        ("a/b/c/d", "host 'a/b' is not legal"),
    ],
)
def test_an_illegal_name_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(InvalidModelName) as caught:
        ModelName.parse(text)
    assert problem in caught.value.problem
    assert caught.value.name == text


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidModelName, match="a model name is a str, not int"):
        ModelName.parse(cast("str", 5))


def test_a_name_built_by_hand_is_checked_too() -> None:
    with pytest.raises(InvalidModelName, match="namespace 'a/b' is not legal"):
        ModelName("h", "a/b", "m")


@pytest.mark.parametrize(
    "spelling", ["myuser/my-llama", "MyUser/My-Llama:LATEST", "registry.ollama.ai/myuser/my-llama", "x://h/a/b"]
)
def test_spellings_of_one_model_are_equal(spelling: str) -> None:
    name, other = ModelName.parse("myuser/my-llama:latest"), ModelName.parse(spelling)
    same = "my" in spelling.lower()
    assert (name == other) is same
    assert (len({name, other}) == 1) is same


def test_a_scheme_does_not_make_another_model() -> None:
    assert ModelName.parse("https://h/a/b") == ModelName.parse("h/a/b")
    assert ModelName.parse("https://h/a/b").scheme == "https"


@pytest.mark.parametrize("other", ["myuser/my-llama:v1", "you/my-llama", "myuser/your-llama", "h.x/myuser/my-llama"])
def test_other_parts_make_another_model(other: str) -> None:
    assert ModelName.parse("myuser/my-llama") != ModelName.parse(other)


def test_a_name_is_not_its_text() -> None:
    assert ModelName.parse("a/b") != "a/b:latest"  # type: ignore[comparison-overlap]  # that is the point


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a/b", "a/b:latest"),
        ("Registry.Ollama.AI/a/b:1", "a/b:1"),
        ("h:1/a/b", "h:1/a/b:latest"),
        ("http://h/a/b", "h/a/b:latest"),
    ],
)
def test_canonical_text(text: str, shown: str) -> None:
    assert str(ModelName.parse(text)) == shown


@pytest.mark.parametrize("text", ["a/b", "localhost:5000/team/a_b", "h.x/a--b/c__d.e-f:V1"])
def test_names_registries_take(text: str) -> None:
    assert ModelName.parse(text).oci_problem() is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Team/My-Llama", "registries take lower case only; use 'team/my-llama'"),
        ("_a/b", "'_a/b' is no repository name"),
        ("a/b..c", "'a/b..c' is no repository name"),
        ("a/b-", "'a/b-' is no repository name"),
        ("_h/a/b", "'_h' is no registry host"),
        ("h:port/a/b", "'h:port' is no registry host"),
    ],
)
def test_names_registries_refuse(text: str, problem: str) -> None:
    assert problem in str(ModelName.parse(text).oci_problem())


def test_a_colon_before_the_last_slash_belongs_to_what_stands_there() -> None:
    assert NameParts.split("a/b:c/d") == NameParts(None, "a", "b:c", "d", None)
