"""Every way to spoil a reply is refused with a sentence and mended by the next good reply, or ends the environment."""

import random

import pytest
from fakes.careless_author import CarelessAuthor, books, build, spoil_each
from fakes.spoiled_replies import SPOILS

from envbuilder.model import ModelReport
from harness.sandbox import Sandbox, SandboxConfig

LATER = {("calls", "a wrong choice")}
"""What only the code can show: the good code does not give the answer to a wrong call, whatever is replied."""
BOOKS = {f"{book['scenario']['kind']}: {book['topic']}": book for book in books()}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=2, call_timeout=0.4)) as shared:
        yield shared


@pytest.fixture(scope="module")
def played(sandbox, tmp_path_factory):
    """By book: its author, who spoiled every reply in every way, what became of it, and the report."""
    found = {}
    for name, book in BOOKS.items():
        folder = tmp_path_factory.mktemp("careless") / "stages"
        author = CarelessAuthor(book, spoil_each(LATER), random.Random(1))
        found[name] = (author, build(author, folder, sandbox, tries=80), ModelReport.from_directory(folder).to_json())
    return found


@pytest.mark.parametrize("name", BOOKS)
def test_every_spoiled_reply_is_refused_and_the_good_one_taken(name, played):
    author, why_not, _ = played[name]
    assert why_not is None
    assert author.let_through == []
    assert author.good_refused == 0
    assert author.refused == author.bad
    assert author.bad.total() > 100
    assert all(len(said) > len("Your reply was refused: ") + 10 for said in author.said.values())


def test_the_books_show_every_spoil(played):
    seen = {spoil for author, _, _ in played.values() for spoil in author.bad}
    assert seen | LATER == {(stage, cause) for stage, causes in SPOILS.items() for cause in causes}


def test_what_was_spoiled_is_counted_by_stage_and_cause(played):
    for name, (author, _, stages) in played.items():
        assert sum(sum(stage["refused"].values()) for stage in stages.values()) == author.refused.total(), name
        assert stages["scenario"]["refused"]["cut_off"] == stages["scenario"]["refused"]["empty"] == 1
        assert stages["deployment"]["refused"]["ignored"] > 0
        assert sum(stage["requests"] for stage in stages.values()) > author.bad.total()


def test_a_wrong_call_ends_the_environment(tmp_path, sandbox):
    def choose(stage, tool, prompt):
        return "a wrong choice" if stage == "calls" else None

    said = build(CarelessAuthor(books()[0], choose, random.Random(1)), tmp_path / "stages", sandbox, tries=2)
    assert said.startswith("deployment: wrong_answer: ")


def test_the_last_try_ends_the_environment(tmp_path, sandbox):
    author = CarelessAuthor(books()[1], lambda stage, tool, prompt: "empty", random.Random(1))
    assert build(author, tmp_path / "stages", sandbox, tries=3) == "scenario: empty: it is empty."
    assert author.bad.total() == 3
