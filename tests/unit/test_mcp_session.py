"""A client's episode behind an MCP server, without the wires: what counts, what is said, how many at once."""

import asyncio

import builders
import pytest

pytest.importorskip("mcp", reason="needs the mcp extra")

from harness.environment import ToolEnvironment
from harness.interop.live import LiveRollout, untimed_limits
from harness.interop.mcp_server import prompted
from harness.interop.mcp_session import LEFT, OVER, McpSession, question, submit_tool
from harness.rollout import Episode
from harness.types import ToolResult


class Tools:
    """Answers with the number of calls that run at the same time."""

    def __init__(self, status="ok"):
        self.status, self.running = status, 0

    def run(self, codes, calls):
        raise NotImplementedError

    async def arun(self, codes, calls):
        self.running += 1
        await asyncio.sleep(0)
        here, self.running = self.running, self.running - 1
        return [ToolResult(self.status, str(here)) for _ in calls]


def session(tools=None, max_turns=20):
    """A session, and the list of its episodes that ended."""
    sample, ended = builders.sample(), []
    live = LiveRollout(Episode(sample, limits=untimed_limits(max_turns)), ToolEnvironment(sample), tools or Tools())
    return McpSession(live, sample, ended.append), ended


def test_calls_that_come_together_run_one_after_another():
    async def played():
        client, ended = session()
        results = await asyncio.gather(*(client.call("population", {"town": "Arden"}) for _ in range(5)))
        await client.leave()
        return results, ended

    results, [trajectory] = asyncio.run(played())
    assert results == [("1", False)] * 5
    assert [record.turn for record in trajectory.calls] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("status", "failed"), [("ok", False), ("truncated", False), ("raised", True), ("timeout", True)]
)
def test_a_call_is_an_error_where_the_tool_did_not_answer(status, failed):
    client, _ = session(Tools(status))
    assert asyncio.run(client.call("population", {}))[1] is failed


@pytest.mark.parametrize("arguments", [["a"], "a", {"x": float("nan")}, 3])
def test_arguments_that_are_no_json_object_are_malformed(arguments):
    client, ended = session()
    text, failed = asyncio.run(client.call("population", arguments))
    assert failed and text.startswith("an error occured when call population: ")
    asyncio.run(client.leave())
    assert [record.status for record in ended[0].calls] == ["malformed"]


def test_a_session_without_a_call_is_no_episode():
    client, ended = session()
    asyncio.run(client.leave())
    assert not ended


def test_the_end_is_told_once():
    client, ended = session()
    assert asyncio.run(client.call("submit_answer", {"answer": "45210"}))[1] is False
    assert asyncio.run(client.call("submit_answer", {"answer": "1204"})) == (OVER, True)
    asyncio.run(client.leave())
    [trajectory] = ended
    assert (trajectory.calls, trajectory.messages[-1].content) == ((), "Answer: 45210")
    assert LEFT not in trajectory.notes


def test_no_name_of_the_environments_is_taken():
    codes = dict.fromkeys(["submit_answer", "harness_submit_answer"], "")
    assert submit_tool(builders.sample()).name == "submit_answer"
    sample = builders.sample(
        codes={name: f"def {name}():\n    pass" for name in codes}, unsolved_set={}, tools=[], gold_calls=[]
    )
    assert submit_tool(sample).name == "harness_harness_submit_answer"


def test_a_prompt_with_turns_in_it_is_told_in_words():
    turn = builders.says("Let me see.", builders.call("population", {"town": "Arden"}))
    assert prompted(turn).role == "assistant"
    assert prompted(turn).content.text == 'Let me see.\npopulation({"town": "Arden"})'
    sample = builders.sample(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How?"}])
    assert question(sample) == "Be brief.\n\nHow?"
    assert [prompted(message).role for message in sample.messages] == ["user", "user"]
