"""An episode in which somebody else speaks: what happens when they stop, or when the tools do."""

import asyncio
from dataclasses import replace

import builders
import pytest
from builders import call, says

from harness.environment import ToolEnvironment
from harness.errors import ModelFailure, SandboxError
from harness.interop.live import LEFT, LiveRollout, is_plain_episode, untimed_limits
from harness.rollout import Episode
from harness.task import environment_task
from harness.types import Reply, ToolResult
from tasks.demo import tasks as demo

CORRIE = {"town": "Corrie"}


class Tools:
    """Runs nothing: every call gives the same text, or whatever `during` does happens first."""

    def __init__(self, during=None):
        self.during = during

    def run(self, codes, calls):
        raise NotImplementedError

    async def arun(self, codes, calls):
        if self.during:
            await self.during()
        return [ToolResult("ok", "45210") for _ in calls]


def live(tools=None, max_turns=20):
    sample = builders.sample()
    return LiveRollout(Episode(sample, limits=untimed_limits(max_turns)), ToolEnvironment(sample), tools or Tools())


def say(episode, *calls, text=""):
    return asyncio.run(episode.play_turn(Reply(says(text, *calls))))


def test_a_turn_is_answered_before_the_next():
    episode = live()
    assert [message.role for message in episode.messages] == ["user"]
    assert say(episode, call("population", CORRIE)) == [ToolResult("ok", "45210")]
    assert [message.role for message in episode.messages] == ["user", "assistant", "tool"]
    assert say(episode, call("population", None)) == []
    assert episode.messages[-1].content.startswith("an error occured when call population")
    assert episode.trajectory is None
    assert say(episode, text="Answer: 45210") == []
    assert (episode.trajectory.outcome, episode.trajectory.turns) == ("ok", 3)
    assert episode.messages == episode.trajectory.messages


def test_the_last_turns_outputs_are_there_when_the_limit_ends_the_episode():
    episode = live(max_turns=1)
    say(episode, call("population", CORRIE))
    assert (episode.trajectory.outcome, episode.messages[-1].content) == ("turn_limit", "45210")


def test_calls_whose_caller_is_cancelled_count_as_killed_and_the_episode_goes_on():
    async def played():
        running = asyncio.Event()

        async def forever():
            running.set()
            await asyncio.sleep(3600)

        episode = live(Tools(forever))
        turn = asyncio.create_task(
            episode.play_turn(Reply(says("", call("population", CORRIE), call("population", None))))
        )
        await running.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert episode.trajectory is None
        await episode.play_turn(Reply(says("I give up.")))
        return episode.trajectory

    trajectory = asyncio.run(played())
    assert [record.status for record in trajectory.calls] == ["killed", "malformed"]
    assert trajectory.calls[0].output.endswith(LEFT)
    assert (trajectory.outcome, trajectory.turns) == ("ok", 2)


@pytest.mark.parametrize("error", [SandboxError("the launcher died"), OSError("no more processes")])
def test_a_sandbox_that_breaks_ends_the_episode_and_its_calls_are_counted(error):
    async def breaks():
        raise error

    episode = live(Tools(breaks))
    assert say(episode, call("population", CORRIE)) == []
    assert (episode.trajectory.outcome, episode.trajectory.stop) == ("infrastructure_error", "sandbox")
    assert str(error) in episode.trajectory.error
    assert [record.status for record in episode.trajectory.calls] == ["killed"]


def test_a_failure_keeps_what_was_done_and_comes_once():
    episode = live()
    say(episode, call("population", CORRIE))
    episode.end_with_failure(ModelFailure("too long", outcome="token_limit", stop="context_length"))
    episode.end_with_failure(ModelFailure("again", outcome="infrastructure_error", stop="again"))
    assert (episode.trajectory.outcome, episode.trajectory.stop) == ("token_limit", "context_length")
    assert len(episode.trajectory.calls) == 1


def test_only_a_prompt_with_tools_is_plain():
    sample, task = builders.sample(), environment_task("towns", list)
    assert is_plain_episode(task, sample)
    assert all(is_plain_episode(task, sample) for task in demo({}) for sample in task.load())

    class Other(ToolEnvironment):
        pass

    for change in ({"environment": Other}, {"state": lambda sample: "{}"}, {"scripted_user": lambda request: None}):
        assert not is_plain_episode(replace(task, **change), sample)
