"""A file of rows with checks through the command line: gold, nothing, and a state that only gold changes."""

import json

from commands import episodes, harness, one_sentence, summary
from documents import block, page

MOVE = 'def move(data, item, to):\n    data["where"][item] = to\n    return f"{item} is in the {to}"\n'
PROPERTIES = {"item": {"type": "string"}, "to": {"type": "string"}}


def row(name, *checks, **changes):
    return {
        "id": name,
        "messages": [{"role": "user", "content": "Put the lamp into the study and say where the rug is."}],
        "tools": [{"name": "move", "parameters": {"type": "object", "properties": PROPERTIES}}],
        "codes": {"move": MOVE},
        "state": {"where": {"lamp": "hall", "rug": "attic"}},
        "gold_calls": [{"name": "move", "arguments": {"item": "lamp", "to": "study"}}],
        "checks": list(checks),
        **changes,
    }


ROWS = [
    row("by_gold", {"type": "state_eq"}, {"type": "final_answer", "value": "attic"}),
    row("by_value", {"type": "state_eq", "value": {"where": {"lamp": "study", "rug": "attic"}}}),
    row("nothing_to_do", {"type": "state_eq"}, gold_calls=[]),
]


def write(path, rows):
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def test_gold_and_silence(tmp_path):
    path, out = write(tmp_path / "rooms.jsonl", ROWS), tmp_path / "run"
    done = harness("eval", "--model", "policy/oracle", "policy/silent", "--tasks", path, "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    found = {name: summary(out / f"policy-{name}")["tasks"]["rooms"] for name in ("oracle", "silent")}
    assert {name: entry["metrics"]["success"]["value"] for name, entry in found.items()} == {
        "oracle": 1.0,
        "silent": 1 / 3,
    }
    assert found["silent"]["headline"] == "success"
    shares = {each["sample"]: each["scores"]["checks"] for each in episodes(out / "policy-silent")}
    assert shares == {"by_gold": 0.0, "by_value": 0.0, "nothing_to_do": 1.0}


def test_show_says_which_check_failed(tmp_path):
    path, out = write(tmp_path / "rooms.jsonl", ROWS[:1]), tmp_path / "run"
    assert harness("eval", "--model", "policy/silent", "--tasks", path, "--out", out, "--quiet").returncode == 0
    told = harness("show", out, "by_gold").stdout.splitlines()
    assert told[-3:-1] == ['check fails: {"type":"state_eq"}', 'check fails: {"type":"final_answer","value":"attic"}']
    assert harness("show", out).stdout.split()[5] == "success"


def test_rescoring_needs_no_tool(tmp_path):
    path, out = write(tmp_path / "rooms.jsonl", ROWS), tmp_path / "run"
    assert harness("eval", "--model", "policy/oracle", "--tasks", path, "--out", out, "--quiet").returncode == 0
    done = harness("rescore", out)
    assert done.returncode == 0 and "; 0 changed." in done.stdout


def test_a_check_that_nobody_can_pass_is_refused_in_one_sentence(tmp_path):
    path = write(tmp_path / "rooms.jsonl", [row("a", {"type": "state_eq"}, state=None)])
    done = harness("eval", "--model", "policy/oracle", "--tasks", path, "--out", tmp_path / "run")
    assert "needs the row to have a state" in one_sentence(done)


def test_the_example_in_the_documentation_is_a_task(tmp_path):
    example = block(page("docs/benchmarks.md"), "checks")
    path, out = write(tmp_path / "lamp.jsonl", [json.loads(example)]), tmp_path / "run"
    done = harness("eval", "--model", "policy/oracle", "policy/silent", "--tasks", path, "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    [gold], [nothing] = (episodes(out / f"policy-{name}") for name in ("oracle", "silent"))
    assert (gold["scores"]["success"], gold["scores"]["checks"]) == (1.0, 1.0)
    assert (nothing["scores"]["success"], nothing["scores"]["checks"]) == (0.0, 0.0)
