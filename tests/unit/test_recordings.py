"""What replay/ takes as a recording: a file that a crash cut is used up to there, anything else is named."""

import json

import pytest
from builders import record, sample
from report_runs import play, record_of

from harness.errors import UsageError
from harness.models import ModelOptions, load_model
from harness.types import Message, ModelRequest, Sampling

LINE = {"line": 0, "policy": "p", "turns": [], "final": "done"}


def heard(path, sample_id, epoch=0):
    """What the replay says first."""
    asked = sample(**{**record(), "id": sample_id})
    return load_model(f"replay/{path}", ModelOptions())(
        ModelRequest((), asked.tools, Sampling(), asked, epoch, task="t")
    ).message


def written(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


@pytest.fixture
def records():
    return [record_of(one, play(one, [], f"I am {one.id}.")) for one in (sample(id="a"), sample(id="b"))]


def test_a_torn_last_line_is_dropped(tmp_path, records):
    path = written(tmp_path / "samples.jsonl", *records)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (0, 1, 40, len(whole) - first - 2):
        path.write_bytes(whole[: first + cut])
        assert heard(path, "a") == Message("assistant", "I am a.")


def test_a_last_line_without_its_newline_counts(tmp_path):
    path = tmp_path / "recorded.jsonl"
    path.write_text(json.dumps({**LINE, "line": 3}) + "\n" + json.dumps(LINE))
    assert load_model(f"replay/{path}", ModelOptions())._recordings[0][-1].content == "done"


def test_a_file_that_is_torn_in_its_only_line_holds_nothing(tmp_path, records):
    path = written(tmp_path / "samples.jsonl", records[0])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UsageError, match="holds no recording"):
        load_model(f"replay/{path}", ModelOptions())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{oops", "line 3 cannot be read as JSON"),
        ("[]", "line 3 is no recording"),
        ('{"task": "t"}', "line 3 is no recording: .*its key is missing"),
    ],
)
def test_a_broken_line_before_the_last_is_named(tmp_path, records, bad, said):
    path = written(tmp_path / "samples.jsonl", records[0])
    path.write_text(path.read_text() + f"\n{bad}\n" + json.dumps(records[1]) + "\n")
    with pytest.raises(UsageError, match=said):
        load_model(f"replay/{path}", ModelOptions())


@pytest.mark.parametrize("content", [5, None, ["x"]])
def test_a_recorded_turn_that_is_no_text_is_named(tmp_path, records, content):
    records[0]["messages"][-1]["content"] = content
    with pytest.raises(UsageError, match=r"line 1 is no recording: .*its content is no text"):
        load_model(f"replay/{written(tmp_path / 'samples.jsonl', *records)}", ModelOptions())
