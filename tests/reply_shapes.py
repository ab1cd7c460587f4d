"""Replies of every API with a call somewhere in them: the union of what servers send, whole and as streams.

A body is drawn with its call in one place; everything around it is as odd as servers make it. `events_of_*` make a
stream of a body, in one of the styles in which servers stream, with the place at which it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from call_shapes import ARGUMENTS, KEY, TOOLS, as_json, replies
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Stream = tuple[list[Any], int]
"""The events, and how many of them make a whole reply."""

ABSENT = object()
NOTHING = st.sampled_from([ABSENT, None, "", [], "I look.", [{"type": "text", "text": "I look."}], {}, 0, False])
EMPTY = st.sampled_from([ABSENT, None, "", []])
IDS = st.sampled_from([ABSENT, None, "", "c1", "c2", 7])
NAMES = st.sampled_from([*TOOLS, "nosuch", "", None, 5])
USAGES = st.sampled_from([None, {}, "", 3, {"prompt_tokens": "5", "input_tokens": [], "output_tokens": -1}])
ENDS = st.sampled_from(["stop", "tool_calls", "length", "eos_token", "", None, ABSENT, 3])
GIVEN = st.one_of(
    ARGUMENTS.map(json.dumps),
    ARGUMENTS,
    ARGUMENTS.map(lambda given: json.dumps(json.dumps(given))),
    ARGUMENTS.map(lambda given: json.dumps(given)[:-1]),
    st.sampled_from([None, "", "{}", [], [1], 7, "town=Corrie", ABSENT]),
)
FOREIGN = st.sampled_from(
    [
        f"<function=find>\n<parameter={KEY}>\nCorrie\n</parameter>\n</function>",
        f"<tool_call>find\n<arg_key>{KEY}</arg_key>\n<arg_value>Corrie</arg_value>\n</tool_call>",
        "<|channel|>commentary to=functions.find <|constrain|>json<|message|>{}<|call|>",
        "<｜tool▁call▁begin｜>find<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        f"<|tool_call|>[{as_json('find', {KEY: 'Corrie'})}]",
        f"```json\n{{'tool_calls': [{{'name': 'find', 'arguments': {{'{KEY}': 'Corrie'}}}}]}}\n```",
    ]
)
TEXTS = st.one_of(replies(), FOREIGN)
LOST = st.sampled_from(
    [
        {"finish_reason": "tool_calls"},
        {"finish_reason": "TOOL_CALL"},
        {"finish_reason": "function_call"},
        {"finish_reason": "MALFORMED_FUNCTION_CALL"},
        {"finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"},
        {"finish_reason": "error", "native_finish_reason": "MALFORMED_FUNCTION_CALL"},
        {"finish_reason": "stop", "native_finish_reason": "tool_use"},
        {"finish_reason": "UNEXPECTED_TOOL_CALL"},
        {"finish_reason": "error"},
        {"finish_reason": "stop", "error": {"message": "busy", "code": "503"}},
    ]
)


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}


def text_content(draw: Draw) -> Any:
    text = draw(TEXTS)
    part = {"type": "text", "text": text}
    return draw(st.sampled_from([text, [part], [text], part, [{"type": "text", "text": ""}, part]]))


# --- chat completions ----------------------------------------------------------------------------------------------


def function(draw: Draw) -> dict[str, Any]:
    return {"name": draw(NAMES), **present({"arguments": draw(GIVEN)})}


def chat_call(draw: Draw) -> Any:
    called = function(draw)
    flat = draw(st.integers(0, 4)) == 0
    kind = draw(st.sampled_from(["function", None, ABSENT]))
    inside = called if flat else {"function": called}
    return present({"id": draw(IDS), "type": kind, **inside}) if draw(st.integers(0, 19)) else "find"


def call_part(draw: Draw) -> Any:
    called = function(draw)
    name, given = called["name"], called.get("arguments")
    shapes = (
        {"type": "tool_use", "id": "c1", "name": name, "input": given},
        {"type": "tool-call", "name": name, "arguments": given},
        {"functionCall": {"name": name, "args": given}},
        {"toolUse": {"toolUseId": "c1", "name": name, "input": given}},
        {"type": "function", "function": called},
    )
    return draw(st.sampled_from(shapes))


def holding_choice(draw: Draw) -> tuple[str, dict[str, Any]]:
    """A choice with a call, and the place where it is."""
    place = draw(
        st.sampled_from(["calls", "calls", "one", "old", "choice", "part", "text", "refusal", "thought", "end"])
    )
    message = {"role": "assistant", "content": draw(NOTHING), "tool_calls": draw(EMPTY), "function_call": None}
    more: dict[str, Any] = {"finish_reason": draw(ENDS)}
    match place:
        case "calls":
            message["tool_calls"] = [chat_call(draw) for _ in range(draw(st.integers(1, 2)))]
        case "one":
            message["tool_calls"] = chat_call(draw)
        case "old":
            message["function_call"] = function(draw)
        case "choice":
            more["tool_calls"] = [chat_call(draw)]
        case "part":
            message["content"] = [{"type": "text", "text": "I look."}, call_part(draw)]
        case "text":
            message["content"] = text_content(draw)
        case "refusal":
            message |= {"content": draw(EMPTY), "refusal": draw(TEXTS)}
        case "thought":
            field = draw(st.sampled_from(["reasoning", "reasoning_content"]))
            message |= {"content": draw(EMPTY), field: draw(TEXTS)}
            more = {"finish_reason": "stop"}
        case "end":
            more = draw(LOST)
            message = draw(st.sampled_from([message, None, ABSENT]))
    body = {"index": draw(st.sampled_from([0, 1, None])), "message": message, **more}
    body["message"] = present(message) if isinstance(message, dict) else message
    return place, present(body)


def silent_choice(draw: Draw) -> Any:
    said = {"role": "assistant", "content": draw(NOTHING), "tool_calls": draw(EMPTY)}
    choice = {"index": 0, "message": present(said), "finish_reason": draw(st.sampled_from(["stop", None]))}
    return draw(st.sampled_from([choice, choice, choice, None]))


@st.composite
def completions(draw: Draw) -> dict[str, Any]:
    place, held = holding_choice(draw)
    others = st.integers(0, 0 if place in ("thought", "end") else 1)
    before, after = ([silent_choice(draw) for _ in range(draw(others))] for _ in range(2))
    error = draw(st.sampled_from([ABSENT, None, {}, ""]))
    return present({"choices": [*before, held, *after], "usage": draw(USAGES), "error": error})


@st.composite
def completion_streams(draw: Draw, body: dict[str, Any]) -> Stream:
    """The same completion in chunks. Choices have an index of their own, as in any stream."""
    sent: list[Any] = [{"choices": [], "prompt_filter_results": []}]
    ends: list[dict[str, Any]] = []
    for index, choice in enumerate(one for one in body["choices"] if isinstance(one, dict)):
        message = choice.get("message") or {}
        more = {name: value for name, value in choice.items() if name not in ("message", "index", "finish_reason")}
        reason = {"finish_reason": choice.get("finish_reason") or "stop"}
        if draw(st.integers(0, 5)) == 0:  # one chunk with everything
            ends.append({"index": index, "message": message, **more, **reason})
            continue
        sent += [{"choices": [{"index": index, "delta": delta}]} for delta in deltas_of(draw, message)]
        ends.append({"index": index, "delta": draw(st.sampled_from([{}, None])), **more, **reason})
    sent += [{"choices": [end]} for end in ends]
    # A choice that has not begun is not missed: it is torn for sure before the first that ends.
    return [*sent, {"choices": [], "usage": body.get("usage")}], len(sent) - len(ends) + 1


def deltas_of(draw: Draw, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name, value in message.items():
        if name == "tool_calls" and isinstance(value, list):
            deltas += [{"tool_calls": [piece]} for at, one in enumerate(value) for piece in pieces_of(draw, one, at)]
        elif name == "function_call" and isinstance(value, dict):
            deltas += [{name: piece["function"]} for piece in pieces_of(draw, {"function": value}, 0)]
        elif name != "role" and isinstance(value, str):
            deltas += [{name: value[at : at + 7]} for at in range(0, len(value), 7)]
        elif name != "role":
            deltas.append({name: value})
    return deltas


def pieces_of(draw: Draw, one: Any, at: int) -> list[Any]:
    """A call whole or in pieces, with index or without, with id and name once or in every piece."""
    function = one.get("function") if isinstance(one, dict) else None
    written = function.get("arguments") if isinstance(function, dict) else None
    place = draw(st.sampled_from([{"index": at}, {"index": at}, {}, {"index": 0}]))
    if not isinstance(written, str) or not isinstance(function["name"], str) or draw(st.booleans()):
        return [{**place, **one} if isinstance(one, dict) else one]
    ids = {"id": one["id"]} if "id" in one else {}
    more = draw(st.sampled_from([{}, ids, {"id": ""}]))
    named = draw(st.sampled_from([{}, {"name": function["name"]}, {"name": None}]))
    cut = [written[start : start + 5] for start in range(0, len(written), 5)]
    first = {**place, **ids, "type": "function", "function": {"name": function["name"], "arguments": ""}}
    return [first, *({**place, **more, "function": {**named, "arguments": piece}} for piece in cut)]


# --- Anthropic's messages ------------------------------------------------------------------------------------------


@st.composite
def messages(draw: Draw) -> dict[str, Any]:
    place = draw(st.sampled_from(["use", "use", "part", "text", "thought", "end"]))
    said = draw(st.sampled_from([[], [{"type": "text", "text": "I look."}], [{"type": "thinking", "thinking": "Hm."}]]))
    end = draw(st.sampled_from(["end_turn", "tool_use", "max_tokens", "stop_sequence"]))
    match place:
        case "use":
            given = present({"input": draw(GIVEN)})
            said = [*said, {"type": "tool_use", **present({"id": draw(IDS)}), "name": draw(NAMES), **given}]
        case "part":
            said = [*said, call_part(draw)]
        case "text":
            said = [{"type": "text", "text": draw(TEXTS)}]
        case "thought":
            said, end = [{"type": "thinking", "thinking": draw(TEXTS), "signature": "s"}], "end_turn"
        case "end":
            end = draw(st.sampled_from(["tool_use", "malformed_tool_use"]))
    return {"type": "message", "role": "assistant", "content": said, "stop_reason": end, "usage": draw(USAGES)}


@st.composite
def message_streams(draw: Draw, body: dict[str, Any]) -> Stream:
    begun = {**body, "content": [], "stop_reason": None}
    sent: list[Any] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    numbered = draw(st.booleans())
    for at, block in enumerate(body["content"]):
        place = {"index": at} if numbered else {}
        empty, deltas = grown(draw, block)
        sent.append({"type": "content_block_start", **place, "content_block": empty})
        sent += [{"type": "content_block_delta", **place, "delta": delta} for delta in deltas]
        sent.append({"type": "content_block_stop", **place})
    sent.append({"type": "message_delta", "delta": {"stop_reason": body["stop_reason"]}, "usage": body["usage"]})
    return [*sent, {"type": "message_stop"}], len(sent)


def grown(draw: Draw, block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and its deltas; some send it whole."""
    kind, given = block.get("type"), block.get("input")
    if draw(st.integers(0, 3)) == 0:
        return block, []
    if kind == "tool_use" and isinstance(given, dict | str):
        text = given if isinstance(given, str) else json.dumps(given)
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    if kind in ("text", "thinking"):
        pieces = [block[kind][at : at + 7] for at in range(0, len(block[kind]), 7)]
        return {**block, kind: ""}, [{"type": f"{kind}_delta", kind: piece} for piece in pieces]
    return block, []


# --- Responses -----------------------------------------------------------------------------------------------------


@st.composite
def responses(draw: Draw) -> dict[str, Any]:
    place = draw(st.sampled_from(["item", "item", "part", "text", "refusal", "thought", "end"]))
    said: list[Any] = [draw(st.sampled_from([{"type": "reasoning", "summary": []}, None, {"type": "message"}]))]
    more: dict[str, Any] = {"status": draw(st.sampled_from(["completed", None, "incomplete"]))}
    match place:
        case "item":
            kind = draw(st.sampled_from(["function_call", "function_call", "custom_tool_call", "tool_call"]))
            given = present({"call_id": draw(IDS), "arguments": draw(GIVEN)})
            said.append({"type": kind, "id": "fc_1", "name": draw(NAMES), **given})
        case "part":
            said.append({"type": "message", "content": draw(st.sampled_from([[call_part(draw)], call_part(draw)]))})
        case "text":
            text = draw(TEXTS)
            part = {"type": draw(st.sampled_from(["output_text", "text"])), "text": text}
            said.append({"type": "message", "content": draw(st.sampled_from([text, [part], part]))})
        case "refusal":
            said.append({"type": "message", "content": [{"type": "refusal", "refusal": draw(TEXTS)}]})
        case "thought":
            thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": draw(TEXTS)}]}
            said, more = [thought], {"status": "completed"}
        case "end":
            more = {"status": "incomplete", "incomplete_details": {"reason": "malformed_function_call"}}
    return {"object": "response", "output": said, "error": None, "usage": draw(USAGES), **more}


@st.composite
def response_streams(draw: Draw, body: dict[str, Any]) -> Stream:
    sent: list[Any] = [{"type": "response.created", "response": {**body, "output": []}}]
    numbered, whole = draw(st.booleans()), draw(st.booleans())
    for at, item in enumerate(one for one in body["output"] if isinstance(one, dict)):
        place = {"output_index": at} if numbered else {}
        given = item.get("arguments")
        in_pieces = not whole and isinstance(given, str)
        if in_pieces:
            sent.append({"type": "response.output_item.added", **place, "item": {**item, "arguments": ""}})
            kind = "response.function_call_arguments.delta"
            pieces = [given[start : start + 5] for start in range(0, len(given), 5)]
            sent += [{"type": kind, **place, "item_id": item.get("id"), "delta": piece} for piece in pieces]
        if not in_pieces or draw(st.booleans()):
            sent.append({"type": "response.output_item.done", **place, "item": item})
    kind = "incomplete" if body["status"] == "incomplete" else "completed"
    last = {**body, "output": body["output"] if whole else draw(st.sampled_from([[], None]))}
    return [*sent, {"type": f"response.{kind}", "response": last}], len(sent) + 1
