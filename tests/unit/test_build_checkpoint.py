"""What a model's build leaves on disk, read again: no secret, and one sentence for what is damaged."""

import json

import pytest

from envbuilder.model import BuildDirectory, EnvironmentRequest, ModelReport
from envbuilder.model.author import InvalidReply, StageUsage
from envbuilder.records import Hop, Scenario
from harness.errors import UsageError
from harness.redaction import Redactor

SECRET = "hf_WALRUSWALRUSWALRUS"
SCENARIO = Scenario("s", "w", "single_hop", "Who?", "Irvane", (Hop("Who?", "Irvane"),))
KEPT, DROPPED = EnvironmentRequest(0, topic="wind farms"), EnvironmentRequest(1, topic="opera houses")


def begun(folder, redact=None):
    """A checkpoint with one environment that came through the first stage and one that was given up there."""
    with BuildDirectory(folder, redact) as checkpoint:
        checkpoint.start({"model": {"flags": ["--hf-token", SECRET]}})
        checkpoint.append_product(KEPT, "scenario", SCENARIO, StageUsage())
        checkpoint.append_rejection(DROPPED, "scenario", InvalidReply("leak", f"it says {SECRET}"), StageUsage())
    return folder


def again(folder, redact=None):
    """Where both environments stand for a build that goes on."""
    with BuildDirectory(folder, redact) as checkpoint:
        checkpoint.start({"model": {"flags": ["--hf-token", SECRET]}})
        return checkpoint.find_progress(KEPT), checkpoint.find_progress(DROPPED)


def test_no_secret_is_written_and_the_build_goes_on(tmp_path):
    redact = Redactor()
    redact.add(SECRET)
    folder = begun(tmp_path / "stages", redact)
    assert not any(SECRET in path.read_text() for path in folder.iterdir())
    assert json.loads((folder / "manifest.json").read_text())["identity"]["model"]["flags"] == [
        "--hf-token",
        "[redacted]",
    ]
    kept, dropped = again(folder, redact)
    assert kept.product == SCENARIO
    assert dropped.message == "it says [redacted]"


def test_a_torn_last_line_is_dropped(tmp_path):
    folder = begun(tmp_path / "stages")
    path = folder / "1-scenario.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    kept, dropped = again(folder)
    assert kept.stages == 0
    assert dropped.stage == "scenario"


def without(name):
    return lambda line: line.pop(name)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("1-scenario.jsonl", without("product")),
        ("1-scenario.jsonl", lambda line: line["product"].pop("hops")),
        ("1-scenario.jsonl", lambda line: line["product"].update(hops=[7])),
        ("1-scenario.jsonl", lambda line: line.update(product="x")),
        ("1-scenario.jsonl", lambda line: line.update(index=float("inf"))),
        ("1-scenario.jsonl", lambda line: line.update(usage={"input_tokens": "many"})),
        ("1-scenario.jsonl", lambda line: line.update(faults=3)),
        ("rejected.jsonl", without("stage")),
        ("rejected.jsonl", without("message")),
        ("rejected.jsonl", lambda line: line.update(stage="sixth")),
    ],
)
def test_a_damaged_line_is_one_sentence(name, damage, tmp_path):
    folder = begun(tmp_path / "stages")
    line = json.loads((folder / name).read_text())
    damage(line)
    (folder / name).write_text(json.dumps(line) + "\n")
    for read in (again, ModelReport.from_directory):
        with pytest.raises(UsageError, match=rf"{name}, line 1 is no line of a build; remove it"):
            read(folder)


def test_without_its_damaged_line_a_stage_runs_again(tmp_path):
    folder = begun(tmp_path / "stages")
    (folder / "1-scenario.jsonl").write_text("")
    assert again(folder)[0].stages == 0


@pytest.mark.parametrize("text", ["", '{"schema": 1, "iden', "[" * 100_000])
def test_a_torn_manifest_is_one_sentence(text, tmp_path):
    folder = begun(tmp_path / "stages")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"manifest\.json cannot be read: .*\.$") as caught:
        again(folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_manifest_is_one_sentence(tmp_path):
    (tmp_path / "stages" / "manifest.json").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"manifest\.json cannot be read"):
        again(tmp_path / "stages")
