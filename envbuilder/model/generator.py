"""The model generator: environments made by a language model in five stages, many at once, each on its own.

An environment goes through the stages one after the other; what each stage made is kept at once, so that a build that
was interrupted goes on where every environment stood. Left out: splits, near-duplicates across environments and the
output file, which are the same for every generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from envbuilder.model import stages
from envbuilder.model.author import Author, InvalidReply, StageUsage, read_package_text
from envbuilder.model.checkpoint import BuildDirectory, Rejection, StageProduct
from envbuilder.model.requests import EnvironmentRequest, ScalingTargets
from envbuilder.model.stages import STAGES, StageContext
from envbuilder.model.trial import ToolTrial
from envbuilder.records import QUESTION_KINDS, DeployedToolset, Scenario, Toolset
from envbuilder.spec import PAPER, Levels, Size
from harness.data import jsonio
from harness.errors import ModelFailure, UsageError
from harness.runs.identity import identity_json
from harness.sandbox import Sandbox
from harness.stops import REFUSED_AT_THE_DOOR
from harness.types import Model, Sampling

HOPELESS = REFUSED_AT_THE_DOOR | {"insufficient_quota"}
"""Failures that every further request would share: they end the build, which can be resumed."""
PROMPTS = (
    "scenario",
    "topic",
    "question",
    "documents",
    "integration",
    "scaling",
    "calls",
    "code",
    "distractor",
    "repair",
)

Result = DeployedToolset | Rejection


class ModelGenerator:
    """Builds environments with a model. `tries` bounds the replies to each thing that is asked; `concurrency` counts
    environments in work, and the backend bounds requests."""

    def __init__(
        self,
        model: Model,
        sandbox: Sandbox,
        *,
        tries: int = 3,
        concurrency: int = 8,
        levels: Levels = PAPER.levels,
        size: Size = PAPER.size,
        sampling: Sampling | None = None,
    ) -> None:
        self.scale = ScalingTargets(levels, size)
        self.sampling = sampling or Sampling()
        self._tries = tries
        self._concurrency = max(1, concurrency)
        self._model = model
        self._shop = StageContext(Author(model, self.sampling, tries), ToolTrial(sandbox), self.scale)

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the build beside its requests."""
        return {
            "model": dict(self._model.fingerprint),
            "sampling": identity_json(self.sampling),
            "levels": asdict(self.scale.levels),
            "distractors": {kind: self.scale.distractor_count(kind) for kind in QUESTION_KINDS},
            "tries": self._tries,
            "prompts": jsonio.digest([read_package_text(f"prompts/{name}.md") for name in PROMPTS]),
        }

    async def build(
        self,
        requests: Sequence[EnvironmentRequest],
        checkpoint: BuildDirectory,
        on_done: Callable[[Result], None] | None = None,
    ) -> list[Result]:
        """One result a request, in their order; `on_done` is told of each as it comes.

        Raises UsageError for a checkpoint of another build and for a model that cannot be reached, SandboxError where
        code cannot be run. What was made until then is kept.
        """
        if len({request.index for request in requests}) != len(requests):
            raise UsageError("Two requests of a build have the same index.")
        results: dict[int, Result] = {}
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                results[request.index] = await self._environment(request, checkpoint)
                if on_done is not None:
                    on_done(results[request.index])

        with checkpoint:
            checkpoint.start(self.identity)
            await together([work() for _ in range(min(self._concurrency, len(requests)))])
            checkpoint.finish()
        return [results[request.index] for request in requests]

    async def _environment(self, request: EnvironmentRequest, checkpoint: BuildDirectory) -> Result:
        """One environment, from the stage that it has reached."""
        reached = checkpoint.find_progress(request)
        if isinstance(reached, Rejection):
            return reached
        product = reached.product
        for stage in STAGES[reached.stages :]:
            ledger = StageUsage()
            try:
                product = await self._stage(stage, request, product, ledger)
            except InvalidReply as invalid:
                return checkpoint.append_rejection(request, stage, invalid, ledger)
            except ModelFailure as failure:
                if failure.stop in HOPELESS:
                    raise UsageError(f"The build cannot go on, and can be resumed: {failure}") from None
                return Rejection(request.index, stage, failure.stop, str(failure))
            checkpoint.append_product(request, stage, product, ledger)
        return cast(DeployedToolset, product)

    async def _stage(
        self, stage: str, request: EnvironmentRequest, product: StageProduct | None, ledger: StageUsage
    ) -> StageProduct:
        match stage:
            case "scenario":
                return await stages.write_scenario(self._shop, request, ledger)
            case "documents":
                return await stages.write_documents(self._shop, cast(Scenario, product), ledger)
            case "integration":
                return await stages.integrate_documents(self._shop, cast(Toolset, product), ledger)
            case "scaling":
                return await stages.scale_toolset(self._shop, cast(Toolset, product), ledger)
            case _:
                return await stages.deploy_toolset(self._shop, cast(Toolset, product), ledger)


async def together(work: Sequence[Any]) -> None:
    """Runs coroutines side by side; the first that fails ends the others, and is what is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
