"""Tools that fail on purpose: the same for every model, in the record, and worth what arithmetic says."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from math import sqrt
from statistics import fmean

import pytest
from builders import call, record, sample, write_records
from commands import episodes, harness, one_sentence, summary

from harness.console.tables import format_table
from harness.environment import make_call_record
from harness.errors import UsageError
from harness.evaluation.evaluate import play_run
from harness.evaluation.plan import Player, plan_tasks
from harness.models import ModelOptions, load_model
from harness.registry import select_tasks
from harness.runs.directory import RunDirectory
from harness.runs.faults import find_record_fault
from harness.sandbox import Sandbox
from harness.scoring.recovery import fault_scores
from harness.tool_faults import ToolFaults, check_tools
from harness.tool_faults.draws import DEAD, KINDS
from harness.tool_faults.faulty_tools import cut_output, put_faults_before
from harness.tool_faults.texts import read_fault
from harness.types import ToolResult, Trajectory, Usage, Verdict

PASSING = [kind for kind in KINDS if kind != DEAD]
P = 0.3


class Echo:
    """Tools that answer with a list of three."""

    def __init__(self):
        self.ran = []

    def run(self, codes, calls):
        self.ran += calls
        return [ToolResult("ok", json.dumps([name, arguments, "x"])) for name, arguments in calls]


class EchoWithState(Echo):
    def fresh(self):
        return self

    def state_digest(self):
        return "digest"

    async def astate_digest(self):
        return "digest"


def answers(faults, calls, tools=None, epoch=0):
    the_sample = sample()
    faulty = put_faults_before(tools or Echo(), faults, the_sample, epoch)
    return [faulty.run(the_sample.codes, [one])[0] for one in calls]


CALLS = [("population", {"town": str(number)}) for number in range(200)]


def test_the_same_calls_meet_the_same_faults_however_they_are_made():
    faults = ToolFaults(P, seed=7)
    found = answers(faults, CALLS)
    others = [("population", {"other": number}) for number in range(200)]  # arguments dodge nothing
    assert [one.fault for one in answers(faults, others)] == [one.fault for one in found]
    together = put_faults_before(Echo(), faults, sample(), 0).run(sample().codes, CALLS)
    assert together == found
    for other in (answers(replace(faults, seed=8), CALLS), answers(faults, CALLS, epoch=1)):
        assert [one.fault for one in other] != [one.fault for one in found]


@pytest.mark.parametrize("kinds", [KINDS, *((kind,) for kind in KINDS)])
def test_every_call_fails_with_the_same_probability(kinds):
    faults = ToolFaults(P, kinds)
    found = Counter(faults.find_fault(f"s{number}", 0, "t", number % 3) for number in range(6000))
    assert set(found) == {None, *kinds}
    for share, expected in ((found[None] / 6000, 1 - P), *((found[kind] / 6000, P / len(kinds)) for kind in kinds)):
        assert abs(share - expected) < 4 * sqrt(expected * (1 - expected) / 6000)


def test_a_tool_without_permission_stays_dead():
    faults = ToolFaults(0.5, (DEAD,))
    fates = {tuple(faults.find_fault(f"s{number}", 0, "t", call) for call in range(5)) for number in range(50)}
    assert fates == {(None,) * 5, (DEAD,) * 5}


def test_a_call_that_fails_is_not_run_and_says_so():
    tools = Echo()
    found = answers(ToolFaults(0.5), CALLS, tools)
    through = [one for one, result in zip(CALLS, found, strict=True) if result.fault in (None, "truncated")]
    assert tools.ran == through and len(through) < len(CALLS)
    the_sample = sample()
    for kind in KINDS:
        (result,) = answers(ToolFaults(1.0, (kind,)), CALLS[:1])
        fed_back = make_call_record(0, call("population", {}), result)
        assert (result.fault, fed_back.fault, read_fault(fed_back.output)) == (kind, kind, kind)
        assert result.status != "ok" and the_sample.gold.sub_answers["population"][0] not in fed_back.output
    assert read_fault("ok") is read_fault('{"status": "ok", "result": {"val": 1}}') is None


def test_an_output_is_cut_to_half_of_its_items():
    for output, shown in (
        ("[1, 2, 3, 4]", "[1, 2]\n[cut off: 2 of 4 items]"),
        ('{"rows": [1, 2], "n": 2}', "[1]\n[cut off: 1 of 2 items]"),
        ("plain", "[]\n[cut off: 0 of 1 items]"),
        ('{"a": 1}', "[]\n[cut off: 0 of 1 items]"),
    ):
        assert cut_output(ToolResult("ok", output)) == ToolResult("truncated", shown, "truncated")
    failed = ToolResult("raised", "[1, 2]")
    assert cut_output(failed) is failed


def test_only_tools_that_the_sample_offers_fail_and_replayed_gold_never_does():
    everything = ToolFaults(1.0, ("500",))
    tools = put_faults_before(EchoWithState(), everything, sample(), 0)
    own = ("check_calls", {})
    found = tools.run({"check_calls": "", **sample().codes}, [own, CALLS[0]])
    assert [result.fault for result in found] == [None, "500"]
    assert tools.fresh().run(sample().codes, CALLS[:1])[0].status == "ok"
    assert tools.state_digest() == "digest"
    plain = Echo()
    assert put_faults_before(plain, None, sample(), 0) is put_faults_before(plain, ToolFaults(0), sample(), 0) is plain
    with pytest.raises(UsageError, match="t brings none of its own"):
        check_tools({"t": [replace(sample(), codes={"check_calls": ""})]})


# --- what it scores ----------------------------------------------------------------------------------------------


def scored(*made, outcome="ok", answers=("a", "b")):
    """Scores of an episode with calls (arguments, fault, position solved) of one tool."""
    calls = tuple(
        make_call_record(0, call("population", {"town": town}), ToolResult("raised" if fault else "ok", "", fault))
        for town, fault, _ in made
    )
    solves = tuple(position for *_, position in made)
    trajectory = Trajectory((), calls, 1, outcome, "no_tool_calls", Usage(), {})
    one = sample(unsolved_set={"population": list(answers)})
    return tuple(fault_scores(one, trajectory, Verdict(solves, solves, {})).values())


def test_recovery_giving_up_and_calls_of_the_dead():
    assert scored(("x", None, 0)) == ()
    assert scored(("x", "500", None), ("x", None, 0), ("y", None, 1)) == (1.0, 0.0, None)
    assert scored(("x", "500", None), ("x", "429", None), ("x", None, 0)) == (1.0, 0.0, None)  # b was never asked for
    assert scored(("x", "500", None), ("y", None, 1)) == (0.0, 1.0, None)  # y is no repeat of x
    assert scored(("x", "500", None), ("mended", None, 0), ("y", None, 1)) == (1.0, 0.0, None)
    assert scored(("x", "500", None), ("y", "timeout", None), ("y", None, 1)) == (0.5, 1.0, None)
    assert scored(("x", "500", None), outcome="turn_limit") == (0.0, 0.0, None)
    assert scored(("x", None, 0), ("y", None, 1), ("x", "500", None)) == (None, None, None)  # nothing was open
    assert scored(("x", "500", None), ("y", "500", None), answers="a") == (0.0, 1.0, None)
    assert scored(("x", DEAD, None), ("x", DEAD, None), ("y", DEAD, None)) == (None, None, 2.0)


# --- played ------------------------------------------------------------------------------------------------------


@cache
def micro():
    return plan_tasks(select_tasks(["micro_*"], {}), {}, limit=15)


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    """Plays a policy on 60 environments whose tools fail; the records, and the run."""
    with Sandbox() as sandbox:
        played = {}

        def run(policy, faults):
            if (policy, faults) not in played:
                out = tmp_path_factory.mktemp("run") / policy
                player = Player(load_model(f"policy/{policy}", ModelOptions()), sandbox, faults=faults)
                found = play_run(micro(), player, out)
                played[policy, faults] = found.directory.read_records(), found
            return played[policy, faults]

        yield run


def gold_faults(faults):
    """How the oracle's calls fail in each episode, drawn without playing."""
    fates = {}
    for task, one, epoch in micro():
        names = [made.name for made in one.gold.calls]
        earlier = [names[:place].count(name) for place, name in enumerate(names)]
        fates[task.name, one.id] = [
            faults.find_fault(one.id, epoch, *place) for place in zip(names, earlier, strict=True)
        ]
    return fates


@pytest.mark.parametrize("kind", ["500", "truncated", DEAD, None])
def test_the_plain_oracle_gets_what_arithmetic_says(play, kind):
    faults = ToolFaults(P, (kind,) if kind else KINDS)
    records, _ = play("oracle", faults)
    fates = gold_faults(faults)
    for episode in records:
        failed = [fate is not None for fate in fates[episode["task"], episode["sample"]]]
        assert ["fault" in made for made in episode["calls"]] == failed
        assert episode["scores"]["solve_rate"] == pytest.approx(1 - fmean(failed))
        assert episode["scores"].get("recovery_rate") in (None, 0.0)
    hops = [len(fate) for fate in fates.values()]
    rate, whole = (
        fmean(r["scores"]["solve_rate"] for r in records),
        fmean(r["scores"]["solve_f1"] == 1 for r in records),
    )
    tools = [len({made["name"] for made in r["calls"]}) for r in records]
    expected = fmean((1 - P) ** n for n in (tools if kind == DEAD else hops))
    spread = sqrt(P * (1 - P) * sum(1 / n for n in tools)) / len(records)
    assert abs(rate - (1 - P)) < 4 * spread
    if kind:  # in a mix, dead tools and passing faults go together in one episode
        assert abs(whole - expected) < 4 * sqrt(expected * (1 - expected) / len(records))


def test_the_retrying_oracle_finds_everything_that_can_be_found(play):
    for kind in ("500", "429", "truncated"):
        _, run = play("retry", ToolFaults(P, (kind,)))
        metrics = run.summary["groups"]["micro"]["metrics"]
        for name in ("solve_rate", "answer_accuracy", "recovery_rate"):
            assert metrics[name]["value"] == 1.0
        assert metrics["give_up_rate"]["value"] == 0.0
    mixed, _ = play("retry", ToolFaults(P))
    dead = [r for r in mixed if any(made.get("fault") == DEAD for made in r["calls"])]
    assert 0 < len(dead) < len(mixed)
    for episode in mixed:
        assert episode["scores"].get("recovery_rate") in (None, 1.0)
        assert episode["scores"].get("dead_tool_calls") in (None, 0.0)
        assert episode["scores"]["answer_accuracy"] == (episode not in dead)
        assert ("refused permission" in episode["messages"][-1]["content"]) == (episode in dead)


def test_two_models_with_the_same_calls_see_the_same_outputs(play):
    faults = ToolFaults(P)
    oracle, retry = (play(policy, faults)[0] for policy in ("oracle", "retry"))
    firsts = [[episode["calls"][0] for episode in played] for played in (oracle, retry)]
    assert firsts[0] == firsts[1] and any("fault" in made for made in firsts[0])


def test_faults_stand_in_the_identity_the_summary_and_every_table(play, tmp_path):
    faults = ToolFaults(P, ("500",), seed=3)
    records, run = play("oracle", faults)
    plain, without = play("oracle", None)
    assert run.directory.manifest["identity"]["tool_faults"] == {"probability": P, "kinds": ["500"], "seed": 3}
    assert "tool_faults" not in without.directory.manifest["identity"] and "tool_faults" not in without.summary
    assert {r["key"] for r in records}.isdisjoint(r["key"] for r in plain)
    table = format_table([run.summary, without.summary], [{}, {}], by_task=False)
    heads = [head.strip() for head in table.splitlines()[0].split("  ") if head.strip()]
    assert heads[-4:] == ["recovered", "gave up", "dead calls", "failed"]
    assert "policy/oracle [tool faults 0.3:500]" in table
    assert "recovered" not in format_table([without.summary], [{}], by_task=False)
    bad = {**records[0], "calls": [{**records[0]["calls"][0], "fault": "rain"}]}
    assert find_record_fault(bad) == "of call 1, its fault is no fault"


def test_rescoring_finds_the_same(play):
    from harness.evaluation.rescore import score_anew

    _, run = play("retry", ToolFaults(P, ("500",)))
    summary, _ = score_anew(RunDirectory.open(run.directory.path), micro().tasks)
    assert summary == run.summary


# --- on the command line -----------------------------------------------------------------------------------------


def test_without_faults_a_run_is_what_it_was(tmp_path):
    task = write_records(tmp_path / "towns.jsonl", [record()])
    run = ("eval", "--model", "policy/oracle", "--tasks", task, "--out")
    assert (
        harness(*run, tmp_path / "today").returncode
        == harness(*run, tmp_path / "none", "--tool-faults", 0).returncode
        == 0
    )
    lines = [[{**line, "timing": {}} for line in episodes(tmp_path / name)] for name in ("today", "none")]
    assert json.dumps(lines[0]) == json.dumps(lines[1]) and not {"fault", "facts"} & lines[0][0]["calls"][0].keys()
    assert summary(tmp_path / "today") == summary(tmp_path / "none")
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("today", "none")]
    assert manifests[0]["identity"] == manifests[1]["identity"]
    other = harness(*run, tmp_path / "today", "--tool-faults", "0.5:500", "--resume")
    assert "holds another run (tool_faults.kinds" in one_sentence(other)


def test_show_tells_a_fault_from_a_failure(tmp_path):
    task = write_records(tmp_path / "towns.jsonl", [record()])
    run = ("eval", "--model", "policy/retry", "--tasks", task, "--out", tmp_path / "run", "--tool-faults", "1:429")
    done = harness(*run, "--max-turns", 2)
    assert done.returncode == 0, done.stderr
    assert "[tool faults 1:429]" in done.stdout
    shown = harness("show", tmp_path / "run", "towns").stdout
    assert shown.count("-> raised (fault: 429)  population(") == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [("2", "must be from 0 to 1"), ("x:500", "not a number"), ("0.1:rain", "'rain' is none of timeout")],
)
def test_bad_faults_are_one_sentence(value, said, tmp_path):
    words = ("eval", "--model", "policy/oracle", "--tasks", "demo_*", "--out", tmp_path / "run", "--tool-faults", value)
    assert said in one_sentence(harness(*words))
