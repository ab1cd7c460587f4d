"""What two environments share is found, whatever split or file they come from; what they may share is left alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from builders import COUNTER, sample

from envbuilder.audit.corpus import CorpusAudit, bare_question, entity_names, look_at
from envbuilder.worlds.catalogue import ENTITY_KINDS
from harness.types import Message, Sample

QUESTION = (
    "How many people live in the town whose mayor opened the iron bridge over the river Wend in the year that the old "
    "lighthouse on the northern cape was painted red for the first time?"
)


def one(number: int, text: str = "", code: str = "", **metadata: Any) -> Sample:
    """An environment that shares nothing with those of other numbers."""
    made = sample(
        id=f"e{number}",
        messages=[{"role": "user", "content": text or f"Question: How many {words(number, 30)}?"}],
        codes={"population": code or COUNTER.replace("corrie", f"town {number}").replace("45210", str(number + 45210))},
        unsolved_set={"population": [str(number + 45210)] if not code else ["45210"]},
    )
    return replace(made, metadata={"world": f"w{number}", "split": "train", **metadata})


def words(seed: int, count: int) -> str:
    source = random.Random(seed)
    return " ".join("".join(source.choices("abcdefgh", k=6)) for _ in range(count))


def found(*samples: Sample, names: Any = "shared") -> list[tuple[str, str]]:
    corpus = CorpusAudit(names)
    for each in samples:
        corpus.add(each)
    return [(label, finding.check) for label, finding in corpus.findings()]


def test_different_environments_share_nothing():
    assert found(*(one(number) for number in range(20)), names="disjoint") == []


def test_equal_questions_are_found_whatever_case_spaces_and_prompt():
    texts = (f"Question: {QUESTION}", f"Tools only!\nQuestion: {QUESTION.upper()}  \nEnd with a line `Answer: ...`.")
    assert found(one(1, texts[0]), one(2, texts[1])) == [("e2", "duplicate_question")]


def test_near_duplicates_are_found_and_mere_relatives_are_not():
    near, far = QUESTION.replace("first time", "last time"), " ".join(reversed(QUESTION.split()))
    assert found(one(1, QUESTION), one(2, near)) == [("e2", "near_duplicate")]
    assert found(one(1, QUESTION), one(2, far), one(3, QUESTION.replace("Wend", "Ouse"))) == []


def test_every_near_duplicate_among_many_is_found():
    many = [one(number) for number in range(300)]
    again = [one(1000 + n, f"{many[n].messages[0].content} And then?") for n in range(0, 300, 10)]
    assert [check for _, check in found(*many, *again)] == ["near_duplicate"] * 30


def test_a_world_may_be_shared_within_a_split_only():
    assert found(one(1, world="w"), one(2, world="w")) == []
    assert found(one(1, world="w"), one(2, world="w", split="test")) == [("e2", "shared_world")]


def test_code_with_its_facts_is_a_fault_across_splits_and_a_remark_within_one():
    assert found(one(1, code=COUNTER), one(2, code=COUNTER)) == [("e2", "duplicate_code")]
    assert found(one(1, code=COUNTER), one(2, code=COUNTER, split="test")) == [("e2", "shared_code")]


def test_a_calculator_may_be_anywhere():
    code = "def population(town):\n    return len(town)\n"
    assert found(one(1, code=code), one(2, code=code, split="test")) == []


@pytest.mark.parametrize(("names", "checks"), [("disjoint", [("e2", "shared_name")]), ("shared", [])])
def test_names_are_compared_between_splits_where_they_are_said_to_be_disjoint(names, checks):
    codes = [f'{COUNTER}\nMAYOR{n} = "Hedda Flint"\nMONTH = "March"\nSAY = "No such town"\n' for n in (1, 2)]
    made = [one(n, code=code, split=split) for n, code, split in zip((1, 2), codes, ("train", "test"), strict=True)]
    assert found(*made, names=names) == checks
    assert entity_names(made[0]) == {"Hedda Flint"}


def test_no_unit_of_a_domain_is_a_name():
    facts = [fact for kind in ENTITY_KINDS.values() for fact in kind.facts]
    values = [each.value for fact in facts for each in (fact, *fact.lures) if each.value is not None]
    units = {value.unit for value in values} | {
        each.measure.unit for kind in ENTITY_KINDS.values() for each in kind.lists
    }
    assert "Mkm" in units
    assert entity_names(one(1, code=f"{COUNTER}\nUNITS = {sorted(units)}\n")) == set()


def test_the_file_stands_for_a_split_that_is_not_named():
    corpus = CorpusAudit()
    for number, file in ((1, "a"), (2, "b")):
        made = one(number, world="w")
        corpus.add(replace(made, metadata={"world": "w"}), file)
    assert [(label, finding.where) for label, finding in corpus.findings()] == [("b/e2", "a/e1 (a)")]


def test_what_is_not_accepted_leaves_no_trace():
    corpus = CorpusAudit()
    assert corpus.add_unless_duplicate(look_at(one(1, QUESTION)))
    assert not corpus.add_unless_duplicate(look_at(one(2, QUESTION.replace("first time", "last time"))))
    assert corpus.add_unless_duplicate(look_at(replace(one(3), metadata={"world": "w2", "split": "test"})))
    assert corpus.findings() == []


@pytest.mark.parametrize(
    "content",
    ["Question: Why?", "Rules.\nQuestion: Why?\nEnd with a last line `Answer: ...`.", "Why?\n\nWrite Answer: ..."],
)
def test_the_question_alone_is_compared(content):
    assert bare_question(replace(one(1), messages=(Message("user", content),))) == "Why?"
