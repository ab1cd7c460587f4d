"""Tiny run directories for tests of results: what `harness eval` leaves, made of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.registry import current_versions
from harness.runs.directory import RUN_SCHEMA, RunDirectory, record_to_line
from harness.runs.summary import summarise_run

Scores = Mapping[str, float | None]
Tasks = Mapping[str, Mapping[str, Sequence[Scores]]]
"""Task to sample to the scores of its epochs."""
KINDS = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")


def write_run(path: Path, tasks: Tasks, **about: Any) -> Path:
    """A finished run of the tasks' current versions. `about`: model, reasoning, groups, clusters (task to sample to
    cluster; default: its own), headline, success, verifier, fingerprints, sampling, floors and weights (by task),
    tables."""
    current = current_versions()
    epochs = len(next(iter(next(iter(tasks.values())).values())))
    model = about.get("model", "test/model")
    manifest = {
        "schema": RUN_SCHEMA,
        "identity": {
            "model": model,
            "model_fingerprint": about.get("model_fingerprint", jsonio.digest(model)),
            "reasoning": about.get("reasoning", "default"),
            "tasks": {name: jsonio.digest([name, sorted(samples)]) for name, samples in tasks.items()}
            | about.get("fingerprints", {}),
            "epochs": epochs,
            "sampling": {"temperature": 0.0, "max_tokens": 100, **about.get("sampling", {})},
            "verifier": about.get("verifier", 1),
        },
        "model": {"backend": model.partition("/")[0]},
        "tasks": {
            name: {
                "headline": about.get("headline", "solve_f1"),
                "success": about.get("success", ["answer_accuracy"]),
                "version": current.get(name, 1),
                **({"floor": about["floors"][name]} if name in about.get("floors", {}) else {}),
                **({"weight": about["weights"][name]} if name in about.get("weights", {}) else {}),
                "clusters": about.get("clusters", {}).get(name) or {sample: f"{name}/{sample}" for sample in samples},
            }
            for name, samples in tasks.items()
        },
        "groups": about.get("groups", {}),
        "tables": about.get("tables", {}),
        "sources": {},
        "sandbox": {},
    }
    records = [
        {**_record(name, sample, epoch, scores), "reasoning": {"turns": int(about.get("reasoning") == "on")}}
        for name, samples in tasks.items()
        for sample, played in samples.items()
        for epoch, scores in enumerate(played)
    ]
    path.mkdir(parents=True)
    jsonio.write_json(path / "manifest.json", manifest)
    (path / "samples.jsonl").write_text("".join(map(record_to_line, records)), encoding="utf-8")
    RunDirectory.open(path).write_summary(summarise_run(manifest, records))
    return path


def _record(task: str, sample: str, epoch: int, scores: Scores) -> dict[str, Any]:
    return {
        "schema": RUN_SCHEMA,
        "key": f"{task}/{sample}/{epoch}",
        "task": task,
        "sample": sample,
        "epoch": epoch,
        "outcome": "ok",
        "stop": "no_tool_calls",
        "messages": [{"role": "assistant", "content": "done"}],
        "calls": [],
        "scores": scores,
        "usage": {},
        "timing": {},
        "error": None,
    }


def one_task(values: Sequence[float], metric: str = "solve_f1", task: str = "t") -> Tasks:
    """A task whose samples s0, s1 ... have one metric, in one epoch."""
    return {task: {f"s{index}": [{metric: value}] for index, value in enumerate(values)}}


def solved(family: str, by_kind: Sequence[Sequence[float]]) -> Tasks:
    """The four scenarios of a family: every value is the strict F1 of an episode; recall is 0.1 above it, precision 0.1
    below, and the paper's rule gives 0.05 more of each."""
    return {
        f"{family}_{kind}": {f"{kind}-{index}": [_solve(value)] for index, value in enumerate(values)}
        for kind, values in zip(KINDS, by_kind, strict=True)
    }


def _solve(f1: float) -> dict[str, float]:
    strict = {"solve_precision": f1 - 0.1, "solve_rate": f1 + 0.1, "solve_f1": f1}
    return strict | {f"paper_{name}": value + 0.05 for name, value in strict.items()} | {"answer_accuracy": 1.0}


def group(family: str) -> dict[str, list[str]]:
    """The group of a family's four scenarios."""
    return {family: [f"{family}_{kind}" for kind in KINDS]}
