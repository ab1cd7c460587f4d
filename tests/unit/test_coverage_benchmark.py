"""benchmarks/coverage.py: it runs, and what it simulates is the interval that summaries have."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.stats import estimate_mean

ROOT = Path(__file__).parents[2]


@pytest.fixture
def coverage(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import coverage

    return coverage


def test_its_intervals_are_those_of_a_summary(coverage):
    cells = [*list(coverage.grid())[::5], *coverage.tasks_of_unequal_size()]
    for cell in cells:
        source = np.random.default_rng(0)
        tasks = [coverage.draw_task(source, cell.kind, sizes, cell.icc, 3) for sizes in cell.shape]
        low, high = coverage.find_limits(coverage.table_of(tasks, cell.shape), coverage.BOUNDS)
        for run in range(3):
            strata = [
                [((place, world), float(value)) for world, value in zip(worlds, task[run], strict=True)]
                for place, (task, sizes) in enumerate(zip(tasks, cell.shape, strict=True))
                for worlds in [np.repeat(np.arange(len(sizes)), sizes).tolist()]
            ]
            found = estimate_mean(strata, coverage.BOUNDS)
            assert (low[run], high[run]) == pytest.approx(found.ci95, abs=1e-9)


def test_episodes_of_a_world_correlate_as_said_and_keep_their_mean(coverage):
    drawn = coverage.draw_task(np.random.default_rng(0), "F1", [2], 0.3, 100_000)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0.3, abs=0.02)
    assert drawn.mean() == pytest.approx(coverage.truth("F1"), abs=0.005)


def test_enough_cover_in_cells_where_students_t_does_not(coverage):
    cells = {(cell.row, cell.column): cell for cell in coverage.grid()}
    cells |= {(cell.row, cell.column): cell for cell in coverage.tasks_of_unequal_size()}
    for where in [("200 0.1, one task", "1-10, 0.3"), ("60 zeros, one task", "equal, 0.8"), ("3, 200", "0.1")]:
        found = coverage.measure(cells[where], 4000)
        assert found.covers >= 0.93 > 0.90 > found.student


def test_it_runs_in_seconds():
    command = [sys.executable, "-m", "benchmarks.coverage", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "200 zeros, two tasks" in done.stdout and "tasks of 8 and 52" in done.stdout
