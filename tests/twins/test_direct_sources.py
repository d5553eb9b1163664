"""A source of credentials that raises ends the push with what it raised, and nothing else with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from tests.support.direct_push import PATIENCE, REPOSITORY, Colour, Direct, either_colour, push, settings, stored
from tests.twins.test_direct_leaving import nothing_left

from ollama_push import AsyncRegistryClient, RegistryClient
from ollama_push.core.errors import InvalidSetting
from ollama_push.core.observations import Observation, PushFinished, PushOutcome
from ollama_push.core.receipts import PushReceipt
from ollama_push.core.registry.credentials import Credential
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Reply

pytestmark = pytest.mark.slow

LOGIN: Final = ("ann", "s3cret-of-ann")
WHO_ARE_YOU: Final = Reply(401, {"WWW-Authenticate": 'Basic realm="registry"'})


class Broken:
    """A source that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def find(self, _host: str, /) -> Credential | None:
        raise self._error


def push_twice(colour: Colour, asked: Direct, seen: list[Observation]) -> tuple[BaseException, PushReceipt]:
    """Push with one client, first with the source it was given and then with a login; return what came of each."""
    if colour is push:
        with RegistryClient(**settings(asked, [seen.append])) as client:
            with pytest.raises(Exception) as caught:
                client.push(asked.name, source=asked.source)
            return caught.value, client.push(asked.name, source=asked.source, credentials=LOGIN)

    async def run() -> tuple[BaseException, PushReceipt]:
        before = asyncio.all_tasks()
        async with asyncio.timeout(PATIENCE), AsyncRegistryClient(**settings(asked, [seen.append])) as client:
            with pytest.raises(Exception) as caught:
                await client.push(asked.name, source=asked.source)
            assert asyncio.all_tasks() == before
            return caught.value, await client.push(asked.name, source=asked.source, credentials=LOGIN)

    return asyncio.run(run())


@either_colour
@pytest.mark.parametrize(
    "error",
    [LookupError("the vault is sealed"), InvalidSetting("credentials", "vault", "it is sealed")],
    ids=["any error", "one of ours"],
)
@pytest.mark.parametrize("late", [False, True], ids=["at the first question", "with blobs on their way"])
def test_what_a_source_raises_ends_the_push_and_the_client_goes_on(
    late: bool,  # noqa: FBT001 - a row's column
    error: Exception,
    colour: Colour,
    tmp_path: Path,
) -> None:
    raw = stored(tmp_path)
    seen: list[Observation] = []
    # A registry that everybody may look at, and that asks who it is only at the second blob.
    faults = [Fault("POST", nth=2, action=WHO_ARE_YOU)] if late else []
    auth = None if late else BasicAuth(dict([LOGIN]))
    colour(Direct(host="127.0.0.1:1", home=tmp_path))  # whatever is opened once and kept is open now
    with nothing_left(), EmbeddedRegistry(tmp_path / "registry", auth=auth, faults=faults) as registry:
        asked = Direct(host=registry.host, home=tmp_path, concurrency=2, credentials=Broken(error))
        raised, receipt = push_twice(colour, asked, seen)
        assert registry.manifest(REPOSITORY, "v1") == raw
        assert receipt.verified
    assert raised is error
    first, second = [one for one in seen if isinstance(one, PushFinished)]
    assert (first.outcome, second.outcome) == (PushOutcome.FAILED, PushOutcome.SUCCEEDED)
    assert first.error is (error if isinstance(error, InvalidSetting) else None)
    assert list((tmp_path / "uploads").glob("*.json")) == []
    assert list((tmp_path / "uploads").glob("*.lock")) == [tmp_path / "uploads" / "directory.lock"]
