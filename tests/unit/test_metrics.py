"""The rows of harness/metrics.py: one more of them is a column wherever it says."""

import argparse

import pytest
from builders import sample
from report_runs import play
from result_runs import write_run

from harness import metrics
from harness.console.tables import format_legend, format_table
from harness.metrics import METRICS, ROWS, Metric, bounds_of, find_metric, shown_by_rule
from harness.runs.directory import RunDirectory
from harness.scoring import call_counts, call_rates, score
from results.commands import compare
from results.commands import report as report

WASTED = Metric(
    "wasted",
    "wasted calls",
    ("table", "compare", "modes", "report", "log", "exam"),
    digits=2,
    bounds=None,
    more_is_better=False,
    common=True,
    legend="wasted calls: calls that solve nothing",
)


@pytest.fixture
def runs(tmp_path):
    """Two runs of a task with sub-answers and two of another, all with a metric that nothing knows but its score."""

    def run(name, headline, values):
        scores = [{headline: value / 10, "calls": 3.0, "wasted": float(value)} for value in values]
        tasks = {headline: {f"s{index}": [one] for index, one in enumerate(scores)}}
        return write_run(tmp_path / f"{headline}-{name}", tasks, model=f"m/{name}", headline=headline)

    return {head: [run("a", head, (1, 2, 4)), run("b", head, (3, 5, 6))] for head in ("solve_f1", "success")}


def said_by(command, capsys, *words):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    assert command.run(parser.parse_args([str(word) for word in words])) == 0
    return capsys.readouterr().out


def everything(runs, tmp_path, capsys):
    """What is shown of two runs: table, legend, comparison, report."""
    opened = [RunDirectory.open(path) for path in runs]
    summaries = [run.read_summary() for run in opened]
    page = tmp_path / "report.html"
    said_by(report, capsys, *runs, "--out", page)
    html = page.read_text(encoding="utf-8")
    return {
        "table": format_table(summaries, [{}, {}], by_task=False),
        "legend": format_legend(summaries),
        "compare": said_by(compare, capsys, *runs),
        "report's table": html.partition(">Tables<")[2].partition(">Figures<")[0],
        "report's words": html.partition(">Tables<")[0],
    }


@pytest.mark.parametrize("headline", ["solve_f1", "success"])
def test_one_row_is_a_column_of_tables_comparisons_and_reports(runs, headline, monkeypatch, tmp_path, capsys):
    before = everything(runs[headline], tmp_path, capsys)
    monkeypatch.setitem(metrics.METRICS, "wasted", WASTED)
    after = everything(runs[headline], tmp_path, capsys)
    assert not any("wasted calls" in said for said in before.values())
    assert "wasted calls: calls that solve nothing;" in " ".join(after["legend"].split())
    heads = after["table"].splitlines()[0].split("  ")
    assert [head.strip() for head in heads if head][-3:] == ["calls", "wasted calls", "failed"]
    assert [line.split()[-2] for line in after["table"].splitlines()[2:]] == ["2.33", "4.67"]
    (line,) = [line for line in after["compare"].splitlines() if " wasted " in line]
    assert line.split()[2:5] == ["2.333", "4.667", "+2.333"]  # a column has one form
    assert "wasted" not in before["compare"]
    assert ">wasted calls<" in after["report's table"] and "wasted calls +2.333" in after["report's words"]


def test_one_row_is_a_line_of_training_logs_and_of_before_and_after(runs, monkeypatch):
    pytest.importorskip("torch")
    from trainer.rl.generation import select_logged_metrics
    from trainer.rl.validation import compare_metrics, format_differences

    assert "wasted" not in format_differences(compare_metrics(*runs["success"]), 3)
    monkeypatch.setitem(metrics.METRICS, "wasted", WASTED)
    assert "wasted calls" in format_differences(compare_metrics(*runs["success"]), 3)
    assert select_logged_metrics({"wasted": 2.0, "other": 1.0}) == {"wasted": 2.0}


def test_a_metric_without_a_row_is_shown_under_its_name_by_its_own_benchmark_alone(runs, tmp_path, capsys):
    said = everything(runs["success"], tmp_path, capsys)
    assert said["table"].splitlines()[0].split()[-4:] == ["success", "wasted", "calls", "failed"]
    assert "wasted" not in everything(runs["solve_f1"], tmp_path, capsys)["table"]
    assert find_metric("my_own") == Metric("my_own", "my own")


def test_every_metric_of_an_episode_with_sub_answers_has_a_row():
    one = sample()
    assert set(score(one, play(one, [])).scores) <= METRICS.keys()
    assert len(METRICS) == len(ROWS)
    assert [row.heading for row in shown_by_rule()] == ["P", "R", "F1"]


def test_bounds_are_given_up_for_counts_and_for_values_that_leave_them():
    assert bounds_of("solve_f1", [0.0, 1.0]) == bounds_of("my_own", []) == (0.0, 1.0)
    assert bounds_of("calls", [0.5]) is bounds_of("my_own", [0.5, 1.5]) is None


def test_calls_are_counted_alike_whatever_the_task():
    asked = ("capital", {"land": "Arden"}, "Brill")
    trajectory = play(sample(), [asked, ("size", None, "no JSON"), ("size", {}, "Error: no town"), asked])
    assert call_counts(trajectory) == {"calls": 4.0, "turns": 5.0}
    assert call_rates(trajectory) == {"malformed_call_rate": 0.25, "tool_error_rate": 0.5}
    assert call_rates(trajectory, ran=False) == {"malformed_call_rate": 0.25, "tool_error_rate": None}
    assert call_rates(play(sample(), [])) == {"malformed_call_rate": None, "tool_error_rate": None}
