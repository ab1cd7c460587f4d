"""`policy/keyword`: a player that understands nothing and matches words, as well as that can be done.

It reads the messages so far and the schemas of the tools, nothing else. Names, quoted spans and identifiers of the
question each start a chain. A chain holds a value; every (tool, choice) is weighed by the words that its choice and its
subject share with the question, nearest to where the chain stands; the best is called with the value, and what its
output holds is the next value. Errors cost a try. A chain ends where no words are left to match. Two ends go to a
calculator that shares a word with the question. What the chains end with is the answer.

An environment in which this policy does well can be solved without reading it. The weights below are all there is to
tune; `harness.models.wording` holds how text becomes words. Registers, whose words no question uses, are played by
their layout instead (`harness.models.layout`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.data.schema_values import (
    declared_parameters,
    enum_values,
    is_date,
    plain_value,
    required_parameters,
    resolve_schema,
    schema_type,
)
from harness.models.layout import goes_by_layout, play_layout
from harness.models.wording import (
    Question,
    Start,
    explained,
    likeliest_key,
    listed_codes,
    named_parts,
    offered_names,
    own_words,
    read_output,
    stems,
    value_kind,
)
from harness.types import JSONObject, Message, ModelRequest, Tool

SHARE = 0.5
"""The least share of a choice's words, weighed by rarity, that the question must have."""
EXPLAINED_SHARE = 0.34
"""The same for the words of an explanation, which are more than a name's."""
CHOICE = 1.0
"""What a choice is worth whose words the question has in full."""
NEAR = 0.9
"""What it is worth that the words stand right where the chain stands ..."""
REACH = 6.0
"""... and the distance, in words, over which that falls to a third."""
SEPARATED = 0.5
"""What remains of a match in another question than the one that the chain stands in."""
LOWER = 0.3
"""What a call with a later value loses that has no capital and no digit."""
BARRIER = 0.5
"""What remains of nearness for each other start value between."""
SUBJECT = 0.5
"""What it is worth that the tool's main parameter is named beside the value or by what produced it."""
TEXT = 0.05
"""What each word is worth that the rest of the tool's text shares with the question."""
REPEAT = 0.6
"""What a choice loses that this chain made before."""
OPTIONAL = 0.1
"""What a choice loses that may be left out."""
MISFIT = 0.5
"""What a call loses that gives a value without a digit to a parameter called id, number or code."""
GUESS = 0.3
"""What a choice gets without words of its own, where its tool's subject is named beside the chain; 0: no guesses."""
FOLLOW = 0.5
"""What it is worth that the tool took, in another chain, what the same choice had given."""
LEAST = 0.6
"""The least score that is played."""
TRIES = 6
"""Calls that may fail at one value."""
HOPS = 12
"""Calls that a chain may make."""
TURNS = 18
"""Turns after which it answers with what it has."""
BESIDE = 2
"""How many words on either side are beside a value."""

PolicyCall = tuple[str, JSONObject]
Play = Generator[list[PolicyCall], list[str], str]


@dataclass(frozen=True, slots=True)
class Option:
    """One thing a tool can be asked: the parameter that takes the value, the choice made, and the words of each.

    `takes` is the kind of its value: name, number or date. `others` are required parameters that are neither.
    """

    tool: Tool
    main: str
    takes: str
    choice: JSONObject
    words: frozenset[str]
    explanation: frozenset[str]
    subject: frozenset[str]
    text: frozenset[str]
    optional: bool = False


@dataclass
class Chain:
    """A value and where in the question it stands. `beside` are the words that tell what kind of thing it is."""

    value: Any
    at: float
    beside: frozenset[str]
    start: Start
    made: list[tuple[Option, Any]] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    failed: set[tuple[str, str]] = field(default_factory=set)
    tries: int = 0
    more: list[Any] = field(default_factory=list)
    record: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return value_kind(self.value)


def keyword(request: ModelRequest, seed: int) -> tuple[list[PolicyCall], str]:
    """The next turn: the episode so far is replayed, so that the policy keeps no memory of its own."""
    messages = request.messages or request.sample.messages
    text = next((message.content for message in reversed(messages) if message.role == "user"), "")
    asked = re.split(r"\n[^\n]*`?Answer:", text.rpartition("Question:")[2])[0].strip()
    game = _play(Question(asked), request.tools)
    try:
        calls = next(game)
        for outputs in _turns(messages):
            calls = game.send(outputs)
    except StopIteration as end:
        return [], f"Answer: {end.value}"
    return calls, ""


def _turns(messages: Sequence[Message]) -> Iterable[list[str]]:
    """The outputs of each turn of calls, in the order of the calls."""
    said = {message.tool_call_id: message.content for message in messages if message.role == "tool"}
    for message in messages:
        if message.role == "assistant" and message.tool_calls:
            yield [said.get(call.id, "") for call in message.tool_calls]


def _play(question: Question, tools: Sequence[Tool]) -> Play:
    if goes_by_layout(tools):
        return (yield from play_layout(question, tools))
    board = Board(question, list(itertools.chain.from_iterable(map(read_options, tools))), tools)
    chains = [Chain(start.value, start.at, question.beside(start, BESIDE), start) for start in question.starts]
    doubtful = [chain for chain in chains if chain.start.doubtful]
    chains = [chain for chain in chains if not chain.start.doubtful]
    for _ in range(TURNS):
        moves = [(chain, move) for chain in chains if (move := board.best(chain))]
        if not moves and not any(chain.made for chain in chains):
            chains, doubtful = doubtful, []
            moves = [(chain, move) for chain in chains if (move := board.best(chain))]
        if not moves:
            break
        outputs = yield [(option.tool.name, board.arguments(option, chain)) for chain, option in moves]
        for (chain, option), output in zip(moves, outputs, strict=True):
            board.take(chain, option, output)
    ends = [chain for chain in chains if chain.made]
    call = board.calculation(ends)
    if call:
        (output,) = yield [call]
        found = read_output(output, frozenset())
        if found:
            return _plain(next(iter(found.values()))[0])
    if not ends:
        return ""
    return question.conclude([(chain.start.value, [chain.value, *chain.more]) for chain in ends])


def _plain(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _producer(chain: Chain) -> Any:
    """What gave a chain its value: a tool with its choice, or nothing."""
    return (chain.made[-1][0].tool.name, str(chain.made[-1][0].choice)) if chain.made else None


# --- what tools can be asked -------------------------------------------------------------------------------------


def read_options(tool: Tool) -> list[Option]:
    """Everything that a tool can be asked about one value."""
    declared = {name: resolve_schema(schema) for name, schema in declared_parameters(tool).items()}
    needed = required_parameters(tool)
    main = _main_parameter(declared, needed)
    if main is None:
        return []
    subject = stems(f"{main} {declared[main].get('description', '')}".split(". ")[0])
    text = stems(f"{tool.name} {tool.description}")
    takes = _takes(declared[main])

    def option(choice: JSONObject, words: frozenset[str], told: frozenset[str], optional: bool) -> Option:
        return Option(tool, main, takes, choice, words, told, subject, text, optional)

    topics = {name: values for name, schema in declared.items() if (values := _topics(tool, name, schema, needed))}
    if not topics:
        return [option({}, stems(tool.name), stems(tool.description.split(". ")[0]), False)]
    return [
        option({name: value}, own_words(value), stems(explained(value, told)), name not in needed)
        for name, values in topics.items()
        for told in [f"{declared[name].get('description', '')} {tool.description}"]
        for value in values
    ]


def _main_parameter(declared: Mapping[str, JSONObject], needed: Sequence[str]) -> str | None:
    """The first required parameter that takes a name; else the only required one that is no choice."""
    open_ones = [name for name in needed if name in declared and not _choices(declared[name])]
    names = [name for name in open_ones if _takes(declared[name]) == "name"]
    if names:
        return names[0]
    return open_ones[0] if len(open_ones) == 1 and _takes(declared[open_ones[0]]) in ("number", "date") else None


def _takes(schema: JSONObject) -> str:
    if is_date(schema):
        return "date"
    kind = schema_type(schema)
    if kind == "array":
        items = schema.get("items")
        return "numbers" if isinstance(items, dict) and schema_type(items) in ("number", "integer") else "name"
    return {"integer": "number", "number": "number", "boolean": "flag"}.get(kind, "name")


def _topics(tool: Tool, name: str, schema: JSONObject, needed: Sequence[str]) -> list[Any]:
    """What a parameter can be asked for: the choices of a required one, or of one whose choices the tool describes."""
    values = _choices(schema)
    text = stems(tool.description)
    return values if name in needed or all(own_words(value) & text for value in values) else []


def _choices(schema: JSONObject) -> list[Any]:
    """The enumeration of a parameter, or the codes that its description explains."""
    return enum_values(schema) or listed_codes(str(schema.get("description", "")))


# --- choosing ----------------------------------------------------------------------------------------------------


@dataclass
class Board:
    """The question and everything that can be asked."""

    question: Question
    options: list[Option]
    tools: Sequence[Tool]
    accepted: set[tuple[Any, str]] = field(default_factory=set)
    refused: set[tuple[Any, str]] = field(default_factory=set)
    """Which tools took and refused what an option gave: the same holds for another chain."""

    @cached_property
    def rarity(self) -> dict[str, float]:
        """How much a word tells: less, the more choices and names have it."""
        counted = Counter(word for option in self.options for word in option.words | option.explanation)
        return {word: math.log(1 + len(self.options) / count) for word, count in counted.items()}

    def best(self, chain: Chain) -> Option | None:
        """The best option for a chain's value; none where nothing is worth a call."""
        if chain.tries >= TRIES or len(chain.made) >= HOPS:
            return None
        scored = [(self.score(option, chain), -index) for index, option in enumerate(self.options)]
        score, index = max(scored, default=(0.0, 0))
        return self.options[-index] if score >= LEAST else None

    def score(self, option: Option, chain: Chain) -> float:
        """What a call is worth; 0 where it cannot be made."""
        if not self._possible(option, chain):
            return 0.0
        share, places = self.match(option, chain)
        named = SUBJECT * bool(option.subject & chain.beside)
        near = max((self._nearness(place, chain) for place in places), default=0.0)
        worth = CHOICE * share + NEAR * near * share
        if not share:
            worth = GUESS if named and chain.kind == "name" else 0.0
        if self.question.separated(places, chain.at):
            worth *= SEPARATED
        return worth + named + self._bonus(option, chain) - self._loss(option, chain) if worth else 0.0

    def _bonus(self, option: Option, chain: Chain) -> float:
        followed = bool(chain.made) and (_producer(chain), option.tool.name) in self.accepted
        return FOLLOW * followed + TEXT * len(option.text & self.question.words)

    def _loss(self, option: Option, chain: Chain) -> float:
        value = self.value(option, chain)
        return (
            MISFIT * ("id" in named_parts(option.main) and not re.search(r"\d", str(value)))
            + OPTIONAL * option.optional
            + REPEAT * any(option is one for one, _ in chain.made)
            + LOWER * (bool(chain.made) and str(value).islower())
        )

    def _possible(self, option: Option, chain: Chain) -> bool:
        value = self.value(option, chain)
        done = any(option is one and value == before for one, before in chain.made)
        barred = chain.made and (_producer(chain), option.tool.name) in self.refused
        known = (option.tool.name, str(value)) in chain.failed
        return option.takes == value_kind(value) and not (done or barred or known)

    def value(self, option: Option, chain: Chain) -> Any:
        """What a chain gives an option: the field of its record that is called like the parameter, else its value."""
        wanted = named_parts(option.main)
        fields = [(len(wanted & named_parts(key)), key) for key in chain.record]
        alike, key = max(fields, default=(0, ""))
        return chain.record[key][0] if alike and chain.record[key][0] not in ("", None) else chain.value

    def match(self, option: Option, chain: Chain) -> tuple[float, list[int]]:
        """The share of the choice's words that the question has, 0 where it is too small, and where they stand."""
        best: tuple[float, list[int]] = (0.0, [])
        for words, least in ((option.words, SHARE), (option.explanation, EXPLAINED_SHARE)):
            found = {word: places for word in words if (places := self._places(word, chain))}
            whole = sum(self.rarity[word] for word in words)
            share = sum(self.rarity[word] for word in found) / whole if whole else 0.0
            if share >= least and share > best[0]:
                nearest = [max(places, key=lambda place: self._nearness(place, chain)) for places in found.values()]
                best = (share, nearest)
        return best

    def _places(self, word: str, chain: Chain) -> list[int]:
        return [place for place in self.question.places(word) if place not in chain.used]

    def _nearness(self, place: int, chain: Chain) -> float:
        low, high = sorted((place, chain.at))
        between = sum(low < start.at < high for start in self.question.starts if start is not chain.start)
        return math.exp(-abs(place - chain.at) / REACH) * BARRIER**between

    # --- calling and taking

    def arguments(self, option: Option, chain: Chain) -> JSONObject:
        """The value, the choice, and what else the tool requires."""
        declared = {name: resolve_schema(schema) for name, schema in declared_parameters(option.tool).items()}
        rest = [name for name in required_parameters(option.tool) if name not in (option.main, *option.choice)]
        given = {name: self._other(name, declared[name], chain) for name in rest if name in declared}
        filters = {
            name: chosen
            for name, schema in declared.items()
            if name not in (option.main, *option.choice, *rest) and (chosen := self._filter(schema)) is not None
        }
        value = _wrapped(declared[option.main], self.value(option, chain))
        return {option.main: value, **option.choice, **given, **filters}

    def _filter(self, schema: JSONObject) -> Any:
        """The only choice of an optional parameter that the question names as written, unless it is the default."""
        named = [value for value in enum_values(schema) if stems(str(value)) and self.question.names(str(value))]
        return named[0] if len(named) == 1 and named[0] != schema.get("default") else None

    def _other(self, name: str, schema: JSONObject, chain: Chain) -> Any:
        """A second parameter: a choice by its words, a year, number or date of the question, or another start value."""
        if values := _choices(schema):
            told = str(schema.get("description", ""))
            words = {str(value): own_words(value) | stems(explained(value, told)) for value in values}
            return max(values, key=lambda value: len(words[str(value)] & self.question.words))
        if is_date(schema):
            return next(iter(self.question.dates), plain_value(schema))
        match schema_type(schema):
            case "integer" | "number":
                return self.question.number(stems(name), chain.at) or plain_value(schema)
            case "string":
                others = [start for start in self.question.starts if start is not chain.start]
                wanted = stems(f"{name} {schema.get('description', '')}")
                beside = self.question.beside
                ranked = sorted(others, key=lambda s: (-len(wanted & beside(s, 1)), abs(s.at - chain.start.at)))
                return ranked[0].value if ranked else plain_value(schema)
            case _:
                return plain_value(schema)

    def take(self, chain: Chain, option: Option, output: str) -> None:
        """Moves a chain to what an output holds; a failure costs a try."""
        wanted = option.words | option.explanation
        found = read_output(output, wanted | self.question.words)
        step = (_producer(chain), option.tool.name)
        if not found:
            chain.tries += 1
            chain.failed.add((option.tool.name, str(self.value(option, chain))))
            if offered := offered_names(output, str(chain.value)):
                chain.value = offered[0]
            else:
                self.refused.add(step)
            return
        self.accepted.add(step)
        _, places = self.match(option, chain)
        chain.made.append((option, self.value(option, chain)))
        chain.used.update(places)
        chain.at = sum(places) / len(places) if places else chain.at
        chain.beside = option.words | self.question.around(places, BESIDE)
        values = found[likeliest_key(list(found), wanted | self.question.words)]
        chain.value, chain.more, chain.record, chain.tries = values[0], values[1:], found, 0

    def calculation(self, chains: Sequence[Chain]) -> PolicyCall | None:
        """A call of the calculator that shares most words with the question, fed with the ends, if there is one."""
        ends = [chain for chain in chains if chain.kind in ("number", "date")]
        if len(ends) < 2:
            return None
        fed = [(call, self._worth(tool)) for tool in self.tools if (call := self._feed(tool, ends))]
        call, worth = max(fed, key=lambda one: one[1], default=(None, 0))
        return call if worth else None

    def _worth(self, tool: Tool) -> int:
        return len(stems(f"{tool.name} {tool.description}") & self.question.words)

    def _feed(self, tool: Tool, ends: Sequence[Chain]) -> PolicyCall | None:
        declared = {name: resolve_schema(schema) for name, schema in declared_parameters(tool).items()}
        needed = [name for name in required_parameters(tool) if name in declared]
        open_ones = [name for name in needed if not enum_values(declared[name])]
        kinds = [_takes(declared[name]) for name in open_ones]
        values = [chain.value for chain in ends]
        if kinds == ["numbers"] and all(chain.kind == "number" for chain in ends):
            given: JSONObject = {open_ones[0]: values}
        elif len(kinds) == len(ends) and kinds == [chain.kind for chain in ends]:
            given = dict(zip(open_ones, values, strict=True))
        else:
            return None
        chosen = {name: self._other(name, declared[name], ends[0]) for name in needed if name not in given}
        return tool.name, {**given, **chosen}


def _wrapped(schema: JSONObject, value: Any) -> Any:
    """A value as a parameter wants it: bare, in a list, or in an object with one text."""
    match schema_type(schema):
        case "array":
            return [value]
        case "object":
            inner = declared_parameters(Tool("", "", schema))
            return {next(iter(inner), "name"): value}
        case "string":
            return str(value)
        case _:
            return value
