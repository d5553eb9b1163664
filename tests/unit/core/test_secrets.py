"""What a peer says back of what it was sent: our secrets are not in it, whatever form it quotes them in."""

from __future__ import annotations

import html
import json
import pickle
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_push.core.errors import ConnectionLost, PushRejected, RejectionReason
from ollama_push.core.events import LayerProgress
from ollama_push.core.facts import Operation, RefusedRequest
from ollama_push.core.peer_text import clean
from ollama_push.core.redaction import HIDDEN
from ollama_push.core.secrets import Secrets

SECRET = "Passw0rd-of-mine"


def of_login(username: str = "alice", password: str = SECRET) -> Secrets:
    secrets = Secrets()
    secrets.add_login(username, password)
    return secrets


@pytest.mark.parametrize(
    "secret", ["open sesame", 'p"a\\ss', "caf\u00e9/+", "<hidden>", "100%25", "a&b", "\\b\\u0041", "x==", "\U0001f511k"]
)
def test_a_password_is_taken_out_in_whatever_form_it_comes_back(secret: str) -> None:
    pair = f"alice:{secret}".encode()
    forms = [
        secret,
        secret.upper() if secret.isascii() else secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret).replace("/", "\\/")[1:-1],
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        quote_plus(secret),
        "".join(f"%{octet:02x}" for octet in secret.encode()),
        html.escape(secret),
        "".join(f"&#{ord(sign)};" for sign in secret),
        "".join(f"&#x{ord(sign):x};" for sign in secret),
        b64encode(pair).decode(),
        urlsafe_b64encode(pair).decode(),
        quote(b64encode(pair).decode(), safe=""),
    ]
    hide = of_login(password=secret).hide
    assert [hide(f"alice {form} ;").replace("%3D", "") for form in forms] == [f"alice {HIDDEN} ;"] * len(forms)


def test_a_short_password_is_not_looked_for_in_what_was_put_instead() -> None:
    assert of_login(password="e").hide("e or d") == f"{HIDDEN} or d"


def test_a_token_is_taken_out() -> None:
    secrets = Secrets()
    secrets.add("refresh-me", "")
    assert secrets.hide("no: refresh-me") == f"no: {HIDDEN}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer abc.defg"},
        {"authorization": "abc.defg"},
        {"Cookie": "a=1; session=abc.defg"},
        {"X-Api-Key": "abc.defg"},
        {"Authorization": f"Basic {b64encode(b'me:abc.defg').decode()}"},
        {"Authorization": "Basic abc.defg"},
    ],
)
def test_what_a_request_holds_is_taken_out(headers: dict[str, str]) -> None:
    secrets = Secrets()
    secrets.add_headers({"Accept": "application/json", **headers})
    assert secrets.hide("you sent abc.defg as application/json") == f"you sent {HIDDEN} as application/json"


def test_a_short_header_is_no_secret() -> None:
    secrets = Secrets()
    secrets.add_headers({"X-Token": "1"})
    assert not secrets


def test_the_signature_of_a_url_is_taken_out() -> None:
    secrets = Secrets()
    secrets.add_url("https://store/b?X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=0123456789ab&sig=x")
    assert secrets.hide("host: 600, x, 0123456789ab") == f"host: 600, x, {HIDDEN}"


def test_the_oldest_of_too_many_secrets_that_pass_are_forgotten() -> None:
    secrets = of_login()
    for number in (*range(300), 50):
        secrets.add_headers({"Authorization": f"Bearer token-{number:04}"})
    assert secrets.hide("token-0000 token-0050 token-0299") == f"token-0000 {HIDDEN} {HIDDEN}"
    assert secrets.hide(SECRET) == HIDDEN


@pytest.mark.parametrize("secrets", [Secrets(), of_login(password="")])
def test_without_a_secret_everything_stays_as_it_is(secrets: Secrets) -> None:
    error = ValueError("as it is")
    secrets.hide_in(error)
    assert not secrets
    assert secrets.hide("as it is") == "as it is"
    assert secrets.hidden(error) is error


@given(
    st.text(alphabet="ab%\\&;#x4161u0+/=\u00e9.", max_size=40),
    st.text(alphabet="ab%\\&;#x41u0", min_size=1, max_size=6),
)
def test_what_remains_does_not_hold_the_secret(text: str, secret: str) -> None:
    secrets = Secrets()
    secrets.add(secret)
    assert secret not in secrets.hide(f"{text}{secret}{text}").replace(HIDDEN, "\n")


@pytest.mark.parametrize("kept", [4, 8, len(SECRET) - 1])
def test_the_beginning_of_a_secret_at_the_end_of_a_cut_text_goes(kept: int) -> None:
    cut = clean(f"{'x ' * 247}{SECRET}", 494 + kept + 3)
    assert cut.endswith(f"{SECRET[:kept]}...") or kept == len(SECRET) - 1
    assert of_login().hide(f"x {SECRET[:kept]}...") == f"x {HIDDEN}..."
    assert of_login().hide("nothing of it...") == "nothing of it..."


def test_events_and_other_values_lose_their_secrets_and_nothing_else() -> None:
    secrets = of_login()
    event = LayerProgress("sha256:a", 5, 1, "p")
    assert secrets.hidden(event) is event
    assert secrets.hidden(LayerProgress(SECRET, 5, 1, SECRET)) == LayerProgress(HIDDEN, 5, 1, HIDDEN)
    assert secrets.hidden([SECRET, 1, (SECRET.encode(), b"\xff")]) == [HIDDEN, 1, (HIDDEN.encode(), b"\xff")]


def test_no_text_of_an_error_or_of_its_causes_holds_a_secret() -> None:
    facts = RefusedRequest(Operation.OPEN_UPLOAD, 302, (SECRET,), "", f"/login/{SECRET}/again")
    error = PushRejected(f"no, {SECRET}", RejectionReason.UNAUTHORIZED, facts)
    system = OSError(5, f"odd line {SECRET}", f"/{SECRET}")
    library = ValueError(f"odd line {SECRET}".encode(), {"line": 1})
    library.add_note(SECRET)
    library.__context__ = system
    library.line = SECRET  # type: ignore[attr-defined]  # as http.client.BadStatusLine has it
    error.__cause__ = library
    of_login().hide_in(error)
    texts = [f"{link} {link!r} {link.args} {vars(link)}" for link in (error, library, system)]
    assert SECRET not in f"{texts} {system.strerror} {system.filename} {pickle.loads(pickle.dumps(error))!r}"
    assert error.facts == RefusedRequest(Operation.OPEN_UPLOAD, 302, (HIDDEN,), "", f"/login/{HIDDEN}/again")
    assert error.__cause__ is library
    assert library.__context__ is system


class _Stubborn(Exception):
    """An exception of a library that keeps its text where nobody reaches it."""

    def __str__(self) -> str:
        return f"odd line {SECRET}"


class _Broken(Exception):
    """An exception of a library that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("cause", [_Stubborn(), _Broken()])
def test_a_cause_that_keeps_a_secret_is_unlinked(cause: Exception) -> None:
    error = ConnectionLost("http://h:1")
    error.__cause__ = error.__context__ = cause
    of_login().hide_in(error)
    assert error.__cause__ is None
    assert error.__context__ is None
