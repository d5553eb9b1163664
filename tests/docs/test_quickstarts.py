"""The quickstarts that are commands: they run as they stand, by a shell, against what their readers have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from tests.registries.programs import NginxFront
from tests.support.command_direct import PASSWORD, Home, at_home
from tests.support.registries import NGINX

from ollama_push.local import ModelStore
from ollama_push.testing.registry import TokenAuth

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.docs]

QUICKSTARTS: Final = Path(__file__).parents[2] / "docs" / "quickstart"
NEEDS_INDEX: Final = re.compile(r"^pip .*\n", re.MULTILINE)
ROBOT: Final = "robot$team+ci"


def blocks(page: str, language: str) -> list[str]:
    text = (QUICKSTARTS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_models_cross_an_air_gap_in_a_file_and_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with at_home(tmp_path / "out") as out, at_home(tmp_path / "in") as there:
        empty = tmp_path / "empty"
        empty.mkdir()
        save, load, *copies = (
            NEEDS_INDEX.sub("", block).replace("localhost:5000", there.registry.host)
            for block in blocks("air-gap.md", "sh")
        )
        wheels = out.folder / "job" / "wheels"
        wheels.mkdir(parents=True)
        (wheels / "package.whl").touch()
        done = out.run_script(save)
        assert done.returncode == 0, done.stderr
        # What was carried is all that is in there.
        inside = Home(out.folder, there.registry, out.manifest)
        done = inside.run_script(load + copies[0], OLLAMA_MODELS=str(empty))
        assert done.returncode == 0, done.stderr
        assert ModelStore(empty).models() == ModelStore(out.folder / "models").models()
        assert there.registry.manifest("team/my-llama", "latest") == out.manifest
        done = inside.run_script(copies[1])
        assert done.returncode == 0, done.stderr
        assert there.registry.manifest("team/my-llama", "v2") == out.manifest


def test_a_file_that_was_changed_on_the_way_is_found(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        save, load, *_ = (NEEDS_INDEX.sub("", block) for block in blocks("air-gap.md", "sh"))
        wheels = tmp_path / "job" / "wheels"
        wheels.mkdir(parents=True)
        (wheels / "package.whl").touch()
        assert home.run_script(save).returncode == 0
        with (tmp_path / "job" / "models.tar").open("r+b") as file:
            file.seek(1000)
            file.write(b"changed")
        done = home.run_script(load)
    assert done.returncode != 0
    assert "models.tar" in done.stdout + done.stderr


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
def test_a_robot_pushes_to_harbor_through_the_proxy_of_the_page(tmp_path: Path) -> None:
    def may(user: str, repository: str) -> frozenset[str]:
        return frozenset({"pull", "push"} if (user, repository) == (ROBOT, "team/my-llama") else ())

    auth = TokenAuth({ROBOT: PASSWORD}, may, same_origin=True)
    with at_home(tmp_path, auth=auth) as home:
        [proxy] = blocks("harbor.md", "nginx")
        with NginxFront(tmp_path / "nginx", proxy.replace("harbor-core", home.registry.host), tls=True) as front:
            commands, _gateway = (
                block.replace("harbor.example.com", front.host) for block in blocks("harbor.md", "sh")
            )
            job = tmp_path / "job"
            job.mkdir()
            (job / "company-ca.pem").write_bytes(front.ca_file.read_bytes())
            (job / "secret.txt").write_text(PASSWORD)
            done = home.run_script(commands)
            assert done.returncode == 0, done.stderr
            assert home.registry.manifest("team/my-llama", "v1") == home.manifest
            assert done.stderr.rstrip().endswith(f"{front.host}/team/my-llama:v1: verified")
            elsewhere = commands.replace("/team/", "/other/")
            refused = home.run_script(elsewhere)
            assert refused.returncode == 6
    assert PASSWORD not in done.stdout + done.stderr + refused.stdout + refused.stderr
