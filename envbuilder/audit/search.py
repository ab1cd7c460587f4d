"""Finds arguments for rows without gold calls: how many of their sub-answers can be reached at all?

For each sub-answer the tool is called with candidates: literals of its code, by the parameter they are compared with;
enumerations, defaults and quoted examples of its schema; numbers, dates and spans of the question; and what earlier
found calls gave, so that chains can be followed. An output that has not been seen before shows that a call came
further, and is varied next. The number of calls is bounded. Undeclared keywords are never used, nor any sub-answer that
no call has shown yet. Left out: arguments that would have to be computed first.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from envbuilder.audit.arguments import default_arguments, iter_scalars
from envbuilder.audit.environment import STOPPED_STATUSES, play_calls, solves_answer, states_answer
from envbuilder.audit.literals import ANY_ARGUMENT, ArgumentHints, read_hints
from harness.data.messages import question_of
from harness.data.schema_values import (
    declared_parameters,
    enum_values,
    required_parameters,
    resolve_schema,
    schema_type,
)
from harness.models.policies import NUMBER_PATTERN, find_spans
from harness.rollout import ToolRunner
from harness.scoring import paper, strict
from harness.types import CallRecord, GoldCall, JSONObject, Sample, Tool

BATCH = 64
BUDGET = 6_000
"""Calls a tool and round."""
ROUNDS = 4
"""A chain of tools is followed further in each; a round that finds nothing is the last."""
MOST = 48
"""Candidates a parameter."""
DATE_TEXT = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2} [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4}|[A-Z][a-z]+ \d{4}")
QUOTED = re.compile(r"'([^']{2,80})'|\"([^\"]{2,80})\"")
EXPRESSION = re.compile(r"expression|equation|formula|calculation", re.IGNORECASE)


@dataclass
class SearchedAnswer:
    """A sub-answer, and the calls that reach it: by the strict rule and by the paper's (on an output that is ok)."""

    tool: str
    place: int
    answer: str
    strict: JSONObject | None = None
    paper: JSONObject | None = None

    @property
    def arguments(self) -> JSONObject | None:
        return self.strict if self.strict is not None else self.paper


@dataclass
class SearchResult:
    """What a search reached, in the order of unsolved_set; `calls` in the order found, which follows chains."""

    reached: list[SearchedAnswer]
    calls: list[GoldCall] = field(default_factory=list)
    tries: int = 0

    @property
    def complete(self) -> bool:
        return all(one.arguments is not None for one in self.reached)


def search_arguments(sample: Sample, episode: ToolRunner, budget: int = BUDGET) -> SearchResult:
    """Searches arguments for every sub-answer. Raises SandboxError where tools cannot be run."""
    found = SearchResult(
        [SearchedAnswer(n, place, a) for n, all_ in sample.gold.sub_answers.items() for place, a in enumerate(all_)]
    )
    known = _Known(sample)
    place = _Place(sample, episode, known, found, budget)
    tools = {tool.name: _Hunt(place, tool) for tool in sample.tools if tool.name in sample.gold.sub_answers}
    for _ in range(ROUNDS):
        before = sum(one.strict is not None for one in found.reached), len(known.texts)
        for name in sample.gold.sub_answers:
            if name in tools:
                tools[name].hunt()
        if before == (sum(one.strict is not None for one in found.reached), len(known.texts)):
            break
    calls = [GoldCall(one.tool, one.arguments) for one in found.reached if one.arguments is not None]
    order = [(call.name, json.dumps(call.arguments, sort_keys=True)) for call in found.calls]
    calls.sort(key=lambda call: order.index((call.name, json.dumps(call.arguments, sort_keys=True))))
    found.calls = calls
    return found


# --- what may be used as an argument -----------------------------------------------------------------------------


class _Known:
    """Texts from the question, and from the outputs of found calls; the latest first."""

    def __init__(self, sample: Sample) -> None:
        text = question_of(sample)
        self.asked = [*find_spans(text), *QUOTED.findall(text), *DATE_TEXT.findall(text), *NUMBER_PATTERN.findall(text)]
        self.asked = list(dict.fromkeys(_flat(self.asked)))
        words = re.findall(r"[\w'-]+", text)
        self.words = list(
            dict.fromkeys(" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1))
        )
        self.question = text
        self.texts: list[str] = []

    def learn(self, record: CallRecord, answer: str) -> None:
        try:
            leaves = list(iter_scalars(json.loads(record.output)))
        except ValueError:
            leaves = []
        dates, numbers = DATE_TEXT.findall(record.output), NUMBER_PATTERN.findall(record.output)
        new = [answer, *(text for text in leaves if len(text) <= 80), *dates, *numbers[:4]]
        self.texts = list(dict.fromkeys([*self.texts, *new]))[:60]

    def numbers(self) -> list[float]:
        """The numbers of answers and of the question."""
        texts = [number for text in [*self.texts, *self.asked] for number in NUMBER_PATTERN.findall(text)]
        return list(dict.fromkeys(float(text.replace(",", "")) for text in texts))


def _flat(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from (part for part in value if part) if isinstance(value, tuple) else (value,)


def _candidates(name: str, schema: JSONObject, hint: ArgumentHints, known: _Known) -> list[Any]:
    """Values for one parameter, the likeliest first, each of the parameter's type."""
    schema = resolve_schema(schema)
    quoted = list(_flat(QUOTED.findall(str(schema.get("description") or ""))))
    values = [
        *hint.near.get(name, []),
        *enum_values(schema),
        schema.get("default"),
        *known.texts,
        *known.asked,
        *quoted,
    ]
    values += [*hint.all, known.question, *known.words]
    match schema_type(schema):
        case "array":
            fitted = _arrays(name, schema, values, hint, known)
        case "object":
            fitted = _objects(schema, values, hint, known)
        case "boolean":
            fitted = [True, False]
        case other:
            fitted = [fit for value in values for fit in _fit(value, other)]
            if other == "string" and EXPRESSION.search(name):
                fitted = [*_expressions(known.numbers()), *fitted]
    return _distinct(
        [*(fit for value in hint.near.get(name, []) for fit in _fit(value, schema_type(schema))), *fitted]
    )[:MOST]


def _fit(value: Any, type_: str) -> Iterator[Any]:
    """The value as one of a JSON type, where there is such a thing."""
    if value is None or isinstance(value, tuple):
        return
    if type_ in ("integer", "number"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value
        elif isinstance(value, str) and len(value) < 40 and (number := NUMBER_PATTERN.search(value)):
            text = number.group().replace(",", "")
            yield float(text) if "." in text else int(text)
    elif type_ == "string":
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield str(value)
    elif type_ == "boolean":
        if isinstance(value, bool):
            yield value
    elif isinstance(value, list if type_ == "array" else dict):
        yield value


def _arrays(name: str, schema: JSONObject, values: list[Any], hint: ArgumentHints, known: _Known) -> list[Any]:
    items = schema.get("items")
    inner = resolve_schema(items if isinstance(items, dict) else {})
    if schema_type(inner) == "object":
        return [[value] for value in _objects(inner, values, hint, known)]
    lists = [value for value in values if isinstance(value, list)]
    if schema_type(inner) in ("integer", "number"):
        numbers = known.numbers()[:9]
        lists += [list(some) for n in (2, 3) for some in itertools.permutations(numbers, n)][:MOST]
        lists.append(numbers)
    flat = [fit for value in [*enum_values(inner), *values] for fit in _fit(value, schema_type(inner))]
    texts = (
        [list(pair) for pair in itertools.permutations(known.texts[:5], 2)] if schema_type(inner) == "string" else []
    )
    return [*lists[: MOST // 2], *[[value] for value in _distinct(flat)[: MOST // 2]], *texts, []]


def _objects(schema: JSONObject, values: list[Any], hint: ArgumentHints, known: _Known) -> list[Any]:
    """Literal objects first; then the parts' candidates, all first ones, and one part varied at a time."""
    parts = declared_parameters(Tool("", "", schema))
    made = [value for value in values if isinstance(value, dict)]
    own = {name: _candidates(name, part, hint, known)[:12] for name, part in parts.items()}
    first = {name: found[0] for name, found in own.items() if found}
    made.append(first)
    made += [{**first, name: value} for name, found in own.items() for value in found]
    return [*made, *({name: value} for name, found in own.items() for value in found)]


def _expressions(numbers: list[float]) -> list[str]:
    texts = [f"{number:g}" if number < 1e6 else f"{number:.0f}" for number in numbers[:8]]
    pairs = [f"{a} {sign} {b}" for a, b in itertools.permutations(texts, 2) for sign in "+-*/"]
    return [" + ".join(texts), *pairs][:MOST]


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(json.dumps(value, sort_keys=True, default=str), value)
    return list(found.values())


# --- one tool ----------------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """Where a search happens."""

    sample: Sample
    episode: ToolRunner
    known: _Known
    found: SearchResult
    budget: int


class _Hunt:
    """The calls of one tool, over all rounds. `fresh`: calls whose output was new, to be varied next; `stopped`: one
    had to be stopped, so there are no more."""

    def __init__(self, place: _Place, tool: Tool) -> None:
        self.place, self.tool = place, tool
        self.hint = read_hints(place.sample.codes[tool.name], tool.name)
        self.schemas = {n: s for n, s in declared_parameters(tool).items() if n in self.hint.parameters}
        self.tried: set[str] = set()
        self.outputs: set[str] = set()
        self.stopped = False
        self.fresh: list[JSONObject] = []
        self.mine = [one for one in place.found.reached if one.tool == tool.name]

    @property
    def done(self) -> bool:
        return self.stopped or all(one.strict is not None for one in self.mine)

    def hunt(self) -> None:
        """One round with what is known by now."""
        if self.done:
            return
        values = {name: _candidates(name, schema, self.hint, self.place.known) for name, schema in self.schemas.items()}
        left = self.place.budget
        self.fresh = []
        self.outputs.clear()
        for calls in (self._seeds(values), self._varied(values), self._product(values), self._varied(values)):
            for batch in _batched(calls):
                left -= self._try(batch)
                if self.done or left <= 0:
                    return

    def _seeds(self, values: dict[str, list[Any]]) -> Iterator[JSONObject]:
        base = default_arguments(self.tool)
        yield base
        likely = {**base, **{n: values[n][0] for n in base if values.get(n)}}
        yield likely
        for joint in self.hint.joint:
            fitted = {
                name: values[name][0] if value is ANY_ARGUMENT else next(_fit_any(value, self.schemas[name]), value)
                for name, value in joint.items()
                if name in self.schemas and (value is not ANY_ARGUMENT or values[name])
            }
            yield {**likely, **fitted}
            yield {**base, **fitted}

    def _varied(self, values: dict[str, list[Any]]) -> Iterator[JSONObject]:
        """One parameter at a time, from every call that came further than those before; the newest first."""
        for _ in range(24):
            if not self.fresh:
                return
            base = self.fresh.pop()
            for name, found in values.items():
                for value in found:
                    yield {**base, name: value}

    def _product(self, values: dict[str, list[Any]]) -> Iterator[JSONObject]:
        """Required parameters, and then optional ones that the code compares with something, all with all."""
        needed = [name for name in required_parameters(self.tool) if name in values] or list(values)[:2]
        yield from _combined(needed, values, 2500)
        compared = [name for name in values if name not in needed and self.hint.near.get(name)]
        for extra in itertools.combinations(compared, 1):
            yield from _combined([*needed, *extra], values, 600)
        for pair in itertools.combinations(compared[:5], 2):
            yield from _combined([*needed, *pair], values, 200)

    def _try(self, batch: Sequence[JSONObject]) -> int:
        new = []
        for arguments in batch:
            key = json.dumps(arguments, sort_keys=True, default=str)
            if key not in self.tried:
                self.tried.add(key)
                new.append(arguments)
        for record in play_calls(
            self.place.sample, [(self.tool.name, arguments) for arguments in new], self.place.episode
        ):
            self.stopped |= record.status in STOPPED_STATUSES
            self._read(record)
        self.place.found.tries += len(new)
        return len(new)

    def _read(self, record: CallRecord) -> None:
        shape = _shape(record)
        if shape not in self.outputs:
            self.outputs.add(shape)
            self.fresh.append(record.call.arguments or {})
        if record.status != "ok" or strict.is_error(record.status, record.output):
            return
        arguments = record.call.arguments or {}
        for one in self.mine:
            if one.paper is None and paper.contains(record.output, one.answer):
                one.paper = arguments
                self._keep(record, one)
        for one in self.mine:  # a repeated call solves nothing, so each sub-answer needs a call of its own
            if one.strict is None and states_answer(record.output, one.answer) and solves_answer(record, one.answer):
                if all(other.strict != arguments for other in self.mine):
                    one.strict = arguments
                    self._keep(record, one)
                return

    def _keep(self, record: CallRecord, one: SearchedAnswer) -> None:
        self.place.found.calls.append(GoldCall(self.tool.name, record.call.arguments or {}))
        self.place.known.learn(record, one.answer)


def _batched(calls: Iterator[JSONObject]) -> Iterator[tuple[JSONObject, ...]]:
    """First one call alone: a tool that has to be stopped is given up, and each of its calls costs seconds."""
    size = 1
    while batch := tuple(itertools.islice(calls, size)):
        yield batch
        size = BATCH


def _combined(names: list[str], values: dict[str, list[Any]], most: int) -> Iterator[JSONObject]:
    """All with all, each parameter with so many of its first candidates that there are at most `most` in all."""
    names = [name for name in names if values[name]]
    if not names:
        return
    sizes = dict.fromkeys(names, 1)
    growing = True
    while growing:
        growing = False
        for name in names:
            total = 1
            for other in names:
                total *= sizes[other] + (other == name)
            if sizes[name] < len(values[name]) and total <= most:
                sizes[name] += 1
                growing = True
    for combination in itertools.product(*(values[name][: sizes[name]] for name in names)):
        yield dict(zip(names, combination, strict=True))


def _fit_any(value: Any, schema: JSONObject) -> Iterator[Any]:
    type_ = schema_type(resolve_schema(schema))
    yield from _fit(value, type_)
    if type_ == "array" and not isinstance(value, list):
        yield [value]


def _shape(record: CallRecord) -> str:
    """An output without what only repeats the arguments."""
    text = record.output
    for value in sorted(iter_scalars(record.call.arguments or {}), key=len, reverse=True):
        text = text.replace(value, "_") if len(value) > 1 else text
    return text
