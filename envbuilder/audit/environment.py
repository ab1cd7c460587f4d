"""One environment's audit: does it keep what it promises, and can a sub-answer be had by anything but the right calls?

`audit_environment(sample, episode)` plays the gold calls, the default calls (each tool once with the dullest valid
values), sentinel calls and wrong calls, in a few batches, and compares the outputs with the sub-answers by the strict
verifier. Every check reports Findings; checks.py says what they mean. Left out: policies' floors (sets.py) and what
shows only between environments (corpus.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from envbuilder.audit.arguments import Sentinels, default_arguments, iter_scalars, make_wrong_value, sentinel_core
from envbuilder.audit.checks import CHECKS, Finding, make_finding
from envbuilder.audit.code import find_code_faults
from harness.data.schema_values import MAX_DEPTH, declared_parameters, enum_values, required_parameters, resolve_schema
from harness.environment import ToolEnvironment
from harness.rollout import ToolRunner, take_turn
from harness.scoring import paper, strict
from harness.scoring.leaves import Leaf, all_leaves, leaf, leaves
from harness.scoring.phrases import mentions
from harness.types import CallRecord, JSONObject, Message, Sample, Tool, ToolCall

__all__ = ["CHECKS", "Finding", "audit_environment"]

Calls = Sequence[tuple[str, JSONObject]]
BEGIN = 4
"""Characters of an answer that must occur before it is looked for in every text; shorter ones always are."""
STOPPED_STATUSES = ("timeout", "killed")
"""How a call ends that the sandbox had to end."""


def audit_environment(sample: Sample, episode: ToolRunner, again: ToolRunner | None = None) -> list[Finding]:
    """All findings of one environment, worst checks first. `again`: where the calls run a second time (another
    sandbox shows more than the same one). Raises SandboxError where tools cannot be run."""
    seen = observe_environment(sample, episode)
    found = [*_still(seen), *_probed(seen, _played(seen, episode))]
    found += _repeated(seen, again or episode)
    place = {name: index for index, name in enumerate(CHECKS)}
    return sorted(dict.fromkeys(found), key=lambda one: place[one.check])


# --- what is looked at -------------------------------------------------------------------------------------------


class AuditedHop(NamedTuple):
    """A sub-answer with its tool, and the hops that it depends on; None where the record does not say."""

    tool: str
    answer: str
    depends_on: tuple[int, ...] | None


class Public(NamedTuple):
    """Something the model is told before its first call."""

    check: str
    where: str
    text: str
    leaf: Leaf


@dataclass(frozen=True)
class ObservedEnvironment:
    """An environment, and what its gold and default calls gave."""

    sample: Sample
    defaults: tuple[CallRecord, ...]
    gold: tuple[CallRecord, ...]

    @cached_property
    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self.sample.tools}

    @cached_property
    def told(self) -> tuple[AuditedHop, ...]:
        return _hops(self.sample)

    @cached_property
    def hops(self) -> tuple[AuditedHop, ...]:
        """By sub_questions where they can be used, else by unsolved_set."""
        return self.told or tuple(
            AuditedHop(name, answer, None)
            for name, answers in self.sample.gold.sub_answers.items()
            for answer in answers
        )

    @cached_property
    def public(self) -> tuple[Public, ...]:
        return tuple(_public(self.sample))

    def told_before(self, text: str) -> Iterator[Public]:
        """Where the model can read a text before its first call."""
        if mentions((public.leaf for public in self.public), text):  # of all at once: most texts stand nowhere
            yield from (public for public in self.public if mentions((public.leaf,), text))

    @cached_property
    def judged(self) -> tuple[tuple[int | None, ...], tuple[strict.Reason | None, ...]]:
        """What each gold call solves by the strict rule, and why one solves nothing."""
        return strict.solves_and_reasons(self.gold, self.sample.gold.sub_answers)

    @property
    def solves(self) -> tuple[int | None, ...]:
        return self.judged[0]

    @cached_property
    def stopped(self) -> frozenset[str]:
        """Tools that had to be stopped: they are asked nothing more."""
        return frozenset(r.call.name for r in (*self.gold, *self.defaults) if r.status in STOPPED_STATUSES)

    def hop_of(self, index: int) -> int | None:
        """Which hop the gold call with this index is for: as the record says, else by what it solves."""
        told = (self.sample.gold.calls or ())[index].solves
        if told is not None and self.told:
            return told if 0 <= told < len(self.hops) else None
        position, name = self.solves[index], self.gold[index].call.name
        if position is None:
            return None
        return [number for number, hop in enumerate(self.hops) if hop.tool == name][position]

    def ancestors(self, hop: int) -> set[int]:
        """The hops that this one builds on, itself included."""
        known, waiting = {hop}, [hop]
        while waiting:
            for earlier in self.hops[waiting.pop()].depends_on or ():
                if earlier not in known:
                    known.add(earlier)
                    waiting.append(earlier)
        return known


def _hops(sample: Sample) -> tuple[AuditedHop, ...]:
    """The record's sub_questions; none where they are missing or make no sense."""
    try:
        hops = tuple(
            AuditedHop(hop["tool"], hop["answer"], tuple(hop.get("depends_on") or ()))
            for hop in sample.metadata.get("sub_questions") or ()
        )
    except (TypeError, KeyError, AttributeError):
        return ()
    sound = all(_is_sound(hop, len(hops)) for hop in hops)
    listed = Counter((name, answer) for name, answers in sample.gold.sub_answers.items() for answer in answers)
    return hops if sound and Counter((hop.tool, hop.answer) for hop in hops) == listed else ()


def _is_sound(hop: AuditedHop, count: int) -> bool:
    """Whether its fields, which a file may hold anything in, are texts and places of hops."""
    texts = isinstance(hop.tool, str) and isinstance(hop.answer, str)
    return texts and all(type(place) is int and 0 <= place < count for place in hop.depends_on or ())


def observe_environment(sample: Sample, episode: ToolRunner) -> ObservedEnvironment:
    """Plays the gold and the default calls."""
    gold = [(call.name, call.arguments) for call in sample.gold.calls or ()]
    defaults = [(tool.name, default_arguments(tool)) for tool in sample.tools]
    records = play_calls(sample, [*gold, *defaults], episode)
    return ObservedEnvironment(sample, records[len(gold) :], records[: len(gold)])


def play_calls(sample: Sample, calls: Calls, episode: ToolRunner) -> tuple[CallRecord, ...]:
    """The calls as one turn of an episode: each with the exact text that a model would read."""
    if not calls:
        return ()
    said = tuple(ToolCall("", name, arguments, "") for name, arguments in calls)
    return take_turn(ToolEnvironment(sample), Message("assistant", tool_calls=said), episode).calls


def states_answer(text: str, answer: str) -> bool:
    """Whether an output states an answer, in the strict verifier's sense."""
    return strict.states(_leaves(text), answer)


@lru_cache(maxsize=512)
def _leaves(text: str) -> tuple[Leaf, ...]:
    return tuple(leaves(text))


@lru_cache(maxsize=4096)
def _leaf(text: str) -> Leaf:
    """What a name, a description or an argument says: the same words come again in many tools and environments."""
    return leaf(text)


def solves_answer(record: CallRecord, answer: str) -> bool:
    """Whether a call alone would be credited with an answer of its tool by the strict rule."""
    return strict.solves([record], {record.call.name: [answer]}) == (0,)


def _in_arguments(record: CallRecord, answer: str) -> bool:
    return mentions(map(_leaf, iter_scalars(record.call.arguments)), answer)


def _public(sample: Sample) -> Iterator[Public]:
    for message in sample.messages:
        yield _told_by("leak_question", f"the {message.role} message", message.content)
    for tool in sample.tools:
        yield _told_by("leak_description", tool.name, f"{tool.name}: {tool.description}")
        for name, schema in declared_parameters(tool).items():
            yield from _public_schema(schema, f"{tool.name}({name})", name)


def _told_by(check: str, where: str, text: str) -> Public:
    return Public(check, where, text, _leaf(text))


def _public_schema(schema: JSONObject, where: str, name: str, depth: int = 0) -> Iterator[Public]:
    schema = resolve_schema(schema)
    yield _told_by("leak_description", where, f"{name}: {schema.get('description') or ''}")
    examples = schema.get("examples")
    values = [*enum_values(schema), schema.get("default"), schema.get("example")]
    for text in iter_scalars([*values, *(examples if isinstance(examples, list) else [])]):
        yield _told_by("leak_choice", where, text)
    if depth < MAX_DEPTH:
        inner = [*declared_parameters(Tool("", "", schema)).items(), ("", schema.get("items"))]
        for inner_name, part in inner:
            if isinstance(part, dict):
                yield from _public_schema(part, where, inner_name, depth + 1)


# --- the checks that need no more calls --------------------------------------------------------------------------


def _still(seen: ObservedEnvironment) -> Iterator[Finding]:
    for check in (_solvable, _answers, _told, _by_default, _by_others, _order, _code, _ends):
        yield from check(seen)


def _solvable(seen: ObservedEnvironment) -> Iterator[Finding]:
    gold = seen.sample.gold
    if seen.sample.metadata.get("sub_questions") and not seen.told:
        yield make_finding(
            "mismatch", "sub_questions", "their tools, answers or dependencies are not those of unsolved_set"
        )
    if gold.calls is None:
        yield make_finding("no_gold", "gold_calls", "the record has none")
        return
    by_paper = paper.solves(seen.gold, gold.sub_answers)
    for index, (record, reason) in enumerate(zip(seen.gold, seen.judged[1], strict=True)):
        where = f"gold call {index}, {record.call.name}"
        if reason is not None:
            yield make_finding("unsolvable", where, f"{reason}: {_short(record.output)}")
        elif by_paper[index] is None:
            yield make_finding("unsolvable", where, f"not by the paper's rule: {_short(record.output)}")
        elif (hop := seen.hop_of(index)) is not None and not states_answer(record.output, seen.hops[hop].answer):
            yield make_finding(
                "unsolvable", where, f"does not give {seen.hops[hop].answer!r}, which it is said to solve"
            )
    for name, answers in gold.sub_answers.items():
        solved = {place for place, r in zip(seen.solves, seen.gold, strict=True) if r.call.name == name}
        for place in sorted(set(range(len(answers))) - solved):
            yield make_finding("unsolvable", name, f"no gold call gives {answers[place]!r}")


def _answers(seen: ObservedEnvironment) -> Iterator[Finding]:
    for hop in seen.hops:
        raw = leaf(hop.answer)
        if strict.is_empty(hop.answer) or not raw.tokens:
            yield make_finding("empty_answer", hop.tool, repr(hop.answer))
        elif len(hop.answer.strip()) < 3:
            yield make_finding("short_answer", hop.tool, repr(hop.answer))
    tokens = [leaf(hop.answer).tokens for hop in seen.hops]
    for number, one in enumerate(seen.hops):
        for place, other in enumerate(seen.hops[number + 1 :], start=number + 1):
            if tokens[number] == tokens[place]:
                yield make_finding("same_answer", f"{one.tool}, {other.tool}", repr(one.answer))
            elif one.tool == other.tool and (
                states_answer(one.answer, other.answer) or states_answer(other.answer, one.answer)
            ):
                yield make_finding("same_answer", one.tool, f"{one.answer!r} and {other.answer!r} state each other")


def _told(seen: ObservedEnvironment) -> Iterator[Finding]:
    text = "\n".join(public.text for public in seen.public).casefold().replace(",", "")
    for answer in dict.fromkeys(hop.answer for hop in seen.hops):
        begin = answer.casefold().replace(",", "")[:BEGIN]
        for public in seen.told_before(answer) if len(begin) < BEGIN or begin in text else ():
            yield make_finding(public.check, public.where, f"states {answer!r}")


def _by_default(seen: ObservedEnvironment) -> Iterator[Finding]:
    answers = dict.fromkeys((hop.tool, hop.answer) for hop in seen.hops)
    for record in seen.defaults:
        output = all_leaves(record.output)
        for tool, answer in answers:
            if mentions(output, answer) and not _in_arguments(record, answer):
                whose = "its own" if tool == record.call.name else f"{tool}'s"
                yield make_finding(
                    "leak_default", record.call.name, f"states {whose} {answer!r}: {_short(record.output)}"
                )


def _by_others(seen: ObservedEnvironment) -> Iterator[Finding]:
    for index, record in enumerate(seen.gold):
        own = seen.hop_of(index)
        if own is None:
            continue
        before = seen.ancestors(own)
        for number, hop in enumerate(seen.hops):
            if (
                number in before
                or states_answer(seen.hops[own].answer, hop.answer)
                or _in_arguments(record, hop.answer)
            ):
                continue
            if states_answer(record.output, hop.answer):
                detail = f"its gold output for {seen.hops[own].answer!r} states {hop.tool}'s {hop.answer!r}"
                yield make_finding("leak_other", record.call.name, detail)


def _order(seen: ObservedEnvironment) -> Iterator[Finding]:
    outputs = {seen.hop_of(index): record for index, record in enumerate(seen.gold)}
    for number, hop in enumerate(seen.hops):
        if hop.depends_on and number in outputs:
            for earlier in hop.depends_on:
                yield from _link(seen, outputs, number, earlier)


def _link(
    seen: ObservedEnvironment, outputs: Mapping[int | None, CallRecord], number: int, earlier: int
) -> Iterator[Finding]:
    """Something among the arguments must come from the earlier hop, and from nowhere else."""
    where, record = f"{seen.hops[number].tool} (hop {number})", outputs[number]
    values = [value for value in iter_scalars(record.call.arguments) if not strict.is_empty(value)]
    before = seen.hops[earlier].answer
    linked = [value for value in values if states_answer(value, before) or states_answer(before, value)]
    if not linked and earlier in outputs:
        linked = [value for value in values if states_answer(outputs[earlier].output, value)]
    if not linked:
        yield make_finding("order", where, f"its gold arguments take nothing from hop {earlier}, {before!r}")
        return
    sources = {value: next(seen.told_before(value), None) for value in linked}
    if all(sources.values()):
        value, public = next(iter(sources.items()))
        place = public.where if public else ""
        yield make_finding("order", where, f"its argument {value!r} from hop {earlier} is known from {place}")


def _code(seen: ObservedEnvironment) -> Iterator[Finding]:
    for name in seen.tools:
        for check, what in find_code_faults(seen.sample.codes[name]):
            yield make_finding(check, name, what)


def _ends(seen: ObservedEnvironment) -> Iterator[Finding]:
    for record in (*seen.gold, *seen.defaults):
        if record.status in (*STOPPED_STATUSES, "truncated"):
            yield make_finding("stopped", record.call.name, record.status)
    for record in seen.defaults:
        if record.status == "raised":
            check = "signature" if "required positional argument" in record.output else "raises"
            yield make_finding(check, record.call.name, _short(record.output))


def _repeated(seen: ObservedEnvironment, again: ToolRunner) -> Iterator[Finding]:
    """The same calls in reverse order, so that they meet a process in another state."""
    first = [record for record in (*seen.gold, *seen.defaults) if record.call.name not in seen.stopped][::-1]
    second = play_calls(seen.sample, [(record.call.name, record.call.arguments or {}) for record in first], again)
    for one, other in zip(first, second, strict=True):
        if (one.status, one.output) != (other.status, other.output):
            yield make_finding(
                "nondeterministic", one.call.name, f"{_short(one.output, 60)} then {_short(other.output, 60)}"
            )


# --- sentinels and wrong arguments -------------------------------------------------------------------------------


class Probe(NamedTuple):
    """A call, and what its output must not hold: sentinels, or the sub-answer of gold call `gold`."""

    kind: str
    where: str
    call: tuple[str, JSONObject]
    texts: tuple[str, ...] = ()
    gold: int = -1


def _probes(seen: ObservedEnvironment) -> Iterator[Probe]:
    gold = [(record.call.name, record.call.arguments or {}) for record in seen.gold]
    bases = {**{name: default_arguments(tool) for name, tool in seen.tools.items()}, **dict(reversed(gold))}
    for name, tool in seen.tools.items():
        yield from _sentinel_probes(tool, bases[name])
    for index, (name, arguments) in enumerate(gold):
        if name in seen.tools and arguments:
            yield from _wrong_probes(seen.tools[name], arguments, index)


def _played(seen: ObservedEnvironment, episode: ToolRunner) -> list[tuple[Probe, CallRecord]]:
    """Every probe with its result. A tool that had to be stopped is asked no more: each time would cost as much."""
    stopped = set(seen.stopped)
    results: list[tuple[Probe, CallRecord]] = []
    probes = list(_probes(seen))
    for first in (True, False):
        batch = [probe for probe in probes if (probe.kind == "all") == first and probe.call[0] not in stopped]
        records = play_calls(seen.sample, [probe.call for probe in batch], episode)
        stopped |= {record.call.name for record in records if record.status in STOPPED_STATUSES}
        results += zip(batch, records, strict=True)
    return results


def _sentinel_probes(tool: Tool, base: JSONObject) -> Iterator[Probe]:
    declared, sentinels = declared_parameters(tool), Sentinels()
    everything = {name: sentinels.make_value(schema) for name, schema in declared.items()}
    yield Probe("all", tool.name, (tool.name, everything), tuple(sentinels.texts))
    for name, schema in declared.items():
        sentinels = Sentinels()
        value = sentinels.make_value(schema)
        if sentinels.texts:
            yield Probe("echo", f"{tool.name}({name})", (tool.name, {**base, name: value}), tuple(sentinels.texts))
    word = Sentinels().make_word()
    yield Probe("keyword", tool.name, (tool.name, {**base, word: word}), (word,))


def _wrong_probes(tool: Tool, arguments: JSONObject, index: int) -> Iterator[Probe]:
    declared = declared_parameters(tool)
    others = {
        name: make_wrong_value(value, declared.get(name, {}), salt)
        for salt, (name, value) in enumerate(arguments.items())
    }
    for name, other in others.items():
        yield Probe("wrong", name, (tool.name, {**arguments, name: other}), gold=index)
    if len(others) > 1:
        yield Probe("all_wrong", "", (tool.name, others), gold=index)


def _probed(seen: ObservedEnvironment, results: Sequence[tuple[Probe, CallRecord]]) -> Iterator[Finding]:
    readers: dict[str, Callable[[ObservedEnvironment, Probe, CallRecord], Iterator[Finding]]] = {
        "all": _echo,
        "echo": _echo,
        "wrong": _wrong,
        "all_wrong": _all_wrong,
    }
    keyword = []
    for probe, record in results:
        if record.status in STOPPED_STATUSES:
            yield make_finding(
                "stopped", probe.call[0], f"{record.status} when called with {_short(str(probe.call[1]))}"
            )
        elif probe.kind != "keyword":
            yield from readers[probe.kind](seen, probe, record)
        elif any(_repeats(record.output, text) for text in probe.texts):
            if record.status == "ok":
                yield make_finding("echo", probe.call[0], f"an unknown keyword comes back: {_short(record.output)}")
            else:
                keyword.append(probe.call[0])
    if keyword:
        yield make_finding("echo_keyword", keyword[0], f"{len(keyword)} of {len(seen.tools)} tools")


def _echo(seen: ObservedEnvironment, probe: Probe, record: CallRecord) -> Iterator[Finding]:
    if "unexpected keyword argument" in record.output and record.status == "raised":
        yield make_finding("signature", probe.call[0], _short(record.output))
    elif text := next((text for text in probe.texts if _repeats(record.output, text)), ""):
        check = "echo_error" if strict.is_error(record.status, record.output) else "echo"
        start = max(0, record.output.casefold().find(sentinel_core(text)) - 60)
        yield make_finding(check, probe.where, f"{text!r} comes back: {_short(record.output[start:])}")


def _repeats(output: str, text: str) -> bool:
    return sentinel_core(text) in output.casefold().replace(",", "") and (
        mentions(all_leaves(output), text) or sentinel_core(text) != "1801"
    )  # a date may be written in another way, but 1801 alone is no date


def _wrong(seen: ObservedEnvironment, probe: Probe, record: CallRecord) -> Iterator[Finding]:
    hop = seen.hop_of(probe.gold)
    if hop is None or not solves_answer(record, seen.hops[hop].answer):
        return
    name, arguments = seen.gold[probe.gold].call.name, seen.gold[probe.gold].call.arguments or {}
    detail = f"{probe.where} = {_short(str(record.call.arguments[probe.where] if record.call.arguments else ''), 40)}"
    detail += f" still gives {seen.hops[hop].answer!r}"
    if len(arguments) == 1:
        yield make_finding("constant", name, detail)
        return
    if probe.where in required_parameters(seen.tools[name]):
        yield make_finding("loose_argument", f"{name}({probe.where})", detail)
    for earlier in seen.hops[hop].depends_on or ():
        before = seen.hops[earlier].answer
        if any(states_answer(value, before) for value in iter_scalars(arguments[probe.where])):
            yield make_finding("order", f"{name} (hop {hop})", f"{detail}, so hop {earlier} is not needed")


def _all_wrong(seen: ObservedEnvironment, probe: Probe, record: CallRecord) -> Iterator[Finding]:
    hop = seen.hop_of(probe.gold)
    if hop is not None and solves_answer(record, seen.hops[hop].answer):
        arguments = _short(json.dumps(record.call.arguments, ensure_ascii=False))
        yield make_finding("constant", record.call.name, f"{arguments} still gives {seen.hops[hop].answer!r}")


def _short(text: Any, limit: int = 120) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
