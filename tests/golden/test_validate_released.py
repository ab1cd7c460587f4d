"""The audit of the released test rows: a search reaches nearly all sub-answers, and the known faults are found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import RELEASED, needs
from commands import harness


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = harness("validate", needs(RELEASED), "--search", "--json", "--min-reached", 0.93)
    assert done.returncode == 1, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_search_reaches_nearly_all_sub_answers(report):
    reached = report["sub_answers"]
    assert reached["sub_answers"] == 243
    assert reached["strict"] >= 0.93 * 243
    assert not any("--min-reached" in sentence for sentence in report["falls_short"])


def test_the_faults_of_the_released_rows_are_found(report):
    found = {name: row["environments"] for name, row in report["checks"].items()}
    assert report["environments"] == found["echo_keyword"] == 60
    assert found["echo"] > 30 and found["echo_error"] > 30
    assert found["leak_default"] > 10 and found["leak_description"] > 10
    assert {"constant", "leak_choice", "leak_other", "short_answer", "same_answer", "clock", "signature"} <= {
        name for name, count in found.items() if count
    }
    assert {"unsafe", "random", "nondeterministic", "stopped", "duplicate_question", "near_duplicate"} <= {
        name for name, count in found.items() if not count
    }


def test_the_floors_of_the_released_rows(report):
    """Doing nothing gets nothing; the strict rule leaves an echo next to nothing where the paper's gives it all."""
    for policies in report["floors"].values():
        assert policies["silent"]["solve_f1"] == 0
        assert policies["echo"]["solve_f1"] < 0.01
        assert policies["echo"]["paper_solve_rate"] == 1
    assert 0 < report["floors"]["parallel_multi_hop"]["default"]["solve_rate"] < 0.1
