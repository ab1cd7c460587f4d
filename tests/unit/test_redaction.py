"""Secrets must not come back in any of the spellings that providers, proxies and tracebacks give them."""

import base64
import json
import random
import re
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.key_shapes import hide_keys, is_key, is_secret_name, looks_secret
from harness.models.api.connection import find_secrets
from harness.models.api.headers import register_headers
from harness.redaction import MIN_SECRET_CHARS, NUMBER, PLACEHOLDERS, Redactor, bare_url, public_url

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
    assert redact.redact_json(value) == {"[redacted] 2": 1, "x": {"a [redacted] b": 2}, "[redacted]": 3}


def test_names_that_every_run_has_stay() -> None:
    redact = redactor_of("content", "messages", "temperature")
    assert redact.redact_json({"messages": [{"content": "my content"}], "temperature": 0.0, "the content": 1}) == {
        "messages": [{"content": "my [redacted]"}],
        "temperature": 0.0,
        "the [redacted]": 1,
    }


def test_a_long_number_is_a_secret_as_a_number_too() -> None:
    assert redactor_of("1234567890123456789").redact_json([1234567890123456789, 12, 1.5]) == ["[redacted]", 12, 1.5]


TOKEN = "c3Vw3Rz9k1LmN0pQ4xYz"


def test_tokens_in_the_path_and_under_any_name_of_the_query_are_secrets() -> None:
    url = f"https://host.example/v1/{TOKEN}/llama-3.1-8b?code=Zx81kQ9vB2nM4cT7wR5e&api-version=2024-10-21-preview"
    redact = Redactor()
    redact.add_url(url)
    assert (
        redact(url) == "https://host.example/v1/[redacted]/llama-3.1-8b?code=[redacted]&api-version=2024-10-21-preview"
    )
    assert public_url(url) == "https://host.example/v1/[redacted]/llama-3.1-8b"
    assert bare_url(url) == f"https://host.example/v1/{TOKEN}/llama-3.1-8b"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "meta-llama-3.1-8b-instruct",
            "2024-10-21-preview",
            "DeepSeek-R1-Distill-Qwen-1.5B",
            "gpt-4o-mini-2024-07-18",
        ),
        *("Qwen3-Coder-480B-A35B-Instruct-FP8", "claude-3-5-sonnet-20241022", "accounts", "chat-completions-endpoint"),
        *("20241022T101530Z", "my-deployment-2", "projects-and-locations-us-central1"),
    ],
)
def test_names_of_models_and_versions_are_no_tokens(name: str) -> None:
    assert not looks_secret(name)


@given(st.integers(0, 2**32), st.sampled_from([string.hexdigits.lower()[:16], string.ascii_letters + string.digits]))
def test_random_tokens_look_it(seed: int, letters: str) -> None:
    chosen = random.Random(seed).choices(letters, k=40)
    assert looks_secret("".join(chosen)) or not any(map(str.isdigit, chosen))


def test_a_uuid_is_a_token() -> None:
    assert looks_secret("123e4567-e89b-12d3-a456-426614174000")


KEYS = [
    *("sk-proj-Ab1" + "x" * 30, "sk-ant-api03-" + "y" * 40, "sk-" + "a1" * 16, "hf_" + "Zz9" * 11, "AIza" + "b7" * 17),
    *("gsk_" + "Q4" * 20, "xai-" + "k3" * 20, "AKIAIOSFODNN7EXAMPLE", "ghp_" + "1aB" * 12, "nvapi-" + "7_x" * 12),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_nobody_registered_is_known_by_its_shape(key: str) -> None:
    assert is_key(key)
    assert is_key(f"runs/{key}")
    assert hide_keys(f"no model is called openai/{key}.") == "no model is called openai/[redacted]."
    assert str(UsageError(f"{key!r} is not a number")) == "'[redacted]' is not a number"


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn-baseline-2024-run-17",
        "hf_model_checkpoint_step_1000",
        "task-0123456789abcdefghij",
        "fw_16",
        "sk-short1",
    ],
)
def test_what_only_begins_like_a_key_stays(text: str) -> None:
    assert hide_keys(text) == text
    assert not is_key(text)


def test_every_part_of_a_header_that_is_a_key_is_a_secret() -> None:
    redact = Redactor()
    basic = base64.b64encode(b"alice01:hunter2hunter2").decode()
    given = {
        "Authorization": f"Basic {basic}",
        "Cookie": "session=abcdefgh; theme=brighter",
        "X-Any": f"Token {TOKEN}",
    }
    register_headers(redact, given)
    for leak in (basic, "hunter2hunter2", "alice01", "abcdefgh", "brighter", TOKEN):
        assert redact(f"<{leak}>") == "<[redacted]>", leak


def test_extra_fields_are_searched_at_any_depth() -> None:
    fields = {"api_key": 12345678, "deep": [{"x": TOKEN}, {"auth": {"who": "alice-the-user"}}], "model": "llama-3.1-8b"}
    assert list(find_secrets(fields)) == ["12345678", TOKEN, "alice-the-user"]


def test_many_backslashes_cost_no_time() -> None:
    secret = "\\" * 60 + "x"
    assert redactor_of(secret)(json.dumps(json.dumps(secret))) == '"\\"[redacted]\\""'
    assert redactor_of(secret)("\\" * 5000) == "\\" * 5000
