"""The text formats of tool calls: what is a call, what is not, and why; which template has which format."""

from pathlib import Path

import pytest
import trl
from builders import call

from harness.errors import UsageError
from harness.formats import FORMATS, choose_format, find_difference
from harness.formats.paper import parse_paper, without_end_tokens
from harness.types import Message, Tool, ToolCall

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
KNOWN = {
    "llama3_1": "llama3",
    "llama3_2": "llama3",
    "qwen2_5": "hermes",
    "qwen3": "hermes",
    "qwen3_instruct_2507": "hermes",
    "qwen3_vl": "hermes",
}
WITHOUT_TOOLS = (
    "cohere", "cohere2", "deepseek_r1_distill", "deepseekv3", "gemma", "gemma3", "idefics3", "llama3", "llava_next",
    "phi3", "phi3_5", "qwen2_5_vl", "smolvlm",
)  # fmt: skip
"""Templates that take no tools. Everything else that TRL ships takes them in a format that is not among ours."""

A = '{"name": "a", "arguments": {"x": 1}}'
LLAMA_A = '{"name": "a", "parameters": {"x": 1}}'


def parse(family, text, **how):
    return FORMATS[family].parse(text, **how)


def runnable(message):
    return [(call.name, call.arguments) for call in message.tool_calls if call.arguments is not None]


def only(message):
    (found,) = message.tool_calls
    return found


# --- hermes ------------------------------------------------------------------------------------------------------


def test_calls_content_and_reasoning_are_told_apart():
    text = f"<think>\nplan\n</think>\n\nLet me look.\n<tool_call>\n{A}\n</tool_call>\nDone.<|im_end|>\n"
    message = parse("hermes", text, turn=3)
    assert message == Message(
        "assistant",
        "Let me look.\nDone.",
        reasoning="plan",
        tool_calls=(ToolCall("call_3_0", "a", {"x": 1}, '{"x": 1}'),),
        raw=text,
    )


def test_a_closing_tag_in_a_string_closes_nothing():
    text = '<tool_call>{"name": "a", "arguments": {"x": "</tool_call><tool_call></think>"}}</tool_call>'
    assert runnable(parse("hermes", text)) == [("a", {"x": "</tool_call><tool_call></think>"})]


def test_complete_json_without_its_closing_tag_is_malformed():
    found = only(parse("hermes", f"<tool_call>\n{A}"))
    assert (found.name, found.arguments, found.raw) == ("a", None, A)
    assert found.parse_error == "the call was not closed by </tool_call>"


@pytest.mark.parametrize(
    ("body", "name", "reason"),
    [
        ('{"name": "a", "arguments": {"x": 1}', "a", "invalid JSON"),
        ('{"name": "a", "arguments": {"x": 1}}}', "a", "invalid JSON"),
        ("a(x=1)", "", "invalid JSON"),
        ("[1]", "", "not a JSON object"),
        ('{"arguments": {}}', "", "the call names no tool"),
        ('{"name": "", "arguments": {}}', "", "the call names no tool"),
        ('{"name": ["a"], "arguments": {}}', "", "the call names no tool"),
        ('{"name": "a"}', "a", 'the call has no "arguments"'),
        ('{"name": "a", "arguments": [1]}', "a", "the arguments are not a JSON object"),
        ('{"name": "a", "arguments": "x"}', "a", "the arguments are invalid JSON"),
        ('{"name": "a", "arguments": {"x": NaN}}', "a", "NaN is no JSON number"),
        ('{"name": "a", "arguments": {"x": 1e999}}', "a", "1e999 is no JSON number"),
        ('{"name": "a", "arguments": {"x": ' + "[" * 70 + "]" * 70 + "}}", "a", "nested too deeply"),
        ('{"name": "a", "arguments": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}", "a", "nested too deeply"),
    ],
)
def test_a_malformed_call_keeps_its_text_its_name_and_the_reason(body, name, reason):
    found = only(parse("hermes", f"<tool_call>\n{body}\n</tool_call>"))
    assert (found.name, found.arguments, found.raw) == (name, None, body)
    assert reason in found.parse_error


def test_malformed_calls_keep_their_place():
    message = parse("hermes", f"<tool_call>oops</tool_call><tool_call>{A}</tool_call><tool_call>{{<tool_call>{A}")
    assert [call.arguments for call in message.tool_calls] == [None, {"x": 1}, None, None]
    assert [call.id for call in message.tool_calls] == [f"call_0_{index}" for index in range(4)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('"{\\"x\\": 1}"', {"x": 1}), ("null", {}), ('""', {}), ("{}", {})],
)
def test_arguments_may_be_encoded_twice_or_empty(arguments, expected):
    found = only(parse("hermes", f'<tool_call>{{"name": "a", "arguments": {arguments}}}</tool_call>'))
    assert found.arguments == expected
    assert found.parse_error is None


def test_parameters_is_another_word_for_arguments_but_arguments_comes_first():
    text = '<tool_call>{"name": "a", "parameters": {"x": 1}}</tool_call>'
    both = '<tool_call>{"name": "a", "parameters": {"x": 1}, "arguments": {"x": 2}}</tool_call>'
    assert runnable(parse("hermes", text)) == [("a", {"x": 1})]
    assert runnable(parse("hermes", both)) == [("a", {"x": 2})]


# --- reasoning ---------------------------------------------------------------------------------------------------

CALLING = {
    "hermes": f"<tool_call>{A}</tool_call>",
    "llama3": LLAMA_A,
    "mistral": '[TOOL_CALLS]a[ARGS]{"x": 1}',
    "pythonic": "[a(x=1)]",
    "react": 'Action: a\nAction Input: {"x": 1}',
}


@pytest.mark.parametrize("family", FORMATS)
@pytest.mark.parametrize(("opening", "closing"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_calls_in_reasoning_are_not_calls(family, opening, closing):
    inside = f"{opening}\n{CALLING[family]}\n{closing}"
    assert parse(family, f"{inside}done").tool_calls == ()
    assert parse(family, f"{inside}done").content == "done"
    assert parse(family, f"{opening}\n{CALLING[family]}") == Message(
        "assistant", reasoning=CALLING[family], raw=f"{opening}\n{CALLING[family]}"
    )
    assert runnable(parse(family, f"{inside}{CALLING[family]}")) == [("a", {"x": 1})]


@pytest.mark.parametrize("family", FORMATS)
def test_a_block_that_the_prompt_opened(family):
    text = f"{CALLING[family]}\n</think>\n{CALLING[family]}"
    known = parse(family, text, thinking=True)
    assert runnable(known) == [("a", {"x": 1})]
    assert known.reasoning == CALLING[family]
    assert parse(family, CALLING[family], thinking=True).tool_calls == ()


def test_an_end_of_reasoning_that_nobody_opened_takes_back_what_was_read_before():
    text = f"plan {CALLING['hermes']}</think>{CALLING['hermes']}"
    message = parse("hermes", text)
    assert message.reasoning == f"plan {CALLING['hermes']}"
    assert [call.id for call in message.tool_calls] == ["call_0_0"]
    again = parse("hermes", f"{CALLING['hermes']}</think>", thinking=True)
    assert again.tool_calls == ()
    closed = parse("hermes", f"<think>x</think>{CALLING['hermes']}</think>")
    assert runnable(closed) == [("a", {"x": 1})]


# --- llama3 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LLAMA_A, [("a", {"x": 1})]),
        (f"\n{LLAMA_A}<|eot_id|>", [("a", {"x": 1})]),
        (f"<|python_tag|>{LLAMA_A}<|eom_id|>", [("a", {"x": 1})]),
        (f"Let me see.<|python_tag|> {LLAMA_A}", [("a", {"x": 1})]),
        (f"{LLAMA_A}; {LLAMA_A};{LLAMA_A}", [("a", {"x": 1})] * 3),
        (f"<|python_tag|>{LLAMA_A}; <|python_tag|>{LLAMA_A}", [("a", {"x": 1})] * 2),
        ('{"type": "function", "name": "a", "parameters": {}}', [("a", {})]),
        (A, [("a", {"x": 1})]),
        (f"The call would be {LLAMA_A}", []),
    ],
)
def test_llama_calls(text, expected):
    assert runnable(parse("llama3", text)) == expected


def test_an_answer_in_json_is_an_answer():
    for text in ('{"population": 5}', '{"name": "Corrie", "age": 3}', '{"population": [1, 2} oops', "{"):
        message = parse("llama3", text)
        assert (message.content, message.tool_calls) == (text, ())


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ('{"name": "a", "parameters": {"x"', "a", "the call's JSON was not finished"),
        ('{"name": "a", "parameters": {x}}', "a", "invalid JSON"),
        ('{"function": "a", "parameters": {}}', "", "the call names no tool"),
        ('<|python_tag|>brave_search.call(query="x")', "", "the call is not a JSON object"),
        ('<|python_tag|>{"name": "a"}', "a", 'the call has no "arguments"'),
    ],
)
def test_llama_calls_that_are_malformed(text, name, reason):
    found = only(parse("llama3", text))
    assert (found.name, found.arguments) == (name, None)
    assert reason in found.parse_error


# --- mistral -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[TOOL_CALLS][{A}]</s>", [("a", {"x": 1})]),
        (f'[TOOL_CALLS] [{A}, {{"name": "b", "arguments": {{}}, "id": "abc123456"}}]', [("a", {"x": 1}), ("b", {})]),
        (f"[TOOL_CALLS] {A}", [("a", {"x": 1})]),
        ('[TOOL_CALLS]a[ARGS]{"x": 1}[TOOL_CALLS]b[ARGS]{}', [("a", {"x": 1}), ("b", {})]),
        ('[TOOL_CALLS]a[CALL_ID]abc123456[ARGS]{"x": 1}', [("a", {"x": 1})]),
        ('I look.[TOOL_CALLS]a{"x": 1}', [("a", {"x": 1})]),
        ('[TOOL_CALLS]a[ARGS]{"x": "[TOOL_CALLS]b[ARGS]{}"}', [("a", {"x": "[TOOL_CALLS]b[ARGS]{}"})]),
        ('[TOOL_CALLS]a[ARGS]{"x": "[TOOL_CALLS]b[ARGS]{}', []),
        ('[TOOL_CALLS][{"name": "a", "arguments": {"x": "[TOOL_CALLS]b[ARGS]{}', []),
        ('[TOOL_CALLS] {"name": "a", "arguments": {"x": "[TOOL_CALLS]b[ARGS]{}', []),
        (f'[TOOL_CALLS][{A}, {{"name": "b', [("a", {"x": 1})]),
        ("[TOOL_CALLS]what[TOOL_CALLS]b[ARGS]{}", [("b", {})]),
    ],
)
def test_mistral_calls(text, expected):
    assert runnable(parse("mistral", text)) == expected


@pytest.mark.parametrize(
    ("text", "names", "reason"),
    [
        ('[TOOL_CALLS]a[ARGS]{"x": ', ["a"], "the arguments' JSON was not finished"),
        ("[TOOL_CALLS]a[ARGS]{x}[TOOL_CALLS]", ["a", ""], "the arguments are invalid JSON"),
        ("[TOOL_CALLS]a[ARGS]", [""], "no call follows [TOOL_CALLS]"),
        ("[TOOL_CALLS][1]", [""], "the array of calls is not valid JSON"),
        (f"[TOOL_CALLS][{A} {A}]", ["a", "a"], None),
    ],
)
def test_mistral_calls_that_are_malformed(text, names, reason):
    message = parse("mistral", text)
    assert [call.name for call in message.tool_calls] == names
    assert message.tool_calls[-1].arguments is None
    if reason:
        assert reason in message.tool_calls[0].parse_error


# --- react -------------------------------------------------------------------------------------------------------

TOOLS = (Tool("a", "Adds.", {"type": "object", "properties": {"x": {"type": "integer"}}}),)


def test_react_reads_one_action_and_nothing_behind_it():
    text = 'Thought: I add.\nAction: a\nAction Input: {"x": 1}\nObservation: 7\nThought: so\nAnswer: 7'
    message = parse("react", text)
    assert message.content == "Thought: I add."
    assert runnable(message) == [("a", {"x": 1})]


def test_a_react_answer_ends_the_conversation():
    text = "Thought: done.\nAnswer: 7\nAction: a\nAction Input: {}"
    message = parse("react", text)
    assert (message.content, message.tool_calls) == (text, ())


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("Action: a", "a", "no line `Action Input:`"),
        ("Action: a\nAction Input:", "a", "the action input is not a JSON object"),
        ("Action: a\nAction Input: Corrie", "a", "the action input is not a JSON object"),
        ('Action: a\nAction Input: {"x": 1', "a", "was not finished"),
        ("Action: a\nAction Input: {x}", "a", "the action input is invalid JSON"),
        ("Action:\nAction Input: {}", "", "the call names no tool"),
    ],
)
def test_react_actions_that_are_malformed(text, name, reason):
    found = only(parse("react", text))
    assert (found.name, found.arguments, found.raw) == (name, None, text)
    assert reason in found.parse_error


def test_react_turns_a_conversation_into_plain_text():
    react = FORMATS["react"]
    said = react.parse('Thought: I add.\nAction: a\nAction Input: {"x": 1}')
    torn = react.parse("Action: a\nAction Input: one")
    plain = react.converse(
        [
            Message("system", "Be brief."),
            Message("user", "One?"),
            said,
            Message("tool", "7", tool_call_id="call_0_0"),
            torn,
            Message("tool", "an error"),
            Message("tool", "another"),
            Message("assistant", "Answer: 7"),
        ],
        TOOLS,
    )
    assert [(message.role, message.content) for message in plain[1:]] == [
        ("user", "One?"),
        ("assistant", said.raw),
        ("user", "Observation: 7"),
        ("assistant", torn.raw),
        ("user", "Observation: an error\nObservation: another"),
        ("assistant", "Answer: 7"),
    ]
    assert not any(message.tool_calls for message in plain)
    assert plain[0].role == "system"
    assert plain[0].content.startswith("Be brief.\n\n")
    assert '{"name": "a", "description": "Adds."' in plain[0].content
    assert react.converse([Message("user", "One?")], TOOLS)[0].role == "system"
    assert react.converse([Message("user", "One?")], ()) == [Message("user", "One?")]


def test_the_others_leave_the_conversation_to_the_template():
    assert [name for name, family in FORMATS.items() if family.converse([], TOOLS) is None] == [
        "hermes",
        "llama3",
        "mistral",
        "pythonic",
    ]


# --- which format ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.jinja")), ids=lambda path: path.stem)
def test_the_format_of_every_template_that_trl_ships(path):
    family = path.stem.removesuffix("_training")
    template = path.read_text(encoding="utf-8")
    if family in WITHOUT_TOOLS:
        assert choose_format(template).name == "react"
    elif family in KNOWN:
        assert choose_format(template).name == KNOWN[family]
    else:
        with pytest.raises(UsageError, match="--model-arg format=NAME, or reach the model through a vLLM server"):
            choose_format(template)


def test_what_decides_is_the_variable_and_not_the_word():
    assert choose_format("{{ 'You have no tools.' }}{% for m in messages %}{{ m.tools }}{% endfor %}").name == "react"
    assert choose_format("tools {{ '[TOOL_CALLS] }} {{' }}{{ messages }}").name == "react"
    assert (
        choose_format("{% if tools %}{{ '[AVAILABLE_TOOLS]' + tools|string }}{% endif %}[TOOL_CALLS]").name == "mistral"
    )
    assert choose_format("{{ '}}' + (tools | tojson) }}[TOOL_CALLS]").name == "mistral"


def test_an_override_decides_alone():
    assert choose_format(None, "mistral").name == "mistral"
    assert choose_format("{{ tools }}", "react").name == "react"
    takes = r"--model-arg format=NAME takes one of hermes, llama3, mistral, pythonic, react\.$"
    with pytest.raises(UsageError, match=rf"no tool format 'lama3'\. Did you mean llama3\? {takes}"):
        choose_format(None, "lama3")
    with pytest.raises(UsageError, match=rf"no tool format 'zzz'\. {takes}"):
        choose_format(None, "zzz")
    with pytest.raises(UsageError, match=r"no chat template.*hermes, llama3, mistral, pythonic, react"):
        choose_format(None)


# --- a server's calls beside ours --------------------------------------------------------------------------------


def test_equal_calls_have_no_differences():
    ours = [call("a", {"x": 1, "y": [True, None, {"z": "é"}]})]
    theirs = [ToolCall("other", "a", {"y": [True, None, {"z": "é"}], "x": 1.0}, "{}")]
    twice = [ToolCall("other", "a", None, '"{\\"x\\": 1, \\"y\\": [true, null, {\\"z\\": \\"é\\"}]}"', "not an object")]
    assert find_difference(ours, theirs) is None
    assert find_difference(ours, twice) is None
    assert find_difference([call("a", None)], [call("a", None)]) is None
    assert find_difference([], []) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        ([call("a", {})], [], "the server parsed 0 calls where the text has 1 call (a)"),
        ([call("a", None)], [], "the server parsed 0 calls where the text has 1 call (a (malformed))"),
        ([call("a", {})], [call("b", {})], "the server parsed call 0 as 'b' where the text has 'a'"),
        ([call("a", {"x": 1})], [call("a", {"x": True})], "the server parsed other arguments of call 0 (a)"),
        ([call("a", {"x": [1]})], [call("a", {"x": [1, 2]})], "the server parsed other arguments of call 0 (a)"),
        ([call("a", {"x": 1})], [call("a", {"y": 1})], "the server parsed other arguments of call 0 (a)"),
        ([call("a", {})], [call("a", None)], "the server parsed other arguments of call 0 (a)"),
    ],
)
def test_differences_are_one_sentence(ours, theirs, sentence):
    assert find_difference(ours, theirs).startswith(sentence)


# --- the paper's way ---------------------------------------------------------------------------------------------


def test_what_the_papers_reward_takes_for_a_stray_tag():
    assert parse_paper("<tool_call>oops</tool_call>").stray_tag
    assert parse_paper("</tool_call>").stray_tag
    assert not parse_paper("no tags").stray_tag
    assert not parse_paper(f"<tool_call>{A}</tool_call><tool_call>oops").stray_tag


def test_the_paper_counts_calls_that_cannot_run():
    reply = parse_paper('<tool_call>{"name": "a", "arguments": "[1]"}', turn=2)
    assert reply.record()["tool_calls"] == [{"name": "a", "arguments": "[1]"}]
    assert (only(reply.message).id, only(reply.message).arguments) == ("call_2_0", None)
    assert only(parse_paper('<tool_call>{"name": "a", "arguments": {"x": NaN}}').message).arguments is None


def test_end_tokens_are_taken_off_before_the_reward_reads():
    assert without_end_tokens(" done <|im_end|>\n<|endoftext|> ") == "done"
    assert without_end_tokens("done<|endoftext|><|im_end|>") == "done<|endoftext|>"
