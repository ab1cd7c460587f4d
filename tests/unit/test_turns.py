"""An episode played by turns: what an action may be, and that rewards add up to what the episode is worth."""

import asyncio
from dataclasses import replace

import builders
import pytest
from builders import call, says

from harness.errors import UsageError
from harness.interop.live import LEFT, shared_sandbox
from harness.interop.turns import (
    OVER,
    KeepingEnvironment,
    TurnEpisode,
    action_of,
    check_playable,
    limits_of,
    read_action,
    require_metric,
)
from harness.scoring import score
from harness.task import environment_task
from harness.types import ToolResult
from trainer.rewards import reward

CORRIE = {"town": "Corrie"}
TASK = environment_task("towns", list)


class Tools:
    """Every call finds the town."""

    def run(self, codes, calls):
        return [ToolResult("ok", '{"inhabitants": 45210}') for _ in calls]

    async def arun(self, codes, calls):
        return self.run(codes, calls)


def begun(task=TASK, max_turns=20, **options):
    return TurnEpisode(task, builders.sample(), Tools(), limits_of(task, max_turns), **options)


def test_what_a_turn_solves_is_earned_in_that_turn():
    episode = begun()
    assert [message.role for message in episode.prompt] == ["user"]
    useless = episode.play(says("", call("population", None)))
    assert (useless.reward, useless.terminated, useless.truncated) == (0.0, False, False)
    right = episode.play(says("", call("population", CORRIE, 1)))
    assert right.reward == pytest.approx(2 / 3)
    assert [message.role for message in right.messages] == ["tool"]
    again = episode.play(says("", call("population", CORRIE, 2)))
    assert again.reward == pytest.approx(2 / 4 - 2 / 3)  # a call more that solves nothing new
    last = episode.play(says("Answer: 45210"))
    assert (last.reward, last.messages, last.terminated, last.truncated) == (0.0, (), True, False)
    assert episode.verdict.scores["solve_f1"] == episode.earned == 0.5
    with pytest.raises(UsageError, match=OVER):
        episode.play(says("more"))


def test_the_trainers_reward_of_an_episode_can_be_had_by_turns():
    episode = begun(reward=reward("episode_f1").episode)
    turns = [says("", call("population", CORRIE)), says("", call("population", None, 1)), says("Answer: 45210")]
    earned = [episode.play(turn).reward for turn in turns]
    assert earned == pytest.approx([1.0, 2 / 3 - 0.1 - 1.0, 0.3])
    assert sum(earned) == reward("episode_f1").episode(builders.sample(), episode.trajectory, episode.verdict)


def test_an_episode_that_runs_out_of_turns_is_truncated_and_keeps_what_it_earned():
    episode = begun(max_turns=1)
    turn = episode.play(says("", call("population", CORRIE)))
    assert (turn.reward, turn.terminated, turn.truncated) == (1.0, False, True)
    assert turn.messages[0].content == '{"inhabitants": 45210}'


class Interrupted(Tools):
    """The first time somebody presses Ctrl-C."""

    pressed = False

    def run(self, codes, calls):
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt
        return super().run(codes, calls)


def test_what_became_of_an_interrupted_turn_is_told_after_the_next():
    episode = TurnEpisode(TASK, builders.sample(), Interrupted(), limits_of(TASK))
    with pytest.raises(KeyboardInterrupt):
        episode.play(says("", call("population", CORRIE)))
    turn = episode.play(says("", call("population", CORRIE, 1)))
    assert [(said.role, said.tool_call_id) for said in turn.messages] == [("tool", "call_0"), ("tool", "call_1")]
    assert LEFT in turn.messages[0].content and "45210" in turn.messages[1].content
    assert episode.play(says("Answer: 45210")).messages == ()


def test_async_play_is_the_same():
    episode = begun()
    assert asyncio.run(episode.play_async(says("", call("population", CORRIE)))).reward == 1.0


def test_where_only_the_end_can_be_scored_the_last_turn_earns_it_all():
    class Other(KeepingEnvironment):
        """Whatever is not a plain environment may know more at its end."""

    episode = begun(replace(TASK, environment=Other))
    assert episode.play(says("", call("population", CORRIE))).reward == 0.0
    assert episode.play(says("Answer: 45210")).reward == 1.0


def test_a_metric_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UsageError, match="no metric 'f1'; it has solve_precision"):
        begun(reward="f1").play(says(""))
    assert begun(reward="answer_accuracy").play(says("Answer: 45210")).reward == 1.0
    require_metric("answer_accuracy", TASK, builders.sample())
    with pytest.raises(UsageError, match="no metric 'f1'; it has solve_precision"):
        require_metric("f1", TASK, builders.sample())


def test_a_task_with_a_simulated_user_is_refused():
    with pytest.raises(UsageError, match="simulated user"):
        check_playable(replace(TASK, scripted_user=object()))


def test_limits_are_those_of_eval():
    assert limits_of(TASK).max_turns == 20
    assert limits_of(replace(TASK, max_turns=7)).max_turns == 7
    assert limits_of(replace(TASK, max_turns=7), 3).max_turns == 3
    for turns in (0, -1, float("nan"), 2.5, "3"):
        with pytest.raises(UsageError, match="whole number of turns"):
            limits_of(TASK, turns)


@pytest.mark.parametrize("mode", ["Jail", "none", None, ""])
def test_a_sandbox_of_no_known_mode_is_refused(mode):
    with pytest.raises(UsageError, match="'jail' or 'weak', not"):
        shared_sandbox(mode)


def test_actions_are_read_as_models_write_them():
    message = read_action({"content": "both", "calls": [{"name": "a", "arguments": {"x": 1}}, {"name": "b"}]}, 3)
    assert (message.content, [said.id for said in message.tool_calls]) == ("both", ["call_3_0", "call_3_1"])
    assert [said.arguments for said in message.tool_calls] == [{"x": 1}, {}]
    torn = read_action({"calls": ({"name": "a", "arguments": "{oops"},)}, 0).tool_calls[0]
    assert torn.arguments is None and torn.parse_error.startswith("invalid JSON")
    assert read_action(action_of(message), 3) == message
    assert read_action({}, 0) == says("")


@pytest.mark.parametrize(
    "action",
    ["text", None, {"answer": "45210"}, {"content": 1}, {"calls": "population"}, {"calls": ["population"]},
     {"calls": [{"name": 1}]}, {"calls": [{"arguments": {}}]}, {"calls": [{"name": "a", "args": {}}]}],
)  # fmt: skip
def test_what_is_no_action_is_refused_in_a_sentence(action):
    with pytest.raises(UsageError, match=r"action .*\.$"):
        read_action(action, 0)


def nested(levels):
    value = ()
    for _ in range(levels):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"x", {(1, 2): 3}, 10**5000], ids=lambda value: type(value).__name__
)
def test_arguments_that_are_no_json_are_refused_in_a_sentence(value):
    with pytest.raises(UsageError, match="are JSON, and these are not: "):
        read_action({"calls": [{"name": "a", "arguments": {"x": [value]}}]}, 0)


def test_arguments_nested_too_deeply_are_malformed_whatever_nests_them():
    action = {"calls": [{"name": "a", "arguments": {"x": nested(5000)}}]}
    assert read_action(action, 0).tool_calls[0].parse_error == "nested too deeply"


def test_the_reward_is_the_verdicts():
    episode = begun()
    episode.play(says("", call("population", CORRIE)))
    episode.play(says("I do not know."))
    assert episode.verdict.scores == {**score(builders.sample(), episode.trajectory).scores}
