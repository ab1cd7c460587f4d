"""What a build is asked for, and what it came to; the same for every generator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envbuilder.records import TWINS, JSONObject, QuestionKind, Split
from envbuilder.spec import GENERATION, Generation, Levels, NamePolicy, Preset, Spec, preset_of
from harness.errors import UsageError
from harness.scoring.decisions import SITUATIONS

if TYPE_CHECKING:
    from envbuilder.audit.corpus import Look


@dataclass(frozen=True)
class BuildPlan:
    """What is built. `n` environments in all, the kinds in turn."""

    kinds: tuple[QuestionKind, ...]
    n: int
    preset: Preset
    levels: Levels
    seed: int
    split: Split
    names: NamePolicy = "disjoint"
    generation: Generation = GENERATION
    about: tuple[str, ...] = ()
    """Kinds of things; none means what the preset has."""

    def __post_init__(self) -> None:
        """Raises UsageError for kinds of things where none can be chosen."""
        if self.about and self.generation == 1:
            raise UsageError(
                "The first generation has kinds of things of its own: leave them out, or build the second."
            )

    @property
    def twins(self) -> int:
        """How many environments a world has."""
        return len(SITUATIONS) if self.kinds == (TWINS,) else 1

    @property
    def worlds(self) -> int:
        return self.n // self.twins

    def spec(self, index: int, attempt: int = 0) -> Spec:
        return Spec(
            kind=self.kinds[index % len(self.kinds)],
            index=index,
            seed=self.seed,
            split=self.split,
            names=self.names,
            preset=self.preset,
            levels=None if self.levels == preset_of(self.preset, self.generation).levels else self.levels,
            attempt=attempt,
            generation=self.generation,
            about=self.about,
        )


@dataclass
class BuildReport:
    """What a build did: environments by kind, attempts, and why attempts were refused."""

    built: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    text: str = ""


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that passed: its record, what is compared with others, lines of JSON of what each stage made, if
    that is wanted, the other twins of its world, if it has any, and the checks that earlier attempts failed."""

    spec: Spec
    record: JSONObject
    look: Look
    stages: tuple[str, ...] = ()
    others: tuple[JSONObject, ...] = ()
    failed: tuple[str, ...] = ()
