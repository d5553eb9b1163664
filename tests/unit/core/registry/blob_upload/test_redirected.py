from __future__ import annotations

import hashlib

import attrs
import pytest
from tests.support.scripted_flow import ORIGIN, DictMemory, refuse, response
from tests.support.signing_registry import STORAGE, Answer, SigningRegistry
from tests.support.upload_machine import DATA, DIGEST, KEY, LOST, SIZE, Upload, reason_of

from ollama_push.core.errors import ConnectCause, ConnectFailed, PushInterrupted, PushRejected, RejectionReason
from ollama_push.core.ports import HttpRequest
from ollama_push.core.registry.credentials import AccessToken
from ollama_push.core.registry.resume import ResumePoint, SentPart
from ollama_push.core.retry import RetryPolicy

PART = 300_000
NUMBER = -(-SIZE // PART)
QUICK = RetryPolicy(attempts=2)


class Sometimes:
    """Answers the *nth* request with *method* and a text in its URL, and those that follow up to *times*."""

    def __init__(self, answer: Answer, method: str, text: str, nth: int = 1, times: int = 1) -> None:
        self.answer, self.method, self.text, self.nth, self.times = answer, method, text, nth, times
        self.seen = 0

    def __call__(self, request: HttpRequest) -> Answer | None:
        if request.method != self.method or self.text not in request.url:
            return None
        self.seen += 1
        return self.answer if self.nth <= self.seen < self.nth + self.times else None


def kept_of(memory: DictMemory) -> ResumePoint:
    return memory.kept[KEY]


def test_parts_go_to_signed_urls_without_a_login_and_the_etag_ends_the_upload() -> None:
    registry = SigningRegistry()
    upload = Upload(registry, part=PART)
    upload.player.credentials = {"reg.test:5000": AccessToken("t0ken")}
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert registry.asked.count("PATCH /u/s1") == NUMBER
    assert len(registry.stored) == NUMBER
    assert upload.player.memory.kept == {}
    assert upload.progress[-1] == SIZE


def test_as_many_parts_as_allowed_are_on_their_way_at_the_same_time() -> None:
    upload = Upload(SigningRegistry(), part=PART)
    upload.redirects.parts_at_once = 4
    upload.run()
    assert upload.player.most_at_once == 4
    many = Upload(SigningRegistry(), part=PART)
    many.run()
    assert many.player.most_at_once == NUMBER


def test_an_empty_blob_has_no_parts() -> None:
    registry = SigningRegistry()
    assert Upload(registry, b"", part=PART).run() == ["POST", "PUT"]
    assert "etag=d41d8cd98f00b204e9800998ecf8427e-0" in registry.requests[-1].url


def test_a_registry_that_tells_only_by_redirecting_gets_a_new_session() -> None:
    registry = SigningRegistry(says_so=False)
    upload = Upload(registry, part=PART)
    methods = upload.run()
    assert methods[:3] == ["POST", f"PATCH 0+{PART}", "POST"]
    assert registry.blobs == {DIGEST: DATA}


def test_a_registry_that_takes_the_first_part_itself_gets_the_others_in_the_plain_way() -> None:
    registry = SigningRegistry(parts=False)
    upload = Upload(registry, part=PART)
    assert upload.run()[:4] == ["POST", f"PATCH 0+{PART}", f"PATCH {PART}+{PART}", f"PATCH {2 * PART}+{PART}"]
    assert registry.blobs == {DIGEST: DATA}
    assert registry.stored == {}


def test_a_registry_that_takes_one_of_many_parts_itself_is_right_too() -> None:
    registry = SigningRegistry()
    taken = Sometimes(response(202, {"location": "/u/s1", "docker-upload-location": "/u/s1?n=9"}), "PATCH", "/u/s1", 2)

    def instead(request: HttpRequest) -> Answer | None:
        answer = taken(request)
        if answer is not None:
            first = int(request.headers["Content-Range"].split("-")[0])
            registry.sessions["s1"].append(f"/s1/{first}")
            registry.stored[f"/s1/{first}"] = DATA[first : first + PART]
        return answer

    registry.instead = instead
    Upload(registry, part=PART).run()
    assert registry.blobs == {DIGEST: DATA}


def test_a_whole_blob_goes_to_the_url_that_is_offered_with_the_signed_headers() -> None:
    registry = SigningRegistry(whole=True)
    methods = Upload(registry, part=PART).run()
    assert methods == ["POST", f"PUT 0+{SIZE}", "PUT"]
    sent = registry.requests[1]
    assert sent.url == f"{STORAGE}/s1/whole?sig=a%2fb", "as it was signed"
    assert sent.headers["content-md5"] == "of-it"
    assert "host" not in sent.headers
    assert "etag" not in registry.requests[-1].url
    assert registry.blobs == {DIGEST: DATA}


def test_an_empty_whole_blob_is_no_body() -> None:
    assert Upload(SigningRegistry(whole=True), b"").run() == ["POST", "PUT", "PUT"]


@pytest.mark.parametrize("answer", [LOST, response(503)])
def test_a_whole_blob_that_broke_begins_again_in_a_new_session(answer: Answer) -> None:
    registry = SigningRegistry(whole=True, instead=Sometimes(answer, "PUT", STORAGE))
    upload = Upload(registry)
    assert upload.run() == ["POST", f"PUT 0+{SIZE}", "POST", f"PUT 0+{SIZE}", "PUT"]
    assert upload.player.waits


@pytest.mark.parametrize("url", ["", "https://storage.test:0/x"])
def test_a_whole_blob_that_the_storage_refuses_goes_in_parts(url: str) -> None:
    refused = Sometimes(response(403), "PUT", STORAGE)
    unusable = Sometimes(response(202, {"location": "/u/s1", "x-direct-upload-url": url}), "POST", "/uploads/")
    registry = SigningRegistry(whole=True, instead=unusable if url else refused)
    registry.sessions["s1"], registry.taken["s1"] = [], b""
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert not upload.redirects.whole
    assert any(part.startswith("PUT /s2/") for part in registry.asked)
    assert not upload.player.waits, "this is no failure"


def test_a_signed_url_must_not_lead_into_this_machine() -> None:
    registry = SigningRegistry(
        instead=Sometimes(
            response(307, {"location": "https://127.0.0.1/x", "docker-upload-location": "/u/s1"}), "PATCH", "/u/"
        )
    )
    with pytest.raises(PushRejected):
        Upload(registry, part=PART).run()
    assert not any("127.0.0.1" in request.url for request in registry.requests)


def test_a_redirect_without_a_usable_url_begins_a_new_session() -> None:
    nowhere = response(307, {"location": "mailto:x", "docker-upload-location": "/u/s1"})
    registry = SigningRegistry(instead=Sometimes(nowhere, "PATCH", "/u/s1"))
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.asked[:3] == ["POST /uploads/", "PATCH /u/s1", "POST /uploads/"]
    assert registry.blobs == {DIGEST: DATA}


@pytest.mark.parametrize("answer", [LOST, response(503), response(429, {"retry-after": "3"})])
def test_a_part_that_broke_is_sent_again_to_the_same_url(answer: Answer) -> None:
    registry = SigningRegistry(instead=Sometimes(answer, "PUT", f"{STORAGE}/s1/{PART}"))
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.asked.count(f"PUT /s1/{PART}") == 2
    assert registry.asked.count("PATCH /u/s1") == NUMBER
    assert registry.blobs == {DIGEST: DATA}
    assert len(upload.player.waits) == 1


@pytest.mark.parametrize("answer", [LOST, response(502)])
def test_a_request_for_a_url_that_broke_is_sent_again(answer: Answer) -> None:
    registry = SigningRegistry(instead=Sometimes(answer, "PATCH", "/u/s1", 3))
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.asked.count("PATCH /u/s1") == NUMBER + 1
    assert registry.blobs == {DIGEST: DATA}


def test_a_signed_url_that_has_run_out_is_replaced_where_it_was_asked_for() -> None:
    registry = SigningRegistry(instead=Sometimes(response(403), "PUT", f"{STORAGE}/s1/{PART}"))
    Upload(registry, part=PART).run()
    again = [
        request for request in registry.requests if request.headers.get("Content-Range", "").startswith(f"{PART}-")
    ]
    assert len({request.url for request in again}) == 1
    assert len(again) == 2
    urls = [request.url for request in registry.requests if f"{STORAGE}/s1/{PART}?" in request.url]
    assert len(set(urls)) == 2
    assert registry.blobs == {DIGEST: DATA}


def test_a_replaced_url_that_the_registry_did_not_give_because_it_took_the_part_ends_it() -> None:
    registry = SigningRegistry()
    refused = Sometimes(response(403), "PUT", f"{STORAGE}/s1/{PART}")
    asked = Sometimes(response(202), "PATCH", "/u/s1", NUMBER + 1)

    def instead(request: HttpRequest) -> Answer | None:
        answer = refused(request) or asked(request)
        if answer is asked.answer:
            registry.stored[f"/s1/{PART}"] = DATA[PART : 2 * PART]
        return answer

    registry.instead = instead
    Upload(registry, part=PART).run()
    assert registry.blobs == {DIGEST: DATA}


@pytest.mark.parametrize("answer", [ConnectFailed(STORAGE, ConnectCause.REFUSED), LOST, response(403), response(503)])
def test_a_storage_that_cannot_be_used_is_gone_round(answer: Answer) -> None:
    registry = SigningRegistry(instead=Sometimes(answer, "PUT", STORAGE, times=1000))
    upload = Upload(registry, part=PART, retry=QUICK)
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert registry.stored == {}
    plain = [request for request in registry.requests if request.url.startswith(f"{ORIGIN}/u/s2")]
    assert plain
    assert not any("X-Redirect-Uploads" in request.headers for request in plain)


def test_a_registry_that_redirects_although_nobody_asks_gets_the_blob_whole() -> None:
    always = response(307, {"location": f"{STORAGE}/x?sig=1", "docker-upload-location": "/u/s1"})
    registry = SigningRegistry(instead=Sometimes(always, "PATCH", "/u/", times=1000))
    upload = Upload(registry, part=PART)
    upload.redirects.parts = False
    assert upload.run() == ["POST", f"PATCH 0+{PART}", "POST", f"PUT 0+{SIZE}"]
    assert registry.stored == {}


@pytest.mark.parametrize("status", [404, 400])
def test_a_session_that_is_gone_midway_is_replaced(status: int) -> None:
    registry = SigningRegistry(instead=Sometimes(response(status), "PATCH", "/u/s1", 4))
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.asked.count("POST /uploads/") == 2
    assert registry.blobs == {DIGEST: DATA}


@pytest.mark.parametrize("status", [413, 405, 501])
def test_a_registry_that_does_not_take_parts_of_that_size_gets_them_in_the_plain_way(status: int) -> None:
    registry = SigningRegistry(instead=Sometimes(response(status), "PATCH", "/u/s1"))
    upload = Upload(registry, part=PART, retry=QUICK)
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert registry.stored == {}


def test_a_refusal_of_another_kind_is_the_verdict_and_what_is_stored_is_kept() -> None:
    registry = SigningRegistry(instead=Sometimes(refuse(403, "DENIED"), "PATCH", "/u/s1", NUMBER))
    upload = Upload(registry, part=PART)
    upload.redirects.parts_at_once = 1
    assert reason_of(upload.fail()) is RejectionReason.UNAUTHORIZED
    kept = kept_of(upload.player.memory)
    assert len(kept.parts) == NUMBER - 1
    assert kept.offset == (NUMBER - 1) * PART
    assert upload.progress[-1] == upload.upload.held_bytes == kept.offset


@pytest.mark.parametrize("refused_before", [0, 1])
def test_a_part_that_cannot_be_read_is_the_verdict_and_no_refusal_of_the_registry(refused_before: int) -> None:
    """Found by the fault laboratory: the blob was changed while its first part was sent, and the push crashed."""
    changed, asked = PushRejected("it has changed", RejectionReason.STORE_DAMAGED), list[str]()

    def instead(request: HttpRequest) -> Answer | None:
        if request.method != "PATCH":
            return None
        asked.append(request.url)
        if len(asked) <= refused_before:
            return response(502)
        raise changed

    upload = Upload(SigningRegistry(instead=instead), part=PART)
    assert upload.fail() is changed


def test_a_registry_that_fails_for_good_is_the_verdict() -> None:
    registry = SigningRegistry(instead=Sometimes(LOST, "PATCH", "/u/s1", 2, times=1000))
    upload = Upload(registry, part=PART, retry=QUICK)
    assert upload.fail() is LOST


@pytest.mark.parametrize("all_sent", [False, True])
def test_finished_parts_are_resumed_by_another_process(*, all_sent: bool) -> None:
    registry = SigningRegistry()
    upload = Upload(registry, part=PART)
    stops = Sometimes(response(307), "PATCH", "/u/s1", 99 if all_sent else 6)

    def instead(request: HttpRequest) -> Answer | None:
        stops(request)
        upload.player.interrupted = stops.seen >= 5 or upload.player.interrupted
        return LOST if all_sent and "etag=" in request.url else None

    registry.instead = instead
    if all_sent:
        registry.instead = Sometimes(refuse(403, "DENIED"), "PUT", "etag=")
        upload.fail()
        memory = DictMemory({KEY: ResumePoint(f"{ORIGIN}/u/s1?n=9", SIZE, parts_of(registry))})
    else:
        with pytest.raises(PushInterrupted):
            upload.player.play(upload.upload.run())
        memory = DictMemory(upload.player.memory.kept)
    before = len(registry.asked)
    stored = len(registry.stored)
    registry.instead = lambda _request: None
    if all_sent:
        registry.sessions["s1"] = [f"/s1/{offset}" for offset in range(0, SIZE, PART)]
    again = Upload(registry, part=PART, memory=memory)
    again.run()
    assert again.upload.resumed_bytes > 0
    assert "POST /uploads/" not in registry.asked[before:]
    assert sum(1 for each in registry.asked[before:] if each.startswith("PUT /s1/")) == NUMBER - stored
    assert registry.blobs == {DIGEST: DATA}


def parts_of(registry: SigningRegistry) -> tuple[SentPart, ...]:
    return tuple(
        SentPart(
            f"{ORIGIN}/u/s1",
            offset,
            len(DATA[offset : offset + PART]),
            hashlib.md5(registry.stored[f"/s1/{offset}"], usedforsecurity=False).hexdigest(),
        )
        for offset in range(0, SIZE, PART)
    )


@pytest.mark.parametrize(
    "kept",
    [
        ResumePoint(f"{ORIGIN}/u/gone", PART, (SentPart(f"{ORIGIN}/u/gone", 0, PART, "00" * 16),)),
        ResumePoint(f"{ORIGIN}/u/gone", 0, (SentPart(f"{ORIGIN}/u/gone", 0, PART),)),
        ResumePoint(f"{ORIGIN}/u/gone", 0, (SentPart(f"{ORIGIN}/u/gone", 7, PART),)),
        ResumePoint(f"{ORIGIN}/u/gone", 0, (SentPart("http://10.0.0.1/u", 0, PART),)),
        ResumePoint(f"{ORIGIN}/u/gone", SIZE, (SentPart(f"{ORIGIN}/u/gone", 0, SIZE, "00" * 16),)),
    ],
    ids=["session is gone", "none stored", "gap", "elsewhere", "all but the session"],
)
def test_what_was_kept_and_cannot_be_used_costs_a_new_session(kept: ResumePoint) -> None:
    registry = SigningRegistry()
    upload = Upload(registry, part=PART, memory=DictMemory({KEY: kept}))
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert upload.upload.resumed_bytes == 0


def test_a_lost_commit_is_looked_for() -> None:
    registry = SigningRegistry()

    def instead(request: HttpRequest) -> Answer | None:
        if "etag=" in request.url:
            registry.blobs[DIGEST] = DATA
            return LOST
        return None

    registry.instead = instead
    upload = Upload(registry, part=PART, retry=QUICK)
    upload.run()
    assert upload.methods[-1] == "HEAD"


def test_a_commit_that_is_lost_for_good_is_the_verdict() -> None:
    upload = Upload(SigningRegistry(instead=Sometimes(LOST, "PUT", "etag=", times=99)), part=PART, retry=QUICK)
    assert upload.fail() is LOST


def test_a_commit_that_was_carried_out_before_is_found_out() -> None:
    registry = SigningRegistry()

    def instead(request: HttpRequest) -> Answer | None:
        if "etag=" in request.url:
            registry.blobs[DIGEST] = DATA
            return response(404)
        return None

    registry.instead = instead
    Upload(registry, part=PART).run()
    assert registry.asked.count("POST /uploads/") == 1


def test_a_commit_that_is_refused_begins_again_a_few_times() -> None:
    registry = SigningRegistry(instead=Sometimes(refuse(400, "BLOB_UPLOAD_INVALID"), "PUT", "etag="))
    upload = Upload(registry, part=PART)
    upload.run()
    assert registry.asked.count("POST /uploads/") == 2
    assert registry.blobs == {DIGEST: DATA}


def test_a_wrong_digest_is_the_damage_of_the_local_file_or_is_sent_again() -> None:
    wrong = Sometimes(refuse(400, "DIGEST_INVALID"), "PUT", "etag=")
    upload = Upload(SigningRegistry(instead=wrong), part=PART)
    upload.run()
    damaged = Upload(SigningRegistry(instead=attrs_copy(wrong)), part=PART)
    damaged.player.damaged.add(DIGEST)
    assert reason_of(damaged.fail()) is RejectionReason.STORE_DAMAGED


def attrs_copy(sometimes: Sometimes) -> Sometimes:
    return Sometimes(sometimes.answer, sometimes.method, sometimes.text)


def test_ollamas_registry_is_asked_for_the_blob_itself_when_a_session_is_opened() -> None:
    registry = SigningRegistry()
    upload = Upload(registry, part=PART, asks_for_blobs=True)
    upload.run()
    assert f"?digest={DIGEST}" in registry.requests[0].url
    again = Upload(registry, part=PART, asks_for_blobs=True)
    assert again.run() == ["POST"]
    assert again.upload.mounted_or_shared
    forced = Upload(registry, part=PART, asks_for_blobs=True, force=True)
    forced.run()
    assert len(forced.methods) > 1
    assert "digest=" not in forced.player.requests[0].url


def test_a_resume_point_shows_no_signature() -> None:
    point = ResumePoint(f"{ORIGIN}/u?sig=secret", 1, (SentPart(f"{ORIGIN}/u?sig=secret", 0, 1),))
    assert "secret" not in repr(point)
    assert attrs.evolve(point, offset=0) != point


@pytest.mark.parametrize("held_for", range(1, 12))
def test_a_machine_that_has_lost_its_claim_sends_no_more_and_begins_again_behind_the_other(held_for: int) -> None:
    registry = SigningRegistry()
    upload = Upload(registry, part=PART)
    upload.player.memory.held_for = held_for
    upload.redirects.parts_at_once = 3
    upload.run()
    assert registry.blobs == {DIGEST: DATA}
    assert upload.player.memory.claimed == set()


def test_a_body_that_ended_because_the_claim_had_is_nobodys_failure() -> None:
    registry = SigningRegistry(instead=Sometimes(LOST, "PUT", f"{STORAGE}/s1/", times=99))
    upload = Upload(registry, part=PART, retry=RetryPolicy(attempts=1))
    upload.player.memory.held_for = 2
    upload.redirects.parts_at_once = 1
    upload.run()
    assert registry.blobs == {DIGEST: DATA}


def test_a_part_that_is_asked_for_again_is_not_taken_by_the_registry_because_another_has_given_up() -> None:
    registry = SigningRegistry()
    refused = Sometimes(response(403), "PUT", STORAGE, times=1000)

    def instead(request: HttpRequest) -> Answer | None:
        if request.method == "PATCH" and "/u/s1" in request.url:
            assert request.headers["X-Redirect-Uploads"] == "1"
            upload.redirects.parts = False
        return refused(request)

    registry.instead = instead
    upload = Upload(registry, part=PART, retry=QUICK)
    upload.run()
    assert registry.taken["s1"] == b""
    assert registry.blobs == {DIGEST: DATA}
