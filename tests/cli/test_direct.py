"""``push --direct`` and ``check --direct`` from outside: real processes against the embedded registry."""

import json
import ssl
from pathlib import Path

import pytest
import trustme
from tests.support.command_direct import PASSWORD, SMALL_BYTES, Home, at_home
from tests.support.stores import CONFIG, LAYERS, put_blob, put_model

from ollama_push.testing.registry import BasicAuth, EmbeddedRegistry, Fault, Quirks, Reply, TokenAuth

pytestmark = [pytest.mark.slow, pytest.mark.process]

NO_REDIRECT = (
    "no: the registry sends blobs itself, where a pull wants a redirect to another host name;"
    " pull through the gateway, `ollama-push serve`"
)
ME = ("OLLAMA_USERNAME", "OLLAMA_PASSWORD")


def blob_bodies(registry: EmbeddedRegistry) -> int:
    return sum(seen.body_bytes for seen in registry.requests if "/blobs/" in seen.path)


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_push_arrives_and_the_second_one_says_how_much_it_skips(tmp_path: Path, transport: str) -> None:
    with at_home(tmp_path) as home:
        first = home.direct("push", "--transport", transport)
        assert home.pushed()
        sent = blob_bodies(home.registry)
        second = home.direct("push", "--transport", transport)
        assert blob_bodies(home.registry) == sent == SMALL_BYTES
    assert (first.returncode, first.stdout, second.returncode) == (0, "", 0)
    assert first.stderr.startswith("8.0 kB in total\n")
    last = first.stderr.splitlines()[-1]
    assert last.startswith(f"pushed {home.name}:latest, 4 layers, 8.0 kB, verified, in 0.")
    assert f"can a stock `ollama pull` get it? {NO_REDIRECT}" in first.stderr
    assert ", sha256:" in last
    assert "already there, 8.0 kB\n" in second.stderr
    assert "4 layers, 8.0 kB, 8.0 kB already there, verified, in " in second.stderr.splitlines()[-1]


def test_what_is_there_by_half_is_said_before_and_after(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        put_model(tmp_path / "models", "registry.ollama.ai/library/half/latest", LAYERS[:1])
        assert home.run("push", f"{home.registry.host}/team/half", *home.options[:3], "half").returncode == 0
        put_model(tmp_path / "models", "registry.ollama.ai/library/more/latest", (LAYERS[0], b"b" * 500))
        more = ("push", f"{home.registry.host}/team/half:v2", *home.options[:3], "more", "--progress", "json")
        check = home.run("check", *more[1:-2])
        done = home.run(*more)
    assert check.stdout.splitlines()[2:] == [
        "already in the registry: 8.0 kB in 2 blobs; to send: 500 B in 1 blob",
        "may push: yes",
        f"can a stock `ollama pull` get it? {NO_REDIRECT}",
    ]
    receipt = json.loads(done.stdout.splitlines()[-1])
    assert (receipt["sent_bytes"], receipt["skipped_bytes"]) == (500, len(LAYERS[0]) + len(CONFIG))


def test_check_says_what_a_push_would_do_and_uploads_nothing(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        before = home.direct("check")
        assert home.registry.received_bytes == 0
        assert home.registry.sessions() == []
        home.direct("push")
        after = home.direct("check", "--transport", "aiohttp")
    assert (before.returncode, before.stderr) == (0, f"{home.name}:latest: ready\n")
    assert before.stdout.splitlines() == [
        f"registry: {home.registry.url}",
        f"model: {home.name}:latest, 8.0 kB in 4 blobs",
        "already in the registry: nothing; to send: 8.0 kB in 4 blobs",
        "may push: yes",
        "can a stock `ollama pull` get it? not known yet; the registry speaks plain HTTP: say `ollama pull --insecure`",
    ]
    *_, nothing_to_do, pull = after.stdout.splitlines()
    assert nothing_to_do.startswith("nothing to do: the registry holds this model as sha256:")
    assert pull == f"can a stock `ollama pull` get it? {NO_REDIRECT}"


def test_without_from_the_local_model_has_the_name_that_is_pushed(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        put_model(tmp_path / "models", f"{home.registry.host}/team/other/v1")
        done = home.run("push", f"{home.registry.host}/team/other:v1", "--direct", "--plain-http")
        assert home.registry.manifest("team/other", "v1") == home.manifest
    assert done.returncode == 0


def test_one_model_goes_to_several_names_and_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        host = home.registry.host
        done = home.run("push", f"{host}/a/b", f"{host}/A/b", f"{host}/a/c:v2", *home.options)
        assert home.registry.manifest("a/b", "latest") == home.registry.manifest("a/c", "v2") == home.manifest
    assert done.returncode == 3
    assert [line.split(" ")[0] for line in done.stderr.splitlines() if line[:2] in ("pu", "er")][-1] == "pushed"
    assert f"registries take lower case only; use '{host}/a/b'" in done.stderr


def test_another_store_is_read_with_models(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    put_model(elsewhere, "registry.ollama.ai/library/other/latest", (b"x",))
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, *home.options[:3], "other", "--models", str(elsewhere))
    assert done.returncode == 0
    assert "2 layers" in done.stderr


def test_no_verify_does_not_look_afterwards(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", "--no-verify")
        asked = [seen.path for seen in home.registry.requests if seen.method == "GET"]
    assert done.returncode == 0
    assert not [path for path in asked if "/manifests/" in path]
    assert "verified" not in done.stderr


def test_a_registry_that_holds_something_else_exits_with_10(tmp_path: Path) -> None:
    manifest = put_model(tmp_path / "models")
    with EmbeddedRegistry(tmp_path / "data", quirks=Quirks(wrong_manifest=True)) as registry:
        done = Home(tmp_path, registry, manifest).direct("push")
    assert done.returncode == 10
    assert "verification failed for sha256:" in done.stderr


def test_the_part_size_and_how_many_at_once_are_obeyed(tmp_path: Path) -> None:
    with at_home(tmp_path, large_bytes=9_000_000) as home:
        done = home.direct("push", "--part-size", "3MB", "--concurrency", "1")
        parts = [seen.content_range for seen in home.registry.requests if seen.method == "PATCH"]
    assert done.returncode == 0
    assert parts == ["0-2999999", "3000000-5999999"], "the last one goes with the request that ends the upload"


def test_whole_sends_each_blob_in_one_request(tmp_path: Path) -> None:
    with at_home(tmp_path, large_bytes=9_000_000) as home:
        done = home.direct("push", "--part-size", "whole")
        sent = [seen.body_bytes for seen in home.registry.requests if "/blobs/uploads/" in seen.path]
        assert home.pushed()
    assert done.returncode == 0
    assert max(sent) == 9_000_000
    assert not any(seen.method == "PATCH" for seen in home.registry.requests)


@pytest.mark.parametrize("damage", [None, b"\x00not JSON"], ids=["", "damaged"])
def test_a_push_to_another_repository_mounts_what_is_known_to_be_there(tmp_path: Path, damage: bytes | None) -> None:
    with at_home(tmp_path) as home:
        assert home.direct("push").returncode == 0
        (known,) = tmp_path.rglob("state/**/registries/*.json")
        if damage is not None:
            known.write_bytes(damage)
        done = home.run("push", f"{home.registry.host}/team/other", *home.options)
        assert home.pushed("team/other")
        sent = blob_bodies(home.registry)
    assert done.returncode == 0
    assert sent == SMALL_BYTES * (1 if damage is None else 2)


@pytest.mark.parametrize("size", ["0", "-1", "x", "3XB", "1.5M", "", "1", "262143"])
def test_a_part_size_that_is_none_or_tiny_is_wrong_usage(tmp_path: Path, size: str) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", f"--part-size={size}")
        assert home.registry.requests == []
    assert done.returncode == 2
    assert "expected at least 256KiB, such as 16MiB" in done.stderr


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--host", "x"], "--direct uses none: the registry is the first part of NAME"),
        (["--insecure"], "with --direct use --plain-http"),
        (["--header", "X: y"], "--header is for requests to an Ollama server"),
    ],
)
def test_what_is_about_a_server_does_not_go_with_direct(tmp_path: Path, option: list[str], said: str) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", *option)
        assert home.registry.requests == []
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "option",
    [
        ["--from", "x"],
        ["--models", "x"],
        ["--plain-http"],
        ["--concurrency", "2"],
        ["--no-verify"],
        ["--no-resume"],
        ["--part-size", "1MB"],
    ],
    ids=lambda option: option[0],
)
def test_what_is_about_a_registry_needs_direct(tmp_path: Path, option: list[str]) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, *option)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"Error: {option[0]} needs --direct: it is for pushes straight to a registry"
    )


def test_no_registry_exits_with_4(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        home.registry.stop()
        done, check = home.direct("push"), home.direct("check")
    assert done.returncode == check.returncode == 4
    assert f"nothing listens at {home.registry.url}; is the registry running" in done.stderr
    assert "ollama serve" not in done.stderr
    assert check.stderr.splitlines()[0].startswith("problem: nothing listens at")


def test_an_upper_case_name_exits_with_3_and_nothing_is_sent(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", f"{home.registry.host}/Team/x", *home.options)
        check = home.run("check", f"{home.registry.host}/Team/x", *home.options)
        assert home.registry.requests == []
    assert done.returncode == check.returncode == 3
    assert f"registries take lower case only; use '{home.registry.host}/team/x'" in done.stderr


def test_a_model_that_is_not_in_the_store_exits_with_7(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, *home.options[:3], "my-lama")
        assert home.registry.requests == []
    assert done.returncode == 7
    assert "my-llama" in done.stderr


def test_a_folder_that_is_no_store_exits_with_2(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.direct("push", "--models", str(tmp_path))
        assert home.registry.requests == []
    assert done.returncode == 2
    assert "expected a folder that holds manifests/ and blobs/" in done.stderr


def test_a_missing_blob_exits_with_5_before_anything_is_sent(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        put_blob(tmp_path / "models", LAYERS[1]).unlink()
        done = home.direct("push")
        assert home.registry.requests == []
    assert done.returncode == 5
    assert "is missing" in done.stderr


def test_a_registry_without_tls_is_told_apart_and_the_way_out_is_named(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        done = home.run("push", home.name, "--direct", "--from", "my-llama")
    assert done.returncode == 4
    assert "--plain-http" in done.stderr


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_certificate_nobody_trusts_exits_with_4_and_ca_helps(tmp_path: Path, transport: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    manifest = put_model(tmp_path / "models")
    with EmbeddedRegistry(tmp_path / "data", tls=context) as registry:
        home = Home(tmp_path, registry, manifest)
        options = ("push", home.name, "--direct", "--from", "my-llama", "--transport", transport)
        refused = home.run(*options)
        done = home.run(*options, "--ca", str(tmp_path / "ca.pem"))
        assert home.pushed()
    assert (refused.returncode, done.returncode) == (4, 0)
    assert "pass the CA that signed it with --ca, or SSL_CERT_FILE" in refused.stderr


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_client_certificate_is_shown_with_its_key_in_one_file_or_two(tmp_path: Path, transport: str) -> None:
    authority, client = trustme.CA(), tmp_path / "client.pem"
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("me@example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(str(client))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    manifest = put_model(tmp_path / "models")
    with EmbeddedRegistry(tmp_path / "data", tls=context) as registry:
        home = Home(tmp_path, registry, manifest)
        ca = ("--ca", str(tmp_path / "ca.pem"))
        options = ("push", home.name, "--direct", "--from", "my-llama", "--transport", transport, *ca)
        without = home.run(*options, "--retries", "0")
        one = home.run(*options, "--cert", str(client))
        two = home.run(*options, "--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
        assert home.pushed()
        login = home.run("login", registry.host, "-u", "me", "--password-stdin", *ca, "--cert", str(client), typed="x")
    assert (without.returncode, one.returncode, two.returncode, login.returncode) == (4, 0, 0, 0)


def test_a_key_without_a_certificate_is_for_ollamas_registry(tmp_path: Path) -> None:
    with at_home(tmp_path) as home:
        through = home.run("check", "me/llama", "--key", "id")
        missing = home.direct("push", "--cert", str(tmp_path / "nothing.pem"))
        named = home.run("check", "myuser/my-llama", "--direct", "--from", "my-llama", "--key", str(tmp_path / "nokey"))
    assert (through.returncode, missing.returncode) == (2, 2)
    assert "--key needs --cert, or --direct" in through.stderr
    assert "--cert=" in missing.stderr
    assert "the key cannot be read" in named.stderr


def test_who_may_only_read_is_refused_before_the_first_byte_of_a_blob(tmp_path: Path) -> None:
    auth = TokenAuth({"reader": PASSWORD}, {"reader": {"team/my-llama": {"pull"}}})
    with at_home(tmp_path, auth=auth) as home:
        login = dict(zip(ME, ("reader", PASSWORD), strict=True))
        done, check = home.direct("push", **login), home.direct("check", **login)
        assert home.registry.received_bytes == 0
    assert done.returncode == check.returncode == 6
    assert check.stderr.splitlines()[0].startswith("problem: ")
    assert PASSWORD not in done.stderr + done.stdout + check.stdout + check.stderr


@pytest.mark.parametrize("transport", ["urllib3", "aiohttp"])
def test_a_password_shows_nowhere_whatever_is_printed(tmp_path: Path, transport: str) -> None:
    with at_home(tmp_path, auth=BasicAuth({"me": PASSWORD})) as home:
        for password, code in ((PASSWORD, 0), (f"{PASSWORD}-not", 6)):
            login = dict(zip(ME, ("me", password), strict=True))
            for more in (("-vv",), ("--progress", "json", "-vv"), ("--progress", "bar")):
                done = home.direct("push", "--transport", transport, *more, **login)
                assert done.returncode == code
                assert PASSWORD not in done.stdout + done.stderr


def test_what_is_sent_again_is_told(tmp_path: Path) -> None:
    faults = [Fault("POST", repository, action=Reply(503, {"Retry-After": "0"})) for repository in ("/team/", "/a/b/")]
    with at_home(tmp_path, faults=faults) as home:
        options = (*home.options[:-2], "--retries", "3")
        lines = home.run("push", home.name, *options)
        # What is not known cannot be mounted from the first repository.
        logged = home.run("push", f"{home.registry.host}/a/b", *options, "--no-resume", "-v")
    assert (lines.returncode, logged.returncode) == (0, 0)
    assert [line for line in lines.stderr.splitlines() if "503" in line and line.endswith("; retrying in 0.0 s")]
    assert [line for line in logged.stderr.splitlines() if " WARNING a request failed: " in line]
