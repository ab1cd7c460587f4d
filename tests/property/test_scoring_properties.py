"""What the strict rule promises for every episode, not only for the examples."""

import itertools
import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from harness.scoring import score
from harness.scoring.fold import fold
from harness.scoring.leaves import leaves
from harness.scoring.normalise import _scanner, tokens
from harness.scoring.phrases import parts
from harness.scoring.strict import is_error, reject_reasons, solves, states
from harness.types import CallRecord, CallStatus, Gold, Message, Sample, ToolCall, Trajectory, Usage

STATUSES: tuple[CallStatus, ...] = ("ok", "raised", "timeout", "killed", "truncated", "unknown_tool", "malformed")


def runs(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def call(arguments: dict[str, Any] | None, output: str, status: CallStatus = "ok", name: str = "f") -> CallRecord:
    return CallRecord(0, ToolCall("id", name, arguments, repr(arguments)), status, output)


def count(solved: tuple[int | None, ...]) -> int:
    return sum(position is not None for position in solved)


# --- 1, 2: the order within a turn, and calls that fail ----------------------------------------------------------

WORDS = ("rome", "paris", "oslo", "lima")
# A deterministic tool: which of its outputs a call gets depends on its argument alone.
tools = st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join), min_size=1, max_size=4)
answers = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)


@runs(150)
@given(st.data(), tools, answers)
def test_order_within_a_turn_does_not_change_how_much_is_solved(
    data: st.DataObject, tool: list[str], wanted: list[str]
) -> None:
    arguments = data.draw(st.lists(st.integers(0, len(tool) - 1), max_size=6))
    turn = [call({"q": f"argument {number}"}, tool[number]) for number in arguments]
    shuffled = data.draw(st.permutations(turn))
    assert count(solves(turn, {"f": wanted})) == count(solves(shuffled, {"f": wanted}))


@runs(150)
@given(st.data(), tools, answers)
def test_a_failed_call_changes_only_how_many_calls_there_are(
    data: st.DataObject, tool: list[str], wanted: list[str]
) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(tool) - 1), max_size=5))
    before = [call({"q": f"argument {number}"}, tool[number]) for number in numbers]
    status, output = data.draw(
        st.one_of(
            st.tuples(st.sampled_from(STATUSES[1:]), st.sampled_from(WORDS)),
            st.just(("ok", "Error: rome paris oslo lima")),
            st.just(("ok", '{"error": "rome", "data": "paris oslo lima"}')),
        )
    )
    where = data.draw(st.integers(0, len(before)))
    failed = call({"q": f"argument {data.draw(st.integers(0, 3))}"}, output, status)
    after = [*before[:where], failed, *before[where:]]
    solved = list(solves(after, {"f": wanted}))
    assert solved.pop(where) is None
    assert tuple(solved) == solves(before, {"f": wanted})


# --- 3: one fact, several spellings ------------------------------------------------------------------------------


def spellings(fact: int | date) -> list[str]:
    if isinstance(fact, int):
        return [str(fact), f"{fact:,}", f"{fact}.00", f"{fact:,}.0", f"{fact}".replace("-", "−")]
    month, short = fact.strftime("%B"), fact.strftime("%b")
    year = f"{fact.year:04}"  # strftime pads years only on some systems
    return [
        fact.isoformat(),
        f"{year}-{fact.month}-{fact.day}",
        f"{fact.day} {month} {year}",
        f"{fact.day:02} {short} {year}",
        f"{month} {fact.day}, {year}",
        f"{short}. {fact.day} {year}".upper(),
    ]


facts = st.one_of(st.integers(-(10**12), 10**12), st.integers(-20, 2030), st.dates())
sentences = st.sampled_from(["{}", "It was {}.", "({}) or so", '{{"value": "{}", "note": "x"}}', '["{}", 17]'])


@runs(300)
@given(st.data(), facts, facts, sentences)
def test_spelling_does_not_matter(data: st.DataObject, shown: int | date, wanted: int | date, sentence: str) -> None:
    if data.draw(st.booleans()):
        wanted = shown
    verdicts = {
        solves([call({"q": "x"}, sentence.format(text))], {"f": [answer]})
        for text in spellings(shown)
        for answer in spellings(wanted)
    }
    assert len(verdicts) == 1
    if shown == wanted:
        assert verdicts == {(0,)}


# --- 4: echoes ---------------------------------------------------------------------------------------------------


def joined(value: Any) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def keys(value: Any) -> str:
    return ", ".join(value) if isinstance(value, dict) else str(value)


# true as 1 is left out on purpose: a call with verbose=true may still surface the answer 1 (docs/scoring.md).
def grouped(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def read(value: Any) -> Any:
    """What a tool makes of an argument that it takes for JSON or for a number."""
    if isinstance(value, bool):
        return value
    for convert in (json.loads, float, int):
        try:
            return convert(value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            continue
    return value


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


WRITERS: tuple[Callable[[Any], str], ...] = (
    str,
    repr,
    json.dumps,
    compact,
    joined,
    keys,
    grouped,
    lambda value: str(read(value)),
    lambda value: json.dumps(read(value)),
    lambda value: str(value).strip().upper(),
    lambda value: str(value).title(),
)
# No template has a digit or a month: with those the tool would add to the argument, not only return it.
TEMPLATES = (
    "{}",
    "{}.",
    "The result is {}.",
    "the {}",
    "Result: '{}'",
    'found "{}" in records',
    "x={}",
    "<b>{}</b>",
    "({})",
    "[{}]",
    '["{}"]',
    "${}",
    "{}%",
    "No record of {}, sorry",
    "{}: not found",
    "name='{}', ok=True",
    "f() got an unexpected keyword argument '{}'",
    '{{"result": {}}}',
    '{{"result": "{}"}}',
    "{{'result': {}}}",
    "**{}**\n",
    "{}'s",
    "→{}←",
    "/{}/",
    "~{}",
    "value:{}",
    "{0} is {0}",
    "not {}",
    "more than {}",
    "between {0} and {0}",
    "{}+",
    "{} kg",
    "EUR {}",
    "page {}",
    "{} per cent",
    "a_{}_b",
    "{}.pdf",
    "&lt;{}&gt;",
    "It is {0}, but not {0}",
)
WRAPPERS: tuple[Callable[[Any], str], ...] = (
    lambda value: json.dumps({"result": value}),
    lambda value: json.dumps([value]),
    lambda value: json.dumps({"data": {"value": json.dumps(value)}}),
    lambda value: json.dumps({"status": "ok", "message": f"Result: {value}"}),
    lambda value: str({"result": value}),
    lambda value: compact({"data": [value, None]}),
    lambda value: json.dumps({str(value): "found"}),
    lambda value: json.dumps({"value": value, "unit": "kg"}),
    lambda value: json.dumps({"amount": value, "currency": "EUR"}),
    lambda value: json.dumps({"first_name": value, "last_name": value}),
    lambda value: json.dumps([{"id": value, "rows": [value]}, {"status": value}]),
    lambda value: json.dumps({"error": value, "count": value}),
)

awkward = st.sampled_from(
    [
        *("-5", "−97", "(-5)", "1,234", "70,000,000.00", ".5", "...5", "1e5", "7e+7", "1_000", "-1_000.50", "٣", "٣٫٥"),
        *("2007-05-01", "2007-5-1", "May 1, 2007", "1 May 2007", "2007-05-01T10:30:00Z", "31 Feb 2007", "May", "2007"),
        *("COVID-19", "F-16", "v3.11.7", "10:30am", "5½", "m²", "New York, NY", "Brazil, China", "a, b", "the", "-"),
        *(
            "a\nb",
            "a\\nb",
            "a\\u0042c",
            'say "x 5"',
            "it's 5",
            "é",
            "ǆ",
            "ﬁ",
            "ß",
            "ı",
            "\u0301x",
            "x\u0301",
            "\u200b5",
        ),
        *(
            "1.5 million",
            "12k",
            "1.5M",
            "3:30 PM",
            "15:30:00",
            "05/06/2007",
            "31.12.2007",
            "1,5",
            "12 345",
            "1.234.567",
        ),
        *("twelve", "Twenty-one", "5-10", "555 1234", "report_2007.pdf", "https://x.org/5/7", "version 3.11", "12 km"),
        *(
            "$500",
            "-$5",
            "US$ 7",
            "12.5%",
            "12 per cent",
            "Caf&eacute;",
            "Tur\u00adku",
            "O'Hara",
            "U.S. A.",
            "東京都",
            "กรุง",
        ),
        *("66.666667", "0.30000000000000004", "no", "True", "3 hours 20 min", "1st of May 2007", "May 5", "Byron, Ada"),
        *(
            "not Rome",
            "Error: Rome",
            "No such town. Did you mean Rome?",
            "5 to 10",
            "Dr. Ada",
            "data base",
            "12_345",
            "-12 5",
        ),
        *('["Rome", -5]', '{"a": "b c", "d": [1e3, NaN]}', "[1,234]", '"5"', "{-5}", '", "b": "c', "1, 2", "True"),
    ]
)
strings = st.one_of(
    awkward,
    st.lists(awkward, min_size=2, max_size=3).map(" ".join),
    st.text(max_size=8),
    st.text(alphabet="-−.,:;_ 0123456789eETZ()[]{}'\"\\/ab", max_size=10),
)
scalars = st.one_of(strings, strings, st.integers(), st.integers(-3000, 3000), st.floats(), st.booleans(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(strings, inner, max_size=3)),
    max_leaves=5,
)


@st.composite
def echoes(draw: st.DrawFn) -> tuple[Any, str, str]:
    """An argument, an output that returns it, and what the output says without it."""
    value = draw(values)
    if draw(st.booleans()):
        wrap = draw(st.sampled_from(WRAPPERS))
        return value, wrap(value), wrap("")
    write, template = draw(st.sampled_from(WRITERS)), draw(st.sampled_from(TEMPLATES))
    return value, template.format(write(value)), template.format("")


def spelled(token: str) -> str:
    return token.lstrip("#@").removeprefix("-") if token[:2] == "@-" else token.lstrip("#@")


@runs(1000)
@given(st.data(), echoes())
def test_a_tool_that_returns_one_argument_never_solves(data: st.DataObject, echo: tuple[Any, str, str]) -> None:
    value, output, frame = echo
    texts = [leaf.raw for leaf in leaves(output) if leaf.raw] + [tokens(output) or ("x",)]
    pieces = []
    for _ in range(data.draw(st.integers(1, 2))):  # two pieces make an "A, B" answer
        text = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(text) - 1))
        pieces.append(" ".join(map(spelled, text[start : data.draw(st.integers(start + 1, len(text)))])))
    answer = ", ".join(pieces)
    added = {token for leaf in leaves(frame) for token in leaf.raw} | set(tokens(frame))
    added |= {unit for sign, unit in (("$", "usd"), ("%", "%"), ("per cent", "%")) if sign in frame}
    assume(not added & set(tokens(answer)))
    others = data.draw(st.dictionaries(st.sampled_from(["limit", "verbose"]), st.booleans(), max_size=1))
    arguments = {"x": value, **others}
    assert solves([call(arguments, output)], {"f": [answer]}) == (None,), reject_reasons(
        [call(arguments, output)], {"f": [answer]}
    )


NAMES = ("value", "unit", "amount", "currency", "first_name", "last_name", "id", "name", "q", "rows", "length_km")
WHOLE: tuple[Callable[[Any], str], ...] = (
    json.dumps,
    lambda arguments: json.dumps({"result": arguments}),
    lambda arguments: json.dumps([arguments, {"page": 1}]),
    lambda arguments: json.dumps({"seen": json.dumps(arguments)}),
    lambda arguments: json.dumps(list(arguments.values())),
)


@runs(600)
@given(st.data(), st.dictionaries(st.sampled_from(NAMES), scalars, min_size=1, max_size=4), st.sampled_from(WHOLE))
def test_a_tool_that_returns_all_its_arguments_never_solves(
    data: st.DataObject, arguments: dict[str, Any], write: Callable[[Any], str]
) -> None:
    texts = [leaf.raw for leaf in leaves(write(arguments)) if leaf.raw and leaf.raw not in (("result",), ("seen",))]
    assume(texts)
    pieces = []
    for _ in range(data.draw(st.integers(1, 2))):
        text = data.draw(st.sampled_from(texts))
        start = data.draw(st.integers(0, len(text) - 1))
        pieces.append(" ".join(map(spelled, text[start : data.draw(st.integers(start + 1, len(text)))])))
    answer = ", ".join(pieces)
    assume(not {"#1", "one", "page"} & set(tokens(answer)) or write is not WHOLE[2])
    record = call(arguments, write(arguments))
    assert solves([record], {"f": [answer]}) == (None,), reject_reasons([record], {"f": [answer]})


@runs(200)
@given(strings, st.sampled_from(["{}() got an unexpected keyword argument '{}'", "{}: no parameter {!r}"]))
def test_a_guess_as_a_parameter_name_never_solves(guess: str, message: str) -> None:
    output = message.format("f", guess)
    assert solves([call({guess: 1}, output)], {"f": [guess]}) == (None,)
    assert solves([call({guess: 1}, output, "raised")], {"f": [guess]}) == (None,)


# --- 5: nothing raises -------------------------------------------------------------------------------------------

json_texts = st.recursive(
    st.one_of(st.text(max_size=10), st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4), inner.map(json.dumps)
    ),
    max_leaves=10,
).map(json.dumps)
texts = st.one_of(st.text(), json_texts, strings, st.characters().map(lambda letter: letter * 50))


@runs(400)
@given(texts, texts, st.dictionaries(st.text(max_size=5), values, max_size=3), st.sampled_from(STATUSES))
def test_nothing_raises(output: str, answer: str, arguments: dict[str, Any], status: CallStatus) -> None:
    calls = (call(arguments, output), call(None, output, "malformed"), call(arguments, answer, status))
    sample = Sample("0", (Message("user", "Answer: ..."),), (), {}, Gold({"f": (answer, output)}, answer=answer))
    episode = Trajectory((Message("assistant", output),), calls, 1, "ok", "stop", Usage(), {})
    verdict = score(sample, episode)
    assert len(verdict.solves) == len(verdict.paper_solves) == 3
    assert all(value is None or value >= 0 for value in verdict.scores.values())
    is_error(status, output)
    parts(output)


@runs(300)
@given(texts)
def test_every_text_with_a_token_states_itself(text: str) -> None:
    output = json.dumps([text + "\n"])
    has_token = bool(tokens(text))
    plain = len(leaves(output)) == 1 and leaves(output)[0].raw == tokens(text)
    assert states(leaves(output), text) or not has_token or not plain or is_error("ok", output)


# --- 6: matching, against brute force ----------------------------------------------------------------------------

ANSWERS = ("alpha", "beta", "gamma", "delta")
wishes = st.lists(st.sets(st.integers(0, 3)), max_size=5)


def brute_force(wanted: list[set[int]]) -> tuple[int | None, ...]:
    """Of all one-to-one assignments of most calls: the first, where earlier calls and earlier answers count more."""
    options = [[*sorted(wish), None] for wish in wanted]
    legal = [
        chosen
        for chosen in itertools.product(*options)
        if len(taken := [position for position in chosen if position is not None]) == len(set(taken))
    ]
    most = max(map(count, legal))
    return min(
        (chosen for chosen in legal if count(chosen) == most),
        key=lambda chosen: [9 if position is None else position for position in chosen],
    )


@runs(400)
@given(wishes)
def test_matching_is_what_brute_force_finds(wanted: list[set[int]]) -> None:
    calls = [
        call({"q": f"argument {index}"}, " ".join(ANSWERS[position] for position in wish))
        for index, wish in enumerate(wanted)
    ]
    assert solves(calls, {"f": ANSWERS}) == brute_force(wanted)


# --- reading: a text without digits needs no pattern of what has them ---------------------------------------------

PIECES = (
    "a.",
    "b. ",
    "may",
    "US$",
    "$",
    "%",
    "°",
    "-",
    "'",
    " ",
    "\n",
    "three",
    "km",
    "é",
    "ß",
    "ท",
    "日",
    "・",
    "_",
    "o'clock",
)


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.characters()), max_size=12).map("".join))
@runs(400)
def test_a_text_without_digits_is_scanned_alike_by_both_patterns(text):
    low = fold(text).low
    assume(not re.search(r"\d", low))
    full, short = (_scanner(True, low.isascii(), digits).finditer(low) for digits in (True, False))
    assert [(one.lastgroup, one.span()) for one in full] == [(one.lastgroup, one.span()) for one in short]
