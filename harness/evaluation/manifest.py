"""manifest.json of a run: its identity, and what a reader or a summary needs besides."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import harness
from harness.data import jsonio, records
from harness.data.schema import Manifest
from harness.errors import UsageError
from harness.evaluation.plan import Plan, Player, check_sampling, switch_of
from harness.registry import TASK_FILE_SUFFIX, code_digest
from harness.runs.directory import RUN_SCHEMA
from harness.runs.identity import identity_json
from harness.scoring import strict
from harness.types import (
    Sample,
    SimulatedUser,
    Task,
)

PACKAGES = (
    "aiohttp",
    "openai",
    "anthropic",
    "scipy",
    "time-machine",
    "tabulate",
    "torch",
    "tqdm",
    "transformers",
    "vllm",
)


def make_manifest(plan: Plan, player: Player) -> Manifest:
    """manifest.json: `identity` is what makes it this run, the rest is for the reader and for summaries. Raises
    UsageError where the model has no setting for the plan's reasoning or sampling."""
    check_sampling(player.model, plan.sampling)
    names = [name for task, samples in plan.samples.items() for name in (task, *(sample.id for sample in samples))]
    if player.redact.redact_json(names) != names:
        raise UsageError(
            "The name of a task or of a sample holds what this run keeps secret, a key or a header; rename it."
        )
    manifest: Manifest = player.redact.redact_json(_manifest(plan, player))
    return manifest


def _manifest(plan: Plan, player: Player) -> dict[str, Any]:
    fingerprints = {name: records.fingerprint(samples) for name, samples in plan.samples.items()}
    code = _code_of(plan)
    users = {task.name: found for task in plan.tasks if (found := _user_entry(player.user_of(task))) is not None}
    return {
        "schema": RUN_SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": {
            "model": player.model.name,
            "model_fingerprint": jsonio.digest(player.model.fingerprint),
            "reasoning": plan.reasoning.label,
            "reasoning_history": plan.reasoning.history,
            "tasks": fingerprints,
            "epochs": plan.epochs,
            "seed": plan.seed,
            "sampling": identity_json(plan.sampling),
            "limits": identity_json(plan.limits),
            "sandbox": player.sandbox.layers["mode"],
            "verifier": strict.VERSION,
            **({"code": code} if code else {}),
            **({"turns": plan.turns} if plan.turns else {}),
            **({"users": users} if users else {}),
            **({"tool_faults": player.faults.to_json()} if player.faults else {}),
        },
        "model": dict(player.model.fingerprint),
        "reasoning_switch": switch_of(player.model, plan.reasoning),
        "price": player.price.to_json() if player.price else None,
        **({"user": dict(player.user.model.fingerprint)} if player.user else {}),
        **({"user_price": player.user_price.to_json() if player.user_price else None} if users else {}),
        "tasks": {task.name: _task_entry(task, plan.samples[task.name]) for task in plan.tasks},
        "groups": plan.groups,
        **({"tables": plan.tables} if plan.tables else {}),
        "sources": plan.sources,
        "sandbox": dict(player.sandbox.layers),
        "versions": _versions(),
    }


def _code_of(plan: Plan) -> dict[str, str]:
    """A digest of every Python file that tasks came from: its environment and score are part of what a run is."""
    files = (Path(source) for source in plan.sources.get("tasks", ()) if Path(source).suffix == TASK_FILE_SUFFIX)
    return {path.name: code_digest(path) for path in files}


def _user_entry(user: SimulatedUser | None) -> dict[str, Any] | None:
    if user is None:
        return None
    fingerprint = jsonio.digest(user.model.fingerprint)
    return {"model": user.model.name, "model_fingerprint": fingerprint, "sampling": identity_json(user.sampling)}


def _task_entry(task: Task, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "headline": task.headline,
        "success": task.success,
        "source": task.source,
        **({"version": task.version} if task.version != 1 else {}),
        **({"weight": task.weight} if task.weight != 1.0 else {}),
        **({"floor": task.floor} if task.floor else {}),
        "clusters": {sample.id: str(sample.metadata.get("world") or f"{task.name}/{sample.id}") for sample in samples},
    }


def _versions() -> dict[str, str]:
    found = {"harness": harness.__version__, "python": platform.python_version(), "platform": sys.platform}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
