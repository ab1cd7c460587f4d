"""Closing operations: tools that compute a quantity from earlier answers, in words that no question uses.

Each has two forms of the same computation: `compute` for the builder and `code` for the tool. Code names the parameters
by the first of their names; deployment renames them to what the schema says.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuilder.records import JSONObject


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation: alternative names (the first is the one in the code) and its schema."""

    names: tuple[str, ...]
    schema: JSONObject


@dataclass(frozen=True, slots=True)
class Operation:
    """`asks` are questions about phrases {0}, {1} (and {unit}); `inputs` take earlier answers, then codes."""

    id: str
    tools: tuple[str, ...]
    about: tuple[str, ...]
    asks: tuple[str, ...]
    inputs: tuple[Parameter, ...]
    compute: Callable[..., Any]
    result: str
    code: str
    imports: str = "import re"

    def arguments(self, names: Sequence[str], values: Sequence[Any], codes: Sequence[str]) -> JSONObject:
        """The gold arguments; `names` are what this tool calls its inputs. Several values may share one list."""
        given: list[Any] = [list(values)] if len(self.inputs) < len(values) else list(values)
        return dict(zip(names, [*given, *codes], strict=True))


UNITS: Mapping[str, tuple[str, str, float]] = {
    "m": ("[ft_i]", "feet", 3.28084),
    "km": ("[mi_i]", "miles", 0.621371),
    "cm": ("[in_i]", "inches", 0.393701),
    "kg": ("[lb_av]", "pounds", 2.20462),
    "t": ("[stn_av]", "short tons", 1.10231),
    "ha": ("[acr_us]", "acres", 2.47105),
    "l": ("[gal_us]", "US gallons", 0.264172),
}
"""By unit: the UCUM code (https://ucum.org) of the customary unit, its everyday name, and how many go into one."""

CURRENCIES: Mapping[str, tuple[str, str]] = {
    "TLR": ("thalers", "silver piece of the northern mint"),
    "DKT": ("ducats", "gold piece of the free ports"),
    "GRT": ("groats", "copper piece of the river cities"),
    "KRN": ("crowns", "note of the southern treasury"),
}
"""By code: what people call it, and how the schema explains it. Amounts are in florins."""


def _days(first: str, second: str) -> list[datetime.date]:
    return sorted((datetime.date.fromisoformat(first), datetime.date.fromisoformat(second)))


def _elapsed(first: str, second: str) -> int:
    start, end = _days(first, second)
    return (end - start).days


def round_figure(number: float, decimals: int = 2) -> float | int:
    """A figure as the operations give it: rounded, whole where it is whole."""
    rounded = round(number, decimals)
    return int(rounded) if rounded == int(rounded) else rounded


_READ_DATES = """\
    def parse(text):
        text = " ".join(str(text).replace(",", " ").split())
        for form in ("%Y-%m-%d", "%Y/%m/%d", "%d %B %Y", "%B %d %Y", "%d %b %Y", "%d.%m.%Y"):
            try:
                return datetime.strptime(text, form).date()
            except ValueError:
                continue
        return None

    start, end = parse(begin), parse(finish)
    if start is None:
        return {"error": "begin: not a calendar date; write it as YYYY-MM-DD."}
    if end is None:
        return {"error": "finish: not a calendar date; write it as YYYY-MM-DD."}
"""
_READ_NUMBER = """\
    def parse(value):
        text = str(value).replace(",", "").strip()
        return float(text) if re.fullmatch(r"-?\\d{1,15}(\\.\\d+)?", text) else None

"""
_READ_LIST = (
    _READ_NUMBER
    + """\
    numbers = [parse(item) for item in series] if isinstance(series, (list, tuple)) else []
    if len(numbers) < 2 or None in numbers:
        return {"error": "series: give two or more plain figures as a list, without units."}
"""
)
_READ_PAIR = (
    _READ_NUMBER
    + """\
    left, right = parse(x), parse(y)
    if left is None:
        return {"error": "x: not a plain figure; leave out units and signs."}
    if right is None:
        return {"error": "y: not a plain figure; leave out units and signs."}
"""
)
_READ_ONE = (
    _READ_NUMBER
    + """\
    amount = parse(qty)
    if amount is None:
        return {"error": "qty: not a plain figure; leave out units and signs."}
"""
)
_ROUND = """\
    outcome = round(outcome, 2)
    outcome = int(outcome) if outcome == int(outcome) else outcome
"""


def _date(names: str, about: str) -> Parameter:
    return Parameter(tuple(names.split("|")), {"type": "string", "format": "date", "description": about})


def _number(names: str, about: str) -> Parameter:
    return Parameter(tuple(names.split("|")), {"type": "number", "description": about})


_DATES = (
    _date("begin|d1|t0|from_dt", "Either of both dates, written as YYYY-MM-DD."),
    _date("finish|d2|t1|to_dt", "Its counterpart, written as YYYY-MM-DD; their order is free."),
)
_SERIES = (
    Parameter(
        ("series", "xs", "arr", "operands"),
        {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "description": "Plain figures to work on, all in one unit, without separators.",
        },
    ),
)
_PAIR = (
    _number("x|lhs|op1|arg_a", "Plain figure, without unit or separators."),
    _number("y|rhs|op2|arg_b", "Plain figure in the same unit as its counterpart."),
)


def _list_of(operation: str, tools: str, about: str, asks: str, compute: Callable[..., Any], outcome: str) -> Operation:
    code = f"{_READ_LIST}    outcome = {outcome}\n{_ROUND}"
    return Operation(operation, _split(tools), _split(about), _split(asks), _SERIES, compute, "result", code)


def _pair_of(operation: str, tools: str, about: str, asks: str, compute: Callable[..., Any], outcome: str) -> Operation:
    code = f"{_READ_PAIR}{outcome}{_ROUND}"
    return Operation(operation, _split(tools), _split(about), _split(asks), _PAIR, compute, "result", code)


def _span_of(operation: str, tools: str, about: str, asks: str, compute: Callable[..., Any], outcome: str) -> Operation:
    imports = "from datetime import datetime"
    return Operation(
        operation, _split(tools), _split(about), _split(asks), _DATES, compute, "result", _READ_DATES + outcome, imports
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_CONVERT = Operation(
    "convert",
    _split("uom_transform|unit_calc|ucum_calc"),
    _split(
        "Expresses a physical quantity in a customary unit. Units are UCUM codes. Rounded to two decimals.|"
        "UCUM unit service: scales a quantity from its metric unit to a customary one, rounded to two decimals."
    ),
    _split(
        "In {unit}, what {is} {0}?|Expressed in {unit}, what {is} {0}?|Measured in {unit}, what {is} {0}?|"
        "I think in {unit}: what {is} {0}?|Given in {unit}, what {is} {0}?|I'm used to {unit}: what {is} {0}?"
    ),
    (
        _number("qty|magnitude|val", "Plain figure in the source unit, without separators."),
        Parameter(("src", "from_uom"), {"type": "string", "description": "UCUM code of the source."}),
        Parameter(("dst", "to_uom"), {"type": "string", "description": "UCUM code of the target."}),
    ),
    lambda value, factor: round_figure(value * factor),
    "result",
    _READ_ONE
    + """\
    factors = FACTORS
    factor = factors.get((str(src).strip(), str(dst).strip()))
    if factor is None:
        return {"error": "src, dst: this pair of codes is not supported; see their descriptions."}
    outcome = amount * factor
"""
    + _ROUND,
)
_EXCHANGE = Operation(
    "exchange",
    _split("fx_quote|fx_convert|tender_quote"),
    _split(
        "Quotes an amount of florins in a foreign tender at the fixed parity. Rounded to two decimals.|"
        "Parity service for florins: what an amount is worth abroad, rounded to two decimals."
    ),
    _split(
        "In {unit}, what {is} {0}?|Converted into {unit}, what {is} {0}?|Expressed in {unit}, what {is} {0}?|"
        "I reckon in {unit}: what {is} {0}?|Changed into {unit}, what {is} {0}?"
    ),
    (
        _number("qty|principal|val", "Plain figure in florins, without separators."),
        Parameter(("ccy", "tender"), {"type": "string", "description": "Code of the tender."}),
    ),
    lambda value, factor: round_figure(value * factor),
    "result",
    _READ_ONE
    + """\
    factors = FACTORS
    factor = factors.get(str(ccy).strip().upper())
    if factor is None:
        return {"error": "ccy: no parity is fixed for this code; see its description."}
    outcome = amount * factor
"""
    + _ROUND,
)
OPERATIONS: Mapping[str, Operation] = {
    operation.id: operation
    for operation in (
        _list_of(
            "sum",
            "aggregate_series|accumulate|reduce_plus",
            "Accumulates a series of figures (a + b + ...). Rounded to two decimals.",
            "What {is} the total of {0} and {1}?|How much do {0} and {1} make together?|"
            "Put together, what do {0} and {1} come to?|Add {0} and {1}: what comes out?|"
            "What do {0} and {1} add up to?|Combined, what do {0} and {1} come to?",
            lambda *values: round_figure(sum(values)),
            "sum(numbers)",
        ),
        _list_of(
            "average",
            "arith_mean|series_mean|centre_value",
            "Arithmetic mean of a series of figures. Rounded to two decimals.",
            "What {is} the average of {0} and {1}?|If I average {0} and {1}, what comes out?|"
            "Taking {0} and {1}, what {is} the average?|Averaged out, what do {0} and {1} come to?|"
            "What average do you get from {0} and {1}?",
            lambda *values: round_figure(sum(values) / len(values)),
            "sum(numbers) / len(numbers)",
        ),
        _pair_of(
            "difference",
            "abs_delta|delta_calc|subtract_abs",
            "Absolute delta of two figures. Rounded to two decimals.",
            "By how much do {0} and {1} differ?|"
            "What {is} the gap between {0} and {1}?|"
            "If I compare {0} with {1}, how large is the difference?|"
            "How far apart are {0} and {1}?|How big {is} the difference between {0} and {1}?|"
            "How wide a gap separates {0} and {1}?|What difference {is} there between {0} and {1}?",
            lambda first, second: round_figure(abs(first - second)),
            "    outcome = abs(left - right)\n",
        ),
        _pair_of(
            "share",
            "ratio_pct|quotient_x100|rel_pct",
            "Quotient x / y times one hundred. Rounded to two decimals.",
            "What percentage of {1} is {0}?|"
            "If {1} is a hundred per cent, what percentage is {0}?|As a percentage of {1}, what is {0}?|"
            "Expressed in per cent of {1}, how big is {0}?",
            lambda first, second: round_figure(first / second * 100),
            '    if right == 0:\n        return {"error": "y: must not be zero."}\n'
            '    if left > right:\n        return {"error": "x: must not exceed its counterpart."}\n'
            "    outcome = left / right * 100\n",
        ),
        _span_of(
            "days",
            "elapsed_calc|interval_d|span_d",
            "Length of an interval in units of 24 hours; its opening date is not counted.",
            "How many days lie between {0} and {1}?|How many days passed between {0} and {1}?|"
            "Counted in days, how far apart are {0} and {1}?|"
            "Between {0} and {1}, how many days went by?|How many days separate {0} and {1}?",
            _elapsed,
            "    outcome = abs((end - start).days)\n",
        ),
        _CONVERT,
        _EXCHANGE,
    )
}
