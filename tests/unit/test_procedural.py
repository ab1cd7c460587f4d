"""Procedural environments: what each of them keeps, on a sample of each preset. No sandbox: the code is our own."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import builders
import pytest
from generated import (
    PRESET_NAMES,
    ToolsHere,
    built,
    document_of,
    examples,
    function,
    played,
    run,
    sample,
    shaped,
    specs,
    table,
    text,
)

from envbuilder.audit.environment import audit_environment
from envbuilder.audit.leaks import find_leaked_answers
from envbuilder.audit.sets import DefaultCalls
from envbuilder.records import QUESTION_KINDS, DeployedToolset, Document, deployed_toolset_from_json, stage_to_json
from envbuilder.spec import PRESETS, Spec
from envbuilder.stages.deployment import deploy_toolset
from envbuilder.stages.documents import write_documents
from envbuilder.stages.integration import integrate_documents
from envbuilder.stages.scaling import scale_toolset
from envbuilder.stages.scenario import decompose_scenario
from envbuilder.worlds.names import split_of
from harness.environment import ToolEnvironment
from harness.models.policies import Policy
from harness.rollout import Episode, play_episode
from harness.sandbox.screen import is_plain_source
from harness.scoring import paper, score, strict
from harness.scoring.leaves import leaves
from harness.types import JSONObject, Model

KEYWORD = {"micro": 0.25, "easy": 0.25, "paper": 0.1, "hard": 0.1}
"""The highest mean F1 that matching words may get: small environments have little to choose from."""


def visible(deployed: DeployedToolset) -> str:
    documents = deployed.toolset.documents
    texts = [f"{d.name} {d.description} {json.dumps(d.parameters, ensure_ascii=False)}" for d in documents]
    return "\n".join([deployed.toolset.scenario.question, *texts])


# --- the same spec, the same environment -------------------------------------------------------------------------

DIGEST = """
import hashlib, json
from envbuilder.stages.procedural import build_environment
from envbuilder.records import QUESTION_KINDS, stage_to_json
from envbuilder.spec import Spec
specs = [Spec(kind, 3, 4, "test", preset=preset) for kind in QUESTION_KINDS for preset in ("micro", "paper")]
made = [stage_to_json(build_environment(spec)) for spec in specs]
print(hashlib.sha256(json.dumps(made).encode()).hexdigest())
"""


def test_the_same_spec_gives_the_same_bytes_in_another_process_with_another_hash_seed() -> None:
    made = [
        stage_to_json(built(Spec(kind, 3, 4, "test", preset=p))) for kind in QUESTION_KINDS for p in ("micro", "paper")
    ]
    here = hashlib.sha256(json.dumps(made).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "271828"}
    command = [sys.executable, "-c", DIGEST]
    there = subprocess.run(command, env=environment, cwd=builders.ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_every_stage_leaves_what_it_was_given_alone() -> None:
    spec = Spec("parallel_multi_hop", 1, 4, "train")
    scenario = decompose_scenario(spec)
    written = write_documents(scenario)
    integrated = integrate_documents(written)
    scaled = scale_toolset(integrated, spec)
    before = [json.dumps(stage_to_json(stage)) for stage in (scenario, written, integrated, scaled)]
    deployed = deploy_toolset(scaled)
    assert [json.dumps(stage_to_json(stage)) for stage in (scenario, written, integrated, scaled)] == before
    assert deploy_toolset(scale_toolset(integrate_documents(write_documents(scenario)), spec)) == deployed


def test_an_environment_goes_to_json_and_back() -> None:
    for spec in specs(each=3):
        assert deployed_toolset_from_json(json.loads(json.dumps(stage_to_json(built(spec))))) == built(spec)


@pytest.mark.parametrize(
    "change",
    [{"index": 1}, {"seed": 5}, {"split": "test"}, {"names": "shared"}, {"preset": "hard"}, {"attempt": 1}],
    ids=str,
)
def test_whatever_changes_in_a_spec_changes_the_question(change: dict[str, Any]) -> None:
    spec = Spec("multi_hop", 0, 4, "train")
    questions = {built(one).toolset.scenario.question for one in (spec, replace(spec, **change))}
    assert len(questions) == 2


# --- the four kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_the_graph_of_each_kind(preset: str) -> None:
    for spec in specs(preset, each=3 if preset == "hard" else 6):
        hops = built(spec).toolset.scenario.hops
        assert len(hops) in dict(PRESETS[preset].size.hops[spec.kind])
        assert all(before < at for at, hop in enumerate(hops) for before in hop.depends_on)
        roots = sum(not hop.depends_on for hop in hops)
        match spec.kind:
            case "single_hop":
                assert len(hops) == 1
            case "parallel_single_hop":
                assert roots >= 2
                assert all(not hop.depends_on or len(hop.depends_on) == roots for hop in hops)
            case "multi_hop":
                assert [hop.depends_on for hop in hops] == [(at - 1,) if at else () for at in range(len(hops))]
            case _:
                assert roots >= 2
                assert roots < len(hops)
        assert built(spec).toolset.scenario.answer and len({hop.answer for hop in hops}) == len(hops)


def test_an_operation_computes_from_earlier_answers() -> None:
    found = 0
    for spec in specs(each=20):
        toolset = built(spec).toolset
        for call in toolset.calls:
            if document_of(built(spec), call.name).facts["do"] != "operation":
                continue
            found += 1
            hop, inputs = toolset.scenario.hops[call.solves], json.dumps(call.arguments)
            assert all(toolset.scenario.hops[before].answer.replace(",", "") in inputs for before in hop.depends_on)
            assert not strict.states(leaves(inputs), hop.answer)
    assert found > 5


# --- solvable, and in no other way -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_gold_solves_everything_under_both_rules_and_nothing_leaks(preset: str) -> None:
    for spec in specs(preset, each=3 if preset == "hard" else 6):
        deployed, wanted, calls = built(spec), sample(spec).gold.sub_answers, played(built(spec))
        assert len(calls) == sum(map(len, wanted.values()))
        assert None not in strict.solves(calls, wanted)
        assert None not in paper.solves(calls, wanted)
        answers = [hop.answer for hop in deployed.toolset.scenario.hops]
        for call, made in zip(deployed.toolset.calls, calls, strict=True):
            stated = [at for at, answer in enumerate(answers) if strict.states(leaves(made.output), answer)]
            assert call.solves in stated
            assert {*stated} <= ancestors(deployed, call.solves)
        assert find_leaked_answers(deployed.toolset) == []


def ancestors(deployed: DeployedToolset, hop: int) -> set[int]:
    """The hops that a hop builds on, itself included: an output says what it is about."""
    before = deployed.toolset.scenario.hops[hop].depends_on
    return {hop}.union(*(ancestors(deployed, earlier) for earlier in before))


def test_what_a_later_hop_asks_for_is_found_only_in_earlier_outputs() -> None:
    for spec in specs():
        deployed, outputs, seen = built(spec), dict[int, str](), visible(built(spec)).casefold()
        for call, made in zip(deployed.toolset.calls, played(deployed), strict=True):
            outputs[call.solves] = made.output
            given = [str(value) for value in scalars(call.arguments)]
            for before in deployed.toolset.scenario.hops[call.solves].depends_on:
                linked = [value for value in given if value in outputs[before]]
                assert any(value.casefold() not in seen for value in linked), (spec, call, outputs[before])


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from scalars(part)
    else:
        yield value


@pytest.mark.parametrize(("preset", "each"), [("micro", 3), ("easy", 2), ("paper", 1), ("hard", 1)])
def test_the_audit_finds_nothing_that_is_fatal(preset: str, each: int) -> None:
    for spec in specs(preset, each):
        assert [found for found in audit_environment(sample(spec), ToolsHere()) if found.fatal] == []


def test_a_fact_has_no_second_place() -> None:
    """No other look-up holds the answer of a hop that asks for a fact: there is one tool for it, and no short cut."""
    for spec in specs(each=8):
        deployed = built(spec)
        for hop, step in enumerate(deployed.toolset.scenario.facts["steps"]):
            if step["do"] == "fact":
                for document in deployed.toolset.documents:
                    if document.facts["do"] == "look" and hop not in document.serves:
                        assert not holds(deployed, document, step), (spec, hop, document.name)


def holds(deployed: DeployedToolset, document: Document, step: JSONObject) -> bool:
    """Whether a tool's table has a step's value as a cell; where it is a thing, only a tool about the same kind leads
    there."""
    things = deployed.toolset.scenario.facts["world"]["things"]
    value, kind = step["value"], things[step["thing"]]["kind"]
    if isinstance(value, str) and value in things:
        return document.facts["kind"] == kind and things[value]["name"] in rows_of(deployed, document)
    return value in rows_of(deployed, document)


def rows_of(deployed: DeployedToolset, document: Document) -> list[Any]:
    return [cell for row in table(deployed.codes[document.name]).values() for cell in scalars(list(row))]


@pytest.mark.parametrize("name", ["echo", "silent", "default", "keyword"])
def test_policies_that_do_not_think_get_nothing(name: str) -> None:
    model: Model = DefaultCalls() if name == "default" else Policy(name, 0)
    for preset in PRESET_NAMES:
        found = [f1_of(spec, model) for spec in specs(preset, EACH[preset])]
        assert sum(found) / len(found) <= (KEYWORD[preset] if name == "keyword" else 0.0), preset


EACH = {"micro": 4, "easy": 4, "paper": 3, "hard": 1}
"""Environments a kind that the policies play."""


def f1_of(spec: Spec, model: Model) -> float:
    one = sample(spec)
    value = score(one, play_episode(Episode(one, task="t"), ToolEnvironment(one), model, ToolsHere())).scores[
        "solve_f1"
    ]
    assert value is not None
    return value


# --- the tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_a_tool_is_one_plain_function_with_the_parameters_of_its_schema(preset: str) -> None:
    for spec in specs(preset, each=1 if preset == "hard" else 3):
        deployed = built(spec)
        names = [document.name for document in deployed.toolset.documents]
        assert len(set(names)) == len(names) and set(names) == set(deployed.codes)
        for document in deployed.toolset.documents:
            code = deployed.codes[document.name]
            assert is_plain_source(code)
            (defined,) = ast.parse(code).body
            assert isinstance(defined, ast.FunctionDef) and ast.get_docstring(defined)
            assert defined.args.kwarg is None and defined.args.vararg is None
            given = [argument.arg for argument in defined.args.args]
            assert given == list(document.parameters["properties"])
            assert len(given) - len(defined.args.defaults) == len(document.parameters["required"])


def test_a_tool_runs_where_only_its_function_is_seen() -> None:
    """As the paper's own code runs it: inside a function, where names of the top level are lost."""
    deployed = built(Spec("parallel_multi_hop", 0, 4, "train"))
    for call in deployed.toolset.calls:
        outer: dict[str, Any] = {}
        exec(deployed.codes[call.name], {}, outer)
        assert text(outer[call.name](**call.arguments)) == run(deployed, call.name, call.arguments)


def test_unknown_keywords_are_refused_by_python() -> None:
    deployed = built(Spec("multi_hop", 0, 4, "train"))
    for call in deployed.toolset.calls:
        with pytest.raises(TypeError, match="unexpected keyword"):
            run(deployed, call.name, {**call.arguments, "guess": 1})


TIDIED = ("subject", "query", "field", "class", "scheme")
"""Roles of arguments whose case and spacing are ignored."""


def test_case_and_spacing_of_what_is_looked_up_do_not_matter() -> None:
    for spec in specs():
        deployed = built(spec)
        for call in deployed.toolset.calls:
            roles = {entry["name"]: entry["role"] for entry in document_of(deployed, call.name).facts["parameters"]}
            careless = {
                name: sloppy(value) if roles[name] in TIDIED else value for name, value in call.arguments.items()
            }
            assert run(deployed, call.name, careless) == run(deployed, call.name, call.arguments)


def sloppy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: sloppy(item) for name, item in value.items()}
    return "  " + "  ".join(value.upper().split()) + " "


def test_a_wrong_argument_gives_an_error_that_names_it_and_repeats_nothing() -> None:
    roles: set[str] = set()
    for spec in specs(each=4):
        deployed = built(spec)
        for document in deployed.toolset.documents:
            if document.facts["do"] == "operation":
                continue
            arguments = next(examples(deployed, document))
            for entry in document.facts["parameters"]:
                if entry["role"].startswith("option"):
                    continue
                wrong = shaped(document, "Zzyzx") if entry["role"] == "subject" else "Zzyzx"
                changed = run(deployed, document.name, {**arguments, entry["name"]: wrong})
                if applies(entry["role"], deployed, document):
                    output = json.loads(changed)
                    assert entry["name"] in output.get("error", output.get("note", "")), (spec, document.name, entry)
                    assert "zzyzx" not in changed.casefold()
                    roles.add(entry["role"].partition(" ")[0])
    assert roles == {"subject", "query", "field", "class", "scheme", "cursor", "year", "axis"}


def applies(role: str, deployed: DeployedToolset, document: Document) -> bool:
    """Whether a parameter matters to the first entry of a tool: a year and an axis do so for some entries only."""
    if role != "year" and not role.startswith("axis"):
        return True
    cell = next(iter(table(deployed.codes[document.name]).values()))[document.facts["numbered"]]
    if role == "year":
        return isinstance(cell, dict) and all(isinstance(key, int) for key in cell)
    codes = document.facts["axes"][role.removeprefix("axis ")]
    while isinstance(cell, dict) and [*cell] != codes:
        cell = next(iter(cell.values()))
    return isinstance(cell, dict)


INPUTS = {"array": [1, 2.5], "number": 3, "string": "2001-05-06"}
"""An input of an operation by its type; enumerations apart."""


@pytest.mark.parametrize("wrong", [{"nothing": "a plain word"}, "12 km", None, [], ["x", 2]], ids=repr)
def test_an_operation_says_which_input_was_wrong(wrong: Any) -> None:
    done: set[str] = set()
    for spec in specs(each=10):
        for document in built(spec).toolset.documents:
            if document.facts["do"] != "operation":
                continue
            done.add(document.facts["operation"])
            schemas = document.parameters["properties"]
            inputs = {name: schema.get("enum", [INPUTS[schema["type"]]])[0] for name, schema in schemas.items()}
            for name in document.parameters["required"]:
                error = json.loads(run(built(spec), document.name, {**inputs, name: wrong}))["error"]
                assert name in error.partition(":")[0]
    assert len(done) >= 4


ROLES = ("equal", "at_least", "since", "window", "extra", "extras", "exact", "nested")
"""Of optional parameters that are no axes."""


def test_every_optional_parameter_really_does_something() -> None:
    idle: list[tuple[Any, ...]] = []
    roles: set[str] = set()
    for spec in specs(each=5) + specs("hard", each=1):
        deployed = built(spec)
        for document in deployed.toolset.documents:
            for entry in document.facts["parameters"]:
                if not entry["required"]:
                    roles.add(entry["role"])
                    if not makes_a_difference(deployed, document, entry):
                        idle.append((spec.preset, spec.kind, spec.index, document.name, entry["name"], entry["role"]))
    assert idle == []
    assert roles >= {f"option {role}" for role in ROLES} | {"year", "cursor", "axis stage"}


def makes_a_difference(deployed: DeployedToolset, document: Document, entry: JSONObject) -> bool:
    roles = {parameter["name"]: parameter["role"] for parameter in document.facts["parameters"]}
    for arguments in examples(deployed, document):
        if entry["role"] == "option exact":  # to an argument that is spelled otherwise
            arguments = {
                name: sloppy(value) if roles[name] in ("subject", "query") else value
                for name, value in arguments.items()
            }
        before = run(deployed, document.name, arguments)
        if any(run(deployed, document.name, {**arguments, entry["name"]: value}) != before for value in tried(entry)):
            return True
    return False


def tried(entry: JSONObject) -> list[Any]:
    """Values of a parameter that ought to change something somewhere."""
    schema = entry["schema"]
    if "enum" in schema:
        return list(schema["enum"])
    found: dict[str, list[Any]] = {
        "boolean": [True],
        "integer": [0, 1, 1066],
        "number": [1],
        "array": [schema.get("items", {}).get("enum")],
        "object": [{"from": "2999-01-01"}],
    }
    return found.get(schema["type"], ["2999-01-01", "Nowhere"])


def test_an_optional_parameter_left_out_equals_its_default() -> None:
    for spec in specs(each=4):
        deployed = built(spec)
        for document in deployed.toolset.documents:
            properties = document.parameters["properties"]
            defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
            if defaults:
                arguments = next(examples(deployed, document))
                assert run(deployed, document.name, defaults | arguments) == run(deployed, document.name, arguments)


def test_the_place_of_a_tool_says_nothing_about_it() -> None:
    first = [bool(built(spec).toolset.documents[0].serves) for spec in specs()]
    last = [bool(built(spec).toolset.documents[-1].serves) for spec in specs()]
    assert any(first) and not all(first) and any(last) and not all(last)


# --- splits and presets ------------------------------------------------------------------------------------------


def names_of(deployed: DeployedToolset) -> set[str]:
    world = deployed.toolset.scenario.facts["world"]
    others = [name for names in world["others"].values() for name in names]
    return {*(thing["name"] for thing in world["things"].values()), *others}


def test_splits_share_no_name_no_world_and_no_question() -> None:
    splits = {split: [built(spec) for spec in specs(each=4, split=split)] for split in ("train", "validation", "test")}
    for split, made in splits.items():
        assert {split_of(name) for deployed in made for name in names_of(deployed)} == {split}
    everything = [deployed.toolset.scenario for made in splits.values() for deployed in made]
    assert len({scenario.world for scenario in everything}) == len(everything)
    assert len({scenario.question for scenario in everything}) == len(everything)


def test_shared_names_may_belong_to_any_split() -> None:
    made = [built(spec) for spec in specs(each=1, names="shared")]
    assert len({split_of(name) for deployed in made for name in names_of(deployed)}) == 3


def test_another_seed_asks_other_questions() -> None:
    questions = [{decompose_scenario(spec).question for spec in specs("micro", 10, seed=seed)} for seed in (4, 5)]
    assert not questions[0] & questions[1]
    assert len(questions[0]) == len(questions[1]) == 40


def test_micro_is_small() -> None:
    for spec in specs("micro", each=12):
        deployed = built(spec)
        assert len(deployed.toolset.documents) == 4
        assert len(deployed.toolset.scenario.question) < 300
        for document in deployed.toolset.documents:
            assert document.facts.get("kind", "town") in PRESETS["micro"].size.kinds
            assert len(document.parameters["properties"]) <= 5
            assert len(document.description) < 120
            assert "kind" not in document.facts or len(table(deployed.codes[document.name])) <= 6


# --- many --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_hundreds_of_environments_hold(preset: str) -> None:
    for spec in specs(preset, each=60, seed=99):
        wanted = sample(spec).gold.sub_answers
        assert find_leaked_answers(built(spec).toolset) == []
        assert None not in strict.solves(played(built(spec)), wanted)
        built.cache_clear()
        function.cache_clear()
