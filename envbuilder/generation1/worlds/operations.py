"""Closing operations: tools that compute a quantity from earlier answers.

Each has its wording, its parameters, and two forms of the same computation: `compute` for the builder and `code` for
the tool. Code names the parameters as they are named here; deployment renames them to what the schema says, and sets
the options that a tool does not offer to their defaults.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envbuilder.records import JSONObject


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation: alternative names (the first is the one in the code), its schema, what it is."""

    names: tuple[str, ...]
    schema: JSONObject
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """`inputs` take the earlier answers; `options` all have defaults that keep the plain result."""

    id: str
    arity: int
    tools: tuple[str, ...]
    about: tuple[str, ...]
    asks: tuple[str, ...]
    inputs: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    compute: Callable[..., Any]
    result: str
    code: str
    imports: str = "import re"

    def arguments(self, names: Sequence[str], values: Sequence[Any], extra: Mapping[str, Any]) -> JSONObject:
        """The gold arguments; `names` are what this tool calls its inputs. Several values may share one list."""
        given: list[Any] = [list(values)] if len(self.inputs) < len(values) else list(values)
        return dict(zip(names, [*given, *extra.values()], strict=True))


def _sorted_dates(first: str, second: str) -> list[datetime.date]:
    return sorted((datetime.date.fromisoformat(first), datetime.date.fromisoformat(second)))


def _days(first: str, second: str) -> int:
    start, end = _sorted_dates(first, second)
    return (end - start).days


def _weekdays(first: str, second: str) -> int:
    start, end = _sorted_dates(first, second)
    weeks, rest = divmod((end - start).days, 7)
    return weeks * 5 + sum((start.weekday() + day) % 7 < 5 for day in range(rest))


def _months(first: str, second: str) -> int:
    start, end = _sorted_dates(first, second)
    return (end.year - start.year) * 12 + end.month - start.month - (end.day < start.day)


def _tidy(number: float, decimals: int = 2) -> float | int:
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

    start, end = parse(first_date), parse(second_date)
    if start is None or end is None:
        return {"error": "Both dates are required, preferably written as year-month-day."}
"""
_READ_NUMBER = """\
    def parse(value):
        text = str(value).replace(",", "").strip()
        return float(text) if re.fullmatch(r"-?\\d{1,15}(\\.\\d+)?", text) else None

"""
_READ_LIST = (
    _READ_NUMBER
    + """\
    numbers = [parse(item) for item in values] if isinstance(values, (list, tuple)) else []
    if len(numbers) < 2 or None in numbers:
        return {"error": "At least two plain numbers are needed, given as a list."}
"""
)
_READ_PAIR = (
    _READ_NUMBER
    + """\
    left, right = parse(first), parse(second)
    if left is None or right is None:
        return {"error": "Both quantities have to be plain numbers without units."}
"""
)
_ROUND = """\
    if type(decimals) is not int or not 0 <= decimals <= 8:
        return {"error": "decimals has to be a whole number from zero to eight."}
    outcome = round(outcome, decimals)
    outcome = int(outcome) if outcome == int(outcome) else outcome
"""


def _flag(names: str, description: str) -> Parameter:
    return Parameter(tuple(names.split("|")), {"type": "boolean", "default": False}, description)


def _date_input(names: str, description: str) -> Parameter:
    return Parameter(tuple(names.split("|")), {"type": "string", "format": "date"}, description)


def _number_input(names: str, description: str) -> Parameter:
    return Parameter(tuple(names.split("|")), {"type": "number"}, description)


_DATES = (
    _date_input("first_date|start_date|date_a|from_date", "One of the two dates, written as YYYY-MM-DD."),
    _date_input("second_date|end_date|date_b|to_date", "The other date, written as YYYY-MM-DD; the order is free."),
)
_VALUES = (
    Parameter(
        ("values", "numbers", "quantities", "figures"),
        {"type": "array", "items": {"type": "number"}, "minItems": 2},
        "The plain numbers to work on, all in the same unit and without thousands separators.",
    ),
)
_PAIR = (
    _number_input("first|minuend|value_a|left_value", "The first quantity as a plain number, without its unit."),
    _number_input("second|subtrahend|value_b|right_value", "The second quantity, in the same unit as the first one."),
)
_DECIMALS = Parameter(
    ("decimals", "precision", "decimal_places", "digits"),
    {"type": "integer", "minimum": 0, "maximum": 8, "default": 2},
    "How many decimal places the outcome keeps; trailing zeros are dropped.",
)
_SKIPPED = Parameter(
    ("skipped_dates", "holidays", "excluded_dates"),
    {"type": "array", "items": {"type": "string", "format": "date"}},
    "Individual days that are not counted when they fall into the interval.",
)
_INCLUSIVE = _flag("inclusive|include_last_day|count_both_ends", "Whether the closing day itself counts as well.")
_AS_TEXT = _flag("as_text|verbose|spell_out", "Answer with a short sentence instead of a record.")
_CAP = Parameter(
    ("ceiling", "upper_limit", "maximum_result"),
    {"type": "number"},
    "An upper bound: a larger outcome is refused with an error, which catches typing mistakes.",
)

_SKIP_CODE = "    skipped = [parse(day) for day in skipped_dates or []]\n"

OPERATIONS: Mapping[str, Operation] = {
    operation.id: operation
    for operation in (
        Operation(
            "days_between",
            2,
            ("days_between", "date_gap_calculator", "interval_in_days", "day_counter", "calendar_distance"),
            (
                "Counts the calendar days from one date to another, whichever comes first.",
                "Leap days are honoured according to the Gregorian rule, also before its historical adoption.",
                "Individual days can be left out, and the closing day can be counted too.",
            ),
            (
                "How many days lie between {0} and {1}?",
                "How many days apart are {0} and {1}?",
                "What is the number of days between {0} and {1}?",
                "Count the days between {0} and {1}.",
            ),
            _DATES,
            (
                _INCLUSIVE,
                _SKIPPED,
                _AS_TEXT,
                _flag("signed|keep_sign", "Return a negative count when the first date is the later one."),
            ),
            _days,
            "days",
            _READ_DATES
            + _SKIP_CODE
            + """\
    early, late = min(start, end), max(start, end)
    outcome = (late - early).days + (1 if inclusive is True else 0)
    outcome -= sum(1 for day in skipped if day is not None and early <= day < late)
    if signed is True and end < start:
        outcome = -outcome
""",
            "from datetime import datetime",
        ),
        Operation(
            "weekdays_between",
            2,
            ("weekday_counter", "working_days_between", "business_day_calculator", "workday_tally"),
            (
                "Tallies the days from Monday to Friday in the interval that two dates span.",
                "The opening day is part of the interval, the closing day only on request.",
                "Public holidays differ from town to town and are deducted only when they are listed.",
            ),
            (
                "How many weekdays from Monday to Friday, the later day left out, lie between {0} and {1}?",
                "Leaving out the later day, how many days from Monday to Friday lie between {0} and {1}?",
            ),
            _DATES,
            (
                _INCLUSIVE,
                _SKIPPED,
                _AS_TEXT,
                _flag("six_day_week|saturday_counts|include_saturdays", "Whether Saturday is a working day as well."),
            ),
            _weekdays,
            "weekdays",
            _READ_DATES
            + _SKIP_CODE
            + """\
    early, late = min(start, end).toordinal(), max(start, end).toordinal()
    off = [day.toordinal() for day in skipped if day is not None]
    last = 6 if six_day_week is True else 5
    weeks, rest = divmod(late - early + (1 if inclusive is True else 0), 7)
    outcome = weeks * last + sum((early + 6 + day) % 7 < last for day in range(rest))
    outcome -= sum(1 for day in off if early <= day < late and (day + 6) % 7 < last)
""",
            "from datetime import datetime",
        ),
        Operation(
            "months_between",
            2,
            ("months_between", "full_months_calculator", "month_counter", "months_elapsed"),
            (
                "Works out how many complete months have passed from one date to another.",
                "A month is complete when the same day of the month is reached again.",
                "The order of the dates does not matter unless a sign is requested.",
            ),
            (
                "How many full months lie between {0} and {1}?",
                "How many complete months passed between {0} and {1}?",
                "Count the full months between {0} and {1}.",
            ),
            _DATES,
            (
                _AS_TEXT,
                _flag("signed|keep_sign", "Return a negative count when the first date is the later one."),
                _flag("in_years|as_years|years_only", "Count complete years instead of complete months."),
            ),
            _months,
            "months",
            _READ_DATES
            + """\
    early, late = min(start, end), max(start, end)
    months = (late.year - early.year) * 12 + late.month - early.month - (late.day < early.day)
    outcome = months // 12 if in_years is True else months
    if signed is True and end < start:
        outcome = -outcome
""",
            "from datetime import datetime",
        ),
        Operation(
            "sum",
            0,
            ("sum_calculator", "add_values", "total_calculator", "figure_adder", "addition_service"),
            (
                "Adds up two or more plain numbers and rounds the total.",
                "Magnitudes can be summed regardless of their sign, and implausible totals can be refused.",
                "Units are not interpreted: convert everything to one unit beforehand.",
            ),
            (
                "What is the sum of {0} and {1}?",
                "What do {0} and {1} add up to?",
                "Add {0} to {1}: what is the total?",
            ),
            _VALUES,
            (
                _DECIMALS,
                _AS_TEXT,
                _CAP,
                _flag("magnitudes|ignore_signs|absolute_values", "Treat every number as positive before adding."),
            ),
            lambda *values: _tidy(sum(float(value) for value in values)),
            "total",
            _READ_LIST
            + """\
    outcome = sum(abs(item) if magnitudes is True else item for item in numbers)
"""
            + _ROUND,
        ),
        Operation(
            "average",
            0,
            ("mean_calculator", "average_of", "averaging_service", "central_value"),
            (
                "Computes the arithmetic mean of at least two numbers, or their median.",
                "Outliers stay in unless a ceiling rejects the outcome.",
                "Meant for quick cross-checks of statistics from several registers.",
            ),
            ("What is the average of {0} and {1}?", "What is the arithmetic mean of {0} and {1}?"),
            _VALUES,
            (
                _DECIMALS,
                _AS_TEXT,
                _CAP,
                _flag("median|use_median", "Return the median instead of the arithmetic mean."),
            ),
            lambda *values: _tidy(sum(float(value) for value in values) / len(values)),
            "mean",
            _READ_LIST
            + """\
    ranked = sorted(numbers)
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    outcome = middle if median is True else sum(numbers) / len(numbers)
"""
            + _ROUND,
        ),
        Operation(
            "difference",
            2,
            ("difference_calculator", "subtract_values", "gap_between_values", "margin_calculator"),
            (
                "Subtracts one plain number from another and reports the distance between them.",
                "By default the distance is positive; a signed result keeps the order of the arguments.",
                "Useful for margins, surpluses and gaps in a series.",
            ),
            (
                "What is the difference between {0} and {1}?",
                "How far apart are {0} and {1}, as a number?",
                "By how much do {0} and {1} differ?",
            ),
            _PAIR,
            (
                _DECIMALS,
                _AS_TEXT,
                _CAP,
                _flag("signed|keep_sign", "Keep the sign: first quantity minus second quantity."),
            ),
            lambda first, second: _tidy(abs(float(first) - float(second))),
            "difference",
            _READ_PAIR
            + """\
    outcome = left - right if signed is True else abs(left - right)
"""
            + _ROUND,
        ),
        Operation(
            "share",
            2,
            ("percentage_calculator", "share_in_percent", "share_of_total", "proportion_service"),
            (
                "Works out which percentage of the total of two quantities the first one makes up.",
                "Both quantities need the same unit, and their total must not be zero.",
                "The complement is what the second quantity contributes.",
            ),
            (
                "What percentage of their total does {0} make up, when {1} is the other part? Round to four decimals.",
                "Together {0} and {1} make a whole: what percentage of it is the former, rounded to four decimals?",
                "If {0} is added to {1}, what percentage of the total is the former, rounded to four decimals?",
            ),
            (
                _number_input("first|part|main_part", "The quantity whose share is wanted, as a plain number."),
                _number_input("second|rest|other_part", "The other part of the total, in the same unit."),
            ),
            (
                replace(_DECIMALS, schema={**_DECIMALS.schema, "default": 4}),
                _AS_TEXT,
                _CAP,
                _flag("complement|remainder|other_share", "Return the share of the second quantity instead."),
            ),
            lambda first, second: _tidy(100 * float(first) / (float(first) + float(second)), 4),
            "percent",
            _READ_PAIR
            + """\
    if complement is True:
        left, right = right, left
    if left + right == 0:
        return {"error": "The total must not be zero."}
    outcome = 100 * left / (left + right)
"""
            + _ROUND,
        ),
        Operation(
            "convert",
            1,
            ("unit_converter", "convert_units", "measurement_converter", "unit_conversion_service"),
            (
                "Converts a measured quantity from one unit to another of the same dimension.",
                "Lengths, areas, masses, volumes and durations are covered, temperatures are not.",
                "Identical units on both sides are refused.",
            ),
            (
                "Express {0} in {unit}, rounded to two decimals.",
                "What is {0}, converted to {unit} and rounded to two decimals?",
                "Converted to {unit} and rounded to two decimals, what is {0}?",
            ),
            (
                _number_input("quantity|amount|value|measurement", "The quantity to convert, as a plain number."),
                Parameter(
                    ("from_unit", "source_unit", "unit_in"),
                    {"type": "string"},
                    "The unit that the quantity is measured in.",
                ),
                Parameter(
                    ("to_unit", "target_unit", "unit_out"),
                    {"type": "string"},
                    "The unit wanted, of the same dimension.",
                ),
            ),
            (_DECIMALS, _AS_TEXT, _CAP),
            lambda value, factor: _tidy(float(value) * factor),
            "converted",
            _READ_NUMBER
            + """\
    factors = FACTORS
    amount = parse(quantity)
    units = tuple(" ".join(str(unit).casefold().replace("_", " ").split()) for unit in (from_unit, to_unit))
    if amount is None:
        return {"error": "The quantity has to be a plain number without its unit."}
    if units in factors:
        outcome = amount * factors[units]
    elif units[::-1] in factors:
        outcome = amount / factors[units[::-1]]
    else:
        return {"error": "No conversion is known between these two units."}
"""
            + _ROUND,
        ),
        Operation(
            "exchange",
            1,
            ("currency_exchange", "exchange_desk", "money_changer", "currency_converter"),
            (
                "Exchanges an amount of florins into another currency at the official rate of the mint.",
                "A commission can be deducted before the exchange.",
                "Rates are fixed once a year and hold for coins and notes alike.",
            ),
            (
                "Exchanged for {unit} and rounded to two decimals, how much is {0}?",
                "What is {0} worth in {unit}, rounded to two decimals?",
            ),
            (
                _number_input("amount|sum_in_florins|florins|value", "The amount in florins, as a plain number."),
                Parameter(
                    ("currency", "target_currency", "into"), {"type": "string"}, "The currency to exchange into."
                ),
            ),
            (
                _DECIMALS,
                _AS_TEXT,
                Parameter(
                    ("commission", "fee_percent", "fee"),
                    {"type": "number", "minimum": 0, "maximum": 50, "default": 0},
                    "A commission in per cent, taken off before the exchange.",
                ),
            ),
            lambda value, factor: _tidy(float(value) * factor),
            "exchanged",
            _READ_NUMBER
            + """\
    rates = FACTORS
    florins, percent = parse(amount), parse(commission)
    rate = rates.get(" ".join(str(currency).casefold().split()))
    if florins is None or percent is None or not 0 <= percent <= 50:
        return {"error": "The amount and the commission have to be plain numbers."}
    if rate is None:
        return {"error": "No rate is quoted for that currency."}
    outcome = (florins - florins * percent / 100) * rate
"""
            + _ROUND,
        ),
    )
}

UNITS: Mapping[str, tuple[str, str, float]] = {
    "m": ("metres", "feet", 3.28084),
    "km": ("kilometres", "miles", 0.621371),
    "cm": ("centimetres", "inches", 0.393701),
    "mm": ("millimetres", "inches", 0.0393701),
    "kg": ("kilograms", "pounds", 2.20462),
    "g": ("grams", "ounces", 0.035274),
    "t": ("tonnes", "short tons", 1.10231),
    "km2": ("square kilometres", "square miles", 0.386102),
    "m2": ("square metres", "square feet", 10.7639),
    "ha": ("hectares", "acres", 2.47105),
    "l": ("litres", "gallons", 0.264172),
    "minutes": ("minutes", "hours", 0.0166667),
    "km/h": ("kilometres an hour", "knots", 0.539957),
    "MW": ("megawatts", "horsepower", 1341.02),
    "light years": ("light years", "parsecs", 0.306601),
}
CURRENCIES = ("crowns", "ducats", "guilders", "talents", "sequins", "groats", "thalers", "doubloons")
