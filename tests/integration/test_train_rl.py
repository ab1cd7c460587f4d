"""Reinforcement learning on the CPU with tiny networks: regimes, algorithms, masks, rewards, resuming, refusals."""

import json
import math
import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from builders import ROOT, record, sample, write_records
from fakes import cpu_shards, replayed_training, tiny_model
from fakes.checkpoints import write_checkpoint
from transformers import AutoModelForCausalLM
from two_processes import run_in_two

from harness.batching import UNFINISHED
from harness.errors import HarnessError, MissingData, UsageError
from harness.models.local.folder import check_folder
from harness.models.local.hf import load_weights
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.rollout import Episode, play_episode
from harness.runs.record import to_record, to_trajectory
from harness.sandbox import Sandbox, SandboxConfig
from harness.task import environment_task, file_task
from harness.types import Limits, Message, Reasoning, RunKey, Sampling, Trajectory, Usage
from harness.user import ScriptedUser
from trainer import run_directory
from trainer.rewards import REWARDS, Reward
from trainer.rl import environment_trainer
from trainer.rl.actor import (
    Actor,
    Continuation,
    EpisodeRequest,
    EpisodeTokens,
    NetworkGenerator,
    RolloutSettings,
    play_episodes,
    with_stable_template,
)
from trainer.rl.batches import make_reward_tensors, select_rows, trim_padding
from trainer.rl.data import (
    EvaluationSet,
    TrainingSetup,
    check_data,
    check_environments,
    first_request,
    prepare_training,
)
from trainer.rl.environment_trainer import EnvironmentTrainer
from trainer.rl.generation import EpisodeGenerator, TurnGenerator
from trainer.rl.loss import plan_pieces, split_pieces
from trainer.rl.settings import RLRecipe
from trainer.rl.trl_trainer import check_sharding, make_trainer, order_prompts, train_network
from trainer.sft.network import CHAT_TEMPLATE

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rollout_func.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

THREE = {
    "steps": 3,
    "prompts": 2,
    "samples": 4,
    "micro_batch": 4,
    "max_turns": 3,
    "max_tokens": 24,
    "validation": 0,
    "test": 0,
    "refresh": 2,
    "players": 4,
    "learning_rate": 1e-2,
}

ALIKE = {"max_tokens": 40, "temperature": 1e-4}
GREEDY = {"samples": 2, "prompts": 2, **ALIKE}
"""Settings by which a trained network says what it has learnt, in every sample."""


def nothing(*told):
    """A progress bar that nobody watches."""


def varied(response, *given):
    """A step reward that differs from turn to turn, whatever a random network says."""
    return (len(response) % 7) / 7


def varied_episode(sample, trajectory, verdict):
    """The same of an episode."""
    return varied(trajectory.messages[-1].raw or "")


VARIED = {"step": Reward("step", varied), "episode": Reward("episode", varied_episode)}


@pytest.fixture(scope="module")
def random_network(tmp_path_factory) -> ModelTokenizer:
    """A random network with a template that keeps earlier turns."""
    folder = tiny_model.random_model(tmp_path_factory.mktemp("random"), CHAT_TEMPLATE)
    return opened(folder)


@pytest.fixture(scope="module")
def trained_network(tmp_path_factory) -> ModelTokenizer:
    """A network that makes the right call and gives the right answer."""
    return opened(tiny_model.trained_model(tmp_path_factory.mktemp("trained"), CHAT_TEMPLATE))


def opened(folder: Path) -> ModelTokenizer:
    return open_tokenizer(check_folder("tiny", folder, {}), {})


@pytest.fixture(scope="module")
def towns(tmp_path_factory) -> Path:
    """Four environments that differ in their ids."""
    path = tmp_path_factory.mktemp("data") / "towns.jsonl"
    return write_records(path, [record(id=f"town-{number}", split="train") for number in range(4)])


def make_setup(towns: Path, out: Path, instead: Reward | None = None, **changes) -> TrainingSetup:
    """A setup of these environments, with a reward `instead` of the recipe's."""
    settings = RLRecipe(**{"regime": "episode", **THREE, **changes})
    out.mkdir(parents=True, exist_ok=True)
    setup = prepare_training(settings, [str(towns)], {}, out, nothing)
    return setup if instead is None else replace(setup, reward=instead)


def weights(model: ModelTokenizer):
    return load_weights(model, "float32", "cpu")


def moved(network, model: ModelTokenizer) -> float:
    """How far a network went from the directory that it began with."""
    began = weights(model).state_dict()
    return max((value - began[name]).abs().max().item() for name, value in network.state_dict().items())


def lines(out: Path):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


# --- every regime and algorithm ----------------------------------------------------------------------------------

REGIMES = [("episode", "turn"), ("step", "turn"), ("step", "return")]


@pytest.mark.parametrize("algorithm", ["grpo", "reinforce++", "rloo"])
@pytest.mark.parametrize(("regime", "credit"), REGIMES)
def test_three_steps_move_the_policy(regime, credit, algorithm, random_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, VARIED[regime], regime=regime, credit=credit, algorithm=algorithm)
    network = weights(random_network)
    train_network(setup, random_network, network, tmp_path, nothing)
    steps = lines(tmp_path)
    assert [line["step"] for line in steps] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) and 0 < line["grad_norm"] < math.inf for line in steps)
    assert moved(network, random_network) > 1e-3
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(saved[name], value)


def test_the_same_seed_gives_the_same_run(random_network, towns, tmp_path):
    networks = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        network = weights(random_network)
        setup = make_setup(towns, tmp_path / name, VARIED["episode"], steps=1, seed=seed)
        train_network(setup, random_network, network, tmp_path / name, nothing)
        networks.append(network.state_dict())
    key = "model.embed_tokens.weight"
    torch.testing.assert_close(networks[0][key], networks[1][key])
    assert (networks[0][key] - networks[2][key]).abs().max() > 1e-4


def test_kl_entropy_clipping_and_adapters_are_trls(random_network, towns, tmp_path):
    changes = {"kl": 0.1, "entropy": 0.01, "clip": 0.1, "clip_high": 0.3, "lora_rank": 2, "updates": 2}
    setup = make_setup(towns, tmp_path, VARIED["episode"], **changes, save_every=2, steps=2)
    train_network(setup, random_network, weights(random_network), tmp_path, nothing)
    first, second = lines(tmp_path)
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert second["kl"] > 0
    assert first["entropy_coef"] == 0.01
    assert moved(weights(opened(tmp_path / "model")), random_network) > 0  # adapters are merged


# --- tokens and masks --------------------------------------------------------------------------------------------

ROLLOUT_SETTINGS = RolloutSettings(Sampling(1e-4, 40, 3), Limits(max_turns=4), Reasoning("off"))


def play_tracked(
    model: ModelTokenizer, path: Path, player=play_episodes, rollout_settings=ROLLOUT_SETTINGS, count=3, kept=5
):
    task = file_task(path)
    requests = [EpisodeRequest(task, one, epoch) for one in task.load() for epoch in range(count)]
    actor = Actor(model, NetworkGenerator(model, weights(model), "float32", 5, kept), 5)
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        played = player(actor, requests, rollout_settings, sandbox)
    return requests, played, [actor.pop_tokens(request.key) for request in requests]


def test_only_what_was_sampled_carries_a_gradient(trained_network, towns):
    """The truth is worked out from texts alone, so a mask that is off by one token anywhere differs from it."""
    encode = trained_network.encode
    _, played, sequences = play_tracked(trained_network, towns)
    between = (
        '\n<|im_start|>user\n<tool_response>\n{"inhabitants": 45210}\n</tool_response><|im_end|>\n'
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    call, answer = encode(tiny_model.CALL + "<|im_end|>"), encode(tiny_model.ANSWER + "<|im_end|>")
    for done, episode_tokens in zip(played, sequences, strict=True):
        assert done.turns == 2
        assert episode_tokens.ids == [*call, *encode(between), *answer]
        assert episode_tokens.loss_mask == [1] * len(call) + [0] * len(encode(between)) + [1] * len(answer)
        assert episode_tokens.rewritten == 0


def test_the_trainer_reads_what_an_evaluation_would(trained_network, towns):
    """Prompt and completion are, token by token, the prompt of the turn after the last in an evaluation."""
    requests, played, sequences = play_tracked(trained_network, towns)
    for episode, done, episode_tokens in zip(requests, played, sequences, strict=True):
        request = first_request(episode.task, episode.sample, ROLLOUT_SETTINGS.reasoning)
        for turn, end in ((0, 1), (1, 3)):
            asked = replace(request, messages=done.messages[:end], turn=turn)
            ids = trained_network.encode(trained_network.prompter.prompt(asked).text)
            assert [*episode_tokens.prompt, *episode_tokens.ids][: len(ids)] == ids


def test_tools_outputs_have_no_part_in_the_loss(trained_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, VARIED["episode"], samples=2, prompts=2, max_tokens=40)
    source = EpisodeGenerator(setup, trained_network)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    batch = trainer._generate_and_score_completions(
        [{"prompt": name} for name in source.dataset_rows()[:2] for _ in range(2)]
    )
    batch = trainer._weigh({**batch, "num_items_in_batch": torch.tensor(9.0)}, range(4)) | {"advantages": torch.ones(4)}
    logps = torch.zeros(batch["completion_ids"].shape, requires_grad=True)
    trainer._get_per_token_logps_and_entropies = lambda *given, **more: (logps, torch.zeros_like(logps), None)
    trainer._piece_loss(trainer.model, batch)[0].backward()
    for row, scored in zip(logps.grad, trainer.scored, strict=True):
        mine = [turn >= 0 for turn in scored.tokens.turns]
        assert 0 in mine and 1 in mine
        assert (row != 0).tolist()[: len(mine)] == mine
        assert not row[len(mine) :].any()


def play_singly(actor, requests, rollout_settings, sandbox):
    """The same episodes, one after the other: slow, and what `play_episodes` must agree with."""
    trajectories = []
    for request in requests:
        episode = Episode(
            request.sample,
            rollout_settings.sampling,
            rollout_settings.limits,
            request.epoch,
            request.task.name,
            rollout_settings.reasoning,
        )
        with sandbox.episode() as tools:
            trajectories.append(play_episode(episode, request.task.environment(request.sample), actor, tools))
    return trajectories


def test_lockstep_and_single_play_alike(random_network, towns):
    rollout_settings = replace(ROLLOUT_SETTINGS, sampling=Sampling(1.0, 12, 3))
    together = play_tracked(random_network, towns, play_episodes, rollout_settings)[2]
    alone = play_tracked(random_network, towns, play_singly, rollout_settings)[2]
    assert together == alone
    assert len({tuple(episode_tokens.ids) for episode_tokens in together}) > len(together) // 2


@pytest.mark.parametrize("kept", [0, 5])
def test_turns_in_parts_are_the_same_turns(kept, trained_network, towns, monkeypatch):
    """At this temperature replies end anywhere, so some are gone on with beside the next turns of others."""
    settings, parts = replace(ROLLOUT_SETTINGS, sampling=Sampling(2.0, 40, 3)), []
    advance = Actor.advance

    def watched(self, requests):
        parts.append(advance(self, requests))
        return parts[-1]

    monkeypatch.setattr(Actor, "advance", watched)
    found = play_tracked(trained_network, towns, rollout_settings=settings, kept=kept)
    assert any(UNFINISHED in part for part in parts) == bool(kept)
    monkeypatch.setattr(Actor, "advance", Actor.batch)
    whole = play_tracked(trained_network, towns, rollout_settings=settings, kept=kept)
    assert [one.messages for one in found[1]] == [one.messages for one in whole[1]]
    assert found[2] == whole[2]


def test_no_sequence_is_longer_than_the_context(trained_network, towns):
    """What a tool gives is not added where it does not fit."""
    first = play_tracked(trained_network, towns)[2][0]
    for room in (first.turns.index(-1) + 5, first.turns.index(-1) + 1):
        short = replace(trained_network, folder=replace(trained_network.folder, max_context=len(first.prompt) + room))
        _, played, sequences = play_tracked(short, towns)
        assert {one.outcome for one in played} == {"token_limit"}
        assert all(len(one.prompt) + len(one.ids) <= len(first.prompt) + room for one in sequences)
        assert all(one.turns[-1] == 0 for one in sequences)


def test_a_template_that_rewrites_turns_is_replaced_or_refused(tmp_path):
    """Qwen3's own drops empty reasoning from earlier turns; TRL has a variant that does not."""
    qwen = opened(tiny_model.random_model(tmp_path / "qwen"))
    variant = with_stable_template(qwen, Reasoning("off"))
    assert variant is not qwen
    assert with_stable_template(variant, Reasoning("off")) is variant
    unknown = tiny_model.random_model(tmp_path / "other", tiny_model.template() + "{# another #}")
    with pytest.raises(UsageError, match=r"earlier turns otherwise.*--regime step --set credit=turn"):
        with_stable_template(opened(unknown), Reasoning("off"))


# --- rewards -----------------------------------------------------------------------------------------------------


def test_an_episodes_reward_is_the_evaluations(trained_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, samples=2, prompts=2, max_tokens=40, temperature=1e-4)
    source = EpisodeGenerator(setup, trained_network)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    names = [name for name in source.dataset_rows()[:2] for _ in range(2)]
    scored = source.generate(names, trainer)
    for name, one in zip(names, scored, strict=True):
        task, which = setup.items[name]
        request = EpisodeRequest(task, which, 0)
        alone = NetworkGenerator(trained_network, trainer.model.eval(), "float32", 1, kept=1)
        actor = Actor(trained_network, alone, 1)
        with Sandbox(SandboxConfig(workers=1)) as sandbox:
            (done,) = play_episodes(actor, [request], ROLLOUT_SETTINGS, sandbox)
        stored = to_trajectory(json.loads(json.dumps(to_record(key(request), done, task.score(which, done)))))
        verdict = task.score(which, stored)
        assert actor.pop_tokens(request.key).ids == one.tokens.ids
        assert one.rewards == (REWARDS["episode_f1"].episode(which, stored, verdict),)
        assert one.scores["solve_f1"] == verdict.scores["solve_f1"] == 1.0
        assert one.rewards == (1.3,)


COUNTED = """
def population(data, town):
    data["asked"] += 1
    return {"inhabitants": 45210}
"""


def counted(path: Path) -> Path:
    """Two environments with a state and checks instead of sub-answers: right is who asked exactly once."""
    fields = {
        "codes": {"population": COUNTED},
        "unsolved_set": ...,
        "answer": ...,
        "gold_calls": ...,
        "state": {"asked": 0},
        "checks": [{"type": "state_eq", "value": {"asked": 1}}],
    }
    return write_records(path, [record(id=f"town-{number}", **fields) for number in range(2)])


def test_every_episode_has_a_state_of_its_own(trained_network, tmp_path):
    path = counted(tmp_path / "counted.jsonl")
    setup = make_setup(path, tmp_path, samples=2, prompts=2, max_tokens=40, reward="episode_success", temperature=1e-4)
    source = EpisodeGenerator(setup, trained_network)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    scored = source.generate([name for name in source.dataset_rows() for _ in range(2)], trainer)
    assert [one.rewards for one in scored] == [(1.0,)] * 4


def test_success_is_logged_where_it_is_what_counts(trained_network, tmp_path):
    setup = make_setup(
        counted(tmp_path / "counted.jsonl"),
        tmp_path,
        steps=1,
        max_tokens=40,
        reward="episode_success",
        temperature=1e-4,
    )
    train_network(setup, trained_network, weights(trained_network), tmp_path, nothing)
    (line,) = [line for line in lines(tmp_path) if "loss" in line]
    assert (line["reward"], line["success"]) == (1.0, 1.0)


def test_a_reward_that_does_not_fit_is_refused_before_anything_is_played(tmp_path):
    with pytest.raises(UsageError, match="needs the metric solve_f1, which counted lacks"):
        make_setup(counted(tmp_path / "counted.jsonl"), tmp_path)
    with pytest.raises(UsageError, match=r"counted has an environment with a state.*episode_success"):
        make_setup(counted(tmp_path / "counted.jsonl"), tmp_path, regime="step")


def test_prefixes_that_are_taken_for_environments(tmp_path):
    begun = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "I look."}]
    path = write_records(tmp_path / "prefixes.jsonl", [record(messages=begun)])
    with pytest.raises(UsageError, match="has turns in its prompt, as prefixes do: --set prefixes=given"):
        make_setup(path, tmp_path, regime="step")


def test_an_episode_that_the_sandbox_broke_has_no_reward(random_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, regime="step")
    task, which = next(iter(setup.items.values()))
    said = (*which.messages, Message("assistant", "Answer: 45210"))
    ends = [Trajectory(said, (), 1, end, "", Usage(), {}) for end in ("ok", "infrastructure_error")]
    sequences = [EpisodeTokens([]), EpisodeTokens([])]
    whole, broken = EpisodeGenerator(setup, random_network)._by_turn(
        [EpisodeRequest(task, which, 0)] * 2, ends, sequences
    )
    assert len(whole) == 1 and whole[0] is not None
    assert broken == (None,)


def test_a_task_whose_data_is_missing_is_left_out_aloud(capsys):
    def nothing_there():
        raise MissingData("There is no file.")

    towns = environment_task("towns", lambda: [sample(split="train")])
    found = check_data(RLRecipe("episode"), [towns, replace(towns, name="gone", load=nothing_there)], [], {})
    assert list(found.items) == ["towns/towns"]
    assert "Skipped gone" in capsys.readouterr().err


def test_nobody_plays_a_simulated_user():
    towns = environment_task("towns", lambda: [sample()])
    with pytest.raises(UsageError, match="towns simulates a user"):
        check_environments(RLRecipe("episode"), [(replace(towns, scripted_user=ScriptedUser()), sample())])


def key(request: EpisodeRequest) -> RunKey:
    return RunKey(request.task.name, "", request.sample.id, 0, "m", "", Reasoning(), Sampling(), Limits())


def test_a_turns_reward_is_the_plain_functions(trained_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, regime="step", credit="turn", samples=2, prompts=2, max_tokens=40)
    source = TurnGenerator(setup, trained_network, tmp_path)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    scored = source.generate([str(place) for place in range(4)], trainer)
    for place, one in enumerate(scored):
        prefix = source.prefix_at(place)
        text = trained_network.decode(one.tokens.ids)
        assert one.rewards == (REWARDS["mended_f1"].steps([prefix.to_turn(text)])[0],)
        assert trained_network.decode(one.tokens.prompt).endswith("<think>\n\n</think>\n\n")
        assert one.tokens.loss_mask == [1] * len(one.tokens.ids)
    assert (1.0,) in {one.rewards for one in scored}  # the call, or the answer where all is solved


def test_turns_that_earn_their_returns(trained_network, towns, tmp_path):
    setup = make_setup(
        towns, tmp_path, regime="step", credit="return", samples=2, prompts=2, max_tokens=40, temperature=1e-4
    )
    source = EpisodeGenerator(setup, trained_network)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    scored = source.generate([name for name in source.dataset_rows()[:2] for _ in range(2)], trainer)
    assert {one.rewards for one in scored} == {(1.0, 1.0)}
    rewards, tokens = make_reward_tensors(scored, 3)
    assert rewards[0, :2].tolist() == [1.0, 1.0]
    assert rewards[0, 2].isnan()
    assert tokens[0].sum() == sum(scored[0].tokens.loss_mask)


OPENS = "{%- if add_generation_prompt %}{{- '<think>\n' }}{%- endif %}"
"""What a template ends with that lets the network think first."""


@pytest.mark.parametrize(
    ("template", "text", "reward"),
    [
        (CHAT_TEMPLATE, tiny_model.CALL, 1.0),
        (CHAT_TEMPLATE + OPENS, f"Might {tiny_model.CALL} help?", -0.5),
        (CHAT_TEMPLATE + OPENS, f"Yes.\n</think>\n\n{tiny_model.CALL}", 1.0),
    ],
)
def test_a_call_within_reasoning_earns_nothing_where_an_engine_says_it(template, text, reward, towns, tmp_path):
    model = opened(tiny_model.random_model(tmp_path / "model", template))
    settings = {"regime": "step", "credit": "turn", "prefixes": "given", "reward": "strict_f1"}
    source = TurnGenerator(make_setup(towns, tmp_path, **settings), model, tmp_path)
    said = Continuation(model.encode(text), [-0.5] * len(model.encode(text)))
    player = SimpleNamespace(generator=lambda kept: nullcontext(lambda rows: [said] * len(rows)))
    trainer = SimpleNamespace(player=player, places=lambda prompts: enumerate(prompts), sampling=Sampling)
    (one,) = source.generate(["0"], trainer)
    assert one.rewards == (reward,)
    assert one.tokens.logprobs == [-0.5] * len(one.tokens.ids)


def test_fresh_prefixes_have_their_share_of_solved_ones(trained_network, towns, tmp_path):
    setup = make_setup(towns, tmp_path, regime="step", credit="turn", solved=0.75, max_tokens=40)
    source = TurnGenerator(setup, trained_network, tmp_path)
    trainer = make_trainer(setup, source, trained_network, weights(trained_network), tmp_path / "checkpoints", [])
    source.generate(["0"], trainer)
    found = [source.prefix_at(place) for place in range(4)]
    assert sum(not prefix.unsolved_count for prefix in found) == 3
    assert (tmp_path / "prefixes" / "step-000000.jsonl").is_file()


# --- equal configurations, equal losses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "more"),
    [("grpo", {}), ("reinforce++", {"loss": "grpo"}), ("grpo", {"loss": "bnpo", "entropy": 0.5})],
)
def test_eight_at_once_are_four_and_four(algorithm, more, random_network, towns, tmp_path):
    """On replayed completions, of different lengths, so that a mean of means would differ."""
    folder = random_network.folder.path
    runs = {
        size: replayed_training.train(folder, towns, tmp_path / str(size), algorithm, size, **more) for size in (8, 3)
    }
    same(runs[8], runs[3])


def test_sequences_without_an_advantage_are_left_out_and_change_nothing(random_network, towns, tmp_path, monkeypatch):
    """On replayed completions: four of eight earned the same."""
    seen = []
    piece_loss = EnvironmentTrainer._piece_loss

    def watched(self, model, piece):
        seen.append(len(piece["advantages"]))
        return piece_loss(self, model, piece)

    monkeypatch.setattr(EnvironmentTrainer, "_piece_loss", watched)
    folder, runs = random_network.folder.path, []
    for least in (environment_trainer.LEARNT, -1.0):
        monkeypatch.setattr(environment_trainer, "LEARNT", least)
        runs.append(replayed_training.train(folder, towns, tmp_path / str(least), "grpo", 8, flat=True))
    steps = 3
    assert seen == [4] * steps + [4, 4] * steps, "those of a prompt go together"
    same(*runs)


def test_pieces_are_split_until_there_are_enough():
    assert split_pieces([[3, 1, 0, 2], [4]], 4) == [[3], [4], [0, 2], [1]]
    assert split_pieces([[0], [1, 2]], 2) == [[0], [1, 2]]


@pytest.mark.parametrize(
    ("asked", "enabled", "sentence"),
    [("true", False, "no shards on a CPU"), ("true", True, None), ("false", False, None)],
)
def test_shards_that_are_none_are_refused(asked, enabled, sentence, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", asked)
    trainer = SimpleNamespace(is_fsdp_enabled=enabled)
    with pytest.raises(UsageError, match=sentence) if sentence else nullcontext():
        check_sharding(trainer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "flat", "shards"),
    [("reinforce++", False, {}), ("grpo", True, {}), ("reinforce++", False, cpu_shards.SHARDS)],
    ids=["copies", "copies, one with nothing to learn", "shards"],
)
def test_two_processes_are_one(algorithm, flat, shards, random_network, towns, tmp_path):
    one = replayed_training.train(random_network.folder.path, towns, tmp_path / "one", algorithm, 8, flat)
    words = [random_network.folder.path, towns, tmp_path, algorithm, 4, *(["flat"] if flat else [])]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **shards}
    done = run_in_two([replayed_training.__file__, *words], environ, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    same(one, torch.load(tmp_path / "end.pt"))


def same(first, second):
    """Losses and weights of two runs."""
    assert second[0] == pytest.approx(first[0], abs=1e-5)
    assert max(map(abs, first[0])) > 1e-4
    for name, value in first[1].items():
        torch.testing.assert_close(second[1][name.removeprefix("module.")], value, atol=1e-4, rtol=1e-3)


def test_padding_is_cut_and_rows_stay_together():
    piece = {
        "prompt_ids": torch.tensor([[0, 0, 5], [0, 4, 5]]),
        "prompt_mask": torch.tensor([[0, 0, 1], [0, 1, 1]]),
        "completion_ids": torch.tensor([[7, 8, 0, 0], [9, 0, 0, 0]]),
        "completion_mask": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]]),
        "tool_mask": torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1]]),
        "advantages": torch.tensor([1.0, 2.0]),
        "num_items_in_batch": torch.tensor(3.0),
    }
    short = trim_padding(piece)
    assert short["prompt_ids"].tolist() == [[0, 5], [4, 5]]
    assert short["completion_ids"].tolist() == [[7, 8], [9, 0]]
    assert short["tool_mask"].tolist() == [[1, 0], [1, 1]]
    last = select_rows(piece, [1])
    assert last["advantages"].tolist() == [2.0]
    assert last["completion_mask"].tolist() == [[1, 0, 0, 0]]
    assert last["num_items_in_batch"] == 3.0


# --- resuming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("regime", "credit"), REGIMES)
def test_what_was_interrupted_ends_as_if_it_had_not_been(regime, credit, random_network, towns, tmp_path):
    ends = []
    for name, stops in (("whole", ()), ("broken", (3,))):
        out = tmp_path / name
        changes = {"regime": regime, "credit": credit, "steps": 4, "save_every": 2, "samples": 2}
        setup = make_setup(towns, out, VARIED[regime], **changes)
        for stop in stops:

            def interrupt(stage, done, total, stop=stop):
                if done == stop:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                train_network(setup, random_network, weights(random_network), out, interrupt)
            (out / "checkpoints" / "checkpoint-3").mkdir()  # torn
        network = weights(random_network)
        train_network(setup, random_network, network, out, nothing)
        ends.append((network.state_dict(), [(line["step"], line["loss"]) for line in lines(out)]))
    assert [step for step, _ in ends[1][1]] == [1, 2, 3, 4]
    assert dict(ends[1][1]) == pytest.approx(dict(ends[0][1]), rel=1e-3, abs=1e-5)
    for name, value in ends[0][0].items():
        torch.testing.assert_close(value, ends[1][0][name], atol=1e-5, rtol=1e-4)


def test_the_best_weights_are_kept(trained_network, towns, tmp_path):
    """A reward for the opposite makes the network worse, so the first weights stay the best."""
    setup = make_setup(
        towns, tmp_path, Reward("episode", lambda *given: varied_episode(*given) - 5), steps=2, temperature=5.0
    )
    evaluation_set = EvaluationSet(towns, Limits(max_turns=4), Reasoning("off"), 40)
    setup = replace(setup, validation=evaluation_set)
    setup = replace(setup, settings=replace(setup.settings, validate_every=1, learning_rate=0.3))
    callback = train_network(setup, trained_network, weights(trained_network), tmp_path, nothing)
    validated = {line["step"]: line["validation"] for line in lines(tmp_path) if "validation" in line}
    assert validated[0]["solve_f1"] == 1.0
    assert validated[2]["solve_f1"] < 1.0
    assert callback.best_validation == (0, 1.3)
    assert moved(weights(opened(tmp_path / "model")), trained_network) == 0
    assert (tmp_path / "validation" / "000001" / "samples.jsonl").is_file()


# --- refusals ----------------------------------------------------------------------------------------------------


def test_no_number_stops_the_run(random_network, towns, tmp_path):
    network = weights(random_network)
    setup = make_setup(towns, tmp_path, VARIED["episode"])
    source = EpisodeGenerator(setup, random_network)
    trainer = make_trainer(setup, source, random_network, network, tmp_path / "checkpoints", [])
    whole = trainer._piece_loss
    trainer._piece_loss = lambda *given: (whole(*given)[0] * math.nan, whole(*given)[1])
    with pytest.raises(HarnessError, match=r"The loss of step 1 is nan.*learning_rate"):
        trainer.train()


def test_a_full_disk_stops_the_run_before_it_writes(random_network, towns, tmp_path, monkeypatch):
    setup = make_setup(towns, tmp_path, VARIED["episode"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(HarnessError, match=r"0\.0 GB of disk left.*--resume"):
        train_network(setup, random_network, weights(random_network), tmp_path, nothing)


def test_prompts_that_do_not_fit_are_refused_or_dropped(random_network, tmp_path):
    long = record(id="long", messages=[{"role": "user", "content": "How many? " * 90}])
    path = write_records(tmp_path / "towns.jsonl", [record(id="short"), long])
    for regime in ("episode", "step"):
        setup = make_setup(path, tmp_path, regime=regime, max_prompt=400)
        with pytest.raises(UsageError, match=r"towns/long has \d+ tokens and may have 400.*overlong=drop"):
            EpisodeGenerator(setup, random_network).dataset_rows()
        dropping = make_setup(path, tmp_path, regime=regime, max_prompt=400, overlong="drop")
        assert EpisodeGenerator(dropping, random_network).dataset_rows() == ["towns/short"]
    with pytest.raises(UsageError, match="No prompt fits"):
        EpisodeGenerator(make_setup(path, tmp_path, max_prompt=5, overlong="drop"), random_network).dataset_rows()


@pytest.mark.parametrize("regime", ["episode", "step"])
def test_data_that_nothing_can_be_learnt_from(regime, tmp_path):
    without = record(unsolved_set={"population": []}, answer=..., gold_calls=...)
    for fields, sentence in ((without, "has no gold"), (record(split="test"), "its split is test")):
        path = write_records(tmp_path / "data.jsonl", [fields])
        with pytest.raises(UsageError, match=sentence):
            make_setup(path, tmp_path, regime=regime)


def test_a_reward_of_the_other_regime(towns, tmp_path):
    with pytest.raises(UsageError, match="paper_f1 judges steps"):
        prepare_training(RLRecipe("episode", reward="paper_f1"), [str(towns)], {}, tmp_path, nothing)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"algorithm": "ppo"}, "algorithm"),
        ({"samples": 1}, "samples"),
        ({"updates": 3}, "updates"),
        ({"updates": 2, "save_every": 3}, "save_every"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"credit": "return"}, "credit"),
        ({"regime": "step", "credit": "return", "prefixes": "given"}, "credit"),
    ],
)
def test_settings_that_cannot_be(changes, word):
    with pytest.raises(UsageError, match=f"recipe's {word} must be"):
        RLRecipe(**{"regime": "episode", **changes})


@pytest.mark.parametrize(
    ("values", "credit"),
    [
        ({"regime": "episode"}, "turn"),
        ({"regime": "step"}, "return"),
        ({"regime": "step", "reward": "strict_f1"}, "return"),
        ({"regime": "step", "credit": "turn"}, "turn"),
        ({"regime": "step", "reward": "paper_f1"}, "turn"),
        ({"regime": "step", "reward": "paper_f1", "credit": "return"}, "return"),
        ({"regime": "step", "prefixes": "given"}, "turn"),
    ],
)
def test_the_step_regime_pays_for_what_a_turn_makes_possible_unless_it_is_the_papers(values, credit):
    assert RLRecipe(**values).credit == credit


def test_processes_share_an_update_evenly():
    assert RLRecipe("episode", prompts=3, samples=4).share_of_update(2) == 6
    assert RLRecipe("episode", prompts=16, samples=8, updates=4).share_of_update(1) == 32
    with pytest.raises(UsageError, match="cannot be shared by 3"):
        RLRecipe("episode").share_of_update(3)


@pytest.mark.parametrize(
    ("rows", "tokens", "pieces"),
    [
        (8, 0, [[2, 0, 4, 3, 1]]),
        (2, 0, [[2, 0], [4, 3], [1]]),
        (8, 40, [[2], [0, 4], [3, 1]]),
        (8, 5, [[2], [0], [4], [3], [1]]),
    ],
)
def test_pieces_keep_to_rows_and_tokens(rows, tokens, pieces):
    assert plan_pieces([20, 5, 50, 6, 20], rows, tokens) == pieces


def test_torn_checkpoints_are_no_checkpoints(tmp_path):
    write_checkpoint(tmp_path, 5)
    for step, text in ((10, '{"torn'), (15, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert run_directory.find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert not (tmp_path / "checkpoint-15").exists()


def test_no_prompt_comes_twice_in_a_generation():
    rows = [str(place) for place in range(7)]
    settings = RLRecipe("episode", prompts=3, steps=10, updates=2, save_every=2, refresh=2)
    order = order_prompts(rows, settings)
    assert len(order) == 5 * 3
    assert all(len(set(order[start : start + 3])) == 3 for start in range(0, 15, 3))
    assert len(set(order[:6])) == 6
    assert order == order_prompts(rows, settings)
    assert order != order_prompts(rows, replace(settings, seed=2))


def test_a_task_of_ones_own(random_network, tmp_path):
    """Its environment and score are used; one step of the episode regime."""
    scored = []
    plain = environment_task("mine", lambda: [sample(id=str(number)) for number in range(2)])

    def score(one, trajectory):
        scored.append(trajectory)
        return plain.score(one, trajectory)

    mine = replace(plain, score=score)
    settings = RLRecipe("episode", **{**THREE, "steps": 1})
    items = {f"mine/{one.id}": (mine, one) for one in mine.load()}
    setup = TrainingSetup(settings, VARIED["episode"], items, [], None, None)
    train_network(setup, random_network, weights(random_network), tmp_path, nothing)
    assert len(scored) == 8
