"""The rollout driven by hand, and its two drivers against each other."""

import asyncio

import pytest
from builders import call, sample, says

from harness.environment import ToolEnvironment
from harness.errors import ModelFailure, SandboxError, UsageError
from harness.rollout import Episode, play_episode, play_episode_async, rollout, take_turn
from harness.types import AskUser, Limits, Message, ModelRequest, Reply, RunTools, ToolResult, Usage


def begin(limits=None):
    the_sample = sample()
    episode = Episode(the_sample, limits=limits or Limits(), epoch=2, task="towns")
    steps = rollout(episode, ToolEnvironment(the_sample))
    return steps, next(steps)


def finish(steps, answer):
    with pytest.raises(StopIteration) as stop:
        steps.send(answer)
    return stop.value.value


def test_a_turn_with_calls_then_one_without():
    steps, wish = begin()
    assert isinstance(wish, ModelRequest)
    assert (wish.turn, wish.epoch, wish.task, len(wish.messages)) == (0, 2, "towns", 1)
    wish = steps.send(Reply(says("", call("population", {"town": "Brill"})), Usage(output_tokens=3, requests=1)))
    assert wish == RunTools(sample().codes, (("population", {"town": "Brill"}),))
    wish = steps.send([ToolResult("ok", "998")])
    assert wish.messages[-1] == Message("tool", "998", tool_call_id="call_0")
    assert wish.turn == 1
    ended = finish(steps, Reply(says("Answer: 998"), Usage(output_tokens=4, requests=1)))
    assert (ended.outcome, ended.stop, ended.turns) == ("ok", "no_tool_calls", 2)
    assert ended.usage == Usage(output_tokens=7, requests=2)
    assert [m.role for m in ended.messages] == ["user", "assistant", "tool", "assistant"]


def test_malformed_calls_are_answered_and_only_the_others_run():
    steps, _ = begin()
    wish = steps.send(
        Reply(says("", call("population", None, 1), call("nowhere", {}, 2), call("population", {"town": "x"}, 3)))
    )
    assert [name for name, _ in wish.calls] == ["nowhere", "population"]
    wish = steps.send([ToolResult("unknown_tool", "'nowhere'"), ToolResult("ok", "fine")])
    assert [m.content for m in wish.messages[-3:]] == [
        "an error occured when call population: the arguments are not JSON",
        "an error occured when call nowhere: 'nowhere'",
        "fine",
    ]


def test_a_turn_of_malformed_calls_only_runs_nothing():
    steps, _ = begin()
    wish = steps.send(Reply(says("", call("population", None))))
    assert isinstance(wish, ModelRequest)
    assert wish.turn == 1


def test_the_turn_limit_ends_after_the_last_turn_was_executed():
    steps, _ = begin(Limits(max_turns=1))
    steps.send(Reply(says("", call("population", {"town": "Brill"}))))
    ended = finish(steps, [ToolResult("ok", "998")])
    assert (ended.outcome, ended.stop, len(ended.calls)) == ("turn_limit", "max_turns", 1)


@pytest.mark.parametrize(
    ("reason", "outcome", "stop"),
    [
        ("length", "token_limit", "max_tokens"),
        ("content_filter", "model_error", "content_filter"),
        (None, "ok", "no_tool_calls"),
        ("stop", "ok", "no_tool_calls"),
    ],
)
def test_how_a_reply_without_calls_ends(reason, outcome, stop):
    steps, _ = begin()
    ended = finish(steps, Reply(says("so"), finish_reason=reason))
    assert (ended.outcome, ended.stop) == (outcome, stop)


def test_the_token_budget_of_an_episode():
    steps, _ = begin(Limits(max_episode_tokens=10))
    steps.send(Reply(says("", call("population", {"town": "Brill"})), Usage(output_tokens=10)))
    ended = finish(steps, [ToolResult("ok", "998")])
    assert (ended.outcome, ended.stop) == ("token_limit", "max_episode_tokens")


@pytest.mark.parametrize(
    ("error", "outcome", "stop"),
    [
        (ModelFailure("gone", outcome="infrastructure_error", stop="http_500"), "infrastructure_error", "http_500"),
        (ModelFailure("no", outcome="model_error", stop="http_401"), "model_error", "http_401"),
        (SandboxError("broken"), "infrastructure_error", "sandbox"),
    ],
)
def test_a_failure_keeps_what_was_played(error, outcome, stop):
    steps, _ = begin()
    steps.send(Reply(says("", call("population", {"town": "Brill"}))))
    steps.send([ToolResult("ok", "998")])
    with pytest.raises(StopIteration) as stopped:
        steps.throw(error)
    ended = stopped.value.value
    assert (ended.outcome, ended.stop, len(ended.calls), ended.error) == (outcome, stop, 1, str(error))


class Tools:
    """Runs nothing; answers every call alike."""

    def run(self, codes, calls):
        return [ToolResult("ok", f"{name} ran") for name, _ in calls]

    async def arun(self, codes, calls):
        await asyncio.sleep(0)
        return self.run(codes, calls)


class Talker:
    """Calls a tool twice, then stops; async or plain."""

    def __init__(self, deferred):
        self.name, self.fingerprint, self.deferred = "talker", {}, deferred

    def __call__(self, request):
        message = says("done") if request.turn == 2 else says("", call("population", {"town": "Brill"}))
        reply = Reply(message, Usage(requests=1))

        async def later():
            await asyncio.sleep(0)
            return reply

        return later() if self.deferred else reply


def play(model, limits=None, deferred=False):
    the_sample = sample()
    episode = Episode(the_sample, limits=limits or Limits())
    if deferred:
        return asyncio.run(play_episode_async(episode, ToolEnvironment(the_sample), model, Tools()))
    return play_episode(episode, ToolEnvironment(the_sample), model, Tools())


def test_both_drivers_play_the_same_episode():
    one, other = play(Talker(False)), play(Talker(True), deferred=True)
    assert (one.messages, one.calls, one.outcome, one.usage) == (
        other.messages,
        other.calls,
        other.outcome,
        other.usage,
    )
    assert one.turns == 3


@pytest.mark.parametrize("deferred", [False, True])
def test_a_model_that_breaks_costs_its_episode(deferred):
    def broken(request):
        raise ZeroDivisionError("oh")

    ended = play(broken, deferred=deferred)
    assert (ended.outcome, ended.stop, ended.error) == (
        "infrastructure_error",
        "model_exception",
        "ZeroDivisionError: oh",
    )


@pytest.mark.parametrize("deferred", [False, True])
def test_a_mistake_of_the_person_ends_the_run(deferred):
    def mistaken(request):
        raise UsageError("no such thing")

    with pytest.raises(UsageError):
        play(mistaken, deferred=deferred)


def test_no_wait_outlasts_the_episode():
    async def asleep(request):
        await asyncio.sleep(60)

    ended = play(asleep, Limits(max_episode_seconds=0.05), deferred=True)
    assert (ended.outcome, ended.stop) == ("infrastructure_error", "episode_timeout")


def test_a_turn_by_hand_is_a_step_of_the_environment():
    message = says("", call("population", {"town": "Brill"}), call("population", None, "{"))
    step = take_turn(ToolEnvironment(sample()), message, Tools(), turn=3)
    assert [(record.turn, record.status) for record in step.calls] == [(3, "ok"), (3, "malformed")]
    assert [message.role for message in step.messages] == ["tool", "tool"] and not step.done
    assert take_turn(ToolEnvironment(sample()), says("Answer: 998"), Tools()).done


def test_a_turn_by_hand_has_nobody_to_ask_and_no_tools_to_break():
    class Asking(ToolEnvironment):
        def step(self, message, turn):
            yield AskUser(())

    class Broken(Tools):
        def run(self, codes, calls):
            raise OSError("no room")

    with pytest.raises(UsageError, match="no simulated user"):
        take_turn(Asking(sample()), says("Hello?"), Tools())
    with pytest.raises(SandboxError, match="OSError: no room"):
        take_turn(ToolEnvironment(sample()), says("", call("population", {"town": "Brill"})), Broken())
