"""One run as it is followed: what was appended to its episodes is read, and nothing twice.

The directory may come from anywhere. Its files are opened only where they are files inside the folder that is shown;
nothing that it names is run; what it says is checked as every command checks it (harness.runs.faults).

Left out: the causes of failures in the list, which need the gold, and with it seconds that a page does not have; a
transcript has its cause, as in the report.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.data.disk import read_lines
from harness.data.jsonio import is_number
from harness.data.schema import Record, Summary
from harness.errors import UsageError
from harness.evaluation.run_tasks import sources_of
from harness.metrics import HEADLINE, find_metric
from harness.registry import TASK_FILE_SUFFIX, is_path, split_patterns
from harness.runs.directory import RunDirectory, readable
from harness.runs.results import EpisodeResult, counted_results, result_of
from harness.runs.summary import summarise_results
from harness.types import FAILED_OUTCOMES, Sample
from results.causes import CAUSE_LABELS, ENDED, diagnose, is_failed, sub_answers
from results.report.data import find_samples
from results.report.episodes import list_facts, make_transcript, question_of, words_of
from results.report.overview import list_names, top_entries

FILES = ("manifest.json", "samples.jsonl", "samples.jsonl.xz", "summary.json")
Score = tuple[str, str, float | None, Any]
"""Of a task or group: its name, its headline metric's heading, value and interval."""
T = TypeVar("T")
Stamp = tuple[int, int, int]
NOTHING: Stamp = (0, 0, 0)


class LiveRun:
    """`rows` are its episodes for the list, in the order in which they ended; `generation` counts how often the file
    was replaced under them; `problem` is why it cannot be read."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self.problem = ""
        self.generation = 0
        self.samples: Mapping[tuple[str, str], Sample] | None = None
        self.without_gold = ""
        self.scores: list[Score] = []
        self._opened: tuple[int, ...] = ()
        self._refused: list[Stamp] = []
        self._stored: tuple[Stamp, int, int] = (NOTHING, 0, 0)
        self._start_over()

    def _start_over(self) -> None:
        self.rows: list[str] = []
        self._attempts: list[EpisodeResult] = []
        self._outcomes: dict[str, str] = {}
        self._place, self._file, self._summarised = 0, (0, 0), -1

    # --- what is on disk -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Reads the manifest, again where it has changed. Raises UsageError where the run cannot be shown."""
        for name in FILES:
            check_inside(self.path / name, self.root)
        about = _stamp(self.path / "manifest.json")
        if about != self._opened:
            self.directory = RunDirectory.open(self.path)
            self._opened = about

    def read_on(self, seconds: float) -> bool:
        """Reads what has come since the last time, for so long; whether there is more. A torn last line waits. Raises
        UsageError where a line is no record of this run."""
        self.open()
        path = self.directory.episodes_path()
        if path is None:
            return False
        node, size, _ = _stamp(path)
        if (node, size) == self._file:
            return False
        packed = path == self.directory.packed_path  # read at once: nothing is appended there
        if packed or node != self._file[0] or size < self._file[1]:
            again = bool(self.rows)
            self._start_over()
            self.generation += again  # last: whoever is told of it is told of new rows
        until = math.inf if packed else time.monotonic() + seconds
        more = self._read_until(until, path)
        self._file = (node, self._place if more else size)
        return more

    def _read_until(self, until: float, path: Path) -> bool:
        with self.directory.open_samples() as file, readable(path):
            if self._place:
                file.seek(self._place)
            for line in read_lines(file, path, first=len(self.rows) + 1):
                if not line.endswith(b"\n"):
                    break
                self._add(self.directory.parse_line(line[:-1], f"{path}, line {len(self.rows) + 1}"), len(line))
                if time.monotonic() > until:
                    return True
        return False

    def _add(self, record: Record, length: int) -> None:
        result = result_of(record, self._place)
        self._attempts.append(result)
        self._outcomes[result.key] = result.outcome
        self._place += length
        about = [result.task, result.sample, question_of(record), self._verdict(record)]
        row = [*about, *list_facts(result, self.directory.manifest, words_of(record))]
        self.rows.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))

    def _verdict(self, record: Record) -> list[str] | None:
        """What the list says of an episode before anybody asks why."""
        if cause := ENDED.get(record["outcome"]):
            return [cause, CAUSE_LABELS[cause]]
        headline = str(self.directory.manifest["tasks"][record["task"]].get("headline", HEADLINE))
        return ["unexplained", "fell short"] if is_failed(record, headline) else None

    def attempt(self, work: Callable[[], T]) -> T | None:
        """What work gives. What cannot be read becomes the run's problem, in a sentence, and it is left alone until one
        of its files changes."""
        try:
            return work()
        except UsageError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{self.path} cannot be read: {error.strerror or error}."
        self.problem, self._refused = problem, self._stamps()
        return None

    def reconsider(self) -> None:
        """Takes back a problem whose files have changed since."""
        if self.problem and self._refused != self._stamps():
            self.problem = ""

    def _stamps(self) -> list[Stamp]:
        return [_stamp(self.path / name) for name in FILES]

    # --- what takes longer ---------------------------------------------------------------------------------------

    def summarise(self) -> bool:
        """Brings `scores` up to date: those of its summary or, while it is played, of its episodes so far. Whether
        anything was computed."""
        if self.is_finished and not self._attempts:
            return self.read_summary()
        count = len(self._attempts)
        if not count or count == self._summarised:
            return False
        self.scores = list(self._scores(summarise_results(self.directory.manifest, counted_results(self._attempts))))
        self._summarised = count
        return True

    def read_summary(self) -> bool:
        """Takes scores and counts from summary.json, where it is another than before; whether it is."""
        self.open()
        about = _stamp(self.directory.summary_path)
        if about in (NOTHING, self._stored[0]):
            return False
        summary = self.directory.read_summary()
        self.scores = list(self._scores(summary))
        self._stored = (about, *self._count_outcomes(summary))
        return True

    def _scores(self, summary: Summary) -> Iterator[Score]:
        """Raises UsageError where a summary from disk is none."""
        try:
            for name, entry in top_entries(summary, self.directory.manifest).items():
                headline = str(entry["headline"])
                found = entry["metrics"].get(headline) or {"value": None, "ci95": None}
                value, ends = found["value"], found["ci95"]
                if is_number(value):
                    yield (
                        name,
                        find_metric(headline).heading,
                        value,
                        ends if ends and all(map(is_number, ends)) else None,
                    )
        except (KeyError, TypeError, AttributeError):
            raise self._no_summary() from None

    def _count_outcomes(self, summary: Summary) -> tuple[int, int]:
        """Episodes that are done, and that ended in an error. Raises UsageError where a summary from disk is none."""
        counted: Counter[str] = Counter()
        try:
            for entry in summary["tasks"].values():
                counted.update({outcome: int(count) for outcome, count in entry["outcomes"].items()})
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            raise self._no_summary() from None
        return counted.total(), sum(counted[outcome] for outcome in FAILED_OUTCOMES)

    def _no_summary(self) -> UsageError:
        return UsageError(f"{self.directory.summary_path} is no summary.")

    def find_gold(self) -> None:
        """The samples, where they are found without running what the run names, or waiting for what is no file."""
        self.open()
        try:
            odd = find_odd_source(self.directory)
            found, remarks = ({}, [f"Without gold: {odd}"]) if odd else find_samples(self.directory)
        except (UsageError, OSError) as error:
            found, remarks = {}, [f"Without gold: {error}"]
        self.samples, self.without_gold = found, " ".join(remarks)

    # --- what is told --------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        return (self.path / "summary.json").exists()

    @property
    def name(self) -> str:
        return str(self.path.relative_to(self.root)) if self.path != self.root else self.path.name

    def describe(self) -> dict[str, Any]:
        """The run's line in the list of runs."""
        if not self._opened:
            return {"name": self.name, "problem": self.problem, "created": "", "finished": True}
        manifest, done, failed = self.directory.manifest, *self._counts()
        written = None if self.problem else self.attempt(self._last_written)
        return {
            "name": self.name,
            "problem": self.problem,
            "created": str(manifest.get("created", "")),
            "model": manifest["identity"]["model"],
            "reasoning": manifest["identity"]["reasoning"],
            "tasks": list_names(manifest),
            "metrics": {name: find_metric(str(task["headline"])).heading for name, task in manifest["tasks"].items()},
            "planned": self.directory.planned_episodes,
            "done": done,
            "failed": failed,
            "scores": self.scores,
            "finished": self.is_finished,
            "idle": None if written is None else round(time.time() - written),
        }

    def _last_written(self) -> float | None:
        """When an episode was. Raises UsageError where they are missing, OSError where they have just gone."""
        path = self.directory.episodes_path()
        return None if path is None else path.stat().st_mtime

    def _counts(self) -> tuple[int, int]:
        """Episodes that are done, and that ended in an error of the model or the infrastructure."""
        if self.is_finished and not self._attempts:
            return self._stored[1:]
        outcomes = list(self._outcomes.values())  # at once, because another thread adds to them
        return len(outcomes), sum(outcome in FAILED_OUTCOMES for outcome in outcomes)

    def read_transcript(self, number: int) -> dict[str, Any]:
        """An episode in full. Raises UsageError where it is no longer where it was, IndexError where there is none."""
        self.open()
        result = self._attempts[number]
        with self.directory.open_records() as read:
            record = read(result)
        samples = self.samples
        sample = (samples or {}).get((result.task, result.sample))
        headline = str(self.directory.manifest["tasks"][result.task].get("headline", HEADLINE))
        found = diagnose(record, sample, headline)
        told = make_transcript(record, found, sample, None if sample is None else sub_answers(sample))
        told["cause"] = None if found is None else {"key": found.cause, "label": CAUSE_LABELS[found.cause]}
        told["notes"] += [self.without_gold] if self.without_gold else []
        return told | {"waits": samples is None}


def check_inside(path: Path, root: Path) -> None:
    """Raises UsageError where a path is there and is no file, or is a link out of the folder that is shown."""
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise UsageError(f"{path} leads out of {root}: it is not followed.")
    if path.exists() and not (path.is_file() and path.resolve().is_relative_to(root)):
        raise UsageError(f"{path} is no file of {root}.")


def find_odd_source(run: RunDirectory) -> str | None:
    """Why gold is not looked for where a run says: its tasks are code, or its data is neither file nor folder, whose
    reading may never end."""
    patterns, data = sources_of(run)
    paths = [Path(pattern) for pattern in split_patterns(patterns) if is_path(pattern)]
    if any(path.suffix == TASK_FILE_SUFFIX for path in paths):
        return "its tasks are a Python file, which a view does not run."
    odd = [path for path in (*paths, *data.values()) if path.exists() and not (path.is_file() or path.is_dir())]
    return f"{odd[0]} is no file." if odd else None


def _stamp(path: Path) -> Stamp:
    """What changes when a file is replaced or written."""
    try:
        about = path.stat()
    except OSError:
        return NOTHING
    return about.st_ino, about.st_size, about.st_mtime_ns
