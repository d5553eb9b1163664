"""``from`` names the local model; ``check`` knows a gateway; each push is a line in the log; advice for who asks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.support.gateway import Gateway, settings_for, store_of

from ollama_push import ModelName, PushClient, PushRejected
from ollama_push.gateway.push_history import PUSH_LOGGER
from ollama_push.local import Credentials
from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Reply


def test_from_names_the_local_model(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry") as registry:
        store = store_of(tmp_path, "registry.ollama.ai/library/my-llama/latest")
        with Gateway(settings_for(store)) as gateway:
            order = {"model": f"{registry.host}/team/demo:v1", "insecure": True}
            assert "no such file or directory" in gateway.push(order).error
            assert gateway.push({**order, "from": "my-llama"}).lines[-1] == {"status": "success"}
            assert gateway.push({**order, "from": ""}).error
        assert registry.manifest("team/demo", "v1") is not None


def test_a_source_that_is_no_name_or_not_there_is_told_of_by_its_own_name(tmp_path: Path) -> None:
    with Gateway(settings_for(store_of(tmp_path), default_registry="localhost:1")) as gateway:
        illegal = gateway.push({"model": "team/demo", "from": "a b"})
        absent = gateway.push({"model": "team/demo", "from": "nope"})
        number = gateway.push({"model": "team/demo", "from": 5})
    assert "a b" in illegal.error
    assert "there is no model 'nope:latest'" in absent.error
    assert (number.status, number.error) == (
        400,
        "json: cannot unmarshal number into Go struct field PushRequest.from of type string",
    )


def test_a_model_of_another_name_is_advised_in_the_terms_of_the_request(tmp_path: Path) -> None:
    store = store_of(tmp_path, "registry.ollama.ai/library/demo/latest")
    with Gateway(settings_for(store, default_registry="localhost:1")) as gateway:
        said = gateway.push({"model": "team/demo"}).error
    assert 'send "from": "demo:latest"' in said
    assert "--from" not in said


def test_check_knows_a_gateway_and_advises_no_copy_there(tmp_path: Path) -> None:
    store = store_of(tmp_path, "registry.ollama.ai/library/demo/latest")
    with Gateway(settings_for(store)) as gateway, PushClient(f"http://127.0.0.1:{gateway.port}") as client:
        ready = client.check("localhost:1/team/demo")
    (problem,) = ready.problems
    assert isinstance(problem, PushRejected)
    assert (ready.is_gateway, problem.advice) == (True, None)


def test_each_push_is_a_line_with_its_verdict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, PUSH_LOGGER.name)
    faults = [Fault("POST", "/team/bad/", times=None, action=Reply(403))]
    with EmbeddedRegistry(tmp_path / "registry", faults=faults) as registry:
        names = [f"{registry.host}/team/{name}/latest" for name in ("good", "bad")]
        with Gateway(settings_for(store_of(tmp_path, *names), allow=(registry.host,), max_pushes=1)) as gateway:
            for name in ("good", "bad", "none"):
                gateway.push({"model": f"{registry.host}/team/{name}", "insecure": True})
            gateway.push({"model": "b", "stream": False})
            gateway.push({"model": "other.example.com/a/b"})
            gateway.push({})
    pushes = [record.getMessage() for record in caplog.records if record.name == PUSH_LOGGER.name]
    target = f"to http://{registry.host}"
    begin = [line.split(" in ")[0].split(" after ")[0].split(": ")[0] for line in pushes]
    assert begin == [
        f"pushed {registry.host}/team/good:latest {target}",
        f"failed {registry.host}/team/bad:latest {target}",
        f"failed {registry.host}/team/none:latest {target}",
        "refused b",
        "refused other.example.com/a/b",
        "refused a push",
    ]
    assert pushes[0].endswith(", 8.0 kB")
    assert pushes[1].endswith(": 403: this login may not do that there (opening an upload)")


def test_a_login_in_the_environment_that_is_not_for_this_registry_is_told(tmp_path: Path) -> None:
    with EmbeddedRegistry(tmp_path / "registry", auth=BasicAuth({"me": "hush-hush"})) as registry:
        store = store_of(tmp_path, f"{registry.host}/team/demo/latest")
        environ = {"OLLAMA_USERNAME": "me", "OLLAMA_PASSWORD": "hush-hush"}
        withheld = Credentials(environ=environ, environment_for=("other.example.com",))
        order = {"model": f"{registry.host}/team/demo", "insecure": True}
        with Gateway(settings_for(store, credentials=withheld)) as gateway:
            said = gateway.push(order).error
        with Gateway(settings_for(store, credentials=Credentials(environ={}))) as gateway:
            plain = gateway.push(order).error
        with Gateway(settings_for(store, credentials=Credentials(environ=environ))) as gateway:
            assert gateway.push(order).lines[-1] == {"status": "success"}
    hint = "the gateway's OLLAMA_USERNAME and OLLAMA_PASSWORD were not used"
    assert (hint in said, hint in plain, "hush" in said) == (True, False, False)


def test_the_store_is_read_by_the_name_in_from_alone(tmp_path: Path) -> None:
    """No fallback to the name of the push: the client would get another model than the one it named."""
    store = store_of(tmp_path, "registry.ollama.ai/team/demo/latest")
    assert [str(name) for name in store.models()] == [str(ModelName.parse("team/demo"))]
    with Gateway(settings_for(store, default_registry="localhost:1")) as gateway:
        assert "there is no model" in gateway.push({"model": "team/demo", "from": "nope"}).error
