"""Whatever the spec: an environment that its gold calls solve, with nothing to read off, in parts that fit together."""

from __future__ import annotations

import json
from typing import Any

import builders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuilder.records import QUESTION_KINDS, deployed_toolset_from_json, environment_record, stage_to_json
from envbuilder.spec import PRESETS, Levels, Spec
from envbuilder.generation1.stages import procedural
from envbuilder.generation1.stages.scaling import DISTRACTOR_SHARE
from envbuilder.generation1.worlds.names import split_of
from harness.data.records import sample_from_record
from harness.data.schema_values import RandomValues
from harness.sandbox.screen import is_plain_source
from harness.scoring import paper, strict
from harness.types import CallRecord, Tool

SPECS = st.builds(
    Spec,
    kind=st.sampled_from(QUESTION_KINDS),
    index=st.integers(0, 10**9),
    seed=st.integers(0, 10**9),
    split=st.sampled_from(["train", "validation", "test"]),
    names=st.sampled_from(["disjoint", "shared"]),
    preset=st.sampled_from(sorted(PRESETS)),
    levels=st.none() | st.builds(Levels, *[st.integers(0, 3)] * 4),
    attempt=st.integers(0, 5),
)
CHECKS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run(code: str, name: str, arguments: dict[str, Any]) -> str:
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    output = namespace[name](**arguments)
    return json.dumps(output, ensure_ascii=False) if isinstance(output, dict | list) else str(output)


@CHECKS
@given(SPECS)
def test_gold_solves_every_environment(spec: Spec) -> None:
    deployed = procedural.build_environment(spec)
    sample = sample_from_record(environment_record(deployed, spec.split), 0, "record 1")
    assert sample.gold.calls is not None
    calls = [
        CallRecord(
            at,
            builders.call(call.name, call.arguments, at),
            "ok",
            run(sample.codes[call.name], call.name, call.arguments),
        )
        for at, call in enumerate(sample.gold.calls)
    ]
    assert None not in strict.solves(calls, sample.gold.sub_answers)
    assert None not in paper.solves(calls, sample.gold.sub_answers)
    assert len(calls) == len(deployed.toolset.scenario.hops)


@CHECKS
@given(SPECS)
def test_the_parts_fit_together(spec: Spec) -> None:
    deployed = procedural.build_environment(spec)
    toolset = deployed.toolset
    assert deployed_toolset_from_json(json.loads(json.dumps(stage_to_json(deployed)))) == deployed
    names = [document.name for document in toolset.documents]
    assert len(set(names)) == len(names) and set(names) == set(deployed.codes)
    assert sorted(hop for document in toolset.documents for hop in document.serves) == list(
        range(len(toolset.scenario.hops))
    )
    for document in toolset.documents:
        assert is_plain_source(deployed.codes[document.name])
        assert set(document.parameters["required"]) <= set(document.parameters["properties"])
    assert procedural.find_leaked_answers(toolset) == []
    if DISTRACTOR_SHARE[spec.effective_levels.distractors] == 0:
        assert all(document.serves for document in toolset.documents)


@CHECKS
@given(SPECS, st.randoms(use_true_random=False))
def test_no_tool_breaks_on_arguments_that_its_schema_admits(spec: Spec, random: Any) -> None:
    deployed = procedural.build_environment(spec)
    values = RandomValues(random, ["Velmoor", "1987", "zero", "2001-01-01"])
    for document in deployed.toolset.documents:
        tool = Tool(document.name, document.description, document.parameters)
        for _ in range(3):
            assert run(deployed.codes[document.name], document.name, values.arguments(tool))


@CHECKS
@given(SPECS)
def test_disjoint_names_belong_to_their_split(spec: Spec) -> None:
    deployed = procedural.build_environment(spec)
    pools = deployed.toolset.scenario.facts["world"]["pools"]
    if spec.names == "disjoint":
        assert {split_of(name) for pool in pools.values() for name in pool} == {spec.split}
