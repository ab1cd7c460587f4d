"""Rows with checks: any set of problems whose success is a list of conditions, from a JSONL or Parquet file.

A row is an environment record with `checks` in place of `unsolved_set`; docs/benchmarks.md has the fields. With a
`state`, its tools take that state as their first argument and may change it, in the sandbox, as tau-bench's do. Here
and not in tasks/, because a file is named by its path and belongs to no benchmark. Left out: conditions on the order of
calls, and a judge.

    harness eval --model policy/oracle --tasks my_checks.jsonl
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.data.files import file_stem, read_rows
from harness.data.records import read_samples, refuse_too_many, sample_from_record
from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.scoring import call_counts, call_rates, strict
from harness.scoring.answer import answer_scores
from harness.types import (
    DigestState,
    EnvironmentWish,
    JSONObject,
    Message,
    RunTools,
    Sample,
    Step,
    Task,
    Trajectory,
    Verdict,
)

KINDS = ("tool_output_contains", "final_answer", "state_eq")
TEXT_KINDS = KINDS[:2]


def read_first_row(path: Path) -> Any:
    """A file's first row, by which it is known what it holds; None where there is no file or no row."""
    return next(iter(read_rows(path)), None) if path.is_file() else None


def has_checks(row: Any) -> bool:
    return isinstance(row, dict) and row.get("checks") is not None


def task_with_checks(path: Path, stateful: bool) -> Task:
    """A file of rows with checks, named by its stem; `stateful`: they have a state, all of them."""
    return Task(
        name=file_stem(path),
        load=lambda: read_samples(path, read=lambda row, line, where: sample_with_checks(row, line, where, stateful)),
        environment=StatefulEnvironment if stateful else ToolEnvironment,
        score=score,
        headline="success",
        success=("success",),
        description="rows with checks from a file",
        source=str(path),
        state=_state if stateful else None,
    )


def _state(sample: Sample) -> str:
    return str(sample.metadata["state"])


# --- reading -----------------------------------------------------------------------------------------------------


def sample_with_checks(row: Any, line: int, where: str, stateful: bool) -> Sample:
    """A checked sample; its checks and its state, as canonical JSON, are in the metadata."""
    if not has_checks(row):
        raise UsageError(f"{where} has no checks, which the file's first row has.")
    if (row.get("state") is not None) is not stateful:
        raise UsageError(f"{where}: either all rows of a file have a state or none.")
    sample = sample_from_record({**row, "unsolved_set": row.get("unsolved_set") or {}}, line, where)
    state = _json(row.get("state"), "state", where)
    checks = _json(row["checks"], "checks", where)
    if not isinstance(checks, list) or not checks:
        raise UsageError(f"{where}: checks must be a list with at least one check.")
    refuse_too_many(checks, "checks", where)
    for check in checks:
        _refuse(check, sample, stateful, where)
    answer = next((check["value"] for check in checks if check["type"] == "final_answer"), sample.gold.answer)
    return replace(
        sample,
        gold=replace(sample.gold, answer=answer),
        metadata={
            **sample.metadata,
            "checks": tuple(checks),
            "digest": jsonio.digest([checks, state]),
            **({"state": jsonio.canonical_json(state)} if stateful else {}),
        },
    )


def _json(value: Any, name: str, where: str) -> Any:
    """A field that may be JSON or, as Parquet has it, a JSON string."""
    if not isinstance(value, str):
        return value
    try:
        return jsonio.parse_json(value)
    except ValueError as error:
        raise UsageError(f"{where}: the field {name!r} is not JSON: {error}.") from None


def _refuse(check: Any, sample: Sample, stateful: bool, where: str) -> None:
    """UsageError for a check that could never hold, or whose meaning is not said."""
    kind = check.get("type") if isinstance(check, dict) else None
    if kind not in KINDS:
        said = "" if kind is None else f", and {str(kind)[:60]!r} is none"
        raise UsageError(f"{where}: every check needs a type ({', '.join(KINDS)}){said}.")
    if kind in TEXT_KINDS and (not isinstance(check.get("value"), str) or strict.is_empty(check["value"])):
        raise UsageError(f"{where}: the value of a {kind} check must be a text with a letter or a digit in it.")
    if (name := check.get("tool")) is not None and (not isinstance(name, str) or name not in sample.codes):
        raise UsageError(f"{where}: a check names the tool {name!r}, which has no code.")
    if kind == "state_eq" and not stateful:
        raise UsageError(f"{where}: a state_eq check needs the row to have a state.")
    if kind == "state_eq" and "value" not in check and sample.gold.calls is None:
        raise UsageError(f"{where}: a state_eq check needs a value, or gold_calls to replay.")


# --- playing -----------------------------------------------------------------------------------------------------


class StatefulEnvironment:
    """An episode whose tools work on a state; at the end it is compared by its digest, and never leaves the sandbox."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools
        self._plain = ToolEnvironment(sample)

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]:
        return (yield from self._plain.step(message, turn))

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]:
        """Digests of the state as it is and, where there are gold calls, as those leave a fresh one."""
        state = yield DigestState()
        if self.sample.gold.calls is None:
            return {"state": state}
        calls = tuple((call.name, call.arguments) for call in self.sample.gold.calls)
        return {"state": state, "gold_state": (yield DigestState(RunTools(self.sample.codes, calls)))}


# --- scoring -----------------------------------------------------------------------------------------------------


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """success: every check holds; checks: the share that does. Never raises, whatever the tools printed."""
    held = [holds for _, holds in judge_checks(sample, trajectory)]
    nothing = (None,) * len(trajectory.calls)
    return Verdict(
        nothing,
        nothing,
        {
            "success": float(all(held)),
            "checks": sum(held) / len(held),
            **call_counts(trajectory),
            **call_rates(trajectory),
        },
    )


def judge_checks(sample: Sample, trajectory: Trajectory) -> list[tuple[Mapping[str, Any], bool]]:
    """Every check of a sample, and whether it holds; none where the sample has no checks."""
    return [(check, _holds(check, sample, trajectory)) for check in sample.metadata.get("checks", ())]


def _holds(check: Mapping[str, Any], sample: Sample, trajectory: Trajectory) -> bool:
    if check["type"] == "tool_output_contains":
        return _output_states(check, trajectory)
    if check["type"] == "final_answer":
        asked = replace(sample, gold=replace(sample.gold, answer=check["value"]))
        return 1.0 in answer_scores(asked, trajectory).values()
    wanted = state_digest(check["value"]) if "value" in check else trajectory.facts.get("gold_state")
    return wanted is not None and trajectory.facts.get("state") == wanted


def _output_states(check: Mapping[str, Any], trajectory: Trajectory) -> bool:
    """Some call of the tool, or of any where none is named, states the value by the strict rule: not in an error, and
    not because the call's own arguments said it."""
    calls = [record for record in trajectory.calls if check.get("tool") in (None, record.call.name)]
    return any(strict.solves([record], {record.call.name: (check["value"],)}) != (None,) for record in calls)


def state_digest(state: Any) -> str:
    """What `harness.sandbox.ToolSession.state_digest` gives for this state: sha256 of its canonical JSON in ASCII.
    As there, 1 and 1.0 are two states."""
    return hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
