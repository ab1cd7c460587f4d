"""Two files of environments side by side: how large they are, and how varied.

`python -m envbuilder.compare OURS THEIRS` prints the table. Variety is measured on samples of equal length: as many
rows of each kind on both sides, and as many words. Left out: any judgement of what is asked.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

from tabulate import tabulate

from harness.data.files import read_rows

Record = Mapping[str, Any]
MeasurementRule = Literal["within 15 %", "at most half more", "not lower", "at least half", ""]

TOLERANCE = 0.15
RARE = 0.01
"""Parameter types below this share on their side need not be matched."""
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement on both sides; `rule` says what is asked of ours."""

    name: str
    kind: str
    ours: float
    theirs: float
    rule: MeasurementRule = ""

    @property
    def holds(self) -> bool | None:
        match self.rule:
            case "within 15 %":
                return abs(self.ours - self.theirs) <= TOLERANCE * self.theirs
            case "at most half more":
                return self.ours <= 1.5 * self.theirs
            case "not lower":
                return self.ours >= self.theirs
            case "at least half":
                return self.ours >= self.theirs / 2
            case _:
                return None


def compare_sets(ours: Sequence[Record], theirs: Sequence[Record]) -> list[Measurement]:
    """All measurements of two lists of environment records."""
    kinds = sorted({kind_of(record) for record in theirs} & {kind_of(record) for record in ours})
    rows = [row for kind in kinds for row in _sizes(kind, _only(ours, kind), _only(theirs, kind))]
    left, right = _equal_rows(ours, theirs, kinds)
    return [*rows, *_types(left, right), *_variety(left, right)]


def table(rows: Iterable[Measurement]) -> str:
    """The rows as text."""
    marks = {True: "yes", False: "NO", None: ""}
    cells = [[row.kind, row.name, row.ours, row.theirs, row.rule, marks[row.holds]] for row in rows]
    return tabulate(cells, headers=["kind", "measure", "ours", "theirs", "rule", "holds"], floatfmt=".4g")


def kind_of(record: Record) -> str:
    return str(record.get("data_source", "")).rpartition("/")[2]


def question_of(record: Record) -> str:
    """The question alone: after the last "Question:", without the built prompts' closing line."""
    text = str(record["messages"][-1]["content"]).rpartition("Question:")[2].strip()
    return text.partition("\n")[0]


# --- sizes -------------------------------------------------------------------------------------------------------


def _sizes(kind: str, ours: Sequence[Record], theirs: Sequence[Record]) -> list[Measurement]:
    left, right = _measure(ours), _measure(theirs)
    return [Measurement(name, kind, left[name], right[name], MATCHED.get(name, "")) for name in left]


MATCHED: Mapping[str, MeasurementRule] = {
    **dict.fromkeys(
        ("sub-questions", "tools", "distractors", "parameters a tool", "description length"), "within 15 %"
    ),
    "code length": "at most half more",
}
"""What is asked of sizes. Code is longer than the released one: a record holds a figure for every year and state."""


def _measure(records: Sequence[Record]) -> dict[str, float]:
    unsolved = [_json(record["unsolved_set"]) for record in records]
    tools = [_tools(record) for record in records]
    flat = [tool for own in tools for tool in own]
    parameters = [parameter for tool in flat for parameter in _parameters(tool).values()]
    codes = [code for record in records for code in _json(record["codes"]).values()]
    return {
        "sub-questions": mean(sum(map(len, answers.values())) for answers in unsolved),
        "tools": mean(map(len, tools)),
        "distractors": mean(len(own) - len(answers) for own, answers in zip(tools, unsolved, strict=True)),
        "parameters a tool": mean(len(_parameters(tool)) for tool in flat),
        "description length": median(len(tool["description"]) for tool in flat),
        "code length": median(map(len, codes)),
        "required parameters a tool": mean(len(tool["parameters"].get("required", ())) for tool in flat),
        "parameter description length": median(len(parameter.get("description", "")) for parameter in parameters),
        "question length": mean(len(question_of(record)) for record in records),
    }


# --- types -------------------------------------------------------------------------------------------------------


def _types(ours: Sequence[Record], theirs: Sequence[Record]) -> list[Measurement]:
    left, right = type_shares(ours), type_shares(theirs)
    return [
        Measurement(f"parameters: {name}", "all", left.get(name, 0.0), share, "at least half" if share >= RARE else "")
        for name, share in sorted(right.items(), key=lambda item: -item[1])
    ]


def type_shares(records: Sequence[Record]) -> dict[str, float]:
    """The share of each parameter type; strings apart by whether they are enumerated or have a format."""
    found = Counter(
        _type(parameter) for record in records for tool in _tools(record) for parameter in _parameters(tool).values()
    )
    return {name: count / found.total() for name, count in found.items()}


def _type(parameter: Mapping[str, Any]) -> str:
    name = parameter.get("type", "string")
    if name == "string" and "enum" in parameter:
        return "string, enum"
    return "string, format" if name == "string" and "format" in parameter else str(name)


# --- variety -----------------------------------------------------------------------------------------------------


def _variety(ours: Sequence[Record], theirs: Sequence[Record]) -> list[Measurement]:
    questions = [list(map(question_of, side)) for side in (ours, theirs)]
    descriptions = [[tool["description"] for record in side for tool in _tools(record)] for side in (ours, theirs)]
    explained = [
        [
            parameter.get("description", "")
            for record in side
            for tool in _tools(record)
            for parameter in _parameters(tool).values()
        ]
        for side in (ours, theirs)
    ]
    return [
        Measurement("distinct tool schemas", "all", _distinct_schemas(ours), _distinct_schemas(theirs), "not lower"),
        Measurement("distinct tool names", "all", _distinct_names(ours), _distinct_names(theirs)),
        Measurement("distinct question openings", "all", _openings(questions[0]), _openings(questions[1]), "not lower"),
        Measurement("type-token ratio of questions", "all", *_type_token(*questions), "not lower"),
        Measurement("type-token ratio of descriptions", "all", *_type_token(*descriptions), "not lower"),
        Measurement("type-token ratio of parameter descriptions", "all", *_type_token(*explained)),
    ]


def _distinct_schemas(records: Sequence[Record]) -> float:
    """Share of distinct parameter schemas among all tools."""
    schemas = [json.dumps(tool["parameters"], sort_keys=True) for record in records for tool in _tools(record)]
    return len(set(schemas)) / len(schemas)


def _distinct_names(records: Sequence[Record]) -> float:
    names = [tool["name"] for record in records for tool in _tools(record)]
    return len(set(names)) / len(names)


def _openings(questions: Sequence[str]) -> float:
    """Share of questions whose first three words open no other."""
    return len({" ".join(_words(question)[:3]) for question in questions}) / len(questions)


def _type_token(ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, float]:
    """Different words per word, in as many words of each side, taken evenly from all its texts."""
    left, right = (list(map(_words, side)) for side in (ours, theirs))
    size = min(sum(map(len, left)), sum(map(len, right)))
    return _ratio(left, size), _ratio(right, size)


def _ratio(texts: Sequence[Sequence[str]], size: int) -> float:
    """Whole texts are dropped at even distances until about `size` words are left, then the rest is cut."""
    total = sum(map(len, texts))
    words: list[str] = []
    kept = 0.0
    for text in texts:
        kept += len(text) * size / total
        if len(words) < kept:
            words += text
    words = words[:size]
    return len(set(words)) / len(words)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


# --- records -----------------------------------------------------------------------------------------------------


def _only(records: Sequence[Record], kind: str) -> list[Record]:
    return [record for record in records if kind_of(record) == kind]


def _equal_rows(
    ours: Sequence[Record], theirs: Sequence[Record], kinds: Sequence[str]
) -> tuple[list[Record], list[Record]]:
    """As many rows of each kind on both sides: the first ones."""
    left: list[Record] = []
    right: list[Record] = []
    for kind in kinds:
        pairs = list(zip(_only(ours, kind), _only(theirs, kind), strict=False))
        left += [pair[0] for pair in pairs]
        right += [pair[1] for pair in pairs]
    return left, right


def _tools(record: Record) -> list[dict[str, Any]]:
    return [tool["function"] for tool in _json(record["tools"])]


def _parameters(tool: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(tool["parameters"].get("properties", {}))


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: python -m envbuilder.compare OURS THEIRS (files of environment records)", file=sys.stderr)
        return 2
    ours, theirs = (list(read_rows(Path(name))) for name in sys.argv[1:])
    rows = compare_sets(ours, theirs)
    print(table(rows))
    return 0 if all(row.holds is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
