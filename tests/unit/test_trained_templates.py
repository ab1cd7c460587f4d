"""What a model is trained on is what every later evaluation shows it: for every template of TRL's wheel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chat_templates import PATHS, TREATED, UNKNOWN
from fakes import tiny_model

from harness.errors import UsageError
from harness.models.local.folder import ModelFolder
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.types import Gold, Message, ModelRequest, Reasoning, Sample, Sampling, Tool, ToolCall, Trajectory, Usage
from trainer.rl.actor import Turns, with_stable_template
from trainer.sft.network import IGNORE_INDEX
from trainer.sft.spoken import SpokenTurns
from trainer.templates import find_template

TOOL = Tool("find", "Finds.", {"type": "object", "properties": {"town": {"type": "string"}}})
STABLE = {"cohere", "cohere2", "deepseek_r1_distill", "qwen2_5", "qwen2_5_vl", "qwen3", "qwen3_instruct_2507", "llama3"}
"""Some of those that whole episodes are trained on, so that the test below is not empty."""


@pytest.fixture(scope="module")
def words():
    made = tiny_model.tokenizer(None)
    made.add_special_tokens({"bos_token": "<s>"})
    return made


def opened(words, folder, template, format=None) -> ModelTokenizer:
    words.chat_template = template
    words.save_pretrained(folder)
    config = {"model_type": "qwen3", "eos_token_id": words.eos_token_id}
    return open_tokenizer(ModelFolder("tiny", folder, config), {"format": format} if format else {})


def turn(number: int, thought: str | None = None) -> tuple[Message, Message]:
    call = ToolCall(f"call_{number}", "find", {"town": f"T{number}"}, "{}")
    return (
        Message("assistant", "", thought, (call,)),
        Message("tool", f"out {number}", tool_call_id=call.id),
    )


def request(messages, mode: str) -> ModelRequest:
    sample = Sample("s", messages[:1], (TOOL,), {}, Gold({}))
    return ModelRequest(messages, (TOOL,), Sampling(), sample, reasoning=Reasoning(mode))


@pytest.mark.parametrize("mode", ["off", "default"])
@pytest.mark.parametrize("name", [name for name in PATHS if not name.endswith("_training")])
def test_a_saved_model_is_shown_the_prompts_that_it_was_trained_on(name, mode, words, tmp_path):
    treated = TREATED[name]
    format = "react" if treated == UNKNOWN else None
    local = opened(words, tmp_path / "before", PATHS[name].read_text(encoding="utf-8"), format)
    try:
        if mode != "default":
            local.prompter.switch(Reasoning(mode))
        trained = with_stable_template(local, Reasoning(mode))
    except UsageError as refusal:
        assert name not in STABLE or mode == "off" or local.format.stop, refusal
        trained = local  # single turns, of its own template
    trained.save_tokenizer(tmp_path / "after")
    later = open_tokenizer(replace(trained.folder, path=tmp_path / "after"), {})
    assert later.format == trained.format and later.prompter.mends == trained.prompter.mends
    asked = Message("user", "Find it.")
    told = mode if mode == "default" or "enable_thinking" in trained.prompter.template else "default"
    talk = (asked, *turn(0), *turn(1))
    for end in (1, 3, 5):
        ours, theirs = (one.prompter.prompt(request(talk[:end], told)).text for one in (trained, later))
        assert ours == theirs
        assert trained.encode(ours) == later.encode(ours)


def test_qwen3_is_trained_and_evaluated_with_its_empty_thoughts(words, tmp_path):
    """TRL's variant keeps them in earlier turns, Qwen3's own template drops them there."""
    local = opened(words, tmp_path / "before", tiny_model.template())
    trained = with_stable_template(local, Reasoning("off"))
    trained.save_tokenizer(tmp_path / "after")
    later = open_tokenizer(replace(trained.folder, path=tmp_path / "after"), {})
    asked = request((Message("user", "?"), *turn(0)), "off")
    read = trained.prompter.prompt(replace(asked, messages=asked.messages[:1])).text
    said = '<tool_call>\n{"name": "find", "arguments": {"town": "T0"}}\n</tool_call>'
    between = Turns(trained).between(asked, False, said)
    assert later.prompter.prompt(asked).text == read + said + between.text
    assert local.prompter.prompt(asked).text != later.prompter.prompt(asked).text


# --- demonstrations ----------------------------------------------------------------------------------------------


def episode(thinks: bool) -> tuple[Sample, Trajectory]:
    thought = "I find." if thinks else None
    talk = (
        Message("user", "Find it."),
        *turn(0, thought),
        *turn(1, thought),
        Message("assistant", "Answer: 5", thought),
    )
    sample = Sample("s", talk[:1], (TOOL,), {}, Gold({}))
    return sample, Trajectory(talk, (), 3, "ok", "no_tool_calls", Usage(), {})


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("name", [name for name in PATHS if not name.endswith("_training")])
def test_every_model_that_is_played_can_be_demonstrated_to(name, thinks, words, tmp_path):
    """Each turn follows the prompt that an evaluation shows, and the loss is on what is said, its end included."""
    format = "react" if TREATED[name] == UNKNOWN else None
    local = opened(words, tmp_path, PATHS[name].read_text(encoding="utf-8"), format)
    spoken = SpokenTurns(local)
    sample, played = episode(thinks)
    try:
        spoken.check(thinks)
    except UsageError as refusal:
        assert thinks and "cannot switch reasoning" in str(refusal)
        return
    texts = ["".join(text for text, _ in row) for row in spoken.write_rows(sample, played)]
    asked = request(played.messages, spoken.reasoning(thinks).mode)
    for end in (1, 3, 5):
        prompt = local.prompter.prompt(replace(asked, messages=played.messages[:end])).text
        assert any(text.startswith(prompt) for text in texts)
    said = [text for row in spoken.write_rows(sample, played) for text, says in row if says]
    assert len(said) == 3
    assert all(local.encode(text)[-1] in local.end_token_ids or text.endswith("<|im_end|>") for text in said)
    rows = spoken.encode_episode(sample, played)
    labels = [label for row in rows for label in row["labels"] if label != IGNORE_INDEX]
    assert labels == [token for text in said for token in local.encode(text)]


def test_the_template_that_ships_has_tools_and_a_switch_and_keeps_turns(words, tmp_path):
    local = opened(words, tmp_path, find_template("chatml-tools").read_text(encoding="utf-8"))
    assert local.format.name == "hermes"
    assert with_stable_template(local, Reasoning("off")) is local
    assert local.prompter.switch(Reasoning("on")) == {"enable_thinking": True}
    for thinks in (False, True):
        (row,) = SpokenTurns(local).write_rows(*episode(thinks))
        assert ("I find." in row[1][0]) == thinks


SHAPES = {
    "type": "object",
    "properties": {
        "who": {
            "type": "object",
            "description": "A person.",
            "properties": {"ref": {"type": "string", "pattern": "A+"}},
        },
        "kinds": {"type": "array", "items": {"type": "string", "enum": ["one", "two"], "description": "A kind."}},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"at": {"type": ["integer", "null"]}}}},
        "digit": {"type": "string", "enum": ["0", "1"], "default": "0", "description": "Layer. 0: old; 1: new."},
        "odd": {"enum": ["a|b", 3, ""]},
        "only": {"enum": [7]},
        "either": {"anyOf": [{"type": "boolean"}, {"const": "never"}]},
        "day": {"type": "string", "format": "date", "default": None},
        "all": True,
    },
    "required": ["who", "day"],
    "additionalProperties": False,
}
LINES = """Looks. -> look, additionalProperties false
- who (object): A person.
  - ref? (string, pattern "A+")
- kinds? (array of string one|two (A kind.))
- rows? (array of object)
  - at? (["integer", "null"])
- digit? (string choice = "0"): Layer. 0: old; 1: new.
- odd? (any ["a|b", 3, ""])
- only? (any [7])
- either? (any, anyOf [{"type": "boolean"}, {"const": "never"}])
- day (string as date = null)
- all? (true)
</tools>"""


def test_the_template_that_ships_writes_tools_as_lists_and_loses_nothing_of_their_schemas(words, tmp_path):
    local = opened(words, tmp_path, find_template("chatml-tools").read_text(encoding="utf-8"))
    talk = (Message("user", "Look."),)
    tools = (Tool("look", "Looks.", SHAPES), Tool("bare", "", {}))
    text = local.prompter.prompt(replace(request(talk, "off"), tools=tools)).text
    assert text.partition("<tools>\n")[2].startswith(LINES.replace("</tools>", "bare\n</tools>"))
