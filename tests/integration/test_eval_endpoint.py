"""`harness eval` against a real HTTP server: whole episodes, every fault as the right outcome, no key on disk.

Over the default transport; test_openai_client.py has the faults over both.
"""

import base64
import json
import re

import pytest
from builders import record, write_records
from commands import episodes, harness, one_sentence
from fakes.chat_server import (
    ChatServer,
    call,
    calls,
    delayed,
    dropped,
    error,
    no_choices,
    not_json,
    out_of_quota,
    rate_limited,
    text,
    too_long,
    verbatim,
    wrong_key,
)

KEY = "sk-very-secret-0123456789"
QUICK = ("max_retry_wait=0.01", "timeout=0.5")
GOOD = call("population", {"town": "Corrie"})
DONE = text("They counted.\nAnswer: 45,210")


def play(tmp_path, script, *words, records=None, model="m", **env):
    """One run against a scripted server: the finished process, the episodes, the server."""
    path = write_records(tmp_path / "towns.jsonl", records or [record()])
    with ChatServer(script) as server:
        done = harness(
            "eval", "--model", model, "--tasks", path, "--out", tmp_path / "run", "--base-url", server.url,
            "--model-arg", *QUICK, *words, **env,
        )  # fmt: skip
    return done, episodes(tmp_path / "run"), server


def only(tmp_path, script, *words, **env):
    done, [episode], _ = play(tmp_path, script, *words, **env)
    return done, episode


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
def test_a_whole_episode(tmp_path, client):
    done, [episode], server = play(tmp_path, [calls(GOOD), DONE], f"client={client}")
    assert done.returncode == 0, done.stderr
    assert (episode["outcome"], episode["scores"]["solve_f1"], episode["scores"]["answer_accuracy"]) == ("ok", 1.0, 1.0)
    assert [m["role"] for m in episode["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert server.requests[1].messages[-1] == {
        "role": "tool",
        "tool_call_id": "call_0",
        "content": '{"inhabitants": 45210}',
    }
    assert episode["usage"] == {
        "input_tokens": 22,
        "output_tokens": 14,
        "reasoning_tokens": 4,
        "cached_tokens": 6,
        "requests": 2,
        "retries": 0,
    }


def test_parallel_calls_in_one_turn_run_in_order(tmp_path):
    script = [calls(call("population", {"town": "Brill"}), GOOD, call("population", {"town": "nowhere"})), DONE]
    _, episode = only(tmp_path, script)
    assert [c["solves"] for c in episode["calls"]] == [None, 0, None]
    assert [c["turn"] for c in episode["calls"]] == [0, 0, 0]
    assert episode["scores"]["solve_precision"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("steps", "outcome", "stop"),
    [
        ([rate_limited()] * 9, "infrastructure_error", "http_429"),
        ([rate_limited(retry_after="0")] * 9, "infrastructure_error", "http_429"),
        ([error(500, "oh")] * 9, "infrastructure_error", "http_500"),
        ([delayed(DONE, 30)] * 9, "infrastructure_error", "timeout"),
        ([dropped()] * 9, "infrastructure_error", "connection"),
        ([not_json()] * 9, "infrastructure_error", "not_json"),
        ([no_choices()] * 9, "infrastructure_error", "no_choices"),
        ([out_of_quota()], "infrastructure_error", "insufficient_quota"),
        ([too_long()], "token_limit", "context_length"),
        ([error(400, "bad tools")], "model_error", "http_400"),
        ([error(403, "not for you")], "model_error", "http_403"),
        ([text("done", finish_reason=None)], "ok", "no_tool_calls"),
        ([text("it was cut o", finish_reason="length")], "token_limit", "max_tokens"),
    ],
)
def test_what_an_endpoint_does_becomes_an_outcome(tmp_path, steps, outcome, stop):
    done, [episode], server = play(tmp_path, [calls(GOOD), *steps], "max_retries=2")
    assert (episode["outcome"], episode["stop"]) == (outcome, stop)
    assert episode["scores"]["solve_rate"] == 1.0  # what was solved before stays
    assert done.returncode == (1 if outcome == "infrastructure_error" else 0), done.stderr
    assert not server.exhausted
    assert episode["usage"]["requests"] == 2
    if len(steps) == 9:
        assert episode["usage"]["retries"] == 2
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "fault", [rate_limited(), rate_limited(retry_after="0"), error(503, "busy"), dropped(), not_json(), no_choices()]
)
def test_a_retried_request_counts_once(tmp_path, fault):
    done, episode = only(tmp_path, [fault, calls(GOOD), fault, fault, DONE])
    assert done.returncode == 0
    assert (episode["outcome"], episode["usage"]["requests"], episode["usage"]["retries"]) == ("ok", 2, 3)
    assert episode["usage"]["output_tokens"] == 14


def test_malformed_and_unknown_calls_are_counted_and_fed_back(tmp_path):
    bad = calls(
        verbatim("population", '{"town": "Cor'),
        verbatim("population", "[1]"),
        call("no_such_tool", {}),
        verbatim("population", ""),
        verbatim("population", None),
        verbatim("population", {"town": "Corrie"}),
    )
    _, [episode], server = play(tmp_path, [bad, DONE])
    assert [c["status"] for c in episode["calls"]] == [
        *("malformed", "malformed", "unknown_tool", "raised", "raised", "ok")
    ]
    assert [c["arguments"] for c in episode["calls"]] == [None, None, {}, {}, {}, {"town": "Corrie"}]
    fed_back = [m["content"] for m in server.requests[1].messages if m["role"] == "tool"]
    assert fed_back == [c["output"] for c in episode["calls"]]
    assert all(said.startswith("an error occured when call ") for said in fed_back[:5])
    assert episode["scores"]["calls"] == 6
    assert episode["scores"]["malformed_call_rate"] == pytest.approx(2 / 6)
    assert episode["scores"]["paper_solve_precision"] == pytest.approx(1 / 4)  # the paper never sees malformed calls


def test_concurrency_is_bounded_and_every_episode_is_played(tmp_path):
    records = [record(id=f"s{n}", messages=[{"role": "user", "content": f"Number {n}?"}]) for n in range(12)]

    def script(asked):
        return delayed(calls(GOOD) if asked.turn == 0 else DONE, 0.02)

    done, played, server = play(tmp_path, script, "--concurrency", "3", "--epochs", "2", records=records)
    assert done.returncode == 0, done.stderr
    assert server.most_at_once <= 3
    assert len({(r["sample"], r["epoch"]) for r in played}) == len(played) == 24


def everything_written(done, folder):
    yield done.stdout
    yield done.stderr
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.read_text(encoding="utf-8")


def leaks(done, folder, *secrets):
    forms = [*secrets, *(base64.b64encode(secret.encode()).decode().rstrip("=") for secret in secrets)]
    return [form for text in everything_written(done, folder) for form in forms if form in text]


def echoing(asked):
    """A provider that repeats what it was sent, as error and as text."""
    if asked.turn:
        return wrong_key(asked)
    return calls(call("population", {"town": asked.headers["authorization"]}), content=f"got {asked.headers}")


def test_a_key_from_the_environment_is_written_nowhere(tmp_path):
    done, [episode], server = play(tmp_path, echoing, OPENAI_API_KEY=KEY)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert (episode["outcome"], episode["stop"]) == ("model_error", "http_401")
    assert "[redacted]" in episode["error"]
    assert not leaks(done, tmp_path / "run", KEY)


def test_a_key_from_model_arg_is_written_nowhere(tmp_path):
    done, _, server = play(tmp_path, echoing, f"api_key={KEY}")
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert not leaks(done, tmp_path / "run", KEY)


def test_the_user_part_of_a_url_is_written_nowhere(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer(echoing) as server:
        url = re.sub("//", "//clerk:hunter2-hunter2@", server.url)
        done = harness("eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", url)
    assert not leaks(done, tmp_path / "run", "hunter2-hunter2", "clerk:hunter2-hunter2")


@pytest.mark.parametrize("words", [("api_key=" + KEY, "nonsense=1"), ("api_key=" + KEY, "timeout=soon"), (KEY,)])
def test_a_key_is_in_no_usage_error(tmp_path, words):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    done = harness("eval", "--model", "m", "--tasks", path, "--model-arg", *words)
    assert done.returncode == 2
    assert KEY not in done.stderr


# --- headers -----------------------------------------------------------------------------------------------------


def echoing_headers(asked):
    said = f"got {dict(asked.headers)}"
    return error(401, said) if asked.turn else calls(call("population", {"town": said}), content=said)


def test_what_a_header_holds_is_written_nowhere(tmp_path):
    words = ("--header", f"api-key={KEY}", "X-Team=team-blue-7", "--header", "Authorization=Bearer tail-of-a-key")
    done, [episode], server = play(tmp_path, echoing_headers, *words)
    assert {server.requests[0].headers[name] for name in ("api-key", "x-team")} == {KEY, "team-blue-7"}
    assert server.requests[0].headers["authorization"] == "Bearer tail-of-a-key"
    assert episode["stop"] == "http_401" and "[redacted]" in episode["error"]
    assert not leaks(done, tmp_path / "run", KEY, "team-blue-7", "tail-of-a-key")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["model"]["headers"] == ["api-key", "authorization", "x-team"]


def test_a_run_goes_on_with_another_value_of_a_header_and_not_with_another_header(tmp_path):
    play(tmp_path, [calls(GOOD), DONE], "--header", "api-key=one-123456")
    done, _, _ = play(tmp_path, [calls(GOOD), DONE], "--resume", "--header", "api-key=two-123456")
    assert done.returncode == 0, done.stderr
    done, _, _ = play(tmp_path, [calls(GOOD), DONE], "--resume", "--header", "X-Other=two-123456")
    assert 'model.headers: ["api-key"] there, ["x-other"] now' in one_sentence(done)


@pytest.mark.parametrize(
    ("model", "headers", "said"),
    [
        ("m", [KEY], "takes NAME=VALUE, and one of those given has no NAME= in front"),
        ("m", [f"Authorization: {KEY}=="], "takes NAME=VALUE with the name of a header"),
        ("m", [f"api-key={KEY}\nX-Evil: 1"], "--header api-key has a character that no header can hold"),
        ("m", [f"api key={KEY}"], "takes NAME=VALUE with the name of a header"),
        ("m", [f"api-key={KEY}é"], "--header api-key has a character that no header can hold"),
        ("m", ["api-key="], "--header api-key is empty"),
        ("m", [f"api-key={KEY}", f"API-Key={KEY}"], "--header gives API-Key twice"),
        ("m", [f"Content-Length={KEY}"], "--header cannot set Content-Length"),
        ("policy/oracle", [f"api-key={KEY}"], "policy/oracle sends no requests to an endpoint: leave --header out"),
        ("hf/somewhere", [f"api-key={KEY}"], "hf/somewhere sends no requests to an endpoint: leave --header out"),
    ],
)
def test_a_header_that_cannot_be_sent_is_one_sentence(tmp_path, model, headers, said):
    words = ("eval", "--model", model, "--tasks", "demo_*", "--out", tmp_path / "run", "--base-url", "http://h/v1")
    refused = one_sentence(harness(*words, "--header", *headers))
    assert said in refused
    assert KEY not in refused


def test_among_several_models_only_those_behind_an_endpoint_get_the_header(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer([calls(GOOD), DONE]) as server:
        done = harness(
            "eval", "--model", "m", "policy/oracle", "--tasks", path, "--out", tmp_path / "run",
            "--base-url", server.url, "--header", f"api-key={KEY}",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {asked.headers["api-key"] for asked in server.requests} == {KEY}
