"""bfcl_* and toolhop_* through the command line: figures, missing data alone and among others, resuming, rescoring."""

import json

from commands import episodes, harness, one_sentence, summary
from small_wheel import write_wheel

CATEGORIES = ("simple_python", "irrelevance", "live_relevance", "multi_turn_base", "multi_turn_miss_func")
TASKS = ",".join(f"bfcl_{category}" for category in CATEGORIES)


def test_gold_and_silence(tmp_path):
    wheel, out = write_wheel(tmp_path / "wheel"), tmp_path / "run"
    asked = ("eval", "--tasks", TASKS, "--data", f"bfcl={wheel}", "--out", out, "--quiet")
    done = harness(*asked, "--model", "policy/oracle", "policy/silent")
    assert done.returncode == 0, done.stderr
    found = {
        name: {
            task.removeprefix("bfcl_"): entry["metrics"]["official_accuracy"]["value"]
            for task, entry in summary(out / f"policy-{name}")["tasks"].items()
        }
        for name in ("oracle", "silent")
    }
    assert found["oracle"] == dict.fromkeys(CATEGORIES, 1.0)
    assert found["silent"] == {**dict.fromkeys(CATEGORIES, 0.0), "irrelevance": 1.0}
    turns = {
        each["sample"]: each["facts"].get("user_turns") for each in episodes(out / "policy-oracle") if "facts" in each
    }
    assert turns["multi_turn_base_0"] == 3
    done = harness("rescore", out / "policy-oracle")
    assert done.returncode == 0 and "; 0 changed." in done.stdout


def test_nothing_runs_without_the_wheel(tmp_path):
    done = harness(
        "eval", "--model", "policy/oracle", "--tasks", "bfcl_*", "--data", f"bfcl={tmp_path}", "--out", tmp_path / "run"
    )
    assert f"looked for BFCL v4 (bfcl-eval on PyPI) at {tmp_path / 'bfcl_eval'}" in one_sentence(done)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_skipped_among_others(tmp_path):
    done = harness(
        "eval", "--model", "policy/silent", "--tasks", "demo_single_hop", "toolhop_*", "bfcl_parallel",
        "--data", f"bfcl={tmp_path}", "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "Skipped toolhop_direct", "Skipped toolhop_mandatory", "Skipped toolhop_free", "Skipped bfcl_parallel",
    ]  # fmt: skip
    assert list(summary(tmp_path / "run")["tasks"]) == ["demo_single_hop"]


def test_toolhop(tmp_path):
    parameters = {"type": "object", "properties": {"town": {"type": "string"}}}
    rows = [
        {
            "id": number,
            "question": f"How many people live in town {number}?",
            "answer": str(1000 * number),
            "tools": {"How many?": {"name": "people", "description": "", "parameters": parameters}},
            "functions": ["def people(town):\n    return 1000\n"],
        }
        for number in (1, 2)
    ]
    path, out = tmp_path / "ToolHop.json", tmp_path / "run"
    path.write_text(json.dumps(rows), encoding="utf-8")
    done = harness(
        "eval", "--model", "policy/oracle", "policy/silent", "--tasks", "toolhop_*", "--data", f"toolhop={path}",
        "--out", out, "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for policy, value in (("oracle", 1.0), ("silent", 0.0)):
        found = summary(out / f"policy-{policy}")
        assert found["groups"]["toolhop"]["n"] == 6
        metrics = found["groups"]["toolhop"]["metrics"]
        assert {metrics[f"{rule}answer_accuracy"]["value"] for rule in ("", "official_", "paper_")} == {value}
    done = harness("eval", "--model", "policy/oracle", "--tasks", "toolhop_free", "--out", tmp_path / "other")
    assert "--data toolhop=FILE" in one_sentence(done)
