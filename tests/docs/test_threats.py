"""The threat model names modules and tests that exist, and limits that are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import attrs
import pytest

from ollama_push.client import _lanes
from ollama_push.core import events, json_text, peer_text, responses
from ollama_push.core.registry import authorizer, challenges, endpoints, tokens
from ollama_push.core.retry import RetryPolicy
from ollama_push.core.server import check, ndjson
from ollama_push.gateway.connections import ConnectionLimits
from ollama_push.gateway.egress import transport
from ollama_push.gateway.push_history import PushHistory
from ollama_push.gateway.settings import GatewaySettings
from ollama_push.gateway.status_page import pages
from ollama_push.local import bodies, credentials, docker_config, helper_programs, store
from ollama_push.local.resume import store as resume_store
from ollama_push.transports import _framing

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "threats.md").read_text("utf-8")
CODE: Final = re.compile(r"`([^`]+)`")
KIB: Final = 1024
MIB: Final = 1024 * KIB


@attrs.frozen
class Row:
    """One threat: its section, what the first cell says, and the modules and tests of the last two."""

    section: str
    subject: str
    modules: tuple[str, ...]
    tests: str


def _rows() -> Iterator[Row]:
    for section in PAGE.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        for line in text.splitlines():
            if line.startswith("|") and not line.startswith(("|---", "| what ")):
                subject, _most, _never, where, tests = line.strip("|").split(" | ")
                yield Row(title, subject.strip(), tuple(CODE.findall(where)), tests.strip())


ROWS: Final = tuple(_rows())


@cache
def _functions(file: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _exists(test: str) -> bool:
    name, _, function = test.partition("::")
    file = ROOT / "tests" / name
    return file.is_file() and file.name.startswith("test_") and (not function or function in _functions(file))


def test_every_actor_has_its_rows() -> None:
    links = re.findall(r"^\| \[[^]]+\]\(#([a-z-]+)\)", PAGE, re.MULTILINE)
    titles = list(dict.fromkeys(row.section for row in ROWS))
    assert [re.sub(r"[^a-z ]", "", title.lower()).replace(" ", "-") for title in titles] == links
    assert len(ROWS) > 50


def test_a_row_without_a_test_says_so() -> None:
    silent = [
        row.subject for row in ROWS if not (CODE.search(row.tests) or "no test" in row.tests or "as for" in row.tests)
    ]
    assert silent == []


@pytest.mark.parametrize("section", dict.fromkeys(row.section for row in ROWS))
def test_every_module_and_every_test_exists(section: str) -> None:
    rows = [row for row in ROWS if row.section == section]
    assert all(row.modules for row in rows)
    modules = {module for row in rows for module in row.modules}
    assert sorted(name for name in modules if not (ROOT / "src" / "ollama_push" / name).is_file()) == []
    tests = {test for row in rows for test in CODE.findall(row.tests)}
    assert sorted(test for test in tests if not _exists(test)) == []


def test_the_limits_are_those_of_the_code() -> None:
    settings = GatewaySettings()
    limits = ConnectionLimits(1, 1, 1, 1.0, 1.0)
    retry = RetryPolicy()
    minutes = settings.stall_timeout / 60
    largest = len(bin(json_text.MAX_COUNT)) - 3
    said = {
        "A client of the gateway": [
            f"hold {settings.max_connections} connections, {settings.max_connections_per_client} of them",
            f"{limits.head_bytes // KIB} KiB of head in {settings.body_timeout:g} s",
            f"send {settings.max_body_bytes // KIB} KiB in {settings.body_timeout:g} s",
            f"occupy {transport._DNS_THREADS} threads",
            f"run {settings.max_pushes}, and",
            f"own push for {minutes:g} min",
            f"{pages._MAX_STREAMS} watchers",
        ],
        "A registry": [
            f"at most {endpoints._MAX_LOCATION_CHARACTERS} characters",
            f"lead over {authorizer._MOST_REDIRECTS - 1} of them",
            f"{challenges._MAX_CHARACTERS} characters are read",
            f"ask for {authorizer._MOST_PROOFS} proofs",
            f"{peer_text.SHOWN_CHARACTERS} of the first {peer_text.INSPECTED_CHARACTERS} characters",
            f"for {tokens.REQUEST_TIMEOUT_SECONDS:g} s before its head",
            f"`stall_timeout` ({minutes:g} min), and {responses.MAX_RESPONSE_SECONDS:g} s until",
            f"{_framing._MAX_HEADERS} header lines; {responses.MAX_RESPONSE_BYTES:,} bytes",
            f"{peer_text.MAX_ERROR_BODY_BYTES} bytes of an error",
            f"waits of {retry.cap:g} s; each request is tried {retry.attempts} times",
        ],
        "A token realm": [
            f"{tokens.REQUEST_TIMEOUT_SECONDS:g} s for the head, {responses.MAX_RESPONSE_SECONDS:g} s for the rest",
        ],
        "An Ollama server": [
            f"{ndjson.MAX_LINE_BYTES:,} bytes a line; {events.MAX_LAYERS:,} layers",
            f"({minutes:g} min) without a new byte of a layer, in each of {retry.attempts} attempts",
            f"from 0 to 2{str(largest).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}",
            f"{check.CHECK_TIMEOUT_SECONDS:g} s of silence, a list of {responses.MAX_RESPONSE_BYTES:,} bytes",
            f"which {check._COMPARED} names",
        ],
        "Another local process": [
            f"waits {resume_store._LOCK_SECONDS:g} s, once a minute",
            f"fails after {credentials._LOCK_SECONDS:g} s",
        ],
        "A credential helper": [
            f"{helper_programs._TIMEOUT_SECONDS:g} s and {helper_programs._MAX_BYTES // MIB} MiB",
            f"one of {_lanes._CREDENTIAL_THREADS} threads",
        ],
        "A model's author": [
            f"{store._MAX_MANIFEST_BYTES // MIB} MiB, which is sent",
            f"in memory {bodies._BUFFER_BYTES // KIB} KiB",
        ],
        "The environment": [f"files of {docker_config._MAX_BYTES // MIB} MiB"],
        "A reader of logs, terminals and metrics": [f"errors of {PushHistory().kept} pushes"],
    }
    sections = {title: text for title, _, text in (part.partition("\n") for part in PAGE.split("\n## "))}
    assert [(title, text) for title, texts in said.items() for text in texts if text not in sections[title]] == []
