"""Rows of Parquet files that nobody vouches for.

A value that is written once may stand in a million rows: such texts are counted before they become rows. Left out: a
footer that lies about the size of its pages, which pyarrow unpacks as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data import disk
from harness.data.limits import raise_by, read_limits, unpacked_limit
from harness.errors import UsageError
from harness.extras import install_command

ROW_GROUP_SIZE = 500


def read_parquet(path: Path) -> Iterator[Any]:
    """The rows of a file, one by one. Raises UsageError for what is no Parquet, or too much."""
    pyarrow = import_pyarrow(path)
    try:
        with disk.open_file(path, links=True) as source:
            metadata = pyarrow.parquet.read_metadata(source)
            _check_size(path, metadata)
            source.seek(0)
            with pyarrow.parquet.ParquetFile(source, read_dictionary=_texts(metadata.schema)) as file:
                yield from _rows(path, file)
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_first_line(error)}.") from None


def import_pyarrow(path: Path) -> Any:
    """The library that reads and writes `path`. Raises UsageError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path} is Parquet, which needs the data extra: {install_command('data')}.") from None
    return pyarrow


def _check_size(path: Path, metadata: Any) -> None:
    """Raises UsageError where a file says that it has more rows, values, levels or bytes than are read."""
    limits, size = read_limits(), path.stat().st_size
    if metadata.num_rows > limits.rows:
        raise UsageError(f"{path} has more than {limits.rows:,} rows; {raise_by('rows')}.")
    if any(path_of.count(".") > limits.depth for path_of in _columns(metadata.schema)):
        raise UsageError(f"{path} has a column nested more than {limits.depth} levels deep; {raise_by('depth')}.")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > (limit := unpacked_limit(size)):
        raise UsageError(_too_large(path, limit))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    if sum(chunk.num_values for chunk in chunks) > max(limits.values, size):
        raise UsageError(f"{path} holds more than {limits.values:,} values; {raise_by('values')}.")


def _too_large(path: Path, limit: int) -> str:
    return f"{path} becomes more than {limit:,} bytes; {raise_by('bytes')}."


def _columns(schema: Any) -> list[str]:
    return [schema.column(place).path for place in range(len(schema))]


def _texts(schema: Any) -> list[str]:
    """The columns of text, lists' and structs' too: read as dictionaries, they take what they take in the file."""
    columns = [schema.column(place) for place in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _rows(path: Path, file: Any) -> Iterator[Any]:
    limit = unpacked_limit(path.stat().st_size)
    before, left = 0, limit
    for batch in file.iter_batches(batch_size=ROW_GROUP_SIZE):
        left -= sum(map(_bytes_of, batch.columns))
        if left < 0:
            raise UsageError(_too_large(path, limit))
        yield from _python_rows(batch, before, path)
        before += batch.num_rows


def _bytes_of(array: Any) -> int:
    """What the values of an array take, each counted as often as it stands there."""
    from pyarrow import compute, types

    kind = array.type
    if types.is_dictionary(kind) and not types.is_primitive(kind.value_type):
        lengths = compute.binary_length(array.dictionary)
        return int((compute.sum(lengths.take(array.indices)).as_py() or 0) + array.indices.nbytes)
    if types.is_map(kind):
        return _bytes_of(array.keys) + _bytes_of(array.items)
    if types.is_struct(kind):
        return sum(map(_bytes_of, array.flatten()))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _bytes_of(array.flatten()) + len(array)
    return int(array.nbytes)


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
