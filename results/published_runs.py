"""Committed results: run directories under results/published, and the tables that come from them in README, docs and
lab books (the README.md beside runs).

    results/published/NAME/[RUN/]   manifest.json, summary.json, samples.jsonl.xz, and `command`: what made it

A fenced block after a line `<!-- published: table first -->` shows what that `harness` command prints of those runs.
`python -m results --check` makes every such block anew and compares; `--write` replaces them; `--add` takes a run in.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cli import main
from harness.data import disk, jsonio
from harness.errors import HarnessError, UsageError
from harness.runs.directory import RunDirectory, pack_records
from results.runs import read_run

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "results" / "published"
PAGES = ("README.md", "docs/*.md", "results/published/*/README.md")
PACKED_SAMPLES, COMMAND = "samples.jsonl.xz", "command"
BLOCK = re.compile(
    r"(<!-- published: (?P<command>[^\n]+?) -->\n(?:<!--[^\n]*-->\n)*```text\n)(?P<text>.*?)(?=```)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table in a page: what it shows, and what its command prints today."""

    page: Path
    command: str
    shown: str
    printed: str

    @property
    def difference(self) -> str:
        """Lines that differ, as a diff; empty where none does."""
        where = f"{self.page.name}: {self.command}"
        pair = self.shown.splitlines(), self.printed.splitlines()
        return "\n".join(difflib.unified_diff(*pair, f"{where}, on the page", "by its runs", lineterm="", n=0))


def add_run(run: Path, name: str, command: str, folder: Path = FOLDER) -> None:
    """Takes a finished run in under a name; of the paths where its data was, names alone are kept. Raises UsageError
    where it is not finished or disagrees with itself."""
    if read_run(run).remarks:
        raise UsageError(f"{run} is cut, or its summary disagrees with its episodes; finish or rescore it first.")
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    manifest = jsonio.read_json(run / "manifest.json", links=False)
    jsonio.write_json(target / "manifest.json", {**manifest, "sources": _without_places(manifest["sources"])})
    (target / "summary.json").write_bytes(disk.read_file(run / "summary.json", links=False))
    with RunDirectory.open(run).open_samples() as samples:
        (target / PACKED_SAMPLES).write_bytes(pack_records(samples.read()))
    (target / COMMAND).write_text(command + "\n", encoding="utf-8")


def _without_places(sources: dict[str, Any]) -> dict[str, Any]:
    def name(text: str) -> str:
        return Path(text).name if Path(text).is_absolute() else text

    return {
        "tasks": [name(task) for task in sources["tasks"]],
        "data": {key: name(path) for key, path in sources["data"].items()},
    }


def list_runs(folder: Path = FOLDER) -> list[Path]:
    """The directories of all committed runs."""
    return sorted(path.parent for path in folder.rglob(PACKED_SAMPLES))


def find_faults(folder: Path = FOLDER) -> list[str]:
    """What is wrong with the committed runs, a sentence each."""
    found = []
    for run in list_runs(folder):
        try:
            if read_run(run).remarks:
                found.append(f"{run.relative_to(folder)}: its summary disagrees with its episodes.")
        except HarnessError as error:
            found.append(str(error))
    return found


def read_tables(folder: Path = FOLDER, root: Path = ROOT) -> list[PublishedTable]:
    """The tables of all pages. Raises UsageError for a command that cannot be run on these runs."""
    pages = [page for pattern in PAGES for page in sorted(root.glob(pattern))]
    return [
        PublishedTable(page, found["command"], found["text"], run_command(found["command"], folder))
        for page in pages
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def run_command(command: str, folder: Path = FOLDER) -> str:
    """What `harness COMMAND` prints in a folder of runs. Raises UsageError where it fails."""
    before, output = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with redirect_stdout(output):
            status = main(shlex.split(command))
    finally:
        os.chdir(before)
    if status:
        raise UsageError(f"`harness {command}` ends with status {status} on results/published.")
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def update_pages(folder: Path = FOLDER, root: Path = ROOT) -> list[PublishedTable]:
    """Replaces the tables that differ, and returns them."""
    changed = [block for block in read_tables(folder, root) if block.difference]
    for page in {block.page for block in changed}:
        fresh = {block.command: block.printed for block in changed if block.page == page}
        page.write_text(_replaced(page.read_text(encoding="utf-8"), fresh), encoding="utf-8")
    return changed


def _replaced(text: str, fresh: dict[str, str]) -> str:
    return BLOCK.sub(lambda found: found[1] + fresh.get(found["command"], found["text"]), text)
