"""lm-eval really runs our tasks: with its own model on tasks of one turn, with ours on whole episodes."""

import json

import pytest
from commands import episodes, one_sentence, summary
from commands import harness as strictly
from fakes.chat_server import ChatServer, call, calls, text
from lm_eval_runs import TINY, harness, lm_eval, needs_lm_eval, python

from harness.registry import all_tasks
from tasks.lmeval.benchmarks import BENCHMARKS

LIMIT = 6
LISTING = """
import json, sys
from lm_eval.tasks import TaskManager
manager = TaskManager(include_path=sys.argv[1], include_defaults=False)
print(json.dumps([manager.all_subtasks, manager.all_groups]))
"""


def path_of(folder, *words):
    """What `harness lm-eval-path` prints."""
    done = harness(folder, "lm-eval-path", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def first(task, limit):
    """The ids of a task's first samples: those that lm-eval's --limit takes."""
    return [sample.id for sample in all_tasks({})[task].load()[:limit]]


def played(folder, task, *words):
    """Our own run of them."""
    done = harness(
        folder, "eval", "--tasks", task, "--samples", *first(task, LIMIT), "--out", folder / "run", "--quiet",
        "--max-tokens", "128", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return summary(folder / "run")["tasks"][task]["metrics"]


def agree(ours, theirs):
    """The same metrics, values and standard errors on both sides; no two of these samples share a world."""
    names = {name for name, entry in ours.items() if entry["value"] is not None}
    assert {name.partition(",")[0] for name in theirs if "_stderr" not in name and "," in name} == names
    for name in names:
        assert theirs[f"{name},none"] == pytest.approx(ours[name]["value"]), name
        assert theirs[f"{name}_stderr,none"] == pytest.approx(ours[name]["stderr"]), name


@needs_lm_eval
def test_names_are_equal_on_both_sides(tmp_path):
    done = python(tmp_path, "-c", LISTING, path_of(tmp_path))
    assert done.returncode == 0, done.stderr
    tasks, groups = json.loads(done.stdout)
    theirs = {benchmark.name for benchmark in BENCHMARKS.values()}
    plain = {name: task for name, task in all_tasks({}).items() if task.scripted_user is None and task.state is None}
    ours = {name: task for name, task in plain.items() if name not in theirs}
    assert set(tasks) == set(ours)
    apart = {task.group for name, task in all_tasks({}).items() if name not in ours}
    assert set(groups) == {task.group for task in ours.values() if task.group} - apart


@needs_lm_eval
@pytest.mark.slow
def test_a_stock_model_plays_first_turns_as_ours_does(tmp_path):
    """bundled/tiny-base through lm-eval's own `hf`, prompts by its own chat template."""
    task = "step_micro_parallel_multi_hop"
    theirs = lm_eval(
        tmp_path, "lm_eval", "--include_path", path_of(tmp_path), "--model", "hf", "--model_args",
        f"pretrained={TINY},dtype=float32", "--device", "cpu", "--batch_size", "4", "--tasks", task, "--limit", LIMIT,
        "--gen_kwargs", "max_gen_toks=128",
    )["results"][task]  # fmt: skip
    ours = played(tmp_path, task, "--model", "bundled/tiny-base")
    assert ours["calls"]["value"] > 0  # it was trained on the first generation, and solves little of the second
    agree(ours, theirs)


@needs_lm_eval
@pytest.mark.slow
def test_our_model_plays_whole_episodes_as_ours_does(tmp_path):
    task = "micro_single_hop"
    found = lm_eval(
        tmp_path, "tasks.lmeval", "--model", "harness", "--model_args", "name=bundled/tiny-base,max_tokens=128",
        "--tasks", task, "--limit", LIMIT,
    )  # fmt: skip
    ours = played(tmp_path, task, "--model", "bundled/tiny-base")
    assert ours["turns"]["value"] > 1
    agree(ours, found["results"][task])
    said = {row["doc"]["sample"]: json.loads(row["resps"][0][0]) for row in found["samples"][task]}
    kept = {episode["sample"]: episode for episode in episodes(tmp_path / "run")}
    assert {name: told["messages"] for name, told in said.items()} == {n: e["messages"] for n, e in kept.items()}


@needs_lm_eval
@pytest.mark.slow
def test_an_endpoint_plays_a_whole_episode_and_answers(tmp_path):
    task, (name, *_) = "demo_single_hop", first("demo_single_hop", 1)
    (gold,) = [sample for sample in all_tasks({})[task].load() if sample.id == name]
    script = [*(calls(call(c.name, c.arguments)) for c in gold.gold.calls), text(f"Answer: {gold.gold.answer}")]
    with ChatServer(script) as server:
        theirs = lm_eval(
            tmp_path, "tasks.lmeval", "--model", "harness", "--model_args",
            f"name=openai/scripted,base_url={server.url}", "--tasks", task, "--limit", 1,
        )["results"][task]  # fmt: skip
    assert (theirs["solve_f1,none"], theirs["answer_accuracy,none"]) == (1.0, 1.0)


@needs_lm_eval
@pytest.mark.slow
def test_a_stock_model_cannot_hold_a_conversation(tmp_path):
    done = python(
        tmp_path, "-m", "lm_eval", "run", "--include_path", path_of(tmp_path), "--model", "hf", "--model_args",
        f"pretrained={TINY},dtype=float32", "--device", "cpu", "--tasks", "micro_single_hop", "--limit", "1",
        "--gen_kwargs", "max_gen_toks=16",
    )  # fmt: skip
    assert done.returncode != 0
    assert "micro_single_hop is a conversation of several turns" in done.stderr.splitlines()[-1]


EPISODE = """
import sys
from harness.rollout import Episode, play_episode
from harness.models import ModelOptions, load_model
from tasks.lmeval.documents import dataset, find_task, keep_trajectory, process_results, shared_sandbox
document = dataset("micro_single_hop")["test"][0]
task, samples = find_task("micro_single_hop", "{}")
sample = samples[document["sample"]]
if sys.argv[1:]:
    print(process_results(document, [open(sys.argv[1]).read()]))
else:
    with shared_sandbox().episode() as tools:
        oracle = load_model("policy/oracle", ModelOptions())
        text = keep_trajectory(play_episode(Episode(sample), task.environment(sample), oracle, tools))
    assert process_results(document, [text])["solve_f1"] == 1.0
    print(text, end="")
"""


@needs_lm_eval
def test_only_an_episode_of_this_process_is_one(tmp_path):
    """A model that writes what a perfect episode looks like has played none."""
    done = python(tmp_path, "-c", EPISODE)
    assert done.returncode == 0, done.stderr
    (tmp_path / "forged").write_text(done.stdout)
    again = python(tmp_path, "-c", EPISODE, tmp_path / "forged")
    assert again.stdout == ""
    assert "micro_single_hop is a conversation of several turns" in again.stderr.splitlines()[-1]


REACT = """
import json
from tasks.lmeval.documents import dataset, find_task, process_results
(document, *_) = dataset("step_micro_single_hop")["test"]
sample = find_task("step_micro_single_hop", "{}")[1][document["sample"]]
(gold,) = sample.gold.calls
assert gold.name in document["prompt"] and "Action Input:" in document["prompt"]
reply = f"Thought: look\\nAction: {gold.name}\\nAction Input: {json.dumps(gold.arguments)}"
print(json.dumps(process_results(document, [reply])))
"""


@needs_lm_eval
def test_any_other_model_is_asked_in_plain_text(tmp_path):
    done = python(tmp_path, "-c", REACT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solve_f1"] == 1.0


@needs_lm_eval
def test_log_likelihoods_are_refused_in_a_sentence(tmp_path):
    done = python(
        tmp_path, "-c",
        "from tasks.lmeval.model import HarnessLM\nHarnessLM(name='policy/silent').loglikelihood([])",
    )  # fmt: skip
    assert "generative variant" in done.stderr.splitlines()[-1]


@needs_lm_eval
def test_a_bad_model_name_is_a_sentence(tmp_path):
    done = python(
        tmp_path, "-m", "tasks.lmeval", "run", "--model", "harness", "--model_args", "name=policy/sillent", "--tasks",
        "micro_single_hop",
    )  # fmt: skip
    assert done.returncode == 2
    assert "Did you mean policy/silent" in done.stderr.splitlines()[-1]


def test_the_path_needs_no_lm_eval(tmp_path):
    done = strictly("lm-eval-path", "--out", tmp_path / "files")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "files")
    assert "!function tasks.lmeval.documents.dataset" in (tmp_path / "files" / "micro_single_hop.yaml").read_text()
    said = one_sentence(strictly("lm-eval-path", "--data", "nothing=x"))
    assert "nothing" in said
