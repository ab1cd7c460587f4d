"""`harness train --regime sft` as a person runs it: a tiny real training, killed and gone on with, and bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from builders import ROOT, record, write_records
from commands import command, environment, harness, one_sentence
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

SMALL = ["environments=12", "vocabulary=460", "batch=2", "warmup=1", "log_every=2"]
STEPS = ["steps=24", "save_every=4"]
THREADS = {"OMP_NUM_THREADS": "1"}


def words(out, *more, sets=()):
    arguments = ["train", "--regime", "sft", "--recipe", "tiny-base", "--out", out, "--quiet", *more]
    return [*arguments, "--set", *SMALL, *STEPS, *sets]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "run"
    done = harness(*words(out), **THREADS)
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.slow
def test_a_run_leaves_a_model_that_loads_and_says_how_it_was_made(trained):
    out, done = trained
    manifest = json.loads((out / "model" / "manifest.json").read_text())
    assert manifest["recipe"]["environments"] == 12
    assert manifest["data"]["episodes"] == 12 * manifest["recipe"]["draws"] == 24
    assert manifest["seed"] == 1 and manifest["from"] is None
    assert manifest["command"][:5] == ["harness", "train", "--regime", "sft", "--recipe"]
    assert {"torch", "trl", "transformers"} <= set(manifest["versions"])
    assert f"{manifest['parameters']:,}" in done.stdout and str(out / "model") in done.stdout
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    assert sum(weights.numel() for weights in model.parameters()) == manifest["parameters"]
    assert {str(weights.dtype) for weights in load_file(out / "model" / "model.safetensors").values()} == {
        "torch.float16"
    }
    assert not set(tokenizer.convert_tokens_to_ids(["<tool_call>", "<think>"])) & set(tokenizer.all_special_ids)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, 25, 2))
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.slow
def test_killed_and_gone_on_with_it_gives_the_same_weights(trained, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(*words(out)), env=environment(**THREADS), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None and not (out / "checkpoints" / "checkpoint-8" / "trainer_state.json").exists():
            time.sleep(0.005)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "model").exists()
    one_sentence(harness(*words(out), **THREADS))  # without --resume it is not touched
    assert harness(*words(out, "--resume"), **THREADS).returncode == 0
    undisturbed, resumed = (load_file(path / "model" / "model.safetensors") for path in (trained[0], out))
    assert undisturbed.keys() == resumed.keys()
    for name, weights in undisturbed.items():
        assert (weights.float() - resumed[name].float()).abs().max() < 2e-3, name
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(2, 25, 2))


@pytest.mark.slow
def test_it_goes_on_from_a_model_directory(trained, tmp_path):
    done = harness(*words(tmp_path / "more", "--model", trained[0] / "model", sets=["seed=2"]), **THREADS)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(path / "model" / "model.safetensors") for path in (trained[0], tmp_path / "more"))
    assert any((first[name] != second[name]).any() for name in first)
    tokenizers = [(path / "model" / "tokenizer.json").read_bytes() for path in (trained[0], tmp_path / "more")]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.slow
def test_successful_episodes_of_a_run_are_imitated_and_no_others(trained, tmp_path):
    plain = [record(id=f"town-{number}", split="train") for number in range(3)]
    environments = write_records(tmp_path / "towns.jsonl", [*plain, record(id="odd", split="train", answer="1")])
    turns = [
        {"line": line, "turns": [[{"name": "population", "arguments": {"town": "Corrie"}}]], "final": "Answer: 45210"}
        for line in (0, 1)
    ]
    turns += [{"line": 2, "turns": [], "final": "Answer: 45210"}]  # right by luck, without a call
    turns += [
        {"line": 3, "turns": [[{"name": "population", "arguments": {"town": "Corrie"}}]], "final": "Answer: 45210"}
    ]  # wrong here
    (tmp_path / "replay.jsonl").write_text("".join(json.dumps({**one, "policy": "p"}) + "\n" for one in turns))
    run = tmp_path / "run"
    played = harness("eval", "--model", f"replay/{tmp_path / 'replay.jsonl'}", "--tasks", environments, "--out", run)
    assert played.returncode == 0, played.stderr
    done = harness(*words(tmp_path / "out", "--model", trained[0] / "model", sets=[f"trajectories={run}"]), **THREADS)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "model" / "manifest.json").read_text())["data"]["episodes"] == 2


def test_nothing_to_imitate_and_test_episodes_are_refused(tmp_path):
    for split, says in (("train", "no successful episode"), ("test", "its split is test")):
        environments = write_records(tmp_path / f"{split}.jsonl", [record(split=split)])
        run = tmp_path / f"run-{split}"
        assert harness("eval", "--model", "policy/silent", "--tasks", environments, "--out", run).returncode == 0
        done = harness(*words(tmp_path / split, sets=[f"trajectories={run}"]), **THREADS)
        assert says in one_sentence(done)


@pytest.mark.slow
def test_a_finished_run_or_another_run_is_refused(trained):
    assert "go on with it by --resume" in one_sentence(harness(*words(trained[0])))
    other = one_sentence(harness(*words(trained[0], "--resume", sets=["seed=9"])))
    assert "another seed" in other


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--recipe", "tiny-bas"], "Did you mean tiny-base"),
        (["--recipe", "tiny-base", "--set", "step=3"], "Did you mean steps"),
        (["--recipe", "tiny-base", "--model", "bundled/tiny-bse"], "No model is called 'bundled/tiny-bse'"),
        (["--recipe", "tiny-base", "--model", "nowhere"], "no directory nowhere"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments, says):
    done = harness("train", "--regime", "sft", *arguments, "--out", tmp_path / "out")
    assert says in one_sentence(done)
    assert not (tmp_path / "out").exists()


def test_a_directory_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    done = harness("train", "--regime", "sft", "--recipe", "tiny-base", "--out", tmp_path)
    assert "holds something else" in one_sentence(done)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_a_test_split_is_refused_as_training_data(tmp_path):
    path = write_records(tmp_path / "held.jsonl", [record(split="test")])
    done = harness(*words(tmp_path / "out", sets=[f"train_file={path}"]))
    assert "test split, which nothing is trained on" in one_sentence(done)


def test_help_offers_the_regimes():
    done = harness("train", "--help")
    assert done.returncode == 0
    assert "{step,episode,sft,dpo}" in done.stdout
    assert "tiny,tiny-base,tiny-step" in "".join(done.stdout.split())


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch, capsys, tmp_path):
    from harness import cli
    from harness.models.local import packages

    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "trl" else object())
    assert cli.main(["train", "--regime", "sft", "--recipe", "tiny-base", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'tool-harness[train]'" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["tiny-base", "tiny"])
def test_without_torch_there_is_no_traceback(recipe, tmp_path):
    """None in sys.modules makes an import fail as if the package were not there."""
    absent = ("torch", "transformers", "trl", "datasets", "accelerate")
    words = ["train", "--recipe", recipe, "--model", "bundled/tiny-base", "--out", str(tmp_path / "out")]
    hidden = f"import sys\nsys.modules.update(dict.fromkeys({absent!r}))"
    code = f"{hidden}\nfrom harness.cli import main\nsys.exit(main({words!r}))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'tool-harness[train]'" in done.stderr and "Traceback" not in done.stderr
