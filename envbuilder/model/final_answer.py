"""The final answer of a problem: values in one form, all of them founded in its sub-answers or its question.

A sentence cannot be compared with what a model writes on its last line, and a number that nobody computed step by step
may be wrong. Left out: whether the value is the right one for the question, which only a reader can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import permutations

from envbuilder.model.author import InvalidReply
from envbuilder.records import Scenario
from harness.scoring import phrases
from harness.scoring.answer import same_answer
from harness.scoring.leaves import all_leaves
from harness.scoring.normalise import tokens

LONGEST_CHOICE = 8
"""Words of a name that is chosen from the question."""
AMOUNT = re.compile(r"[-+]?\d[\d.,]*\s*[^\W\d]")
WORD = re.compile(r"[^\W\d_]+")


def check_final(scenario: Scenario, given: str | None) -> None:
    """Raises InvalidReply. A user's own answer, `given`, may be longer than its values."""
    if given is not None and not same_fact(scenario.answer, given):
        raise InvalidReply("answer", f"the answer is given as {given!r}, and {scenario.answer!r} was said.")
    values = [scenario.answer] if given is not None else list(split_values(scenario))
    if given is None:
        for value in values:
            check_value(scenario, value)
    is_last = is_answer if given is None else same_fact
    last = scenario.hops[-1].answer
    if ends_in_last(scenario) and not any(is_last(value, last) for value in values):
        raise InvalidReply(
            "answer", f"the final answer, {scenario.answer!r}, is not {last!r}, the last sub-question's answer."
        )


def ends_in_last(scenario: Scenario) -> bool:
    """Whether the last sub-question is what the question asks for: a chain's end, or what combines two."""
    return scenario.kind in ("single_hop", "multi_hop") or len(scenario.hops[-1].depends_on) > 1


def split_values(scenario: Scenario) -> Iterator[str]:
    """The values of a final answer: between semicolons, and between commas where no value has one."""
    for part in map(str.strip, scenario.answer.split(";")):
        if is_founded(scenario, part):
            yield part
        else:
            yield from re.split(r",\s+", part)


def check_value(scenario: Scenario, value: str) -> None:
    if not is_founded(scenario, value):
        raise InvalidReply(
            "answer",
            f"{value!r} in the final answer is neither a sub-question's answer nor a name from the question: write the "
            "values alone, no sentence, joined by '; '; what is computed is a sub-question.",
        )
    if AMOUNT.match(value) and unit_of(value) & units_in(scenario.question):
        raise InvalidReply("answer", f"the question names the unit, so the number in {value!r} stands alone.")


def unit_of(value: str) -> set[str]:
    return {token for token in tokens(value) if token[0].isalpha()}


def units_in(question: str) -> set[str]:
    """The words of a question, each in the spelling that it has after a number."""
    return {token for word in WORD.findall(question) for token in tokens(f"2 {word}")[1:]}


def is_founded(scenario: Scenario, value: str) -> bool:
    """Whether a value is a sub-answer, a short name from the question, or follows from independent sub-answers."""
    answers = [hop.answer for hop in scenario.hops]
    if any(is_answer(value, answer) for answer in answers):
        return True
    if value and len(value.split()) <= LONGEST_CHOICE and any(map(str.isupper, value)):
        return value.casefold() in scenario.question.casefold()
    return scenario.kind == "parallel_single_hop" and is_computed(value, answers)


def is_answer(value: str, answer: str) -> bool:
    """Whether a value is an answer and nothing else, its unit aside; a sentence that holds it is not."""
    return value.casefold() == answer.casefold() or same_answer(answer, value) or same_amount(value, answer)


def same_amount(value: str, answer: str) -> bool:
    """14820 objects and 14820."""
    return bool(AMOUNT.match(value)) and len(value.split()) <= 3 and number_in(value) == number_in(answer) is not None


def is_computed(value: str, answers: Iterable[str]) -> bool:
    """Whether a number is the sum, a difference, the mean, a product or a ratio of the sub-answers, or days between."""
    wanted = number_in(value)
    numbers = [number for answer in answers if (number := number_in(answer)) is not None]
    days = [day for answer in answers if (day := day_of(answer)) is not None]
    if wanted is None:
        return False
    found = {Decimal(abs((one - other).days)) for one, other in permutations(days, 2)}
    if len(numbers) > 1:
        found |= {sum(numbers, Decimal()), sum(numbers, Decimal()) / len(numbers)}
    for one, other in permutations(numbers, 2):
        found |= {abs(one - other), one * other} | ({one / other} if other else set())
    return any(abs(number - wanted) <= rounding(wanted) for number in found)


def rounding(number: Decimal) -> Decimal:
    """What a number may be off by where it is rounded to its last place; whole numbers are exact."""
    exponent = number.as_tuple().exponent
    return Decimal(1).scaleb(exponent) / 2 if isinstance(exponent, int) and exponent < 0 else Decimal()


def number_in(text: str) -> Decimal | None:
    """The one number of a text."""
    found = [token[1:] for token in tokens(text) if token[0] == "#"]
    try:
        return Decimal(found[0]) if len(found) == 1 else None
    except InvalidOperation:
        return None


def day_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def same_fact(one: str, other: str) -> bool:
    return phrases.mentions(all_leaves(one), other) or phrases.mentions(all_leaves(other), one)
