"""Recipes: files and --set become one checked dataclass, and what is wrong with either is one sentence."""

import json

import pytest

from harness.data.records import read_samples
from harness.errors import UsageError
from harness.scoring.decisions import SITUATIONS
from trainer import bundled
from trainer.environments import build_environments, check_recipe_kinds
from trainer.recipes.load import load_recipe, recipe_to_toml
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import InitialWeights, identify_sft_run, order


def load(text, tmp_path, **changes):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path), changes, "sft")


@pytest.mark.parametrize(
    ("name", "from_recipe", "kind"),
    [("tiny-base", "tiny-base", SFTRecipe), ("tiny-trained", "tiny", RLRecipe)],
)
def test_a_bundled_networks_recipe_is_the_one_in_its_manifest(name, from_recipe, kind):
    manifest = json.loads((bundled.model_path(name) / "manifest.json").read_text(encoding="utf-8"))
    assert load_recipe(from_recipe, {}) == kind(**{"generation": 1, **manifest["recipe"]})


def test_the_written_recipe_gives_the_same_again(tmp_path):
    first = load_recipe("tiny-base", {"learning_rate": "3e-4", "train_file": 'a "b".jsonl'}, "sft")
    assert load(recipe_to_toml(first), tmp_path) == first
    assert first.learning_rate == 3e-4


def test_a_recipe_holds_no_password():
    asked = {"vllm_server": "http://me:secret@host:8000"}
    with pytest.raises(UsageError, match="vllm_server must be without user and password") as caught:
        load_recipe("tiny", asked)
    assert "secret" not in str(caught.value)
    assert load_recipe("tiny", {"vllm_server": "http://host:8000"}).vllm_server == "http://host:8000"


def test_environments_are_built_at_the_scale_of_their_recipe(tmp_path):
    built = {}
    for scale in ("", "generalise=0 options=0"):
        path = tmp_path / f"{len(scale)}.jsonl"
        recipe = load_recipe("smollm2-warm-up", {"scale": scale})
        build_environments(path, 4, recipe, 1, "train", lambda done, of: None)
        tools = [tool for line in path.read_text().splitlines() for tool in json.loads(json.loads(line)["tools"])]
        built[scale] = {name for tool in tools for name in tool["function"]["parameters"]["properties"]}
    assert "entry" in built[""] and "entry" not in built["generalise=0 options=0"]


def test_a_whole_number_will_do_for_a_number(tmp_path):
    assert load("repeat = 1\n", tmp_path, skip_last="0") == SFTRecipe("sft", repeat=1.0, skip_last=0.0)


@pytest.mark.parametrize(
    ("text", "changes", "says"),
    [
        ("steps = 10\nstep = 3\n", {}, "knows no 'step'. Did you mean steps"),
        ("", {"lerning_rate": "1"}, "--set knows no 'lerning_rate'. Did you mean learning_rate"),
        ("", {"steps": "many"}, "steps = 'many', which is not a whole number"),
        ("", {"steps": "1.5"}, "not a whole number"),
        ("steps = true\n", {}, "not a whole number"),
        ("learning_rate = 'fast'\n", {}, "not a number"),
        ("level = 3\n", {}, "not a text"),
        ("", {"learning_rate": "nan"}, "learning_rate must be a finite number above 0"),
        ("", {"learning_rate": "inf"}, "learning_rate must be a finite number above 0"),
        ("", {"repeat": "1.2"}, "repeat must be from 0 to 1"),
        ("", {"steps": "0"}, "steps must be at least 1"),
        ("", {"level": "huge"}, "micro, easy, paper or hard"),
        ("", {"scale": "options=0 units=4"}, "not units=4"),
        ("", {"scale": "units=1", "generation": "1"}, "not units=1"),
        ("", {"about": "clubb"}, "no kind of things 'clubb'. Did you mean club"),
        ("", {"scenario": "whn"}, "scenario must be all or when"),
        ("", {"scenario": "when", "environments": "12"}, "environments must be a multiple of 5, the twins of a world"),
        ("", {"scenario": "when", "generation": "1"}, "generation must be 2 where the scenario is when"),
        ("", {"needless": "-0.1"}, "needless must be from 0 to 1"),
        ("", {"vocabulary": "100"}, "vocabulary must be at least 400"),
        ("", {"width": "64"}, "width must be more than"),
        ("regime = 'episode'\n", {}, "for --regime episode, not sft"),
        ("steps = \n", {}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, text, changes, says):
    with pytest.raises(UsageError) as caught:
        load(text, tmp_path, **changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_regime_that_is_none_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text("regime = 5\n")
    with pytest.raises(UsageError, match=r"mine\.toml gives regime = '5', which is none of sft, step"):
        load_recipe(str(tmp_path / "mine.toml"), {})


@pytest.mark.parametrize(
    ("name", "says"),
    [("tiny-bse", "Did you mean tiny-base"), ("nowhere/x.toml", "no recipe at nowhere/x.toml")],
)
def test_a_recipe_that_is_not_there(name, says):
    with pytest.raises(UsageError, match=says):
        load_recipe(name, {}, "sft")


@pytest.mark.parametrize("regime", ["sft", "episode", "dpo"])
@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_is_one_that_everything_can_draw_by(regime, seed):
    for name in ("seed",) if regime == "sft" else ("seed", "data_seed"):
        with pytest.raises(UsageError, match=f"recipe's {name} must be from 0 to 4294967295"):
            load_recipe(None, {name: seed}, regime)


def test_an_adapter_of_no_weight_trains_nothing():
    with pytest.raises(UsageError, match="lora_alpha must be at least 1"):
        load_recipe(None, {"lora_rank": "2", "lora_alpha": "0"}, "episode")


@pytest.mark.parametrize("regime", ["sft", "episode", "dpo"])
def test_twins_are_built_where_the_recipe_says_so(tmp_path, regime):
    small = " ".join(f"{means}=0" for means in ("generalise", "options", "distractors", "overlap", "lists", "units"))
    changes = {"scenario": "when", "scale": small, "about": "school club", "environments": "10"}
    recipe, told = load_recipe(None, changes, regime), []
    check_recipe_kinds(recipe)
    build_environments(tmp_path / "built.jsonl", 10, recipe, 3, "train", lambda *done: told.append(done))
    assert told == [(5, 10), (10, 10)]
    situations = [str(one.metadata["data_source"]) for one in read_samples(tmp_path / "built.jsonl")]
    assert situations == [f"when/{situation}" for situation in SITUATIONS] * 2


def test_environments_are_built_by_the_largest_seed(tmp_path):
    """Those of a test split are of data_seed + 2."""
    recipe = load_recipe(None, {}, "episode")
    build_environments(tmp_path / "built.jsonl", 1, recipe, 2**32 + 1, "test", lambda done, of: None)
    assert (tmp_path / "built.jsonl").read_text().count("\n") == 1


def test_a_step_of_the_warm_up_sees_episodes_of_every_length():
    """Episodes of one length have as many calls: steps of one kind pull the network to and fro."""
    rows = [{"input_ids": [0] * (100 + 100 * (number % 4) + number % 7)} for number in range(640)]
    recipe = SFTRecipe("sft", steps=160, batch=8, micro_batch=2)
    chosen = order(rows, recipe)
    lengths = [len(rows[place]["input_ids"]) // 100 for place in chosen]
    steps = [lengths[first : first + 8] for first in range(0, len(lengths), 8)]
    assert sorted(chosen[:640]) == sorted(chosen[640:]) == list(range(640))
    assert sum(len(set(step)) > 1 for step in steps) > 0.9 * len(steps)
    at_once = [lengths[first : first + 2] for first in range(0, len(lengths), 2)]
    assert sum(one == other for one, other in at_once) > 0.9 * len(at_once)


def test_a_run_is_of_its_templates_text_and_of_its_order(tmp_path):
    template = tmp_path / "mine.jinja"
    recipe = SFTRecipe("sft", batch=8, micro_batch=2, chat_template=str(template))
    told = []
    for text in ("{{ a }}", "{{ b }}"):
        template.write_text(text)
        told.append(identify_sft_run(recipe, InitialWeights()))
    assert told[0]["recipe"] == told[1]["recipe"] and told[0] != told[1]
    assert told[0]["order"] == "pieces"
    assert {"order", "template"}.isdisjoint(identify_sft_run(SFTRecipe("sft"), InitialWeights()))
