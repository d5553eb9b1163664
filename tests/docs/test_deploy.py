"""The recipes in deploy/ fit together: with the command, with the package, with each other, and with their checkers."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from tests.support.promtool import needs_promtool, promtool

from ollama_push.cli.app import app
from ollama_push.cli.serve import serve_command
from ollama_push.core.version import __version__
from ollama_push.testing.server import ScriptedServer, json_answer

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yml").read_text("utf-8"))
CLUSTER: Final[list[dict[str, Any]]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yml").read_text("utf-8")))
UNIT: Final = DEPLOY / "ollama-push.service"
SYSTEMD_ANALYZE: Final = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name}\s+(.*)$", DOCKERFILE, re.MULTILINE)


def gateway() -> dict[str, Any]:
    service: dict[str, Any] = COMPOSE["services"]["gateway"]
    return service


def pod() -> dict[str, Any]:
    [deployment] = [each for each in CLUSTER if each["kind"] == "Deployment"]
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def sidecar() -> dict[str, Any]:
    [container] = [each for each in pod()["containers"] if each["name"] == "gateway"]
    return dict(container)


def command_lines() -> Iterator[Any]:
    """Yield the arguments of ``serve`` in each recipe."""
    yield pytest.param(json.loads(instructions("CMD")[-1]), id="Dockerfile")
    yield pytest.param(gateway()["command"], id="compose")
    yield pytest.param(sidecar()["args"], id="kubernetes")
    [line] = re.findall(r"^ExecStart=\S+ serve (.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    yield pytest.param(shlex.split(line), id="systemd")


@pytest.mark.parametrize("arguments", [*command_lines()])
def test_every_recipe_starts_the_gateway_with_options_there_are(arguments: list[str]) -> None:
    serve_command.make_context("serve", [*arguments], parent=click.Context(app)).close()


def test_the_image_runs_the_command_as_a_user_that_is_not_root() -> None:
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["ollama-push", "serve"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[-1])
    assert DOCKERFILE.rindex("\nUSER ") > DOCKERFILE.rindex("\nRUN ")


def test_the_image_is_made_of_files_there_are_which_the_builder_gets() -> None:
    sources = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    let_in = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    assert sorted(let_in) == sorted(sources)


def test_the_image_gets_all_the_package_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], "src"}
    assert needed <= {word for line in instructions("COPY") for word in line.split()}
    [extras] = re.findall(r"'\.\[(.*)\]'", DOCKERFILE)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    [unit_extras] = re.findall(r"ollama-push\[(.*)\]", UNIT.read_text("utf-8"))
    assert set(unit_extras.split(",")) <= project["optional-dependencies"].keys()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_well_from_ill(status: int, code: int) -> None:
    [line] = instructions("HEALTHCHECK")
    program, *arguments = json.loads(line.partition(" CMD ")[2])
    assert program == "python"
    with ScriptedServer(json_answer(b"{}"), answers={"/healthz": json_answer(b"{}", status)}) as server:
        port = server.url.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, *(word.replace("11434", port) for word in arguments)], timeout=30, check=False
        )
    assert done.returncode == code


def test_the_health_check_finds_nobody_ill() -> None:
    [line] = instructions("HEALTHCHECK")
    arguments = json.loads(line.partition(" CMD ")[2])[1:]
    with ScriptedServer(json_answer(b"{}")) as server:
        port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, *(word.replace("11434", port) for word in arguments)],
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1


def test_what_the_image_reads_and_writes_is_mounted_everywhere() -> None:
    values = dict(re.findall(r"\b(OLLAMA_MODELS|XDG_STATE_HOME)=(\S+)", DOCKERFILE))
    models, state = values["OLLAMA_MODELS"], values["XDG_STATE_HOME"]
    assert instructions("VOLUME") == [state]
    mounted = {target: mode for _, target, *mode in (text.rsplit(":", 2) for text in gateway()["volumes"][:1])}
    assert mounted == {models: ["ro"]}
    assert gateway()["volumes"][1:] == [f"uploads:{state}"]
    mounts = {mount["mountPath"]: mount for mount in sidecar()["volumeMounts"]}
    assert mounts[models]["readOnly"] is True
    assert "readOnly" not in mounts[state]


def test_the_containers_may_do_as_little_as_they_need() -> None:
    service = gateway()
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert sidecar()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"] is True
    uid = instructions("USER")[-1].partition(":")[0]
    assert str(pod()["securityContext"]["runAsUser"]) == uid
    assert pod()["automountServiceAccountToken"] is False


def test_compose_publishes_on_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", [*COMPOSE["services"]])
def test_a_service_of_compose_uses_what_is_declared_or_there(name: str) -> None:
    service = COMPOSE["services"][name]
    assert "image" in service
    for source in (volume.split(":")[0] for volume in service["volumes"] if not volume.startswith("$")):
        assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys()


def _images() -> Iterator[str]:
    yield from instructions("ARG")
    yield from (service["image"] for service in COMPOSE["services"].values() if "build" not in service)
    yield from (container["image"] for container in pod()["containers"])


@pytest.mark.parametrize("image", [*_images()])
def test_every_image_is_pinned_by_its_full_version(image: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+(-[a-z-]+)?$", image)


def test_the_image_is_made_from_the_one_that_is_pinned() -> None:
    assert {line.split()[0] for line in instructions("FROM")} == {"${PYTHON_IMAGE}"}
    assert sidecar()["image"].endswith(f":{__version__}")


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yml", "kubernetes.yml"])
def test_a_recipe_says_how_to_pin_by_digest(name: str) -> None:
    comments = re.findall(r"^# (.*)$", (DEPLOY / name).read_text("utf-8"), re.MULTILINE)
    assert any("@sha256:" in comment for comment in comments)
    assert any("docker buildx imagetools inspect" in comment for comment in comments)


def test_compose_builds_the_image_of_the_recipe() -> None:
    build = gateway()["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_the_cluster_mounts_only_what_it_declares() -> None:
    claims = {each["metadata"]["name"] for each in CLUSTER if each["kind"] == "PersistentVolumeClaim"}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    used = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
    assert used == claims
    mounted = {mount["name"] for container in pod()["containers"] for mount in container["volumeMounts"]}
    assert mounted == volumes.keys()


def test_ollama_and_the_gateway_share_the_models() -> None:
    names = [{mount["name"] for mount in container["volumeMounts"]} for container in pod()["containers"]]
    assert "models" in names[0] & names[1]


def test_the_cluster_finds_the_gateways_port() -> None:
    ports = {port["name"]: port["containerPort"] for each in pod()["containers"] for port in each["ports"]}
    assert len(set(ports.values())) == len(ports)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert sidecar()[probe]["httpGet"] == {"path": "/healthz", "port": "push"}
    [listen] = [argument for argument in sidecar()["args"] if argument.startswith("--listen=")]
    assert listen.endswith(f":{ports['push']}")
    [service] = [each for each in CLUSTER if each["kind"] == "Service"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()
    [deployment] = [each for each in CLUSTER if each["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels


@needs_promtool
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    (tmp_path / "token").write_text("secret", "utf-8")
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/token", "token"), "utf-8")
    shutil.copy(ROOT / "docs" / "monitoring" / "alerts.yml", tmp_path)
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))


def unit_elsewhere(folder: Path) -> Path:
    """Copy the unit, with a program that is there and without the user: this machine may have no Ollama."""
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text("utf-8"), flags=re.MULTILINE)
    copy = folder / UNIT.name
    copy.write_text(text, "utf-8")
    return copy


def analyze(*arguments: str) -> str:
    assert SYSTEMD_ANALYZE is not None
    done = subprocess.run([SYSTEMD_ANALYZE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    said = analyze("verify", "--man=no", str(unit_elsewhere(tmp_path)))
    assert UNIT.name not in said


@needs_systemd
def test_systemd_calls_the_unit_well_shielded(tmp_path: Path) -> None:
    # Threshold in tenths; what is left is that it has a network and reads the file system.
    analyze("security", "--offline=yes", "--threshold=15", "--no-pager", str(unit_elsewhere(tmp_path)))


def test_the_unit_keeps_its_state_where_systemd_makes_room() -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(UNIT.read_text("utf-8"))
    [state] = re.findall(r"^Environment=XDG_STATE_HOME=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    assert state == f"/var/lib/{parser['Service']['StateDirectory']}"
    assert parser["Service"]["User"] != "root"
    assert "127.0.0.1:" in parser["Service"]["ExecStart"]
