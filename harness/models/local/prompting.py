"""From a ModelRequest to the text that a network reads: the model's own chat template, or a text protocol instead.

Shared by every backend that holds the template itself. The template is a program that came with the weights: it is
rendered in the sandbox of transformers, and whatever it raises costs one episode. Templates differ in what they take,
so three things are fitted to them: arguments go in as objects (Qwen2.5's would encode a string twice), call ids are
nine digits (Mistral's refuses others), and reasoning goes back under the name that the template reads. What a template
loses besides is found and mended when it is loaded (proof.py); the mends are carried out here.

A turn with a malformed call is shown to the model as the text it wrote, because no template can spell one.

Left out: documents, images; control tokens inside of messages are not defused, as they are not by the servers that
these prompts are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.data.arguments import replace_surrogates
from harness.errors import ModelFailure, UsageError
from harness.formats import Format, plain_messages
from harness.formats.plain import Render as RenderCalls
from harness.formats.plain import write_turn
from harness.models.api.chat import wire_tool
from harness.models.local.bounded import TemplateLimit
from harness.types import JSONObject, Message, ModelRequest, Reasoning, Tool, ToolCall

Render = Callable[[list[JSONObject], list[JSONObject] | None, JSONObject], str]
"""A template as a function: OpenAI's messages, OpenAI's tools or None, and what --reasoning puts in; gives the text."""

Mend = Literal["system_in_user", "text_beside_calls", "calls_as_text", "protocol", "text_parts"]
"""What is done for a template that loses something.

system_in_user     the system message begins the user's next turn, and turns of the user's that meet are one
text_beside_calls  a turn with text and calls goes in as the text that the model wrote
calls_as_text      so does every turn with calls
protocol           tools, calls and results are text in the model's format (harness/formats/plain.py)
text_parts         contents are lists of parts, as templates of models that also see take them
"""

THINKING, EFFORT = "enable_thinking", "reasoning_effort"
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Names under which templates read the reasoning of an earlier turn, the commonest first."""
OPEN_REASONING = re.compile(r"(<think>|\[THINK\])\s*\Z")
CLOSED = re.compile(r"</think>|\[/THINK\]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the network reads; `thinking`: the template has opened a block of reasoning that the network continues."""

    text: str
    thinking: bool


def switch(name: str, template: str, reasoning: Reasoning) -> JSONObject:
    """What --reasoning puts into a chat template. Raises UsageError where the template has no such switch.

    A template that knows an effort but no off (gpt-oss) thinks by itself, so `on` needs nothing there.
    """
    on_off, graded = has_variable(template, THINKING), has_variable(template, EFFORT)
    if reasoning.budget is not None:
        raise UsageError(f"{name} cannot cap its reasoning at a number of tokens: no chat template can.")
    if reasoning.effort is not None:
        if not graded:
            raise UsageError(f"{name} has no grades of reasoning: its chat template has no {EFFORT}.")
        return {EFFORT: reasoning.effort, **({THINKING: True} if on_off else {})}
    if reasoning.mode == "default":
        return {}
    if on_off:
        return {THINKING: reasoning.mode == "on"}
    if graded and reasoning.mode == "on":
        return {}
    raise UsageError(f"{name} cannot switch reasoning: its chat template has no {THINKING}.")


def has_variable(template: str, name: str) -> bool:
    """Whether a template's code, not its comments, has a name."""
    code = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    return re.search(rf"\b{name}\b", code) is not None


def reasoning_key(template: str) -> str | None:
    """Under which name a template reads earlier reasoning: message.NAME, message['NAME'] or message.get('NAME')."""
    code = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    for key in REASONING_KEYS:
        if re.search(rf"\w\.{key}\b|[\[(]\s*['\"]{key}['\"]|['\"]{key}['\"]\s+in\b", code):
            return key
    return None


@dataclass(frozen=True, slots=True)
class Prompter:
    """A chat template, as text and as a function, with the format of its calls, and what mends it. `name` is the
    model's, for errors."""

    name: str
    template: str
    render: Render
    format: Format
    mends: tuple[Mend, ...] = ()

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """See `switch`."""
        return switch(self.name, self.template, reasoning)

    def prompt(self, request: ModelRequest) -> Prompt:
        """The prompt of one turn. Raises ModelFailure where the template takes the conversation in no form."""
        messages = with_reasoning_history(request.messages, request.reasoning)
        try:
            return self.write(messages, request.tools, self.switch(request.reasoning))
        except TemplateLimit as error:
            raise ModelFailure(str(error), outcome="model_error", stop="chat_template") from None

    def write(self, messages: Sequence[Message], tools: Sequence[Tool], options: JSONObject) -> Prompt:
        """The prompt of a conversation. Raises ModelFailure where the template takes it in no form, TemplateLimit where
        it takes too long.

        What is tried, in order: turns with malformed calls as raw text; every turn with calls as raw text (templates
        that refuse more than one call a turn); every call as a call, a malformed one without arguments.
        """
        said, shown = fit_conversation(messages, tools, self.format, self.mends)
        wire = [wire_tool(tool) for tool in shown] or None
        key, trouble = reasoning_key(self.template), ""
        for as_text in (written_turns(self.mends), has_calls, never):
            try:
                chat = chat_messages(said, key, as_text, self.format.render)
                text = replace_surrogates(self.render(fit_contents(chat, self.mends), wire, options))
            except TemplateLimit:
                raise
            except Exception as error:
                trouble = trouble or f"{type(error).__name__}: {error}"
            else:
                return Prompt(text, OPEN_REASONING.search(text) is not None)
        raise ModelFailure(
            f"{self.name}: its chat template refuses this conversation: {trouble}",
            outcome="model_error",
            stop="chat_template",
        )


# --- mends -------------------------------------------------------------------------------------------------------


def fit_conversation(
    messages: Sequence[Message], tools: Sequence[Tool], family: Format, mends: Sequence[Mend]
) -> tuple[Sequence[Message], Sequence[Tool]]:
    """The messages as a template takes them, and the tools that it is to show."""
    if "protocol" in mends:
        messages, tools = plain_messages(messages, tools, family), ()
    elif (spoken := family.converse(messages, tools)) is not None:
        messages, tools = spoken, ()
    return (merge_system(messages) if "system_in_user" in mends else messages), tools


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with those of the system as turns of the user's, and with turns of the user's that meet as one."""
    merged: list[Message] = []
    for message in messages:
        said = Message("user", message.content) if message.role == "system" else message
        if said.role == "user" and merged and merged[-1].role == "user":
            said = Message("user", f"{merged.pop().content}\n\n{said.content}")
        merged.append(said)
    return merged


def fit_contents(chat: list[JSONObject], mends: Sequence[Mend]) -> list[JSONObject]:
    """A template's messages with their contents as parts, where it wants them so."""
    if "text_parts" not in mends:
        return chat
    return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in chat]


def written_turns(mends: Sequence[Mend]) -> Callable[[Message], bool]:
    """Which turns go in as the text that the model wrote: those with a malformed call, and those of a mend."""
    if "calls_as_text" in mends:
        return has_calls
    if "text_beside_calls" in mends:
        return lambda message: has_malformed_call(message) or (has_calls(message) and bool(message.content))
    return has_malformed_call


# --- history -----------------------------------------------------------------------------------------------------


def with_reasoning_history(messages: Sequence[Message], reasoning: Reasoning) -> list[Message]:
    """The messages with the reasoning that the policy lets through: none, the last assistant turn's, all."""
    spoken = [index for index, message in enumerate(messages) if message.role == "assistant"]
    kept = {"none": [], "last": spoken[-1:], "all": spoken}[reasoning.history]
    return [
        message if index in kept or message.reasoning is None else _without_reasoning(message)
        for index, message in enumerate(messages)
    ]


def _without_reasoning(message: Message) -> Message:
    raw = None if message.raw is None else after_reasoning(message.raw)
    return Message(
        message.role, message.content, None, message.tool_calls, message.tool_call_id, raw=raw, echo=message.echo
    )


def after_reasoning(raw: str) -> str:
    """What a network wrote after its reasoning; all of it where no block of reasoning was closed."""
    closed = CLOSED.search(raw)
    return raw[closed.end() :].lstrip("\n") if closed else raw


def has_malformed_call(message: Message) -> bool:
    return message.raw is not None and any(call.arguments is None for call in message.tool_calls)


def has_calls(message: Message) -> bool:
    return bool(message.tool_calls)


def never(message: Message) -> bool:
    return False


def no_text(calls: Sequence[ToolCall]) -> str:
    """For conversations whose turns have raw text, where they need any."""
    return ""


def chat_messages(
    messages: Sequence[Message], key: str | None, as_text: Callable[[Message], bool], render: RenderCalls = no_text
) -> list[JSONObject]:
    """Our messages as templates read them. `key` names the field of reasoning; `as_text` says which turns go in raw, or
    as `render` writes their calls where there is no raw text.

    A tool message answers the call it names, else the first that has no answer, and carries that call's function.
    """
    chat: list[JSONObject] = []
    turn, open_calls = 0, dict[str, tuple[str, str]]()
    for message in messages:
        if message.role == "assistant":
            calls = [_chat_call(call.name, call.arguments, turn, i) for i, call in enumerate(message.tool_calls)]
            open_calls = {
                call.id or wire["id"]: (wire["id"], call.name)
                for call, wire in zip(message.tool_calls, calls, strict=True)
            }
            turn += 1
            text = _written(message, render) if as_text(message) else None
            chat.append(_chat_turn(message, calls, key, text))
        elif message.role == "tool":
            asked = message.tool_call_id if message.tool_call_id in open_calls else next(iter(open_calls), None)
            answered, function = open_calls.pop(asked) if asked is not None else (call_id(turn, 0), "")
            chat.append({"role": "tool", "tool_call_id": answered, "name": function, "content": message.content})
        else:
            chat.append({"role": message.role, "content": message.content})
    return chat


def _written(message: Message, render: RenderCalls) -> str:
    """What a network wrote in a turn, without its reasoning."""
    return write_turn(message, render).content if message.raw is None else after_reasoning(message.raw)


def _chat_turn(message: Message, calls: list[JSONObject], key: str | None, text: str | None) -> JSONObject:
    turn: JSONObject = {"role": "assistant", "content": message.content if text is None else text}
    if key and message.reasoning:
        turn[key] = message.reasoning
    return turn if text is not None or not calls else {**turn, "tool_calls": calls}


def _chat_call(name: str, arguments: JSONObject | None, turn: int, index: int) -> JSONObject:
    function = {"name": name, "arguments": arguments or {}}
    return {"id": call_id(turn, index), "type": "function", "function": function}


def call_id(turn: int, index: int) -> str:
    """Nine letters or digits: the only ids that every template takes."""
    return f"{turn:05d}{index:04d}"[-9:]
