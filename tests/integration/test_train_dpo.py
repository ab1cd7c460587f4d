"""`harness train --regime dpo`: what a pair becomes, that training prefers what it should, and the loops."""

import json

import pytest
from builders import call, record, says
from commands import harness, one_sentence

from harness.data.messages import message_to_json
from harness.errors import HarnessError, UsageError
from harness.evaluation.plan import Plan, Player
from harness.models import ModelOptions, load_model
from harness.registry import load_samples, select_tasks
from harness.sandbox import Sandbox
from harness.types import Message, Reasoning

pytest.importorskip("trl")

from dataclasses import replace

from harness.models.local.hf import load_weights
from trainer.bundled import model_path
from trainer.dpo.encode import encode_pairs
from trainer.dpo.settings import DPORecipe
from trainer.dpo.train import check_dpo_model, fit_pairs
from trainer.rl.validation import play_watched
from trainer.sft.network import IGNORE_INDEX

OFF = Reasoning("off")
CALLED = '<tool_call>\n{"name": "population", "arguments": {"town": "Corrie"}}\n</tool_call>'
OUTPUT = '{"inhabitants": 45210}'


@pytest.fixture(scope="module")
def local():
    return check_dpo_model(DPORecipe("dpo"), "bundled/tiny-base", model_path("tiny-base"))


def pair(**changes):
    """A call and the answer, preferred to an answer at once."""
    fields = record()
    asked = replace(says("", call("population", {"town": "Corrie"})), raw=CALLED)
    answered = Message("tool", OUTPUT, tool_call_id="call_0")
    chosen = [asked, answered, Message("assistant", "Answer: 45210", raw="Answer: 45210")]
    rejected = [Message("assistant", "Answer: 1", raw="Answer: 1")]
    played = {"outcome": "ok"}
    return {
        "prompt": fields["messages"],
        "chosen": [message_to_json(message) for message in chosen],
        "rejected": [message_to_json(message) for message in rejected],
        "tools": json.dumps(fields["tools"]),
        "chosen_from": played,
        "rejected_from": played,
        **changes,
    }


def said(row, side, local):
    """What loss is taken on, as text; and everything that is read."""
    labels = [label for label in row[f"{side}_labels"] if label != IGNORE_INDEX]
    return local.decode(labels), local.decode(row[f"{side}_ids"])


def test_only_the_models_own_words_count_and_they_are_its_own(local):
    (row,) = encode_pairs([pair()], local, OFF)
    chosen, everything = said(row, "chosen", local)
    assert chosen == f"{CALLED}<|im_end|>Answer: 45210<|im_end|>"
    assert OUTPUT in everything and OUTPUT not in chosen and everything.startswith("<|im_start|>")
    assert said(row, "rejected", local)[0] == "Answer: 1<|im_end|>"
    (cut,) = encode_pairs([pair(rejected_from={"outcome": "token_limit"})], local, OFF)
    assert said(cut, "rejected", local)[0] == "Answer: 1"  # it never ended


def test_pairs_without_the_models_texts_are_refused(local):
    bare = [{"role": "assistant", "content": "Answer: 1"}]
    with pytest.raises(UsageError, match="no texts as the model generated them"):
        encode_pairs([pair(rejected=bare)], local, OFF)


def test_a_batch_has_what_is_preferred_first_and_is_padded_on_the_right(local):
    from trainer.dpo.loss import PairCollator

    batch = PairCollator(0)(encode_pairs([pair(), pair(chosen=pair()["rejected"])], local, OFF))
    assert batch["input_ids"].shape[0] == 4
    lengths = batch["attention_mask"].sum(1)
    assert lengths[0] > lengths[1] == lengths[2] == lengths[3]
    assert batch["completion_mask"].sum(1).tolist()[1:] == [batch["completion_mask"][1].sum().item()] * 3
    assert (batch["completion_mask"] <= batch["attention_mask"]).all()


def test_a_few_steps_prefer_what_is_preferred(local, tmp_path):
    recipe = DPORecipe("dpo", steps=4, batch=1, learning_rate=1e-4, warmup=0)
    network = load_weights(local, "float32", "cpu")
    steps = []
    log = fit_pairs(recipe, network, local, encode_pairs([pair()], local, OFF), tmp_path, lambda *at: steps.append(at))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [(step, 4) for step in (1, 2, 3, 4)] and len(lines) == 4
    assert lines[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)  # the reference is the model itself
    assert lines[-1]["rewards/margins"] > 0.05 and log["metrics"]["loss"] < lines[0]["loss"]


def test_a_gradient_that_is_no_number_stops_the_run(local, tmp_path):
    recipe = DPORecipe("dpo", steps=3, batch=1, learning_rate=1e20, warmup=0)
    network = load_weights(local, "float32", "cpu")
    with pytest.raises(HarnessError, match=r"of step 2 is nan, so training has stopped; lower learning_rate"):
        fit_pairs(recipe, network, local, encode_pairs([pair()], local, OFF), tmp_path, lambda *at: None)


def test_what_is_played_is_counted_also_what_was_there(tmp_path):
    tasks = select_tasks(["demo_single_hop"], {})
    plan = Plan(tasks, load_samples(tasks), groups={}, epochs=2)
    counted = [(played, plan.episodes) for played in range(1, plan.episodes + 1)]
    with Sandbox() as sandbox:
        player = Player(load_model("policy/oracle", ModelOptions()), sandbox)
        for _ in ("played", "gone on with"):
            seen = []
            play_watched(plan, player, tmp_path / "run", lambda *at, seen=seen: seen.append(at))
            assert seen == counted


@pytest.mark.slow
def test_a_loop_plays_pairs_trains_and_keeps_the_best(tmp_path):
    out = tmp_path / "run"
    small = ("environments=6", "validation=3", "attempts=3", "max_tokens=64", "max_turns=6", "steps=2", "batch=2")
    words = ("train", "--regime", "dpo", "--model", "bundled/tiny-base", "--loops", "2", "--quiet", "--out", out)
    choice = ("generation=1", "metric=solve_f1", "least=0.6", "easy=0.5", "hard=0.4")
    done = harness(*words, "--set", *small, *choice)
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    figures = [loop["solve_f1"] + 0.3 * loop["answer_accuracy"] for loop in result["loops"]]
    assert 2 <= len(figures) <= 3 and figures[result["best_loop"]] == max(figures)
    assert len(figures) == 3 or figures[1] <= figures[0]  # no better: no second loop
    assert (out / "loops/1/pairs.jsonl").exists() and (out / "loops/1/validation/summary.json").exists()
    before = (out / "model/model.safetensors").read_bytes()
    again = harness(*words, "--set", *small, *choice, "--resume")
    assert again.stdout == done.stdout and (out / "model/model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--set", "hard=0.8"), "hard must be below easy"),
        (("--set", "attempts=1"), "attempts must be at least 2"),
        (("--set", "least=nan"), "least must be a finite number"),
        (("--set", "metric=solve_f2"), "no metric 'solve_f2' to tell what is right by. Did you mean solve_f1"),
        (("--loops", "x"), "--loops: 'x' is not a whole number"),
        (("--reward", "episode_f1"), "--regime dpo knows no 'reward': leave it out"),
    ],
)
def test_bad_input_is_one_sentence(words, what, tmp_path):
    done = harness("train", "--regime", "dpo", "--model", "bundled/tiny-base", "--out", tmp_path / "run", *words)
    assert what in one_sentence(done)
