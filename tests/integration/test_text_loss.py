"""`harness analyze --text`: the loss of two networks on held-out demonstrations."""

import json
import math
import shutil

import pytest
from builders import record, write_records
from commands import harness, one_sentence

from harness.errors import UsageError
from harness.registry import load_samples, select_tasks
from trainer import bundled
from trainer.analysis.text_loss import compare_text_losses, measure_losses, read_warm_up_recipe

BASE = bundled.model_path("tiny-base")
HEADERS = ["loss on demonstrations", "base", "trained", "difference", "95 %", "n"]


@pytest.fixture(scope="module")
def few():
    (samples,) = load_samples(select_tasks(["micro_multi_hop@1"], {})).values()
    return samples[:12]


def test_a_network_beside_itself_has_lost_nothing(few):
    flawed, clean = compare_text_losses(BASE, BASE, few)
    assert (flawed.difference.value, clean.difference.value) == (0, 0)
    assert flawed.difference.n == clean.difference.n == 12
    # It has learnt the flaws: text without them is less likely to it.
    assert 0 < flawed.base < clean.base


def test_the_loss_is_that_of_what_the_assistant_says_alone():
    opening = "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    short, long = opening + "Answer: 7<|im_end|>\n", opening.replace("Where?", "Where? " * 9) + "Answer: 7<|im_end|>\n"
    together = measure_losses(BASE, [short, long])
    assert together == pytest.approx([measure_losses(BASE, [text])[0] for text in (short, long)], rel=1e-4)
    assert all(0 < value < 2 * math.log(2048) for value in together)


def test_a_reward_unlearns_the_flaws_and_not_the_language(few):
    flawed, clean = compare_text_losses(BASE, bundled.model_path("tiny-trained"), few)
    assert flawed.difference.value > 0 > clean.difference.value


def test_the_table_and_the_json(tmp_path, few):
    path = write_records(tmp_path / "towns.jsonl", [record(id=f"town-{n}", world=f"w{n}") for n in range(2)])
    names = ("bundled/tiny-base", "bundled/tiny-trained")
    done = harness("analyze", *names, "--text", path)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("\n\n")[-1].splitlines()
    assert [head for head in HEADERS if head in table[0]] == HEADERS
    assert table[2].startswith("as the demonstrator played")
    found = json.loads(harness("analyze", *names, "--text", path, "--format", "json").stdout)["text"]
    assert [one["text"] for one in found] == ["as the demonstrator played", "without its flaws"]
    assert found[0]["n"] == 2


def test_what_has_no_text(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(BASE, folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(UsageError, match="no manifest of a warm-up"):
        read_warm_up_recipe(folder)
    with pytest.raises(UsageError, match="no manifest of a warm-up"):
        read_warm_up_recipe(bundled.model_path("tiny-trained"))
    path = write_records(tmp_path / "towns.jsonl", [record(gold_calls=...)])
    done = harness("analyze", "bundled/tiny-base", "bundled/tiny-trained", "--text", path)
    assert "has no gold calls with an answer to demonstrate" in one_sentence(done)
