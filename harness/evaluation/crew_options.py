"""From the options of `harness eval --ray` to crews; whatever cannot travel is refused before Ray is started.

Actors get what was typed, and Ray shows arguments to whoever looks into its cluster. So no option may hold a key.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness.distributed.cluster import connect
from harness.errors import UsageError
from harness.evaluation.command import Evaluation
from harness.evaluation.crew import Crew
from harness.evaluation.crew_member import Job, ModelWords
from harness.evaluation.plan import Plan
from harness.models import arguments_of, expand_names
from harness.registry import TASK_FILE_SUFFIX, code_digest
from harness.types import Model, Sampling


def run_with_crews(args: argparse.Namespace, evaluation: Evaluation) -> int:
    """Plays and reports as Evaluation.run does, on the cluster that the options name. Raises UsageError."""
    jobs = [_job(args, evaluation, model) for model in evaluation.models]
    _check_travels(args, evaluation, jobs)
    with connect(args.ray, args.ray_keys) as cluster:
        crews = [
            Crew(model, job, cluster, evaluation.concurrency)
            for model, job in zip(evaluation.models, jobs, strict=True)
        ]
        return replace(evaluation, models=crews).run()


def _job(args: argparse.Namespace, evaluation: Evaluation, model: Model) -> Job:
    sources = evaluation.plan.sources
    own = "--max-tokens" if args.max_tokens else None
    name = _full_name(model, args.model)
    return Job(
        tasks=sources["tasks"],
        data=sources["data"],
        code={
            Path(task).name: code_digest(Path(task))
            for task in sources["tasks"]
            if Path(task).suffix == TASK_FILE_SUFFIX
        },
        model=ModelWords(
            name, arguments_of(name, args.model_arg), args.base_url, evaluation.concurrency, args.seed, own
        ),
        fingerprint=model.fingerprint,
        sandbox=replace(evaluation.sandbox, workers=1),
        max_wait=evaluation.max_wait,
        folder=str(Path.cwd()),
        user=_user_words(args),
        user_sampling=evaluation.user.sampling if evaluation.user else Sampling(),
        faults=evaluation.faults,
    )


def _full_name(model: Model, patterns: Sequence[str]) -> str:
    """The name that a model was loaded by, which may hold more than the one that is shown."""
    names = expand_names(patterns)
    return model.name if model.name in names or len(names) > 1 else names[0]


def _user_words(args: argparse.Namespace) -> ModelWords | None:
    if args.user_model is None:
        return None
    (name,) = expand_names([args.user_model])
    own = "--user-max-tokens" if args.user_max_tokens else None
    base_url = args.user_base_url or args.base_url
    return ModelWords(name, args.user_model_arg, base_url, args.concurrency, args.user_seed, own)


def _check_travels(args: argparse.Namespace, evaluation: Evaluation, jobs: Sequence[Job]) -> None:
    """Raises UsageError for what an actor must not be sent, and for what it cannot be."""
    if args.header or args.user_header:
        raise UsageError(
            "--header may hold a key and does not travel with --ray: set OPENAI_CUSTOM_HEADERS or "
            "ANTHROPIC_CUSTOM_HEADERS where the actors run, or here and name it with --ray-keys."
        )
    for job in jobs:
        if job.model.name.startswith("vllm-server/") and "://" not in job.model.name:
            raise UsageError(
                f"{job.model.name} starts a server beside the command: with --ray take vllm/, an engine an actor."
            )
        told = asdict(job)
        if evaluation.redact.redact_json(told) != told:
            raise UsageError(
                f"An option for {job.model.name} holds a key, which --ray would send as it was typed: set its variable "
                "where the actors run, or here and name it with --ray-keys."
            )
    _check_samples(evaluation.plan)


def _check_samples(plan: Plan) -> None:
    """One sample of each task is tried: those of a task are of one make."""
    for task in plan.tasks:
        try:
            pickle.loads(pickle.dumps(plan.samples[task.name][0]))
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"The samples of {task.name} cannot be sent to another process (--ray): {said}.") from None
