"""The run directory: manifest.json, samples.jsonl (one line an episode, appended and flushed), summary.json.

Whatever happens to the process, what was written stays usable: the last line of a key counts, a torn last line is
dropped, manifest and summary are replaced as a whole. Every line passes the redactor on its way to the disk.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from harness import jsonio
from harness.errors import UsageError

SCHEMA = 1
Record = dict[str, Any]


def order(record: Record) -> tuple[str, str, int]:
    """The order in which records are counted: task, sample, epoch."""
    return record["task"], record["sample"], record["epoch"]


class RunDirectory:
    """One run on disk. `open` reads one that is there; `start` makes one or goes on with it, and can append."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run to read. Raises UsageError where there is none."""
        try:
            manifest = jsonio.loads((path / "manifest.json").read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{path} is no run directory: it has no manifest.json.") from None
        except (ValueError, OSError) as error:
            raise UsageError(f"{path / 'manifest.json'} cannot be read: {error}.") from None
        if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
            raise UsageError(f"{path} was written in another format than this version's ({SCHEMA}).")
        return cls(path, manifest)

    @classmethod
    def start(cls, path: Path, manifest: dict[str, Any], resume: bool) -> RunDirectory:
        """A run to write. Raises UsageError where the directory holds anything else than this very run."""
        if (path / "manifest.json").exists():
            earlier = cls.open(path)
            if differing := _differences(earlier.manifest["identity"], manifest["identity"]):
                raise UsageError(f"{path} holds another run ({differing}); name another directory with --out.")
            if not resume:
                raise UsageError(f"{path} holds this run already; go on with it by --resume, or name another --out.")
            return earlier
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} exists and is no run directory; name another with --out.")
        path.mkdir(parents=True, exist_ok=True)
        jsonio.write_json(path / "manifest.json", manifest)
        return cls(path, manifest)

    def records(self) -> list[Record]:
        """The episodes that count, in order. Raises UsageError where a line other than the last is broken."""
        if not self.samples_path.exists():
            return []
        latest: dict[str, Record] = {}
        lines = self.samples_path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                record = jsonio.loads(line)
                latest[record["key"]] = record
            except (ValueError, TypeError, KeyError):
                raise UsageError(f"{self.samples_path}, line {number} is no episode record.") from None
        return sorted(latest.values(), key=order)

    def summary(self) -> dict[str, Any]:
        """summary.json. Raises UsageError where the run has not got that far."""
        try:
            summary = jsonio.loads(self.summary_path.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{self.path} has no summary yet; finish the run with --resume.") from None
        except ValueError as error:
            raise UsageError(f"{self.summary_path} cannot be read: {error}.") from None
        if not isinstance(summary, dict):
            raise UsageError(f"{self.summary_path} is no summary.")
        return summary

    def write_summary(self, summary: dict[str, Any], redact: Callable[[str], str] = str) -> None:
        jsonio.write_atomically(self.summary_path, redact(json.dumps(summary, indent=2, ensure_ascii=False)) + "\n")

    def rewrite(self, manifest: dict[str, Any], records: Iterable[Record]) -> None:
        """Replaces all episode records, for a rescore."""
        jsonio.write_atomically(self.samples_path, "".join(line(record) for record in records))
        jsonio.write_json(self.path / "manifest.json", manifest)
        self.manifest = manifest

    def appender(self, redact: Callable[[str], str] = str) -> Appender:
        """The one writer of this run. Raises UsageError while another process writes."""
        return Appender(self.samples_path, redact)


class Appender:
    """Appends records, each flushed as one line; a line that was torn by a crash is cut off first."""

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._file: IO[bytes] = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UsageError(f"Another process is writing to {path.parent}.") from None
        self._file.truncate(_whole_lines(path))

    def append(self, record: Record) -> None:
        self._file.write(self._redact(line(record)).encode("utf-8", "replace"))
        self._file.flush()

    def __enter__(self) -> Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def line(record: Record) -> str:
    """A record as it stands in samples.jsonl."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _whole_lines(path: Path) -> int:
    """The length in bytes of a file up to its last newline."""
    return path.read_bytes().rfind(b"\n") + 1


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> str:
    """What of the configuration is another, in a few words; empty when nothing is."""
    before, after = dict(_flat(earlier)), dict(_flat(now))
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    told = ", ".join(f"{name}: {_short(before.get(name))} there, {_short(after.get(name))} now" for name in names[:3])
    return told + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else jsonio.canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
