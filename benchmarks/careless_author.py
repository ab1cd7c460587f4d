"""What share of a careless author's replies the stages refuse, by cause.

    python benchmarks/careless_author.py [--n 100] [--rate 0.3] [--seed 1] [--by stage|cause] [--smoke]

Good replies for five environments (one as a person wrote it, four small ones, one a kind) are spoiled with a chance of
`rate`, each in a way that is drawn anew; `n` environments are built so and audited like any other. A spoiled reply that
is not refused at once may still end its environment later; what is left got through. The ways to spoil are those that
somebody thought of: a share of 1 says that these are refused, and nothing about others.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.sandbox import Sandbox

TESTS = Path(__file__).resolve().parents[1] / "tests"
TRIES = 30


class Count(Counter[str]):
    """Replies by what became of them: bad, refused, later, through."""


def measure(n: int, rate: float, seed: int) -> tuple[dict[tuple[str, str], Count], Count]:
    """Counts by (stage, cause), and of environments: built, dropped, good replies refused."""
    sys.path.insert(0, str(TESTS))
    fake: Any = importlib.import_module("fakes.careless_author")
    counts: dict[tuple[str, str], Count] = {}
    ends, books = Count(), fake.books()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        for index in range(n):
            rng = random.Random(f"{seed}:{index}")
            author = fake.CarelessAuthor(books[index % len(books)], fake.spoil_some(rate, rng), rng)
            why = fake.build(author, Path(folder) / str(index), sandbox, TRIES)
            ends["dropped" if why else "built"] += 1
            ends["good replies refused"] += author.good_refused
            for what in ("bad", "refused"):
                for cause, number in getattr(author, what).items():
                    counts.setdefault(cause, Count())[what] += number
            for cause in author.let_through:
                counts[cause]["later" if why else "through"] += 1
    return counts, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="environments")
    parser.add_argument("--rate", type=float, default=0.3, help="share of replies that are spoiled")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by", choices=["stage", "cause"], default="cause")
    parser.add_argument("--smoke", action="store_true", help="five environments: seconds")
    args = parser.parse_args()
    found, ends = measure(5 if args.smoke else args.n, args.rate, args.seed)
    counts: dict[tuple[str, ...], Count] = {}
    for cause, count in sorted(found.items()):
        counts.setdefault(cause if args.by == "cause" else cause[:1], Count()).update(count)
        counts.setdefault(("all",), Count()).update(count)
    rows = [
        [
            " ".join(cause[:1]),
            " ".join(cause[1:]),
            c["bad"],
            c["refused"],
            c["refused"] / c["bad"],
            c["later"],
            c["through"],
        ]
        for cause, c in sorted(counts.items(), key=lambda item: item[0] == ("all",))
    ]
    headers = ["stage", "spoiled by", "replies", "refused", "share", "environment dropped later", "got through"]
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".3f"))
    print(f"\n{ends['built']} environments built, {ends['dropped']} dropped; good replies refused: ", end="")
    print(ends["good replies refused"])


if __name__ == "__main__":
    main()
