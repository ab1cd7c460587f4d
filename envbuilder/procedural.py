"""The procedural generator: environments without a model, in any number, the same ones for the same spec.

`build` runs the five stages. A scenario is drawn again where a text that the model can read states a sub-answer; facts
of the world cannot leak, because no two cells hold a sub-answer. Left out: running the code, which the validator does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from envbuilder.deployment import deploy
from envbuilder.documents import write
from envbuilder.integration import integrate
from envbuilder.records import Deployed, Toolset
from envbuilder.scaling import scale
from envbuilder.scenario import decompose
from envbuilder.spec import Spec
from harness.scoring.normalise import leaf
from harness.scoring.strict import states

TRIES = 50


def build(spec: Spec) -> Deployed:
    """The environment of a spec, or of its next attempt that leaks nothing. Raises LookupError where none is found."""
    for attempt in range(spec.attempt, spec.attempt + TRIES):
        drawn = replace(spec, attempt=attempt)
        toolset = scale(integrate(write(decompose(drawn))), drawn)
        if not leaks(toolset):
            return deploy(toolset)
    raise LookupError(f"{TRIES} scenarios were drawn for {spec}, and every one leaks a sub-answer")


def leaks(toolset: Toolset) -> list[str]:
    """The sub-answers that the question, a description or a schema states, or that their own gold arguments state."""
    visible = list(_visible(toolset))
    text = "\n".join(visible).casefold().replace(",", "")
    answers = [hop.answer for hop in toolset.scenario.hops]
    suspects = [answer for answer in answers if answer.casefold().replace(",", "")[:4] in text]
    found = [answer for answer in suspects if states(map(leaf, visible), answer)]
    return found + [answer for answer in answers if answers.count(answer) > 1]


def _visible(toolset: Toolset) -> Iterator[str]:
    yield toolset.scenario.question
    for document in toolset.documents:
        yield document.description
        yield json.dumps(document.parameters, ensure_ascii=False)
