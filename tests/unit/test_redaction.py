"""Secrets must not come back in any of the spellings that providers, proxies and tracebacks give them."""

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.redaction import MIN_SECRET_CHARS, NUMBER, PLACEHOLDERS, Redactor, is_secret_name, public_url

KEY = 'sk-a/b+c"d\\é=1'


def redactor_of(*secrets: str) -> Redactor:
    redact = Redactor()
    for secret in secrets:
        redact.add(secret)
    return redact


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
        json.dumps({"error": json.dumps({"key": KEY})}),
        repr(KEY)[1:-1],
        json.dumps(KEY)[1:-1].replace("/", "\\/"),
        quote(KEY),
        quote(KEY, safe=""),
        re.sub("%..", lambda escape: escape[0].lower(), quote(KEY, safe="")),
        quote_plus(KEY),
        base64.b64encode(KEY.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_spelling(echo: str) -> None:
    redacted = redactor_of(KEY)(f"refused: {echo}, sorry")
    assert KEY not in redacted
    assert echo not in redacted
    assert redacted.startswith("refused: ")
    assert "[redacted]" in redacted


@given(st.text(min_size=6), st.text(), st.text())
def test_no_secret_survives_between_any_texts(secret: str, before: str, after: str) -> None:
    secret = secret.strip()
    redact = redactor_of(secret)
    if (
        len(secret) >= MIN_SECRET_CHARS
        and not NUMBER.fullmatch(secret)
        and secret.lower() not in PLACEHOLDERS
        and secret not in "[redacted]"
    ):
        assert redact(secret) == "[redacted]"
        assert "[redacted]" in redact(f"{before}{secret}{after}")


def test_a_longer_secret_leaves_no_rest_behind() -> None:
    assert redactor_of("sk-abc", "sk-abc-and-more")("sk-abc-and-more sk-abc") == "[redacted] [redacted]"


@pytest.mark.parametrize("ignored", ["", "abc", "  ab  ", "EMPTY", "None", "not-needed", "user"])
def test_short_secrets_and_placeholders_are_no_secrets(ignored: str) -> None:
    text = "the user said None, EMPTY, abc, ab, not-needed"
    assert redactor_of(ignored)(text) == text


def test_none_is_no_secret() -> None:
    redact = Redactor()
    redact.add(None)
    redact.add_url(None)
    assert redact("None") == "None"


def test_a_url_gives_up_its_user_its_password_and_its_keys() -> None:
    redact = Redactor()
    redact.add_url("https://alice:p%40ss%2Fword@host.example:8443/v1?api_key=qqqq1111&api-version=2024-10-21#top")
    basic = base64.b64encode(b"alice:p@ss/word").decode()
    for leak in ("p%40ss%2Fword", "p@ss/word", "p%40ss%2fword", basic, "qqqq1111"):
        assert redact(f"<{leak}>") == "<[redacted]>", leak
    assert redact("host.example 2024-10-21") == "host.example 2024-10-21"


@pytest.mark.parametrize(
    "url", ["http://alice:pass/word9@host/v1", "alice:pass/word9@host/v1", "http://[::1:pass/word9@h"]
)
def test_the_password_of_a_malformed_url_is_found_too(url: str) -> None:
    redact = Redactor()
    redact.add_url(url)
    assert "word9" not in redact(f"cannot reach {url}")
    assert public_url(url) == "[malformed URL]"


def test_a_url_without_userinfo_has_nothing_to_hide() -> None:
    redact = Redactor()
    redact.add_url("http://localhost:8000/@team/v1?version=12345")
    assert redact("localhost 8000 @team 12345") == "localhost 8000 @team 12345"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://me:secret9@host/v1/?key=abcd#x", "https://host/v1/"),
        ("http://me@[::1]:80/@v1", "http://[::1]:80/@v1"),
        ("localhost:8000", "[malformed URL]"),
        ("http://", "[malformed URL]"),
        ("http://host:port/", "[malformed URL]"),
        ("", "[malformed URL]"),
    ],
)
def test_a_public_url_has_no_userinfo_and_no_query(url: str, shown: str) -> None:
    assert public_url(url) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "API_KEY", "apikey", "key", "X-Api-Key", "token", "hf_token", "accessToken", "client-secret"),
        *("password", "passwd", "Authorization", "auth", "header", "headers", "extra_headers", "cookie", "credentials"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "timeout", "extra_body", "monkey", "author", "seed", ""])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


def test_only_texts_of_a_record_are_searched() -> None:
    redact = redactor_of("content")
    assert redact.redact_json({"content": ["the content", 1204, None], "n": {"x": "content"}}) == {
        "content": ["the [redacted]", 1204, None],
        "n": {"x": "[redacted]"},
    }


@pytest.mark.parametrize("key", ["8192", "1204", "task", "123456789"])
def test_what_is_too_common_to_hide_is_left_alone(key: str) -> None:
    assert redactor_of(key).redact_json({"output": f"{key} it is"}) == {"output": f"{key} it is"}


def test_keys_that_a_model_wrote_are_redacted_and_none_is_lost() -> None:
    redact = redactor_of("sk-verysecret")
    value = {"sk-verysecret": 1, "x": {"a sk-verysecret b": 2}, "[redacted]": 3}
    assert redact.redact_json(value) == value
    assert redact.redact_json(value, keys=True) == {"[redacted] 2": 1, "x": {"a [redacted] b": 2}, "[redacted]": 3}
