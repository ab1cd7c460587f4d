"""A secret comes in by one door, and an endpoint repeats it wherever it can: it is in no file and no message."""

from __future__ import annotations

import base64
import json
import random
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from builders import record, write_records
from fakes.chat_server import Asked, ChatServer, Step, calls, error, message, verbatim
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.models.api.connection import find_secrets, register_secrets
from harness.models.api.headers import register_headers
from harness.redaction import PLACEHOLDERS, Redactor

LETTERS = string.ascii_letters + string.digits
SAFE_IN_HEADERS = [character for character in map(chr, range(33, 127)) if character not in ";,="]


# --- the one function --------------------------------------------------------------------------------------------

secrets = st.text(SAFE_IN_HEADERS, min_size=12, max_size=60).filter(
    lambda text: not text.isdigit() and "[" not in text and text.lower() not in PLACEHOLDERS
)
escapes = st.sampled_from(
    [
        lambda secret: secret,
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: json.dumps(json.dumps({"key": secret})),
        repr,
        lambda secret: quote(secret, safe=""),
        lambda secret: quote(secret, safe="!$&'()*+:@/?"),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: secret.encode().hex(),
        lambda secret: "".join(f"%{ord(character):02x}" for character in secret),
        lambda secret: "".join(f"\\u{ord(character):04X}" for character in secret),
        lambda secret: "".join(f"&#{ord(character)};" for character in secret),
    ]
)
around = st.text(max_size=20)
values = st.recursive(
    st.none() | st.integers() | around,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(around, inner, max_size=3),
    max_leaves=8,
)


@given(secrets, escapes, around, around, values, st.integers(0, 3))
def test_a_secret_is_in_no_line(secret: str, escape: Any, before: str, after: str, value: Any, place: int) -> None:
    """`place`: as a text, in a list, as the name of a field, in the arguments of a call."""
    redact = Redactor()
    redact.add(secret)
    said = before + escape(secret) + after
    holding = [said, [value, said], {said: value}, {"arguments": {said: {said: said}}, "raw": said}][place]
    line = json.dumps(redact.redact_json({"messages": [holding, value]}), ensure_ascii=False)
    assert secret not in line
    assert json.dumps(secret)[1:-1] not in line
    assert escape(secret) not in line
    assert redact("{}[]") == "{}[]"


@given(secrets, st.binary(max_size=9), st.binary(max_size=9))
def test_a_secret_is_in_no_longer_text_in_base64(secret: str, before: bytes, after: bytes) -> None:
    redact = Redactor()
    redact.add(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        said = redact(encode(before + secret.encode() + after).decode())
        assert len(said.replace("[redacted]", "")) <= len(encode(before)) + len(encode(after)) + 4, said


@pytest.mark.parametrize("around", ["{}", "Bearer {}", '{{"k": "{}"}}', "id={}; path=/", "<{}>"])
@pytest.mark.parametrize("way", ["header", "field", "named field"])
def test_a_key_within_a_value_is_kept(around: str, way: str) -> None:
    redact, secret = Redactor(), "c3Vw3Rz9k1LmN0pQ4xYz"
    if way == "header":
        register_headers(redact, {"X-Team": around.format(secret)})
    for found in find_secrets({"auth" if way == "named field" else "who": around.format(secret)}):
        redact.add(found)
    assert secret not in redact(f"no {secret}")


@given(secrets, st.sampled_from(["Authorization", "X-Team", "Cookie", "api-key"]))
def test_a_header_of_any_name_is_kept(secret: str, name: str) -> None:
    redact = Redactor()
    register_headers(redact, {name: secret})
    assert secret not in redact(f"you sent {name}: {secret}!")


@given(
    st.text(LETTERS, min_size=12), st.sampled_from(["http://{}:pw@h/v1", "http://u:{}@h/v1", "http://h/v1?api_key={}"])
)
def test_a_url_keeps_what_is_named_secret(secret: str, url: str) -> None:
    redact = Redactor()
    register_secrets(redact, "", url.format(secret), "")
    assert secret.isdigit() or secret not in redact(f"cannot reach {url.format(secret)}")


@given(secrets, values)
def test_extra_fields_keep_what_is_named_secret(secret: str, value: Any) -> None:
    redact = Redactor()
    for found in find_secrets({"extra": [value, {"auth": {"inner": [secret]}}]}):
        redact.add(found)
    assert secret not in redact(f"unknown field {secret}")


# --- a whole run -------------------------------------------------------------------------------------------------


def repeating(secret: str) -> Any:
    """An endpoint that says the secret in every part of a reply, then as no JSON across the place where texts are cut,
    and in an error."""

    def reply(asked: Asked) -> Step:
        if asked.turn:
            said = f"{'x' * 292}{secret}"
            return Step(said.encode()) if "first" in asked.conversation else error(400, f"no {secret}", code=secret)
        answered = calls(
            verbatim("population", json.dumps({"town": secret, secret: {secret: [secret]}})),
            verbatim(secret, json.dumps({})),
            verbatim("population", f"{{broken {secret}"),
            verbatim("population", {secret: secret}, call_id=secret),
            content=f"I was sent {secret}",
        )
        fields = answered.body["choices"][0]["message"]
        return message({**fields, "reasoning": secret, "reasoning_content": secret}, "tool_calls", id=secret)

    return reply


DOORS = {
    "api_key": ["--model-arg", "api_key={}"],
    "header": ["--header", "X-Team={}"],
    "field": ["--model-arg", 'extra_body={{"metadata": {{"session_token": "{}"}}}}'],
    "random field": ["--model-arg", 'extra_body={{"metadata": {{"who": "{}"}}}}'],
    "spelled field": ["--model-arg", 'extra_body={{"\\u0061uth": "{}"}}'],
    "password": "//clerk:{}@",
    "query": "?code={}",
    "path": "/{}/v1",
}


@pytest.mark.parametrize("door", DOORS)
def test_a_run_writes_and_says_it_nowhere(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "".join(random.Random(door).choices(LETTERS, k=32))
    rows = [record(id=name, messages=[{"role": "user", "content": f"{name}?"}]) for name in ("first", "second")]
    tasks, out = write_records(tmp_path / "towns.jsonl", rows), tmp_path / "run"
    words, way = (
        ([word.format(secret) for word in DOORS[door]], "") if isinstance(DOORS[door], list) else ([], DOORS[door])
    )
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with ChatServer(repeating(secret)) as server:
        url = server.url
        if way.startswith("//"):
            url = url.replace("//", way.format(secret))
        elif way:
            url = (url + way.format(secret)) if "?" in way else url.replace("/v1", way.format(secret))
        patience = ["--model-arg", "max_retries=0"]
        options = ["--model", "m", "--tasks", str(tasks), "--out", str(out), "--base-url", url, *patience, *words]
        status = main(["eval", *options])
    monkeypatch.undo()
    assert main(["show", str(out), "first"]) == 0
    said = "".join(capfd.readouterr())
    written = {path.name: path.read_text() for path in out.rglob("*") if path.is_file()}
    assert status in (0, 1), said
    assert {"samples.jsonl", "manifest.json", "summary.json"} <= set(written)
    basic = base64.b64encode(f"clerk:{secret}".encode()).decode()
    for name, text in {**written, "the terminal": said}.items():
        assert not any(part in text for part in (secret, secret[:8], basic)), name
    assert "[redacted]" in written["samples.jsonl"]


# --- in the wrong place ------------------------------------------------------------------------------------------

KEY = "sk-proj-" + "Ab1-cD2_" * 5


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "--model", KEY, "--tasks", "demo_*"],
        ["eval", "--model", f"openai/{KEY}", "--tasks", "demo_*"],
        ["eval", "--model", "policy/oracle", "--tasks", KEY],
        ["eval", "--model", "policy/oracle", "--tasks", "demo_*", "--out", f"runs/{KEY}"],
        ["eval", "--model", "policy/oracle", "--tasks", "demo_*", "--seed", KEY],
        ["eval", "--model", "policy/oracle", "--tasks", "demo_*", "--samples", KEY],
        ["eval", "--model", "policy/oracle", "--tasks", "demo_*", "--data", f"paper={KEY}"],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", "--model-arg", f"timeout={KEY}"],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", "--model-arg", f"organization={KEY}"],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", "--model-arg", f"{KEY}=1"],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", "--header", f"{KEY}=1"],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", "--base-url", KEY],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", KEY],
        ["eval", "--model", "gpt-x", "--tasks", "demo_*", f"--{KEY}"],
        ["show", KEY],
        ["train", "--model", KEY, "--tasks", "demo_*", "--regime", "sft"],
        [KEY],
    ],
)
def test_a_key_typed_in_the_wrong_place_is_not_repeated(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(words)
    except SystemExit as ended:
        status = int(ended.code or 0)
    said = "".join(capfd.readouterr())
    assert status == 2
    assert len(said.strip().splitlines()) == 1
    assert KEY[:16] not in said
    assert not list(tmp_path.iterdir())
