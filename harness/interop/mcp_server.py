"""One environment's tools as an MCP server over stdin and stdout, by the official package.

Left out: HTTP, which harness.interop.http_mcp has for many sessions.
"""

from __future__ import annotations

import asyncio
import json
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
from harness.data.arguments import ESCAPED_SURROGATE, replace_surrogates
from harness.interop.live import LiveRollout
from harness.interop.mcp_session import ADDRESS, QUESTION, McpSession, question, spoken
from harness.rollout import Episode, ToolRunner
from harness.types import Limits, Message, Sample, Task, Tool, Trajectory

READ = 65536

Context = ServerRequestContext
Listing = types.PaginatedRequestParams | None


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
        instructions=session.instructions,
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


# --- its wires -----------------------------------------------------------------------------------------------------


async def serve(
    task: Task, sample: Sample, limits: Limits, tools: ToolRunner, ended: Callable[[Trajectory], None]
) -> int | None:
    """Serves one episode until the client closes stdin or a signal comes; returns the signal."""
    live = LiveRollout(Episode(sample, limits=limits, task=task.name), task.environment(sample), tools)
    session = McpSession(live, sample, ended)
    server = server_of(session)
    with line_in() as (lines, hang_up), caught(hang_up) as signals:
        async with stdio_server(stdin=WholeLines(lines)) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        await session.leave()
    return signals[0] if signals else None


class WholeLines(anyio.AsyncFile[str]):
    """Lines of JSON without halves of surrogate pairs, for which the package would refuse a whole message."""

    async def readline(self) -> str:
        return replace_escaped(await super().readline())


def replace_escaped(line: str) -> str:
    """The line with every half of a pair that it spells replaced; what is no JSON is left as it is."""
    if not ESCAPED_SURROGATE.search(line):
        return line
    try:
        return replace_surrogates(json.dumps(json.loads(line), ensure_ascii=False)) + "\n"
    except (ValueError, RecursionError):
        return line


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
