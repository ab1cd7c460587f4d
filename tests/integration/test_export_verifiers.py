"""`harness export verifiers`: what it writes, and that a real `vf-eval` plays and scores it as `harness eval` does.

verifiers is in no extra: `tox -e verifiers` has 0.1, `tox -e verifiers-v1` a later one, elsewhere these are skipped.
"""

import json
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import builders
import pytest
from commands import environment, harness, one_sentence
from fakes.chat_server import ChatServer, calls, error, text
from recorded_episodes import record_file

from harness import cli
from harness.data.records import fingerprint, read_samples
from harness.interop.verifiers_files import name_module

LATER = bool(find_spec("verifiers")) and bool(find_spec("verifiers.v1.taskset")) and not find_spec("verifiers.envs")
needs_verifiers = pytest.mark.skipif(
    not find_spec("verifiers"), reason="needs verifiers; tox -e verifiers and -e verifiers-v1 run this"
)
needs_load = pytest.mark.skipif(LATER or not find_spec("verifiers"), reason="needs verifiers 0.1; tox -e verifiers")


def exported(source, out):
    assert cli.main(["export", "verifiers", str(source), "--out", str(out)]) == 0


def replayed(records):
    """A script that says what was recorded of the conversation that a request goes on with."""
    known = {opening_of(record["messages"]): record["messages"] for record in records}

    def answer(asked):
        turns = [message for message in known[opening_of(asked.messages)] if message["role"] == "assistant"]
        if asked.turn >= len(turns):
            return error(400, "nothing more was recorded of this")
        turn = turns[asked.turn]
        if "tool_calls" not in turn:
            return text(turn["content"])
        return calls(*turn["tool_calls"], content=turn["content"] or None)

    return answer


def opening_of(messages):
    """What was said before the first turn; every sample's is its own."""
    return tuple(message["content"] for message in messages if message["role"] in ("system", "user"))


def evaluated(package, model, url, out):
    """What vf-eval makes of a package: by sample, the reward and every metric."""
    words = ["vf-eval", package, "-m", model]
    if LATER:
        words += [
            "--client.base-url",
            url,
            "--client.api-key-var",
            "FAKE_KEY",
            "--env.agent.runtime.type",
            "subprocess",
        ]
        words += ["--no-push", "--no-rich", "--output-dir", out, "-c", "8"]
    else:
        words += ["-b", url, "-k", "FAKE_KEY", "-n", "-1", "-r", "1", "-c", "8", "--temperature", "0", "--disable-tui"]
        words += ["--save-results", "--output-dir", out, "--state-columns", "harness_scores", "--disable-env-server"]
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0]), *words[1:]],
        cwd=out,
        env=environment(FAKE_KEY="none", PYTHONPATH=str(out.parent / "package"), HOME=str(out)),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [lines] = out.rglob("traces.jsonl" if LATER else "results.jsonl")
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    return dict(map(of_trace if LATER else of_result, found))


def of_trace(trace):
    trace = trace["traces"][0] if "traces" in trace else trace
    [reward] = trace["rewards"].values()
    scores = trace["info"]["harness_episode"]["scores"]
    assert {name: trace["metrics"][name] for name in scores if scores[name] is not None} == {
        name: value for name, value in scores.items() if value is not None
    }
    return trace["task"]["data"]["id"], (reward["score"] * reward["weight"], scores)


def of_result(result):
    info = result["info"] if isinstance(result["info"], dict) else json.loads(result["info"])
    scores = result["harness_scores"]
    shown = set(result["metrics"]) & set(scores)
    assert "solve_rate" in shown and all(result["metrics"][name] == scores[name] for name in shown)
    return info["id"], (result["reward"], scores)


# --- what is written -----------------------------------------------------------------------------------------------


def test_the_package_holds_the_set_and_a_project(tmp_path, capsys):
    source = builders.write_records(tmp_path / "my towns-2.jsonl", [builders.record(), builders.record(id="more")])
    exported(source, tmp_path / "out")
    said = capsys.readouterr().out
    assert said.startswith("2 environments for verifiers: pip install -e ")
    assert "vf-eval harness-my-towns-2 --model MODEL" in said
    project = tomllib.loads((tmp_path / "out" / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["dependencies"]) == ("harness-my-towns-2", ["tool-harness", "verifiers"])
    module = tmp_path / "out" / "harness_my_towns_2"
    assert fingerprint(read_samples(module / "environments.jsonl")) == fingerprint(read_samples(source))
    compile((module / "__init__.py").read_text(), "__init__.py", "exec")


NAMES = ("data (1)", "a__b", "...", "\u65e5\u672c", "_", '"""', "$(touch x)", "\u00e9", "class", "x]\n[y", "A-")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_gives_a_project_that_can_be_installed(name):
    module = name_module(name)
    assert re.fullmatch("harness(_[a-z0-9]+)+", module)
    assert module.replace("_", "-").replace("-", "_") == module  # which is how vf-eval finds it


@pytest.mark.parametrize("name", ["__init__.py", "environments.jsonl"])
def test_a_file_that_was_changed_is_kept(tmp_path, capsys, name):
    for _ in range(2):
        exported("demo_multi_hop", tmp_path)
    file = tmp_path / "harness_demo_multi_hop" / name
    file.write_text(file.read_text() + "# mine\n")
    assert cli.main(["export", "verifiers", "demo_multi_hop", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err and file.read_text().endswith("# mine\n")


def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path):
    (tmp_path / "taken").touch()
    for arguments, out, said in (
        (("demo_*",), "out", "means 4 tasks"),
        (("demo_single_hop",), "taken", "which is a file"),
    ):
        assert said in one_sentence(harness("export", "verifiers", *arguments, "--out", tmp_path / out))
    assert not (tmp_path / "out").exists()


# --- what verifiers makes of it ------------------------------------------------------------------------------------


@needs_verifiers
@pytest.mark.slow
def test_two_hundred_recorded_episodes_score_as_in_eval(tmp_path):
    source, records = record_file(tmp_path, a_task=5)
    assert len(records) == 200
    exported(source, tmp_path / "package")
    (tmp_path / "out").mkdir()
    with ChatServer(replayed(records)) as server:
        found = evaluated("harness-all", "m", server.url, tmp_path / "out")
    ours = {record["sample"]: record["scores"] for record in records}
    assert {sample: scores for sample, (_, scores) in found.items()} == ours
    assert all(reward == (ours[sample]["solve_f1"] or 0.0) for sample, (reward, _) in found.items())


@needs_verifiers
def test_an_episode_that_never_ends_is_cut_at_its_turns_and_scored(tmp_path):
    source = builders.write_records(tmp_path / "towns.jsonl", [builders.record()])
    exported(source, tmp_path / "package")
    out = tmp_path / "out"
    out.mkdir()
    call = {"id": "c", "type": "function", "function": {"name": "population", "arguments": '{"town": "Corrie"}'}}
    with ChatServer(lambda asked: calls(call)) as server:
        [(sample, (reward, scores))] = evaluated("harness-towns", "m", server.url, out).items()
    assert (sample, scores["turns"], scores["calls"], scores["solve_rate"]) == ("towns", 20.0, 20.0, 1.0)
    assert reward == scores["solve_f1"] == 2 / 21


@needs_load
def test_the_environment_is_loaded_by_its_function(tmp_path, monkeypatch):
    exported("demo_multi_hop", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import verifiers

    env = verifiers.load_environment("harness-demo-multi-hop", max_turns=3)
    assert env.set_turns == 3 and len(env.get_eval_dataset()) == 3
    assert Path(env.set_path).exists()
