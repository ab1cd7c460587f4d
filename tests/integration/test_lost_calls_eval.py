"""`harness eval` where the endpoint loses calls: counted and fed back, or noted, with a warning beside the table."""

import pytest
from builders import record, write_records
from commands import episodes, harness, summary
from fakes.chat_server import ChatServer, Step, call, calls, error, message, text

GOOD = call("population", {"town": "Corrie"})
DONE = text("They counted.\nAnswer: 45,210")
WRITTEN = '{"name": "population", "arguments": {"town": "Corrie"}}'
LEFT = text(f"<tool_call>\n{WRITTEN}\n</tool_call>")
GROQ = Step(
    {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "{"}}, 400
)
TORN = error(500, 'Failed to parse input at pos 8: <tool_call>{"name": "population", "arg')
GEMINI = message({}, "function_call_filter: MALFORMED_FUNCTION_CALL")
CLIENTS = pytest.mark.parametrize("client", ["aiohttp", "openai"])


def play(tmp_path, script, *words):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer(script) as server:
        done = harness(
            "eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", server.url,
            "--model-arg", "max_retry_wait=0.01", "max_retries=1", *words,
        )  # fmt: skip
    [episode] = episodes(tmp_path / "run")
    return done, episode, server


@CLIENTS
@pytest.mark.parametrize("lost", [[GROQ], [TORN, TORN], [GEMINI], [text("", "tool_calls")]])
def test_a_lost_call_is_counted_and_answered(tmp_path, lost, client):
    done, episode, server = play(tmp_path, [*lost, calls(GOOD), DONE], f"client={client}")
    assert done.returncode == 0, done.stderr
    assert [made["status"] for made in episode["calls"]] == ["malformed", "ok"]
    assert (episode["outcome"], episode["scores"]["malformed_call_rate"]) == ("ok", 0.5)
    fed_back = server.requests[-2].messages[-1]
    assert fed_back["role"] == "tool"
    assert "the endpoint" in fed_back["content"]


def test_a_call_left_in_the_text_is_noted_and_warned_of(tmp_path):
    done, episode, _ = play(tmp_path, [LEFT])
    assert done.returncode == 0, done.stderr
    assert episode["notes"] == [
        "turn 0: unread: 1 call in the text, by the format hermes, that the endpoint did not read"
    ]
    [warning] = [line for line in done.stdout.splitlines() if "WARNING" in line]
    assert "in 1 of 1 episodes the endpoint left calls of tools in the text" in warning
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in warning
    assert "--model-arg format=hermes" in warning
    assert summary(tmp_path / "run")["tasks"]["towns"]["metrics"]["calls"]["value"] == 0
