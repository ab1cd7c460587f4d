"""The paper's table as a group of summary.json: its columns, their mean, its interval, and when it is there."""

import json

import pytest
from result_runs import KINDS, write_run

from harness.console.tables import format_legend, format_table
from harness.errors import UsageError
from harness.registry import all_tasks, tables_of
from harness.runs.directory import RunDirectory
from harness.stats import mean
from results.layouts.paper import PaperOptions, paper_table
from results.runs import read_runs

TASKS = [name for name in all_tasks({}) if name.startswith(("paper_", "rotbench_", "taubench_", "toolhop_"))]
COLUMNS = tables_of([all_tasks({})[name] for name in TASKS], {})["paper_table"]
GROUPS = {
    "paper": [f"paper_{kind}" for kind in KINDS],
    **{
        family: [name for name in TASKS if name.startswith(f"{family}_")]
        for family in ("rotbench", "taubench", "toolhop")
    },
}


def played(seed):
    """Three samples a task; values that differ by task, sample and metric, without a strict value in toolhop."""
    return {
        name: {
            str(n): [
                {
                    f"{rule}{metric}": ((seed + 3 * place + 5 * n + 7 * len(metric) + len(rule)) % 11) / 10
                    for metric, names in COLUMNS.items()
                    for rule in ("", "paper_")
                    if name in names and (rule or not name.startswith("toolhop"))
                }
            ]
            for n in range(3)
        }
        for place, name in enumerate(TASKS)
    }


def written(path, tasks, tables):
    return json.loads((write_run(path, tasks, groups=GROUPS, tables=tables) / "summary.json").read_text())["groups"]


def test_the_registered_tasks_fill_eight_columns():
    assert sorted(COLUMNS) == [
        "answer_accuracy",
        "cf",
        "pi",
        "solve_f1",
        "solve_precision",
        "solve_rate",
        "success",
        "ts",
    ]
    assert len(TASKS) == 14
    assert sum(map(len, COLUMNS.values())) == 3 * 4 + 3 * 5 + 2 + 3


@pytest.mark.parametrize("left_out", TASKS)
def test_there_is_no_table_without_all_of_its_tasks(left_out):
    assert tables_of([all_tasks({})[name] for name in TASKS if name != left_out], {}) == {}


def test_the_average_is_the_mean_of_the_columns_and_of_the_papers_layout(tmp_path):
    groups = written(tmp_path / "run", played(1), {"paper_table": COLUMNS})
    metrics = groups["paper_table"]["metrics"]
    for metric, names in COLUMNS.items():
        group_of = names[0].partition("_")[0]
        assert metrics[f"paper_{metric}"] == groups[group_of]["metrics"][f"paper_{metric}"]
    average = metrics["paper_average"]
    assert average["value"] == pytest.approx(mean([metrics[f"paper_{metric}"]["value"] for metric in COLUMNS]))
    assert average["n"] == groups["paper_table"]["n"] == 3 * len(TASKS)
    assert average["ci95"][0] < average["value"] < average["ci95"][1]
    (row,) = paper_table(read_runs([tmp_path / "run"]), PaperOptions()).rows
    assert row.cells[-1].text == f"{100 * average['value']:.2f}"


def test_a_rule_without_all_columns_has_no_average(tmp_path):
    metrics = written(tmp_path / "run", played(2), {"paper_table": COLUMNS})["paper_table"]["metrics"]
    assert metrics["answer_accuracy"]["value"] is None
    assert metrics["average"] == {"value": None, "stderr": None, "ci95": None, "n": 0}
    assert metrics["ts"]["value"] is not None


def test_columns_of_the_same_episodes_vary_together(tmp_path):
    """Two columns that are always equal say as much as one; two of other episodes halve the variance."""
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    one = {"a": {str(n): [{"paper_x": v, "paper_y": v}] for n, v in enumerate(values)}}
    two = {name: {str(n): [{f"paper_{m}": v}] for n, v in enumerate(values)} for name, m in (("a", "x"), ("b", "y"))}
    same = written_tables(tmp_path / "one", one, {"t": {"x": ["a"], "y": ["a"]}})
    apart = written_tables(tmp_path / "two", two, {"t": {"x": ["a"], "y": ["b"]}})
    assert same["paper_average"]["stderr"] == pytest.approx(same["paper_x"]["stderr"])
    assert apart["paper_average"]["stderr"] == pytest.approx(same["paper_x"]["stderr"] / 2**0.5)


def written_tables(path, tasks, tables):
    run = write_run(path, tasks, headline="paper_x", tables=tables)
    return json.loads((run / "summary.json").read_text())["groups"]["t"]["metrics"]


@pytest.mark.parametrize(
    "tables", [[], {"t": 1}, {"t": {"x": "a"}}, {"t": {"x": ["nowhere"]}}, {"t": {"x": [["a"]]}}, {"t": {"x": []}}]
)
def test_a_manifest_with_damaged_tables_is_refused(tables, tmp_path):
    run = write_run(tmp_path / "run", {"a": {"0": [{"paper_x": 1.0}]}}, headline="paper_x")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "tables": tables}))
    with pytest.raises(UsageError, match="a group or table has no tasks of the run"):
        RunDirectory.open(run)


def test_tables_for_people_show_the_averages_alone(tmp_path):
    run = write_run(tmp_path / "run", played(1), groups=GROUPS, tables={"paper_table": COLUMNS})
    summary = json.loads((run / "summary.json").read_text())
    shown = format_table([summary], [GROUPS], by_task=False).split("\n\n")[-1]
    assert shown.splitlines()[0].split() == ["model", "tasks", "n", "paper_average", "average", "failed"]
    assert "harness table --layout paper" in format_legend([summary])
