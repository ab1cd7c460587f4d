"""Files of environment records: JSONL, plain or compressed, and Parquet; read, also a list in one .json. What a file
holds is not trusted."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

from harness.data import disk, jsonio
from harness.data.limits import raise_by, read_limits, unpacked_limit
from harness.errors import UsageError
from harness.extras import install_command

PACKERS: dict[str, Callable[..., Any]] = {
    ".jsonl": nullcontext,
    ".jsonl.gz": lambda file: gzip.GzipFile(fileobj=file, mode="wb"),
    ".jsonl.xz": partial(lzma.LZMAFile, mode="wb"),
}
PARQUET = ".parquet"
SUFFIXES = (*PACKERS, PARQUET)
"""What is written."""
JSON = ".json"
READ_SUFFIXES = (*PACKERS, ".ndjson", ".ndjson.gz", JSON, PARQUET)
ROW_GROUP_SIZE = 500


def file_suffix(path: Path) -> str | None:
    """Which of READ_SUFFIXES a path ends in, or None."""
    return next((known for known in READ_SUFFIXES if path.name.endswith(known)), None)


def file_stem(path: Path) -> str:
    """A path's name without such an ending."""
    return path.name.removesuffix(file_suffix(path) or path.suffix)


def read_rows(path: Path) -> Generator[Any, None, None]:
    """The rows of a file, one by one; whoever may stop before the last closes the generator, and with it the file.

    Raises UsageError for what is no JSON, no Parquet or too long.
    """
    if file_suffix(path) == PARQUET:
        yield from _read_parquet(path)
        return
    if file_suffix(path) == JSON and (listed := _whole_json(path)) is not None:
        yield from listed
        return
    try:
        with disk.open_unpacked(path, links=True) as file:
            rows = (line for line in disk.read_lines(file, path) if line.strip())
            for number, line in enumerate(rows, start=1):
                yield _row(line, f"{path}, record {number}")
    except disk.UNPACKING as error:
        raise UsageError(disk.describe_unpacking(path, error)) from None


def _whole_json(path: Path) -> list[Any] | None:
    """The rows of a file that is one JSON value: a list of them, or a single one. None where it is none, and so may
    have a row a line. Raises UsageError where it is longer than a row may be."""
    if path.stat().st_size > (longest := read_limits().line):
        raise UsageError(f"{path} is longer than {longest:,} bytes; write it as JSONL, a record a line.")
    try:
        value = jsonio.parse_json(disk.read_file(path, links=True).decode("utf-8-sig"))
    except ValueError:
        return None
    return value if isinstance(value, list) else [value]


def _row(line: bytes, where: str) -> Any:
    try:
        return jsonio.parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8 text.") from None
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}.") from None


def _read_parquet(path: Path) -> Iterator[Any]:
    pyarrow = _pyarrow(path)
    try:
        with disk.open_file(path, links=True) as source, pyarrow.parquet.ParquetFile(source) as file:
            _check_size(path, file.metadata)
            before = 0
            for batch in file.iter_batches(batch_size=ROW_GROUP_SIZE):
                yield from _python_rows(batch, before, path)
                before += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}.") from None


def _check_size(path: Path, metadata: Any) -> None:
    """Raises UsageError where a Parquet file says that it has more rows or bytes than are read."""
    if metadata.num_rows > (most := read_limits().rows):
        raise UsageError(f"{path} has more than {most:,} rows; {raise_by('rows')}.")
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > (limit := unpacked_limit(path.stat().st_size)):
        raise UsageError(f"{path} becomes more than {limit:,} bytes; {raise_by('bytes')}.")


def _python_rows(batch: Any, before: int, path: Path) -> list[Any]:
    """The rows of a batch that has `before` rows of the file before it. Raises UsageError for values Python has no form
    for: text that is not UTF-8, a time of nanoseconds or of the year 30000."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError, LookupError) as error:
        if batch.num_rows > 1:
            return [
                row
                for place in range(batch.num_rows)
                for row in _python_rows(batch[place : place + 1], before + place, path)
            ]
        says = f"{path}, record {before + 1} holds a value that cannot be read: {_first_line(error)}"
        raise UsageError(f"{says}; write it as UTF-8 text.") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows in the format of the path's ending, the whole file or none; equal rows give equal decompressed bytes.

    Parquet wants the same columns in every row; nested values other than messages are written as JSON strings there.
    """
    with jsonio.replace_file(path) as file:
        if (suffix := file_suffix(path)) == PARQUET:
            _write_parquet(path, file, rows)
            return
        with PACKERS.get(suffix or "", nullcontext)(file) as lines:
            for row in rows:
                lines.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def _write_parquet(path: Path, file: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
    pyarrow = _pyarrow(path)
    writer = None
    group: list[dict[str, Any]] = []
    try:
        for row in rows:
            group.append({name: _column(name, value) for name, value in row.items()})
            if len(group) == ROW_GROUP_SIZE:
                writer = _write_group(pyarrow, file, writer, group)
                group = []
        if group or writer is None:
            writer = _write_group(pyarrow, file, writer, group)
    finally:
        if writer is not None:
            writer.close()


def _write_group(pyarrow: Any, file: IO[bytes], writer: Any, group: list[dict[str, Any]]) -> Any:
    table = pyarrow.Table.from_pylist(group, schema=writer.schema if writer else None)
    writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema)
    writer.write_table(table)
    return writer


def _column(name: str, value: Any) -> Any:
    if name == "messages" or not isinstance(value, dict | list):
        return value
    return json.dumps(value, ensure_ascii=False)


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path} is Parquet, which needs the data extra: {install_command('data')}.") from None
    return pyarrow
