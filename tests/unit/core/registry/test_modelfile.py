"""A Modelfile is read as ``ollama create`` reads it; what it would refuse is refused with the line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.registry.modelfile import Message, Modelfile


def parsed(text: str) -> Modelfile:
    return Modelfile.parse(text.encode())


def test_every_command_is_read() -> None:
    found = parsed(
        "# made by hand\nFROM ./a.gguf\nfrom b.gguf\nADAPTER c\nTEMPLATE t\nSYSTEM s\nLICENSE l\nLICENSE m\n"
        "PARAMETER top_k 5\nMESSAGE user hi: there\nRENDERER r\nPARSER p\nREQUIRES v0.14"
    )
    assert found == Modelfile(
        ("./a.gguf", "b.gguf"), "c", "t", "s", ("l", "m"), {"top_k": 5}, (Message("user", "hi: there"),),
        "r", "p", "0.14",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("  two  words \t", "two  words"),
        ('"quoted"', "quoted"),
        ('"a "b" c"', 'a "b" c'),
        ('"over\ntwo lines"', "over\ntwo lines"),
        ('"""three"""', "three"),
        ('"""\nlines\n\n# no comment\n"""', "\nlines\n\n# no comment\n"),
        ('"""he said "hi" """', 'he said "hi" '),
        ('""', ""),
        ("", ""),
        ("'single'", "'single'"),
        ("# no comment", "# no comment"),
        ("a\x00b\x7fc\u200bd\u00a0e", "abcde"),
        ("h\u00e4\u00df\u4f60\U0001f600", "h\u00e4\u00df\u4f60\U0001f600"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_values(written: str, value: str, end: str) -> None:
    assert parsed(f"FROM x\nSYSTEM {written}{end}").system == value


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfFROM x",
        b"\xff\xfe" + "FROM x".encode("utf-16-le"),
        b"\xfe\xff" + "FROM x".encode("utf-16-be"),
        b"FROM x\n#\xff\xfe",
        b"\n\n \t FROM x \n",
    ],
)
def test_encodings(raw: bytes) -> None:
    assert Modelfile.parse(raw) == Modelfile(("x",))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("top_k 40", {"top_k": 40}),
        ("seed -1", {"seed": -1}),
        ("num_ctx +4096", {"num_ctx": 4096}),
        ("use_mmap false", {"use_mmap": False}),
        ("use_mmap T", {"use_mmap": True}),
        ("temperature 0.5", {"temperature": 0.5}),
        ("temperature 5.", {"temperature": 5.0}),
        ("min_p .25e1", {"min_p": 2.5}),
        ("stop a\nPARAMETER stop b", {"stop": ["a", "b"]}),
        ("top_k 1\nPARAMETER top_k 2", {"top_k": 2}),
        ("mirostat 2", {}),
    ],
)
def test_parameters(written: str, value: dict[str, Any]) -> None:
    assert parsed(f"FROM x\nPARAMETER {written}\n").parameters == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no FROM"),
        ("SYSTEM x", "there is no FROM"),
        ("FROM x\nBUILD y", "line 2: 'BUILD' is no command; expected FROM, ADAPTER"),
        ("FROM x\nDRAFT y", "line 2: DRAFT needs a newer server"),
        ("FROM x\n\n5 y", "line 3: '' is no command"),
        ("FROM", "line 1: 'FROM' is no command"),
        ("FROM\n", "line 1: 'FROM' is no command"),
        ("FROM x\nPARAMETER top_k", "line 2: PARAMETER top_k lacks a value"),
        ("FROM x\nPARAMETER top-k 5", "line 2: PARAMETER top lacks a value"),
        ("FROM x\nPARAMETER  top_k 5", "line 2: there is no parameter ''"),
        ("FROM x\nPARAMETER nonsense 5", "line 2: there is no parameter 'nonsense'"),
        ("FROM x\nPARAMETER top_k 5.5", "line 2: '5.5' is no value for top_k"),
        ("FROM x\nPARAMETER seed 9223372036854775808", "is no value for seed"),
        ("FROM x\nPARAMETER temperature warm", "'warm' is no value for temperature"),
        ("FROM x\nPARAMETER temperature NaN", "'NaN' is no value"),
        ("FROM x\nPARAMETER temperature 1e39", "'1e39' is no value"),
        ("FROM x\nPARAMETER use_mmap yes", "'yes' is no value"),
        ("FROM x\nMESSAGE tool hi", "line 2: the role of a message"),
        ("FROM x\nMESSAGE user", "line 2: MESSAGE user lacks a value"),
        ('FROM x\nSYSTEM """open\nfor ever', "line 2: a quotation is not closed"),
        ('FROM x\nSYSTEM "open', "line 2: a quotation is not closed"),
        ("FROM x\nREQUIRES new", "REQUIRES new: expected a version"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed(text)
    assert said in str(caught.value)


@given(st.text(st.sampled_from('FROMxSYSTEPA "\n\r\t#.1\u00e9'), max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = Modelfile.parse(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return
    assert found.models
