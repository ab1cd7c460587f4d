"""Units and currencies after a number, each in one spelling: km for kilometres, usd for $ and dollars, % for percent.

Nothing is converted: 12 km is not 12,000 m. Left out: units that are also common words (in, pounds, miles as a name),
unless a number stands before them.
"""

from __future__ import annotations

import re

SIGNS = {"us$": "usd", "$": "usd", "a$": "aud", "au$": "aud", "c$": "cad", "ca$": "cad", "hk$": "hkd", "nz$": "nzd"}
SIGNS |= {"€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr", "₩": "krw", "₽": "rub", "₺": "try", "₪": "ils"}
CURRENCIES = frozenset(
    (*SIGNS.values(), *["cny", "chf", "sek", "nok", "dkk", "pln", "czk", "huf", "brl", "mxn", "zar"])
)
_MONEY = {"dollar": "usd", "dollars": "usd", "euro": "eur", "euros": "eur", "yen": "jpy", "rupee": "inr"}
_MONEY |= {"rupees": "inr", "franc": "chf", "francs": "chf", **{code: code for code in CURRENCIES}}

_PREFIXES = (("", ""), ("kilo", "k"), ("centi", "c"), ("milli", "m"))
_BASES = (("metre", "m"), ("meter", "m"), ("gram", "g"), ("gramme", "g"), ("litre", "l"), ("liter", "l"))
_METRIC = {
    f"{prefix}{base}{plural}": short + symbol
    for prefix, short in _PREFIXES
    for base, symbol in _BASES
    for plural in ("", "s")
}
_OTHERS = {
    "%": "percent pct",
    "‰": "permille",
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years yr yrs",
    "mi": "mile miles",
    "ft": "foot feet",
    "yd": "yard yards",
    "inch": "inches",
    "oz": "ounce ounces",
    "lb": "lbs",
    "t": "tonne tonnes",
    "ha": "hectare hectares",
    "kwh": "kilowatthours",
    "kw": "kilowatt kilowatts",
    "w": "watt watts",
    "kb": "kilobyte kilobytes",
    "mb": "megabyte megabytes",
    "gb": "gigabyte gigabytes",
    "tb": "terabyte terabytes",
    "degree": "degrees deg",
    "c": "celsius centigrade",
    "f": "fahrenheit",
}
_NAMES = {name: unit for unit, names in _OTHERS.items() for name in (unit, *names.split())}
UNITS: dict[str, str] = {**_METRIC, **{short: short for short in _METRIC.values()}, **_NAMES, **_MONEY}
UNITS |= {"km2": "km2", "m2": "m2", "m3": "m3", "sqkm": "km2"}
"""Every spelling of a unit that may follow a number, and the one that stands for all."""

GLUED = re.compile(
    r"(?:[kcm]?m[23]?|k?g|mg|m?l|cl|lbs?|oz|ft|mi|[kmgt]b|k?wh?|ha|hrs?|h|mins?|secs?|kmh|mph|[kmg]?hz|eur|usd|gbp)"
)
"""Units that may follow their number without a space, in small letters."""

PER_HOUR = {"mph": "mi", "kmh": "km", "kph": "km"}

SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400, "week": 604800}


def unit_of(word: str) -> str | None:
    return UNITS.get(word)
