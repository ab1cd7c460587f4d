"""Prices from a file, and the budget that they feed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.runs.prices import Budget, Price, price_of
from harness.types import Usage

FILE = """
["openai/gpt-4.1-mini"]
input = 0.40
cached_input = 0.10
output = 1.60

["openai/gpt-4.1*"]
input = 2
output = 8
"""


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(FILE)
    return path


def test_an_exact_name_comes_before_a_glob(prices):
    assert price_of("openai/gpt-4.1-mini", prices, {}) == Price(input=0.40, output=1.60, cached_input=0.10)
    assert price_of("openai/gpt-4.1", prices, {}) == Price(input=2.0, output=8.0, cached_input=2.0)
    assert price_of("openai/other", prices, {}) is None


def test_where_the_file_is_looked_for(prices, tmp_path):
    assert price_of("openai/gpt-4.1", None, {"HARNESS_PRICES": str(prices)}) is not None
    assert price_of("openai/gpt-4.1", None, {"HOME": str(tmp_path)}) is None
    home = tmp_path / ".config" / "harness"
    home.mkdir(parents=True)
    (home / "prices.toml").write_text(FILE)
    assert price_of("openai/gpt-4.1", None, {"HOME": str(tmp_path)}) is not None


def test_cached_tokens_are_part_of_the_input_and_cost_their_own_price():
    price = Price(input=4.0, output=10.0, cached_input=1.0)
    used = Usage(input_tokens=1_000_000, cached_tokens=250_000, output_tokens=100_000, reasoning_tokens=90_000)
    assert price.cost_of(used) == pytest.approx(0.75 * 4 + 0.25 * 1 + 0.1 * 10)


@pytest.mark.parametrize(
    "text",
    [
        "[x",
        "model = 3",
        '["m"]\ninput = 1',
        '["m"]\ninput = 1\noutput = -1',
        '["m"]\ninput = "1"\noutput = 1',
        '["m"]\ninput = 1\noutput = nan',
        '["m"]\ninput = 1\noutput = 1\nouput = 1',
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"prices\.toml"):
        price_of("m", path, {})
        price_of("model", path, {})


def test_a_missing_file_that_was_named_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no price file"):
        price_of("m", tmp_path / "none.toml", {})


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 5000))
def test_a_budget_is_spent_exactly_when_the_tokens_reach_it(tokens, limit):
    budget = Budget(max_tokens=limit)
    for number in tokens:
        budget.add(Usage(input_tokens=number, output_tokens=1), None)
    assert (budget.limit_reached is not None) == (sum(tokens) + len(tokens) >= limit)


def test_a_budget_in_dollars():
    budget = Budget(max_cost=0.01)
    price = Price(input=10.0, output=10.0, cached_input=10.0)
    budget.add(Usage(output_tokens=999), price)
    assert budget.limit_reached is None
    budget.add(Usage(output_tokens=1), price)
    assert "--max-cost 0.01" in budget.limit_reached
