"""What is made of weights and a Modelfile, and how Go would write it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_push.core.registry.created import Weights, create_model
from ollama_push.core.registry.modelfile import Message, Modelfile

_W = Weights(f"sha256:{'a' * 64}", 100, "llama", 7_000_000_000, 15, "", 32)


def blob_of(kind: str, modelfile: Modelfile) -> bytes:
    created = create_model(modelfile, [_W])
    digest = next(blob.digest for blob in created.manifest.blobs if blob.media_type.endswith(kind))
    return created.blobs[digest]


def config_of(**changed: Any) -> dict[str, Any]:
    weights = Weights(**{"digest": _W.digest, "size": 1, **changed})
    created = create_model(Modelfile(("x",)), [weights])
    return dict(json.loads(created.blobs[created.manifest.blobs[-1].digest]))


@pytest.mark.parametrize(
    ("weights", "kind"),
    [
        ({"block_count": 2}, "model"),
        ({}, "model"),
        ({"kind": "model"}, "model"),
        ({"kind": "adapter", "block_count": 2}, "adapter"),
        ({"kind": "projector"}, "projector"),
        ({"vision_block_count": 2}, "projector"),
        ({"block_count": 1, "vision_block_count": 2}, "model"),
    ],
)
def test_the_metadata_says_what_kind_of_layer_it_is(weights: dict[str, Any], kind: str) -> None:
    assert Weights(_W.digest, 1, **weights).media_type == f"application/vnd.ollama.image.{kind}"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (0, "0"), (999, "999"), (1_000, "1K"), (1_500, "2K"), (999_999, "1000K"), (1_000_000, "1M"),
        (134_515_008, "134.52M"),         (7_241_732_096, "7.2B"), (7_000_000_000, "7B"), (1_000_000_000_000, "1000B"),
    ],
)  # fmt: skip
def test_parameters_are_counted_for_people(parameters: int, text: str) -> None:
    assert config_of(parameters=parameters)["model_type"] == text


@pytest.mark.parametrize(
    ("file_type", "text"), [(0, "unknown"), (1, "F16"), (15, "Q4_K_M"), (32, "BF16"), (99, "unknown")]
)
def test_file_types_have_names(file_type: int, text: str) -> None:
    assert config_of(file_type=file_type)["file_type"] == text


def test_all_weights_are_in_the_config_and_the_first_one_describes_the_model() -> None:
    other = Weights(f"sha256:{'b' * 64}", 5, "clip", 3, 1, "projector")
    created = create_model(Modelfile(("x", "y")), [_W, other])
    config = json.loads(created.blobs[created.manifest.blobs[-1].digest])
    assert (config["model_family"], config["model_families"]) == ("llama", ["llama", "clip"])
    assert config["rootfs"]["diff_ids"] == [_W.digest, other.digest]
    assert [blob.size for blob in created.manifest.blobs[:2]] == [100, 5]


def test_renderer_parser_and_version_are_there_when_they_are_set() -> None:
    created = create_model(Modelfile(("x",), renderer="r", requires="0.14"), [_W])
    config = list(json.loads(created.blobs[created.manifest.blobs[-1].digest]))
    assert config == [
        "model_format", "model_family", "model_families", "model_type", "file_type", "renderer", "requires",
        "architecture", "os", "rootfs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (-1, "-1"), (2**53 + 1, "9007199254740992"), (2**62, "4611686018427388000"),
        (True, "true"), (False, "false"), (0.0, "0"), (1.0, "1"), (-0.5, "-0.5"), (1.100000023841858, "1.1"),
        (0.949999988079071, "0.95"), (1.0000000116860974e-07, "1e-7"), (9.999999974752427e-07, "0.000001"),
        (3.3999999521443642e38, "3.4e+38"), (16777216.0, "16777216"), (1.401298464324817e-45, "1e-45"),
        (0.10000000894069672, "0.10000001"), (3.4028234663852886e38, "3.4028235e+38"),
        (1.1754943508222875e-38, "1.1754944e-38"),
        (8388609.0, "8388609"), (0.10427499562501907, "0.104274996"), (123456.7890625, "123456.79"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_go_does(value: Any, text: str) -> None:
    assert blob_of("params", Modelfile(("x",), parameters={"seed": value})) == f'{{"seed":{text}}}\n'.encode()


def test_texts_are_written_as_go_does() -> None:
    text = '<a>&"\\\n\t\u2028\u00e9\U0001f600\x1f'
    assert blob_of("messages", Modelfile(("x",), messages=(Message("user", text),))) == (
        '[{"role":"user","content":"\\u003ca\\u003e\\u0026\\"\\\\\\n\\t\\u2028\u00e9\U0001f600\\u001f"}]\n'.encode()
    )


def test_parameters_are_sorted() -> None:
    assert blob_of("params", Modelfile(("x",), parameters={"top_k": 1, "stop": ["b", "a"]})) == (
        b'{"stop":["b","a"],"top_k":1}\n'
    )
