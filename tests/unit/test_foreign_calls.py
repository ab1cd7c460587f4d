"""Calls in formats that are not read here are seen; what only looks like one is not."""

import pytest
from call_shapes import MENTIONS, PROSE, TOOLS

from harness.formats.foreign import find_foreign_call

GIVEN = '{"town": "Corrie"}'
TAGS = "<parameter=town>\nCorrie\n</parameter>\n</function>"
INVOKED = '<invoke name="find">\n<parameter name="town">Corrie</parameter>\n</invoke>'
JSON = f'[{{"name": "find", "arguments": {GIVEN}}}]'
SEEN = [
    ("qwen3_coder", f"<tool_call>\n<function=find>\n{TAGS}\n</tool_call>"),
    ("qwen3_coder", f"<function=find>\n{TAGS}"),
    ("seed_oss", f"<seed:tool_call><function=find>{TAGS}</seed:tool_call>"),
    ("", f"<function=find>{GIVEN}</function>"),
    ("glm45", "<tool_call>find\n<arg_key>town</arg_key>\n<arg_value>Corrie</arg_value>\n</tool_call>"),
    ("deepseek_v3", f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>find\n```json\n{GIVEN}\n```"),
    ("deepseek_v31", f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find<｜tool▁sep｜>{GIVEN}<｜tool▁call▁end｜>"),
    ("deepseek_v32", '<｜DSML｜function_calls>\n<｜DSML｜invoke name="find">'),
    ("kimi_k2", f"<|tool_call_begin|>functions.find:0<|tool_call_argument_begin|>{GIVEN}<|tool_call_end|>"),
    ("openai", f"<|channel|>commentary to=functions.find <|constrain|>json<|message|>{GIVEN}<|call|>"),
    ("minimax_m2", f"<minimax:tool_call>\n{INVOKED}\n</minimax:tool_call>"),
    ("", f"<function_calls>\n{INVOKED}\n</function_calls>"),
    ("granite", f"<|tool_call|>{JSON}"),
    ("jamba", f"<tool_calls>{JSON}</tool_calls>"),
    ("internlm", f'<|action_start|><|plugin|>{{"name": "find", "parameters": {GIVEN}}}<|action_end|>'),
    ("functiongemma", "<start_function_call>call:find{town:<escape>Corrie<escape>}<end_function_call>"),
    ("", f"<TOOLCALL>{JSON}</TOOLCALL>"),
    ("", f'Action: ```json\n[{{"tool_name": "find", "parameters": {GIVEN}}}]\n```'),
    ("", f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "find", "parameters": {GIVEN}}}]'),
    ("", "```tool_code\nprint(find(town='Corrie'))\n```"),
    ("", "print(default_api.find(town='Corrie'))"),
    ("", "<|python_tag|>find.call(town='Corrie')"),
    ("", f">>>find\n{GIVEN}"),
    ("", "<tool>find</tool>"),
    ("", f'{{"tool_calls": [{{"id": "x", "type": "function", "function": {JSON[1:-1]}}}]}}'),
    ("", f'I look.\n{{"tool": "find", "arguments": {GIVEN}}}'),
    ("", f'{{"action": "find", "action_input": {GIVEN}}}'),
    ("", "{'name': 'find', 'arguments': {'town': 'Corrie'}}"),
]


@pytest.mark.parametrize(("name", "text"), SEEN)
def test_each_format_is_seen_by_its_mark_and_a_tool_that_there_is(name, text):
    assert find_foreign_call(text, TOOLS) == name
    assert find_foreign_call(f"I look it up.\n\n{text}", TOOLS) == name
    assert find_foreign_call(text, ["population"]) is None
    assert find_foreign_call(f"<think>{text}</think> There are 5.", TOOLS) is None


@pytest.mark.parametrize("before", PROSE)
def test_prose_holds_none(before):
    assert not [text for text in (*PROSE, *MENTIONS) if find_foreign_call(f"{before}\n{text}", TOOLS)]
