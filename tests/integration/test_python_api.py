"""The public functions: what docs/python.md shows is what happens, and what cannot be done is said."""

import ast
import asyncio
import json
import re
import subprocess
import sys
from dataclasses import replace
from pkgutil import iter_modules

import pytest
from builders import ROOT
from commands import environment
from documents import page

import harness
from harness import api
from harness.errors import HarnessError, NothingAccepted, UsageError
from harness.evaluation.run import read_run
from harness.types import Message, ModelRequest, Reply, Sampling, ToolCall, Usage

EXAMPLE = str(ROOT / "examples" / "ticket_office.py")


def run_python(code, cwd):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- the package -------------------------------------------------------------------------------------------------


def test_the_page_does_what_it_says(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = page("docs/python.md")
    (tmp_path / "page.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)))
    done = run_python("import runpy; runpy.run_path('page.py')", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL))


def test_every_public_name_is_documented_typed_and_there():
    (typed,) = [node for node in ast.parse((ROOT / "harness" / "__init__.py").read_text()).body if type(node) is ast.If]
    checked = {alias.name for node in typed.body for alias in node.names}
    assert checked == set(harness.__all__)
    loaded = run_python("import harness\nfor name in harness.__all__: print(getattr(harness, name).__doc__)", ROOT)
    assert loaded.returncode == 0, loaded.stderr
    assert "None" not in loaded.stdout.splitlines()
    assert set(harness.__all__) < set(dir(harness))
    with pytest.raises(AttributeError, match="no attribute 'evaluated'"):
        harness.evaluated  # noqa: B018


def test_no_module_hides_a_public_name_for_good():
    modules = {module.name for module in iter_modules(harness.__path__)}
    assert not modules & set(harness.__all__)
    code = "import harness, harness.evaluation.evaluate; assert harness.evaluate is harness.api.evaluate"
    assert run_python(code, ROOT).returncode == 0


def test_importing_the_package_imports_nothing_else(tmp_path):
    code = "import sys; before = set(sys.modules); import harness; print(*sorted(set(sys.modules) - before))"
    assert run_python(code, tmp_path).stdout.split() == ["harness"]


# --- models ------------------------------------------------------------------------------------------------------


def request(*earlier):
    (task,) = api.load_tasks(EXAMPLE)
    (sample, _) = task.load()
    return ModelRequest([*sample.messages, *earlier], sample.tools, Sampling(), sample)


def said(what, asked):
    return asyncio.run(api._model(lambda request: what, 1, None)(asked))


@pytest.mark.parametrize(
    "what", ["yes", Message("assistant", "yes"), Reply(Message("assistant", "yes"), Usage(requests=1))]
)
def test_a_model_says_a_text_a_message_or_a_reply(what):
    assert said(what, request()) == Reply(Message("assistant", "yes"), Usage(requests=1))


def test_calls_get_ids_of_their_own():
    first = said(harness.call("ferry_fare", destination="Orne"), request()).message
    second = said(harness.call("ferry_fare", destination="Orne"), request(first)).message
    ids = [call.id for message in (first, second) for call in message.tool_calls]
    assert all(ids) and len(set(ids)) == 2
    assert first.tool_calls[0] == ToolCall(ids[0], "ferry_fare", {"destination": "Orne"}, '{"destination": "Orne"}')


def test_what_cannot_be_said_fails_the_episode_and_is_seen(tmp_path):
    run = api.evaluate(lambda request: 7, EXAMPLE, tmp_path / "run")
    assert {record["outcome"] for record in run.records} == {"infrastructure_error"}
    assert "TypeError: the model returned int, not a Reply, Message, ToolCall or str" in str(run)


async def patient(request):
    await asyncio.sleep(0)
    return "Answer: 1"


def test_async_models_play_also_inside_of_a_loop(tmp_path):
    async def notebook():
        return api.evaluate(patient, EXAMPLE, tmp_path / "run")

    run = asyncio.run(notebook())
    assert run.label == "patient"
    assert [record["outcome"] for record in run.records] == ["ok", "ok"]


def test_models_and_tasks_by_name_play_what_the_command_plays(tmp_path):
    seen = []
    run = api.evaluate("policy/oracle", "demo_single_hop", tmp_path / "run", limit=2, watch=seen.append)
    assert len(run.records) == len(seen) == 2
    assert run.manifest["sources"]["tasks"] == ["demo_single_hop"]
    again = api.evaluate("policy/oracle", "demo_single_hop", tmp_path / "run", limit=2, resume=True)
    assert again.records == run.records
    with pytest.raises(UsageError, match="policy/oracle, policy/silent"):
        api.load_model("policy/*")


def test_the_limits_of_a_benchmark_hold_unless_others_are_given(tmp_path):
    (task,) = api.load_tasks(EXAMPLE)
    (sample, _) = task.load()

    def call_for_ever(request):
        return harness.call("ferry_fare", destination="Orne")

    for own, given, turns in ((2, None, 2), (2, harness.Limits(max_turns=3), 3), (None, None, 20)):
        trajectory = api.play(call_for_ever, replace(task, max_turns=own), sample, limits=given)
        assert (trajectory.outcome, trajectory.turns) == ("turn_limit", turns)
    run = api.evaluate(call_for_ever, replace(task, max_turns=2), tmp_path / "run", limit=1)
    assert run.records[0]["scores"]["turns"] == 2


# --- runs --------------------------------------------------------------------------------------------------------


def test_a_run_of_values_is_rescored_by_the_values(tmp_path):
    (task,) = api.load_tasks(EXAMPLE)
    run = api.evaluate("policy/oracle", task, tmp_path / "run")
    lines = (tmp_path / "run" / "samples.jsonl").read_text()
    (tmp_path / "run" / "samples.jsonl").write_text(lines.replace('"solve_f1":1.0', '"solve_f1":0.5'))
    assert read_run(tmp_path / "run").summary["tasks"]["ticket_office"]["metrics"]["solve_f1"]["value"] == 0.5
    with pytest.raises(UsageError, match="does not say where its tasks and their data are"):
        api.rescore(tmp_path / "run")
    assert api.rescore(tmp_path / "run", task).summary == run.summary


def test_a_run_with_missing_episodes_is_no_result(tmp_path):
    api.evaluate("policy/oracle", EXAMPLE, tmp_path / "run")
    samples = tmp_path / "run" / "samples.jsonl"
    samples.write_text(samples.read_text().splitlines(keepends=True)[0])
    with pytest.raises(UsageError, match="1 of its 2 episodes"):
        read_run(tmp_path / "run")


def test_faults_are_one_sentence(tmp_path):
    (task,) = api.load_tasks(EXAMPLE)
    with pytest.raises(UsageError, match="Two of these tasks have one name"):
        api.evaluate("policy/oracle", [task, task], tmp_path / "run")
    with pytest.raises(UsageError, match="No task matches 'nowhere'"):
        api.evaluate("policy/oracle", "nowhere", tmp_path / "run")
    with pytest.raises(UsageError, match="No task was named"):
        api.evaluate("policy/oracle", [], tmp_path / "run")
    broken = harness.Task("broken", task.load, lambda sample: 1 / 0, task.score)
    with pytest.raises(HarnessError, match=r"cannot play 'gull_rock': ZeroDivisionError"):
        api.play(patient, broken, task.load()[0])


def test_secrets_of_a_loaded_model_are_kept_out_of_files(tmp_path):
    model = api.load_model("small", base_url="http://127.0.0.1:9/v1", api_key="sk-very-secret", max_retries="0")
    with pytest.raises(NothingAccepted, match="no request was accepted") as refused:
        api.evaluate(model, EXAMPLE, tmp_path / "run", limit=1)
    written = [path.read_text() for path in (tmp_path / "run").iterdir()]
    leaky = api.evaluate(lambda request: "the key is sk-very-secret", EXAMPLE, tmp_path / "leaky", limit=1)
    assert "sk-very-secret" not in json.dumps([str(refused.value), written, leaky.records])
