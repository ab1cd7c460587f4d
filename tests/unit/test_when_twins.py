"""Twins that ask when to call: what they share, what is proven of them, and the bundled ones."""

import json
import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from builders import ROOT

from envbuilder.records import TWINS
from envbuilder.spec import Spec
from envbuilder.when.proof import find_faults, find_readable_faults
from envbuilder.when.twins import make_twins, worked_out
from harness.data.files import read_rows
from harness.data.records import sample_from_record
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig
from harness.scoring.decisions import SITUATIONS
from tasks import when
from tasks.synthesised import SEED


@pytest.fixture(params=["micro", "easy", "paper"])
def twins(request):
    """A world's, by situation."""
    found = make_twins(Spec(TWINS, 4, 5, "train", preset=request.param))
    assert [twin.situation for twin in found] == [*SITUATIONS]
    return {twin.situation: twin for twin in found}


def prompt(twin):
    return twin.record["messages"][0]["content"]


def test_twins_differ_in_nothing_but_what_decides(twins):
    questions = {prompt(twin).partition("\nQuestion: ")[2] for twin in twins.values()}
    assert len(questions) == 1 and {twin.record["world"] for twin in twins.values()} == {
        twins["partial"].record["world"]
    }
    assert prompt(twins["answerable"]) == prompt(twins["missing_record"])
    assert twins["answerable"].record["tools"] == twins["missing_record"].record["tools"]
    assert twins["no_tool"].record["tools"] == twins["tool_gone"].record["tools"]
    assert twins["no_tool"].record["codes"] == twins["tool_gone"].record["codes"]
    codes = [json.loads(twin.record["codes"]) for twin in twins.values()]
    (asked,) = {call["name"] for call in twins["answerable"].record["gold_calls"]}
    for name in codes[0].keys() - {asked}:  # the others tell the same, but for the missing record
        assert len({code[name] for code in codes}) <= 2
        assert (
            len({code[name] for code, situation in zip(codes, twins, strict=True) if situation != "missing_record"})
            == 1
        )


def test_notes_tell_the_same_six_facts_and_differ_in_which_pair_is_in_force(twins):
    facts = [
        [
            fact.rpartition(": ")[0].removeprefix(" ")
            for fact in prompt(twin).partition("\nNote: ")[2].split("\n")[0].split(";")
        ]
        for twin in twins.values()
    ]
    named = [[re.sub(", (in force|entered in error)$", "", fact) for fact in note] for note in facts]
    assert all(len(note) == 6 and note == named[0] for note in named)
    in_force = [{fact for fact in note if fact.endswith(", in force")} for note in facts]
    assert [len(held) for held in in_force] == [2] * 5
    assert in_force[0] == in_force[1] == in_force[2] == in_force[4] and not in_force[3] & in_force[0]


def test_the_missing_record_is_a_line_of_code_less(twins):
    (name,) = {call["name"] for call in twins["answerable"].record["gold_calls"]}
    whole, less = (json.loads(twins[s].record["codes"])[name].split("\n") for s in ("answerable", "missing_record"))
    assert len(whole) == len(less) + 1 and set(less) < set(whole)


@pytest.mark.parametrize(
    ("value", "noted"),
    [
        ("2026-03-01", "the day after 2026-02-28"),
        ("amber", "a-m-b-e-r (spelled out)"),
        ("Ann Cole", "A-n-n C-o-l-e (spelled out)"),
        ("1", "1"),
    ],
)
def test_values_are_worked_out(value, noted):
    assert worked_out(value, Random(1)) == noted


@pytest.mark.parametrize(("value", "result"), [("12,840", 12_840), ("14.37", 14.37), ("1907", 1907)])
def test_sums_are_right(value, result):
    one, two = worked_out(value, Random(1)).split(" plus ")
    assert float(one) + float(two) == pytest.approx(result) and float(one) > 0 < float(two)


# --- what is proven ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tools():
    with Sandbox(SandboxConfig(workers=1, limits=UNLIMITED)) as sandbox, sandbox.episode() as episode:
        yield episode


@pytest.fixture(scope="module")
def proven(tools):
    found = make_twins(Spec(TWINS, 0, 5, "train", preset="micro"))
    assert find_faults(found, tools, budget=200) == set()
    return {twin.situation: twin for twin in found}


def with_code(twin, change):
    """The twin with another code of its first tool."""
    codes = json.loads(twin.record["codes"])
    first = next(iter(codes))
    return replace(twin, record={**twin.record, "codes": json.dumps(codes | {first: change(first, codes[first])})})


def test_an_answer_in_a_tool_that_should_not_have_it_is_seen(proven, tools):
    twin = proven["tool_gone"]
    told = with_code(twin, lambda name, code: f"{code}\nKEPT = {twin.hidden[0]!r}\n")
    assert find_faults([told], tools) == {"told"}


def test_an_answer_that_a_tool_puts_together_is_found_by_calls(proven, tools):
    twin = proven["tool_gone"]
    answer = next(answer for answer in twin.hidden if not answer[0].isdigit())
    halves = " + ".join(map(repr, (answer[:3], answer[3:])))

    def change(name, code):
        head, _, rest = code.partition("\n")
        return f'{head}\n    return {{"value": {halves}}}\n{rest}'

    assert "reached" in find_faults([with_code(twin, change)], tools, budget=50)


def test_an_answer_in_the_wrong_note_or_missing_in_the_right_one_is_seen(proven, tools):
    gone, noted = proven["tool_gone"], proven["no_tool"]
    spoilt = {**gone.record, "messages": [{"role": "user", "content": f"{prompt(gone)} {gone.hidden[0]}"}]}
    assert find_faults([replace(gone, record=spoilt)], tools) == {"note"}
    assert find_faults([replace(noted, record={**noted.record, "messages": gone.record["messages"]})], tools) == {
        "note"
    }


def test_a_record_that_is_not_missing_is_seen(proven, tools):
    missing = proven["missing_record"]
    whole = {**missing.record, "codes": proven["answerable"].record["codes"]}
    assert find_faults([replace(missing, record=whole, hidden=())], tools) == {"record there"}


# --- what ships --------------------------------------------------------------------------------------------------


def test_the_bundled_twins_come_from_their_seed():
    """Without the calls of their proof, which test_build.py makes."""
    rebuilt = []
    for index in range(when.BUNDLED_WORLDS):
        for attempt in range(50):
            twins = make_twins(Spec(TWINS, index, SEED, "test", preset="easy", attempt=attempt))
            samples = [sample_from_record(twin.record, 0, "", parse=False) for twin in twins]
            if not any(
                fault
                for twin, sample in zip(twins, samples, strict=True)
                for fault in find_readable_faults(twin, sample)
            ):
                break
        rebuilt += [twin.record for twin in twins]
    assert rebuilt == list(read_rows(when.BUNDLED.path))


# --- what a bag of words knows (benchmarks/when_shortcuts.py) ----------------------------------------------------


@pytest.fixture
def shortcuts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import when_shortcuts

    return when_shortcuts


def test_a_planted_word_and_a_planted_length_are_found(shortcuts):
    rows = [shortcuts.read_row(record) for record in list(read_rows(when.BUNDLED.path))[:50]]
    fold = np.arange(50) // 5 % 5
    due = np.array([float(row.due) for row in rows])
    assert due.mean() == 0.6
    texts = [row.parts["note"] + " kindly" * row.due for row in rows]
    assert shortcuts.judge(shortcuts.bag(texts, shortcuts.words), due, fold) > 0.9
    table = np.array([[len(row.parts["note"]) + 10_000 * row.due, len(row.parts["question"])] for row in rows], float)
    assert shortcuts.judge(shortcuts.crossed(table), due, fold) == 1.0
    assert shortcuts.auroc(table[:, 1], due) == 0.5


def test_counts_have_no_hole(shortcuts):
    counted = [shortcuts.counts_of(shortcuts.read_row(record)) for record in list(read_rows(when.BUNDLED.path))[:20]]
    assert len({tuple(row) for row in counted}) == 1
    assert all(row["first place in force"] > 0 and row["place of name in question"] >= 0 for row in counted)
