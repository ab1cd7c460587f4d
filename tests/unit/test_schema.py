"""The types of a run's files: what soundness asks for, what is written, and what docs/runs.md says, field by field."""

import re
import types
from dataclasses import asdict, fields
from typing import NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from builders import ROOT
from commands import harness
from documents import page
from small_shop import row, write_shop

from harness.data import jsonio, schema
from harness.runs import faults
from harness.runs.directory import RunDirectory
from harness.runs.prices import Price
from harness.types import Usage


@pytest.mark.parametrize(
    ("shape", "required", "optional"),
    [
        (schema.Record, faults.RECORD, faults.OF_RECORD),
        (schema.MessageJSON, faults.MESSAGE, faults.OF_MESSAGE),
        (schema.CallJSON, faults.CALL, {}),
        (schema.Manifest, faults.MANIFEST, faults.OF_MANIFEST),
        (schema.Identity, faults.IDENTITY, faults.OF_IDENTITY),
        (schema.TaskEntry, faults.TASK, faults.OF_TASK),
    ],
)
def test_what_a_type_requires_is_what_a_run_must_have_to_be_read(shape, required, optional):
    assert shape.__required_keys__ - {"schema"} == set(required)
    assert set(optional) <= shape.__optional_keys__


def test_tokens_and_prices_have_the_fields_of_their_dataclasses():
    assert schema.UsageJSON.__optional_keys__ == {field.name for field in fields(Usage)}
    assert Price(1.0, 2.0, 0.5).to_json() == asdict(Price(1.0, 2.0, 0.5))
    assert schema.PriceJSON.__required_keys__ == faults.PRICED


def strangers(value, shape, where=""):
    """Fields of a JSON value that its type does not know, and those it requires in vain."""
    inner = get_args(shape)
    if is_typeddict(shape):
        known = get_type_hints(shape)
        yield from (
            f"{where}.{name}" for name in {*value, *shape.__required_keys__} if (name in value) > (name in known)
        )
        yield from (f"{where}.{name} is missing" for name in shape.__required_keys__ - {*value})
        for name in known.keys() & value.keys():
            yield from strangers(value[name], known[name], f"{where}.{name}")
    elif get_origin(shape) in (Union, types.UnionType):
        yield from () if value is None else strangers(value, inner[0], where)
    elif get_origin(shape) is NotRequired:
        yield from strangers(value, inner[0], where)
    elif get_origin(shape) is list:
        for part in value:
            yield from strangers(part, inner[0], f"{where}[]")
    elif get_origin(shape) is dict:
        for part in value.values():
            yield from strangers(part, inner[1], f"{where}{{}}")


def test_the_types_know_every_field_that_is_written(tmp_path):
    data = write_shop(tmp_path / "data", row("Say hello."))
    prices = tmp_path / "prices.toml"
    prices.write_text('["policy/*"]\ninput = 1.0\noutput = 2.0\n')
    done = harness(
        "eval", "--model", "policy/shotgun", "--tasks", "taubench_retail,demo_single_hop", "--data", f"taubench={data}",
        "--epochs", "2", "--prices", prices, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = RunDirectory.open(tmp_path / "run")
    assert "user" in run.read_summary()
    assert any("facts" in record and "user_usage" in record for record in run.read_records())
    assert any(record["calls"] for record in run.read_records())
    assert list(strangers(run.manifest, schema.Manifest)) == []
    assert list(strangers(run.read_summary(), schema.Summary)) == []
    for record in run.read_records():
        assert list(strangers(record, schema.Record)) == []


def test_the_types_know_every_field_of_the_published_runs():
    published = sorted((ROOT / "results" / "published").rglob("manifest.json"))
    assert published
    for path in published:
        if not (path.parent / "summary.json").exists():
            continue  # a model's own manifest
        assert list(strangers(jsonio.parse_json(path.read_bytes()), schema.Manifest)) == [], path
        assert list(strangers(jsonio.parse_json((path.parent / "summary.json").read_bytes()), schema.Summary)) == [], (
            path
        )


def test_a_field_that_no_type_knows_is_found():
    metric = {"value": 1.0, "stderr": None, "ci95": None, "number": 3}
    entry = {"n": 3, "headline": "f1", "metrics": {"f1": metric}, "outcomes": {}}
    assert sorted(strangers(entry, schema.SummaryEntry)) == [".metrics{}.n is missing", ".metrics{}.number"]


def told():
    """The table of docs/runs.md on an episode's line: its rows, by the fields that each is about."""
    table = page("docs/runs.md").partition("An episode's line:")[2].partition("\n\n")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|", 1) for line in table.splitlines()[2:]]
    return {tuple(re.findall(r"`(\w+)`", names)): set(re.findall(r"`(\w+)`", says)) for names, says in rows}


def test_the_document_tells_of_every_field_of_a_record():
    assert [name for names in told() for name in names] == list(schema.Record.__annotations__)
    assert told()["calls",] >= set(schema.CallJSON.__annotations__)
    assert told()["reasoning",] == set(schema.ReasoningJSON.__annotations__)
