"""A build by a model, from its requests to the file: the generator's work, validated like everything else.

What the generator keeps beside the output lets an interrupted build go on at the stage that each environment reached.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from envbuilder.audit.corpus import CorpusAudit
from envbuilder.audit.environment import audit
from envbuilder.model import TOPICS, Checkpoint, ModelGenerator, Rejection, Request, from_topics, read_questions
from envbuilder.model import Report as ModelReport
from envbuilder.plan import Plan, Report
from envbuilder.records import Deployed, JSONObject, environment_record
from envbuilder.spec import PRESETS
from harness.data import files as datafiles
from harness.data.records import sample_from_record
from harness.errors import UsageError
from harness.sandbox import Sandbox
from harness.types import Model, Sampling

Watch = Callable[[Deployed | Rejection], None]


@dataclass(frozen=True)
class ModelBuild:
    """How a model is asked, and for what: `questions`, or else `topics`, or else the bundled topics."""

    model: Model
    tries: int
    concurrency: int
    temperature: float
    max_tokens: int
    topics: Path | None
    questions: Path | None
    redact: Callable[[str], str]

    def requests(self, plan: Plan) -> tuple[Request, ...]:
        """Raises UsageError where a file cannot be used or has too few questions."""
        if self.questions is not None:
            found = read_questions(self.questions)
            if len(found) < plan.n:
                raise UsageError(f"{self.questions} holds {len(found)} questions, fewer than --n {plan.n}.")
            return found[: plan.n]
        topics = TOPICS if self.topics is None else _lines(self.topics)
        start = ("train", "validation", "test").index(plan.split) * 1_000_000
        return from_topics(plan.n, plan.kinds, topics, PRESETS[plan.preset].size, plan.seed, start)


def build(plan: Plan, work: ModelBuild, out: Path, keep_stages: Path | None, watch: Watch) -> Report:
    """Builds `plan` into `out` and says what was refused, by the generator and by the audit."""
    folder = keep_stages or out.with_name(f".{out.name}.stages")
    with Sandbox() as sandbox:
        results = asyncio.run(_generate(plan, work, folder, sandbox, watch))
        report = Report(text=ModelReport.of(folder).table())
        rows = list(_accepted(results, plan, sandbox, report))
    if not rows:
        raise UsageError(f"No environment passed; {folder} holds what each stage made.\n{report.text}")
    datafiles.write_rows(out, rows)
    if keep_stages is None:
        with suppress(OSError):
            shutil.rmtree(folder)
    return report


async def _generate(
    plan: Plan, work: ModelBuild, folder: Path, sandbox: Sandbox, watch: Watch
) -> list[Deployed | Rejection]:
    generator = ModelGenerator(
        work.model,
        sandbox,
        tries=work.tries,
        concurrency=work.concurrency,
        levels=plan.levels,
        size=PRESETS[plan.preset].size,
        sampling=Sampling(work.temperature, work.max_tokens),
    )
    try:
        checkpoint = Checkpoint(folder, work.redact)
        return await generator.build(work.requests(plan), checkpoint, watch)
    finally:
        await work.model.aclose()


def _accepted(
    results: list[Deployed | Rejection], plan: Plan, sandbox: Sandbox, report: Report
) -> Iterator[JSONObject]:
    corpus = CorpusAudit()
    for line, result in enumerate(results):
        if isinstance(result, Rejection):
            report.refused[f"{result.stage}: {result.reason}"] += 1
            continue
        record = environment_record(result, plan.split)
        sample = sample_from_record(record, line, record["id"])
        with sandbox.episode() as tools:
            fatal = {finding.check for finding in audit(sample, tools) if finding.fatal}
        if not fatal and not corpus.accepts(sample):
            fatal = {"duplicate"}
        report.refused.update(f"audit: {check}" for check in fatal)
        if not fatal:
            report.built[record["data_source"]] += 1
            yield record


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The topics in {path} cannot be read: {error}.") from None
