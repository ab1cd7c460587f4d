"""How `policy/keyword` plays registers, whose words no question uses: by the layout of their schemas.

Tools whose subjects are described alike are about one kind of thing. Of their entries it weighs: one that a single tool
of the kind has is worth more than one that all have, one that sounds like the question is a lure, of two tools with the
same entries the longer is meant, yearly entries want a year in the question. An entry that names the kind of another
tool leads there. References have a form, which says whose they are. What these regularities give, a builder gives away.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.schema_values import declared_parameters, enum_values, required_parameters, schema_type
from harness.models.wording import DATE, LESS, Question, explained, stems
from harness.types import JSONObject, Tool

PolicyCall = tuple[str, JSONObject]
Kind = frozenset[str]

SHARED, LURE, SIBLING, NO_YEAR = 0.02, 0.02, 0.05, 0.02
"""What remains of an entry that other tools of its kind have, that sounds like the question, that a longer tool has
too, that is yearly where the question has no year."""
ALONE, LONGER, YEARLY, LURED = 0.8, 3.0, 2.5, 2.0
"""What an entry gains for each other tool of its kind that lacks it; in the longer of two tools; with a year in the
question; where its kind has lures."""
ONWARD = 8.0
"""What it gains, inside a chain, for leading to another kind."""
CUT = 0.3
"""Entries below this share of the best are not tried."""
ENTRIES, PAGES, HOPS = 3, 4, 6
"""Entries tried at one thing; pages of a list; things of a chain."""
GUESSES = 3
"""Kinds tried for a name of which nothing says the kind."""
FRAME = stems("title registered under full abbreviations reference form written like which its whole name")
NESTED = re.compile(r"\b(take|start|begin|consider|thinking of|in mind|came across)\b|\bthat\b.*\b(that|of)\b", re.I)
FORM = re.compile(r"(?:form|like) (\S*0\S*?)[.)]*$")
YEAR = re.compile(r"\b(?:1[89]\d\d|20\d\d)\b")
PAIR = re.compile(r"(?:^|\s)(\w+): ([^;]+?)(?=;|\.?$)")
LABELS = frozenset({"title", "subject", "entry", "code", "unit", "uom", "year", "reference", "value_reference"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a tool tells of its subject; `form` is what the subject's references look like."""

    tool: Tool
    kind: Kind
    subject: str
    form: str
    choice: JSONObject
    text: str

    @property
    def yearly(self) -> bool:
        return "(yearly)" in self.text


@dataclass(frozen=True, slots=True)
class Index:
    """A tool from a title or reference to a reference: its parameters, classes and numberings, as (code, text)."""

    tool: Tool
    query: str
    codes: tuple[str, str]
    classes: list[tuple[str, str]]
    numberings: list[tuple[str, str]]

    def call(self, query: str, kind: Kind, form: str) -> PolicyCall | None:
        """The call for a thing of a kind; where no numbering has the form, the one at the place of its class."""
        places = [place for place, (_, text) in enumerate(self.classes) if kind <= stems(text)]
        if not places:
            return None
        right = [code for code, text in self.numberings if text == form]
        numbering = (right or [self.numberings[min(places[0], len(self.numberings) - 1)][0]])[0]
        given = {self.query: query, self.codes[0]: self.classes[places[0]][0], self.codes[1]: numbering}
        return self.tool.name, given


@dataclass
class Layout:
    """The tools by what they are about, with the weight of each entry."""

    question: Question
    entries: list[Entry] = field(default_factory=list)
    lists: list[Entry] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    weight: dict[int, float] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[Entry]:
        return sorted((one for one in self.entries if one.kind == kind), key=lambda one: -self.weight[id(one)])

    @property
    def kinds(self) -> list[Kind]:
        return list(dict.fromkeys(one.kind for one in [*self.entries, *self.lists]))

    def target(self, entry: Entry) -> Kind | None:
        """The kind that an entry leads to: the one that its text names."""
        if entry.yearly or entry.text.endswith(")") or re.search(r"\bdate\b", entry.text, re.I):
            return None
        named = [kind for kind in self.kinds if kind and kind != entry.kind and kind <= stems(entry.text)]
        return max(named, key=len, default=None)


def goes_by_layout(tools: Sequence[Tool]) -> bool:
    """Whether tools look like registers: entries are marked as yearly, or each has a bare noun for its only subject."""
    marked = any("(yearly)" in f"{tool.description} {json.dumps(tool.parameters)}" for tool in tools)
    return marked or (bool(tools) and all(map(_is_bare, tools)))


def _is_bare(tool: Tool) -> bool:
    """Whether the only required parameter is described by a noun that the tool's own description does not say again."""
    declared, needed = declared_parameters(tool), required_parameters(tool)
    text = _inner_text(declared.get(needed[0], {})) if len(needed) == 1 else ""
    return bool(re.fullmatch(r"[A-Z][a-z]*(?: [a-z]+){0,2}\.", text)) and not stems(text) & stems(tool.description)


def read_layout(question: Question, tools: Sequence[Tool]) -> Layout:
    """What the schemas of tools have in common."""
    layout = Layout(question)
    for tool in tools:
        _read(layout, tool)
    _weigh(layout)
    return layout


def _read(layout: Layout, tool: Tool) -> None:
    declared = declared_parameters(tool)
    needed = [name for name in required_parameters(tool) if name in declared]
    chosen = [name for name in needed if enum_values(declared[name])]
    open_ones = [name for name in needed if name not in chosen and schema_type(declared[name]) in ("string", "object")]
    if len(open_ones) != 1 or len(chosen) > 2 or len(needed) != len(chosen) + 1:
        return
    subject, told = open_ones[0], {name: str(declared[name].get("description", "")) for name in declared}
    if len(chosen) == 2:
        pairs = [PAIR.findall(told[name].partition(". ")[2]) for name in chosen]
        if all(pairs):
            layout.indexes.append(Index(tool, subject, (chosen[0], chosen[1]), *pairs))
        return
    about = _inner_text(declared[subject])
    found = FORM.search(about)
    form = found[1] if found else ""
    kind = stems(about.replace(form, "")) - FRAME
    if any(text.startswith("Cursor") for text in told.values()):
        layout.lists.append(Entry(tool, kind, subject, form, {}, tool.description))
    elif chosen:
        values = enum_values(declared[chosen[0]])
        texts = {str(value): _explained(str(value), told[chosen[0]]) for value in values}
        layout.entries += [Entry(tool, kind, subject, form, {chosen[0]: v}, texts[str(v)]) for v in values]
    else:
        layout.entries.append(Entry(tool, kind, subject, form, {}, tool.description.split(". ")[0].rstrip(".")))


def _inner_text(schema: JSONObject) -> str:
    inner = declared_parameters(Tool("", "", schema)) if schema_type(schema) == "object" else {}
    return str(next(iter(inner.values()), schema).get("description", ""))


def _explained(code: str, text: str) -> str:
    found = re.search(rf"(?:^|\s){re.escape(code)}: (.*?)(?=; |\.?$)", text)
    return found[1] if found else explained(code, text)


def _weigh(layout: Layout) -> None:
    holders: dict[tuple[Kind, str], set[str]] = defaultdict(set)
    texts: dict[str, set[str]] = defaultdict(set)
    tools: dict[Kind, set[str]] = defaultdict(set)
    for one in layout.entries:
        holders[one.kind, one.text.lower()].add(one.tool.name)
        texts[one.tool.name].add(one.text.lower())
        tools[one.kind].add(one.tool.name)
    pairs = [pair for names in tools.values() for pair in itertools.permutations(names, 2)]
    longer = {short: long for short, long in pairs if len(texts[short]) > 2 and texts[short] < texts[long]}
    lured = {one.kind for one in layout.entries if _is_lure(layout, one)}
    for one in layout.entries:
        name = one.tool.name
        others = {
            other
            for other in holders[one.kind, one.text.lower()] - {name}
            if longer.get(other) != name and longer.get(name) != other
        }
        layout.weight[id(one)] = (
            (SHARED if others else 1 + ALONE * (len(tools[one.kind]) - 1))
            * (LURE if _is_lure(layout, one) else 1)
            * (SIBLING if name in longer else LONGER if name in longer.values() else 1)
            * (LURED if one.kind in lured else 1)
            * ((YEARLY if YEAR.search(layout.question.text) else NO_YEAR) if one.yearly else 1)
        )


def _is_lure(layout: Layout, entry: Entry) -> bool:
    return any(layout.question.places(word) for word in stems(entry.text))


# --- playing -----------------------------------------------------------------------------------------------------

Step = Generator[PolicyCall, JSONObject, Any]


def play_layout(question: Question, tools: Sequence[Tool]) -> Generator[list[PolicyCall], list[str], str]:
    """The calls, one a turn, and the answer: what the chains end with."""
    play = _Player(read_layout(question, tools)).play()
    try:
        call = next(play)
        while True:
            outputs = yield [call]
            call = play.send(_decoded(outputs[0]))
    except StopIteration as end:
        return str(end.value)


def _decoded(output: str) -> JSONObject:
    try:
        found = json.loads(output)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": output}


class _Player:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._question = layout.question.text
        self._chained = bool(layout.indexes) or (len(layout.kinds) > 1 and bool(NESTED.search(self._question)))
        self._visited: set[Kind] = set()

    def play(self) -> Step:
        ends: list[tuple[str, Any]] = []
        for name, reference in _named(self._question):
            self._visited = set()
            kinds = self._by_form(reference) or self._ranked()
            if (end := (yield from self._walk(name, reference, kinds, 0))) is not None:
                ends.append((name, end))
        return self._answer(ends)

    def _answer(self, ends: Sequence[tuple[str, Any]]) -> str:
        values = [value for _, value in ends]
        alike = len({type(value) for value in values}) == 1
        if len(ends) == 2 and alike and re.search(r"\bor\b", self._question):
            pick = min if LESS.search(self._question) else max
            return pick(ends, key=lambda end: end[1])[0]
        return ", ".join(map(str, values))

    def _by_form(self, reference: str) -> list[Kind]:
        held = [*self._layout.entries, *self._layout.lists]
        return list(dict.fromkeys(one.kind for one in held if reference and _fits(reference, one.form)))

    def _ranked(self) -> list[Kind]:
        """Kinds that a question may begin with, those first that a long chain leads on from and none leads to."""
        into: dict[Kind, float] = defaultdict(float)
        for one in self._layout.entries:
            if (target := self._layout.target(one)) is not None:
                into[target] = max(into[target], self._weight(one))

        def rank(kind: Kind) -> float:
            numbered = any(one.form for one in self._layout.of(kind))
            return self._reach(kind, frozenset(), 0) - 2 * into[kind] + numbered

        return sorted(self._layout.kinds, key=rank if self._chained else self._best, reverse=True)

    def _best(self, kind: Kind) -> float:
        lists = any(one.kind == kind for one in self._layout.lists)
        return max(map(self._weight, self._layout.of(kind)), default=0.0) + 2 * lists

    def _weight(self, entry: Entry) -> float:
        return min(self._layout.weight[id(entry)], 3.0)

    def _reach(self, kind: Kind, seen: frozenset[Kind], depth: int) -> float:
        """How good the best chain of kinds is that begins here."""
        onward = [(one, self._layout.target(one)) for one in self._layout.of(kind) if self._weight(one) > 0.2]
        further = [
            self._weight(one) + self._reach(target, seen | {kind}, depth + 1)
            for one, target in onward
            if target is not None and target not in seen and depth < HOPS - 1
        ]
        return max([self._best(kind) / 2, *further])

    # --- one chain

    def _walk(self, name: str, reference: str, kinds: Sequence[Kind], depth: int) -> Step:
        """Plays one value on, as the first of these kinds that knows it; what its chain ends with, or nothing."""
        for kind in kinds:
            if kind in self._visited:
                continue
            entries, lists = self._tried(kind, depth), [one for one in self._layout.lists if one.kind == kind]
            form = next((one.form for one in [*entries, *lists]), "")
            given = yield from self._reference(name, reference, kind, form) if form else _same(name)
            if given is None:
                continue
            if lists and (depth or not self._chained):
                end = yield from self._list(lists[0], given)
            else:
                end = yield from self._thing(entries, given, kind, depth)
            if end is not None:
                return end
        return None

    def _tried(self, kind: Kind, depth: int) -> list[Entry]:
        """The entries of a kind that are worth a call, best first: inside a chain those that lead on."""

        def worth(entry: Entry) -> float:
            target = self._layout.target(entry)
            leads = target is not None and target not in self._visited
            within = self._chained and depth < HOPS
            return self._layout.weight[id(entry)] * (ONWARD if leads and within else 0.5 if leads else 1)

        ranked = sorted(self._layout.of(kind), key=worth, reverse=True)
        return [one for one in ranked if worth(one) >= CUT * worth(ranked[0])][:ENTRIES]

    def _reference(self, name: str, reference: str, kind: Kind, form: str) -> Step:
        """The reference of a thing, asked of the tools of references where it is not given."""
        if reference and _fits(reference, form):
            return reference
        given = None
        for index in self._layout.indexes:
            call = index.call(given or name, kind, form)
            output = (yield call) if call else {}
            found = output.get("matches", output)
            rows = [row for row in (found if isinstance(found, list) else [found]) if "reference" in row]
            given = max(rows, key=self._told, default={"reference": given})["reference"]
            if given and _fits(given, form):
                break
        return given

    def _told(self, row: JSONObject) -> int:
        """How many particulars of a namesake the question mentions."""
        return sum(str(value) in self._question for key, value in row.items() if key not in LABELS)

    def _list(self, entry: Entry, given: str) -> Step:
        """All pages of a list; the label of its first row."""
        cursor = next(
            name
            for name, schema in declared_parameters(entry.tool).items()
            if str(schema.get("description", "")).startswith("Cursor")
        )
        arguments, first = {entry.subject: _shaped(entry, given)}, None
        for _ in range(PAGES):
            output = yield entry.tool.name, arguments
            rows = output.get("rows")
            first = first or (next(iter(rows[0].values()), None) if rows else None)
            if not output.get("next"):
                break
            arguments = {**arguments, cursor: output["next"]}
        return first

    def _thing(self, entries: Sequence[Entry], given: str, kind: Kind, depth: int) -> Step:
        """Asks entries of a thing until one leads on; the first value where none does."""
        first = None
        for entry in entries:
            output = yield entry.tool.name, self._arguments(entry, given)
            if "error" in output:
                if str(output["error"]).startswith(entry.subject):
                    break
                continue
            self._visited.add(kind)
            value = next((value for key, value in _leaves(output, "") if key not in LABELS), None)
            first = value if first is None else first
            reference = str(output.get("value_reference", output.get("reference", "")))
            onward = self._onward(entry, value, reference) if depth < HOPS else []
            end = yield from self._walk(str(value), reference, onward, depth + 1)
            if end is not None:
                return end
        return first

    def _onward(self, entry: Entry, value: Any, reference: str) -> list[Kind]:
        """The kinds that a value may lead to; none where it is no name."""
        if not self._chained or not isinstance(value, str) or DATE.fullmatch(value) or not value[:1].isupper():
            return []
        target = self._layout.target(entry)
        guesses = self._ranked()[:GUESSES] if " " in value else []
        return self._by_form(reference) or ([target] if target is not None else guesses)

    def _arguments(self, entry: Entry, given: str) -> JSONObject:
        year = YEAR.search(self._question)
        arguments = {entry.subject: _shaped(entry, given), **entry.choice}
        for name, schema in declared_parameters(entry.tool).items():
            told = str(schema.get("description", ""))
            if entry.yearly and year and schema_type(schema) == "integer" and re.search(r"\b[Yy]ear\b|-year", told):
                arguments[name] = int(year[0])
            elif len(enum_values(schema)) > 1 and told.endswith(
                "yearly entries." if entry.yearly else "without a year."
            ):
                arguments[name] = enum_values(schema)[1]
        return arguments


def _same(name: str) -> Step:
    """A title stays what it is."""
    yield from ()
    return name


def _shaped(entry: Entry, given: str) -> Any:
    schema = declared_parameters(entry.tool)[entry.subject]
    if schema_type(schema) != "object":
        return given
    return {next(iter(declared_parameters(Tool("", "", schema)))): given}


def _fits(reference: str, form: str) -> bool:
    """Whether a reference looks like a form, which has 0 for digits and A for letters."""
    return len(reference) == len(form) > 0 and all(
        shape == sign or (shape == "0" and sign.isdigit()) or (shape == "A" and sign.isupper())
        for sign, shape in zip(reference, form, strict=True)
    )


def _named(text: str) -> Iterator[tuple[str, str]]:
    """The names of a question, each with the reference in brackets behind it; none that only tells of another."""
    name = r"[A-Z][\w'’-]*(?: (?:(?:of|the|and|with|without|for|de|under|at|to) )*(?:[A-Z][\w'’-]*|&))*"
    last, seen = -1, set[str]()
    for match in re.finditer(rf"(?<![.?!:] )(?<!^)(?<!\w)({name})(?: \(([^)]*\d[^)]*)\))?", text):
        between = text[last : match.start()] if last >= 0 else ""
        tells = re.fullmatch(r"[^.?!,]*\b(?:in|from|shows|near|by|at|of)(?: the)? ", between)
        value = re.sub(r"['’]s$", "", match[1])
        if value in seen or re.fullmatch(r"US|I|I['’]\w+|\w+day|New Year.*|April.*|March|January.*|December", value):
            continue
        if not tells or re.search(r" (?:and|or) ", between):
            seen.add(value)
            yield value, match[2] or ""
        last = match.end()


def _leaves(data: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from _leaves(value, key)
    else:
        yield key, data
