"""Axes: what one figure may be said of in more than one way, such as before and after an audit (axes.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuilder.worlds.schema import Fact, split_alternatives


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One way: alternative codes, the schema's explanation, a sentence for a tool that holds nothing else, and what a
    question says."""

    codes: tuple[str, ...]
    filed: str
    whole: str
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """`applies`: "yearly" to figures of a year, "plain" to other values."""

    id: str
    applies: str
    parameters: tuple[str, ...]
    filed: str
    values: tuple[AxisValue, ...]


def _axis(name: str, fields: Mapping[str, Any]) -> Axis:
    values = tuple(
        AxisValue(split_alternatives(row["codes"]), row["filed"], row["whole"], tuple(row["said"]))
        for row in fields["values"]
    )
    return Axis(name, fields["applies"], split_alternatives(fields["parameters"]), fields["filed"], values)


AXES: Mapping[str, Axis] = {
    name: _axis(name, fields)
    for name, fields in tomllib.loads((Path(__file__).parent / "axes.toml").read_text(encoding="utf-8")).items()
}


def axes_for(fact: Fact) -> tuple[Axis, ...]:
    """The axes that a fact's values may have; what leads to another thing has none."""
    if fact.target is not None:
        return ()
    return tuple(axis for axis in AXES.values() if axis.applies == ("yearly" if fact.yearly else "plain"))
