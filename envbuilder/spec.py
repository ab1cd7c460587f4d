"""What to build: which environment of which kind, and how hard. The same spec always gives the same environment.

A preset says how large a scenario is, how many distractors it has, and at which level each of the four scaling
strategies works; `levels` replaces only the latter. Nothing here draws at random but `spread_draw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Literal, get_args

from envbuilder.records import QUESTION_KINDS, TWINS, QuestionKind, Split
from harness.errors import UsageError

NamePolicy = Literal["disjoint", "shared"]
Preset = Literal["micro", "easy", "paper", "hard"]
Weights = tuple[tuple[int, float], ...]
"""(number, weight) pairs."""

Generation = Literal[1, 2]
GENERATIONS: tuple[Generation, ...] = get_args(Generation)
GENERATION: Generation = 2
"""What is built unless something else is asked for."""
MAX_LEVEL = 3
_STEPS = {"hops": 0.6180339887, "distractors": 0.4142135624}  # irrational: no two indices repeat


@dataclass(frozen=True, slots=True)
class Levels:
    """How far each means of making it hard goes, 0 to 3.

    The paper's four strategies (functionality, number of parameters, their types, distractors), and those of the
    second generation: identifiers that one tool gives and another wants, options that decide, tools that overlap,
    lists to work through, units that have to be converted.
    """

    generalise: int
    parameters: int
    types: int
    distractors: int
    identifiers: int = 0
    options: int = 0
    overlap: int = 0
    lists: int = 0
    units: int = 0

    def __post_init__(self) -> None:
        for field_ in fields(self):
            if getattr(self, field_.name) not in range(MAX_LEVEL + 1):
                raise ValueError(f"{field_.name} is a level from 0 to {MAX_LEVEL}")

    @property
    def seed_text(self) -> str:
        """What a seed says of the levels: the paper's four as they always were written, then what is not 0."""
        four = [f"{name}={getattr(self, name)}" for name in STRATEGIES]
        more = [
            f"{field_.name}={getattr(self, field_.name)}"
            for field_ in fields(self)
            if field_.name not in STRATEGIES and getattr(self, field_.name)
        ]
        return f"Levels({', '.join([*four, *more])})"


STRATEGIES = ("generalise", "parameters", "types", "distractors")
MEANS = tuple(field_.name for field_ in fields(Levels))
"""The paper's four scaling strategies, the only ones of the first generation."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a scenario is: rows of a table, hops by kind, distractors by kind at level 2, and terse wording.

    With `tools` the distractors fill the toolset up to so many tools instead; with `kinds` the whole environment is
    about these kinds of things (envbuilder/worlds/domains).
    """

    rows: tuple[int, int]
    hops: Mapping[QuestionKind, Weights]
    distractors: Mapping[QuestionKind, Weights] = field(default_factory=dict)
    tools: int | None = None
    terse: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """One environment. `levels` None and no `about` mean the preset's own; `attempt` is raised when an earlier one was
    rejected."""

    kind: QuestionKind
    index: int
    seed: int
    split: Split
    names: NamePolicy = "disjoint"
    preset: Preset = "paper"
    levels: Levels | None = None
    attempt: int = 0
    generation: Generation = GENERATION
    about: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = self.kind in (*QUESTION_KINDS, TWINS) and self.preset in PRESETS and self.generation in GENERATIONS
        if not known or self.index < 0 or self.attempt < 0:
            raise ValueError(f"no such environment: {self}")

    @property
    def world(self) -> str:
        """Unique to the environment, whatever the attempt."""
        names = "" if self.names == "disjoint" else "-shared"
        return f"{self._prefix}{self.preset}-{self.seed}{names}-{self.split}-{self.kind}-{self.index}"

    @property
    def _prefix(self) -> str:
        """What words of a later generation begin with; the first one's have nothing, and stay as they are."""
        return "" if self.generation == 1 else f"g{self.generation}-"

    @property
    def seed_text(self) -> str:
        """What all randomness of the environment is seeded with."""
        levels = "" if self.levels is None else self.levels.seed_text
        words = f"{self.seed}|{self.split}|{self.names}|{self.index}|{self.attempt}|{self.kind}|{self.preset}|{levels}"
        return self._prefix + words + (f"|{' '.join(self.about)}" if self.about else "")

    def spread_draw(self, what: str) -> float:
        """A number from 0 to 1, spread evenly over consecutive indices and the same for every attempt.

        Sizes are drawn with it, so that a few dozen environments already have the sizes of the preset, whatever was
        rejected on the way.
        """
        words = f"{self.seed}|{self.split}|{self.names}|{self.kind}|{self.preset}|{what}"
        start = Random(self._prefix + words).random()
        return (start + self.index * _STEPS[what]) % 1.0

    @property
    def effective_levels(self) -> Levels:
        return self.levels or preset_of(self.preset, self.generation).levels

    @property
    def size(self) -> Size:
        size = preset_of(self.preset, self.generation).size
        return replace(size, kinds=self.about) if self.about else size


@dataclass(frozen=True, slots=True)
class PresetDefinition:
    """A preset: a size and the levels that go with it."""

    size: Size
    levels: Levels
    about: str = field(default="")


def pick_weighted(weights: Weights, draw: float) -> int:
    """The number at `draw`, from 0 to 1, when each takes as much room as its weight."""
    left = draw * sum(weight for _, weight in weights)
    for number, weight in weights:
        left -= weight
        if left < 0:
            return number
    return weights[-1][0]


def _by_kind(
    single: Weights, parallel: Weights, multi: Weights, parallel_multi: Weights
) -> dict[QuestionKind, Weights]:
    return dict(zip(QUESTION_KINDS, (single, parallel, multi, parallel_multi), strict=True))


MICRO = PresetDefinition(
    Size(
        rows=(3, 4),
        hops=_by_kind(((1, 1),), ((2, 1),), ((2, 1),), ((3, 1),)),
        tools=4,
        terse=True,
        kinds=("town", "club", "stadium", "athlete", "firm", "boss", "school", "teacher"),
    ),
    Levels(generalise=1, parameters=0, types=0, distractors=2, options=1),
    "four tools of two or three parameters about a few kinds of things: for models of a few million parameters",
)
EASY = PresetDefinition(
    Size(
        rows=(4, 5),
        hops=_by_kind(((1, 1),), ((2, 1),), ((2, 0.6), (3, 0.4)), ((4, 0.5), (5, 0.5))),
        distractors=_by_kind(((4, 1),), ((4, 1),), ((3, 1),), ((3, 1),)),
    ),
    Levels(generalise=1, parameters=1, types=1, distractors=1, identifiers=1, options=1, overlap=0, lists=1, units=1),
    "short chains, few parameters",
)
PAPER = PresetDefinition(
    Size(
        rows=(4, 5),
        hops=_by_kind(
            ((1, 1),),
            ((2, 0.92), (3, 0.08)),
            ((2, 0.13), (3, 0.06), (4, 0.09), (5, 0.15), (6, 0.31), (7, 0.11), (8, 0.08), (9, 0.05), (10, 0.02)),
            ((6, 0.26), (7, 0.24), (8, 0.34), (9, 0.11), (10, 0.05)),
        ),
        distractors=_by_kind(
            ((4, 0.1), (5, 0.2), (6, 0.2), (7, 0.25), (8, 0.15), (9, 0.1)),
            ((3, 0.06), (4, 0.15), (5, 0.25), (6, 0.2), (7, 0.16), (8, 0.1), (9, 0.08)),
            ((3, 0.1), (4, 0.22), (5, 0.28), (6, 0.22), (7, 0.12), (8, 0.06)),
            ((2, 0.1), (3, 0.29), (4, 0.36), (5, 0.18), (6, 0.07)),
        ),
    ),
    Levels(generalise=2, parameters=2, types=2, distractors=2, identifiers=2, options=2, overlap=2, lists=2, units=2),
    "as large and as varied as the paper's released environments",
)
HARD = PresetDefinition(
    Size(
        rows=(5, 6),
        hops=_by_kind(
            ((1, 1),),
            ((3, 1),),
            ((7, 0.25), (8, 0.3), (9, 0.25), (10, 0.2)),
            ((10, 0.4), (11, 0.3), (12, 0.2), (13, 0.1)),
        ),
        distractors=_by_kind(((9, 1),), ((9, 1),), ((7, 1),), ((6, 1),)),
    ),
    Levels(generalise=3, parameters=3, types=3, distractors=3, identifiers=3, options=3, overlap=3, lists=3, units=3),
    "longer chains, wider schemas and more distractors than the paper's",
)
PRESETS: Mapping[str, PresetDefinition] = {"micro": MICRO, "easy": EASY, "paper": PAPER, "hard": HARD}
FIRST_ROWS = {"micro": (3, 4), "easy": (5, 7), "paper": (5, 7), "hard": (9, 12)}
FIRST_KINDS = ("person", "town", "club", "stadium", "athlete", "cup", "region", "river")
"""What the first generation's micro environments are about."""


def preset_of(name: str, generation: Generation) -> PresetDefinition:
    """A preset as a generation has it: the first one knows only the paper's strategies, and kinds of its own."""
    preset = PRESETS[name]
    if generation != 1:
        return preset
    levels = Levels(**{strategy: getattr(preset.levels, strategy) for strategy in STRATEGIES})
    levels = replace(levels, generalise=0) if name == "micro" else levels
    kinds = FIRST_KINDS if preset.size.kinds else ()
    return replace(preset, size=replace(preset.size, rows=FIRST_ROWS[name], kinds=kinds), levels=levels)


def scale_levels(name: str, generation: Generation, texts: Sequence[str]) -> Levels:
    """A preset's levels with some means otherwise, each as MEANS=LEVEL. Raises UsageError for one that there is not."""
    known = STRATEGIES if generation == 1 else MEANS
    scaled: dict[str, int] = {}
    for text in texts:
        means, _, level = text.partition("=")
        if means not in known or level not in map(str, range(MAX_LEVEL + 1)):
            raise UsageError(f"scale takes one of {', '.join(known)} and a level from 0 to {MAX_LEVEL}, not {text}.")
        if means in scaled:
            raise UsageError(f"scale gives {means} twice.")
        scaled[means] = int(level)
    return replace(preset_of(name, generation).levels, **scaled)


DISTRACTOR_SHARE = (0.0, 0.5, 1.0, 1.5)
"""By level of the distractor strategy: which share of the size's distractors is added."""
