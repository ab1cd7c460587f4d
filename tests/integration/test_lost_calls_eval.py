"""Episodes where the endpoint loses calls: counted and fed back, or noted, with a warning beside the table."""

import json

import pytest
from builders import record, write_records
from commands import episodes, harness, one_sentence, summary
from endpoint_runs import play
from fakes.chat_server import ChatServer, Step, call, calls, error, message, text

from harness import read_run
from harness.formats import FORMATS
from harness.types import ToolCall

GOOD = call("population", {"town": "Corrie"})
DONE = text("They counted.\nAnswer: 45,210")
WRITTEN = '{"name": "population", "arguments": {"town": "Corrie"}}'
LEFT = text(f"<tool_call>\n{WRITTEN}\n</tool_call>")
GROQ = Step(
    {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "{"}}, 400
)
TORN = error(500, 'Failed to parse input at pos 8: <tool_call>{"name": "population", "arg')
GEMINI = message({}, "function_call_filter: MALFORMED_FUNCTION_CALL")


@pytest.mark.parametrize(
    ("lost", "client"),
    [([GROQ], "openai"), ([TORN, TORN], "openai"), ([GROQ], "aiohttp"), ([TORN, TORN], "aiohttp"),
     ([GEMINI], "aiohttp"), ([text("", "tool_calls")], "aiohttp")],
)  # fmt: skip
def test_a_lost_call_is_counted_and_answered(tmp_path, lost, client):
    episode, server, _ = play(tmp_path, [*lost, calls(GOOD), DONE], f"client={client}")
    assert [made["status"] for made in episode["calls"]] == ["malformed", "ok"]
    assert (episode["outcome"], episode["scores"]["malformed_call_rate"]) == ("ok", 0.5)
    fed_back = server.requests[-2].messages[-1]
    assert fed_back["role"] == "tool"
    assert "the endpoint" in fed_back["content"]


def test_a_call_left_in_the_text_is_noted_and_warned_of(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer([LEFT]) as server:
        asked = ("eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", server.url)
        done = harness(*asked)
    assert done.returncode == 0, done.stderr
    [warning] = [line for line in done.stdout.splitlines() if "WARNING" in line]
    assert warning.removeprefix("openai/m: ") in str(read_run(tmp_path / "run"))
    assert "in 1 of 1 episodes the endpoint left calls of tools in the text" in warning
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in warning
    assert "--model-arg format=hermes" in warning
    [episode] = episodes(tmp_path / "run")
    note = "unread: 1 call in the text, by the format hermes, that the endpoint did not read"
    assert episode["notes"] == [f"turn 0: {note}"]
    assert summary(tmp_path / "run")["tasks"]["towns"]["metrics"]["calls"]["value"] == 0


@pytest.mark.parametrize(("family", "client"), [*((family, "aiohttp") for family in FORMATS), ("hermes", "openai")])
def test_calls_are_text_by_an_argument(tmp_path, family, client):
    written = FORMATS[family].render([ToolCall("", "population", {"town": "Corrie"}, "")])
    script = [text(f"I look.\n{written}", reasoning="A town."), DONE]
    episode, server, told = play(tmp_path, script, f"format={family}", f"client={client}")
    assert "WARNING" not in told
    assert (episode["scores"]["solve_f1"], episode["scores"]["answer_accuracy"], episode["notes"]) == (1.0, 1.0, [])
    assert episode["messages"][1]["reasoning"] == "A town."
    asked = server.requests[1]
    assert "tools" not in asked.body
    assert [one["role"] for one in asked.messages] == ["system", "user", "assistant", "user"]
    assert all(set(one) <= {"role", "content", "reasoning"} for one in asked.messages)
    assert '"population"' in asked.messages[0]["content"]
    assert written in asked.messages[2]["content"]
    assert "45210" in asked.messages[3]["content"]
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["model"]["args"] == {"format": family}


def test_an_endpoint_that_takes_no_tools_is_told_what_plays_it(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer(lambda asked: error(400, "gemma does not support tools")) as server:
        done = harness("eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", server.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "HTTP 400: gemma does not support tools (openai/ with --model-arg format=hermes tells tools" in done.stderr


def test_where_a_stop_string_is_refused_none_is_sent(tmp_path):
    refused = error(400, "Unsupported parameter: 'stop' is not supported with this model.", param="stop")
    episode, server, _ = play(tmp_path, lambda asked: refused if "stop" in asked.body else DONE, "format=react")
    assert (episode["outcome"], len(server.requests)) == ("ok", 2)


def test_formats_that_there_are_none_of_and_responses(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    asked = ("eval", "--model", "m", "--tasks", path, "--base-url", "http://127.0.0.1:1/v1", "--model-arg")
    assert "There is no tool format 'hermse'." in one_sentence(harness(*asked, "format=hermse"))
    assert "is for chat completions" in one_sentence(harness(*asked, "format=react", "api=responses"))
