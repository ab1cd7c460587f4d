"""Which sub-answers a toolset tells before anything was called; without running code."""

from __future__ import annotations

import json
from collections.abc import Iterator

from envbuilder.records import Toolset
from harness.scoring.leaves import leaf
from harness.scoring.phrases import mentions


def find_leaked_answers(toolset: Toolset) -> list[str]:
    """The sub-answers that the question, a description or a schema states, or that their own gold arguments state."""
    visible = list(_visible(toolset))
    text = "\n".join(visible).casefold().replace(",", "")
    answers = [hop.answer for hop in toolset.scenario.hops]
    suspects = [answer for answer in answers if answer.casefold().replace(",", "")[:4] in text]
    found = [answer for answer in suspects if mentions(map(leaf, visible), answer)]
    return found + [answer for answer in answers if answers.count(answer) > 1]


def _visible(toolset: Toolset) -> Iterator[str]:
    yield toolset.scenario.question
    for document in toolset.documents:
        yield document.description
        yield json.dumps(document.parameters, ensure_ascii=False)
