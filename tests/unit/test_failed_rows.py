"""A row with failed episodes: marked in every layout and format, and none of its cells is best or second."""

import json

import pytest
from result_runs import KINDS, write_run

from results.layouts.default import default_table
from results.layouts.paper import PaperOptions, paper_table
from results.layouts.scenario import scenario_table
from results.render import TABLE_FORMATS
from results.runs import read_run

TASKS = tuple(f"micro_{kind}" for kind in KINDS)


def played(path, model, value, failed=0):
    """A run of two samples a scenario, all of one value; the first `failed` episodes ended in an error."""
    scores = {
        f"{prefix}{name}": value for prefix in ("", "paper_") for name in ("solve_f1", "solve_rate", "solve_precision")
    }
    tasks = {task: {sample: [scores] for sample in "ab"} for task in TASKS}
    write_run(path, tasks, model=model, groups={"micro": list(TASKS)})
    lines = (path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    ended = {"outcome": "model_error", "stop": "http_400", "error": "no"}
    kept = [json.dumps(json.loads(line) | ended) for line in lines[:failed]] + lines[failed:]
    (path / "samples.jsonl").write_text("\n".join([*kept, ""]), encoding="utf-8")
    (path / "summary.json").write_text('{"tasks": {}, "groups": {}}', encoding="utf-8")
    return read_run(path)


@pytest.fixture
def runs(tmp_path):
    return [played(tmp_path / "a", "test/failing", 0.9, failed=3), played(tmp_path / "b", "test/whole", 0.4)]


@pytest.mark.parametrize("form", TABLE_FORMATS)
@pytest.mark.parametrize("rule", ["strict", "paper"])
def test_rows_say_how_many_episodes_failed(runs, rule, form):
    for table in (scenario_table(runs, rule), paper_table(runs, PaperOptions(rule=rule))):
        text = TABLE_FORMATS[form](table)
        assert "3 of 8 failed" in text
        assert text.count("failed") == 1
    assert "failed" in TABLE_FORMATS[form](default_table(runs, by_task=False))


def test_a_cell_with_failed_episodes_is_never_best(runs):
    failing, whole = paper_table(runs, PaperOptions()).rows
    assert {cell.mark for cell in failing.cells} == {""}
    assert [cell.mark for cell in whole.cells[1:4]] == ["best"] * 3
    assert [cell.text for cell in failing.cells[1:4]] == ["90.00"] * 3


def test_an_even_value_beside_a_failed_one_keeps_its_place(tmp_path):
    runs = [played(tmp_path / "a", "test/failing", 0.4, failed=1), played(tmp_path / "b", "test/whole", 0.4)]
    failing, whole = paper_table(runs, PaperOptions()).rows
    assert failing.cells[1].mark == ""
    assert whole.cells[1].mark == "best"
