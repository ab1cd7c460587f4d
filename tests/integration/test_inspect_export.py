"""`harness export inspect`: what it writes, and that a real inspect_ai plays and scores it as `harness eval` does.

inspect_ai is no part of the dev extra: its tests are skipped without it. docs/interoperability.md says how to run them.
"""

import json
import math
import subprocess
import sys
from importlib.util import find_spec

import builders
import pytest
from commands import environment, harness, one_sentence, summary
from commands import episodes as lines_of
from small_shop import CANCEL, write_shop

from harness import cli
from harness.data.records import fingerprint, read_samples
from harness.registry import load_samples, select_tasks

MINIMUM = {"type": "array", "minItems": 1, "items": {"type": "string", "maxItems": 3}}
TOWNS = ("Arden", "Brill", "Corrie", "Nowhere")
PEOPLE = ("1204", "998", "45210", "7")
BAD_CALL = {"id": "bad", "type": "function", "function": {"name": "population", "arguments": "{oops"}}

needs_inspect = pytest.mark.skipif(not find_spec("inspect_ai"), reason="needs inspect_ai, which no extra installs")


def town(index, **changes):
    """An environment of its own: one town, the right call for three of four of which solves it."""
    name = TOWNS[index % 4]
    prompt = f"Question {index}: how many people live in {name}? End with a line `Answer: ...`."
    if index == 5:
        prompt = f"Question {index}: how many people live in {name}?"  # a lenient answer
    second = builders.tool("census", {"names": MINIMUM})
    fields = {
        "id": f"towns-{index}",
        "world": f"world-{index % 3}",
        "messages": [{"role": "user", "content": prompt}],
        "tools": [*builders.record()["tools"], second],
        "codes": {"population": builders.COUNTER, "census": "def census(names):\n    raise ValueError('closed')"},
        "unsolved_set": {"population": [PEOPLE[index % 4]]},
        "answer": PEOPLE[index % 4],
        "gold_calls": ...,
    }
    return builders.record(**{**fields, **changes})


def call(name, arguments, number=0):
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{number}", "type": "function", "function": function}


def says(content, *calls, **more):
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {}), **more}


def script(index):
    """What the model says: right, wrong in every way that a call can be, never ending, silent."""
    right = call("population", {"town": TOWNS[index % 4]})
    wrong = (
        call("population", {"city": "Arden"}, 1),
        call("census", {"names": ["a"]}, 2),
        call("nothing", {}, 3),
        {**BAD_CALL, "parse_error": "invalid JSON"},
    )
    return (
        [says("", right), says(f"Answer: {PEOPLE[index % 4]}")],
        [says("All at once.", right, *wrong), says("Answer: 12")],
        [says("", call("population", {"town": "Arden"}, turn)) for turn in range(25)],
        [says("I do not know.")],
        [says("", wrong[3]), says("", right), says("", right), says("Done.\n\nAnswer: 1,204")],
        [says("", *wrong), says("There are 998 people.")],
    )[index % 6]


UNPLAYED = {"key": "", "stop": "", "outcome": "ok", "calls": [], "scores": {}, "usage": {}, "timing": {}, "error": None}
"""What a record has besides what was said."""


def recording(path, task, indices):
    records = []
    for index in indices:
        said = {"task": task, "sample": f"towns-{index}", "epoch": 0}
        records.append({**UNPLAYED, **said, "messages": [town(index)["messages"][0], *script(index)]})
    return builders.write_records(path, records)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder that holds an exported set of twelve environments."""
    folder = tmp_path_factory.mktemp("a set")
    source = builders.write_records(folder / "my towns-2.jsonl", [town(index) for index in range(12)])
    done = harness("export", "inspect", source, "--out", folder / "export")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 environments for inspect_ai")
    return folder / "export"


def played(exported, said, out, **arguments):
    """What a real inspect_ai makes of the exported set, when its scripted model says what was recorded."""
    replay = builders.ROOT / "tests" / "fakes" / "inspect_replay.py"
    done = subprocess.run(
        [sys.executable, replay, said, out, json.dumps(arguments)],
        cwd=exported,
        env=environment(INSPECT_DISPLAY="none"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(out.read_text())


# --- what is written -----------------------------------------------------------------------------------------------


def test_a_task_file_that_was_changed_is_kept(tmp_path):
    out = tmp_path / "demo"
    for _ in range(2):
        assert harness("export", "inspect", "demo_multi_hop", "--out", out).returncode == 0
    file = out / "task.py"
    file.write_text(file.read_text() + "# mine\n")
    assert "task.py holds something else" in one_sentence(harness("export", "inspect", "demo_multi_hop", "--out", out))
    assert file.read_text().endswith("# mine\n")


def test_an_export_over_its_own_input_loses_nothing(tmp_path, capsys):
    source = builders.write_records(tmp_path / "environments.jsonl", [builders.record(note="mine")])
    before = source.read_bytes()
    assert cli.main(["export", "inspect", str(source), "--out", str(tmp_path)]) == 2
    assert "environments.jsonl holds something else; move it away" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["environments.jsonl"] and source.read_bytes() == before


def test_the_data_is_the_set(exported):
    written = read_samples(exported / "environments.jsonl")
    assert fingerprint(written) == fingerprint(read_samples(exported.parent / "my towns-2.jsonl"))


def test_a_registered_task_keeps_everything_that_decides_an_episode(tmp_path):
    for name in ("demo_parallel_multi_hop", "ftrl_multi_hop"):
        assert harness("export", "inspect", name, "--out", tmp_path / name).returncode == 0
        [known] = load_samples(select_tasks([name], {})).values()
        written = read_samples(tmp_path / name / "environments.jsonl")
        assert fingerprint(written) == fingerprint(known)
        assert [sample.gold for sample in written] == [sample.gold for sample in known]


def test_the_task_is_named_after_the_file(exported):
    assert "def my_towns_2(max_turns: int = 20" in (exported / "task.py").read_text()
    compile((exported / "task.py").read_text(), "task.py", "exec")


@pytest.mark.parametrize("name", ["2 towns", "class", 'a"""b', "übung"])
def test_any_name_gives_a_task_file_that_python_reads(tmp_path, name):
    source = builders.write_records(tmp_path / f"{name}.jsonl", [builders.record()])
    assert harness("export", "inspect", source, "--out", tmp_path / "out").returncode == 0
    compile((tmp_path / "out" / "task.py").read_text(), "task.py", "exec")


def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path):
    torn = builders.write_records(tmp_path / "torn.jsonl", [{"messages": []}])
    (tmp_path / "taken").touch()
    shop = write_shop(tmp_path / "shop", CANCEL)
    for arguments, out, said in (
        ((torn,), "out", "has no field 'tools'"),
        ((tmp_path / "none.jsonl",), "out", "there is no file"),
        (("demo_single",), "out", "Did you mean demo_single_hop"),
        (("demo_*",), "out", "means 4 tasks"),
        (("taubench_retail", "--data", f"taubench={shop}"), "out", "of its own, which only `harness eval` plays"),
        (("demo_single_hop",), "taken", "which is a file"),
        ((), "out", "FILE|TASK"),
    ):
        assert said in one_sentence(harness("export", "inspect", *arguments, "--out", tmp_path / out))
    assert not (tmp_path / "out").exists()


# --- what inspect_ai makes of it -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(exported, tmp_path_factory):
    """The same turns through inspect_ai and through `harness eval`: (what inspect_ai found, the run's directory)."""
    folder = tmp_path_factory.mktemp("both")
    said = recording(folder / "said.jsonl", "environments", range(12))
    found = played(exported, said, folder / "found.json")
    arguments = ("--tasks", exported / "environments.jsonl", "--out", folder / "run", "--quiet")
    done = harness("eval", "--model", f"replay/{said}", *arguments)
    assert done.returncode == 0, done.stderr
    return found, folder / "run"


@needs_inspect
@pytest.mark.slow
def test_every_score_is_that_of_harness_eval(both):
    found, run = both
    assert found["status"] == "success"
    records = lines_of(run)
    assert len(records) == len(found["samples"]) == 12
    assert {record["outcome"] for record in records} == {"ok", "turn_limit"}
    for record in records:
        theirs = found["samples"][f"{record['sample']}/1"]["scores"]["verdict"]
        known = {name: value for name, value in theirs.items() if not math.isnan(value)}
        assert known == {name: value for name, value in record["scores"].items() if value is not None}


@needs_inspect
@pytest.mark.slow
def test_every_call_and_every_text_fed_back_is_that_of_harness_eval(both):
    found, run = both
    statuses = set()
    for record in lines_of(run):
        theirs = found["samples"][f"{record['sample']}/1"]
        assert theirs["messages"] == [[message["role"], message["content"]] for message in record["messages"]]
        compared = ("turn", "name", "arguments", "status", "output", "solves", "paper_solves")
        for ours, other in zip(record["calls"], theirs["episode"]["calls"], strict=True):
            assert {name: ours[name] for name in compared} == {name: other[name] for name in compared}
        assert (record["outcome"], record["stop"]) == (theirs["episode"]["outcome"], theirs["episode"]["stop"])
        statuses |= {call["status"] for call in record["calls"]}
    assert statuses == {"ok", "raised", "unknown_tool", "malformed"}


@needs_inspect
@pytest.mark.slow
def test_means_and_standard_errors_are_those_of_the_summary(both):
    found, run = both
    metrics = summary(run)["tasks"]["environments"]["metrics"]
    assert set(found["metrics"]) == set(metrics) >= {"solve_f1", "paper_solve_f1", "answer_accuracy_lenient"}
    assert metrics["solve_f1"]["stderr"] > 0 and metrics["solve_precision"]["n"] == 10
    for name, ours in metrics.items():
        theirs = found["metrics"][name]
        assert theirs["n"] == ours["n"]
        assert theirs["mean"] == pytest.approx(ours["value"])
        assert theirs["stderr"] == pytest.approx(ours["stderr"] or 0.0)


@needs_inspect
@pytest.mark.slow
def test_models_are_offered_the_same_tools(both, exported):
    found, _ = both
    expected = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in read_samples(exported / "environments.jsonl")[0].tools
    ]
    assert found["offered"][0] == expected


@needs_inspect
@pytest.mark.slow
def test_epochs_limits_and_failures_of_inspect_ai(exported, tmp_path):
    """A turn limit of the task's, a message limit of inspect_ai's, a model that breaks, a prompt that grew too long."""
    said = recording(tmp_path / "said.jsonl", "environments", range(12))
    found = played(exported, said, tmp_path / "turns.json", task_args={"max_turns": 3}, limit=3, epochs=2)
    assert found["samples"]["towns-2/2"]["episode"]["stop"] == "max_turns"
    assert found["samples"]["towns-2/2"]["scores"]["verdict"]["turns"] == 3
    assert found["samples"]["towns-2/2"]["episode"]["epoch"] == 1
    found = played(exported, said, tmp_path / "limit.json", message_limit=6, limit=3)
    assert found["status"] == "success"
    assert 1 < found["samples"]["towns-2/1"]["scores"]["verdict"]["calls"] < 20
    records = [json.loads(line) for line in said.read_text().splitlines()]
    records[0]["messages"][2] = says("", raises="the provider is down")
    records[1]["messages"][2] = says("", stop_reason="model_length")
    records[2]["messages"][3] = says("cut", stop_reason="max_tokens")
    builders.write_records(said, records)
    found = played(exported, said, tmp_path / "broken.json", limit=3)
    assert (found["status"], found["metrics"]["solve_rate"]["n"]) == ("success", 3)
    broken = found["samples"]["towns-0/1"]
    assert "the provider is down" in broken["error"]
    assert (broken["episode"]["outcome"], broken["episode"]["stop"]) == ("infrastructure_error", "ended")
    assert (broken["scores"]["verdict"]["solve_rate"], broken["scores"]["verdict"]["answer_accuracy"]) == (1.0, 0.0)
    for name, stop in (("towns-1/1", "context_length"), ("towns-2/1", "max_tokens")):
        episode = found["samples"][name]["episode"]
        assert (episode["outcome"], episode["stop"]) == ("token_limit", stop)
        assert found["samples"][name]["scores"]["verdict"]["calls"] == len(episode["calls"]) > 0
