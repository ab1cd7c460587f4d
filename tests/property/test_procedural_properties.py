"""Whatever the spec: an environment that its gold calls solve, with nothing to read off, in parts that fit together."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from generated import built, played, run, sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuilder.audit.leaks import find_leaked_answers
from envbuilder.records import QUESTION_KINDS, deployed_toolset_from_json, stage_to_json
from envbuilder.spec import DISTRACTOR_SHARE, PRESETS, Levels, Spec
from envbuilder.worlds.names import split_of
from harness.data.schema_values import RandomValues
from harness.sandbox.screen import is_plain_source
from harness.scoring import paper, strict
from harness.types import Tool

LEVELS = st.builds(Levels, **{field.name: st.integers(0, 3) for field in fields(Levels)})
SPECS = st.builds(
    Spec,
    kind=st.sampled_from(QUESTION_KINDS),
    index=st.integers(0, 10**9),
    seed=st.integers(0, 10**9),
    split=st.sampled_from(["train", "validation", "test"]),
    names=st.sampled_from(["disjoint", "shared"]),
    preset=st.sampled_from(sorted(PRESETS)),
    levels=st.none() | LEVELS,
    attempt=st.integers(0, 5),
)
CHECKS = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@CHECKS
@given(SPECS)
def test_gold_solves_every_environment(spec: Spec) -> None:
    wanted, calls = sample(spec).gold.sub_answers, played(built(spec))
    assert None not in strict.solves(calls, wanted)
    assert None not in paper.solves(calls, wanted)
    assert len(calls) == len(built(spec).toolset.scenario.hops)


@CHECKS
@given(SPECS)
def test_the_parts_fit_together(spec: Spec) -> None:
    deployed, toolset = built(spec), built(spec).toolset
    assert deployed_toolset_from_json(json.loads(json.dumps(stage_to_json(deployed)))) == deployed
    names = [document.name for document in toolset.documents]
    assert len(set(names)) == len(names) and set(names) == set(deployed.codes)
    served = sorted(hop for document in toolset.documents for hop in document.serves)
    assert served == list(range(len(toolset.scenario.hops)))
    for document in toolset.documents:
        assert is_plain_source(deployed.codes[document.name])
        assert set(document.parameters["required"]) <= set(document.parameters["properties"])
    assert find_leaked_answers(toolset) == []
    if DISTRACTOR_SHARE[spec.effective_levels.distractors] == 0:
        assert all(document.serves for document in toolset.documents)


@CHECKS
@given(SPECS, st.randoms(use_true_random=False))
def test_no_tool_breaks_on_arguments_that_its_schema_admits(spec: Spec, random: Any) -> None:
    values = RandomValues(random, ["Velmoor", "1987", "zero", "2001-01-01"])
    for document in built(spec).toolset.documents:
        tool = Tool(document.name, document.description, document.parameters)
        for _ in range(3):
            assert run(built(spec), document.name, values.arguments(tool))


@CHECKS
@given(SPECS)
def test_disjoint_names_belong_to_their_split(spec: Spec) -> None:
    world = built(spec).toolset.scenario.facts["world"]
    names = [
        *(thing["name"] for thing in world["things"].values()),
        *(n for ns in world["others"].values() for n in ns),
    ]
    if spec.names == "disjoint":
        assert {split_of(name) for name in names} == {spec.split}
