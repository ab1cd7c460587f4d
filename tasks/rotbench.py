"""rotbench_*: RoTBench, first turn, one task a noise level: does a model still use tools whose names make no sense?

The prompt describes the tools; the model answers in text, once, and nothing is run. A row has several right answers.
Scored strictly (no prefix), by the paper's rule and by the benchmark's own (Ye et al., arXiv 2401.08326;
Code/Evaluation/evaluate.py), each with three metrics: ts, the right tool; pi, also the right parameter names; cf, also
the right contents. The data is not shipped: --data rotbench=FOLDER, which holds First_Turn/clean.json and so on
(Junjie-Ye/RoTBench, Apache-2.0), or rotbench=RoTBench.jsonl, all levels in one file as bytedance/FTRL packs them. Left
out: the third turn, and the formats of single models.

    harness eval --model policy/oracle --tasks 'rotbench_*' --data rotbench=FOLDER
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import jsonio
from harness.data.files import file_suffix, read_rows
from harness.data.records import sample_from_record
from harness.environment import TextEnvironment
from harness.errors import MissingData, UsageError
from harness.scoring import call_counts
from harness.types import Gold, JSONObject, Sample, Scores, Task, Trajectory, Verdict
from tasks.released import find_data

LEVELS = {
    "clean": "as they should be",
    "slight": "misspelled",
    "medium": "reversed or meaningless",
    "heavy": "exchanged among each other",
    "union": "noisy in several ways at once",
}
DATA_SET = "RoTBench (Junjie-Ye/RoTBench)"
ACTION, INPUT = "Action:", "Action Input:"
METRICS = ("ts", "pi", "cf")
ASK, FINISH = -2, -1
"""Where in the list of tools, under whatever names, those two are that ask the user and finish."""
UNSAID = "None"
"""What a gold writes for a parameter that the question says nothing about."""


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """A task a noise level; loading one whose file is not there raises MissingData."""
    source = find_data("rotbench", data)
    read = cache(partial(read_packed, source or Path()))
    return [
        Task(
            name=f"rotbench_{level}",
            load=partial(_load, source, read, level),
            environment=TextEnvironment,
            score=score,
            headline="cf",
            success=("cf",),
            group="rotbench",
            columns={"paper_table": ("ts", "pi", "cf")},
            description=f"RoTBench, first turn, names of tools and parameters {noise}",
            source=str(source) if source else "--data rotbench=FOLDER",
        )
        for level, noise in LEVELS.items()
    ]


# --- reading -----------------------------------------------------------------------------------------------------


Levels = Mapping[str, Sequence[Sample]]


class Row(NamedTuple):
    """A row in either form. A question comes back in other rows and levels: it is the cluster."""

    prompt: Sequence[tuple[str, Any]]
    golds: Sequence[Any]
    question: str
    scenario: str


def _load(source: Path | None, read: Callable[[], Levels], level: str) -> list[Sample]:
    """From a folder of levels, or with `read` from one file of all of them."""
    if source is None or file_suffix(source) is None:
        return load(source, level)
    if not (samples := read()[level]):
        raise MissingData(f"rotbench_{level} looked for {DATA_SET} at {source}, which has no rows of this level.")
    return list(samples)


def read_packed(path: Path) -> Levels:
    """The samples of a file of all levels, by level. Raises MissingData where there is no file, UsageError where it is
    another format."""
    if not path.is_file():
        raise MissingData(f"rotbench_* looked for {DATA_SET} at {path}, where there is no file.")
    found: dict[str, list[Sample]] = {level: [] for level in LEVELS}
    for line, row in enumerate(read_rows(path)):
        where = f"{path}, row {line + 1}"
        level = _level(row, where)
        found[level].append(_packed_sample(row, level, len(found[level]), where))
    return found


def _level(row: Any, where: str) -> str:
    """Which level a row's data_source names: by a word of it, whatever its case."""
    said = row.get("data_source") if isinstance(row, dict) else None
    words = set(re.split(r"[^a-z]+", said.lower())) if isinstance(said, str) else set()
    if len(named := [level for level in LEVELS if level in words]) != 1:
        raise UsageError(f"{where}: its data_source names no noise level (one of {', '.join(LEVELS)}).")
    return named[0]


def load(folder: Path | None, level: str) -> list[Sample]:
    """The samples of a level. Raises MissingData where its file is not there, UsageError where it is another format."""
    if folder is None:
        raise MissingData(f"rotbench_{level} needs {DATA_SET}: --data rotbench=FOLDER, which holds First_Turn/.")
    path = folder / "First_Turn" / f"{level}.json"
    if not path.is_file():
        raise MissingData(f"rotbench_{level} looked for {DATA_SET} at {path}, where there is no file.")
    try:
        rows = jsonio.read_json(path, links=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{path} must hold a JSON array of rows.")
    return [_sample(row, level, line, f"{path}, row {line + 1}") for line, row in enumerate(rows)]


def _sample(row: Any, level: str, line: int, where: str) -> Sample:
    """A checked sample of the benchmark's own files."""
    try:
        system, user, assistant = ((turn["from"], turn["value"]) for turn in row["conversations"])
        golds = list(assistant[1]) if isinstance(assistant[1], list) else []
        question, scenario = str(row["id"]), str(row["scenario"])
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{where} has no id, scenario and conversations of system, user and assistant.") from None
    if assistant[0] != "assistant":
        golds = []
    return _checked(Row((system, user), golds, question, scenario), f"{level}-{line}", line, where)


def _packed_sample(row: JSONObject, level: str, line: int, where: str) -> Sample:
    """A checked sample of the packed file, which names neither question nor scenario."""
    try:
        system, user = ((message["role"], message["content"]) for message in row["messages"])
        golds = list(row["answer"]) if isinstance(row["answer"], list) else []
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{where} has no messages of system and user, and answer.") from None
    return _checked(Row((system, user), golds, str(user[1]), level), f"{level}-{line}", line, where)


def _checked(row: Row, name: str, line: int, where: str) -> Sample:
    """A sample. Raises UsageError where the prompt lists no tools, or no answer is right."""
    if [role for role, _ in row.prompt] != ["system", "user"] or len(_names(row.prompt[0][1])) < 2:
        raise UsageError(f"{where} does not begin with a system prompt that lists tools.")
    if not row.golds or not all(isinstance(gold, str) for gold in row.golds):
        raise UsageError(f"{where} does not end with a list of right answers.")
    sample = sample_from_record(
        {
            "id": name,
            "world": row.question,
            "data_source": f"rotbench/{row.scenario}",
            "messages": [{"role": role, "content": value} for role, value in row.prompt],
            "tools": [],
            "codes": {},
            "unsolved_set": {},
        },
        line,
        where,
    )
    return replace(
        sample,
        gold=Gold({}, (), message=row.golds[0]),
        metadata={**sample.metadata, "golds": tuple(row.golds), "digest": jsonio.digest(row.golds)},
    )


def _names(prompt: object) -> list[str]:
    """The names of the tools that a system prompt lists, in order."""
    text = prompt if isinstance(prompt, str) else ""
    try:
        listed, _ = json.JSONDecoder().raw_decode(text, text.index("["))
        return [str(tool["name"]) for tool in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


# --- scoring -----------------------------------------------------------------------------------------------------


class Action(NamedTuple):
    """What an answer does; `parameters` may be any JSON by the official rule."""

    name: str
    parameters: Any


Marks = tuple[bool, bool, bool]
"""Right tool, right parameters, right contents; each holds for some gold, and needs the one before."""
WRONG: Marks = (False, False, False)


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """The three rules on one answer. Never raises, whatever the model wrote."""
    said = _said(trajectory)
    golds: Sequence[str] = sample.metadata["golds"]
    names = _names(sample.messages[0].content)
    marks = {
        "": strict(said, golds, names),
        "paper_": paper(said, golds),
        "official_": official(said, golds, names),
    }
    scores: Scores = {
        f"{prefix}{metric}": float(mark)
        for prefix, found in marks.items()
        for metric, mark in zip(METRICS, found, strict=True)
    }
    scores |= call_counts(trajectory)
    none = (None,) * len(trajectory.calls)
    return Verdict(none, none, scores)


def _said(trajectory: Trajectory) -> str:
    """The model's turn as text; as it was generated, where its own side's parser took the action for a tool call."""
    turn = next((message for message in trajectory.messages if message.role == "assistant"), None)
    if turn is None:
        return ""
    return turn.raw if turn.tool_calls and turn.raw is not None else turn.content


def strict(text: str, golds: Sequence[str], names: Sequence[str]) -> Marks:
    """The product's rule: the last action after the reasoning, contents by parameter.

    As officially, what a gold leaves open ("None") may hold anything, a question to the user and a final answer are
    free text, and `finish` means the tool that finishes, here unless another tool has that name. Unlike it, an empty
    input is an input, and a tool is known by its place in the list rather than by a name that the noise may have
    given to another.
    """
    action = _strictly(text)
    if action is None:
        return WRONG
    name = names[FINISH] if action.name == "finish" and "finish" not in names else action.name
    marks = [_strict_marks(name, action.parameters, gold, names) for gold in map(_strictly, golds) if gold]
    return _any(marks)


def _strict_marks(name: str, parameters: JSONObject, gold: Action, names: Sequence[str]) -> Marks:
    if name != gold.name:
        return WRONG
    if parameters.keys() != gold.parameters.keys():
        return True, False, False
    free = name in (names[ASK], names[FINISH])
    return True, True, free or all(v == UNSAID or _same(v, parameters[k]) for k, v in gold.parameters.items())


def _strictly(text: str) -> Action | None:
    """The last action with the first JSON object of its input, after the reasoning; None where there is none."""
    spoken = text.rpartition("</think>")[2].partition("<think>")[0]
    before, mark, after = spoken.rpartition(INPUT)
    _, named, name = before.rpartition(ACTION)
    begin = after.find("{")
    if not mark or not named or begin < 0:
        return None
    try:
        parameters, _ = json.JSONDecoder().raw_decode(after, begin)
    except (ValueError, RecursionError):
        return None
    return Action(name.strip(), parameters)


def _same(wanted: Any, found: Any) -> bool:
    """Equal JSON: 1 is 1.0, and true is not 1."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_same(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return isinstance(wanted, bool) is isinstance(found, bool) and bool(wanted == found)


def paper(text: str, golds: Sequence[str]) -> Marks:
    """FTRL's rule: text up to the next mark, JSON that fills the rest, contents as a multiset of values whatever their
    parameters. A value that is a list or an object cannot be counted, which ends the comparison."""
    action = _by_paper(text)
    if action is None:
        return WRONG
    ts = pi = False
    for gold in map(_by_paper, golds):
        if gold is None or gold.name != action.name:
            continue
        ts = True
        if gold.parameters.keys() != action.parameters.keys():
            continue
        pi = True
        try:
            if Counter(gold.parameters.values()) == Counter(action.parameters.values()):
                return True, True, True
        except TypeError:
            break
    return ts, pi, False


def _by_paper(text: str) -> Action | None:
    parts, inputs = text.split("Action: "), text.split("Action Input: ")
    if len(parts) < 2 or len(inputs) < 2:
        return None
    parameters = _json(inputs[1].strip())
    return Action(parts[1].partition("Action Input: ")[0].strip(), parameters) if isinstance(parameters, dict) else None


def official(text: str, golds: Sequence[str], names: Sequence[str]) -> Marks:
    """The benchmark's rule: JSON that fills the text after the first mark; an empty input counts as no answer. Where
    the benchmark's script would end with an error, this answer is wrong."""
    action = _by_script(text)
    if action is None or not action.parameters or isinstance(action.parameters, str):
        return WRONG
    name, parameters = action
    compared = dict(parameters) if isinstance(parameters, dict) else None
    ts = pi = cf = False
    for gold in map(_by_script, golds):
        if gold is None or not isinstance(gold.parameters, dict):
            continue
        if name == "finish" and gold.name == names[FINISH]:
            name = gold.name
        if name != gold.name:
            continue
        ts = True
        if compared is None or not isinstance(parameters, dict):
            continue
        pi = pi or gold.parameters.keys() == parameters.keys()
        cf = cf or (gold.parameters.keys() == compared.keys() and _filled(gold, compared, names))
    return ts, pi, cf


def _filled(gold: Action, compared: JSONObject, names: Sequence[str]) -> bool:
    """What the gold leaves open is taken out of the answer too, also for the golds that follow."""
    for parameter in [key for key, value in gold.parameters.items() if value == UNSAID]:
        del compared[parameter]
    wanted = {key: value for key, value in gold.parameters.items() if value != UNSAID}
    free = gold.name in ("finish", "ask_to_user", names[FINISH], names[ASK])
    return free or wanted == compared


def _by_script(text: str) -> Action | None:
    """The name begins a character after its mark and keeps its spaces, but for one line break at the end."""
    start, end = text.find(ACTION), text.find(INPUT)
    if start < 0 or end < 0:
        return None
    name = text[start + len(ACTION) + 1 : end]
    parameters = _json(text[end + len(INPUT) :])
    return Action(name.removesuffix("\n"), parameters) if name and parameters is not None else None


def _json(text: str) -> Any:
    """The value of a text that is JSON and nothing else; None for any other."""
    try:
        return jsonio.parse_json(text)
    except ValueError:
        return None


def _any(marks: Sequence[Marks]) -> Marks:
    return any(m[0] for m in marks), any(m[1] for m in marks), any(m[2] for m in marks)
