"""The paper's whole table from one run of all its tasks: real rows where they are there, the rest made of them."""

import json
import shutil

import pytest
from builders import RELEASED, SHARED, needs
from commands import harness, summary

DATA = SHARED / "data"
QUESTIONS = [
    {
        "id": n,
        "question": "When was the founder of Acme born?",
        "answer": str(1920 + n),
        "sub_task": {"Who founded Acme?": "Mary Stone"},
        "tools": {"Who founded Acme?": {"name": "founder", "description": "The founder.", "parameters": {}}},
        "functions": ["def founder():\n    return 'Mary Stone'\n"],
        "domain": "Companies",
        "answer_type": "number",
        "previous_answer_type": "name",
    }
    for n in range(3)
]


@pytest.mark.slow
def test_one_run_of_all_tasks_has_the_papers_table(tmp_path):
    for path in (RELEASED, DATA / "rotbench", DATA / "tau-bench"):
        needs(path)
    (tmp_path / "rot" / "First_Turn").mkdir(parents=True)
    for level in ("clean", "slight", "medium", "heavy", "union"):
        shutil.copy(DATA / "rotbench" / "First_Turn" / "clean.json", tmp_path / "rot" / "First_Turn" / f"{level}.json")
    (tmp_path / "hops.json").write_text(json.dumps(QUESTIONS))
    tasks = "paper_*,rotbench_*,taubench_*,toolhop_*"
    done = harness(
        *("eval", "--model", "policy/silent", "--tasks", tasks, "--limit", 3, "--out", tmp_path / "run", "--data"),
        *(f"paper={RELEASED}", f"rotbench={tmp_path / 'rot'}"),
        *(f"taubench={DATA / 'tau-bench'}", f"toolhop={tmp_path / 'hops.json'}"),
    )
    assert done.returncode == 0, done.stderr
    groups = summary(tmp_path / "run")["groups"]
    table = groups["paper_table"]
    assert table["n"] == 14 * 3
    # Saying nothing has the precision 1 by the paper's rule, and solves nothing.
    assert table["metrics"]["paper_solve_precision"]["value"] == 1
    assert table["metrics"]["paper_solve_rate"]["value"] == 0
    success = groups["taubench"]["metrics"]["paper_success"]["value"]
    assert table["metrics"]["paper_average"]["value"] == pytest.approx((1 + success) / 8)
    assert "paper_table" in done.stdout
    assert "harness table --layout paper" in done.stdout
