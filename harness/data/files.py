"""Files of environment records: JSONL, plain or compressed, and Parquet; read, also a list in one .json. What a file
holds is not trusted."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any

from harness.data import disk, jsonio
from harness.data.limits import read_limits
from harness.data.parquet import ROW_GROUP_SIZE, import_pyarrow, read_parquet
from harness.errors import UsageError

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
        yield from read_parquet(path)
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
    pyarrow = import_pyarrow(path)
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
