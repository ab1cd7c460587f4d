"""Reference policies: what a score is worth is seen beside the scores of those who do nothing, guess or cheat.

oracle   plays the gold calls, one a turn, then gives the gold message or states the answer: what a perfect player gets
silent   never calls a tool: what doing nothing gets
random   calls random tools with random schema-valid arguments, seeded: what not understanding gets
shotgun  calls every tool with the question's quoted or capitalised spans: what spelling gets without thinking
echo     is told the sub-answers and hides them in arguments: what a tool that repeats its input gives away
keyword  matches words of the question with those of the tools, over several turns: what a bag of words gets
retry    the oracle where tools fail on purpose: it repeats a call until its tool answers, leaves a tool alone that
         refused permission, and then says that it cannot answer

They are functions of the request alone (sample and turn), so that a resumed run equals an undisturbed one.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from harness.data.messages import question_of
from harness.data.schema_values import (
    RandomValues,
    declared_parameters,
    enum_values,
    is_date,
    plain_value,
    required_parameters,
    resolve_schema,
    schema_type,
)
from harness.errors import UsageError
from harness.models import ModelOptions
from harness.models.keyword import PolicyCall, keyword
from harness.tool_faults.draws import DEAD
from harness.tool_faults.texts import read_fault
from harness.types import FaultKind, JSONObject, Message, Model, ModelRequest, Reply, Sample, Tool, ToolCall, Usage

HELP = "policy/NAME plays a reference policy: oracle, silent, random, shotgun, echo, keyword, retry"
ARGS = ()
FREE = True
POLICY = True

SPAN = re.compile(
    r'"([^"]+)"|“([^”]{1,500})”|\'([^\']+)\'(?!\w)'
    r"|\b([A-Z][\w&.-]*(?:[ -](?:of |the |de )?[A-Z0-9][\w&.-]*)*)"
)
NUMBER_PATTERN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
MOST_CALLS = 1000
"""Of a turn: four times what the sandbox runs of one."""
UNANSWERED = "This cannot be answered, because a tool that it needs refused permission."
STOP_PROBABILITY = 0.2
"""After each of its turns `random` stops with this probability: five calls an episode on average."""


def load(name: str, options: ModelOptions) -> Policy:
    """Policies take no arguments; --seed seeds `random`."""
    return Policy(name, options.seed or 0)


class Policy(Model):
    """A reference policy as a model."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = f"policy/{name}"
        self.fingerprint: JSONObject = {"backend": "policy", "name": name, "version": 1}
        if name == "random":
            self.fingerprint["seed"] = seed
        self._play = POLICIES[name]
        self._seed = seed

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises UsageError where an oracle has nothing to play."""
        if self.name not in ("policy/oracle", "policy/retry"):
            return
        missing = [sample for sample in samples if sample.gold.calls is None]
        if missing:
            raise UsageError(
                f"{self.name} plays gold_calls, and {len(missing)} of {len(samples)} samples have none "
                f"(the first is {missing[0].id!r}); leave the oracle out for these tasks."
            )

    def __call__(self, request: ModelRequest) -> Reply:
        calls, text = self._play(request, self._seed)
        said = tuple(
            ToolCall(f"call_{request.turn}_{index}", name, arguments, json.dumps(arguments, ensure_ascii=False))
            for index, (name, arguments) in enumerate(calls)
        )
        return Reply(Message("assistant", text, tool_calls=said), Usage(requests=1))


def oracle(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """The gold calls in their order, one a turn or as the gold has its turns; then the gold message or, without one, an
    answer line."""
    gold = request.sample.gold
    turns = [(call,) for call in gold.calls or ()] if gold.turns is None else gold.turns
    if request.turn < len(turns) and turns[request.turn]:
        return [(call.name, call.arguments) for call in turns[request.turn]], ""
    return [], f"Answer: {gold.answer}" if gold.message is None else gold.message


def retry(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """As the oracle, but calls that failed for a passing reason are made again, until none of a turn's has."""
    settled = 0
    again: list[PolicyCall] = []
    dead: set[str] = set()
    for calls in _calls_made(request.messages)[-request.turn :] if request.turn else []:
        again = [call for call, fault in calls if fault not in (None, DEAD)]
        dead |= {name for (name, _), fault in calls if fault == DEAD}
        settled += not again
        while not again and _needs_only(dead, request, settled):
            settled += 1
    if again:
        return again, ""
    calls_due, text = oracle(replace(request, turn=settled), seed)
    return calls_due, text if calls_due or not dead else UNANSWERED


def _needs_only(dead: Collection[str], request: ModelRequest, turn: int) -> bool:
    """Whether the oracle's turn has calls, and all of them are of these tools."""
    calls, _ = oracle(replace(request, turn=turn), 0)
    return bool(calls) and all(name in dead for name, _ in calls)


def _calls_made(messages: Sequence[Message]) -> list[list[tuple[PolicyCall, FaultKind | None]]]:
    """The calls of each turn so far, with how they failed on purpose."""
    turns: list[list[tuple[PolicyCall, FaultKind | None]]] = []
    outputs = {message.tool_call_id: message.content for message in messages if message.role == "tool"}
    for message in messages:
        if message.role == "assistant":
            made = [(call.name, call.arguments or {}, outputs.get(call.id, "")) for call in message.tool_calls]
            turns.append([((name, arguments), read_fault(output)) for name, arguments, output in made])
    return turns


def silent(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """Nothing."""
    return [], ""


def randomly(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """One call of a random tool a turn, with random valid arguments; stops at random."""
    source = random.Random(f"{seed}:{request.task}:{request.sample.id}:{request.epoch}:{request.turn}")
    if not request.tools or (request.turn and source.random() < STOP_PROBABILITY):
        return [], ""
    tool = source.choice(list(request.tools))
    values = RandomValues(source, re.findall(r"\w+", question_of(request.sample)))
    return [(tool.name, values.arguments(tool))], ""


def shotgun(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """Every tool, in one turn, once for each span: the required strings take the spans in turn."""
    if request.turn:
        return [], ""
    text = question_of(request.sample)
    found = find_spans(text) or ["x"]
    shots = (
        (tool.name, fill_arguments(tool, found, shift, text)) for tool in request.tools for shift in range(len(found))
    )
    calls = list(islice(shots, MOST_CALLS))
    return [call for index, call in enumerate(calls) if call not in calls[:index]], ""


def fill_arguments(tool: Tool, found: Sequence[str], shift: int, text: str) -> JSONObject:
    """Required arguments without understanding them: strings take the spans in turn, `shift` further; the rest is by
    its type."""
    arguments: JSONObject = {}
    strings, declared = 0, declared_parameters(tool)
    for name in required_parameters(tool):
        schema = resolve_schema(declared[name])
        if schema_type(schema) == "string" and not enum_values(schema) and not is_date(schema):
            arguments[name] = found[(shift + strings) % len(found)]
            strings += 1
        else:
            arguments[name] = _by_type(schema, text, shift)
    return arguments


def _by_type(schema: JSONObject, text: str, shift: int) -> Any:
    """The question's own numbers and dates where there are any, else the dullest value that fits."""
    if (
        not enum_values(schema)
        and schema_type(schema) in ("integer", "number")
        and (numbers := NUMBER_PATTERN.findall(text))
    ):
        value = float(numbers[shift % len(numbers)].replace(",", ""))
        return int(value) if schema_type(schema) == "integer" else value
    if is_date(schema) and (dates := DATE.findall(text)):
        return dates[shift % len(dates)]
    return plain_value(schema)


def echo(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """For every sub-answer: whole in each declared parameter, whole as an undeclared one, split over two of either."""
    if request.turn:
        return [], ""
    tools = {tool.name: tool for tool in request.tools}
    answers = request.sample.gold.sub_answers
    calls = (
        (name, arguments)
        for name in answers
        if name in tools
        for answer in answers[name]
        for arguments in _echoes(tools[name], answer)
    )
    return list(islice(calls, MOST_CALLS)), ""


def _echoes(tool: Tool, answer: str) -> Iterator[JSONObject]:
    schemas = declared_parameters(tool)
    declared = list(schemas)
    defaults = {name: plain_value(schemas[name]) for name in required_parameters(tool)}
    for name in declared:
        yield {**defaults, name: answer}
    yield {**defaults, answer: answer}
    yield {answer: 1}
    first, second = _halves(answer)
    if second and len(declared) > 1:
        yield {**defaults, declared[0]: first, declared[1]: second}
    if second:
        yield {**defaults, first: first, second: second}


def _halves(answer: str) -> tuple[str, str]:
    """An answer cut in two: at the middle space, or in the middle of its only word."""
    words = answer.split(" ")
    if len(words) > 1:
        middle = len(words) // 2
        return " ".join(words[:middle]), " ".join(words[middle:])
    return answer[: len(answer) // 2], answer[len(answer) // 2 :]


def find_spans(text: str) -> list[str]:
    """Quoted or capitalised spans of a text, in order, without repeats."""
    found = (next(part for part in match if part).strip(" .") for match in SPAN.findall(text))
    return list(dict.fromkeys(span for span in found if span))


POLICIES: dict[str, Callable[[ModelRequest, int], tuple[list[PolicyCall], str]]] = {
    "oracle": oracle,
    "silent": silent,
    "random": randomly,
    "shotgun": shotgun,
    "echo": echo,
    "keyword": keyword,
}
NAMES = tuple(POLICIES)
POLICIES["retry"] = retry
MORE = ("retry",)
