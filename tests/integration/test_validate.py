"""`harness validate` as a person runs it: tables, JSON, thresholds, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import COUNTER, record, write_records
from commands import harness, one_sentence

ASKED = "how many people live {} in the shire?"
WHERE = ("by the mill", "on the moor", "below the old quarry", "around the two bridges")


def town(number: int, **changes: Any) -> dict[str, Any]:
    """A sound environment of its own world; no policy that spells gets at its town."""
    name, people = f"Corrie{'abcd'[number]}", 45210 + number
    return record(
        id=f"town{number}",
        world=f"shire{number}",
        **{
            "messages": [{"role": "user", "content": f"Question: {ASKED.format(WHERE[number])}"}],
            "codes": {"population": COUNTER.replace("corrie", name.lower()).replace("45210", str(people))},
            "unsolved_set": {"population": [str(people)]},
            "gold_calls": [{"name": "population", "arguments": {"town": name}, "solves": 0}],
            **changes,
        },
    )


def sound(path: Path, *more: dict[str, Any]) -> Path:
    return write_records(path / "towns.jsonl", [town(0), town(1), *more])


def validated(*arguments: object) -> tuple[int, dict[str, Any]]:
    done = harness("validate", *arguments, "--json")
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, report


def test_a_sound_set_passes(tmp_path):
    done = harness("validate", sound(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "2 environments: 2 solvable" in done.stdout
    assert "Falls short" not in done.stdout


def test_the_demo_is_sound():
    status, report = validated("demo_*", "--max-floor", "keyword=1")
    assert status == 0, report["falls_short"]
    assert report["environments"] == report["solvable"] == report["proven"] == 12
    assert {name for name, row in report["checks"].items() if row["findings"]} == {"echo_keyword"}
    for policies in report["floors"].values():
        assert policies["silent"]["solve_f1"] == policies["echo"]["solve_f1"] == 0


def test_what_falls_short_is_said_and_can_be_allowed(tmp_path):
    leaking = town(2, messages=[{"role": "user", "content": "Question: do 45,212 people live in it?"}])
    path = sound(tmp_path, leaking)
    done = harness("validate", path)
    assert done.returncode == 1
    assert "Falls short: leak_question in 1 of 3 environments; 0% allowed." in done.stdout
    assert "towns/town2: the user message: states '45212'" in done.stdout
    assert harness("validate", path, "--allow", "leak_question=0.34").returncode == 0
    assert harness("validate", path, "--allow", "leak_question=0.3").returncode == 1


def test_gold_that_fails_makes_it_unsolvable(tmp_path):
    path = sound(tmp_path, town(2, gold_calls=[{"name": "population", "arguments": {"town": "Nowhere"}, "solves": 0}]))
    status, report = validated(path)
    assert status == 1 and report["solvable"] == 2
    assert "--min-solvable" in report["falls_short"][0]
    assert validated(path, "--min-solvable", 0.6)[0] == 0


def test_a_search_finds_arguments_where_there_is_no_gold(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [town(n, gold_calls=...) for n in (0, 1)])
    status, report = validated(path)
    assert status == 1 and report["solvable"] == 0 and report["checks"]["no_gold"]["environments"] == 2
    status, report = validated(path, "--search", "--min-reached", 1)
    assert status == 0, report["falls_short"]
    assert report["solvable"] == 2 and report["proven"] == 0
    assert report["sub_answers"] == {"sub_answers": 2, "strict": 2, "paper": 2, "either": 2}


def test_what_no_arguments_reach_stays_unreached(tmp_path):
    path = sound(tmp_path, town(2, gold_calls=..., unsolved_set={"population": ["99,999"]}))
    status, report = validated(path, "--search", "--min-solvable", 0, "--min-reached", 0.9)
    assert status == 1
    assert report["falls_short"] == ["2 of 3 sub-answers are reached; --min-reached is 0.9."]


def test_a_search_gives_up_a_tool_that_does_not_end(tmp_path):
    code = "def population(town):\n    while len(town) > 0:\n        pass\n    return 45210\n"
    path = write_records(tmp_path / "towns.jsonl", [town(0, codes={"population": code}, gold_calls=...)])
    status, report = validated(path, "--search")
    assert status == 1 and report["checks"]["stopped"]["environments"] == 1
    assert report["floors"] == {}


def test_floors_have_thresholds_by_policy_and_scenario(tmp_path):
    capitals = town(
        2, messages=[{"role": "user", "content": "Question: how many people of all ages and trades live in Corriec?"}]
    )
    path = write_records(tmp_path / "towns.jsonl", [capitals])
    status, report = validated(path)
    assert status == 1 and report["falls_short"] == [
        "the shotgun policy gets F1 1.000 in single_hop; at most 0.25 allowed."
    ]
    assert report["floors"]["single_hop"]["shotgun"]["solve_rate"] == 1
    assert validated(path, "--max-floor", "shotgun=1")[0] == 0
    assert validated(path, "--max-floor", "shotgun:single_hop=1")[0] == 0
    assert validated(path, "--max-floor", "shotgun=1", "shotgun:single_hop=0.1")[0] == 1
    assert validated(path, "--no-floors")[0] == 0


def test_a_remark_fails_only_where_it_is_not_allowed(tmp_path):
    code = town(2)["codes"]["population"].replace('{"error": "no such town"}', '{"error": f"no {town} here"}')
    path = sound(tmp_path, town(2, codes={"population": code}))
    assert validated(path)[0] == 0
    assert validated(path, "--allow", "echo_error=0")[0] == 1


def test_files_are_compared_with_each_other(tmp_path):
    train = write_records(tmp_path / "train.jsonl", [town(0, split="train")])
    test = write_records(tmp_path / "test.jsonl", [town(0, split="test")])
    status, report = validated(train, test)
    assert status == 1
    checks = {found["check"] for found in report["findings"]} - {"echo_keyword"}
    assert checks == {"duplicate_question", "shared_code", "shared_world"}
    assert all("test/town0" in found["environment"] for found in report["findings"] if found["fatal"])


def test_json_is_all_there_is_on_stdout_and_two_runs_are_equal(tmp_path):
    path = sound(tmp_path)
    first, second = (harness("validate", path, "--json") for _ in range(2))
    assert first.stdout == second.stdout and first.stderr == ""
    assert json.loads(first.stdout)["schema"] == 1


def test_escapes_in_data_do_not_reach_the_terminal(tmp_path):
    path = sound(tmp_path, town(2, gold_calls=[{"name": "\x1b[2Jevil", "arguments": {}, "solves": 0}]))
    done = harness("validate", path)
    assert done.returncode == 1 and "\x1b" not in done.stdout + done.stderr


def test_a_limit_takes_some(tmp_path):
    assert validated(sound(tmp_path), "--limit", 1)[1]["environments"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo_*", "--allow", "lek_question=0"), "leak_question"),
        (("demo_*", "--allow", "unsolvable=1"), "no check"),
        (("demo_*", "--allow", "echo"), "--allow"),
        (("demo_*", "--allow", "echo=many"), "not a number"),
        (("demo_*", "--max-floor", "shotgnu=0.1"), "shotgun"),
        (("demo_*", "--min-solvable", "1.5"), "from 0 to 1"),
        (("dmeo_*",), "No task matches"),
        (("nowhere.jsonl",), "nowhere.jsonl"),
        (("paper_*",), "--data paper=PATH"),
        (("demo_*", "--limit", "0"), "at least 1"),
    ],
)
def test_bad_input(words, said):
    assert said in one_sentence(harness("validate", *words))
