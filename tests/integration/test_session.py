"""Runs of one command in this process: reasoning modes, budgets, epochs, with a model whose switch a test controls."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
from builders import call, record, says, write_records

from harness.errors import UsageError
from harness.evaluation.command import Evaluation
from harness.evaluation.plan import Plan
from harness.registry import load_samples, select_tasks
from harness.runs.prices import Budget, Price
from harness.runs.summary import NOT_SWITCHED
from harness.types import Message, Model, Reasoning, Reply, Usage
from results.commands import compare

OFF, ON = Reasoning("off"), Reasoning("on")


class Thinker(Model):
    """Solves the town with reasoning, and answers at once without; `obeys` says whether it heeds the switch."""

    name = "test/thinker"
    fingerprint = {"backend": "test"}  # noqa: RUF012

    def __init__(self, obeys=True):
        self.obeys = obeys
        self.asked = []

    def switch(self, reasoning):
        if reasoning.budget is not None:
            raise UsageError("test/thinker takes no budget.")
        return {"thinking": reasoning.mode == "on"}

    def __call__(self, request):
        self.asked.append((request.sample.id, request.reasoning.label, request.turn))
        thinks = request.reasoning.mode == "on" if self.obeys else True
        used = Usage(input_tokens=100, output_tokens=10, reasoning_tokens=5 if thinks else 0, requests=1)
        if thinks and request.turn == 0:
            said = says("", call("population", {"town": "Corrie"}))
            return Reply(Message("assistant", "", reasoning="Corrie.", tool_calls=said.tool_calls), used)
        return Reply(says("Answer: 45210"), used)


@pytest.fixture
def plan(tmp_path):
    rows = [record(id=f"towns-{number}", world=f"shire-{number}") for number in range(4)]
    path = write_records(tmp_path / "towns.jsonl", rows)
    tasks = select_tasks([str(path)], {})
    return Plan(tasks=tasks, samples=load_samples(tasks), groups={})


def read(path: Path):
    lines = (path / "samples.jsonl").read_text().splitlines()
    return json.loads((path / "manifest.json").read_text()), [json.loads(line) for line in lines]


def test_both_modes_are_two_runs_and_a_comparison(plan, tmp_path, capsys):
    out = tmp_path / "out"
    assert Evaluation(plan, [Thinker()], [OFF, ON], out, quiet=True).run() == 0
    said = capsys.readouterr().out
    assert "test/thinker, on minus off, paired" in said
    assert "R +1.000" in said
    assert "WARNING" not in said and "(!)" not in said
    for mode, thinks in (("off", False), ("on", True)):
        manifest, records = read(out / mode)
        assert manifest["identity"]["reasoning"] == mode
        assert manifest["reasoning_switch"] == {"thinking": thinks}
        assert [bool(r["reasoning"]["turns"]) for r in records] == [thinks] * 4
        assert all(r["reasoning"]["asked"] == mode for r in records)


def test_the_printed_difference_weighs_tasks_as_the_table_and_compare_do(tmp_path, capsys):
    towns = [record(id=f"towns-{number}", world=f"shire-{number}") for number in range(4)]
    unmoved = [record(id=f"others-{number}", unsolved_set={"population": ["7"]}, answer="7") for number in range(4)]
    tasks = select_tasks(
        [str(write_records(tmp_path / f"{name}.jsonl", rows)) for name, rows in (("heavy", towns), ("light", unmoved))],
        {},
    )
    heavy, light = tasks
    tasks = [replace(heavy, weight=3.0), light]
    plan = Plan(tasks=tasks, samples=load_samples(tasks), groups={"both": ["heavy", "light"]})
    out = tmp_path / "out"
    assert Evaluation(plan, [Thinker()], [OFF, ON], out, quiet=True).run() == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "minus" in line]
    parser = argparse.ArgumentParser()
    compare.configure(parser)
    compare.run(parser.parse_args([str(out / "off"), str(out / "on"), "--metric", "solve_rate", "--format", "json"]))
    ((change,),) = [one["changes"] for one in json.loads(capsys.readouterr().out)["comparisons"]]
    assert change["difference"]["value"] == 0.75
    assert "R +0.750 [" in line


def test_a_switch_that_is_ignored_is_a_warning_and_a_mark(plan, tmp_path, capsys):
    assert Evaluation(plan, [Thinker(obeys=False)], [OFF, ON], tmp_path / "out", quiet=True).run() == 0
    said = capsys.readouterr().out
    assert "WARNING: the reasoning switch was not heeded: off was asked, and it reasoned in 4 of 4 episodes" in said
    assert "off (!)" in said and "on (!)" not in said
    assert "(!) beside a reasoning mode" in said


def test_a_switch_that_was_refused_is_marked_whatever_was_seen(plan, tmp_path, capsys):
    class Refused(Thinker):
        def __call__(self, request):
            return replace(super().__call__(request), note=f"{NOT_SWITCHED}the endpoint refuses it")

    assert Evaluation(plan, [Refused()], [OFF], tmp_path / "out", quiet=True).run() == 0
    said = capsys.readouterr().out
    assert "off was asked, and the endpoint refused the switch in 4 of 4 episodes" in said
    assert "off (!)" in said


def test_an_endpoint_that_counts_no_tokens(plan, tmp_path, capsys):
    class Uncounted(Thinker):
        def __call__(self, request):
            return replace(super().__call__(request), usage=Usage(requests=1))

    assert Evaluation(plan, [Uncounted()], [OFF], tmp_path / "free", quiet=True).run() == 0
    assert "no token counts: the endpoint gave none" in capsys.readouterr().out
    limited = Evaluation(plan, [Uncounted()], [OFF], tmp_path / "out", concurrency=1, budget=Budget(max_tokens=10**6))
    assert limited.run() == 1
    assert "Stopped: the endpoint counts no tokens, so no limit can be kept." in capsys.readouterr().err
    assert len(read(tmp_path / "out")[1]) == 1


def test_a_limit_that_the_last_episodes_passed_is_said(plan, tmp_path, capsys):
    budget = Budget(max_tokens=400)
    assert Evaluation(plan, [Thinker()], [OFF], tmp_path / "out", quiet=True, concurrency=1, budget=budget).run() == 0
    assert "Passed by the last episodes: --max-tokens-total 400 is reached: 440 tokens." in capsys.readouterr().err


def test_a_model_that_returns_something_else_costs_its_episodes(plan, tmp_path, capsys):
    class Wordless(Thinker):
        def __call__(self, request):
            return "Answer: 45210"

    assert Evaluation(plan, [Wordless()], [OFF], tmp_path / "out", quiet=True).run() == 1
    assert "TypeError: the model returned str, not a Reply" in capsys.readouterr().out


def test_a_mode_that_the_model_does_not_have_is_refused_before_anything_is_written(plan, tmp_path):
    with pytest.raises(UsageError, match="no budget"):
        Evaluation(plan, [Thinker()], [Reasoning("on", budget=5)], tmp_path / "out", quiet=True).run()
    assert not (tmp_path / "out").exists()


def test_a_mode_is_part_of_what_a_run_is(plan, tmp_path):
    Evaluation(plan, [Thinker()], [OFF], tmp_path / "out", quiet=True).run()
    with pytest.raises(UsageError, match="reasoning: off there, on now"):
        Evaluation(plan, [Thinker()], [ON], tmp_path / "out", resume=True, quiet=True).run()


def test_tokens_that_run_out_stop_the_run_and_it_goes_on_without_repeating(plan, tmp_path, capsys):
    out, model = tmp_path / "out", Thinker()
    first = Evaluation(plan, [model], [OFF], out, quiet=True, concurrency=1, budget=Budget(max_tokens=150))
    assert first.run() == 1
    said = capsys.readouterr()
    assert "--max-tokens-total 150 is reached: 220 tokens" in said.err and f"--resume --out {out}" in said.err
    assert len(read(out)[1]) == 2 and not (out / "summary.json").exists()
    again = Evaluation(plan, [model], [OFF], out, quiet=True, resume=True, budget=Budget(max_tokens=10_000))
    assert again.run() == 0
    assert sorted(r["sample"] for r in read(out)[1]) == [f"towns-{number}" for number in range(4)]
    assert len(model.asked) == 4


def test_what_was_spent_before_counts_on_resume(plan, tmp_path, capsys):
    out, model = tmp_path / "out", Thinker()
    for resume in (False, True):
        session = Evaluation(plan, [model], [OFF], out, resume, True, concurrency=1, budget=Budget(max_tokens=150))
        assert session.run() == 1
    assert len(model.asked) == 2


def test_dollars_that_run_out_end_the_command_before_the_next_run(plan, tmp_path, capsys):
    price = Price(input=100.0, output=0.0, cached_input=100.0)
    budget = Budget(max_cost=0.015)
    prices = {"test/thinker": price}
    out = tmp_path / "out"
    session = Evaluation(plan, [Thinker()], [OFF, ON], out, quiet=True, concurrency=1, budget=budget, prices=prices)
    assert session.run() == 1
    assert not (out / "on").exists()
    said = capsys.readouterr()
    assert "$0.0100" in said.out
    assert "--max-cost 0.015 is reached: $0.0100, and one more episode costs about $0.0100" in said.err


def test_epochs_give_pass_at_k_in_summary_and_table(plan, tmp_path, capsys):
    from dataclasses import replace

    out = tmp_path / "out"
    Evaluation(replace(plan, epochs=3), [Thinker()], [ON], out, quiet=True).run()
    metrics = json.loads((out / "summary.json").read_text())["tasks"]["towns"]["metrics"]
    assert {"pass@1", "pass@2", "pass@3", "pass^1", "pass^2", "pass^3"} <= set(metrics)
    assert metrics["pass^3"]["value"] == metrics["answer_accuracy"]["value"] == 1.0
    assert metrics["pass^3"]["n"] == 4
    assert "pass^3" in capsys.readouterr().out


class Failing(Thinker):
    """Uses tokens and fails for reasons of the infrastructure."""

    def __call__(self, request):
        from harness.errors import ModelFailure

        used = Usage(input_tokens=60, output_tokens=15, requests=1)
        raise ModelFailure("down", outcome="infrastructure_error", stop="http_500", usage=used)


def test_what_failed_episodes_used_counts_too(plan, tmp_path, capsys):
    out, said = tmp_path / "out", []
    for resume in (False, True, True):
        budget = Budget(max_tokens=500)
        Evaluation(plan, [Failing()], [OFF], out, resume, True, concurrency=1, budget=budget).run()
        said.append(capsys.readouterr().err)
    assert "reached" not in said[0]  # four episodes, 300 tokens
    assert "--max-tokens-total 500 is reached: 525 tokens" in said[1]
    assert "525 tokens" in said[2]


def test_prices_given_on_resume_are_those_of_the_report(plan, tmp_path):
    out = tmp_path / "out"
    Evaluation(plan, [Thinker()], [OFF], out, quiet=True, concurrency=1, budget=Budget(max_tokens=150)).run()
    price = {"test/thinker": Price(input=100.0, output=0.0, cached_input=100.0)}
    Evaluation(plan, [Thinker()], [OFF], out, resume=True, quiet=True, prices=price).run()
    assert json.loads((out / "summary.json").read_text())["cost"] == pytest.approx(0.04)
