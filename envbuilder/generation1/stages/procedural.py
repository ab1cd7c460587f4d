"""The procedural generator: environments without a model, in any number, the same ones for the same spec.

`run_stages` runs the five stages; the pipeline audits what they make. `build_environment` asks for less, without
running any code: a scenario is drawn again where a text that the model can read states a sub-answer. Facts of the world
cannot leak, because no two cells hold a sub-answer.
"""

from __future__ import annotations

from dataclasses import replace

from envbuilder.audit.leaks import find_leaked_answers
from envbuilder.generation1.stages.deployment import deploy_toolset
from envbuilder.generation1.stages.documents import write_documents
from envbuilder.generation1.stages.integration import integrate_documents
from envbuilder.generation1.stages.scaling import scale_toolset
from envbuilder.generation1.stages.scenario import decompose_scenario
from envbuilder.records import DeployedToolset, Stages
from envbuilder.spec import Spec

TRIES = 50


def run_stages(spec: Spec) -> Stages:
    """What each of the five stages makes of a spec. Raises LookupError where nothing fits it."""
    decomposed = decompose_scenario(spec)
    documented = write_documents(decomposed)
    integrated = integrate_documents(documented)
    scaled = scale_toolset(integrated, spec)
    return decomposed, documented, integrated, scaled, deploy_toolset(scaled)


def build_environment(spec: Spec) -> DeployedToolset:
    """The environment of a spec, or of its next attempt that leaks nothing. Raises LookupError where none is found."""
    for attempt in range(spec.attempt, spec.attempt + TRIES):
        *_, scaled, deployed = run_stages(replace(spec, attempt=attempt))
        if not find_leaked_answers(scaled):
            return deployed
    raise LookupError(f"{TRIES} scenarios were drawn for {spec}, and every one leaks a sub-answer")
