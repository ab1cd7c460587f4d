"""Can anything but reading tell whether a call is due? Words, lengths, places and overlaps of twins, held to AUROC.

    python benchmarks/when_shortcuts.py FILE... [--folds 5] [--smoke]

FILE is what `harness build --scenario when` wrote. Each predictor learns on some worlds whether a call is due, and is
judged on others. Bags of words, and of three letters, of each part of a prompt and of all of it: a logistic regression
with an L2 penalty, the best of three. What can be counted (lengths, numbers of tools and parameters, where names and
facts in force stand, which words any two parts share): the same with squares and products, and every count alone, in
its better direction. The highest figure is what the set gives away at most; with 2,000 environments .60 is the limit,
and exit status 1 above it. Beside them stands one that parses the note and learns which words of a question ask for
which form of value: no shortcut, but the least that a reader has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from envbuilder.when.scenario import HEADINGS, STRUCK
from envbuilder.worlds.vocabulary import STOP_WORDS
from harness.data.files import read_rows
from harness.scoring.decisions import SITUATIONS
from harness.stats.classifier import Array, Table, apply, auroc, bag, fold_clusters, learn, words

LIMIT = 0.60
PENALTIES = (1e-2, 1e-1, 1.0)
READS = "words of question, each with the forms of values in force"
HEADING = re.compile("|".join(map(re.escape, (heading.removesuffix("{}") for heading in HEADINGS))))
_PROMPT = re.compile(r"(.*?)\nNote: (.*?)\nQuestion: (.*?)\n(End .*)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """An environment as a predictor sees it: texts by part, what the note has in force and what it has struck, and
    whether a call is due."""

    world: str
    due: bool
    name: str
    parts: Mapping[str, str]
    held: Sequence[str]
    struck: Sequence[str]
    tools: Sequence[Mapping[str, object]]


def read_row(record: Mapping[str, Any]) -> Row:
    found = _PROMPT.fullmatch(record["messages"][0]["content"])
    assert found is not None
    note, question = found[2], found[3]
    name, told = HEADING.sub("", note, count=1).split(": ", maxsplit=1)
    facts = told.removesuffix(".").split("; ")
    struck = [fact for fact in facts if f", {STRUCK}: " in fact]
    parts = {"question": question, "note": note, "tools": record["tools"]}
    parts |= {"prompt": f"{note} {question}", "all": f"{note} {question} {record['tools']}"}
    held = [fact for fact in facts if fact not in struck]
    due = SITUATIONS[record["data_source"].partition("/")[2]].due
    tools = [tool["function"] for tool in json.loads(record["tools"])]
    return Row(record["world"], due, name, parts, held, struck, tools)


# --- predictors --------------------------------------------------------------------------------------------------


def trigrams(text: str) -> Iterator[str]:
    text = text.casefold()
    return (text[place : place + 3] for place in range(len(text) - 2))


def pairs(row: Row) -> Iterator[str]:
    """Every word of the question with the form of every value in force: who reads the note as a list can have that."""
    forms = {form_of(fact.rpartition(": ")[2]) for fact in row.held}
    return (f"{word} {form}" for word in set(words(row.parts["question"])) for form in forms)


def form_of(value: str) -> str:
    if any(map(str.isdigit, value)):
        return "date" if value.count("-") == 2 else "number"
    return "name" if value[:1].isupper() else "word"


def stems(text: str) -> frozenset[str]:
    """The beginnings of the content words of a text."""
    found = re.findall(r"[a-z]{3,}", text.casefold())
    return frozenset(word[:5] for word in found if word not in STOP_WORDS)


def counts_of(row: Row) -> dict[str, float]:
    """What can be counted of a prompt."""
    question, note, name = row.parts["question"], row.parts["note"], row.name
    held, struck = " ".join(row.held), " ".join(row.struck)
    described = [json.dumps(tool) for tool in row.tools]
    found: dict[str, float] = {f"length of {part}": len(text) for part, text in row.parts.items()}
    found |= {f"words of {part}": len(text.split()) for part, text in row.parts.items()}
    found |= {"length of what is in force": len(held), "length of what is struck": len(struck)}
    found |= {f"digits of {part}": sum(map(str.isdigit, text)) for part, text in row.parts.items()}
    found |= {"digits in force": sum(map(str.isdigit, held)), "place of name in question": question.find(name)}
    found |= {"first place in force": note.find("in force"), "last place in force": note.rfind("in force")}
    found |= {"tools": len(row.tools), "choices": row.parts["tools"].count("enum")}
    found |= {"longest tool": max(map(len, described)), "shortest tool": min(map(len, described))}
    texts = {"question": question, "in force": held, "struck": struck, "note": note}
    texts["tools"] = row.parts["tools"]
    sets = {part: stems(text.replace(name, "")) for part, text in texts.items()}
    for part, one in sets.items():
        for beside, two in sets.items():
            if part < beside:
                found[f"stems of {part} in {beside}"] = len(one & two)
                found[f"share of stems of {part} in {beside}"] = len(one & two) / max(1, len(one | two))
    for part in ("question", "in force", "struck"):
        shared = sorted((len(sets[part] & stems(text)) for text in described), reverse=True)
        found[f"most stems of {part} in a tool"] = shared[0]
        found[f"lead of that tool ({part})"] = shared[0] - shared[1] if len(shared) > 1 else shared[0]
        found[f"place of that tool ({part})"] = int(np.argmax([len(sets[part] & stems(text)) for text in described]))
    return found


def crossed(table: Array) -> Array:
    """Columns of mean 0 and spread 1, their squares and products."""
    table = table[:, table.std(0) > 0]
    table = (table - table.mean(0)) / table.std(0)
    first, second = np.triu_indices(table.shape[1])
    products = table[:, first] * table[:, second]
    return np.hstack([table, products[:, products.std(0) > 0]])


# --- judging -----------------------------------------------------------------------------------------------------


def judge(table: Table, due: Array, fold: NDArray[np.intp]) -> float:
    """The best mean AUROC on unseen worlds that one of the penalties gives."""
    found = []
    for penalty in PENALTIES:
        parts = []
        for number in range(int(fold.max()) + 1):
            held = fold == number
            weights = learn(table[~held], due[~held], penalty)
            parts.append(auroc(apply(weights, table[held]), due[held]))
        found.append(float(np.mean(parts)))
    return max(found)


def judge_rows(rows: Sequence[Row], folds: int) -> list[tuple[str, float]]:
    """Every predictor and its AUROC, the highest first."""
    due = np.array([float(row.due) for row in rows])
    fold = fold_clusters([row.world for row in rows], folds)
    found = []
    for part in rows[0].parts:
        texts = [row.parts[part] for row in rows]
        found.append((f"words of {part}", judge(bag(texts, words), due, fold)))
        found.append((f"letters of {part}", judge(bag(texts, trigrams), due, fold)))
    joined = ["\n".join(pairs(row)) for row in rows]
    found.append((READS, judge(bag(joined, lambda text: iter(text.split("\n"))), due, fold)))
    counted = [counts_of(row) for row in rows]
    table = np.array([[*row.values()] for row in counted])
    found.append(("all counts, squares, products", judge(crossed(table), due, fold)))
    for place, name in enumerate(counted[0]):
        one = auroc(table[:, place], due)
        found.append((f"{name}, alone", max(one, 1 - one)))
    return sorted(found, key=lambda one: -one[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--most", type=int, default=15, help="so many predictors are shown (default 15)")
    parser.add_argument("--smoke", action="store_true", help="40 environments, built here: seconds, no figure to quote")
    args = parser.parse_args()
    records = [record for path in args.file for record in read_rows(path)]
    if args.smoke:
        records = small_set()
    found = judge_rows([read_row(record) for record in records], 2 if args.smoke else args.folds)
    print(tabulate(found[: args.most], headers=["predictor", "AUROC"], floatfmt=".3f"))
    highest = max(value for name, value in found if name != READS)
    print(f"{len(records)} environments; the highest of {len(found) - 1} predictors: {highest:.3f}")
    print(f"{READS}: {dict(found)[READS]:.3f}, beyond the limit: it reads")
    return int(highest > LIMIT and not args.smoke)


def small_set() -> list[Mapping[str, Any]]:
    from envbuilder.spec import Spec
    from envbuilder.when.twins import make_twins

    return [twin.record for index in range(8) for twin in make_twins(Spec("when", index, 1, "train", preset="easy"))]


if __name__ == "__main__":
    sys.exit(main())
