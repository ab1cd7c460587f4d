"""Whether a chat template shows a model all of a conversation, proven when it is loaded, and mended where it does not.

Marks stand in every place of short conversations: the system message, the user's turns, the tools, a call's name and
arguments, the text beside it, what a tool gave, an answer. In the prompt each must come out once, however it is
escaped; a name may come out again, because templates name what answers. A template that loses, repeats or refuses one
is mended by the fewest means that bring all of them out (prompting.Mend); what none of them mends is refused.

TRL's training variants are no means here: they lose what the templates lose that they belong to
(tests/unit/test_template_proof.py), since they are made to keep prefixes, not texts.

Left out: reasoning of earlier turns, which templates drop on purpose and --reasoning speaks of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from harness.errors import ModelFailure, UsageError
from harness.models.local.prompting import Mend, Prompter
from harness.types import Message, Tool, ToolCall

PLACES = {
    "Qsystemq": "the system message",
    "Quserq": "the user's turn",
    "Qtoolq": "the tools' names",
    "Qabouttoolq": "the tools' descriptions",
    "Qparameterq": "the tools' parameters",
    "Qcallq": "the names of calls",
    "Qkeyq": "the arguments of calls",
    "Qvalueq": "the arguments of calls",
    "Qbesideq": "the text beside a call",
    "Qoutputq": "what tools gave",
    "Qlaterq": "what a second tool gave",
    "Qanswerq": "the model's answers",
    "Qsecondq": "the user's second turn",
}
"""Each mark, and in words where it stands."""
NAMES = ("Qtoolq", "Qcallq")
TOOL = Tool(
    "Qtoolq", "Qabouttoolq", {"type": "object", "properties": {"Qparameterq": {"type": "string", "description": "?"}}}
)
SYSTEM, USER = Message("system", "Qsystemq"), Message("user", "Quserq")
CALL = ToolCall("call_0_0", "Qcallq", {"Qkeyq": "Qvalueq"}, '{"Qkeyq": "Qvalueq"}')
PLAIN = ToolCall("call_0_1", "Qcallq", {}, "{}")
OUTPUT, LATER = (
    Message("tool", "Qoutputq", tool_call_id="call_0_0"),
    Message("tool", "Qlaterq", tool_call_id="call_0_1"),
)
LAST = (Message("assistant", "Qanswerq"), Message("user", "Qsecondq"))


def _says(content: str, *calls: ToolCall) -> Message:
    return Message("assistant", content, tool_calls=calls)


CONVERSATIONS: tuple[tuple[tuple[Message, ...], tuple[Tool, ...]], ...] = (
    ((SYSTEM, USER, _says("", CALL), OUTPUT), (TOOL,)),
    ((SYSTEM, USER, _says("Qbesideq", CALL), OUTPUT, *LAST), (TOOL,)),
    ((USER, _says("", CALL), OUTPUT, *LAST), (TOOL,)),
    ((SYSTEM, USER, _says("", CALL, PLAIN), OUTPUT, LATER, *LAST), (TOOL,)),
    ((SYSTEM, USER, *LAST), ()),
)


def mend_template(prompter: Prompter) -> Prompter:
    """The prompter, with the mends that its template needs. Raises UsageError where it loses something with any."""
    lost = find_losses(prompter)
    if not lost:
        return prompter
    for mends in _candidates(takes_tools=prompter.format.converse((), ()) is None):
        mended = replace(prompter, mends=mends)
        if not find_losses(mended):
            return mended
    raise UsageError(
        f"{prompter.name}: its chat template does not show the model {', '.join(lost)}: give another with --model-arg "
        "chat_template=FILE, or another format of calls with --model-arg format=NAME."
    )


def find_losses(prompter: Prompter) -> list[str]:
    """The places whose marks do not come out once, in words."""
    places = [PLACES[mark] for messages, tools in CONVERSATIONS for mark in _lost(prompter, messages, tools)]
    return list(dict.fromkeys(places))


def _lost(prompter: Prompter, messages: Sequence[Message], tools: Sequence[Tool]) -> Iterator[str]:
    try:
        text = prompter.write(messages, tools, {}).text
    except ModelFailure:
        text = ""
    written = repr((messages, tools))
    for mark in PLACES:
        count = text.count(mark)
        if mark in written and count != 1 and not (mark in NAMES and count):
            yield mark


def _candidates(takes_tools: bool) -> list[tuple[Mend, ...]]:
    """Combinations of mends, the smallest first."""
    calls: tuple[tuple[Mend, ...], ...] = (("text_beside_calls",), ("calls_as_text",), ("protocol",))
    choices: tuple[tuple[tuple[Mend, ...], ...], ...] = (
        ((), ("system_in_user",)),
        ((), *calls) if takes_tools else ((),),
        ((), ("text_parts",)),
    )
    combined = [(*system, *call, *parts) for system, call, parts in product(*choices)]
    return sorted(combined, key=len)[1:]
