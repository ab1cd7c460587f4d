"""Tasks as Gymnasium environments: its own checker, and the scores of `harness eval` on recorded episodes.

gymnasium is no part of the dev extra: `tox -e gym` has it, elsewhere these are skipped.
"""

from contextlib import closing
from functools import partial

import builders
import pytest

pytest.importorskip("gymnasium", reason="needs the gym extra; tox -e gym runs this")

import gymnasium
from gymnasium.utils.env_checker import check_env
from recorded_episodes import record_episodes, said
from small_shop import CANCEL, write_shop

from harness.errors import UsageError
from harness.formats import FORMATS
from harness.gym import TaskEnv
from harness.interop.live import LEFT
from harness.interop.turns import action_of
from trainer.rewards import reward

CORRIE = {"town": "Corrie"}
CALL = {"content": "", "calls": ({"name": "population", "arguments": '{"town": "Corrie"}'},)}


@pytest.fixture
def towns(tmp_path):
    return str(builders.write_records(tmp_path / "towns.jsonl", [builders.record(), builders.record(id="more")]))


@pytest.mark.parametrize("format", [None, "hermes", "react"])
def test_gymnasiums_checker_passes(towns, format):
    """Its complaints are warnings, which are errors here."""
    env = gymnasium.make("harness.gym:harness/Task-v0", task=towns, format=format)
    check_env(env.unwrapped)
    env.close()


def test_five_values_and_then_the_score(towns):
    env = TaskEnv(towns, "towns")
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space and CALL in env.action_space
    assert [message["role"] for message in observation["messages"]] == ["user"]
    assert info["sample"] == "towns" and '"population"' in observation["tools"]
    observation, earned, terminated, truncated, info = env.step(CALL)
    assert (earned, terminated, truncated) == (1.0, False, False)
    assert observation["messages"] == (
        {"role": "tool", "content": '{"inhabitants": 45210}', "tool_call_id": "call_0_0"},
    )
    observation, earned, terminated, truncated, info = env.step({"content": "Answer: 45,210"})
    assert (observation["messages"], earned, terminated, truncated) == ((), 0.0, True, False)
    assert (info["outcome"], info["stop"]) == ("ok", "no_tool_calls")
    assert info["scores"]["solve_f1"] == info["scores"]["answer_accuracy"] == 1.0
    env.close()


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_texts_are_read_in_the_format_that_was_named(towns, format):
    env = TaskEnv(towns, "towns", format=format)
    prompt, _ = env.reset()
    assert "How many people live in Corrie?" in prompt and "population" in prompt
    written = FORMATS[format].render([builders.call("population", CORRIE)])
    observation, earned, terminated, _, _ = env.step(written)
    assert "45210" in observation and "How many" not in observation
    assert (earned, terminated) == (1.0, False)
    assert env.step("Answer: 45210")[2:4] == (True, False)
    env.close()


@pytest.mark.parametrize("format", [None, "hermes"])
def test_an_interrupted_step_is_told_in_the_next(towns, format, monkeypatch):
    env = TaskEnv(towns, "towns", format=format)
    action = CALL if format is None else FORMATS[format].render([builders.call("population", CORRIE)])
    env.reset()
    run = env.episode.live._tools.run

    def interrupt(codes, calls):
        monkeypatch.setattr(env.episode.live._tools, "run", run)
        raise KeyboardInterrupt

    monkeypatch.setattr(env.episode.live._tools, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        env.step(action)
    observation = str(env.step(action)[0])
    assert 0 <= observation.find(LEFT) < observation.find("45210")
    assert "assistant" not in observation and "<tool_call>" not in observation
    env.close()


def test_seeds_draw_the_sample_and_options_name_it(towns):
    env = TaskEnv(towns)
    drawn = [env.reset(seed=seed)[1]["sample"] for seed in range(8)]
    assert set(drawn) == {"towns", "more"}
    assert drawn == [env.reset(seed=seed)[1]["sample"] for seed in range(8)]
    assert env.reset(options={"sample": "more"})[1]["sample"] == "more"
    env.close()


def test_bad_use_is_one_sentence(towns, tmp_path):
    for make, sentence in (
        (lambda: TaskEnv("demo_*"), "means 4 tasks"),
        (lambda: TaskEnv(towns, "none"), "has no sample 'none'"),
        (lambda: TaskEnv(towns, format="none"), "no tool format 'none'"),
        (lambda: TaskEnv("taubench_retail", data={"taubench": write_shop(tmp_path, CANCEL)}), "simulated user"),
        (lambda: TaskEnv(towns).step(CALL), "reset begins one"),
        (lambda: TaskEnv(towns).reset(options={"sample": "none"}), "has no sample 'none'"),
        (lambda: TaskEnv(towns).reset(options={"id": "town-1"}), "have a sample, not 'id'"),
        (lambda: TaskEnv(towns).reset(options={"sample": []}), r"has no sample \[\]"),
        (lambda: TaskEnv(towns, sandbox="Jail"), "'jail' or 'weak', not 'Jail'"),
        (lambda: TaskEnv(towns, max_turns=-1), "whole number of turns"),
        (lambda: TaskEnv(towns, max_turns=float("nan")), "whole number of turns"),
        (lambda: TaskEnv(towns, reward="f1"), "no metric 'f1'; it has solve_precision"),
    ):
        with pytest.raises(UsageError, match=sentence):
            make()


def test_many_environments_are_one_vector(towns):
    envs = gymnasium.vector.SyncVectorEnv([lambda: TaskEnv(towns, "towns") for _ in range(3)])
    envs.reset(seed=0)
    _, earned, *_ = envs.step({name: (said,) * 3 for name, said in CALL.items()})
    assert list(earned) == [1.0, 1.0, 1.0]
    envs.close()


def test_environments_in_processes_of_their_own_have_sandboxes_of_their_own(towns):
    """Also where this process has used its own already. Texts have no size that shared memory could be cut to."""
    make = partial(TaskEnv, towns, "towns")
    with closing(make()) as here:
        here.reset()
        assert here.step(CALL)[1] == 1.0
        envs = gymnasium.vector.AsyncVectorEnv([make, make], shared_memory=False, context="spawn")
        envs.reset(seed=0)
        _, earned, *_ = envs.step({name: (said,) * 2 for name, said in CALL.items()})
        assert list(earned) == [1.0, 1.0]
        envs.close()


@pytest.mark.slow
def test_two_hundred_recorded_episodes_score_as_in_eval(tmp_path):
    records = record_episodes(tmp_path, a_task=5)
    assert len(records) == 200 and sum(len(record["calls"]) for record in records) > 2000
    worth = reward("episode_f1").episode
    envs = {name: TaskEnv(name, reward=worth) for name in {record["task"] for record in records}}
    for record in records:
        env = envs[record["task"]]
        env.reset(options={"sample": record["sample"]})
        earned = 0.0
        for message in said(record):
            _, gain, terminated, truncated, info = env.step(action_of(message))
            earned += gain
        assert (terminated, truncated) == (record["outcome"] == "ok", record["outcome"] != "ok")
        assert info["scores"] == record["scores"]
        assert (info["outcome"], info["stop"]) == (record["outcome"], record["stop"])
        whole = worth(env.episode.sample, env.episode.trajectory, env.episode.verdict)
        assert earned == pytest.approx(whole, abs=1e-12)
    for env in envs.values():
        env.close()
