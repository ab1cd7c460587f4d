"""The table of a reproduction: base and trained model, the published rows beside them, and why a column is missing."""

from __future__ import annotations

from collections.abc import Mapping

from results.layouts.paper import PaperOptions, paper_table
from results.render import simple
from results.runs import read_runs
from trainer.reproduction.plan import BENCHMARKS, SIDES, Reproduction, player
from trainer.reproduction.rows import ROUNDS

REHEARSAL = (
    "A rehearsal: another model, four samples a task, a few steps. Its numbers say that the commands run, and no more."
)


def make_table(request: Reproduction, missing: Mapping[str, str]) -> str:
    """As text."""
    folder = request.out / "evaluation"
    played = [folder / side / group for side in SIDES for group in BENCHMARKS if group not in missing]
    rehearsed = bool(request.sizes.train)
    parts = [REHEARSAL] if rehearsed else []
    if played:
        labels = {
            player(request, request.weights): request.weights,
            player(request, request.trained): f"{request.weights} + {ROUNDS} rounds of {request.row.algorithm.upper()}",
        }
        shown = (request.row.base, request.row.published)
        options = PaperOptions("paper", "paper", [str(folder / SIDES[0])], True, shown, labels)
        parts.append(simple(paper_table(read_runs(played), options)))
    if missing:
        parts.append("\n".join(f"No {BENCHMARKS[group]}: {reason}" for group, reason in missing.items()))
    return "\n\n".join(parts)
