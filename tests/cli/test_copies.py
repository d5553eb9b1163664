"""``ollama-push copy`` as a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support.blobs import digest_of
from tests.support.command import command
from tests.support.command_direct import SMALL_BYTES, at_home
from tests.support.created_models import MODELFILES, recorded, write_files
from tests.support.registries import CRANE, ORAS
from tests.support.stores import LAYERS, put_model

from ollama_push.local import ModelStore, OciLayout
from ollama_push.testing.registry import EmbeddedRegistry, Fault, Stall

pytestmark = pytest.mark.process


@pytest.mark.slow
def test_a_model_goes_round_and_arrives_as_it_was(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        layout = f"oci:{tmp_path / 'layout'}:demo"
        steps = [
            ("my-llama", layout),
            (layout, f"{home.registry.host}/team/copied:v1"),
            (f"{home.registry.host}/team/copied:v1", "ollama:again"),
            ("again", f"{home.registry.host}/team/my-llama:latest"),
        ]
        for source, target in steps:
            done = home.run("copy", source, target, "--plain-http")
            assert done.returncode == 0, done.stderr
            assert "verified" in done.stderr
        assert home.pushed()
    assert OciLayout(tmp_path / "layout").model("demo").read_manifest() == home.manifest


@pytest.mark.slow
def test_a_dry_run_copies_nothing(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", "my-llama", f"oci:{tmp_path / 'layout'}", "--dry-run")
        refused = home.run("copy", "no-llama", f"oci:{tmp_path / 'layout'}", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("already there: nothing; to send: ")
    assert not (tmp_path / "layout").exists()
    assert refused.returncode == 7
    assert "there is no model 'no-llama" in refused.stderr


def test_programs_read_the_same_as_of_a_push(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", "my-llama", f"oci:{tmp_path / 'layout'}", "--progress", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "succeeded"
    assert events[-1]["total_bytes"] == SMALL_BYTES
    assert events[-1]["model"] == f"oci:{tmp_path / 'layout'}"


@pytest.mark.parametrize(
    ("source", "target", "code", "said"),
    [
        ("my-llama", "team/x", 2, "TARGET='team/x': it may be a model of Ollama's store or of its registry"),
        ("./x", "ollama:x", 2, "SOURCE='./x': what is there?"),
        ("oci:nowhere", "ollama:x", 5, "the source oci:nowhere failed: this is no OCI layout"),
        ("my-llama", "oci:no/such/folder", 5, "the target oci:no/such/folder failed"),
    ],
)
def test_what_cannot_be_copied_is_said(source: str, target: str, code: int, said: str, tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("copy", source, target)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


@pytest.mark.slow
def test_a_push_takes_a_model_from_anywhere(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        source = f"oci:{tmp_path / 'layout'}"
        home.run("copy", "my-llama", source)
        options = ("--direct", "--plain-http", "--from", source)
        checked = home.run("check", home.name, *options)
        done = home.run("push", home.name, *options)
        assert (checked.returncode, done.returncode) == (0, 0), done.stderr
        assert home.pushed()


def test_a_modelfile_is_pushed_without_a_store(tmp_path: Path) -> None:
    write_files(tmp_path)
    (tmp_path / "Modelfile").write_text(MODELFILES["renderer"])
    with at_home(tmp_path / "home") as home:
        # No --direct: no server has such a model.
        options = ("--plain-http", "--from", str(tmp_path / "Modelfile"))
        done = home.run("push", home.name, *options, OLLAMA_MODELS=str(tmp_path / "none"))
        pushed = home.registry.manifest("team/my-llama", "latest")
    assert done.returncode == 0, done.stderr
    assert json.loads(pushed or b"") == json.loads(recorded()["renderer"]["manifest"])


@pytest.mark.slow
def test_a_file_that_cannot_be_pushed_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    with at_home(tmp_path / "home") as home:
        done = home.run("copy", f"gguf:{tmp_path / 'model.safetensors'}", f"{home.name}:latest")
    assert done.returncode == 2
    assert "convert it to one GGUF file with llama.cpp's `convert_hf_to_gguf.py`" in done.stderr


@pytest.mark.slow
def test_what_is_saved_here_is_loaded_there(tmp_path: Path) -> None:
    with at_home(tmp_path / "here") as here, at_home(tmp_path / "there") as there:
        put_model(here.folder / "models", "registry.ollama.ai/team/second/v1", (b"other weights", LAYERS[0]))
        archive = str(tmp_path / "models.tar")
        saved = here.run("save", "my-llama", "team/second:v1", "-o", archive)
        planned = there.run("load", archive, "--dry-run", OLLAMA_MODELS=str(tmp_path / "new"))
        assert not (tmp_path / "new").exists()
        loaded = there.run("load", archive, OLLAMA_MODELS=str(tmp_path / "new"))
        assert (saved.returncode, planned.returncode, loaded.returncode) == (0, 0, 0), saved.stderr + loaded.stderr
    before, after = ModelStore(here.folder / "models"), ModelStore(tmp_path / "new")
    assert after.models() == before.models()
    for name in before.models():
        assert after.load(name).manifest.raw == before.load(name).manifest.raw


@pytest.mark.slow
def test_one_model_that_cannot_be_saved_leaves_no_archive(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("save", "my-llama", "no-llama", "-o", str(tmp_path / "models.tar"))
    assert done.returncode == 7
    assert not (tmp_path / "models.tar").exists()


@pytest.mark.slow
def test_an_archive_that_is_cut_loads_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "models.tar"
    with at_home(tmp_path) as home:
        home.run("save", "my-llama", "-o", str(archive))
        archive.write_bytes(archive.read_bytes()[:-100])
        done = home.run("load", str(archive), OLLAMA_MODELS=str(tmp_path / "new"))
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1] == f"error: the source oci-archive:{archive} failed: it is cut, or damaged"
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_models_without_names_are_not_loaded(tmp_path: Path) -> None:
    archive = tmp_path / "models.tar"
    with at_home(tmp_path) as home:
        home.run("copy", "my-llama", f"oci-archive:{archive}")
        done = home.run("load", str(archive))
    assert done.returncode == 2
    assert f"say `ollama-push copy oci-archive:{archive} ollama:NAME`" in done.stderr


skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


@pytest.mark.slow
@skopeo
def test_skopeo_reads_what_was_saved(tmp_path: Path) -> None:
    archive = tmp_path / "models.tar"
    with at_home(tmp_path) as home:
        home.run("save", "my-llama", "-o", str(archive))
        done = subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci-archive:{archive}"],
            capture_output=True,
            check=False,
            env=home.variables,
        )
    assert (done.returncode, done.stdout) == (0, home.manifest), done.stderr


@pytest.mark.slow
def test_crane_pushes_what_was_saved(tmp_path: Path) -> None:
    if CRANE is None:
        pytest.skip("crane is not installed")
    with at_home(tmp_path) as home:
        home.run("save", "my-llama", "-o", str(tmp_path / "models.tar"))
        with tarfile.open(tmp_path / "models.tar") as saved:
            saved.extractall(tmp_path / "layout", filter="data")
        done = subprocess.run(
            [CRANE, "push", "--insecure", str(tmp_path / "layout"), f"{home.name}:latest"],
            capture_output=True, text=True, check=False, env=home.variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert home.pushed()


@pytest.mark.slow
def test_oras_copies_what_was_saved(tmp_path: Path) -> None:
    if ORAS is None:
        pytest.skip("oras is not installed")
    with at_home(tmp_path) as home:
        home.run("save", "my-llama", "-o", str(tmp_path / "models.tar"))
        done = subprocess.run(
            [
                # By its digest: oras takes what follows the last colon for the whole name.
                ORAS, "cp", "--from-oci-layout", f"{tmp_path / 'models.tar'}@{digest_of(home.manifest)}",
                "--to-plain-http", f"{home.name}:latest",
            ],
            capture_output=True, text=True, check=False, env=home.variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert home.pushed()


@pytest.mark.slow
def test_all_tags_go_to_the_same_tags(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        put_model(home.folder / "models", "registry.ollama.ai/library/my-llama/small", (b"small weights",))
        host = home.registry.host
        first = home.run("copy", "my-llama", f"{host}/team/all", "--all-tags", "--plain-http")
        second = home.run("copy", f"{host}/team/all", "oci:layout", "--all-tags", "--plain-http", cwd=str(tmp_path))
        third = home.run("copy", "oci:layout", f"{host}/team/again", "--all-tags", "--plain-http", cwd=str(tmp_path))
        tags = [home.registry.manifest("team/again", tag) for tag in ("latest", "small")]
        expected = [home.registry.manifest("team/all", tag) for tag in ("latest", "small")]
    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 0), first.stderr + second.stderr
    assert OciLayout(tmp_path / "layout").refs() == ("latest", "small")
    assert tags == expected
    assert tags[0] == home.manifest


@pytest.mark.slow
def test_a_list_is_copied_line_by_line_each_with_its_verdict(tmp_path: Path) -> None:
    listing = tmp_path / "list"
    with at_home(tmp_path) as home:
        host = home.registry.host
        listing.write_text(
            f"# every night\nmy-llama {host}/a/one:v1\n\nno-llama {host}/a/two:v1\nmy-llama {host}/a/three  # x\n"
        )
        done = home.run("copy", "--list", str(listing), "--plain-http")
        again = home.run(
            "copy", "--list", "-", "--plain-http", typed=listing.read_text().replace("no-llama", "my-llama")
        )
        pushed = [
            home.registry.manifest(name, tag) for name, tag in (("a/one", "v1"), ("a/two", "v1"), ("a/three", "latest"))
        ]
    assert done.returncode == 7
    assert "there is no model 'no-llama" in done.stderr
    assert again.returncode == 0, again.stderr
    assert pushed == [home.manifest] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("my-llama",), "expected SOURCE and TARGET, or --list FILE"),
        (("a", "b", "--list", "x"), "--list names sources and targets itself"),
        (("--list", "nowhere"), "no such file or directory"),
        (("--list", "bad"), "line 2: expected a source and a target, and saw 3 words"),
        (("my-llama:latest", "oci:x", "--all-tags"), "it names the tag 'latest' already"),
        (("my-llama", "oci-archive:x", "--all-tags"), "`save` puts several models into one"),
        (("no-llama", "oci:x", "--all-tags"), "it has no tags"),
        (("./x.gguf", "oci:x", "--all-tags"), "it has one model, and no tags"),
    ],
)
def test_what_cannot_be_listed_is_said_before_anything_is_copied(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("my-llama oci:x\na b c\n")
    with at_home(tmp_path) as home:
        done = home.run("copy", *arguments, cwd=str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_an_sbom_is_attached(tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text("{}")
    with at_home(tmp_path) as home:
        assert home.run("copy", "my-llama", home.name, "--plain-http").returncode == 0
        file, kind = str(tmp_path / "sbom.json"), ("--type", "application/spdx+json")
        done = home.run("attach", home.name, file, *kind, "--plain-http", "--progress", "json")
        wrong = home.run("attach", home.name, file, "--type", "nonsense", "--plain-http")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert events[-1]["event"] == "succeeded"
    assert events[-1]["manifest_digest"].startswith("sha256:")
    assert (wrong.returncode, wrong.stderr.splitlines()[-1]) == (
        2,
        "error: --type='nonsense': expected a media type, such as application/spdx+json",
    )


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_mirror_that_is_killed_goes_on_where_it_was(transport: str, tmp_path: Path) -> None:
    part = 1024 * 1024
    with at_home(tmp_path, large_bytes=12 * part) as home, EmbeddedRegistry(tmp_path / "mirror") as mirror:
        assert home.run("copy", "my-llama", home.name, "--plain-http").returncode == 0
        mirror.add_fault(Fault("PATCH", nth=6, action=Stall(600)))
        options = ("--plain-http", "--part-size", "1MiB", "--concurrency", "1", "--transport", transport)
        words = ("copy", f"{home.name}:latest", f"{mirror.host}/team/mirrored:latest", *options)
        with subprocess.Popen(command(*words), stderr=subprocess.PIPE, env=home.variables) as running:
            try:
                sixth = mirror.wait_until(lambda: sum(s.method == "PATCH" for s in mirror.requests) >= 6, 60)
            finally:
                running.kill()
                running.communicate(timeout=60)
        assert sixth
        assert mirror.manifest("team/mirrored", "latest") is None
        done = home.run(*words)
        assert done.returncode == 0, done.stderr
        assert "resumed" in done.stderr
        assert mirror.manifest("team/mirrored", "latest") == home.registry.manifest("team/my-llama", "latest")
        assert mirror.received_bytes <= 13 * part + part
