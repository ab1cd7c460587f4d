"""`harness table --layout paper` of fixture runs, in every format, against the files in data_tables.

To write the files anew after a change that is meant: python tests/golden/test_table_golden.py
"""

import sys
import tempfile
from pathlib import Path

import pytest
from commands import harness
from result_runs import group, solved, write_run

DATA = Path(__file__).parent / "data_tables"
ENDINGS = {"simple": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json", "html": "html"}
BASE = ((0.3, 0.5), (0.4, 0.6), (0.2, 0.3), (0.5, 0.3))
BETTER = ((0.5, 0.5), (0.4, 0.8), (0.3, 0.6), (0.5, 0.4))
ROTBENCH = {f"rotbench_{level}": level for level in ("clean", "slight", "medium", "heavy", "union")}
TAU = ("taubench_airline", "taubench_retail")
TOOLHOP = ("toolhop_direct", "toolhop_mandatory", "toolhop_free")
GROUPS = {**group("paper"), "rotbench": list(ROTBENCH), "taubench": list(TAU), "toolhop": list(TOOLHOP)}


def others(ts, success, answer):
    """The three benchmarks besides the paper's environments: two samples a task."""
    rot = {"ts": ts, "pi": ts / 2, "cf": ts / 4, "paper_ts": ts, "paper_pi": ts / 2, "paper_cf": ts / 5}
    return {
        **{task: {"a": [rot], "b": [{name: value / 2 for name, value in rot.items()}]} for task in ROTBENCH},
        **{
            task: {str(i): [{"paper_success": v, "official_success": v}] for i, v in enumerate(success)} for task in TAU
        },
        **{task: {str(i): [{"paper_answer_accuracy": v}] for i, v in enumerate(answer)} for task in TOOLHOP},
    }


def runs(folder):
    """A base model in two reasoning modes, what was trained from it, a model whose benchmarks are two runs, one that
    played only half, and one with a name that is no friend of any format."""
    whole = {**solved("paper", BASE), **others(0.8, (0, 1, 0), (1, 0, 0, 0))}
    trained = {**solved("paper", BETTER), **others(0.7, (1, 1, 0), (1, 0, 1, 0))}
    half = {task: samples for task, samples in solved("paper", BASE).items() if task != "paper_multi_hop"}
    hostile = "a\\b{c}_d&e%f#g$h^i~j<k>|l*[m] \"n\" 'o' `p` --q"
    only, rest = group("paper"), {name: tasks for name, tasks in GROUPS.items() if name != "paper"}
    planned = [
        ("base/off", whole, "hf/base", "off", GROUPS),
        ("base/on", solved("paper", BETTER), "hf/base", "on", only),
        ("trained/off", trained, "hf/trained", "off", GROUPS),
        ("trained/on", solved("paper", BASE), "hf/trained", "on", only),
        ("two-a", solved("paper", BETTER), "openai/two", "default", only),
        ("two-b", others(0.9, (1, 0, 0), (0, 0, 0, 1)), "openai/two", "default", rest),
        ("half", half, "openai/half", "default", {}),
        ("hostile", solved("paper", BASE), hostile, "default", only),
    ]
    return [
        write_run(folder / name, tasks, model=model, reasoning=reasoning, groups=groups)
        for name, tasks, model, reasoning, groups in planned
    ]


def printed(folder, form):
    done = harness(
        "table", *runs(folder), "--layout", "paper", "--with-published", "--format", form, "--base", folder / "base"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("form", ENDINGS)
def test_the_paper_layout_is_what_it_was(form, tmp_path):
    assert printed(tmp_path, form) == (DATA / f"paper.{ENDINGS[form]}").read_text(encoding="utf-8")


if __name__ == "__main__":
    for form, ending in ENDINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            (DATA / f"paper.{ending}").write_text(printed(Path(folder), form), encoding="utf-8")
    sys.stdout.write(f"Wrote {DATA}: look at what changed.\n")
