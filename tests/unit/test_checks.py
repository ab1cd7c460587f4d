"""Rows with checks: what each check holds for, and which rows are refused."""

import json

import pytest
from builders import call, record, says, tool, write_records

from harness.checks import sample_with_checks, score, state_digest
from harness.errors import MissingData, UsageError
from harness.sandbox import Sandbox, SandboxConfig
from harness.task import file_task
from harness.types import CallRecord, Trajectory, Usage

MOVE = 'def move(data, item, to):\n    data["where"][item] = to\n    return f"{item} is in the {to}"\n'
STATE = {"where": {"lamp": "hall", "rug": "attic"}}
CALL = {"name": "move", "arguments": {"item": "lamp", "to": "study"}}


def plain(*checks, **changes):
    return record(unsolved_set=..., answer=..., checks=list(checks), **changes)


def stateful(*checks, **changes):
    fields = {
        "messages": [{"role": "user", "content": "Put the lamp into the study."}],
        "tools": [tool("move", {"item": {"type": "string"}, "to": {"type": "string"}})],
        "codes": {"move": MOVE},
        "gold_calls": [CALL],
        "state": STATE,
    }
    return plain(*checks, **{**fields, **changes})


def scores(row, *calls, text="", facts=None):
    known = sample_with_checks(row, 0, "row 1", "state" in row)
    messages = (*known.messages, says(text))
    return score(known, Trajectory(messages, calls, 1, "ok", "no_tool_calls", Usage(), {}, facts=facts or {})).scores


def made(output, name="population", arguments=None, status="ok"):
    return CallRecord(0, call(name, {"town": "Corrie"} if arguments is None else arguments), status, output)


STATES = {"type": "tool_output_contains", "value": "45210"}


@pytest.mark.parametrize(
    ("check", "calls", "holds"),
    [
        (STATES, [made('{"inhabitants": "45,210"}')], True),
        (STATES, [made("145210 of them")], False),
        (STATES, [made('{"error": "no 45210"}')], False),
        (STATES, [made("45210", status="raised")], False),
        (STATES, [made("no town 45210", arguments={"town": "45210"})], False),  # an echo
        (STATES, [made("nothing"), made("45210")], True),
        (STATES, [], False),
        ({**STATES, "tool": "population"}, [made("45210")], True),
        ({**STATES, "tool": "population"}, [made("45210", name="other")], False),
    ],
)
def test_what_a_tool_said(check, calls, holds):
    assert scores(plain(check), *calls)["success"] == holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [("Answer: 45,210", True), ("Answer: about 45210", True), ("Answer: over 45210", False), ("45210", False)],
)
def test_the_final_answer_where_a_line_is_asked_for(text, holds):
    assert scores(plain({"type": "final_answer", "value": "45210"}), text=text)["success"] == holds


def test_the_final_answer_where_none_is():
    row = plain({"type": "final_answer", "value": "45210"}, messages=[{"role": "user", "content": "How many?"}])
    assert scores(row, text="They are 45,210.")["success"] == 1
    assert scores(row, text="They are 4521.")["success"] == 0


def test_the_share_of_checks_that_hold():
    row = plain(STATES, {"type": "final_answer", "value": "45210"}, {"type": "final_answer", "value": "7"})
    found = scores(row, made("45210"), text="Answer: 45210")
    assert (found["success"], found["checks"]) == (0.0, 2 / 3)


def test_the_state_against_a_value_and_against_gold():
    wanted = {"where": {"rug": "attic", "lamp": "study"}}
    row = stateful({"type": "state_eq", "value": wanted})
    assert scores(row, facts={"state": state_digest(wanted)})["success"] == 1
    assert scores(row, facts={"state": state_digest(STATE)})["success"] == 0
    row = stateful({"type": "state_eq"})
    assert scores(row, facts={"state": "a", "gold_state": "a"})["success"] == 1
    assert scores(row, facts={"state": "a", "gold_state": "b"})["success"] == 0
    assert scores(row, facts={"state": None, "gold_state": None})["success"] == 0  # lost, or no JSON any more
    assert scores(row)["success"] == 0


def test_the_digest_is_the_sandboxes():
    odd = {"b": [1, 1.5, None, True, "é\u2028"], "a": {}}
    with Sandbox(SandboxConfig(workers=1)) as sandbox, sandbox.episode(sandbox.preload(json.dumps(odd))) as episode:
        assert episode.state_digest() == state_digest(odd)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (plain(), "at least one check"),
        (plain("x"), "needs a type"),
        (plain({"type": "vibes"}), "needs a type"),
        (plain({"type": "final_answer"}), "must be a text"),
        (plain({"type": "final_answer", "value": "..."}), "letter or a digit"),
        (plain({**STATES, "value": 45210}), "must be a text"),
        (plain({**STATES, "tool": "nobody"}), "'nobody', which has no code"),
        (plain({"type": "state_eq", "value": 1}), "needs the row to have a state"),
        (stateful({"type": "state_eq"}, gold_calls=...), "gold_calls to replay"),
        ({**plain(), "checks": "no JSON"}, "not JSON"),
        ({**plain(), "checks": None}, "has no checks"),
    ],
)
def test_rows_that_cannot_be_used(row, what):
    with pytest.raises(UsageError, match=what):
        sample_with_checks(row, 0, "row 1", "state" in row)


def test_a_file_is_what_its_first_row_is(tmp_path):
    checked = file_task(write_records(tmp_path / "a.jsonl", [plain(STATES)]))
    assert (checked.name, checked.headline, checked.state) == ("a", "success", None)
    assert file_task(write_records(tmp_path / "b.jsonl", [stateful({"type": "state_eq"})])).state is not None
    assert file_task(write_records(tmp_path / "c.jsonl", [record()])).headline == "solve_f1"
    with pytest.raises(MissingData):
        file_task(tmp_path / "gone.jsonl").load()
    (tmp_path / "list.jsonl").write_text("[1]\n")
    with pytest.raises(UsageError, match="record 1 is not a JSON object"):
        file_task(tmp_path / "list.jsonl").load()


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([plain(STATES), stateful({"type": "state_eq"}, id="b")], "either all rows of a file have a state or none"),
        ([plain(STATES), record(id="b")], "record 2 has no checks"),
        ([plain(STATES), plain(STATES)], "share the id"),
    ],
)
def test_files_of_two_kinds_are_refused(tmp_path, rows, what):
    with pytest.raises(UsageError, match=what):
        file_task(write_records(tmp_path / "mixed.jsonl", rows)).load()


def test_the_checks_and_the_state_are_part_of_what_was_played():
    digests = {
        sample_with_checks(row, 0, "row 1", "state" in row).metadata["digest"]
        for row in (
            plain(STATES),
            plain({**STATES, "value": "7"}),
            stateful({"type": "state_eq"}),
            stateful({"type": "state_eq"}, state={}),
        )
    }
    assert len(digests) == 4


def test_fields_may_be_texts_of_json_as_in_parquet():
    row = stateful({"type": "state_eq"})
    texts = {name: json.dumps(row[name]) for name in ("checks", "state", "tools", "codes", "gold_calls")}
    one, other = sample_with_checks(row, 0, "row 1", True), sample_with_checks({**row, **texts}, 0, "row 1", True)
    assert one == other
