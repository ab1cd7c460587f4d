"""toolhop_*: ToolHop, questions that take three to seven hops, each with tools made for it.

Three scenarios on the same rows: direct, without tools; mandatory, where the prompt asks for a tool at every step; and
free, with tools and no such demand. Scored by the final answer: strictly (no prefix), by the benchmark's own rule and
by FTRL's (Ye et al., arXiv 2501.02506; its code is beside the data). The data is not shipped: --data toolhop=FILE, the
data set's data/ToolHop.json or FTRL's copy of it as JSONL (bytedance-research/ToolHop, CC-BY-4.0). Prompts are worded
here. Left out: sub-questions and their answers, which no rule of the three reads.

    harness eval --model M --tasks 'toolhop_*' --data toolhop=FILE
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.data.files import JSON, file_suffix, read_rows
from harness.data.records import decode_field, sample_from_record
from harness.data.source import parse_source
from harness.environment import TextEnvironment, ToolEnvironment
from harness.errors import MissingData, UsageError
from harness.scoring import call_counts, call_rates
from harness.scoring.answer import final_text, same_answer
from harness.scoring.paper import contains
from harness.scoring.strict import is_empty
from harness.types import Gold, JSONObject, Sample, Task, Tool, Trajectory, Verdict
from tasks.released import find_data

SCENARIOS = {
    "direct": "without tools",
    "mandatory": "told to call a tool at every step",
    "free": "tools at hand, used or not",
}
DATA_SET = "ToolHop (bytedance-research/ToolHop)"
TURNS = 9

DEMAND = {
    "direct": "Answer this question from what you know.",
    "mandatory": (
        "Answer this question with the tools. Call one at every step: take nothing from memory, and let the final "
        "answer itself be something that a tool has returned."
    ),
    "free": "Answer this question. Tools are at hand: use them where they help.",
}
PROMPT = """\
{demand} End with the final answer between <answer> and </answer>, as short as it can be: a date as YYYY-MM-DD, a \
person by first and last name, anything with a number in it as that number alone, in digits, without leading zeros.

Question: {question}"""

ANSWER = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
DEFINES = re.compile(r"^\s*def\s+(\w+)", re.MULTILINE)


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """A task a scenario; loading one without its file raises MissingData."""
    path = find_data("toolhop", data)
    rows = cache(partial(read, path))
    return [
        Task(
            name=f"toolhop_{scenario}",
            load=partial(_load, rows, scenario),
            environment=TextEnvironment if scenario == "direct" else ToolEnvironment,
            score=score,
            headline="answer_accuracy",
            group="toolhop",
            columns={"paper_table": ("answer_accuracy",)},
            description=f"ToolHop, {about}",
            source=str(path) if path else "--data toolhop=FILE",
            max_turns=TURNS,
        )
        for scenario, about in SCENARIOS.items()
    ]


# --- reading -----------------------------------------------------------------------------------------------------


def read(path: Path | None) -> list[Any]:
    """The rows of a file, a JSON array or JSONL. Raises MissingData where there is none, UsageError where it is empty
    or another format."""
    if path is None:
        raise MissingData(f"toolhop_* needs {DATA_SET}: --data toolhop=FILE, its data/ToolHop.json.")
    if not path.is_file():
        raise MissingData(f"toolhop_* looked for {DATA_SET} at {path}, where there is no file.")
    rows = _array(path) if file_suffix(path) in (None, JSON) else list(read_rows(path))
    if not rows:
        raise UsageError(f"{path} holds no rows.")
    return rows


def _array(path: Path) -> list[Any]:
    try:
        rows = jsonio.read_json(path, links=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(rows, list):
        raise UsageError(f"{path} must hold a JSON array of rows.")
    return rows


def _load(rows: Callable[[], Sequence[Any]], scenario: str) -> list[Sample]:
    return [sample_of(row, scenario, line, f"ToolHop row {line + 1}") for line, row in enumerate(rows())]


def sample_of(row: Any, scenario: str, line: int, where: str) -> Sample:
    """A checked sample. The scenarios share their questions, and so their clusters."""
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or row.get("answer") is None:
        raise UsageError(f"{where} has no question and answer.")
    name = str(line) if row.get("id") is None else str(row["id"])
    answer = str(row["answer"])
    sample = sample_from_record(
        {
            "id": name,
            "world": f"toolhop-{name}",
            "data_source": f"toolhop/{row.get('domain') or 'unknown'}",
            "messages": [{"role": "user", "content": PROMPT.format(demand=DEMAND[scenario], question=row["question"])}],
            "tools": [],
            "codes": {},
            "unsolved_set": {},
            "answer": answer,
        },
        line,
        where,
    )
    direct = scenario == "direct"
    return replace(
        sample,
        tools=() if direct else tuple(_tools(row, where)),
        codes={} if direct else _codes(row, where),
        gold=Gold({}, (), answer, message=f"<answer>{answer}</answer>"),
    )


def _tools(row: JSONObject, where: str) -> Iterator[Tool]:
    """The schemas of all sub-questions, each name once: endpoints refuse two tools of one name."""
    seen: set[str] = set()
    for schema in decode_field(row, "tools", where, dict).values():
        if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
            raise UsageError(f"{where}: every tool needs a name.")
        parameters = schema.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, dict):
            raise UsageError(f"{where}: the parameters of {schema['name']!r} must be a JSON Schema object.")
        if schema["name"] not in seen:
            seen.add(schema["name"])
            yield Tool(schema["name"], str(schema.get("description") or ""), parameters)


def _codes(row: JSONObject, where: str) -> dict[str, str]:
    """Source by the name it defines. A schema without a function is an unknown tool when it is called, as officially,
    and one that does not compile says so then: neither takes the row out of the benchmark."""
    functions = decode_field(row, "functions", where, (dict, list))
    if isinstance(functions, dict):
        functions = list(functions.values())
    if not all(isinstance(source, str) for source in functions):
        raise UsageError(f"{where}: functions must be Python source texts.")
    return {name: source for source in functions for name in _defined(source)}


def _defined(source: str) -> list[str]:
    try:
        body = parse_source(source).tree.body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return DEFINES.findall(source)[:1]
    return [node.name for node in body if isinstance(node, ast.FunctionDef)]


# --- scoring -----------------------------------------------------------------------------------------------------


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """The three rules on how the episode ended. Never raises, whatever was said."""
    answer = sample.gold.answer or ""
    nothing = (None,) * len(trajectory.calls)
    return Verdict(
        nothing,
        nothing,
        {
            "answer_accuracy": float(strict(trajectory, answer)),
            "official_answer_accuracy": float(_ends_with(trajectory, answer, official)),
            "paper_answer_accuracy": float(_ends_with(trajectory, answer, contains)),
            **call_counts(trajectory),
            **call_rates(trajectory),
        },
    )


def strict(trajectory: Trajectory, answer: str) -> bool:
    """The last <answer> of the final message, after the reasoning, is the answer up to case, articles, commas and the
    way numbers and dates are written."""
    found = ANSWER.findall(final_text(trajectory) or "")
    return bool(found) and not is_empty(answer) and same_answer(found[-1], answer)


def official(text: str, answer: str) -> bool:
    """The benchmark's rule. `rstrip` takes a set of characters, so it strips all zeros and points at the end: an answer
    of 10 is looked for as 1, one of 0 as nothing, which is in every text."""
    return answer.rstrip(".0").lower() in text.rstrip(".0").replace(",", "").lower()


def _ends_with(trajectory: Trajectory, answer: str, rule: Callable[[str, str], bool]) -> bool:
    """Both other rules read the last message, if the model said something in it, and else a tool's right before it."""
    messages = trajectory.messages
    if not messages or messages[-1].role != "assistant" or not messages[-1].content:
        return False
    before = [message.content for message in messages[-2:-1] if message.role == "tool"]
    return any(rule(text, answer) for text in (messages[-1].content, *before))
