"""Episodes over streams: the same record as without, over both clients, and every way in which streams fail."""

import json

import pytest
from endpoint_runs import play
from fakes.chat_server import Step, call, calls, error, text
from fakes.providers import Anthropic, Responses, Turn
from fakes.streams import DONE, EVENTS, chunks, event, events, message_events, response_events, streamed

CALL = calls(call("population", {"town": "Corrie"}), content="I look.")
END = text("They counted.\nAnswer: 45,210", reasoning="I know.")
CLIENTS = pytest.mark.parametrize("client", ["aiohttp", "openai"])


def plot(asked):
    return CALL if asked.turn == 0 else END


def what_was_said(episode):
    return {name: value for name, value in episode.items() if name not in ("timing", "key")}  # a key has the URL


@CLIENTS
def test_the_record_is_the_same_as_without(tmp_path, client):
    whole, *_ = play(tmp_path, plot, f"client={client}", out="whole")
    episode, server, _ = play(tmp_path, streamed(plot), f"client={client}", "stream=true")
    assert what_was_said(episode) == what_was_said(whole)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["model"]["args"] == {}  # a run may go on with or without
    assert all(asked.body["stream_options"] == {"include_usage": True} for asked in server.requests)
    assert len({asked.peer for asked in server.requests}) == 1  # its connection was used again


@CLIENTS
def test_a_stream_is_learnt_where_an_endpoint_gives_nothing_else(tmp_path, client, caplog):
    def script(asked):
        if not asked.body.get("stream"):
            return error(400, "parameter.enable_thinking must be set to false for non-streaming calls")
        return streamed(plot)(asked)

    episode, server, _ = play(tmp_path, script, f"client={client}")
    assert (episode["outcome"], episode["scores"]["solve_f1"]) == ("ok", 1.0)
    assert [bool(asked.body.get("stream")) for asked in server.requests] == [False, True, True]
    assert "from now on it is asked for streams" in caplog.text


def test_what_refuses_to_count_is_not_asked_to(tmp_path):
    def script(asked):
        if "stream_options" in asked.body:
            return error(422, "Extra inputs are not permitted: stream_options")
        return streamed(plot)(asked)

    episode, server, _ = play(tmp_path, script, "stream=true")
    assert (episode["outcome"], len(server.requests)) == ("ok", 3)
    assert episode["usage"]["input_tokens"] == 0


PARTS = list(chunks(END.body, 4, counts=True))
ENDS = {
    "without an end": events(PARTS[:4]),
    "in the middle of a body": Step(b"".join(PARTS), headers=EVENTS, cut="inside"),
    "with an error": events([*PARTS[:4], event({"error": {"message": "busy", "code": 503}})]),
    "with nonsense": events([*PARTS[:4], b"data: <html>\n\n"]),
}


@pytest.mark.parametrize(
    ("how", "client"), [*((how, "aiohttp") for how in ENDS), ("in the middle of a body", "openai")]
)
def test_a_stream_that_ends_badly_is_asked_for_again(tmp_path, how, client):
    script = [ENDS[how], events([*chunks(CALL.body, 4, counts=True), DONE]), events([*PARTS, DONE])]
    episode, server, _ = play(tmp_path, script, "stream=true", f"client={client}")
    assert (episode["outcome"], episode["scores"]["solve_f1"], len(server.requests)) == ("ok", 1.0, 3)
    assert episode["usage"]["retries"] == 1


@CLIENTS
def test_a_stream_ends_with_its_last_event_and_whole_replies_are_read_too(tmp_path, client):
    held = events([*chunks(CALL.body, 4, counts=True), DONE], hold=60)
    episode, *_ = play(tmp_path, [held, END], "stream=true", f"client={client}")
    assert (episode["outcome"], episode["scores"]["solve_f1"], episode["usage"]["retries"]) == ("ok", 1.0, 0)


@CLIENTS
def test_a_stream_that_goes_on_too_long_is_a_timeout(tmp_path, client):
    script = [events(PARTS[:4], hold=60), events([*chunks(CALL.body, 4, counts=True), DONE]), events([*PARTS, DONE])]
    episode, server, _ = play(tmp_path, script, "stream=true", f"client={client}", "timeout=0.7")
    assert (episode["outcome"], episode["usage"]["retries"], len(server.requests)) == ("ok", 1, 3)


PLOT = [Turn("I think.", calls=[("population", {"town": "Corrie"})]), Turn("I know.", "Answer: 45,210")]


@pytest.mark.parametrize(
    ("model", "provider", "made", "words"),
    [
        ("openai/gpt-5.4", Responses, response_events, ("api=responses", "client=aiohttp")),
        ("anthropic/claude-haiku-4-5", Anthropic, message_events, ("client=anthropic",)),
    ],
)
def test_other_apis_stream_as_well(tmp_path, model, provider, made, words):
    def script(asked):
        step = provider(PLOT)(asked)
        return events(made(step.body)) if asked.body.get("stream") and step.status == 200 else step

    whole, *_ = play(tmp_path, script, *(word for word in words if "client" not in word), model=model, out="whole")
    episode, server, _ = play(tmp_path, script, *words, "stream=true", model=model)
    assert what_was_said(episode) == what_was_said(whole)
    assert all(asked.body["stream"] is True for asked in server.requests)
