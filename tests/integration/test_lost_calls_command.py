"""`harness eval` on ftrl_* against an endpoint of each kind that loses calls or streams: status, table and sentence.

One model of the endpoint is one kind, so that a command plays them all; gold calls make the rest of each episode.
"""

import json
from dataclasses import replace

import pytest
from commands import episodes, harness, summary
from fakes.chat_server import ChatServer, Step, call, calls, error, message, text
from fakes.streams import DONE, chunks, event, events, streamed

from harness import evaluate, load_model

TASK = ("--tasks", "ftrl_single_hop", "--limit", "1")
QUICK = ("max_retries=1", "max_retry_wait=0.01", "timeout=20")


@pytest.fixture(scope="module")
def plot(tmp_path_factory):
    """The turns of an episode that is solved: the oracle's calls one by one, and what it says last."""
    run = evaluate(load_model("policy/oracle"), "ftrl_single_hop", tmp_path_factory.mktemp("oracle") / "run", limit=1)
    [episode] = run.records
    made = [calls(call(one["name"], one["arguments"])) for one in episode["calls"]]
    return [*made, text(episode["messages"][-1]["content"])]


def in_another_choice(step):
    [choice] = step.body["choices"]
    return Step({**step.body, "choices": [{**choice, "message": {"content": "I look."}}, {**choice, "index": 1}]})


def in_the_text(step, template):
    function = step.body["choices"][0]["message"]["tool_calls"][0]["function"]
    given = json.loads(function["arguments"])
    return text(template(function["name"], given))


def hermes(name, given):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': given})}\n</tool_call>"


def qwen(name, given):
    return f"<function={name}>\n" + "".join(f"<parameter={key}>\n{value}\n" for key, value in given.items())


FAILED = {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "{"}}
MALFORMED = {
    "openai/reason": lambda first: [text("", "tool_calls")],
    "openai/groq": lambda first: [Step(FAILED, 400)],
    "openai/torn": lambda first: [error(500, "Failed to parse input at pos 8: <tool_call>{")] * 2,
    "gemini/gemini-3-flash": lambda first: [message({}, "function_call_filter: MALFORMED_FUNCTION_CALL")],
}
READ = {"openai/choices": lambda first: [in_another_choice(first)]}
LEFT = {
    "openai/hermes": (hermes, "--enable-auto-tool-choice --tool-call-parser hermes;", "format=hermes reads them here"),
    "openai/qwen": (qwen, "--tool-call-parser qwen3_coder;", "format=hermes tells tools and reads calls as text here"),
}


def play(tmp_path, script, models, *words):
    with ChatServer(script) as server:
        done = harness(
            "eval", "--model", *models, *TASK, "--out", tmp_path / "run", "--base-url", server.url, "--model-arg",
            *QUICK, *words, OPENAI_API_KEY="k", GEMINI_API_KEY="k",
        )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done, server


def runs_of(tmp_path, models):
    return {model: tmp_path / "run" / model.replace("/", "-") for model in models}


def kind_of(asked, models):
    return next(model for model in models if model.endswith(f"/{asked.body['model']}"))


def solved(path):
    return summary(path)["tasks"]["ftrl_single_hop"]["metrics"]["solve_f1"]["value"]


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
def test_calls_that_endpoints_lose(tmp_path, plot, client):
    models = [*MALFORMED, *READ, *LEFT]
    played = dict.fromkeys(models, 0)

    def script(asked):
        model = kind_of(asked, models)
        lost = [in_the_text(plot[0], LEFT[model][0])] if model in LEFT else {**MALFORMED, **READ}[model](plot[0])
        steps = [*lost, *plot[1 if model in READ else 0 :]]
        played[model] += 1
        return steps[played[model] - 1]

    done, _ = play(tmp_path, script, models, f"client={client}")
    assert done.returncode == 0, done.stderr
    runs = runs_of(tmp_path, models)
    for model in (*MALFORMED, *READ):
        [episode] = episodes(runs[model])
        lost = ["malformed"] if model in MALFORMED else []
        assert [one["status"] for one in episode["calls"]] == [*lost, *["ok"] * (len(plot) - 1)]
        assert (episode["outcome"], solved(runs[model])) == ("ok", pytest.approx(2 / 3) if lost else 1.0)
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line]
    assert len(warnings) == len(LEFT)
    for model, (_, flag, ours) in LEFT.items():
        [warning] = [line for line in warnings if line.startswith(f"{model}: ")]
        assert "in 1 of 1 episodes the endpoint left calls of tools in the text" in warning
        assert flag in warning
        assert ours in warning
        assert solved(runs[model]) == 0.0


def only_streams(asked, step):
    if not asked.body.get("stream"):
        return error(400, '"stream" must be true')
    return streamed(lambda asked: step)(asked)


def torn(step):
    return events([*list(chunks(step.body, 4, counts=True))[:2], DONE])


def with_error(step):
    begun = list(chunks(step.body, 4, counts=True))[:2]
    return events([*begun, event({"error": {"message": "Overloaded, come again", "code": 503}}), DONE])


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
def test_endpoints_that_stream(tmp_path, plot, client):
    models = ["openai/only", "openai/unasked", "openai/once", "openai/torn", "openai/error"]
    turns = {model: [] for model in models}

    def script(asked):
        model, step = kind_of(asked, models), plot[asked.turn]
        turns[model].append(asked.turn)
        again = turns[model].count(asked.turn) > 1
        if model == "openai/only":
            return only_streams(asked, step)
        if model == "openai/torn" or (model == "openai/once" and not again):
            return torn(step)
        if model == "openai/error" and asked.turn > 0:
            return with_error(step)
        whole = events([*chunks(step.body, 4, counts=True), DONE])
        return replace(whole, headers={}) if model == "openai/unasked" else whole

    done, _ = play(tmp_path, script, models, f"client={client}")
    assert done.returncode == 1, done.stderr
    runs = runs_of(tmp_path, models)
    assert [solved(runs[model]) for model in models[:3]] == [1.0, 1.0, 1.0]
    assert "openai/only only streams: from now on it is asked for streams" in done.stderr
    assert len(turns["openai/only"]) == len(plot) + 1
    [episode] = episodes(runs["openai/error"])
    assert (episode["outcome"], episode["stop"]) == ("infrastructure_error", "http_503")
    assert "openai/error: 1 infrastructure_error (http_503), for example: " in done.stdout
    assert "HTTP 503: Overloaded, come again (after 2 requests)" in done.stdout
    assert "openai/torn: the stream ended before the reply was whole (after 2 requests); no request" in done.stderr
    assert not episodes(runs["openai/torn"])


def test_streams_and_calls_as_text_by_an_argument(tmp_path, plot):
    def script(asked):
        step = plot[asked.turn]
        step = in_the_text(step, hermes) if step is not plot[-1] else step
        return streamed(lambda asked: step)(asked)

    done, server = play(tmp_path, script, ["openai/m"], "stream=true", "format=hermes")
    assert (done.returncode, solved(tmp_path / "run")) == (0, 1.0), done.stderr
    assert "WARNING" not in done.stdout
    assert all(asked.body["stream"] and "tools" not in asked.body for asked in server.requests)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["model"]["args"] == {"format": "hermes"}
