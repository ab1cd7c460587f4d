"""A build by a model, from its requests to the file: the generator's work, validated like everything else.

What the generator keeps beside the output lets an interrupted build go on at the stage that each environment reached.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuilder.audit.corpus import CorpusAudit, look_at
from envbuilder.audit.environment import audit_environment
from envbuilder.model import (
    TOPICS,
    BuildDirectory,
    EnvironmentRequest,
    ModelGenerator,
    Rejection,
    read_questions,
    requests_from_topics,
)
from envbuilder.model import ModelReport as ModelReport
from envbuilder.plan import BuildPlan, BuildReport
from envbuilder.records import DeployedToolset, JSONObject, environment_record
from envbuilder.spec import PRESETS
from harness.console.progress import ProgressBar
from harness.data import disk, jsonio
from harness.data.files import file_stem, write_rows
from harness.data.records import sample_from_record
from harness.errors import UsageError
from harness.evaluation.descriptors import fit_concurrency
from harness.models import ModelOptions, expand_names, load_model
from harness.redaction import Redactor
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig
from harness.types import Model, Sampling


@dataclass(frozen=True)
class ModelBuildOptions:
    """Which model is asked, how, and for what: `questions`, or else `topics`, or else the bundled topics."""

    model: str
    model_args: Mapping[str, str]
    base_url: str | None
    tries: int
    concurrency: int
    temperature: float
    max_tokens: int
    topics: Path | None
    questions: Path | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    redact: Redactor = field(default_factory=Redactor)

    def load_model(self, seed: int) -> Model:
        """Raises UsageError for a name that means no model, or several."""
        names = expand_names([self.model])
        if len(names) > 1:
            raise UsageError(f"--generator takes one model; {self.model} means {', '.join(names)}.")
        options = ModelOptions(self.model_args, self.base_url, self.concurrency, seed, redact=self.redact)
        return load_model(names[0], replace(options, headers=self.headers))

    def requests(self, plan: BuildPlan) -> tuple[EnvironmentRequest, ...]:
        """Raises UsageError where a file cannot be used or has too few questions."""
        if self.questions is not None:
            found = read_questions(self.questions)
            if len(found) < plan.n:
                raise UsageError(f"{self.questions} holds {len(found)} questions, fewer than --n {plan.n}.")
            return found[: plan.n]
        topics = TOPICS if self.topics is None else _lines(self.topics)
        start = ("train", "validation", "test").index(plan.split) * 1_000_000
        return requests_from_topics(plan.n, plan.kinds, topics, PRESETS[plan.preset].size, plan.seed, start)


def build_file_with_model(
    plan: BuildPlan, work: ModelBuildOptions, out: Path, keep_stages: Path | None, quiet: bool
) -> BuildReport:
    """Builds `plan` into `out`, with a progress bar, and says what was refused, by the generator and by the audit."""
    work = replace(work, concurrency=fit_concurrency(work.concurrency))
    model = work.load_model(plan.seed)
    folder = keep_stages or out.with_name(f".{out.name}.stages")
    with ProgressBar("environment", quiet) as progress, Sandbox(SandboxConfig(limits=UNLIMITED)) as sandbox:
        progress.begin("build", plan.n)
        results = asyncio.run(_generate(plan, work, model, folder, sandbox, progress))
        account = ModelReport.from_directory(folder)
        report = BuildReport(text=account.format_tables())
        rows = list(_accepted(results, plan, sandbox, report))
    if not rows:
        raise UsageError(f"No environment passed; {folder} holds what each stage made.\n{report.text}")
    write_rows(out, rows)
    jsonio.write_json(report_path(out), {"stages": account.to_json(), "refused": dict(report.refused)})
    if keep_stages is None:
        with suppress(OSError):
            shutil.rmtree(folder)
    return report


def report_path(out: Path) -> Path:
    """Where the account of a build by a model stands: requests, tokens and refusals by stage."""
    return out.with_name(f"{file_stem(out)}.report.json")


async def _generate(
    plan: BuildPlan, work: ModelBuildOptions, model: Model, folder: Path, sandbox: Sandbox, progress: ProgressBar
) -> list[DeployedToolset | Rejection]:
    generator = ModelGenerator(
        model,
        sandbox,
        tries=work.tries,
        concurrency=work.concurrency,
        levels=plan.levels,
        size=PRESETS[plan.preset].size,
        sampling=Sampling(work.temperature, work.max_tokens),
    )
    try:
        checkpoint = BuildDirectory(folder, work.redact)
        return await generator.build(work.requests(plan), checkpoint, lambda result: progress.advance())
    finally:
        await model.aclose()


def _accepted(
    results: list[DeployedToolset | Rejection], plan: BuildPlan, sandbox: Sandbox, report: BuildReport
) -> Iterator[JSONObject]:
    corpus = CorpusAudit()
    for line, result in enumerate(results):
        if isinstance(result, Rejection):
            report.refused[f"{result.stage}: {result.reason}"] += 1
            report.text += f"\nenvironment {line}, {result.stage}: {result.message}"
            continue
        record = environment_record(result, plan.split)
        sample = sample_from_record(record, line, record["id"])
        with sandbox.episode() as tools:
            found = {one.check: one for one in audit_environment(sample, tools) if one.fatal}
        report.text += "".join(f"\nenvironment {line}, audit: {one.where}: {one.detail}" for one in found.values())
        fatal = set(found)
        if not fatal and not corpus.add_unless_duplicate(look_at(sample)):
            fatal = {"duplicate"}
        report.refused.update(f"audit: {check}" for check in fatal)
        if not fatal:
            report.built[record["data_source"]] += 1
            yield record


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in disk.read_file(path, links=True).decode().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The topics in {path} cannot be read: {error}.") from None
