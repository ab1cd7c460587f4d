"""Prefixes: episodes cut after each turn's feedback, as training prompts of one turn each.

A prefix is the prompt and the first turns of an episode with their tool outputs; turn 0 is the prompt alone. As a
record it is an environment record in the paper's format whose `messages` are the prefix and whose `unsolved_set` is
what is still open, with `solve_rate` (method: FTRL, arXiv 2508.08791, section "Reward"). Fields of our own:

id           TASK/SAMPLE/EPOCH/TURN; `task`, `sample`, `epoch` and `turn` have the parts, `turn` is that of the answer
world        what results are clustered by, as in an environment record
rule         which rule decided what is open: strict or paper
sub_answers  the sample's whole unsolved_set, and
calls        the prefix's calls with what was fed back, as in samples.jsonl: what a strict step reward needs

A file of plain environment records is a file of prefixes at turn 0, so either kind can be trained on.
Left out: tokens. How long a prefix is for a model, its tokenizer knows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from harness.data import jsonio
from harness.data.files import file_stem, read_rows
from harness.data.messages import message_from_json, message_to_json
from harness.data.records import sample_from_record
from harness.data.schema import MessageJSON
from harness.environment import ToolEnvironment
from harness.errors import MissingData, UsageError
from harness.models.api.chat import wire_tool
from harness.registry import find_entry_points, load_entry_point
from harness.runs.faults import find_call_fault
from harness.scoring import paper, strict
from harness.types import CallRecord, JSONObject, Message, Sample, Task, ToolCall, Trajectory
from trainer.rewards import Context, Turn

SolveRule = Literal["strict", "paper"]
Keep = Literal["all", "unsolved", "solved", "breakpoints"]
_SOLVES: Mapping[SolveRule, Callable[..., tuple[int | None, ...]]] = {"strict": strict.solves, "paper": paper.solves}


@dataclass(frozen=True, slots=True)
class Prefix:
    """A training prompt. `sample` is the whole problem with all its sub-answers; `unsolved_set` what is still open."""

    task: str
    sample: Sample
    messages: tuple[Message, ...]
    unsolved_set: Mapping[str, tuple[str, ...]]
    calls: tuple[CallRecord, ...] = ()
    epoch: int = 0
    turn: int = 0
    rule: SolveRule = "strict"

    @property
    def id(self) -> str:
        return f"{self.task}/{self.sample.id}/{self.epoch}/{self.turn}"

    @property
    def unsolved_count(self) -> int:
        """How many sub-answers nothing has surfaced yet."""
        return sum(map(len, self.unsolved_set.values()))

    @property
    def solve_rate(self) -> float:
        """The share of the sample's sub-answers that are solved; 0 where it has none."""
        n = sum(map(len, self.sample.gold.sub_answers.values()))
        return (n - self.unsolved_count) / n if n else 0.0

    @property
    def characters(self) -> int:
        """The prompt's length: everything said and called so far, and the tools' schemas as JSON."""
        said = (message.content + (message.reasoning or "") for message in self.messages)
        called = (call.name + call.raw for message in self.messages for call in message.tool_calls)
        tools = json.dumps([wire_tool(tool) for tool in self.sample.tools], ensure_ascii=False)
        return sum(map(len, said)) + sum(map(len, called)) + len(tools)

    def to_turn(self, response: str, format: str = "hermes", thinking: bool = False) -> Turn:
        """This prefix with a generated text as its next turn, ready for a step reward; see rewards.Context."""
        return Turn(
            response=response,
            codes=self.sample.codes,
            unsolved_set=self.unsolved_set,
            solve_rate=self.solve_rate,
            answer=self.sample.gold.answer or "",
            context=Context(self.messages, self.calls, self.sample.gold.sub_answers, format, thinking),
        )


# --- cutting -----------------------------------------------------------------------------------------------------


def first_prefix(task: str, sample: Sample) -> Prefix:
    """The prompt alone, with everything unsolved."""
    return Prefix(task, sample, sample.messages, unsolved(sample, (), "strict"))


def cut_prefixes(
    task: str, sample: Sample, trajectory: Trajectory, epoch: int = 0, rule: SolveRule = "strict"
) -> Iterator[Prefix]:
    """The prefixes of an episode, shortest first. A turn without calls, or whose calls were not all answered (the
    sandbox broke), is followed by none."""
    speaks = [index for index, message in enumerate(trajectory.messages) if message.role == "assistant"]
    ends = [*speaks, len(trajectory.messages)]
    for turn, end in enumerate(ends):
        messages = trajectory.messages[:end]
        if turn and not _answered(messages[speaks[turn - 1] :]):
            return
        calls = tuple(record for record in trajectory.calls if record.turn < turn)
        yield Prefix(task, sample, messages, unsolved(sample, calls, rule), calls, epoch, turn, rule)


def find_breakpoint(prefixes: Sequence[Prefix], ended_well: bool) -> Prefix | None:
    """Of an episode's prefixes the one from which it has something to mend: after the first turn in which a call failed
    or that solved nothing; where each did its part, the last, if what followed did not end well. None if it did."""
    for before, after in pairwise(prefixes):
        made = after.calls[len(before.calls) :]
        failed = any(strict.is_error(record.status, record.output) for record in made)
        if failed or after.unsolved_count == before.unsolved_count:
            return after
    return None if ended_well else prefixes[-1]


def _answered(turn: Sequence[Message]) -> bool:
    """Whether a turn, an assistant's message and what follows it, made calls and was told what each gave."""
    made = len(turn[0].tool_calls)
    return made > 0 and made == sum(message.role == "tool" for message in turn)


def unsolved(sample: Sample, calls: Sequence[CallRecord], rule: SolveRule) -> dict[str, tuple[str, ...]]:
    """What these calls leave open of a sample's sub-answers, in order; a tool with nothing left keeps an empty list."""
    wanted = sample.gold.sub_answers
    solved = {
        (record.call.name, position) for record, position in zip(calls, _SOLVES[rule](calls, wanted), strict=True)
    }
    return {
        name: tuple(answer for position, answer in enumerate(answers) if (name, position) not in solved)
        for name, answers in wanted.items()
    }


def drop_duplicates(prefixes: Iterable[Prefix]) -> Iterator[Prefix]:
    """The first of those prefixes of a sample that say the same; the ids of calls, which are arbitrary, aside."""
    seen = set()
    for prefix in prefixes:
        said = [[m.role, m.content, m.reasoning, [[c.name, c.raw] for c in m.tool_calls]] for m in prefix.messages]
        key = jsonio.digest([prefix.task, prefix.sample.id, said])
        if key not in seen:
            seen.add(key)
            yield prefix


# --- which of them -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrefixFilter:
    """Which prefixes are kept.

    keep            all, those with something unsolved, or those with nothing unsolved; breakpoints are looked for in
                    whole episodes (find_breakpoint), so here they are all
    max_characters  of the prompt, as Prefix.characters counts
    min_solved      the least share, from 0 to 1, of prefixes with nothing unsolved: as many others as it takes are
                    left out, which ones the seed decides
    """

    keep: Keep = "all"
    max_characters: int | None = None
    min_solved: float = 0.0
    seed: int = 0

    def __call__(self, prefixes: Iterable[Prefix]) -> list[Prefix]:
        """The prefixes that are kept, in their order. None are where a share is asked of none."""
        fitting = [prefix for prefix in prefixes if self._fits(prefix)]
        if not self.min_solved:
            return fitting
        others = [prefix.id for prefix in fitting if prefix.unsolved_count]
        solved = len(fitting) - len(others)
        room = math.floor(solved * (1 - self.min_solved) / self.min_solved + 1e-9)
        left = set(sorted(others, key=lambda name: jsonio.digest([self.seed, name]))[:room])
        return [prefix for prefix in fitting if not prefix.unsolved_count or prefix.id in left]

    def _fits(self, prefix: Prefix) -> bool:
        if self.keep in ("unsolved", "solved") and bool(prefix.unsolved_count) != (self.keep == "unsolved"):
            return False
        return self.max_characters is None or prefix.characters <= self.max_characters


def refuse_test_data(tasks: Sequence[Task], samples: Mapping[str, Sequence[Sample]], data: Mapping[str, Path]) -> None:
    """Raises UsageError where training would touch what models are tested on: a sample whose split is test, or a task
    that comes with the harness. Other registered tasks are their author's to train on."""
    for task in tasks:
        if any(sample.metadata.get("split") == "test" for sample in samples[task.name]):
            reason = "its split is test"
        elif task.name in _benchmarks(data):
            reason = "it is one of the harness's benchmarks"
        else:
            continue
        raise UsageError(
            f"{task.name} is no training data, because {reason}; `harness build --split train` makes some."
        )


def require_promptable(task: Task, sample: Sample, name: str) -> None:
    """Raises UsageError where a prompt does not hold all that its turn depends on, or nothing is there to reward.
    `name` is what the sentence calls the sample."""
    if not isinstance(task.environment(sample), ToolEnvironment):
        raise UsageError(f"{task.name} has an environment with a state, which no prompt holds; leave it out.")
    if not sample.codes or not any(sample.gold.sub_answers.values()):
        raise UsageError(f"{task.name}, {name} has no tools or no sub-answers; leave it out.")


def _benchmarks(data: Mapping[str, Path]) -> set[str]:
    """The names of the tasks of our own `tasks` package."""
    group = "harness.tasks"
    ours = [name for name, point in find_entry_points(group).items() if point.value.split(".")[0] == "tasks"]
    return {task.name for name in ours for task in load_entry_point(group, name)(data)}


# --- records -----------------------------------------------------------------------------------------------------


def prefix_to_record(prefix: Prefix) -> JSONObject:
    """The prefix as a row; tools, codes, unsolved_set, calls and sub_answers are JSON strings, as the paper has it."""
    sample = prefix.sample
    return {
        "id": prefix.id,
        "world": str(sample.metadata.get("world") or f"{prefix.task}/{sample.id}"),
        "task": prefix.task,
        "sample": sample.id,
        "epoch": prefix.epoch,
        "turn": prefix.turn,
        "data_source": str(sample.metadata.get("data_source") or prefix.task),
        "split": str(sample.metadata.get("split") or "train"),
        "messages": [_message_to_json(message) for message in prefix.messages],
        "tools": _text([wire_tool(tool) for tool in sample.tools]),
        "codes": _text(dict(sample.codes)),
        "unsolved_set": _text(prefix.unsolved_set),
        "solve_rate": prefix.solve_rate,
        "answer": sample.gold.answer,
        "rule": prefix.rule,
        "sub_answers": _text(sample.gold.sub_answers),
        "calls": _text([_call_to_json(record) for record in prefix.calls]),
    }


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message_to_json(message: Message) -> MessageJSON:
    """Without what only the provider that wrote it can use."""
    value = message_to_json(message)
    value.pop("echo", None)
    for call in value.get("tool_calls", ()):
        call.pop("echo", None)
    return value


def _call_to_json(record: CallRecord) -> JSONObject:
    return {
        "turn": record.turn,
        "name": record.call.name,
        "arguments": record.call.arguments,
        "raw": record.call.raw,
        "status": record.status,
        "output": record.output,
        **({"fault": record.fault} if record.fault else {}),
    }


def read_prefixes(path: Path) -> list[Prefix]:
    """The prefixes of a file, JSONL or Parquet; a plain environment record is one at turn 0.

    Raises MissingData where there is no file, UsageError for a row that cannot be used.
    """
    if not path.is_file():
        raise MissingData(f"There is no file of prefixes at {path}; `harness collect` writes one.")
    with closing(read_rows(path)) as rows:
        records = enumerate(rows)
        prefixes = [
            prefix_from_record(record, line, f"{path}, record {line + 1}", file_stem(path)) for line, record in records
        ]
    if not prefixes:
        raise UsageError(f"{path} holds no records.")
    return prefixes


def prefix_from_record(record: Any, line: int, where: str, task: str = "") -> Prefix:
    """The inverse of prefix_to_record. `line` is the 0-based row, `where` names the record in errors (UsageError), and
    `task` is that of a plain environment record."""
    current = sample_from_record(record, line, where)
    if record.get("calls") is None or record.get("sub_answers") is None:
        if any(message.role == "assistant" for message in current.messages):
            raise UsageError(f"{where} is an episode's prefix without its calls and sub_answers; collect it anew.")
        return first_prefix(task, current)
    whole = {**record, "id": record.get("sample"), "unsolved_set": record["sub_answers"]}
    try:
        messages = tuple(map(message_from_json, _decoded(record["messages"])))
        whole["messages"] = [_message_to_json(message) for message in messages[: _prompt(messages)]]
        return Prefix(
            task=str(record["task"]),
            sample=sample_from_record(whole, line, where),
            messages=messages,
            unsolved_set=dict(current.gold.sub_answers),
            calls=tuple(map(_call_record, _decoded(record["calls"]))),
            epoch=int(record["epoch"]),
            turn=int(record["turn"]),
            rule="paper" if record.get("rule") == "paper" else "strict",
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"{where} is no prefix: {type(error).__name__} {error}.") from None


def _decoded(value: Any) -> Any:
    return jsonio.parse_json(value) if isinstance(value, str) else value


def _prompt(messages: Sequence[Message]) -> int:
    """How many messages there are before the first turn."""
    return next((index for index, message in enumerate(messages) if message.role == "assistant"), len(messages))


def _call_record(value: JSONObject) -> CallRecord:
    """Raises ValueError for what is none."""
    if fault := find_call_fault(value):
        raise ValueError(f"of a call, {fault}")
    call = ToolCall("", value["name"], value["arguments"], value["raw"])
    return CallRecord(value["turn"], call, value["status"], value["output"], value.get("fault"))
