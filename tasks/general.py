"""general_*: what a model could do before it was trained on tools, and should still: MMLU, BBH, GSM8K, MATH, HumanEval,
MBPP and IFEval, as lm-eval has them for chat models.

Prompts, extraction and metrics are lm-eval's (0.4.13; EleutherAI, MIT), the rest is a run like any other: compare two
with `harness compare`. Needs the lm-eval extra; the two that run code also HF_ALLOW_CODE_EVAL=1. The data is not
shipped: a path each, the file of the test split or a folder with the hub's layout.

    harness eval --model M --tasks general_gsm8k --data gsm8k=test.jsonl

Left out: the paper's own prompts and extractors, with which these numbers cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from harness.environment import TextEnvironment
from harness.scoring import call_counts
from harness.types import Environment, Sample, Scores, Task, Trajectory, Verdict
from tasks.lmeval import suite
from tasks.lmeval.benchmarks import BENCHMARKS, PASSED, Benchmark
from tasks.lmeval.code import CodeEnvironment
from tasks.lmeval.suite import LoadSuite


def _tasks(benchmark: Benchmark, data: Mapping[str, Path]) -> list[Task]:
    """The one task of a data set; loading it without the data raises MissingData."""
    path = data.get(benchmark.data)
    load = cache(partial(suite.load_suite, benchmark, path))
    return [
        Task(
            name=benchmark.name,
            load=lambda: suite.make_samples(load()),
            environment=partial(_environment, benchmark, load),
            score=partial(score, benchmark, load),
            headline=benchmark.headline,
            success=(benchmark.headline,),
            description=benchmark.about,
            source=str(path) if path else f"--data {benchmark.data}=PATH",
            max_turns=1,
        )
    ]


mmlu = partial(_tasks, BENCHMARKS["mmlu"])
bbh = partial(_tasks, BENCHMARKS["bbh"])
gsm8k = partial(_tasks, BENCHMARKS["gsm8k"])
math = partial(_tasks, BENCHMARKS["math"])
humaneval = partial(_tasks, BENCHMARKS["humaneval"])
mbpp = partial(_tasks, BENCHMARKS["mbpp"])
ifeval = partial(_tasks, BENCHMARKS["ifeval"])


def _environment(benchmark: Benchmark, load: LoadSuite, sample: Sample) -> Environment:
    if benchmark.code:
        return CodeEnvironment(sample, lambda sample, spoken: suite.make_program(load(), sample, spoken))
    return TextEnvironment(sample)


def score(benchmark: Benchmark, load: LoadSuite, sample: Sample, trajectory: Trajectory) -> Verdict:
    """lm-eval's metrics; for code, whether its tests passed when the episode ended. A failed episode scores what an
    empty reply does."""
    scores: Scores
    if benchmark.code:
        scores = {PASSED: float(trajectory.facts.get("passed") is True)}
    else:
        scores = suite.score_reply(load(), sample, trajectory)
    none = (None,) * len(trajectory.calls)
    return Verdict(none, none, {**scores, **call_counts(trajectory)})
