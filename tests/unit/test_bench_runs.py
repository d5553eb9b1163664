"""The benchmark runs, and whoever it measures comes to the right verdict; how fast is nobody's failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench.history import HISTORY
from bench.uploads import missing_programs
from tests.support.command import without_coverage

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.bench]

ROOT = Path(__file__).parents[2]
# Coverage of the processes of a benchmark would measure coverage.
UNMEASURED = without_coverage(os.environ)

OURS = [
    f"{client}.stream{how}"
    for client in ("PushClient", "AsyncPushClient")
    for how in ("", ", speed extra", ", three hooks")
]
BARE = ["bare urllib3 loop", "bare aiohttp loop"]
PEERS = ["requests iter_lines", "ollama.Client.push", "ollama.AsyncClient.push"]


ROW = re.compile(r"^  (.+?) +\d+\.\d\d (?:µs|MiB) +\d+\.\d\d x  (.*)$", re.MULTILINE)

LOADED = {
    "import ollama_push": "none",
    "from ollama_push import PushClient": "none",
    "from ollama_push import PushClient; PushClient()": "urllib3",
    "from ollama_push import AsyncPushClient; AsyncPushClient()": "aiohttp, asyncio",
}


def test_every_row_is_printed_and_every_push_succeeds() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "events", "--events", "2000"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout

    cpu, _, rest = printed.partition("== Peak memory")
    # Four mixes, two sizes of chunks; the libraries of others get the realistic mix only.
    assert sorted(ROW.findall(cpu)) == sorted((label, "success") for label in (OURS + BARE) * 8 + PEERS * 2)
    assert sorted(ROW.findall(rest)) == sorted((label, "success") for label in OURS + BARE + PEERS)
    for statement, loaded in LOADED.items():
        assert re.search(rf"^  {re.escape(statement)} +-?\d+\.\d ms  loads {loaded}$", rest, re.MULTILINE)
    assert re.search(r"^  PushProtocol, 1,000,000 -> 4,000,000 bytes .* ns/byte +\d+\.\d\d x$", rest, re.MULTILINE)


def test_the_start_of_the_command_is_measured() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--history", "--only", "start"]
    before = HISTORY.read_bytes()
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout

    assert re.findall(r"^  (.+?) +-?\d+\.\d ms more +\d+\.\d x$", printed, re.MULTILINE) == [
        *("a bare interpreter", "ollama-push --version", "a direct push of nothing", "the same, aiohttp")
    ]
    assert HISTORY.read_bytes() == before, "a quick run is not kept"


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")
def test_every_upload_is_measured() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "uploads", "--blob-mib", "8", "--huge-mib", "8"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout

    row = re.compile(r"^  (.+?) +wall +\d+\.\d\d s +\d+\.\d\d x +CPU +\d+\.\d\d s +\d+\.\d\d x", re.MULTILINE)
    ours = ["RegistryClient", "AsyncRegistryClient"]
    assert row.findall(printed) == [
        *("curl -T", "skopeo copy", *ours),
        *(f"{client}, {size}" for size in ("1 kB", "8 MiB") for client in ours),
        *(f"{contender}, TLS" for contender in ("curl -T", *ours)),
        *(f"RegistryClient, concurrency {count}" for count in (1, 4)),
        *("AsyncRegistryClient, direct", "PushClient, through the gateway"),
    ]


def test_the_crossings_of_each_way_are_counted() -> None:
    command = [sys.executable, "-m", "bench.crossings", "--list"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout

    rows = re.findall(
        r"^(\w+) +(\d+) modules, +\d+ pairs of modules, +\d+ functions across, +(\d+) crossings$", printed, re.MULTILINE
    )
    assert [way for way, _modules, _crossings in rows] == ["server", "direct", "gateway"]
    assert all(0 < int(modules) < int(crossings) for _way, modules, crossings in rows)
    assert "ollama_push.testing" not in printed


def test_many_models_are_measured() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "many"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout
    row = r"^  (.+?) +wall +\d+\.\d\d s +\d+\.\d\d x   \d+ connections for [\d,]+ requests"
    assert re.findall(row, printed, re.MULTILINE) == [
        "one after the other, 0 ms",
        "8 at a time, 0 ms",
        "one after the other, 20 ms",
        "8 at a time, 20 ms",
    ]


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")
def test_every_pull_is_measured() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "pulls", "--blob-mib", "32"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout
    rows = re.findall(r"^  (curl, .*?) +wall +\d", printed, re.MULTILINE)
    assert rows == [
        *("curl, straight", "curl, through the gateway", "curl, from its cache"),
        *("curl, straight", "curl, through the gateway"),
    ]
    found = re.search(r"^  ([\d,]+) bytes in .* of which the registry sent ([\d,]+)$", printed, re.MULTILINE)
    assert found is not None
    asked, sent = (int(number.replace(",", "")) for number in found.groups())
    assert asked == 5 * sent


@pytest.mark.skipif(bool(missing_programs()), reason=f"not installed: {', '.join(missing_programs())}")
def test_pushes_at_once_are_measured_and_all_succeed() -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--only", "load"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300, env=UNMEASURED
    ).stdout
    row = r"^  (.+?) +wall .* CPU +\d+\.\d ms a push   the slowest first event after +\d+\.\d\d s   10 succeeded"
    assert re.findall(row, printed, re.MULTILINE)[0] == "the gateway"
