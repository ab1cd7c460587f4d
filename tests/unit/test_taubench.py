"""tau-bench without a network: the three rules, the episode driven by hand, and data that is not what it should be."""

import asyncio
import json
from dataclasses import replace

import pytest
from builders import call, says
from small_shop import CANCEL, CODES, NOTHING, TOOLS, row, write_shop

from harness.errors import MissingData, ModelFailure, SandboxError, UsageError
from harness.rollout import Episode, play_episode, play_episode_async
from harness.sandbox import Sandbox
from harness.types import Message, Reply, SimulatedUser, ToolResult, Trajectory, Usage
from harness.user import USER_STOP, ScriptedUser, count_talk_only, find_role_fault
from tasks.taubench import ONE_CALL, TauEnvironment, score, tasks

CANCELS = says("", call("cancel_order", {"order_id": "A1"}))
TELLS = says("Done: you get $1,054.50 back.")


def retail(folder, *rows):
    (task,) = [task for task in tasks({"taubench": write_shop(folder, *rows)}) if task.name == "taubench_retail"]
    return task


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as tools:
        yield tools


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return retail(tmp_path_factory.mktemp("shop") / "data", CANCEL, NOTHING)


def playing(messages):
    turns = iter(messages)
    return lambda request: Reply(next(turns), Usage(requests=1))


def play(task, sandbox, sample, *messages, user=None):
    episode = Episode(sample, task=task.name, user=user or SimulatedUser(task.scripted_user))
    with sandbox.episode(sandbox.preload(task.state(sample))) as tools:
        return play_episode(episode, TauEnvironment(sample), playing(messages), tools)


def scored(task, sandbox, sample, *messages):
    return score(sample, play(task, sandbox, sample, *messages)).scores


def test_gold_is_right_by_every_rule_but_the_papers_on_outputs(task, sandbox):
    cancel, nothing = task.load()
    assert cancel.gold.message.endswith("1054.5.")
    found = scored(task, sandbox, cancel, CANCELS, says(cancel.gold.message))
    assert (found["success"], found["official_success"], found["paper_success"]) == (1.0, 1.0, 0.0)
    found = scored(task, sandbox, nothing, says("", call("get_order", {"order_id": "A3"})), says("It was delivered."))
    assert (found["success"], found["official_success"], found["paper_success"]) == (1.0, 1.0, 1.0)


def test_the_paper_looks_for_outputs_beside_calls_alone(task, sandbox):
    both = says("You get 1054.5 back.", call("cancel_order", {"order_id": "A1"}))
    found = scored(task, sandbox, task.load()[0], both, says("Bye"))
    assert (found["success"], found["official_success"], found["paper_success"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("told", "official", "strict"),
    [
        ("You get 1,054.5 dollars", 1.0, 1.0),
        ("You get $1054.50", 1.0, 1.0),
        ("You get 21054.57", 1.0, 0.0),  # a part of another number
        ("<think>1054.5</think>Done", 1.0, 0.0),  # told to nobody
        ("Done", 0.0, 0.0),
    ],
)
def test_what_counts_as_told(task, sandbox, told, official, strict):
    found = scored(task, sandbox, task.load()[0], CANCELS, says(told))
    assert (found["official_success"], found["success"]) == (official, strict)


def test_another_database_is_wrong_whatever_is_told(task, sandbox):
    sample = task.load()[0]
    more = says("", call("cancel_order", {"order_id": "A2"}))
    assert scored(task, sandbox, sample, TELLS)["official_success"] == 0.0
    assert scored(task, sandbox, sample, CANCELS, more, TELLS)["official_success"] == 0.0


def test_an_episode_that_failed_is_no_success(task, sandbox):
    sample = task.load()[1]
    good = play(task, sandbox, sample, says("Delivered."))
    for outcome, paper in (("turn_limit", 1.0), ("model_error", 0.0), ("infrastructure_error", 0.0)):
        found = score(sample, replace(good, outcome=outcome)).scores
        assert (found["success"], found["official_success"], found["paper_success"]) == (0.0, 0.0, paper)


def test_a_state_that_was_lost_equals_nothing(task):
    sample = task.load()[1]
    gone = Trajectory((), (), 0, "ok", "user_stop", Usage(), {}, facts={"state": None, "gold_state": None})
    assert score(sample, gone).scores["official_success"] == 0.0
    assert score(sample, replace(gone, facts={})).scores["paper_success"] == 0.0


def test_both_drivers_play_the_same_episode(task, sandbox):
    sample = task.load()[0]

    async def beside():
        episode = Episode(sample, task=task.name, user=SimulatedUser(task.scripted_user))
        with sandbox.episode(sandbox.preload(task.state(sample))) as tools:
            return await play_episode_async(episode, TauEnvironment(sample), playing([CANCELS, TELLS]), tools)

    one, other = play(task, sandbox, sample, CANCELS, TELLS), asyncio.run(beside())
    assert replace(one, seconds={}) == replace(other, seconds={})
    assert one.user_usage == Usage(requests=2)
    assert set(one.seconds) == {"total", "model", "tools", "user"}


def test_malformed_and_further_calls_are_answered_without_being_run(task, sandbox):
    sample = task.load()[1]
    torn = says("", call("cancel_order", None), call("cancel_order", {"order_id": "A1"}, 1))
    ended = play(task, sandbox, sample, torn, says("Sorry."))
    assert [record.status for record in ended.calls] == ["malformed", "raised"]
    assert ONE_CALL in ended.calls[1].output
    assert score(sample, ended).scores["official_success"] == 1.0


def test_who_has_no_user_to_play_is_told(task, sandbox):
    sample = task.load()[0]
    with (
        sandbox.episode(sandbox.preload(task.state(sample))) as tools,
        pytest.raises(UsageError, match="simulated user"),
    ):
        play_episode(Episode(sample, task=task.name), TauEnvironment(sample), playing([TELLS]), tools)


def test_the_task_is_another_when_instruction_outputs_or_database_are(tmp_path):
    from harness.data.records import fingerprint

    first = fingerprint(retail(tmp_path / "a", CANCEL).load())
    assert fingerprint(retail(tmp_path / "b", CANCEL).load()) == first
    assert fingerprint(retail(tmp_path / "c", {**CANCEL, "outputs": ["7"]}).load()) != first
    assert fingerprint(retail(tmp_path / "d", {**CANCEL, "instruction": "You are Eve."}).load()) != first
    other = write_shop(tmp_path / "e", CANCEL)
    (other / "retail" / "orders.json").write_text("{}", encoding="utf-8")
    assert fingerprint(tasks({"taubench": other})[1].load()) != first


class Breaking:
    """A sandbox that runs tools and breaks when it is asked for the state."""

    def run(self, codes, calls):
        return [ToolResult("ok", "cancelled")] * len(calls)

    def state_digest(self):
        raise SandboxError("the launcher died twice")


def test_a_state_that_cannot_be_had_is_infrastructure_unless_something_failed_before(task):
    sample = task.load()[0]
    episode = Episode(sample, task=task.name, user=SimulatedUser(task.scripted_user))
    ended = play_episode(episode, TauEnvironment(sample), playing([CANCELS, TELLS]), Breaking())
    assert (ended.outcome, ended.stop, len(ended.calls)) == ("infrastructure_error", "sandbox", 1)

    def failing(request):
        raise ModelFailure("no", outcome="model_error", stop="http_400")

    ended = play_episode(episode, TauEnvironment(sample), failing, Breaking())
    assert (ended.outcome, ended.stop) == ("model_error", "http_400")


def test_what_a_failing_user_took_is_counted_as_its_own(task, sandbox):
    class Failing(ScriptedUser):
        def __call__(self, request):
            if request.turn:
                raise ModelFailure("no", outcome="token_limit", stop="context_length", usage=Usage(requests=1))
            return super().__call__(request)

    ended = play(task, sandbox, task.load()[0], CANCELS, TELLS, user=SimulatedUser(Failing()))
    assert (ended.outcome, ended.stop) == ("infrastructure_error", "user_context_length")
    assert (ended.usage.requests, ended.user_usage.requests) == (2, 2)
    assert ended.facts["state"] == ended.facts["gold_state"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tasks.jsonl", json.dumps({**CANCEL, "instruction": ""}), "no instruction"),
        ("tasks.jsonl", json.dumps({**CANCEL, "outputs": "7"}), "outputs must be"),
        ("tasks.jsonl", json.dumps({**CANCEL, "actions": [{"name": "x"}]}), "actions must be"),
        ("tasks.jsonl", json.dumps({**CANCEL, "data_source": "else"}), "no rows whose data_source"),
        ("retail/orders.json", "{", "cannot be read as JSON"),
        ("retail/codes.json", json.dumps({"get_order": CODES["get_order"]}), "has no code"),
        ("retail/tools.json", json.dumps({"tools": TOOLS}), "must be a JSON array"),
    ],
)
def test_broken_data_is_one_sentence(tmp_path, name, content, told):
    folder = write_shop(tmp_path / "data")
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        tasks({"taubench": folder})[1].load()


@pytest.mark.parametrize("name", ["tasks.jsonl", "retail/wiki.md", "retail/tools.json", "retail/codes.json"])
def test_a_missing_file_is_missing_data(tmp_path, name):
    folder = write_shop(tmp_path / "data")
    (folder / name).unlink()
    with pytest.raises(MissingData, match=str(folder / name)):
        tasks({"taubench": folder})[1].load()


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ("How may I assist you today?", False),
        ("Thank you for reaching out. Your refund is on its way.", False),
        ("As an AI I cannot have orders.", False),
        ("<tool_call>{}</tool_call>", False),
        ("Thanks, could you help me with something else?", True),
        ("How can you help me?", True),
        (USER_STOP, True),
    ],
)
def test_what_breaks_a_customers_role(said, role):
    assert (find_role_fault(Reply(Message("assistant", said)), said) is None) is role


def test_a_customer_that_calls_or_is_cut_breaks_its_role():
    assert "tool" in find_role_fault(Reply(CANCELS), "x")
    assert "cut off" in find_role_fault(Reply(says("I want"), finish_reason="length"), "I want")


def test_mere_talk_is_counted_from_the_end():
    talk = [says("a"), Message("user", "b"), says("c"), Message("user", "d")]
    assert count_talk_only([CANCELS, Message("tool", "x"), *talk]) == 2
    assert count_talk_only([*talk, CANCELS, Message("tool", "x")]) == 0


def test_the_scripted_customer_says_everything_and_stops(task):
    sample = task.load()[0]
    user = SimulatedUser(ScriptedUser())
    request = type("Request", (), {"turn": 0, "sample": sample})
    assert user.model(request).message.content == CANCEL["instruction"]
    request.turn = 1
    assert user.model(request).message.content == USER_STOP


def test_rows_keep_their_place_in_the_file(tmp_path):
    away = {**row("Elsewhere."), "data_source": "tau-bench/airline"}
    samples = retail(tmp_path / "data", away, CANCEL, NOTHING).load()
    assert [(sample.id, sample.metadata["line"]) for sample in samples] == [("retail-0", 1), ("retail-1", 2)]
