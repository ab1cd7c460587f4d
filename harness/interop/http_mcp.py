"""MCP over HTTP, as its transport "streamable HTTP" has it: one POST a message, answered by one JSON object.

POST /mcp?task=NAME&sample=ID with `initialize` begins an episode; the id in the header Mcp-Session-Id names it from
then on, and DELETE ends it. What the client gets is that of harness.interop.mcp_session; the score is read at /state.

Left out: streams, because nothing is said that was not asked for; the handshake without sessions of 2026, from which
clients fall back to this one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

import harness
from harness.data.arguments import replace_surrogates
from harness.errors import UsageError
from harness.interop.http_text import read_text
from harness.interop.mcp_session import ADDRESS, QUESTION, McpSession, question, spoken
from harness.interop.sessions import Session, Sessions
from harness.types import JSONObject, Tool

HEADER = "Mcp-Session-Id"
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
NO_METHOD, BAD_PARAMS, BAD_REQUEST, BAD_JSON = -32601, -32602, -32600, -32700


class Refused(Exception):
    """An error in JSON-RPC's words."""

    def __init__(self, code: int, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class McpDoor:
    """The clients of MCP among the sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    async def answer(self, request: web.Request) -> web.Response:
        """One message. Raises HarnessError for a session that there is not, or that cannot be had."""
        name: object = None
        try:
            message = read_message(await read_text(request))
            name = read_id(message)
            if "id" not in message or "method" not in message:
                return web.Response(status=202)  # a notification, or an answer to what was never asked
            params = params_of(message)
            if message["method"] == "initialize":
                return await self._begin(request, name, params)
            session = self._session_of(request)
            return result(name, await self._ask(session, message["method"], params))
        except Refused as error:
            return refusal(name, error)

    async def close(self, request: web.Request) -> web.Response:
        """The client leaves."""
        await self.sessions.close(self.sessions.find(request.headers.get(HEADER)))
        return web.Response(status=204)

    async def _begin(self, request: web.Request, name: object, params: JSONObject) -> web.Response:
        asked = request.query
        session = self.sessions.open()
        try:
            offered = await session.offer_tools(asked.get("task"), asked.get("sample"))
        except Exception as error:
            await self.sessions.close(session)
            if not isinstance(error, UsageError):
                raise
            raise Refused(BAD_PARAMS, str(error), 400) from None
        version = params.get("protocolVersion")
        said: JSONObject = {
            "protocolVersion": version if version in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
            "serverInfo": {"name": "harness", "version": harness.__version__},
            "instructions": offered.instructions,
        }
        return result(name, said, {HEADER: session.id})

    def _session_of(self, request: web.Request) -> Session:
        if HEADER not in request.headers:
            raise Refused(NO_METHOD, "Only `initialize` begins a session.", 404)
        return self.sessions.find(request.headers[HEADER])

    async def _ask(self, session: Session, method: object, params: JSONObject) -> JSONObject:
        offered = session.mcp
        if offered is None:
            raise Refused(BAD_REQUEST, "This session is not one of MCP.")
        if method == "tools/call":
            if not isinstance(tool := params.get("name"), str):
                raise Refused(BAD_PARAMS, "The name of a tool is a text.")
            text, failed = await session.call(tool, params.get("arguments"))
            return {"content": [{"type": "text", "text": replace_surrogates(text)}], "isError": failed}
        return described(offered, method, params)


def described(offered: McpSession, method: object, params: JSONObject) -> JSONObject:
    """What a client may read of an episode. Raises Refused."""
    sample = offered.sample
    match method:
        case "ping":
            return {}
        case "tools/list":
            return {"tools": [listed(tool) for tool in (*sample.tools, offered.submit)]}
        case "prompts/list":
            return {"prompts": [{"name": QUESTION, "description": "the question, as a model is asked it"}]}
        case "prompts/get" if params.get("name") == QUESTION:
            return {"messages": [prompted(message.role, spoken(message)) for message in sample.messages]}
        case "resources/list":
            return {"resources": [{"uri": ADDRESS, "name": QUESTION, "mimeType": "text/plain"}]}
        case "resources/read" if params.get("uri") == ADDRESS:
            return {"contents": [{"uri": ADDRESS, "text": question(sample)}]}
        case "prompts/get" | "resources/read":
            raise Refused(BAD_PARAMS, f"The only prompt is {QUESTION!r}, and the only resource is {ADDRESS}.")
    raise Refused(NO_METHOD, "There is no such method here.")


def listed(tool: Tool) -> JSONObject:
    return {"name": tool.name, "description": tool.description, "inputSchema": {"type": "object", **tool.parameters}}


def prompted(role: str, text: str) -> JSONObject:
    """A message as a prompt has it, which knows two roles."""
    return {"role": "assistant" if role == "assistant" else "user", "content": {"type": "text", "text": text}}


def read_message(text: str) -> JSONObject:
    """Raises Refused."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(BAD_JSON, "The message is no JSON.", 400) from None
    if not isinstance(message, dict):
        raise Refused(BAD_REQUEST, "The message is no JSON object.", 400)
    return message


def read_id(message: JSONObject) -> str | float | None:
    """What an answer repeats. Raises Refused for what cannot be."""
    name = message.get("id")
    if name is None or (isinstance(name, str | int | float) and not isinstance(name, bool) and is_finite(name)):
        return name
    raise Refused(BAD_REQUEST, "The id of a message is a text, a finite number or null.", 400)


def is_finite(name: str | float) -> bool:
    return not isinstance(name, float) or math.isfinite(name)


def params_of(message: JSONObject) -> JSONObject:
    """Raises Refused."""
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise Refused(BAD_PARAMS, "The params of a message are an object.")
    return params or {}


def result(name: Any, said: JSONObject, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": name, "result": said}, headers=headers)


def refusal(name: object, error: Refused) -> web.Response:
    said = {"jsonrpc": "2.0", "id": name, "error": {"code": error.code, "message": str(error)}}
    return web.json_response(said, status=error.status)
