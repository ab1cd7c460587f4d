"""What tokens cost: a small TOML file that the user keeps, and the running total that stops a run at a limit.

    ["openai/gpt-4.1-mini"]        # the model's full name; globs such as "openai/gpt-4.1-*" match too
    input = 0.40                   # US dollars a million tokens
    cached_input = 0.10            # of the input tokens, those the provider had in its cache; without it: as input
    output = 1.60                  # reasoning tokens are output tokens

The file is named by --prices or HARNESS_PRICES, else ~/.config/harness/prices.toml where there is one. No prices are
shipped: they change, and a wrong one is worse than none. A model without a price is counted in tokens only.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.jsonio import LARGEST
from harness.data.schema import PriceJSON
from harness.data.tables import read_toml
from harness.errors import UsageError
from harness.types import Usage

VARIABLE = "HARNESS_PRICES"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens."""

    input: float
    output: float
    cached_input: float

    def cost_of(self, usage: Usage) -> float:
        """What these tokens cost, in US dollars."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        return (fresh * self.input + cached * self.cached_input + usage.output_tokens * self.output) / MILLION

    def to_json(self) -> PriceJSON:
        return {"input": self.input, "output": self.output, "cached_input": self.cached_input}


def price_of(model: str, path: Path | None, environ: Mapping[str, str]) -> Price | None:
    """The price of a model by its full name; None where the file has none, or there is no file.

    Raises UsageError for a file that was named and is not there, and for one that cannot be read.
    """
    file = path or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if file is None:
        home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
        file = Path(home) / "harness" / "prices.toml"
        if not file.is_file():
            return None
    entries = _read(file)
    # An exact name comes before a glob, and among globs the longer before the shorter.
    for pattern in sorted(entries, key=lambda name: (name != model, -len(name))):
        if pattern == model or fnmatch.fnmatchcase(model, pattern):
            return _price(entries[pattern], f"{file}, {pattern}")
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file)
    except FileNotFoundError:
        raise UsageError(f"There is no price file at {file}.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is no price file: {error}.") from None


def _price(entry: Any, where: str) -> Price:
    known = {"input", "output", "cached_input"}
    if not isinstance(entry, dict) or not {"input", "output"} <= set(entry) <= known:
        raise UsageError(f"{where} must have input and output, and may have cached_input: dollars a million tokens.")
    numbers = {name: _number(value, f"{where}: {name}") for name, value in entry.items()}
    return Price(**{"cached_input": numbers["input"], **numbers})


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST:
        raise UsageError(f"{where} must be a number of dollars, 0 or more.")
    return float(value)


@dataclass
class Budget:
    """What a command may use up, and what it has: tokens in and out, US dollars. Past a limit no new episode begins;
    those being played end. An endpoint that counts no tokens leaves nothing to hold a limit against: it ends the run.
    `held_back`: what one more episode would cost, where that is too much (harness.evaluation.spending).
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    tokens: int = 0
    cost: float = 0.0
    uncounted: bool = False
    held_back: float | None = None

    def add(self, usage: Usage, price: Price | None, replies: int = 0) -> None:
        """`replies`: how many there were whose tokens should have been counted; none of a model that has no tokens."""
        self.uncounted |= bool(replies and usage.requests and not usage.input_tokens + usage.output_tokens)
        self.tokens += usage.input_tokens + usage.output_tokens
        self.cost += price.cost_of(usage) if price else 0.0

    def hold_back(self, episode: float) -> None:
        """Ends the command before the limit, which an episode of this cost would pass."""
        self.held_back = episode

    @property
    def limit_reached(self) -> str | None:
        """Which limit was reached, in words; None while there is room."""
        if self.uncounted and (self.max_tokens is not None or self.max_cost is not None):
            return "the endpoint counts no tokens, so no limit can be kept"
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            return f"--max-tokens-total {self.max_tokens} is reached: {self.tokens} tokens"
        if self.max_cost is not None and self.cost >= self.max_cost:
            return f"--max-cost {self.max_cost:g} is reached: ${self.cost:.4f}"
        if self.held_back is not None:
            one_more = f"and one more episode costs about ${self.held_back:.4f}"
            return f"--max-cost {self.max_cost:g} is reached: ${self.cost:.4f}, {one_more}"
        return None
