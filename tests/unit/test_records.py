"""Environment records: what is read, and one sentence for what cannot be."""

import json
from datetime import datetime

import pytest
from builders import record, sample, tool, write_records

from harness.data.files import write_rows
from harness.data.records import fingerprint, read_samples
from harness.errors import MissingData, UsageError
from harness.task import file_task


def limited(number):
    """Tools as JSON, one with this as the minimum of its argument."""
    return json.dumps([tool("population", {"town": {"type": "number", "minimum": 0}})]).replace(": 0}", f": {number}}}")


def nested(depth):
    return [nested(depth - 1)] if depth else "x"


def calling(name="population", arguments="{}"):
    called = {"id": "1", "function": {"name": name, "arguments": arguments}}
    return [*record()["messages"], {"role": "assistant", "content": "", "tool_calls": [called]}]


def test_fields_may_be_json_or_json_strings(tmp_path):
    plain = record()
    packed = {**plain, **{name: json.dumps(plain[name]) for name in ("tools", "codes", "unsolved_set")}}
    first, second = read_samples(write_records(tmp_path / "a.jsonl", [plain, {**packed, "id": "other"}]))
    assert (first.tools, first.codes, first.gold) == (second.tools, second.codes, second.gold)


def test_an_absent_id_is_the_line_number(tmp_path):
    samples = read_samples(write_records(tmp_path / "a.jsonl", [record(id=...), record(id=...)]))
    assert [s.id for s in samples] == ["0", "1"]
    assert [s.metadata["line"] for s in samples] == [0, 1]


def test_parquet_reads_like_jsonl(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = record(**{name: json.dumps(record()[name]) for name in ("tools", "codes", "unsolved_set", "gold_calls")})
    parquet.write_table(pyarrow.Table.from_pylist([packed]), tmp_path / "a.parquet")
    assert read_samples(tmp_path / "a.parquet") == [sample()]


def parquet_of(path, **columns):
    """A file of two records, the second with these values."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    packed = {name: json.dumps(record()[name]) for name in ("tools", "codes", "unsolved_set", "gold_calls")}
    table = pyarrow.Table.from_pylist([record(id=str(number), **packed) for number in (1, 2)])
    for name, value in columns.items():
        column = value if isinstance(value, pyarrow.Array) else pyarrow.array([None, value])
        kept = table.drop_columns(name) if name in table.column_names else table
        table = kept.append_column(name, column)
    parquet.write_table(table, path)
    return path


def test_parquet_text_that_is_not_utf_8_is_one_sentence(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    texts = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, [None, pyarrow.py_buffer(bytes(8) + b"\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")]
    )
    path = parquet_of(tmp_path / "a.parquet", world=texts)
    with pytest.raises(
        UsageError, match=r"a\.parquet, record 2 holds a value that cannot be read: .*; write it as UTF-8"
    ):
        read_samples(path)


@pytest.mark.parametrize("name", ["world", "data_source", "split", "sub_questions"])
def test_a_timestamp_where_json_belongs_is_one_sentence(tmp_path, name):
    path = parquet_of(tmp_path / "a.parquet", **{name: datetime(2020, 1, 1)})
    with pytest.raises(UsageError, match=f"record 2: the field '{name}' is not JSON .*; write it as text"):
        read_samples(path)


def test_columns_that_are_none_of_ours_may_hold_anything(tmp_path):
    first, second = read_samples(parquet_of(tmp_path / "a.parquet", seen=datetime(2020, 1, 1), reward=float("nan")))
    assert first == sample(id="1")
    assert second.messages == first.messages


@pytest.mark.parametrize("field", ["messages", "tools", "codes", "unsolved_set"])
def test_a_missing_field_is_named(tmp_path, field):
    path = write_records(tmp_path / "a.jsonl", [record(id="good"), record(**{field: ...})])
    with pytest.raises(UsageError, match=f"record 2 has no field '{field}'"):
        read_samples(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": {"population": "def population(:"}}, "does not compile"),
        ({"codes": {"population": "def other(): pass"}}, "defines no function of that name"),
        ({"codes": {}}, "'population' has no code"),
        ({"unsolved_set": {"elsewhere": ["1"]}}, "'elsewhere' of unsolved_set has no code"),
        ({"unsolved_set": {"population": "45,210"}}, "lists of strings"),
        ({"tools": "[{"}, "'tools' is not JSON"),
        ({"tools": {}}, "must be a JSON array"),
        ({"tools": [{"type": "function"}]}, "every tool needs a name"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "every message needs a role"),
        ({"gold_calls": [{"name": "population", "arguments": [1]}]}, "must be an object"),
        ({"codes": {"population": "(" * 100_000}}, "does not compile"),
        ({"codes": {"population": "-" * 100_000 + "1"}}, "does not compile: nested too deeply"),
        ({"tools": record()["tools"] * 2}, "two tools are named 'population', which endpoints refuse; rename or drop"),
        ({"tools": limited("NaN")}, "'tools' holds NaN or an infinity, .* write null or leave it out"),
        ({"tools": limited("1e400")}, "'tools' holds NaN or an infinity"),
        ({"tools": json.loads(limited("-Infinity"))}, "'tools' holds NaN or an infinity"),
        ({"tools": nested(101)}, "'tools' is nested more than 100 levels deep; flatten it"),
        ({"tools": json.dumps(nested(101))}, "'tools' is nested more than 100 levels deep"),
        ({"tools": "[" * 500 + "]" * 500}, "'tools' is nested more than 100 levels deep"),
        ({"unsolved_set": '{"population": ["\\ud800"]}'}, "'unsolved_set' holds half a surrogate pair"),
        ({"sub_questions": nested(101)}, "'sub_questions' is nested more than 100 levels deep"),
        ({"sub_questions": [float("nan")]}, "'sub_questions' holds NaN"),
        ({"world": ["shire"]}, "the field 'world' must be text or null"),
        ({"data_source": 5}, "the field 'data_source' must be text or null"),
        ({"messages": calling(name=["population"])}, "every call of a message needs"),
        ({"messages": calling(arguments="[1]")}, "every call of a message needs"),
    ],
)
def test_a_record_that_does_not_fit_is_one_sentence(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_samples(write_records(tmp_path / "a.jsonl", [record(**changes)]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no records"),
        ("\n\n", "holds no records"),
        ("{]\n", "record 1 is not JSON"),
        ("[1]\n", "record 1 is not a JSON object"),
        ("[" * 200_000 + "\n", "record 1 is not JSON: nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_samples(path)


def test_ids_are_unique_in_a_file(tmp_path):
    with pytest.raises(UsageError, match="records 1 and 2 share the id 'towns'"):
        read_samples(write_records(tmp_path / "a.jsonl", [record(), record()]))


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(MissingData, match=r"nowhere\.jsonl"):
        read_samples(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.xz", "a.parquet"])
def test_every_format_reads_what_was_written(tmp_path, name):
    rows = [record(), record(id="more")]
    write_rows(tmp_path / name, rows)
    assert read_samples(tmp_path / name) == read_samples(write_records(tmp_path / "plain.jsonl", rows))
    assert file_task(tmp_path / name).name == "a"


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.xz", "a.parquet"])
def test_a_damaged_file_is_one_sentence(tmp_path, name):
    write_rows(tmp_path / name, [record()])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be"):
        read_samples(tmp_path / name)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a.jsonl.xz", "b.jsonl.xz"):
        write_rows(tmp_path / name, [record()])
    assert (tmp_path / "a.jsonl.xz").read_bytes() == (tmp_path / "b.jsonl.xz").read_bytes()


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_samples(path)


def test_the_fingerprint_follows_what_decides_a_score():
    base = fingerprint([sample()])
    assert fingerprint([sample()]) == base
    assert fingerprint([sample(answer="1")]) != base
    assert fingerprint([sample(unsolved_set={"population": ["998"]})]) != base
    assert fingerprint([sample(split="test")]) == base
