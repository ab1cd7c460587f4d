"""One environment, made in a process that makes nothing else: its stages, and the audit of what came out.

Apart from the pipeline, because the worlds and the audit take as long to import as tens of environments take to make:
a command imports this in its workers alone.
"""

from __future__ import annotations

import gc
import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from envbuilder.audit.corpus import look_at
from envbuilder.audit.environment import audit_environment
from envbuilder.plan import BuiltEnvironment
from envbuilder.records import (
    TWINS,
    DeployedToolset,
    Scenario,
    Stages,
    Toolset,
    environment_record,
    stage_to_json,
)
from envbuilder.spec import Generation, Spec
from harness.data.records import sample_from_record
from harness.data.source import parse_source
from harness.errors import HarnessError, UsageError
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig
from harness.types import Sample

MAX_ATTEMPTS = 50
"""Tries for one environment: what fails its audit is drawn again. More would hide a broken generator."""
YOUNG = 100_000
"""New objects before a process that makes environments looks for garbage: an environment is thousands of them, in trees
and texts that refer to nothing that refers back to them."""

_sandbox: Sandbox | None = None


def start_worker() -> None:
    """Makes a process ready for environments."""
    global _sandbox
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent's is enough
    _sandbox = Sandbox(SandboxConfig(workers=1, limits=UNLIMITED))
    gc.freeze()  # what is imported stays
    gc.set_threshold(YOUNG)


def build_environment_record(spec: Spec, keep: bool = False) -> BuiltEnvironment:
    """Runs the five stages and audits what came out; an attempt that fails is drawn again."""
    failed: Counter[str] = Counter()
    make = _make_twins if spec.kind == TWINS else partial(_make_environment, keep=keep)
    for attempt in range(spec.attempt, MAX_ATTEMPTS):
        try:
            made, faults = make(replace(spec, attempt=attempt))
        except LookupError:
            failed["nothing fits"] += 1
            continue
        except UsageError:
            failed["record"] += 1
            continue
        if not faults:
            return replace(made, failed=tuple(failed.elements()))
        failed.update(faults)
    raise HarnessError(
        f"{MAX_ATTEMPTS} attempts at environment {spec.index} ({spec.kind}) failed: {dict(failed)}; this is a fault of "
        "the generator."
    )


def generator_of(generation: Generation) -> Callable[[Spec], Stages]:
    """What runs the five stages; with it come the worlds of that generation, and no others."""
    if generation == 1:
        from envbuilder.generation1.stages.procedural import run_stages as run_first_stages

        return run_first_stages
    from envbuilder.stages.procedural import run_stages

    return run_stages


def _make_environment(spec: Spec, keep: bool) -> tuple[BuiltEnvironment, set[str]]:
    """An environment and the fatal checks that it fails."""
    stages = generator_of(spec.generation)(spec)
    record = environment_record(stages[-1], spec.split)
    for source in stages[-1].codes.values():
        parse_source(source)  # which the audit will do, and reading the record is cheaper after it
    sample = sample_from_record(record, spec.index, record["id"])
    kept = tuple(_stage_line(spec.index, stage) for stage in stages) if keep else ()
    return BuiltEnvironment(spec, record, look_at(sample), kept), _faults(sample)


def _make_twins(spec: Spec) -> tuple[BuiltEnvironment, set[str]]:
    """The twins of a world, the first in front, and what is wrong with them."""
    from envbuilder.when.proof import find_faults
    from envbuilder.when.twins import make_twins

    assert _sandbox is not None
    twins = make_twins(spec)
    first, *others = (twin.record for twin in twins)
    look = look_at(sample_from_record(first, spec.index, first["id"]))
    with _sandbox.episode() as tools:
        return BuiltEnvironment(spec, first, look, others=tuple(others)), find_faults(twins, tools)


def _faults(sample: Sample) -> set[str]:
    """The fatal checks that an environment fails."""
    assert _sandbox is not None
    with _sandbox.episode() as tools:
        return {finding.check for finding in audit_environment(sample, tools) if finding.fatal}


def _stage_line(index: int, stage: Scenario | Toolset | DeployedToolset) -> str:
    return json.dumps({"index": index, **stage_to_json(stage)}, ensure_ascii=False) + "\n"
