"""Environment records: from a row of a data file to a Sample, with every field checked.

The format is the paper's released one (`tools`, `codes` and `unsolved_set` as JSON strings or as JSON) plus id, world,
sub_questions and gold_calls. A record that does not fit is a UsageError that names file, line and field; code is
parsed here, never run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from harness.data import jsonio
from harness.data.arguments import count_values, is_deeper_than
from harness.data.bundled_sources import is_bundled
from harness.data.files import read_rows
from harness.data.limits import raise_by, read_limits
from harness.data.messages import message_from_json
from harness.data.schema import MessageJSON
from harness.data.source import defines_function, no_collection
from harness.errors import MissingData, UsageError
from harness.types import Gold, GoldCall, Message, Sample, Tool

REQUIRED = ("messages", "tools", "codes", "unsolved_set")
TEXTS = ("world", "data_source", "split")
JSON_FIELDS = (*REQUIRED, *TEXTS, "gold_calls", "sub_questions", "checks", "state", "calls", "sub_answers")
DEEPEST = 100
"""Levels of lists and objects in a field: tools have 10, a call with arguments 66. What handles them later recurses."""
LENGTH_OF_ITEM, LENGTH_OF_TOOL, VALUES_OF_ITEM = 400, 800, 20
"""Characters of a sub-answer and of a tool, values of a parameter's schema: on average, where there are as many as may
be."""
ROLES = ("system", "user", "assistant", "tool")
KINDS = {dict: "object", list: "array", (dict, list): "object or array"}
Reader = Callable[[Any, int, str], Sample]
"""From a row, its 0-based place and its name in errors to a sample."""


def read_samples(
    path: Path, name: str | None = None, read: Reader | None = None, known: str | None = None
) -> list[Sample]:
    """All samples of a file, each made by `read` (default: sample_from_record). Raises MissingData where there is no
    file, UsageError where one cannot be used. `known`: the SHA-256 of a file that was checked when it was bundled, so
    that the code in that one, and in no other, is not parsed again."""
    if not path.is_file():
        raise MissingData(f"{name or 'The task'} looked for its data at {path}, where there is no file.")
    read = read or partial(sample_from_record, parse=known is None or sha256(path.read_bytes()).hexdigest() != known)
    with no_collection(), closing(read_rows(path)) as rows:
        samples = [read(record, line, f"{path}, record {line + 1}") for line, record in enumerate(rows)]
    if not samples:
        raise UsageError(f"{path} holds no records.")
    lines: dict[str, int] = {}
    for line, sample in enumerate(samples):
        if sample.id in lines:
            raise UsageError(f"{path}: records {lines[sample.id] + 1} and {line + 1} share the id {sample.id!r}.")
        lines[sample.id] = line
    return samples


def sample_from_record(record: Any, line: int, where: str, parse: bool = True) -> Sample:
    """A checked Sample. `line` is the 0-based row, `where` names the record in errors; `parse`: whether its code is
    looked at, too."""
    if not isinstance(record, dict):
        raise UsageError(f"{where} is not a JSON object.")
    for name in REQUIRED:
        if record.get(name) is None:
            raise UsageError(f"{where} has no field {name!r}.")
    _refuse_unwritable(record, where)
    refuse_too_many(record.get("sub_questions"), "sub-questions", where)
    codes = _codes(decode_field(record, "codes", where, dict), where, parse)
    tools = _tools(decode_field(record, "tools", where, list), where)
    for tool in tools:
        if tool.name not in codes:
            raise UsageError(f"{where}: the tool {tool.name!r} has no code.")
    return Sample(
        id=str(line) if record.get("id") is None else str(record["id"]),
        messages=tuple(_message(message, where) for message in decode_field(record, "messages", where, list)),
        tools=tools,
        codes=codes,
        gold=_gold(record, codes, where),
        metadata={
            "line": line,
            **{name: record[name] for name in (*TEXTS, "sub_questions") if record.get(name) is not None},
        },
    )


def _refuse_unwritable(record: Mapping[str, Any], where: str) -> None:
    for name, value in record.items():
        if fault := _fault(value, foreign=name not in JSON_FIELDS):
            raise UsageError(f"{where}: the field {name!r} {fault}.")
    for name in TEXTS:
        if not isinstance(record.get(name), str | None):
            raise UsageError(f"{where}: the field {name!r} must be text or null.")


def refuse_too_many(values: Any, what: str, where: str) -> None:
    """Raises UsageError where an environment has more of something than is read."""
    if isinstance(values, list | dict | tuple) and len(values) > (most := read_limits().items):
        raise UsageError(f"{where} has more than {most:,} {what}; {raise_by('items')}.")


def _fault(value: Any, foreign: bool = False) -> str | None:
    """What is wrong with a value that must be JSON; a `foreign` one is a column of Parquet that is none of ours."""
    if is_deeper_than(value, DEEPEST):
        return f"is nested more than {DEEPEST} levels deep; flatten it"
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=foreign, default=str if foreign else None).encode("utf-8")
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which no file can hold"
    except TypeError as error:
        return f"is not JSON ({error}); write it as text"
    except ValueError:
        return "holds NaN or an infinity, which JSON has no number for; write null or leave it out"
    return None


def decode_field(record: Mapping[str, Any], name: str, where: str, kind: type | tuple[type, ...]) -> Any:
    """A field that is JSON, or JSON in a string. Raises UsageError where it is neither, not of `kind` (of KINDS), or
    cannot be written again."""
    value = record.get(name)
    if isinstance(value, str):
        try:
            value = jsonio.parse_json(value)
        except ValueError as error:
            raise UsageError(f"{where}: the field {name!r} is not JSON: {error}.") from None
    if not isinstance(value, kind):
        raise UsageError(f"{where}: the field {name!r} must be a JSON {KINDS[kind]}.")
    if fault := _fault(value):
        raise UsageError(f"{where}: the field {name!r} {fault}.")
    return value


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict) or value.get("role") not in ROLES or not isinstance(value.get("content"), str):
        raise UsageError(f"{where}: every message needs a role ({', '.join(ROLES)}) and a text content.")
    try:
        message = message_from_json(cast(MessageJSON, {name: part for name, part in value.items() if part is not None}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{where}: a message is not in the chat-completions format: {error!r}.") from None
    for name in ("reasoning", "tool_call_id", "raw"):
        if not isinstance(getattr(message, name), str | None):
            raise UsageError(f"{where}: the {name} of a message must be text or null.")
    if not all(isinstance(part, dict) for part in message.echo):
        raise UsageError(f"{where}: the echo of a message must be a list of objects.")
    for call in message.tool_calls:
        if not (isinstance(call.raw, str) and isinstance(call.parse_error, str | None)):
            raise UsageError(f"{where}: the arguments and the parse_error of a message's call must be text.")
        if not (isinstance(call.id, str) and isinstance(call.name, str) and isinstance(call.arguments, dict | None)):
            raise UsageError(f"{where}: every call of a message needs an id, a name and an object as its arguments.")
    return message


def _tools(values: list[Any], where: str) -> tuple[Tool, ...]:
    refuse_too_many(values, "tools", where)
    if len(json.dumps(values)) > (most := LENGTH_OF_TOOL * read_limits().items):
        raise UsageError(f"{where} has tools of more than {most:,} characters; {raise_by('items')}.")
    tools: dict[str, Tool] = {}
    for tool in (_tool(value, where) for value in values):
        if tools.setdefault(tool.name, tool) is not tool:
            raise UsageError(f"{where}: two tools are named {tool.name!r}, which endpoints refuse; rename or drop one.")
    return tuple(tools.values())


def _tool(value: Any, where: str) -> Tool:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UsageError(f"{where}: every tool needs a name.")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise UsageError(f"{where}: the parameters of {function['name']!r} must be a JSON Schema object.")
    refuse_too_many(parameters.get("properties"), f"parameters of {function['name']!r}", where)
    if count_values(parameters) > (most := VALUES_OF_ITEM * read_limits().items):
        raise UsageError(
            f"{where}: the parameters of {function['name']!r} hold more than {most:,} values; {raise_by('items')}."
        )
    return Tool(function["name"], str(function.get("description") or ""), parameters)


def _codes(value: dict[str, Any], where: str, parse: bool) -> dict[str, str]:
    refuse_too_many(value, "codes", where)
    for name, source in value.items():
        if not isinstance(source, str):
            raise UsageError(f"{where}: the code of {name!r} must be Python source text.")
        if not parse:
            continue
        if len(source) > (longest := read_limits().code):
            raise UsageError(
                f"{where}: the code of {name!r} is longer than {longest:,} characters; {raise_by('code')}."
            )
        if is_bundled(name, source):
            continue
        try:
            defined = defines_function(source, name)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            too_deep = isinstance(error, (RecursionError, MemoryError))  # newer parsers have words for it, older none
            why = "nested too deeply" if too_deep else str(error)
            raise UsageError(f"{where}: the code of {name!r} does not compile: {why}.") from None
        if not defined:
            raise UsageError(f"{where}: the code of {name!r} defines no function of that name.")
    return value


def _gold(record: Mapping[str, Any], codes: Mapping[str, str], where: str) -> Gold:
    sub_answers: dict[str, tuple[str, ...]] = {}
    for name, answers in decode_field(record, "unsolved_set", where, dict).items():
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise UsageError(f"{where}: unsolved_set must map tool names to lists of strings; {name!r} does not.")
        if name not in codes:
            raise UsageError(f"{where}: the tool {name!r} of unsolved_set has no code.")
        sub_answers[name] = tuple(answers)
    listed = [answer for answers in sub_answers.values() for answer in answers]
    refuse_too_many(listed, "sub-answers", where)
    if sum(map(len, listed)) > (most := LENGTH_OF_ITEM * read_limits().items):
        raise UsageError(f"{where} has sub-answers of more than {most:,} characters; {raise_by('items')}.")
    answer = record.get("answer")
    calls = None
    if record.get("gold_calls") is not None:
        given = decode_field(record, "gold_calls", where, list)
        refuse_too_many(given, "gold calls", where)
        calls = tuple(_gold_call(call, where) for call in given)
    return Gold(sub_answers, calls, None if answer is None else str(answer))


def _gold_call(value: Any, where: str) -> GoldCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UsageError(f"{where}: every gold call needs a name, arguments and what it solves.")
    arguments = value.get("arguments")
    if isinstance(arguments, str):
        arguments = decode_field(value, "arguments", where, dict)
    if not isinstance(arguments, dict):
        raise UsageError(f"{where}: the arguments of the gold call of {value['name']!r} must be an object.")
    solves = value.get("solves")
    return GoldCall(value["name"], arguments, solves if isinstance(solves, int) else None)


def fingerprint(samples: list[Sample]) -> str:
    """A digest of everything in the samples that decides an episode or its score."""
    return jsonio.digest(
        [
            [
                sample.id,
                [[m.role, m.content, *([call.name, call.raw] for call in m.tool_calls)] for m in sample.messages],
                [[t.name, t.description, t.parameters] for t in sample.tools],
                dict(sample.codes),
                {name: list(answers) for name, answers in sample.gold.sub_answers.items()},
                sample.gold.answer,
                [[call.name, call.arguments] for call in sample.gold.calls or ()],
                sample.metadata.get("world"),
                sample.metadata.get("data_source"),
                *([sample.metadata["digest"]] if "digest" in sample.metadata else []),
            ]
            for sample in samples
        ]
    )
