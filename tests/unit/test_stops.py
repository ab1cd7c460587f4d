"""Every word that ends an episode is in one list, with a sentence."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from builders import ROOT

from harness.stops import SENTENCES, Word, http_stop, stop_sentence, user_stop

ROOMS = ("harness", "tasks", "envbuilder", "trainer", "results", "examples")
PLACES = {"Trajectory": 4, "Trouble": 0, "end": 1}
"""Which argument of these is the stop, where it is not named."""


def constants(node: ast.expr) -> Iterator[str]:
    """The texts that an argument may be: itself, or the branches of a choice."""
    if isinstance(node, ast.IfExp):
        yield from (*constants(node.body), *constants(node.orelse))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def written(path: Path) -> Iterator[str]:
    """The stops that a file writes as literals."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = PLACES.get(name, len(node.args))
            named = [keyword.value for keyword in node.keywords if keyword.arg == "stop"]
            for value in (*node.args[place : place + 1], *named):
                yield from constants(value)


def test_every_stop_in_the_code_is_in_the_list():
    found = {stop: path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) for stop in written(path)}
    assert len(found) > 20
    assert {stop: path for stop, path in found.items() if stop not in SENTENCES} == {}


def test_no_word_of_the_list_is_left_unsaid():
    code = "".join(
        path.read_text(encoding="utf-8")
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if path != ROOT / "harness" / "stops.py"
    )
    assert [word for word in SENTENCES if f'"{word}"' not in code] == []


def test_every_word_has_a_sentence():
    assert tuple(SENTENCES) == get_args(Word)
    for sentence in SENTENCES.values():
        assert sentence[0].isupper(), sentence
        assert sentence.endswith("."), sentence
    assert len(set(SENTENCES.values())) == len(SENTENCES)


@pytest.mark.parametrize(
    ("stop", "sentence"),
    [
        ("max_turns", "The model had used up its turns (--max-turns)."),
        (http_stop(429), "The endpoint answered with HTTP 429."),
        ("user_silent", "The simulated user said nothing."),
        (user_stop("timeout"), "Asking the simulated user failed: The endpoint did not answer in time."),
        (
            user_stop(http_stop(500)),
            "Asking the simulated user failed: The endpoint answered with HTTP 500.",
        ),
    ],
)
def test_a_stop_is_told_in_a_sentence(stop, sentence):
    assert stop_sentence(stop) == sentence


@pytest.mark.parametrize("stop", ["", "ticket_sold", "http_", "http_9x9", "http_²²²", "user_", "user_" * 5000])
def test_a_third_partys_own_word_has_none(stop):
    assert stop_sentence(stop) is None
