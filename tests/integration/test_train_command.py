"""`harness train` in the regimes step and episode, as a person runs it: results, interruptions, refusals."""

import argparse
import json
import math
import os
import signal
import subprocess
import time

import pytest
import torch
from builders import ROOT, record, write_records
from commands import command, environment, harness, one_sentence
from fakes import cpu_shards, tiny_model
from safetensors.torch import load_file
from two_processes import run_in_two

from harness.errors import UsageError
from trainer.commands import train
from trainer.recipes import names
from trainer.recipes.load import load_recipe, recipe_to_toml
from trainer.rl.loss import compute_token_loss
from trainer.rl.run import identify_rl_run
from trainer.rl.settings import RLRecipe
from trainer.sft.network import CHAT_TEMPLATE

FEW = ["steps=4", "prompts=2", "samples=2", "max_turns=3", "max_tokens=24", "learning_rate=1e-2", "save_every=2"]
NOTHING = [*FEW, "validation=0", "test=0", "temperature=2.0"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that makes the right call and gives the right answer."""
    return tiny_model.trained_model(tmp_path_factory.mktemp("model") / "tiny", CHAT_TEMPLATE)


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """Four training environments."""
    path = tmp_path_factory.mktemp("data") / "towns.jsonl"
    return write_records(path, [record(id=f"town-{number}", split="train") for number in range(4)])


def words(model, towns, out, *more, sets=NOTHING, regime="episode"):
    return ["train", "--regime", regime, "--model", model, "--tasks", towns, "--out", out, "--set", *sets, *more]


def ran(*arguments):
    done = harness(*arguments, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def whole(model, towns, tmp_path_factory):
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, ran(*words(model, towns, out, "--algorithm", "rloo"))


@pytest.mark.slow
def test_a_run_leaves_what_it_should(whole, model):
    out, done = whole
    assert "episode regime, rloo, seed 1" in done.stdout
    told = [line for line in done.stderr.splitlines() if "the samples of no prompt differ" not in line]
    assert told == []
    kept = load_recipe(str(out / "recipe.toml"), {})
    assert isinstance(kept, RLRecipe)
    assert (kept.regime, kept.algorithm, kept.steps, kept.reward) == ("episode", "rloo", 4, "")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"reward", "entropy", "solve_f1", "cpu_seconds"} <= set(lines[0])
    assert json.loads((out / "model" / "manifest.json").read_text())["best_step"] == 4
    evaluated = harness("eval", "--model", f"hf/{out / 'model'}", "--tasks", "demo_*", "--limit", 1, "--dry-run")
    assert evaluated.returncode == 0, evaluated.stderr


@pytest.mark.slow
def test_after_kill_it_ends_as_if_nothing_had_been(whole, model, towns, tmp_path):
    out = tmp_path / "killed"
    arguments = words(model, towns, out, "--algorithm", "rloo")
    running = subprocess.Popen(command(*arguments), env=environment(OMP_NUM_THREADS="1"), stderr=subprocess.PIPE)
    wait_for(running, lambda: list((out / "checkpoints").glob("checkpoint-2/trainer_state.json")))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert not (out / "result.json").exists()
    assert "--resume" in one_sentence(harness(*arguments))
    ran(*arguments, "--resume")
    first, second = (load_file(path / "model" / "model.safetensors") for path in (whole[0], out))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=1e-4)
    again = ran(*arguments, "--resume")
    assert again.stdout.count("CPU seconds") == 1


@pytest.mark.slow
def test_interrupting_says_how_to_go_on(model, towns, tmp_path):
    out = tmp_path / "run"
    arguments = words(model, towns, out, "--set", "steps=400", sets=[one for one in NOTHING if "steps" not in one])
    running = subprocess.Popen(
        command(*arguments), env=environment(OMP_NUM_THREADS="1"), stderr=subprocess.PIPE, text=True
    )
    wait_for(running, lambda: (out / "metrics.jsonl").exists())
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert said.count("\n") == 1
    assert "--resume goes on" in said


def wait_for(running, there):
    """Until something is there; fails where the process ends before it is."""
    while not there():
        if running.poll() is not None:
            raise AssertionError(running.communicate())
        time.sleep(0.02)


@pytest.mark.slow
def test_before_and_after(model, tmp_path):
    """Everything built by the recipe, in the step regime with fresh prefixes; the table has the paired interval."""
    out = tmp_path / "run"
    sets = [
        *FEW,
        "credit=turn",
        "environments=8",
        "validation=4",
        "test=4",
        "players=4",
        "refresh=2",
        "validate_every=2",
    ]
    done = ran("train", "--regime", "step", "--model", model, "--out", out, "--set", *sets)
    assert "4 test environments, greedy, strict" in done.stdout
    assert "95 %" in done.stdout
    for run in ("test/before", "test/after", "validation/000000", "validation/000004"):
        assert (out / run / "summary.json").is_file(), run
    assert sorted(path.name for path in (out / "prefixes").iterdir()) == ["step-000000.jsonl", "step-000002.jsonl"]


def test_recipes_that_ship_are_whole():
    for name in names():
        assert load_recipe(name, {}).regime in ("episode", "step", "sft")
    papers = [load_recipe(name, {}) for name in names() if name.startswith("paper-")]
    assert len(papers) == 6
    for paper in papers:
        assert (paper.learning_rate, paper.kl, paper.entropy, paper.samples) == (1e-6, 1e-3, 1e-3, 16)
        assert (paper.prompts, paper.prompts // paper.updates, paper.max_prompt) == (512, 32, 16384)
        assert (paper.loss, paper.temperature, paper.weight_decay, paper.dual_clip) == ("grpo", 0.7, 0.01, 3.0)
        assert paper.max_tokens == (8192 if paper.thinking == "on" else 1024)


def test_a_recipe_may_be_like_another(tmp_path):
    (tmp_path / "mine.toml").write_text('like = "tiny"\nsteps = 3\n')
    assert load_recipe(str(tmp_path / "mine.toml"), {}) == load_recipe("tiny", {"steps": "3"})
    (tmp_path / "own.toml").write_text(f'like = "{tmp_path / "own.toml"}"\n')
    with pytest.raises(UsageError, match="is like itself"):
        load_recipe(str(tmp_path / "own.toml"), {})


def test_dual_clip_bounds_what_a_bad_turn_counts():
    """verl's clip_ratio_c: a token that became e^3 times likelier and was bad weighs 3, not 20; a good one its clip."""
    import torch

    logps = torch.full((1, 2), 3.0)
    piece = {"advantages": torch.tensor([[-1.0, 1.0]]), "old_per_token_logps": torch.zeros(1, 2)}
    for dual, expected in ((0.0, [math.e**3, -1.2]), (3.0, [3.0, -1.2])):
        found = compute_token_loss(logps, piece, RLRecipe("episode", dual_clip=dual))
        assert found.losses[0].tolist() == pytest.approx(expected)


def test_a_recipe_reads_what_it_writes(tmp_path):
    for regime in ("step", "episode"):
        found = load_recipe(None, {"checkpointing": "true", "learning_rate": "3e-5", "steps": "7"}, regime)
        path = tmp_path / f"{regime}.toml"
        path.write_text(recipe_to_toml(found))
        assert load_recipe(str(path), {}) == found
        assert found.checkpointing is True


def test_tasks_may_be_said_in_several_places(tmp_path):
    parser = argparse.ArgumentParser()
    train.configure(parser)
    args = parser.parse_args(["--out", str(tmp_path), "--tasks", "a", "b", "--quiet", "--tasks", "c"])
    assert args.tasks == ["a", "b", "c"]
    assert identify_rl_run(RLRecipe("episode"), "m", tmp_path, args.tasks)["tasks"] == ["a", "b", "c"]
    assert parser.parse_args(["--out", str(tmp_path)]).tasks == []


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--regime", "episode"], "--model is missing"),
        (["--regime", "episode", "--model", "MODEL", "--algorithm", "ppo"], "algorithm must be one of grpo"),
        (["--regime", "episode", "--model", "MODEL", "--reward", "paper_f1"], "paper_f1 judges steps"),
        (["--regime", "episode", "--model", "MODEL", "--set", "kl=much"], "which is not a number"),
        (["--regime", "episode", "--model", "MODEL", "--set", "checkpointing=1"], "not true or false"),
        (["--regime", "step", "--recipe", "tiny", "--model", "MODEL"], "is one for --regime episode"),
        (["--model", "MODEL"], "--regime is missing"),
        (["--regime", "episode", "--model", "MODEL", "--tasks", "demo_*"], "demo_single_hop is no training data"),
        (["--regime", "step", "--model", "MODEL", "--set", "prefixes=given", "vllm=colocate"], "needs a GPU"),
        (["--regime", "episode", "--model", "MODEL", "--set", "vllm=colocate"], "needs a GPU"),
        (["--regime", "dpo", "--model", "MODEL", "--set", "about=town"], "is found about town alone; name more"),
    ],
)
def test_refusals_are_one_sentence(more, sentence, model, tmp_path):
    if "GPU" in sentence and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    given = [str(model) if word == "MODEL" else word for word in more]
    assert sentence in one_sentence(harness("train", "--out", tmp_path / "run", *given))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed (ZeRO) is not supported"),
        ({"ACCELERATE_USE_FSDP": "true"}, "the second version alone"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "no shards of one process"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "LORA": "4"}, "Adapters are not trained in shards"),
    ],
)
def test_other_shards_are_one_sentence(asked, sentence, model, tmp_path):
    more = ["--set", f"lora_rank={asked['LORA']}"] if "LORA" in asked else []
    done = harness("train", "--regime", "episode", "--model", model, "--out", tmp_path / "run", *more, **asked)
    assert sentence in one_sentence(done)
    assert not (tmp_path / "run").exists()


def test_no_template_is_one_sentence(model, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in model.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    said = one_sentence(harness("train", "--regime", "episode", "--model", bare, "--out", tmp_path / "run"))
    assert "no chat template" in said


SHARED = [*FEW, "temperature=2.0", "micro_batch=1", "validation=4", "validate_every=2", "test=4", "environments=6"]


def shared_words(model):
    return ["train", "--regime", "episode", "--algorithm", "rloo", "--model", model, "--set", *SHARED]


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory):
    """What one process gives."""
    out = tmp_path_factory.mktemp("alone") / "one"
    ran(*shared_words(model), "--out", out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "shards"), [(["-W", "error", "-m", "harness.cli"], {}), ([cpu_shards.__file__], cpu_shards.SHARDS)]
)
def test_two_processes_are_one_run(program, shards, model, alone, tmp_path):
    """The leader claims, builds, validates and tests; the same seed gives what one process gives, by whole networks
    and by shards."""
    both = [*program, *shared_words(model), "--out", tmp_path / "two", "--resume"]
    done = run_in_two(both, environment(PYTHONPATH=str(ROOT), **shards), timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("test environments, greedy") == 1
    results = [json.loads((out / "result.json").read_text()) for out in (alone, tmp_path / "two")]
    assert results[0]["test"] == results[1]["test"]
    steps = [
        [line for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if "loss" in line]
        for out in (alone, tmp_path / "two")
    ]
    assert max(abs(line["loss"]) for line in steps[0]) > 1e-3
    for name in ("loss", "grad_norm", "reward"):
        assert [line[name] for line in steps[1]] == pytest.approx([line[name] for line in steps[0]], abs=1e-4)
    weights = [load_file(out / "model" / "model.safetensors") for out in (alone, tmp_path / "two")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-3, rtol=1e-3)


THIRD_PARTY = '''
"""A package of somebody else's, with a task and a reward."""
import json
from dataclasses import replace
from pathlib import Path
from harness.task import environment_task
from harness.data.records import read_samples
from trainer.rewards import Reward

def tasks(data):
    return [environment_task("elsewhere", lambda: read_samples(Path(__file__).with_name("towns.jsonl")))]

def earned(sample, trajectory, verdict):
    with open(Path(__file__).with_name("judged"), "a") as file:
        file.write(sample.id + "\\\\n")
    return len(trajectory.messages) + len(trajectory.messages[-1].content) % 7

reward = Reward("episode", earned)
'''


@pytest.mark.slow
def test_a_registered_task_and_reward_of_somebody_elses(model, tmp_path):
    """Found by entry points, as an installed package offers them; one step."""
    site = tmp_path / "site"
    info = site / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "elsewhere.py").write_text(THIRD_PARTY.replace("\\\\n", "\\n"))
    write_records(site / "towns.jsonl", [record(id=f"town-{number}") for number in range(2)])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.tasks]\nelsewhere = elsewhere:tasks\n[harness.rewards]\nlong = elsewhere:reward\n"
    )
    asked = words(model, "elsewhere", tmp_path / "out", "--reward", "long", sets=["steps=1", *NOTHING[1:]])
    done = harness(*asked, PYTHONPATH=str(site), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert sorted((site / "judged").read_text().split()) == ["town-0"] * 2 + ["town-1"] * 2
    line = json.loads((tmp_path / "out" / "metrics.jsonl").read_text())
    assert line["reward"] > 1
