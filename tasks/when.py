"""when_*: twins that ask when to call a tool, five a world, 40 worlds; what is right in each is in docs/decisions.md.

Bundled like ftrl_* (tasks.synthesised): fictional facts, the reserved seed, a file that this command gives again:

    harness build --scenario when --n 200 --level easy --split test --seed 20250811 --out when@1.jsonl.xz

    harness eval --model 'policy/*' --tasks 'when_*'
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from harness.data.records import read_samples
from harness.scoring.decisions import FAMILY, SITUATIONS
from harness.task import decision_task
from harness.types import Sample, Task
from tasks.synthesised import SIZE, BundledSet

BUNDLED = BundledSet(
    FAMILY, 1, "easy", 2, "5fbbb840aec27079196e378ff62d792a7b71b0866356dfdc92bd6747db5fbcda", scenario="when"
)
BUNDLED_WORLDS = SIZE // len(SITUATIONS)
ABOUT = {
    "answerable": "the tools know",
    "partial": "the tools know half of it",
    "missing_record": "the tools should know, and have no record",
    "no_tool": "the note knows",
    "tool_gone": "nothing at hand knows",
}


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """One task a situation; the twins of a world share its name, by which results are clustered."""
    return [
        decision_task(
            f"{FAMILY}_{situation}",
            partial(_load, situation),
            group=FAMILY,
            description=f"twins that ask when to call a tool: {about}",
            source=f"harness build {' '.join(BUNDLED.options)}, bundled",
            size=BUNDLED_WORLDS,
            floor=float(not SITUATIONS[situation].due),
        )
        for situation, about in ABOUT.items()
    ]


def _load(situation: str) -> list[Sample]:
    return [sample for sample in _everything() if sample.metadata["data_source"] == f"{FAMILY}/{situation}"]


@cache
def _everything() -> list[Sample]:
    return read_samples(BUNDLED.path, FAMILY, known=BUNDLED.sha256)
