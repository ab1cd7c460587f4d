"""A folder as the paper's repository packs its data (Data/jsonl/raw), with rows written here: what --data ftrl=FOLDER
reads where the real data is not at hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from small_shop import CANCEL, NOTHING, write_shop

from harness.data.files import read_rows
from tasks.released import RAW
from tasks.synthesised import BUILDS, SCENARIOS

STRINGS = ("tools", "codes", "unsolved_set")
RELEASED = ("messages", *STRINGS, "solve_rate", "data_source", "split", "answer")
LEVELS = ("Clean", "Slight", "Medium", "Heavy", "Union")
FIRST = "def founder(company):\n    return {'acme': 'Mary Stone', 'bolt': 'Ian Reed'}.get(company.lower(), 'unknown')\n"
SECOND = "def born(person):\n    return {'born': {'Mary Stone': 1920, 'Ian Reed': 1871}.get(person)}\n"


def write_repository(folder: Path, without: Iterable[str] = (), train: int = 16, test: int = 4) -> Path:
    """Writes the files, but for those that are named, and returns the folder."""
    raw = folder / RAW
    raw.mkdir(parents=True)
    rows = list(small_environments())
    write(raw / "test.jsonl", (released(row, "test") for row in rows[:test]))
    write(raw / "train.jsonl", (released(row, "train") for row in rows[test : test + train]))
    write(raw / "ToolHop.jsonl", [hop("Acme", "1920"), hop("Bolt", "1871")])
    write(raw / "RoTBench.jsonl", [noisy(level, book) for level in LEVELS for book in ("Emma", "Persuasion")])
    write_tau_bench(raw)
    for name in without:
        (raw / name).unlink()
    return folder


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def small_environments() -> Iterator[dict[str, Any]]:
    """Those that bundled/tiny-base was made for, one of each scenario after the other."""
    (micro,) = (build for build in BUILDS if (build.family, build.version) == ("micro", 1))
    rows = list(read_rows(micro.path))
    by_scenario = [[row for row in rows if row["data_source"] == f"self/{name}"] for name in SCENARIOS]
    return chain.from_iterable(zip(*by_scenario, strict=True))


def released(row: Mapping[str, Any], split: str) -> dict[str, Any]:
    """An environment with the fields of the released rows alone, without ids and gold."""
    texts = {name: row[name] if isinstance(row[name], str) else json.dumps(row[name]) for name in STRINGS}
    fields = {**row, **texts, "solve_rate": 0.0, "split": split}
    return {name: fields[name] for name in RELEASED}


def hop(company: str, year: str) -> dict[str, Any]:
    """A row of ToolHop with its functions by name."""

    def schema(name: str, parameter: str) -> dict[str, Any]:
        properties = {parameter: {"type": "string"}}
        return {"name": name, "description": "", "parameters": {"type": "object", "properties": properties}}

    return {
        "id": company,
        "question": f"When was the founder of {company} born?",
        "answer": year,
        "sub_task": {"Who?": "", "When?": year},
        "tools": {
            "Who founded it?": schema("founder", "company"),
            "When was that person born?": schema("born", "person"),
        },
        "functions": {"founder": FIRST, "born": SECOND},
        "domain": "Companies",
    }


def noisy(level: str, book: str) -> dict[str, Any]:
    """A row of RoTBench: prompt, right answers, and its noise level in data_source."""
    names = ["find_book" if level == "Clean" else f"{level.lower()}_book", "find_song", "ask_to_user", "finish"]
    listed = [{"name": name, "description": "", "parameters": {"type": "object", "properties": {}}} for name in names]
    prompt = f"Use the tools:\n{json.dumps(listed)}\n\nLet's Begin!"
    gold = f"Thought: so\nAction: {names[0]}\nAction Input: {json.dumps({'title': book})}"
    return {
        "messages": [{"role": "system", "content": prompt}, {"role": "user", "content": f"Where is {book}?\nBegin!\n"}],
        "answer": [gold],
        "data_source": f"RoTBench/{level}",
    }


def write_tau_bench(raw: Path) -> None:
    """tau-bench/ with two domains, which are one shop here, and the tasks of both beside it."""
    rows = [CANCEL, NOTHING]
    for domain in ("retail", "airline"):
        shop = write_shop(raw / "tau-bench" / domain)
        (shop / "tasks.jsonl").unlink()
        for file in (shop / "retail").iterdir():
            file.rename(shop / file.name)
        (shop / "retail").rmdir()
    write(
        raw / "tau-bench.jsonl",
        [{**row, "data_source": f"tau-bench/{domain}"} for domain in ("airline", "retail") for row in rows],
    )
