"""Prompts on real chat templates: what goes in, what the switches do, and what happens where a template refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from builders import call, sample
from fakes import tiny_model
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import _compile_jinja_template

from harness import formats
from harness.errors import ModelFailure, UsageError
from harness.models.local.prompting import (
    Prompter,
    after_reasoning,
    call_id,
    reasoning_key,
    switch,
    with_reasoning_history,
)
from harness.types import JSONObject, Message, ModelRequest, Reasoning, Sampling, ToolCall

TORN = ToolCall("call_0_0", "population", None, '{"town": "Cor', "invalid JSON")


def prompter(name: str = "qwen3", override: str | None = None) -> Prompter:
    text = tiny_model.template(name)
    compiled = _compile_jinja_template(text)

    def render(messages: list[JSONObject], tools: list[JSONObject] | None, options: JSONObject) -> str:
        rendered: str = compiled.render(
            messages=messages, tools=tools, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", **options
        )
        return rendered

    return Prompter(f"hf/{name}", text, render, formats.choose_format(text, override))


def request(messages: Sequence[Message] = (), reasoning: Reasoning = Reasoning()) -> ModelRequest:
    problem = sample()
    return ModelRequest([*problem.messages, *messages], problem.tools, Sampling(), problem, reasoning=reasoning)


def turns(*said: Message) -> list[Message]:
    """What was said, each turn's calls answered in order."""
    history: list[Message] = []
    for message in said:
        answers = [Message("tool", f"gave {one.id}", tool_call_id=one.id) for one in message.tool_calls]
        history += [message, *answers]
    return history


def says(*calls: ToolCall, raw: str | None = None, reasoning: str | None = None) -> Message:
    return Message("assistant", "", reasoning, calls, raw=raw)


@pytest.mark.parametrize("name", ["qwen3", "qwen2_5", "llama3_1"])
def test_arguments_are_written_once(name: str) -> None:
    history = turns(says(call("population", {"town": "Corrie"})))
    text = prompter(name).prompt(request(history)).text
    assert '{"town": "Corrie"}' in text
    assert '\\"town' not in text
    assert "gave call_0" in text
    assert '"population"' in text.split("Corrie?")[0], "the tools are in the prompt"


def test_the_tools_look_as_the_openai_api_has_them() -> None:
    assert '{"type": "function", "function": {"name": "population"' in prompter().prompt(request()).text


@pytest.mark.parametrize(("mode", "end"), [("default", "assistant\n"), ("on", "assistant\n"), ("off", "</think>\n\n")])
def test_the_switch_is_seen_in_the_prompt(mode: Any, end: str) -> None:
    assert prompter().prompt(request(reasoning=Reasoning(mode))).text.endswith(end)


@pytest.mark.parametrize(
    ("name", "mode", "opened"),
    [("qwen3", "on", False), ("nemotron_3_nano", "on", True), ("nemotron_3_nano", "off", False)],
)
def test_a_block_of_reasoning_that_the_prompt_opens_is_noticed(name: str, mode: Any, opened: bool) -> None:
    assert prompter(name, "hermes").prompt(request(reasoning=Reasoning(mode))).thinking is opened


@pytest.mark.parametrize(
    ("template", "reasoning", "options"),
    [
        ("qwen3", Reasoning("default"), {}),
        ("qwen3", Reasoning("on"), {"enable_thinking": True}),
        ("qwen3", Reasoning("off"), {"enable_thinking": False}),
        ("qwen3_8", Reasoning("on", "low"), {"enable_thinking": True, "reasoning_effort": "low"}),
        ("gptoss", Reasoning("on", "high"), {"reasoning_effort": "high"}),
        ("gptoss", Reasoning("on"), {}),
        ("qwen2_5", Reasoning("default"), {}),
    ],
)
def test_what_the_switches_put_in(template: str, reasoning: Reasoning, options: JSONObject) -> None:
    assert switch("hf/x", tiny_model.template(template), reasoning) == options


@pytest.mark.parametrize(
    ("template", "reasoning", "word"),
    [
        ("qwen2_5", Reasoning("off"), "hf/x cannot switch reasoning: its chat template has no enable_thinking."),
        ("qwen2_5", Reasoning("on"), "enable_thinking"),
        ("gptoss", Reasoning("off"), "enable_thinking"),
        ("qwen3", Reasoning("on", "low"), "reasoning_effort"),
        ("qwen3", Reasoning("on", budget=100), "cannot cap"),
    ],
)
def test_a_switch_that_is_not_there_is_one_sentence(template: str, reasoning: Reasoning, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        switch("hf/x", tiny_model.template(template), reasoning)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_switch_that_only_a_comment_names_does_not_count() -> None:
    with pytest.raises(UsageError):
        switch("hf/x", "{# enable_thinking is not supported #}{{ messages }}", Reasoning("off"))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("qwen3", "reasoning_content"),
        ("qwen2_5", None),
        ("gptoss", "thinking"),
        ("nemotron_3_nano", "reasoning_content"),
    ],
)
def test_under_which_name_reasoning_goes_back(name: str, key: str | None) -> None:
    assert reasoning_key(tiny_model.template(name)) == key


@pytest.mark.parametrize(("policy", "seen"), [("none", ""), ("last", "two"), ("all", "one two")])
def test_the_history_policy(policy: Any, seen: str) -> None:
    history = turns(
        says(
            call("population", {"town": "Brill"}, 0), reasoning="thought-one", raw="<think>\nthought-one\n</think>\n\nx"
        ),
        says(
            call("population", {"town": "Arden"}, 1), reasoning="thought-two", raw="<think>\nthought-two\n</think>\n\nx"
        ),
    )
    text = prompter().prompt(request(history, Reasoning(history=policy))).text
    assert " ".join(word for word in ("one", "two") if f"<think>\nthought-{word}\n</think>" in text) == seen


def test_a_policy_also_keeps_reasoning_out_of_raw_text() -> None:
    raw = "<think>\nsecret\n</think>\n\n<tool_call>\n{oops\n</tool_call>"
    [kept] = with_reasoning_history([says(TORN, raw=raw, reasoning="secret")], Reasoning(history="none"))
    assert kept.raw == "<tool_call>\n{oops\n</tool_call>"
    assert "secret" not in prompter().prompt(request(turns(says(TORN, raw=raw)), Reasoning(history="none"))).text


def test_a_malformed_call_goes_back_as_it_was_written() -> None:
    raw = '<tool_call>\n{"name": "population", "arguments": {"town": "Cor\n</tool_call>'
    text = prompter().prompt(request(turns(says(TORN, raw=raw)))).text
    assert text.count(raw) == 1
    assert "gave call_0_0" in text


def test_a_malformed_call_without_raw_text_goes_back_without_arguments() -> None:
    text = prompter().prompt(request(turns(says(TORN)))).text
    assert '{"name": "population", "arguments": {}}' in text


def test_a_template_that_refuses_two_calls_gets_their_text() -> None:
    raw = "; ".join(f'{{"name": "population", "parameters": {{"town": "{town}"}}}}' for town in ("Brill", "Arden"))
    calls = (call("population", {"town": "Brill"}, 0), call("population", {"town": "Arden"}, 1))
    assert raw in prompter("llama3_1").prompt(request(turns(says(*calls, raw=raw)))).text


def test_a_template_that_refuses_everything_costs_the_episode() -> None:
    def render(*anything: object) -> str:
        raise ValueError("roles must alternate")

    refusing = Prompter("hf/x", "", render, formats.FORMATS["hermes"])
    with pytest.raises(ModelFailure) as caught:
        refusing.prompt(request())
    assert (caught.value.outcome, caught.value.stop) == ("model_error", "chat_template")
    assert "roles must alternate" in str(caught.value)


def test_a_template_without_tools_gets_the_text_protocol() -> None:
    made = prompter("phi3")
    history = turns(says(call("population", {"town": "Corrie"})))
    text = made.prompt(request(history)).text
    assert made.format.name == "react"
    assert "Observation: gave call_0" in text
    assert '"name": "population"' in text


def test_a_lone_surrogate_does_not_reach_the_tokenizer() -> None:
    made: PreTrainedTokenizerFast = tiny_model.tokenizer(tiny_model.template())
    text = prompter().prompt(request([Message("user", "broken \ud800 text")])).text
    assert made.decode(made.encode(text)) == text


def test_tool_messages_answer_their_calls() -> None:
    seen: list[list[JSONObject]] = []

    def render(messages: list[JSONObject], *rest: object) -> str:
        seen.append(messages)
        return ""

    two = (call("population", {"town": "Brill"}, 0), call("mayor", {"town": "Arden"}, 1))
    history = [says(*two), Message("tool", "second", tool_call_id="call_1"), Message("tool", "first")]
    Prompter("hf/x", "", render, formats.FORMATS["hermes"]).prompt(request(history))
    answers = [(m["tool_call_id"], m["name"], m["content"]) for m in seen[0] if m["role"] == "tool"]
    ids = [one["id"] for one in seen[0][1]["tool_calls"]]
    assert answers == [(ids[1], "mayor", "second"), (ids[0], "population", "first")]
    assert all(len(one) == 9 and one.isalnum() for one in ids)


@given(st.integers(0, 99_999), st.integers(0, 9_999))
def test_call_ids_are_what_every_template_takes(turn: int, index: int) -> None:
    made = call_id(turn, index)
    assert len(made) == 9
    assert made.isascii()
    assert made.isdigit()


@given(st.text(), st.text(alphabet='abc{}"<>'))
def test_reasoning_is_cut_off_at_its_first_end(thought: str, said: str) -> None:
    thought = thought.replace("</think>", "").replace("[/THINK]", "")
    assert after_reasoning(f"<think>{thought}</think>\n{said}") == said.lstrip("\n")
    assert after_reasoning("plain") == "plain"
