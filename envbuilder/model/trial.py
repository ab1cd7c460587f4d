"""Runs a tool that a model wrote, in the sandbox, and accepts it only when its answers depend on what it is asked.

A gold call must surface its sub-answer by the strict verifier. Calls with wrong arguments must not: with every value
changed, with every value changed that is not a choice, with the value changed that passes an earlier answer on, with
defaults, with nothing, with the arguments of another sub-question. Left out: proof that the tool is right about
anything else; no probe can find a tool that was written to know them.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from envbuilder.audit.arguments import Sentinels
from envbuilder.model.author import InvalidReply
from envbuilder.model.checks import (
    ancestors,
    mentions,
    output_solves,
    passes_answer_on,
    schema_trouble,
    states_answer,
)
from envbuilder.model.effects import base_calls, changed_calls, is_extra
from envbuilder.records import Document, HopCall, Scenario
from harness.data.schema_values import plain_value
from harness.sandbox import Sandbox
from harness.scoring import paper, strict
from harness.types import CallRecord, CallStatus, JSONObject, ToolCall, ToolResult

DENIED = ("[Errno 1]", "[Errno 13]", "[Errno 2]")
"""How the jail's refusals begin: not permitted, permission denied, no such file."""
FAULTS: Mapping[CallStatus, tuple[str, str]] = {
    "raised": ("raised", "it raised an exception"),
    "timeout": ("timeout", "it did not return in time"),
    "killed": ("killed", "its process was ended"),
    "truncated": ("too_long", "its output is too long"),
    "unknown_tool": ("no_function", "there is no such function"),
    "refused": ("too_much", "the calls before it had used up what tools may use"),
}
SHOWN_OUTPUT = 200
WIDEST_RANGE = 10**9
"""Limits of a parameter that are further apart than this are no limits."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A call with wrong arguments: what is wrong with them, and the reason when they give the answer all the same."""

    reason: str
    what: str
    arguments: JSONObject


class ToolTrial:
    """Tools are run in `sandbox`, each in an episode of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def check_gold_tool(
        self, scenario: Scenario, document: Document, source: str, calls: Sequence[HopCall]
    ) -> None:
        """Accepts the code of a tool that serves sub-questions. Raises InvalidReply."""
        for call in calls:
            output = await self._right(document, source, call, scenario.hops[call.solves].answer)
            refuse_others(scenario, call, output)
        for call in calls:
            for probe in make_probes(scenario, document, call, calls):
                await self._wrong(document, source, call, probe, scenario.hops[call.solves].answer)
        await self._check_effects(document, source, [call.arguments for call in calls])

    async def check_distractor(
        self, scenario: Scenario, document: Document, source: str, example: JSONObject | None
    ) -> None:
        """Accepts the code of a tool that serves none: it works for its example, and does not answer."""
        if example is None:
            raise InvalidReply("example", 'there must be an "example": the arguments of a call that returns data.')
        if trouble := schema_trouble(document.parameters, example):
            raise InvalidReply("example", f"the example does not fit the document: {trouble}")
        for arguments in (defaults(document), example):
            result = await self._run(document, source, arguments)
            refuse_danger(result, arguments)
            if result.status != "ok":
                raise InvalidReply(*fault(result, arguments))
            for index, hop in enumerate(scenario.hops):
                if mentions(result.output, hop.answer) and not mentions(json.dumps(arguments), hop.answer):
                    sentence = f"{said(arguments)} gives {hop.answer!r}, the answer of sub-question {index}."
                    raise InvalidReply("answers", sentence)
        if strict.is_error("ok", result.output):
            raise InvalidReply("example", f"the example gives the error {shown(result.output)}, and must give data.")
        await self._check_effects(document, source, [example])

    async def check_gold_calls(self, scenario: Scenario, codes: Mapping[str, str], calls: Sequence[HopCall]) -> None:
        """The proof of the whole environment: its gold calls, in one episode, solve every sub-answer."""
        with self._sandbox.episode() as episode:
            results = await episode.arun(codes, [(call.name, call.arguments) for call in calls])
        wanted: dict[str, list[str]] = {}
        for call in calls:
            wanted.setdefault(call.name, []).append(scenario.hops[call.solves].answer)
        records = [record_of(call, result) for call, result in zip(calls, results, strict=True)]
        if None in strict.solves(records, wanted):
            raise InvalidReply("replay", "the gold calls, played one after the other, do not solve every sub-question.")

    async def _right(self, document: Document, source: str, call: HopCall, answer: str) -> str:
        result = await self._run(document, source, call.arguments)
        refuse_danger(result, call.arguments)
        if result.status != "ok":
            raise InvalidReply(*fault(result, call.arguments))
        if strict.is_error("ok", result.output):
            sentence = f"{said(call.arguments)} gives the error {shown(result.output)}, and must give {answer!r}."
            raise InvalidReply("error_output", sentence)
        if not output_solves(call, result.output, answer) or not paper.contains(result.output, answer):
            sentence = f"{said(call.arguments)} gives {shown(result.output)}, which does not state {answer!r}."
            raise InvalidReply("wrong_answer", sentence)
        return result.output

    async def _wrong(self, document: Document, source: str, call: HopCall, probe: Probe, answer: str) -> None:
        result = await self._run(document, source, probe.arguments)
        refuse_danger(result, probe.arguments)
        if not mentions(result.output, answer) or mentions(json.dumps(probe.arguments), answer):
            return
        if result.status != "ok" or strict.is_error("ok", result.output):
            raise InvalidReply("leak", f"{said(probe.arguments)} gives an error that states {answer!r}, an answer.")
        sentence = f"{said(probe.arguments)}, with {probe.what}, still gives {answer!r}: it must depend on them."
        raise InvalidReply(probe.reason, sentence)

    async def _check_effects(self, document: Document, source: str, calls: Sequence[JSONObject]) -> None:
        """Every parameter matters: some other valid value of it gives another output."""
        await self._check_echo(document, source, calls)
        bases = base_calls(document, calls)
        usual = [result.output for result in await self._run_all(document, source, bases)]
        for name, schema in document.parameters["properties"].items():
            tried = [(n, changed) for n, base in enumerate(bases) for changed in changed_calls(document, base, name)]
            results = await self._run_all(document, source, [changed for _, changed in tried])
            for (_, changed), result in zip(tried, results, strict=True):
                refuse_broken(name, schema, changed, result)
            same = [result.output == usual[n] for (n, _), result in zip(tried, results, strict=True)]
            if same and all(same):
                sentence = f"{said(tried[0][1])} gives what it gives with other values of {name!r}: {name} is ignored."
                raise InvalidReply("ignored", sentence)

    async def _check_echo(self, document: Document, source: str, calls: Sequence[JSONObject]) -> None:
        """No parameter comes back in a result that is no error: who returns what it is given answers everything."""
        for base in (*calls, defaults(document)):
            for name, schema in document.parameters["properties"].items():
                sentinels = Sentinels()
                changed = {**base, name: sentinels.make_value(schema)}
                result = await self._run(document, source, changed)
                if result.status != "ok" or strict.is_error("ok", result.output):
                    continue
                if text := next((text for text in sentinels.texts if mentions(result.output, text)), None):
                    sentence = f"{said(changed)} gives {text!r} back, which is the argument {name!r}."
                    raise InvalidReply("echo", sentence)

    async def _run(self, document: Document, source: str, arguments: JSONObject) -> ToolResult:
        return (await self._run_all(document, source, [arguments]))[0]

    async def _run_all(self, document: Document, source: str, many: Sequence[JSONObject]) -> list[ToolResult]:
        with self._sandbox.episode() as episode:
            return await episode.arun({document.name: source}, [(document.name, arguments) for arguments in many])


def record_of(call: HopCall, result: ToolResult) -> CallRecord:
    said = ToolCall("", call.name, call.arguments, json.dumps(call.arguments))
    return CallRecord(0, said, result.status, result.output)


def refuse_danger(result: ToolResult, arguments: JSONObject) -> None:
    """What no call may do, whatever its arguments are: hang, die, or reach for what the jail denies."""
    if result.status == "raised" and result.output.startswith(DENIED):
        raise InvalidReply("unsafe", f"{said(arguments)} reached for something outside: {shown(result.output)}.")
    if result.status in ("timeout", "killed"):
        raise InvalidReply(*fault(result, arguments))


def refuse_others(scenario: Scenario, call: HopCall, output: str) -> None:
    """A gold call gives no answer of a sub-question that comes later or stands apart."""
    known = " ; ".join([scenario.hops[call.solves].answer, json.dumps(call.arguments)])
    before = {call.solves, *ancestors(scenario, call.solves)}
    for index, hop in enumerate(scenario.hops):
        if index not in before and states_answer(output, hop.answer) and not mentions(known, hop.answer):
            sentence = f"{said(call.arguments)} also gives {hop.answer!r}, the answer of sub-question {index}."
            raise InvalidReply("leak", sentence)


def refuse_broken(name: str, schema: JSONObject, arguments: JSONObject, result: ToolResult) -> None:
    """A valid value of a parameter may find nothing, but it raises nothing; and what only adds finds what was there."""
    refuse_danger(result, arguments)
    if result.status != "ok":
        raise InvalidReply(*fault(result, arguments))
    if is_extra(name, schema) and strict.is_error("ok", result.output):
        raise InvalidReply("promise", f"{said(arguments)} gives the error {shown(result.output)}: {name} only adds.")


def fault(result: ToolResult, arguments: JSONObject) -> tuple[str, str]:
    reason, what = FAULTS[result.status]
    return reason, f"{said(arguments)}: {what} ({shown(result.output)})."


def said(arguments: JSONObject) -> str:
    return f"the call with {shown(json.dumps(arguments, ensure_ascii=False))}"


def shown(text: str) -> str:
    return text if len(text) <= SHOWN_OUTPUT else f"{text[:SHOWN_OUTPUT]}..."


# --- wrong arguments ---------------------------------------------------------------------------------------------


def make_probes(scenario: Scenario, document: Document, call: HopCall, calls: Sequence[HopCall]) -> Iterator[Probe]:
    """Calls of a tool that must not give the answer of its gold call, each unlike the gold call."""
    found = [
        Probe("constant", "every value changed", change_arguments(document, call, call.arguments, n)) for n in range(3)
    ]
    free = [name for name in call.arguments if not is_choice(property_of(document, name))]
    found += [
        Probe("constant", "every value changed but choices", change_arguments(document, call, free, n))
        for n in range(2)
    ]
    found += list(order_probes(scenario, document, call))
    found += [
        Probe("constant", f"the arguments of sub-question {other.solves}", other.arguments)
        for other in calls
        if other.name == call.name and other.solves != call.solves
    ]
    if all(probe.arguments == call.arguments for probe in found):
        raise InvalidReply("constant", f"{said(call.arguments)} has nothing in it that could be wrong.")
    yield from (probe for probe in found if probe.arguments != call.arguments)
    yield Probe("default", "no arguments", {})
    yield Probe("default", "dull default arguments", defaults(document))
    for name in document.parameters["required"]:
        if isinstance(call.arguments[name], str) and not is_choice(property_of(document, name)):
            yield Probe("default", f"no text for {name}", {**call.arguments, name: ""})


def order_probes(scenario: Scenario, document: Document, call: HopCall) -> Iterator[Probe]:
    for earlier in scenario.hops[call.solves].depends_on:
        answer = scenario.hops[earlier].answer
        passing = [name for name, value in call.arguments.items() if passes_answer_on(value, answer)]
        for salt in range(2):
            what = f"another value for {' and '.join(passing)}, the answer of sub-question {earlier},"
            yield Probe("order", what, change_arguments(document, call, passing, salt))


def defaults(document: Document) -> JSONObject:
    """The dullest arguments that the document allows."""
    properties: Mapping[str, JSONObject] = document.parameters["properties"]
    return {name: plain_value(properties[name]) for name in document.parameters["required"]}


def property_of(document: Document, name: str) -> JSONObject:
    schema: JSONObject = document.parameters["properties"].get(name, {})
    return schema


def is_choice(schema: JSONObject) -> bool:
    return "enum" in schema or schema.get("type") == "boolean" or "enum" in (schema.get("items") or {})


def change_arguments(
    document: Document, call: HopCall, names: Sequence[str] | Mapping[str, Any], salt: int
) -> JSONObject:
    """The call's arguments with other values for `names`; another salt, other values."""
    places = {name: place for place, name in enumerate(call.arguments)}
    return {
        name: other_value(value, property_of(document, name), salt, places[name]) if name in names else value
        for name, value in call.arguments.items()
    }


def other_value(value: Any, schema: JSONObject, salt: int, place: int) -> Any:
    """Another value of the same shape. The place of a value keeps changes from cancelling out in a sum or a gap."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [other_value(item, items, salt, place + n) for n, item in enumerate(value)] or ["Quillon Vasterby"]
    if isinstance(value, dict):
        inner = schema.get("properties") or {}
        return {
            key: other_value(item, inner.get(key, {}), salt, place + n) for n, (key, item) in enumerate(value.items())
        }
    if rest := [choice for choice in schema.get("enum", ()) if choice != value]:
        return rest[(salt + place) % len(rest)]
    if "enum" in schema or value is None:
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return other_number(value, schema, salt, place)
    return other_text(value, salt, place)


def other_number(value: float, schema: JSONObject, salt: int, place: int) -> float:
    """Far from the value, because a neighbouring year may well have the same answer; inside the limits if there are."""
    low, high = schema.get("minimum"), schema.get("maximum")
    step = (137, -61, 1009)[salt] + 17 * place
    if low is None or high is None or not 0 < high - low < WIDEST_RANGE:
        return value + step
    return type(value)(low + (value - low + (0.37, 0.61, 0.83)[salt] * (high - low) + 1) % (high - low + 1))


def other_text(value: str, salt: int, place: int) -> str:
    """A date gives another date, everything else another text of its shape, or a name that no table has."""
    try:
        return (date.fromisoformat(value) + timedelta(days=(371, -223, 4021)[salt] + 11 * place)).isoformat()
    except (ValueError, OverflowError):
        return "Quillon Vasterby" if salt == 1 else value.translate(SHIFTS[salt])


def shift(by: int) -> dict[int, str]:
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    return {ord(kind[n]): kind[(n + by) % len(kind)] for kind in kinds for n in range(len(kind))}


SHIFTS = {0: shift(3), 2: shift(7)}
