"""An episode as MCP has it, without its wires: the client is the model, and its calls are the turns.

Every call is a turn of its own, because MCP does not say which calls a model made together. Arguments go to the tools
as they came, without a look at the schema, as in `harness eval`. MCP has no last message, so one tool more is offered:
it takes the answer, ends the episode, is no call of the episode's, and says nothing about what was right.

Left out: telling the client its score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.data.arguments import read_arguments, replace_surrogates
from harness.interop.live import LiveRollout
from harness.types import Message, Reply, Sample, Tool, ToolCall, ToolResult, Trajectory

QUESTION = "question"
ADDRESS = "harness://question"
SUBMIT = "submit_answer"
OVER = "The episode is over: nothing is run and counted any more."
TAKEN = "The answer was taken, and the episode is over."
NO_ANSWER = "The answer must be a text; nothing was taken."
LEFT = "the client left without an answer"


class McpSession:
    """One client's episode. `ended` is called once, when it is over; a session without any call is no episode."""

    def __init__(self, live: LiveRollout, sample: Sample, ended: Callable[[Trajectory], None]) -> None:
        self.sample = sample
        self.submit = submit_tool(sample)
        self._live = live
        self._ended = ended
        self._lock = asyncio.Lock()
        self._turns = 0

    @property
    def instructions(self) -> str:
        """What a client is told of the episode first."""
        return (
            f"The prompt {QUESTION!r} and the resource {ADDRESS} hold a question that these tools can answer. "
            f"When you know the answer, call {self.submit.name}."
        )

    @property
    def played(self) -> bool:
        """Whether the client did anything that can be scored."""
        return self._turns > 0

    async def call(self, name: str, arguments: object) -> tuple[str, bool]:
        """What a client's call gives: the text that `harness eval` would feed back, and whether it is an error's."""
        async with self._lock:
            if self._live.trajectory is not None:
                return OVER, True
            if name == self.submit.name:
                return await self._answer(arguments)
            known, raw, error = read_arguments(arguments)
            call = ToolCall(f"call_{self._turns}", replace_surrogates(name), known, raw, error)
            results = await self._say(Reply(Message("assistant", tool_calls=(call,))))
            ok = bool(results) and results[0].status in ("ok", "truncated")
            return self._live.messages[-1].content, not ok

    async def leave(self) -> None:
        """The client is gone: an episode that it began ends with what it did."""
        async with self._lock:
            if self.played and self._live.trajectory is None:
                await self._say(Reply(Message("assistant"), note=LEFT))

    async def _answer(self, arguments: object) -> tuple[str, bool]:
        answer = arguments.get("answer") if isinstance(arguments, dict) else None
        if not isinstance(answer, str):
            return NO_ANSWER, True
        await self._say(Reply(Message("assistant", f"Answer: {replace_surrogates(answer)}")))
        return TAKEN, False

    async def _say(self, reply: Reply) -> list[ToolResult]:
        self._turns += 1
        try:
            return await self._live.play_turn(reply)
        finally:
            if self._live.trajectory is not None:
                self._ended(self._live.trajectory)


def submit_tool(sample: Sample) -> Tool:
    """The tool that takes the answer, under a name that no tool of the environment has."""
    name = SUBMIT
    while name in sample.codes or any(tool.name == name for tool in sample.tools):
        name = f"harness_{name}"
    answer = {"type": "string", "description": "the final answer, and nothing but the answer"}
    parameters = {"type": "object", "properties": {"answer": answer}, "required": ["answer"]}
    return Tool(name, "Hand in the final answer to the question. This ends the episode.", parameters)


def spoken(message: Message) -> str:
    calls = [f"{call.name}({call.raw})" for call in message.tool_calls]
    return replace_surrogates("\n".join(filter(None, [message.content, *calls])))


def question(sample: Sample) -> str:
    return "\n\n".join(spoken(message) for message in sample.messages)
