"""One environment's tools as an MCP server over stdin and stdout: the client is the model, and its calls are the turns.

Every call is a turn of its own, because MCP does not say which calls a model made together. Arguments go to the tools
as they came, without a look at the schema, as in `harness eval`. MCP has no last message, so one tool more is offered:
it takes the answer, ends the episode, is no call of the episode's, and says nothing about what was right.

Left out: HTTP; telling the client its score.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TextIO

import anyio
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

import harness
from harness.data.arguments import read_arguments, replace_surrogates
from harness.interop.live import LiveRollout
from harness.rollout import Episode, ToolRunner
from harness.types import Limits, Message, Reply, Sample, Task, Tool, ToolCall, ToolResult, Trajectory

QUESTION = "question"
ADDRESS = "harness://question"
SUBMIT = "submit_answer"
OVER = "The episode is over: nothing is run and counted any more."
TAKEN = "The answer was taken, and the episode is over."
NO_ANSWER = "The answer must be a text; nothing was taken."
LEFT = "the client left without an answer"
READ = 65536

Context = ServerRequestContext
Listing = types.PaginatedRequestParams | None


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
            call = ToolCall(f"call_{self._turns}", name, known, raw, error)
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


# --- the server ----------------------------------------------------------------------------------------------------


def server_of(session: McpSession) -> Server[Any]:
    """The server of a session: its tools, and the question as a prompt and as a resource."""
    sample = session.sample
    tools = [listed(tool) for tool in (*sample.tools, session.submit)]
    prompt = types.Prompt(name=QUESTION, description="the question, as a model is asked it")
    resource = types.Resource(uri=ADDRESS, name=QUESTION, mime_type="text/plain")

    async def list_tools(context: Context, params: Listing) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        text, failed = await session.call(params.name, params.arguments)
        return types.CallToolResult(content=[types.TextContent(text=replace_surrogates(text))], is_error=failed)

    async def list_prompts(context: Context, params: Listing) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[prompt])

    async def get_prompt(context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        if params.name != QUESTION:
            raise MCPError(types.INVALID_PARAMS, f"The only prompt is {QUESTION!r}.")
        return types.GetPromptResult(messages=[prompted(message) for message in sample.messages])

    async def list_resources(context: Context, params: Listing) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[resource])

    async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        if params.uri != ADDRESS:
            raise MCPError(types.INVALID_PARAMS, f"The only resource is {ADDRESS}.")
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=ADDRESS, text=question(sample))])

    return Server(
        "harness",
        version=harness.__version__,
        instructions=f"The prompt {QUESTION!r} and the resource {ADDRESS} hold a question that these tools can answer. "
        f"When you know the answer, call {session.submit.name}.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def listed(tool: Tool) -> types.Tool:
    return types.Tool(name=tool.name, description=tool.description, input_schema={"type": "object", **tool.parameters})


def prompted(message: Message) -> types.PromptMessage:
    """A message as a prompt has it, which knows two roles and no calls."""
    role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
    return types.PromptMessage(role=role, content=types.TextContent(text=spoken(message)))


def spoken(message: Message) -> str:
    calls = [f"{call.name}({call.raw})" for call in message.tool_calls]
    return replace_surrogates("\n".join(filter(None, [message.content, *calls])))


def question(sample: Sample) -> str:
    return "\n\n".join(spoken(message) for message in sample.messages)


# --- its wires -----------------------------------------------------------------------------------------------------


async def serve(
    task: Task, sample: Sample, limits: Limits, tools: ToolRunner, ended: Callable[[Trajectory], None]
) -> int | None:
    """Serves one episode until the client closes stdin or a signal comes; returns the signal."""
    live = LiveRollout(Episode(sample, limits=limits, task=task.name), task.environment(sample), tools)
    session = McpSession(live, sample, ended)
    server = server_of(session)
    with line_in() as (lines, hang_up), caught(hang_up) as signals:
        async with stdio_server(stdin=anyio.wrap_file(lines)) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        await session.leave()
    return signals[0] if signals else None


@contextmanager
def caught(hang_up: Callable[[], None]) -> Iterator[list[int]]:
    """Ctrl-C and a polite kill end the session as a client that leaves does; the list holds those that came."""
    signals: list[int] = []
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        signals.append(number)
        hang_up()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        yield signals
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def line_in() -> Iterator[tuple[TextIO, Callable[[], None]]]:
    """Standard input as a text file, and what ends it. A thread that reads stdin itself cannot be stopped; one that
    reads a socket can."""
    ours, theirs = socket.socketpair()

    def hang_up() -> None:
        with suppress(OSError):
            theirs.shutdown(socket.SHUT_WR)

    def pump() -> None:
        with suppress(OSError):  # hung up on this side
            while data := os.read(0, READ):
                theirs.sendall(data)
        hang_up()

    threading.Thread(target=pump, daemon=True).start()
    with ours, theirs, ours.makefile("r", encoding="utf-8", errors="replace") as lines:
        yield lines, hang_up
