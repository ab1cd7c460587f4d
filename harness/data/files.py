"""Files of environment records: JSONL, plain or compressed, and Parquet; read, also a list in one .json. What a file
holds is not trusted."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.errors import UsageError
from harness.extras import install_command

OPENERS: dict[str, Callable[..., Any]] = {".jsonl": open, ".jsonl.gz": gzip.open, ".jsonl.xz": lzma.open}
PARQUET = ".parquet"
SUFFIXES = (*OPENERS, PARQUET)
"""What is written."""
JSON = ".json"
READ_OPENERS: dict[str, Callable[..., Any]] = {**OPENERS, ".ndjson": open, ".ndjson.gz": gzip.open, JSON: open}
READ_SUFFIXES = (*READ_OPENERS, PARQUET)
LONGEST_ROW = 64 * 1024 * 1024
"""Bytes; a longer line is no environment."""
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
        with READ_OPENERS[file_suffix(path) or ".jsonl"](path, "rb") as lines:
            rows = (line for line in iter(lambda: lines.readline(LONGEST_ROW + 1), b"") if line.strip())
            for number, line in enumerate(rows, start=1):
                yield _row(line, f"{path}, record {number}")
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UsageError(f"{path} cannot be decompressed: {error}.") from None


def _whole_json(path: Path) -> list[Any] | None:
    """The rows of a file that is one JSON value: a list of them, or a single one. None where it is none, and so may
    have a row a line. Raises UsageError where it is longer than a row may be."""
    if path.stat().st_size > LONGEST_ROW:
        raise UsageError(f"{path} is longer than {LONGEST_ROW:,} bytes; write it as JSONL, a record a line.")
    try:
        value = jsonio.parse_json(path.read_bytes().decode("utf-8-sig"))
    except ValueError:
        return None
    return value if isinstance(value, list) else [value]


def _row(line: bytes, where: str) -> Any:
    if len(line) > LONGEST_ROW:
        raise UsageError(f"{where} is longer than {LONGEST_ROW:,} bytes.")
    try:
        return jsonio.parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{where} is not UTF-8 text.") from None
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}.") from None


def _read_parquet(path: Path) -> Iterator[Any]:
    pyarrow = _pyarrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            before = 0
            for batch in file.iter_batches(batch_size=ROW_GROUP_SIZE):
                yield from _python_rows(batch, before, path)
                before += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}.") from None


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
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if file_suffix(path) == PARQUET:
            _write_parquet(temporary, rows)
        else:
            _write_lines(temporary, rows)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with OPENERS[file_suffix(path) or ".jsonl"](path, "wt", encoding="utf-8", newline="\n") as lines:
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    pyarrow = _pyarrow(path)
    writer = None
    group: list[dict[str, Any]] = []
    try:
        for row in rows:
            group.append({name: _column(name, value) for name, value in row.items()})
            if len(group) == ROW_GROUP_SIZE:
                writer = _write_group(pyarrow, path, writer, group)
                group = []
        if group or writer is None:
            writer = _write_group(pyarrow, path, writer, group)
    finally:
        if writer is not None:
            writer.close()


def _write_group(pyarrow: Any, path: Path, writer: Any, group: list[dict[str, Any]]) -> Any:
    table = pyarrow.Table.from_pylist(group, schema=writer.schema if writer else None)
    writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
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
