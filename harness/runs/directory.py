"""The run directory: manifest.json, samples.jsonl (one line an episode, appended and flushed), summary.json.

Whatever happens to the process, what was written stays usable: the last line of a key counts, a torn last line is
dropped, manifest and summary are replaced as a whole, and one process at a time writes (.lock). A summary is there
only while the run is complete. A run that is put away may have samples.jsonl.xz instead: it can be read and rescored.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from harness.data import disk, jsonio
from harness.data.limits import EXPANSION_OF_RUNS, read_limits
from harness.data.schema import Manifest, Record, Summary
from harness.errors import UsageError
from harness.runs.claims import claim_directory, hold_lock, is_free
from harness.runs.faults import MOST_METRICS, find_manifest_fault, find_record_fault
from harness.runs.identity import describe_differences, describe_other_version, find_allowed_changes, find_differences
from harness.runs.results import EpisodeOrder, EpisodeResult, counted_results, result_of

RUN_SCHEMA = 1
IN_MEMORY = 16_000_000
"""Bytes of an unpacked run that are kept in memory where records are read here and there; more go to a file."""


def _has_samples_of(earlier: Manifest, manifest: Manifest) -> bool:
    """Whether two manifests of one identity, which has digests of samples only, name the same samples."""
    named = [{name: task["clusters"].keys() for name, task in one["tasks"].items()} for one in (earlier, manifest)]
    return named[0] == named[1]


def record_order(record: Record) -> EpisodeOrder:
    """The order in which records are counted: task, sample, epoch."""
    return record["task"], record["sample"], record["epoch"]


class RunDirectory:
    """One run on disk. `open` reads one that is there; `claim` makes one or goes on with it, as its only writer."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def packed_path(self) -> Path:
        return self.path / "samples.jsonl.xz"

    @property
    def summary_path(self) -> Path:
        return self.path / "summary.json"

    @property
    def planned_episodes(self) -> int:
        """How many episodes the run has when it is complete."""
        samples = sum(len(task["clusters"]) for task in self.manifest["tasks"].values())
        return samples * int(self.manifest["identity"]["epochs"])

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run to read. Raises UsageError where there is none, or where its manifest is damaged."""
        file = path / "manifest.json"
        manifest = read_json_object(file, f"{path} is no run directory: it has no manifest.json.")
        if manifest.get("schema") != RUN_SCHEMA:
            raise UsageError(f"{path} was written in another format than this version's ({RUN_SCHEMA}).")
        if fault := find_manifest_fault(manifest):
            raise UsageError(f"{file} is damaged: {fault}.")
        return cls(path, cast(Manifest, manifest))

    @classmethod
    def check(cls, path: Path, manifest: Manifest, resume: bool) -> RunDirectory | None:
        """The run that `path` holds already, if it is this very one and may be resumed. Raises UsageError where the
        directory holds anything else."""
        if (path / "manifest.json").exists():
            earlier = cls.open(path)
            differing = find_differences(earlier.manifest, manifest)
            if other := describe_other_version(earlier.manifest, manifest, differing):
                raise UsageError(f"{path} was played on {other} --resume goes on with it; or name another --out.")
            if set(differing) == {"verifier"}:
                raise UsageError(f"{path} was scored by another verifier; bring it up to date by `harness rescore`.")
            if differing:
                raise UsageError(
                    f"{path} holds another run ({describe_differences(differing)}); name another directory with --out."
                )
            if not _has_samples_of(earlier.manifest, manifest):
                raise UsageError(
                    f"{path / 'manifest.json'} is damaged: its samples are not those that it was made for."
                )
            if not resume:
                raise UsageError(f"{path} holds this run already; go on with it by --resume, or name another --out.")
            if earlier.episodes_path() == earlier.packed_path:
                raise UsageError(f"{earlier.packed_path} is packed: unpack it (xz -d) to go on with the run.")
            return earlier
        if not is_free(path, "manifest.json"):
            raise UsageError(f"{path} exists and is no run directory; name another with --out.")
        return None

    @classmethod
    @contextmanager
    def claim(cls, path: Path, manifest: Manifest, resume: bool) -> Iterator[RunDirectory]:
        """A run to write, for as long as the context lasts. Raises UsageError as `check` does, and while another
        process writes there."""

        def begin() -> RunDirectory:
            jsonio.write_json(path / "manifest.json", manifest)
            return cls(path, manifest)

        with claim_directory(path, lambda: cls.check(path, manifest, resume), begin) as run:
            if changes := find_allowed_changes(run.manifest, manifest):
                run.summary_path.unlink(missing_ok=True)  # evaluation writes it again once the run is complete
                run.update_manifest(**changes)
            yield run

    def episodes_path(self) -> Path | None:
        """The file that holds the episodes; None where none was played. Raises UsageError where a run that has a
        summary has lost it, and where there are two: nobody could say which counts."""
        there = [path for path in (self.samples_path, self.packed_path) if path.exists()]
        if len(there) > 1:
            raise UsageError(f"{self.path} has samples.jsonl and samples.jsonl.xz; remove the one that does not count.")
        if not there and self.summary_path.exists():
            raise UsageError(self._cut)
        return there[0] if there else None

    @property
    def _cut(self) -> str:
        return f"{self.path} is cut: it has a summary but no episodes; its samples.jsonl is missing or empty."

    def open_samples(self) -> IO[bytes]:
        """samples.jsonl as it stands, to be read, unpacked where it is packed; nothing where nothing was played. Raises
        UsageError where it cannot be opened."""
        if (path := self.episodes_path()) is None:
            return BytesIO()
        with readable(path):
            return disk.open_unpacked(path, links=False, expansion=EXPANSION_OF_RUNS)

    def is_torn(self) -> bool:
        """Whether the last line of an episode has no end."""
        last = b""
        with self.open_samples() as file, readable(self.samples_path):
            while block := file.read(1 << 20):
                last = block[-1:]
        return last != b"\n"

    def read_results(self) -> list[EpisodeResult]:
        """Every episode that counts, without its text, in order. Raises UsageError as `stream_attempts` does."""
        return counted_results(self.stream_attempts())

    def read_records(self) -> list[Record]:
        """Every episode that counts, whole, in order. Raises UsageError as `stream_attempts` does."""
        return list(self.stream_records(self.read_results()))

    def stream_records(self, results: Iterable[EpisodeResult]) -> Iterator[Record]:
        """The records of results, in their order, one at a time. Raises UsageError as `open_records` does."""
        with self.open_records() as read:
            yield from map(read, results)

    @contextmanager
    def open_records(self) -> Iterator[Callable[[EpisodeResult], Record]]:
        """Reads the record of a result. Raises UsageError where it is no longer where it was."""
        with self.open_samples() as stream, tempfile.SpooledTemporaryFile(IN_MEMORY) as unpacked:
            file: IO[bytes] = stream
            if not stream.seekable():  # what is unpacked on the way
                with readable(self.packed_path):
                    shutil.copyfileobj(stream, unpacked)
                file = unpacked

            def read(result: EpisodeResult) -> Record:
                with readable(self.path):
                    file.seek(result.place)
                    line = file.readline(read_limits().line + 1)
                try:
                    record: Record = jsonio.parse_json(line)
                    if record["key"] == result.key:
                        return record
                except (ValueError, TypeError, KeyError):
                    pass
                raise UsageError(f"The episodes of {self.path} were replaced while they were read.")

            yield read

    def stream_attempts(self) -> Iterator[EpisodeResult]:
        """Every episode that was played, also those that were played again, as they stand in the file. Raises
        UsageError where a line other than the last is broken or lacks what some command reads of it, and, at the end,
        where a run with a summary has no episodes."""
        path, place = self.episodes_path() or self.samples_path, 0
        keys: dict[EpisodeOrder, str] = {}
        metrics: set[str] = set()
        with self.open_samples() as file, readable(path):
            for number, line in enumerate(disk.read_lines(file, path), start=1):
                if not line.endswith(b"\n"):
                    break  # torn
                result = result_of(self.parse_line(line[:-1], f"{path}, line {number}"), place)
                if keys.setdefault(result.order, result.key) != result.key:
                    raise UsageError(f"{path}, line {number}: an earlier line has this episode of another run.")
                metrics.update(result.scores)
                if len(metrics) > MOST_METRICS:
                    raise UsageError(f"{path}, line {number}: there are more than {MOST_METRICS:,} metrics by now.")
                yield result
                place += len(line)
        if not keys and self.summary_path.exists():
            raise UsageError(self._cut)

    def parse_line(self, line: bytes, where: str) -> Record:
        """A line of samples.jsonl. Raises UsageError, which begins with `where`, for what is no record of this run."""
        try:
            record: Record = jsonio.parse_json(line)
            fault = find_record_fault(record) or self._stranger(record)
        except ValueError as error:
            fault = f"it cannot be read as JSON: {error}"
        if fault:
            raise UsageError(f"{where} is no episode record of this run: {fault}.")
        return record

    def _stranger(self, record: Record) -> str | None:
        """Why a record is none of this run's; None where it is."""
        if record.get("schema") != RUN_SCHEMA:
            return "it is of another format"
        if (task := self.manifest["tasks"].get(record["task"])) is None:
            return f"the run has no task {record['task']!r}"
        if record["sample"] not in task["clusters"]:
            return f"{record['task']} has no sample {record['sample']!r}"
        if record["epoch"] >= self.manifest["identity"]["epochs"]:
            return f"the run has no epoch {record['epoch']}"
        return None

    def read_summary(self) -> Summary:
        """summary.json. Raises UsageError where the run has not got that far."""
        missing = f"{self.path} has no summary yet; finish the run with --resume."
        summary = read_json_object(self.summary_path, missing)
        if not all(isinstance(summary.get(name), dict) for name in ("tasks", "groups")):
            raise UsageError(f"{self.summary_path} is no summary.")
        return cast(Summary, summary)

    def write_summary(self, summary: Summary) -> None:
        jsonio.write_json(self.summary_path, summary)

    def update_manifest(self, **parts: Any) -> None:
        """Replaces parts of the manifest that are not its identity."""
        self.manifest = cast(Manifest, {**self.manifest, **parts})
        jsonio.write_json(self.path / "manifest.json", self.manifest)

    def replace_records(self, manifest: Manifest, records: Iterable[Record]) -> None:
        """Replaces all episode records, for a rescore; only inside `lock_directory`. What is packed stays packed. The
        records may be made while they are written: until the last is there, nothing changes."""
        packed = self.episodes_path() == self.packed_path
        path = self.packed_path if packed else self.samples_path
        with jsonio.replace_file(path) as whole, pack_stream(whole) if packed else nullcontext(whole) as file:
            for record in records:
                file.write(record_to_line(record).encode("utf-8", "replace"))
            self.summary_path.unlink(missing_ok=True)  # of the records before
        jsonio.write_json(self.path / "manifest.json", manifest)
        self.manifest = manifest


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises UsageError where a file of episodes cannot be read."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    except disk.UNPACKING as error:
        raise UsageError(disk.describe_unpacking(path, error)) from None


def pack_stream(file: IO[bytes]) -> lzma.LZMAFile:
    """Packs what is written into what samples.jsonl.xz holds: the same bytes for the same content."""
    return lzma.LZMAFile(file, "wb", preset=9)


def pack_records(content: bytes) -> bytes:
    """What samples.jsonl.xz holds of this content."""
    return lzma.compress(content, preset=9)


def read_json_object(path: Path, missing: str) -> dict[str, Any]:
    """The JSON object in a file. Raises UsageError, with the sentence `missing` where there is no file."""
    try:
        value = jsonio.read_json(path, links=False)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(missing) from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} cannot be read: it is no JSON object.")
    return value


class RecordAppender:
    """Appends records, each flushed as one line; a line that was torn by a crash is cut off first. `whole` is what
    another writer is told that the file belongs to: its directory, or a file that is made of it."""

    def __init__(self, path: Path, whole: Path | None = None) -> None:
        self._file = disk.open_to_append(path)
        try:
            hold_lock(self._file, whole or path.parent)
        except UsageError:
            self._file.close()
            raise
        self._end = _end_of_lines(self._file)
        self._file.truncate(self._end)

    def append(self, record: Mapping[str, Any]) -> int:
        """The place of its line."""
        line, place = record_to_line(record).encode("utf-8", "replace"), self._end
        self._file.write(line)
        self._file.flush()
        self._end += len(line)
        return place

    def __enter__(self) -> RecordAppender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def record_to_line(record: Mapping[str, Any]) -> str:
    """A record as it stands in samples.jsonl."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _end_of_lines(file: IO[bytes], block: int = 1 << 16) -> int:
    """The length in bytes of a file up to its last newline, sought from its end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - block)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0
