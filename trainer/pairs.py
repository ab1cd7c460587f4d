"""Preference pairs: of the attempts at one environment, which is to be preferred to which, by rules that are stated.

An environment is judged by the share of its attempts that are right:

easy    of the right ones that with the fewest calls is preferred to the right one with the most (`fewer_calls`), and
        to the wrong one with the most (`right_over_wrong`)
hard    the right one with the most calls is preferred to the wrong one with the fewest (`longest_right`): there the
        model gives up too early

What is neither gives no pair, nor does what is always wrong. The idea, and the thresholds, are Tool-Light's (arXiv
2509.23285). A pair is a row in the form that TRL has for preferences: `prompt`, `chosen`, `rejected` and `tools`, with
where both come from and the reason beside them. Left out: judging by text.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.data.schema import Record
from harness.errors import UsageError
from harness.evaluation.run_tasks import load_run_tasks
from harness.models.api.chat import wire_tool
from harness.runs.directory import RunDirectory
from harness.runs.results import EpisodeResult
from harness.types import JSONObject, Sample
from results.runs import report_incomplete
from trainer.prefixes import refuse_test_data

Reason = Literal["fewer_calls", "right_over_wrong", "longest_right"]
REASONS: Mapping[Reason, str] = {
    "fewer_calls": "right with fewer calls over right with more",
    "right_over_wrong": "right with few calls over wrong",
    "longest_right": "hard: the longest right over the shortest wrong",
}


@dataclass(frozen=True, slots=True)
class PairRules:
    """When an attempt is right, and which environments are easy or hard.

    metric   what it is judged by; "": the task's own for success, mostly the right answer
    least    from which value it is right
    easy     from this share of right attempts an environment is easy; hard: up to that one it is hard
    random   the preferred attempt is any right one, drawn by `seed`: what the rules add is seen beside this
    """

    metric: str = ""
    least: float = 1.0
    easy: float = 0.7
    hard: float = 0.4
    random: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One episode: `run` is its place among the runs."""

    run: int
    result: EpisodeResult
    right: bool

    @property
    def calls(self) -> int:
        return self.result.calls


Choice = tuple[Attempt, Attempt, Reason]
"""What is preferred, to what, and why."""


def choose_pairs(attempts: Sequence[Attempt], rules: PairRules) -> list[Choice]:
    """The pairs of one environment. Of attempts that are equal by the rules the first counts."""
    right = sorted((one for one in attempts if one.right), key=lambda one: one.calls)
    wrong = sorted((one for one in attempts if not one.right), key=lambda one: one.calls)
    if not right:
        return []
    share = len(right) / len(attempts)
    where = f"{rules.seed}:{right[0].result.task}:{right[0].result.sample}"
    drawn = random.Random(where).choice(right) if rules.random else None
    if share <= rules.hard:
        longest = max(right, key=lambda one: one.calls)
        return [(drawn or longest, wrong[0], "longest_right")] if wrong else []
    if share < rules.easy:
        return []
    best, most = drawn or right[0], max(right, key=lambda one: one.calls)
    pairs: list[Choice] = [(best, most, "fewer_calls")] if most.calls > best.calls else []
    if wrong:
        pairs.append((best, max(wrong, key=lambda one: one.calls), "right_over_wrong"))
    return pairs


# --- from runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairedRuns:
    """Runs, and the attempts at each environment (task, sample) in all of them."""

    runs: Sequence[RunDirectory]
    samples: Mapping[tuple[str, str], Sample]
    attempts: Mapping[tuple[str, str], Sequence[Attempt]]

    @property
    def models(self) -> list[str]:
        """Whose attempts these are, in the order of the runs."""
        return list(dict.fromkeys(str(run.manifest["identity"]["model"]) for run in self.runs))

    def choose(self, rules: PairRules) -> list[Choice]:
        return [choice for attempts in self.attempts.values() for choice in choose_pairs(attempts, rules)]

    def rows(self, choices: Sequence[Choice]) -> Iterator[JSONObject]:
        """The pairs as rows, in their order."""
        needed: dict[tuple[int, str], EpisodeResult] = {
            (one.run, one.result.key): one.result for chosen, rejected, _ in choices for one in (chosen, rejected)
        }
        read = {}
        for place, directory in enumerate(self.runs):
            own = [result for (run, _), result in needed.items() if run == place]
            for record in directory.stream_records(own):
                read[place, record["key"]] = record
        for number, (chosen, rejected, reason) in enumerate(choices):
            sample = self.samples[chosen.result.task, chosen.result.sample]
            both = [read[one.run, one.result.key] for one in (chosen, rejected)]
            yield {"id": str(number), "reason": reason, **_row(sample, *both)} | {
                "chosen_from": self._origin(chosen),
                "rejected_from": self._origin(rejected),
            }

    def _origin(self, attempt: Attempt) -> JSONObject:
        name = self.runs[attempt.run].path.name
        result = attempt.result
        played = {"run": name, "epoch": result.epoch, "outcome": result.outcome}
        return {**played, "right": attempt.right, "calls": attempt.calls}


def _row(sample: Sample, chosen: Record, rejected: Record) -> JSONObject:
    begin = len(sample.messages)
    return {
        "task": chosen["task"],
        "sample": sample.id,
        "world": str(sample.metadata.get("world") or f"{chosen['task']}/{sample.id}"),
        "prompt": chosen["messages"][:begin],
        "chosen": chosen["messages"][begin:],
        "rejected": rejected["messages"][begin:],
        "tools": json.dumps([wire_tool(tool) for tool in sample.tools], ensure_ascii=False),
    }


def read_paired_runs(paths: Sequence[Path], rules: PairRules, trust_code: bool = False) -> PairedRuns:
    """The runs' attempts, those left out that an error of the infrastructure ended or that said nothing.

    Raises UsageError for test data, for runs whose tools failed by different plans, for one that is given twice, and
    where nothing was played twice.
    """
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise UsageError(f"{path} is given twice, and each of its attempts would count twice; name it once.")
    runs = [RunDirectory.open(path) for path in paths]
    if len({json.dumps(run.manifest["identity"].get("tool_faults")) for run in runs}) > 1:
        raise UsageError("The tools of these runs did not fail alike (tool_faults): their episodes are no pairs.")
    samples: dict[tuple[str, str], Sample] = {}
    attempts: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for place, run in enumerate(runs):
        samples |= _training_samples(run, samples, trust_code)
        is_right = _judge(run, rules)
        results = run.read_results()
        report_incomplete(run, len(results))
        for result in results:
            if result.outcome != "infrastructure_error" and result.spoke:
                attempts[result.task, result.sample].append(Attempt(place, result, is_right(result)))
    if not any(len(found) > 1 for found in attempts.values()):
        raise UsageError("Nothing was played twice in these runs; collect with --epochs 8, or name several runs.")
    return PairedRuns(runs, samples, attempts)


def _training_samples(
    run: RunDirectory, known: Mapping[tuple[str, str], Sample], trust_code: bool
) -> dict[tuple[str, str], Sample]:
    tasks = load_run_tasks(run, trust_code=trust_code)
    refuse_test_data([task for task, _ in tasks.values()], {n: list(s.values()) for n, (_, s) in tasks.items()}, {})
    found = {(name, sample.id): sample for name, (_, own) in tasks.items() for sample in own.values()}
    for place, sample in found.items():
        if known.get(place, sample).messages != sample.messages:
            raise UsageError(f"{run.path}: {place[0]} asks {place[1]!r} something else than in the runs before.")
    return found


def _judge(run: RunDirectory, rules: PairRules) -> Callable[[EpisodeResult], bool]:
    """Whether an episode of this run is right. It raises UsageError for one that has none of the metrics."""

    def is_right(result: EpisodeResult) -> bool:
        names = [rules.metric] if rules.metric else run.manifest["tasks"][result.task].get("success", [])
        metric = next((name for name in names if name in result.scores), None)
        if metric is None:
            raise UsageError(f"{run.path}: episodes of {result.task} have no {' or '.join(names) or 'success'}.")
        value = result.scores[metric]
        return value is not None and value >= rules.least

    return is_right
