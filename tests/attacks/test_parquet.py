"""Parquet files of kilobytes that become gigabytes of rows: what a file says once and means a million times is counted,
with whatever is in lists and structs, before it becomes rows."""

import json

import pytest

from harness.data.limits import reading_within
from harness.data.records import read_samples
from harness.errors import UsageError

pyarrow = pytest.importorskip("pyarrow", reason="needs the data extra")
ROWS = 2000
ROW = {"messages": "[]", "tools": "[]", "codes": "{}", "unsolved_set": "{}"}


def once(text, times):
    """A text that stands in the file once, and means as many values."""
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * times, pyarrow.int32()), pyarrow.array([text]))


def in_first_row(values):
    """A list of them all, and lists of none."""
    return pyarrow.ListArray.from_arrays(pyarrow.array([0] + [len(values)] * ROWS, pyarrow.int32()), values)


def long(times):
    return once("y" * 40_000, times)


COLUMNS = {
    "a text": (lambda: long(ROWS), "bytes"),
    "code": (lambda: once(json.dumps({"f": "def f(): 0\n#" + "x" * 40_000}), ROWS), "bytes"),
    "a struct": (lambda: pyarrow.StructArray.from_arrays([long(ROWS)], ["a"]), "bytes"),
    "a list": (lambda: in_first_row(long(ROWS)), "bytes"),
    "numbers in a list": (lambda: in_first_row(pyarrow.array([7] * 3_100_000, pyarrow.int8())), "values"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_it_is_counted_as_what_it_becomes(tmp_path, kind):
    import pyarrow.parquet

    make, limit = COLUMNS[kind]
    columns = {name: pyarrow.array([value] * ROWS) for name, value in ROW.items()} | {"x": make()}
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(UsageError, match=f"--read-limit {limit}=N") as refused:
        read_samples(path)
    assert "\n" not in str(refused.value)
    with reading_within({"bytes": 10**9, "values": 10**8}):
        assert len(read_samples(path)) == ROWS
