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
import kubernetes_validate  # type: ignore[import-untyped] # it has no types
import pytest
import yaml  # type: ignore[import-untyped] # its types are a package of their own, for this one file
from hera.workflows.models import Workflow
from tests.support.haproxy import needs_haproxy
from tests.support.promtool import needs_promtool, promtool

from ollama_push.cli.app import app
from ollama_push.cli.exit_codes import exit_code
from ollama_push.cli.resume import RESUME_VARIABLE
from ollama_push.cli.serve import serve_command
from ollama_push.core.errors import InvalidModelName, InvalidSetting
from ollama_push.fleet.connection import PASSWORD_VARIABLE
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


def workload(name: str) -> dict[str, Any]:
    [found] = [each for each in CLUSTER if "template" in each["spec"] and each["metadata"]["name"] == name]
    return found


JOB: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "job.yml").read_text("utf-8"))
ARGO: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "argo.yml").read_text("utf-8"))
JOB_LABELS: Final = [JOB["spec"]["template"]["metadata"]["labels"], ARGO["spec"]["podMetadata"]["labels"]]


def job_pod(name: str) -> dict[str, Any]:
    """Return the pod of a job; Argo makes it of the workflow and one of its templates."""
    if name == "job.yml":
        return dict(JOB["spec"]["template"]["spec"])
    [script] = [each["script"] for each in ARGO["spec"]["templates"] if "script" in each]
    return {**ARGO["spec"], "containers": [script]}


WORKLOADS: Final = [each["metadata"]["name"] for each in CLUSTER if "template" in each["spec"]]


def pod(name: str = "ollama-push") -> dict[str, Any]:
    spec: dict[str, Any] = workload(name)["spec"]["template"]["spec"]
    return spec


def gateway_container() -> dict[str, Any]:
    [container] = [each for each in pod()["containers"] if each["name"] == "gateway"]
    return dict(container)


def command_lines() -> Iterator[Any]:
    """Yield the arguments of ``serve`` in each recipe."""
    yield pytest.param(json.loads(instructions("CMD")[-1]), id="Dockerfile")
    yield pytest.param(gateway()["command"], id="compose")
    yield pytest.param(gateway_container()["args"], id="kubernetes")
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
    assert gateway()["volumes"][1:] == [f"state:{state}"]
    mounts = {mount["mountPath"]: mount for mount in gateway_container()["volumeMounts"]}
    assert mounts[models]["readOnly"] is True
    assert "readOnly" not in mounts[state]


def test_the_containers_may_do_as_little_as_they_need() -> None:
    service = gateway()
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert gateway_container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    uid = instructions("USER")[-1].partition(":")[0]
    assert str(pod()["securityContext"]["runAsUser"]) == uid
    for name in WORKLOADS:
        assert pod(name)["securityContext"]["runAsNonRoot"] is True
        assert pod(name)["automountServiceAccountToken"] is False
        for container in pod(name)["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_compose_publishes_on_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
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
    yield from (line for line in instructions("ARG") if "_IMAGE=" in line)
    yield from (service["image"] for service in COMPOSE["services"].values() if "build" not in service)
    yield from (container["image"] for name in WORKLOADS for container in pod(name)["containers"])


@pytest.mark.parametrize("image", [*_images()])
def test_every_image_is_pinned_by_its_full_version(image: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+(-[a-z-]+)?$", image)


def test_the_image_is_made_from_the_one_that_is_pinned() -> None:
    assert {line.split()[0] for line in instructions("FROM")} == {"${PYTHON_IMAGE}"}


def test_every_recipe_runs_the_last_release_or_before_there_is_one_the_first() -> None:
    releases = re.findall(r"^## (\d+\.\d+\.\d+) ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    tags = [
        tag
        for file in DEPLOY.iterdir()
        for tag in re.findall(r"/ollama-push:(\S+)$", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(tags) == 3
    assert set(tags) == {releases[0] if releases else "0.1.0"}


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
    used = set()
    for name in WORKLOADS:
        volumes = {volume["name"]: volume for volume in pod(name).get("volumes", ())}
        used |= {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        made = {each["metadata"]["name"] for each in workload(name)["spec"].get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for container in pod(name)["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes.keys() | made
    assert used == claims


def test_ollama_and_the_replicas_share_the_models() -> None:
    [claim] = [each for each in CLUSTER if each["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"], "several nodes mount it"
    for name in ("ollama", "ollama-push"):
        [volume] = [each for each in pod(name)["volumes"] if each["name"] == "models"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    writers = [name for name in ("ollama", "ollama-push") if "readOnly" not in models_mount(name)]
    assert writers == ["ollama"]


def models_mount(name: str) -> dict[str, Any]:
    [mount] = [each for each in pod(name)["containers"][0]["volumeMounts"] if each["name"] == "models"]
    return dict(mount)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_cluster_finds_the_ports(name: str) -> None:
    ports = {port["name"]: port["containerPort"] for each in pod(name)["containers"] for port in each["ports"]}
    assert len(set(ports.values())) == len(ports)
    [service] = [each for each in CLUSTER if each["kind"] == "Service" and each["metadata"]["name"] == name]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports.keys()
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == workload(name)["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_the_cluster_probes_the_gateway() -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert gateway_container()[probe]["httpGet"] == {"path": "/healthz", "port": "push"}
    [listen] = [argument for argument in gateway_container()["args"] if argument.startswith("--listen=")]
    assert listen.endswith(f":{gateway_container()['ports'][0]['containerPort']}")


def test_the_cluster_never_has_less_than_one_replica() -> None:
    spec = workload("ollama-push")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    [budget] = [each for each in CLUSTER if each["kind"] == "PodDisruptionBudget"]
    assert budget["spec"] == {"minAvailable": 1, "selector": spec["selector"]}
    [spread] = pod()["topologySpreadConstraints"]
    assert spread["labelSelector"] == spec["selector"]


def test_the_replicas_of_the_cluster_meet_in_a_redis_that_only_they_reach() -> None:
    variables = {each["name"]: each for each in gateway_container()["env"]}
    [service] = [
        each for each in CLUSTER if each["metadata"]["name"] == "ollama-push-redis" and each["kind"] == "Service"
    ]
    url = f"redis://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}/0"
    assert variables[RESUME_VARIABLE]["value"] == url
    [redis] = pod("ollama-push-redis")["containers"]
    assert variables[PASSWORD_VARIABLE]["valueFrom"] == redis["env"][0]["valueFrom"], "one password for both"
    assert "--requirepass" in redis["args"]
    [policy] = [each["spec"] for each in CLUSTER if each["kind"] == "NetworkPolicy"]
    assert policy["podSelector"] == workload("ollama-push-redis")["spec"]["selector"]
    [rule] = policy["ingress"]
    [admitted] = [each["podSelector"]["matchLabels"] for each in rule["from"]]
    clients = [workload("ollama-push")["spec"]["template"]["metadata"]["labels"], *JOB_LABELS]
    assert all(admitted.items() <= labels.items() for labels in clients)
    assert not admitted.items() <= workload("ollama")["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("labels", JOB_LABELS, ids=["job", "argo"])
def test_pods_of_jobs_are_none_of_the_gateway_s(labels: dict[str, str]) -> None:
    """Its Service would send them requests; its budget would count them, and let both replicas go."""
    selectors = [each["spec"].get("selector", {}) for each in CLUSTER if each["kind"] != "PersistentVolumeClaim"]
    chosen = [selector.get("matchLabels", selector) for selector in selectors if selector]
    assert len(chosen) >= 7
    assert not [selector for selector in chosen if selector.items() <= labels.items()]


@pytest.mark.parametrize("name", ["job.yml", "argo.yml"])
def test_jobs_use_what_the_cluster_has(name: str) -> None:
    spec = job_pod(name)
    [container] = spec["containers"]
    variables = {each["name"]: each for each in container["env"]}
    gateways = {each["name"]: each for each in gateway_container()["env"]}
    for variable in ("DOCKER_CONFIG", RESUME_VARIABLE, PASSWORD_VARIABLE):
        assert variables[variable] == gateways[variable]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes.keys() == {mount["name"] for mount in container["volumeMounts"]}
    theirs = {each["name"]: each for each in pod()["volumes"]}
    assert all(volumes[name] == theirs[name] for name in volumes)
    assert container["image"] == gateway_container()["image"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])


def test_argo_takes_the_workflow() -> None:
    """Its types drop what they do not know: what comes back is what was given."""
    text = (DEPLOY / "argo.yml").read_text("utf-8")
    given = yaml.safe_load(text)
    assert taken_by_argo(given) == given
    misspelt = yaml.safe_load(text.replace("retryStrategy", "retryStratgy"))
    assert taken_by_argo(misspelt) != misspelt


def taken_by_argo(workflow: dict[str, Any]) -> Any:
    return Workflow.model_validate(workflow).model_dump(by_alias=True, exclude_none=True)


@pytest.mark.slow
def test_the_schema_of_compose_takes_the_recipe(tmp_path: Path) -> None:
    text = (DEPLOY / "compose.yml").read_text("utf-8")
    wrong = tmp_path / "compose.yml"
    wrong.write_text(text.replace("stop_grace_period", "stop_grace_time"))
    codes = [
        subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)],
            capture_output=True, timeout=60, check=False,
        ).returncode
        for file in (DEPLOY / "compose.yml", wrong)
    ]  # fmt: skip
    assert codes == [0, 1]


def test_an_indexed_job_counts_from_one() -> None:
    """Kubernetes counts from 0, and the command does not."""
    [container] = job_pod("job.yml")["containers"]
    assert '--shard "$((JOB_COMPLETION_INDEX + 1))/' in container["args"][0]


def test_a_drained_node_is_no_failure_of_a_job() -> None:
    rules = JOB["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    permanent = [exit_code(error) for error in (InvalidSetting("x", 1, "y"), InvalidModelName("x", "y"))]
    assert set(permanent) <= set(rules[1]["onExitCodes"]["values"])


@pytest.mark.parametrize("version", ["1.29", "1.32", "1.34"])
@pytest.mark.parametrize("document", CLUSTER, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_takes_each_document(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_is_asked_by_a_judge_that_says_no() -> None:
    wrong = {**workload("ollama-push"), "spec": {**workload("ollama-push")["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def test_the_replicas_of_compose_meet_in_its_redis() -> None:
    service = gateway()
    assert service["deploy"]["replicas"] == 2
    assert service["environment"][RESUME_VARIABLE] == "redis://redis:6379/0"
    password = service["environment"][PASSWORD_VARIABLE]
    assert COMPOSE["services"]["redis"]["command"][1:3] == ["--requirepass", password]
    assert "ports" not in COMPOSE["services"]["redis"], "nobody else reaches it"
    assert "ports" not in service, "the proxy has the address"


@needs_haproxy
@pytest.mark.process
def test_haproxy_takes_its_configuration() -> None:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert program is not None
    done = subprocess.run(
        [program, "-c", "-f", str(DEPLOY / "haproxy.cfg")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f":{COMPOSE['services']['proxy']['ports'][0].rpartition(':')[2]}\n" in (DEPLOY / "haproxy.cfg").read_text(
        "utf-8"
    )
    assert "gateway:11434" in (DEPLOY / "haproxy.cfg").read_text("utf-8")
    assert "--listen=0.0.0.0:11434" in gateway()["command"]


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
