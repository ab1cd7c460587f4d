"""Procedural environments: what each of them keeps, on a sample of each preset. No sandbox: the code is our own."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import builders
import pytest

from envbuilder.audit import compare
from envbuilder.records import (
    QUESTION_KINDS,
    DeployedToolset,
    Document,
    deployed_toolset_from_json,
    environment_record,
    stage_to_json,
)
from envbuilder.spec import PRESETS, Levels, Spec
from envbuilder.generation1.stages import procedural
from envbuilder.generation1.stages.deployment import deploy_toolset
from envbuilder.generation1.stages.documents import write_documents
from envbuilder.generation1.stages.integration import integrate_documents
from envbuilder.generation1.stages.scaling import scale_toolset
from envbuilder.generation1.stages.scenario import decompose_scenario
from envbuilder.generation1.worlds.names import split_of
from envbuilder.generation1.worlds.operations import OPERATIONS
from harness.data.records import sample_from_record
from harness.models import policies
from harness.sandbox.screen import is_plain_source
from harness.scoring import paper, strict
from harness.scoring.leaves import leaf, leaves
from harness.types import CallRecord, ModelRequest, Sampling

EACH = 12
"""Environments a kind in the samples."""
SHOTGUN = {"single_hop": 0.25, "parallel_single_hop": 0.35, "multi_hop": 0.05, "parallel_multi_hop": 0.05}
PRESET_NAMES = ("micro", "easy", "paper", "hard")


@cache
def built(spec: Spec) -> DeployedToolset:
    return procedural.build_environment(spec)


def specs(preset: str = "paper", each: int = EACH, **more: Any) -> list[Spec]:
    fields = {"seed": 4, "split": "train", "preset": preset, **more}
    return [Spec(kind, index, **fields) for index in range(each) for kind in QUESTION_KINDS]


def record(spec: Spec) -> dict[str, Any]:
    return environment_record(built(spec), spec.split)


def text(output: Any) -> str:
    """A tool's output as it is fed back."""
    return json.dumps(output, ensure_ascii=False) if isinstance(output, dict | list) else str(output)


@cache
def function(name: str, code: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace[name]


def run(deployed: DeployedToolset, name: str, arguments: Mapping[str, Any]) -> str:
    return text(function(name, deployed.codes[name])(**arguments))


def played(deployed: DeployedToolset) -> list[CallRecord]:
    calls = deployed.toolset.calls
    return [
        CallRecord(at, builders.call(call.name, call.arguments, at), "ok", run(deployed, call.name, call.arguments))
        for at, call in enumerate(calls)
    ]


def visible(deployed: DeployedToolset) -> list[str]:
    texts = [deployed.toolset.scenario.question]
    for document in deployed.toolset.documents:
        texts += [document.name.replace("_", " "), document.description, json.dumps(document.parameters)]
    return texts


# --- the same spec, the same environment -------------------------------------------------------------------------

DIGEST = """
import hashlib, json
from envbuilder.generation1.stages.procedural import build_environment
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
    for seed in ("1", "271828"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
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
        deployed = built(spec)
        assert deployed_toolset_from_json(json.loads(json.dumps(stage_to_json(deployed)))) == deployed


@pytest.mark.parametrize(
    "change",
    [{"index": 1}, {"seed": 5}, {"split": "test"}, {"names": "shared"}, {"preset": "hard"}, {"attempt": 1}],
    ids=str,
)
def test_whatever_changes_in_a_spec_changes_the_question(change: dict[str, Any]) -> None:
    fields = {"kind": "multi_hop", "index": 0, "seed": 4, "split": "train"}
    assert record(Spec(**fields)) != record(Spec(**{**fields, **change}))
    question = built(Spec(**fields)).toolset.scenario.question
    assert built(Spec(**{**fields, **change})).toolset.scenario.question != question


@pytest.mark.parametrize("wrong", [{"index": -1}, {"attempt": -1}, {"kind": "hop"}, {"preset": "huge"}], ids=str)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Spec(**{"kind": "single_hop", "index": 0, "seed": 1, "split": "train", **wrong})


def test_levels_go_from_nought_to_three() -> None:
    assert Levels(0, 1, 2, 3)
    with pytest.raises(ValueError, match="types"):
        Levels(0, 0, 4, 0)


# --- the four kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_the_graph_of_each_kind(preset: str) -> None:
    for spec in specs(preset):
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


def test_sub_answers_differ_and_a_choice_is_none_of_the_operations() -> None:
    for spec in specs():
        scenario = built(spec).toolset.scenario
        answers = [hop.answer for hop in scenario.hops]
        assert len(set(answers)) == len(answers)
        assert scenario.answer and all(answers)


def test_an_operation_computes_from_earlier_answers() -> None:
    found = 0
    for spec in specs(each=20):
        toolset = built(spec).toolset
        for call in toolset.calls:
            document = next(document for document in toolset.documents if document.name == call.name)
            if "operation" not in document.facts:
                continue
            found += 1
            hop = toolset.scenario.hops[call.solves]
            inputs = json.dumps(call.arguments)
            for before in hop.depends_on:
                assert toolset.scenario.hops[before].answer.replace(",", "") in inputs
            assert not strict.states(leaves(inputs), hop.answer)
    assert found > 10


# --- solvable, and in no other way -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_gold_solves_everything_under_both_rules_and_nothing_leaks(preset: str) -> None:
    for spec in specs(preset):
        deployed = built(spec)
        sample = sample_from_record(record(spec), 0, "record 1")
        calls = played(deployed)
        wanted = sample.gold.sub_answers
        assert len(calls) == sum(map(len, wanted.values()))
        assert None not in strict.solves(calls, wanted)
        assert None not in paper.solves(calls, wanted)
        answers = [hop.answer for hop in deployed.toolset.scenario.hops]
        for call, made in zip(deployed.toolset.calls, calls, strict=True):
            stated = [at for at, answer in enumerate(answers) if strict.states(leaves(made.output), answer)]
            assert stated == [call.solves]
        texts = [leaf(part) for part in visible(deployed)]
        assert [answer for answer in answers if strict.states(texts, answer)] == []


def test_what_a_later_hop_asks_for_is_found_only_in_earlier_outputs() -> None:
    for spec in specs():
        deployed = built(spec)
        hops, seen = deployed.toolset.scenario.hops, "\n".join(visible(deployed)).casefold()
        for call in deployed.toolset.calls:
            for before in hops[call.solves].depends_on:
                answer = hops[before].answer
                assert answer.replace(",", "") in json.dumps(call.arguments, ensure_ascii=False)
                assert answer.casefold() not in seen


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_policies_that_do_not_think_get_nothing(preset: str) -> None:
    scores: dict[str, list[float]] = {}
    for spec in specs(preset, each=EACH if preset == "paper" else 4):
        deployed, sample = built(spec), sample_from_record(record(spec), 0, "record 1")
        request = ModelRequest(sample.messages, sample.tools, Sampling(), sample)
        assert solved(deployed, policies.echo(request, 0)[0]) == 0
        shots = policies.shotgun(request, 0)[0]
        hops = len(deployed.toolset.scenario.hops)
        scores.setdefault(spec.kind, []).append(2 * solved(deployed, shots) / (len(shots) + hops))
    if preset == "paper":
        assert all(sum(found) / len(found) <= SHOTGUN[kind] for kind, found in scores.items())


def solved(deployed: DeployedToolset, calls: list[policies.PolicyCall]) -> int:
    """How many sub-answers these calls solve; a call that Python refuses solves none."""
    made = []
    for at, (name, arguments) in enumerate(calls):
        try:
            made.append(CallRecord(0, builders.call(name, arguments, at), "ok", run(deployed, name, arguments)))
        except TypeError as error:
            made.append(CallRecord(0, builders.call(name, arguments, at), "raised", str(error)))
    sub_answers: dict[str, list[str]] = {}
    for call in deployed.toolset.calls:
        sub_answers.setdefault(call.name, []).append(deployed.toolset.scenario.hops[call.solves].answer)
    return sum(position is not None for position in strict.solves(made, sub_answers))


# --- the tools ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_a_tool_is_one_plain_function_with_the_parameters_of_its_schema(preset: str) -> None:
    for spec in specs(preset, each=4):
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
        assert deployed.toolset.scenario.hops[call.solves].answer.replace(",", "") in text(
            outer[call.name](**call.arguments)
        ).replace(",", "")


def test_unknown_keywords_are_refused_by_python() -> None:
    deployed = built(Spec("multi_hop", 0, 4, "train"))
    for call in deployed.toolset.calls:
        with pytest.raises(TypeError, match="unexpected keyword"):
            run(deployed, call.name, {**call.arguments, "guess": 1})


def test_case_spacing_and_date_formats_do_not_matter() -> None:
    for spec in specs(each=8):
        deployed = built(spec)
        for call in deployed.toolset.calls:
            answer = deployed.toolset.scenario.hops[call.solves].answer
            output = run(deployed, call.name, {name: sloppy(value) for name, value in call.arguments.items()})
            assert strict.states(leaves(output), answer), (call, output)


def sloppy(value: Any) -> Any:
    """A value as a careless caller writes it."""
    if isinstance(value, dict):
        return {name: sloppy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [sloppy(item) for item in value]
    if isinstance(value, str) and value[:4].isdigit() and value.count("-") == 2:
        year, month, day = value.split("-")
        return f"{day}.{month}.{year}"
    if isinstance(value, str):
        return "  " + "  ".join(value.upper().split()) + " "
    return f"{value:,}" if isinstance(value, int) and value > 9999 else value


def test_a_wrong_argument_gives_an_error_without_answers_or_another_fact() -> None:
    for spec in specs(each=8):
        deployed = built(spec)
        answers = [hop.answer for hop in deployed.toolset.scenario.hops]
        for call in deployed.toolset.calls:
            document = document_of(deployed, call.name)
            if "operation" in document.facts:
                continue
            for arguments in (
                wrong(document, call.arguments, "Zzyzx Qwfp"),
                other_row(deployed, document, call.arguments),
            ):
                output = run(deployed, call.name, arguments)
                assert "Zzyzx" not in output and "zzyzx" not in output
                assert not any(strict.states(leaves(output), answer) for answer in answers)
            assert not strict.is_error("ok", run(deployed, call.name, other_row(deployed, document, call.arguments)))


def document_of(deployed: DeployedToolset, name: str) -> Document:
    return next(document for document in deployed.toolset.documents if document.name == name)


def wrong(document: Document, arguments: Mapping[str, Any], name: str, second: Any = None) -> dict[str, Any]:
    """Gold arguments about something else."""
    changed = dict(arguments)
    for entry in document.facts["parameters"]:
        if entry["role"] == "subject":
            changed[entry["name"]] = {"string": name, "array": [name], "object": {"name": name}}[
                entry["schema"]["type"]
            ]
        elif entry["role"] == "second" and second is not None:
            changed[entry["name"]] = second
    return changed


def other_row(deployed: DeployedToolset, document: Document, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Gold arguments about a row that no hop needs."""
    steps = deployed.toolset.scenario.facts["steps"]
    needed = {steps[hop]["name"] for hop in document.serves}
    name, second = next(row for row in document.facts["rows"] if row[0] not in needed)
    return wrong(document, arguments, name, second)


def test_every_optional_parameter_really_does_something() -> None:
    idle: list[str] = []
    roles: set[str] = set()
    for spec in specs(each=6) + specs("hard", each=3):
        deployed = built(spec)
        for document in deployed.toolset.documents:
            for entry in document.facts["parameters"]:
                if entry["required"] or entry["role"] == "verified":  # in a small table every record may be verified
                    continue
                roles.add(entry["role"])
                rows = examples(document, entry["role"])
                if not any(makes_a_difference(deployed, document, entry, row) for row in rows):
                    idle.append(f"{document.name}({entry['name']}): {entry['role']}")
    assert idle == []
    assert len(roles) >= 17


def examples(document: Document, role: str) -> list[dict[str, Any]]:
    """Required arguments for every row and entry of a lookup, or for an operation; names as a role may need them."""
    if "operation" in document.facts:
        return operation_examples(document)
    found = []
    selector = next((entry for entry in document.facts["parameters"] if entry["role"] == "selector"), None)
    keys = [relation.partition(".")[2] for relation in document.facts["relations"]] if selector else [None]
    required = dict.fromkeys(document.parameters["required"], "")
    for name, second in document.facts["rows"]:
        for key in keys:
            said = {"exact": name.upper(), "prefix": name[:-2]}.get(role, name)
            arguments = wrong(document, required, said, second)
            if selector is not None:
                arguments[selector["name"]] = key
            found.append(arguments)
    return found


def operation_examples(document: Document) -> list[dict[str, Any]]:
    operation = OPERATIONS[document.facts["operation"]]
    names = [entry["name"] for entry in document.facts["parameters"] if entry["role"] == "input"]
    if "date" in operation.inputs[0].names[0]:
        return [dict(zip(names, ("2024-03-06", "2021-05-05"), strict=True))]
    if len(names) == 1:
        return [{names[0]: [-7.1234567, 3, 21.5]}]
    factors = document.facts.get("factors", [[0, 0]])
    extra = factors[0][: len(names) - 1]
    return (
        [dict(zip(names, (7.1234567, *extra), strict=True))]
        if "factors" in document.facts
        else [dict(zip(names, (3.1234567, 8.7654321), strict=True))]
    )


def makes_a_difference(
    deployed: DeployedToolset, document: Document, entry: dict[str, Any], arguments: dict[str, Any]
) -> bool:
    before = run(deployed, document.name, arguments)
    others = [row[0] for row in document.facts.get("rows", ())]
    return any(
        run(deployed, document.name, {**arguments, entry["name"]: value}) != before for value in tried(entry, others)
    )


def tried(entry: dict[str, Any], others: list[str]) -> list[Any]:
    """Values of a parameter that ought to change something somewhere."""
    schema = entry["schema"]
    if "enum" in schema:
        return list(schema["enum"])
    match schema["type"]:
        case "boolean":
            return [True]
        case "integer":
            return [0, 2030, 1]
        case "number":
            return [-1, 0, 1, 10, 10**12]
        case "array":
            return [schema["items"].get("enum", others[:2]) or ["2022-01-03"], ["2022-01-03"]]
        case "object":
            return [{name: ("Nowhere", 2030)[item["type"] == "integer"]} for name, item in schema["properties"].items()]
        case _:
            return ["1900-01-01" if "format" in schema else "Nowhere", "long", "sentence", "feet"]


def test_an_optional_parameter_left_out_equals_its_default() -> None:
    for spec in specs(each=4):
        deployed = built(spec)
        for call in deployed.toolset.calls:
            properties = document_of(deployed, call.name).parameters["properties"]
            defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
            full = {**defaults, **call.arguments}
            assert run(deployed, call.name, full) == run(deployed, call.name, call.arguments)


def test_the_place_of_a_tool_says_nothing_about_it() -> None:
    first = [bool(built(spec).toolset.documents[0].serves) for spec in specs()]
    last = [bool(built(spec).toolset.documents[-1].serves) for spec in specs()]
    assert any(first) and not all(first) and any(last) and not all(last)


# --- integration and scaling -------------------------------------------------------------------------------------


def test_integration_makes_one_tool_of_documents_that_overlap() -> None:
    merged = 0
    for spec in specs(each=20):
        written = write_documents(decompose_scenario(spec))
        integrated = integrate_documents(written)
        assert sorted(hop for document in integrated.documents for hop in document.serves) == list(
            range(len(written.scenario.hops))
        )
        merged += len(integrated.documents) < len(written.documents)
        for document in integrated.documents:
            relations = document.facts.get("relations", [None])
            selectors = [entry for entry in document.facts["parameters"] if entry["role"] == "selector"]
            assert len(selectors) == (len(relations) > 1)
    assert merged > 5


def scaled(**levels: int) -> list[DeployedToolset]:
    plain = {"generalise": 0, "parameters": 0, "types": 0, "distractors": 0}
    return [built(spec) for spec in specs(each=4, levels=Levels(**{**plain, **levels}))]


def lookups(deployed: list[DeployedToolset]) -> list[Document]:
    return [d for made in deployed for d in made.toolset.documents if "relations" in d.facts]


def mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)


def test_generalisation_adds_entries_that_no_question_needs() -> None:
    entries = [mean([len(d.facts["relations"]) for d in lookups(scaled(generalise=level))]) for level in range(4)]
    assert entries[0] < 1.2 and entries == sorted(entries) and entries[3] > 2.5


def test_parameter_expansion_adds_parameters() -> None:
    counts = [
        mean([len(d.parameters["properties"]) for d in lookups(scaled(parameters=level, types=2))])
        for level in range(4)
    ]
    assert counts[0] < 1.5 and counts == sorted(counts) and counts[3] > 6.5


def test_type_generalisation_turns_strings_into_other_types() -> None:
    shares = []
    for level in range(4):
        records = [environment_record(made, "train") for made in scaled(generalise=2, parameters=2, types=level)]
        shares.append(compare.type_shares(records))
    assert set(shares[0]) <= {"string", "integer", "number", "array", "string, format"}
    assert shares[0]["string"] > 0.9
    assert "string, enum" in shares[1] and "boolean" in shares[1] and "object" not in shares[1]
    assert {"object", "array", "number"} <= set(shares[2])
    assert shares[3]["object"] + shares[3]["array"] > 1.5 * (shares[2]["object"] + shares[2]["array"])
    assert shares[3]["string"] < shares[2]["string"] < shares[1]["string"] < shares[0]["string"]


def test_toolset_extension_adds_distractors() -> None:
    counts = [
        mean([sum(not d.serves for d in made.toolset.documents) for made in scaled(distractors=level)])
        for level in range(4)
    ]
    assert counts[0] == 0 and counts == sorted(counts) and counts[3] > counts[2] > counts[1] > 1


@pytest.mark.parametrize("levels", [Levels(0, 0, 0, 0), Levels(3, 3, 0, 1), Levels(3, 3, 3, 3)], ids=str)
def test_gold_holds_at_any_level(levels: Levels) -> None:
    for spec in specs(each=5, levels=levels):
        assert solved(built(spec), [(call.name, call.arguments) for call in built(spec).toolset.calls]) == len(
            built(spec).toolset.calls
        )


# --- splits and presets ------------------------------------------------------------------------------------------


def names_of(deployed: DeployedToolset) -> set[str]:
    return {name for pool in deployed.toolset.scenario.facts["world"]["pools"].values() for name in pool}


def test_splits_share_no_name_no_world_and_no_question() -> None:
    splits = {split: [built(spec) for spec in specs(each=6, split=split)] for split in ("train", "validation", "test")}
    for split, made in splits.items():
        assert all(split_of(name) == split for deployed in made for name in names_of(deployed))
    everything = [deployed.toolset.scenario for made in splits.values() for deployed in made]
    assert len({scenario.world for scenario in everything}) == len(everything)
    assert len({scenario.question for scenario in everything}) == len(everything)


def test_shared_names_may_belong_to_any_split() -> None:
    made = [built(spec) for spec in specs(each=2, names="shared")]
    assert len({split_of(name) for deployed in made for name in names_of(deployed)}) == 3


@pytest.mark.parametrize("preset", ["micro", "paper"])
def test_another_seed_asks_other_questions(preset: str) -> None:
    questions = [
        {built(spec).toolset.scenario.question for spec in specs(preset, each=10, seed=seed)} for seed in (4, 5)
    ]
    assert not questions[0] & questions[1]
    assert len(questions[0]) == len(questions[1]) == 40


def test_micro_is_small() -> None:
    for spec in specs("micro"):
        deployed = built(spec)
        assert len(deployed.toolset.documents) == 4
        for document in deployed.toolset.documents:
            assert len(document.parameters["properties"]) <= 3
            assert len(document.description) < 120
            assert len(document.facts.get("rows", ())) <= 6
        assert len(deployed.toolset.scenario.question) < 260


# --- beside the released set -------------------------------------------------------------------------------------


def test_paper_matches_the_released_set_and_is_at_least_as_varied() -> None:
    path = builders.needs(builders.RELEASED)
    theirs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = compare.compare_sets([record(spec) for spec in specs(each=50)], theirs)
    assert [row for row in rows if row.holds is False] == []
    assert sum(row.holds is True for row in rows) == 24 + 8 + 4


def test_the_comparison_prints_a_table_and_says_what_falls_short(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = builders.write_records(tmp_path / "small.jsonl", [record(spec) for spec in specs("micro", each=2)])
    large = builders.write_records(tmp_path / "large.jsonl", [record(spec) for spec in specs(each=2)])
    monkeypatch.setattr(sys, "argv", ["compare", str(large), str(large)])
    assert compare.main() == 0
    assert "distinct question openings" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["compare", str(small), str(large)])
    assert compare.main() == 1
    assert "NO" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["compare"])
    assert compare.main() == 2


@pytest.mark.parametrize(
    ("rule", "ours", "holds"),
    [
        ("within 15 %", 11.4, True),
        ("within 15 %", 11.6, False),
        ("not lower", 10, True),
        ("not lower", 9.9, False),
        ("at least half", 5, True),
        ("at least half", 4.9, False),
        ("", 0, None),
    ],
)
def test_the_rules_of_the_comparison(rule: compare.MeasurementRule, ours: float, holds: bool | None) -> None:
    assert compare.Measurement("measure", "all", ours, 10, rule).holds is holds


# --- many --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hundreds_of_environments_hold() -> None:
    for preset in PRESET_NAMES:
        for spec in specs(preset, each=60, seed=99):
            deployed = procedural.build_environment(spec)
            assert procedural.find_leaked_answers(deployed.toolset) == []
            gold = [(call.name, call.arguments) for call in deployed.toolset.calls]
            assert solved(deployed, gold) == len(gold)
