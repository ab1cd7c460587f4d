"""The first generation of worlds is kept for one thing: its builds can be repeated byte for byte."""

from __future__ import annotations

import hashlib
import json
from itertools import product

import pytest

from envbuilder.generation1.stages.procedural import build_environment
from envbuilder.records import QUESTION_KINDS, Split, environment_record
from envbuilder.spec import Levels, NamePolicy, Spec

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
POLICIES: tuple[NamePolicy, ...] = ("disjoint", "shared")
DIGESTS = {
    "micro": "56120456f29e0800740dcceac2975ce3e4bc9c0c91bd50b996be039ef17aa9f2",
    "easy": "d9a64ac1d29ba38c3590854e64ac8f8139eced4f7786fbb8f97ccba534ef05f6",
    "paper": "33ea88d744d781937359609e1ec822ea8faeaf758f251b86aa2384c6ae3a5736",
    "hard": "190f55acf296d9dbc50d9bcd6103a143802c3b036c6318d4dfa04fb7c486b6b9",
}
"""Of six records a level, one for each split and policy of names, as they were before there was a second generation."""


@pytest.mark.parametrize("preset", DIGESTS)
def test_the_first_generation_makes_the_bytes_that_it_always_made(preset: str) -> None:
    digest = hashlib.sha256()
    for place, (split, names) in enumerate(product(SPLITS, POLICIES)):
        levels = Levels(1, 3, 2, 0) if place == 5 else None
        spec = Spec(QUESTION_KINDS[place % 4], place, 7, split, names, preset, levels, generation=1)  # type: ignore[arg-type]
        digest.update(json.dumps(environment_record(build_environment(spec), split)).encode())
    assert digest.hexdigest() == DIGESTS[preset]
