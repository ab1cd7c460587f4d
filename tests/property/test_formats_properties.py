"""What holds of every text: no parser raises, what was rendered is read back, and a cut reply runs nothing new."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.arguments import parse_json_object
from harness.formats import FORMATS
from harness.formats.paper import parse_paper
from harness.formats.parsing import find_reasoning_end
from harness.types import ToolCall

TAGS = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "<|python_tag|>", "<|im_end|>", "<|eot_id|>", "</s>", "Action:", "Action Input:", "Observation:", "Answer:",
)  # fmt: skip
PIECES = (
    *TAGS, '{"name": "a", "arguments": {"x": 1}}', '{"name": "a", "parameters": {}}', '"name"', '"arguments"', ":", "{",
    "}", "[", "]", '"', "\\", ";", ",", "\n", " ", "é", "\ud800", "NaN", "1e999", "null", "[" * 200, '\\ud800', "a",
)  # fmt: skip
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,20}", fullmatch=True)
strings = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from([piece for piece in PIECES if piece != "\ud800"]), max_size=4).map("".join),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), strings
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3), max_leaves=8
)
arguments = st.dictionaries(strings, values, max_size=4)
calls = st.builds(
    lambda name, fields: ToolCall("", name, fields, json.dumps(fields, ensure_ascii=False)), names, arguments
)
families = st.sampled_from(sorted(FORMATS))
prose = st.text(st.sampled_from("ab é\n.,"), max_size=12)


def pairs(message):
    return [(call.name, call.arguments) for call in message.tool_calls]


def runnable(message):
    return [(call.name, json.dumps(call.arguments)) for call in message.tool_calls if call.arguments is not None]


@st.composite
def replies(draw, family):
    """What a model of a family might write: reasoning, prose, calls, and calls that are torn or nonsense."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        rendered = FORMATS[family].render(draw(st.lists(calls, min_size=1, max_size=2)))
        cut = draw(st.integers(0, len(rendered)))
        parts.append(
            draw(
                st.sampled_from(
                    [rendered, rendered[:cut], f"<think>{draw(prose)}{rendered}</think>", "<think></think>"]
                )
            )
        )
        parts.append(draw(prose))
    return "".join(parts)


@st.composite
def mutated(draw, family):
    """A reply with pieces doubled, dropped, or put somewhere else."""
    text = draw(replies(family))
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        at = draw(st.integers(0, len(text)))
        inserted = draw(st.sampled_from([text[start:end], *PIECES]))
        text = draw(st.sampled_from([text[:start] + text[end:], text[:at] + inserted + text[at:]]))
    return text


texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join), families.flatmap(mutated))


@settings(max_examples=100, deadline=None)
@given(families, texts, st.booleans())
def test_no_parser_raises_and_every_message_can_be_written(family, text, thinking):
    message = FORMATS[family].parse(text, 1, thinking=thinking)
    assert message.role == "assistant"
    assert [call.id for call in message.tool_calls] == [f"call_1_{index}" for index in range(len(message.tool_calls))]
    for call in message.tool_calls:
        assert (call.arguments is None) == (call.parse_error is not None)
        assert call.arguments is None or (call.name.strip() and parse_json_object(call.raw) == call.arguments)
    written = [message.content, message.reasoning or "", message.raw]
    written += [part for call in message.tool_calls for part in (call.name, call.raw, call.parse_error or "")]
    written.append(json.dumps([call.arguments for call in message.tool_calls], ensure_ascii=False, allow_nan=False))
    for part in written:
        part.encode()
    FORMATS[family].render(message.tool_calls)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_the_papers_rule_never_raises(text):
    reply = parse_paper(text)
    assert json.loads(json.dumps(reply.record()))["role"] == "assistant"
    json.dumps([call.arguments for call in reply.message.tool_calls], allow_nan=False)


@pytest.mark.parametrize("family", sorted(FORMATS))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_was_rendered_is_read_back(family, data):
    made = data.draw(st.lists(calls, min_size=1, max_size=1 if family == "react" else 3))
    message = FORMATS[family].parse(FORMATS[family].render(made))
    assert pairs(message) == [(call.name, call.arguments) for call in made]
    assert (message.content, message.reasoning) == ("", None)


@pytest.mark.parametrize("family", sorted(FORMATS))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_cut_reply_runs_only_what_the_whole_reply_runs(family, data):
    whole = data.draw(st.one_of(replies(family), mutated(family))).encode("utf-8", "replace")
    thinking = data.draw(st.booleans())
    errors = data.draw(st.sampled_from(["ignore", "replace"]))
    parse = FORMATS[family].parse
    all_of_it = parse(whole.decode(), thinking=thinking)
    if not thinking and unopened(all_of_it, whole.decode()):
        return  # the one exception: nobody said that the prompt had opened the block
    for at in {data.draw(st.integers(0, len(whole))) for _ in range(12)}:
        cut = runnable(parse(whole[:at].decode("utf-8", errors), thinking=thinking))
        assert cut == runnable(all_of_it)[: len(cut)]


@pytest.mark.parametrize("family", sorted(FORMATS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_call_runs_only_when_its_last_byte_was_written(family, data):
    whole = FORMATS[family].render([data.draw(calls)]).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    assert runnable(FORMATS[family].parse(whole[:at].decode("utf-8", "replace"))) == []
    assert len(runnable(FORMATS[family].parse(whole.decode()))) == 1


def unopened(message, text):
    """Whether the reply's reasoning began without a tag: the text up to the first end of a block is reasoning."""
    ends = [text.find(tag) for tag in ("</think>", "[/THINK]") if tag in text]
    return any((message.reasoning or "").startswith(text[:end].strip()) for end in ends)


@pytest.mark.parametrize("family", sorted(FORMATS))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_calls_inside_reasoning_are_never_returned(family, data):
    plain = st.builds(lambda name: ToolCall("", name, {}, "{}"), names)
    inside = FORMATS[family].render(data.draw(st.lists(plain, min_size=1, max_size=2)))
    outside = data.draw(st.lists(plain, max_size=1))
    opening, closing = data.draw(st.sampled_from([("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("", "</think>")]))
    text = f"{opening}\n{inside}\n{closing}{FORMATS[family].render(outside)}"
    message = FORMATS[family].parse(text, thinking=not opening)
    assert pairs(message) == [(call.name, call.arguments) for call in outside]


@pytest.mark.parametrize("family", sorted(FORMATS))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_up_to_the_end_of_the_reasoning_nothing_is_said(family, data):
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=8)))
    thinking = data.draw(st.booleans())
    closed, end = find_reasoning_end(text, thinking)
    before, whole = (FORMATS[family].parse(part, thinking=thinking) for part in (text[:end], text))
    assert (before.content, before.tool_calls) == ("", ())
    assert text[end:] == text[end:].lstrip()
    if closed is None:
        assert (before, whole.tool_calls) == (whole, ())
    opened = thinking or text.lstrip().startswith(("<think>", "[THINK]"))
    assert (closed != 0) == opened
    if opened:
        assert (whole.reasoning or "").startswith(before.reasoning or "")


@given(prose, prose, st.sampled_from([("<think>", "</think>"), ("[THINK]", "[/THINK]")]), st.integers(1, 3))
def test_the_end_of_the_reasoning_is_where_the_rest_begins(thought, space, tags, blocks):
    space = "".join(character for character in space if character.isspace())
    text = space.join([f"{tags[0]}{thought}{tags[1]}"] * blocks)
    assert find_reasoning_end(f"{space}{text}{space}said", thinking=False) == (
        len(space + text),
        len(space + text + space),
    )
    opened = text.removeprefix(tags[0])
    assert find_reasoning_end(f"{opened}{space}said", thinking=True) == (len(opened), len(opened + space))
    assert find_reasoning_end(f"{text}{space}{tags[0]}{thought}", thinking=False)[0] is None
