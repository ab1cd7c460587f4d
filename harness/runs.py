"""The run directory: manifest.json, samples.jsonl (one line an episode, appended and flushed), summary.json.

Whatever happens to the process, what was written stays usable: the last line of a key counts, a torn last line is
dropped, manifest and summary are replaced as a whole, and one process at a time writes (.lock). A summary is there
only while the run is complete.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from harness import jsonio
from harness.errors import UsageError
from harness.schema import Manifest, Record, Summary
from harness.soundness import manifest_fault, record_fault

SCHEMA = 1
LOCK = ".lock"


def order(record: Record) -> tuple[str, str, int]:
    """The order in which records are counted: task, sample, epoch."""
    return record["task"], record["sample"], record["epoch"]


def counting(attempts: Iterable[Record]) -> list[Record]:
    """The episodes that count, in order: of several attempts with one key the last."""
    return sorted({record["key"]: record for record in attempts}.values(), key=order)


class RunDirectory:
    """One run on disk. `open` reads one that is there; `claim` makes one or goes on with it, as its only writer."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    @property
    def planned(self) -> int:
        """How many episodes the run has when it is complete."""
        samples = sum(len(task["clusters"]) for task in self.manifest["tasks"].values())
        return samples * int(self.manifest["identity"]["epochs"])

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run to read. Raises UsageError where there is none, or where its manifest is damaged."""
        file = path / "manifest.json"
        manifest = read_object(file, f"{path} is no run directory: it has no manifest.json.")
        if manifest.get("schema") != SCHEMA:
            raise UsageError(f"{path} was written in another format than this version's ({SCHEMA}).")
        if fault := manifest_fault(manifest):
            raise UsageError(f"{file} is damaged: {fault}.")
        return cls(path, cast(Manifest, manifest))

    @classmethod
    def check(cls, path: Path, manifest: Manifest, resume: bool) -> RunDirectory | None:
        """The run that `path` holds already, if it is this very one and may be resumed. Raises UsageError where the
        directory holds anything else."""
        if (path / "manifest.json").exists():
            earlier = cls.open(path)
            differing = _differences(earlier.manifest, manifest)
            if set(differing) == {"verifier"}:
                raise UsageError(f"{path} was scored by another verifier; bring it up to date by `harness rescore`.")
            if differing:
                raise UsageError(f"{path} holds another run ({_told(differing)}); name another directory with --out.")
            if not resume:
                raise UsageError(f"{path} holds this run already; go on with it by --resume, or name another --out.")
            return earlier
        if path.exists() and (not path.is_dir() or any(not _ours(entry) for entry in path.iterdir())):
            raise UsageError(f"{path} exists and is no run directory; name another with --out.")
        return None

    @classmethod
    @contextmanager
    def claim(cls, path: Path, manifest: Manifest, resume: bool) -> Iterator[RunDirectory]:
        """A run to write, for as long as the context lasts. Raises UsageError as `check` does, and while another
        process writes there."""
        cls.check(path, manifest, resume)
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            run = cls.check(path, manifest, resume)
            if run is None:
                jsonio.write_json(path / "manifest.json", manifest)
                run = cls(path, manifest)
            yield run

    def records(self) -> list[Record]:
        """See `counting`. Raises UsageError as `attempts` does."""
        return counting(self.attempts())

    def attempts(self) -> list[Record]:
        """Every episode that was played, also those that were played again, as they stand in the file. Raises
        UsageError where a line other than the last is broken or lacks what some command reads of it."""
        if not self.samples_path.exists():
            return []
        try:
            lines = self.samples_path.read_bytes().split(b"\n")
        except OSError as error:
            raise UsageError(f"{self.samples_path} cannot be read: {error.strerror}.") from None
        found: list[Record] = []
        keys: dict[tuple[str, str, int], str] = {}
        for number, text in enumerate(lines[:-1], start=1):
            try:
                record = jsonio.loads(text)
                fault = record_fault(record) or self._stranger(record)
            except ValueError as error:
                fault = f"it cannot be read as JSON: {error}"
            if fault:
                raise UsageError(f"{self.samples_path}, line {number} is no episode record of this run: {fault}.")
            if keys.setdefault(order(record), record["key"]) != record["key"]:
                raise UsageError(
                    f"{self.samples_path}, line {number}: an earlier line has this episode of another run."
                )
            found.append(record)
        return found

    def _stranger(self, record: Record) -> str | None:
        """Why a record is none of this run's; None where it is."""
        if record.get("schema") != SCHEMA:
            return "it is of another format"
        if (task := self.manifest["tasks"].get(record["task"])) is None:
            return f"the run has no task {record['task']!r}"
        if record["sample"] not in task["clusters"]:
            return f"{record['task']} has no sample {record['sample']!r}"
        if record["epoch"] >= self.manifest["identity"]["epochs"]:
            return f"the run has no epoch {record['epoch']}"
        return None

    def summary(self) -> Summary:
        """summary.json. Raises UsageError where the run has not got that far."""
        missing = f"{self.path} has no summary yet; finish the run with --resume."
        summary = read_object(self.summary_path, missing)
        if not all(isinstance(summary.get(name), dict) for name in ("tasks", "groups")):
            raise UsageError(f"{self.summary_path} is no summary.")
        return cast(Summary, summary)

    def write_summary(self, summary: Summary) -> None:
        jsonio.write_json(self.summary_path, summary)

    def update(self, **parts: Any) -> None:
        """Replaces parts of the manifest that are not its identity."""
        self.manifest = cast(Manifest, {**self.manifest, **parts})
        jsonio.write_json(self.path / "manifest.json", self.manifest)

    def rewrite(self, manifest: Manifest, records: Iterable[Record]) -> None:
        """Replaces all episode records, for a rescore; only inside `locked`."""
        jsonio.write_atomically(self.samples_path, "".join(line(record) for record in records))
        jsonio.write_json(self.path / "manifest.json", manifest)
        self.manifest = manifest


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a run directory against other writers. Raises UsageError where one is at work."""
    with (path / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"Another process is writing to {path}.") from None
        yield


def _ours(entry: Path) -> bool:
    """What a start that was killed may leave behind."""
    return entry.name == LOCK or entry.name.startswith(".manifest.json.")


def read_object(path: Path, missing: str) -> dict[str, Any]:
    """The JSON object in a file. Raises UsageError, with the sentence `missing` where there is no file."""
    try:
        value = jsonio.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(missing) from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} cannot be read: it is no JSON object.")
    return value


class Appender:
    """Appends records, each flushed as one line; a line that was torn by a crash is cut off first."""

    def __init__(self, path: Path, redact: Callable[[str], str] = str) -> None:
        self._redact = redact
        self._file: IO[bytes] = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UsageError(f"Another process is writing to {path.parent}.") from None
        self._file.truncate(_whole_lines(path))

    def append(self, record: Mapping[str, Any]) -> None:
        self._file.write(self._redact(line(record)).encode("utf-8", "replace"))
        self._file.flush()

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def line(record: Mapping[str, Any]) -> str:
    """A record as it stands in samples.jsonl."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _whole_lines(path: Path) -> int:
    """The length in bytes of a file up to its last newline."""
    return path.read_bytes().rfind(b"\n") + 1


Difference = dict[str, tuple[Any, Any]]


def _differences(earlier: Manifest, now: Manifest) -> Difference:
    """What of the configuration is another: name to what is there and what is asked for now. Where the model is
    another, what its backend says of it rather than a digest, if that tells them apart: secrets are equal there."""
    before, after = (dict(_flat(manifest["identity"])) for manifest in (earlier, now))
    differing = {n: (before.get(n), after.get(n)) for n in sorted({*before, *after}) if before.get(n) != after.get(n)}
    if "model_fingerprint" in differing and "model" not in differing:
        then, wanted = (dict(_flat(manifest.get("model", {}), "model.")) for manifest in (earlier, now))
        if told := {n: (then.get(n), wanted.get(n)) for n in sorted({*then, *wanted}) if then.get(n) != wanted.get(n)}:
            del differing["model_fingerprint"]
            differing |= told
    return differing


def _told(differing: Difference) -> str:
    told = ", ".join(f"{name}: {_short(a)} there, {_short(b)} now" for name, (a, b) in list(differing.items())[:3])
    return told + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else jsonio.canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
