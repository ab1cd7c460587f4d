"""The account of an episode, and what a refused call counts as."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest

from harness.commands import eval as command
from harness.console.transcripts import format_transcript
from harness.evaluation.from_options import TOOL_LIMITS, tool_limits_of
from harness.runs.record import to_record
from harness.sandbox import UNLIMITED, ToolLimits
from harness.sandbox.ledger import Account
from harness.scoring.metrics import score
from harness.types import (
    CallRecord,
    Gold,
    Limits,
    Message,
    Reasoning,
    RunKey,
    Sample,
    Sampling,
    ToolCall,
    Trajectory,
    Usage,
)

LIMITS = ToolLimits(turn_seconds=2, episode_seconds=3, turn_bytes=10, episode_bytes=15)


def test_a_limit_holds_from_the_call_that_meets_it() -> None:
    account = Account(LIMITS)
    seen = []
    for seconds, output in ((1.9, "x" * 9), (0.1, ""), (1.0, "")):
        account.add(seconds, output)
        seen.append(account.why)
        if account.why:
            account.open_turn()
    turn, episode = (
        f"not run, because the tools of this {of} seconds"
        for of in ("turn had used up their 2", "episode had used up their 3")
    )
    assert [*seen, account.why] == [None, turn, episode, episode]


def test_output_counts_in_bytes() -> None:
    account = Account(LIMITS)
    account.add(0.0, "é" * 5)
    assert account.why == "not run, because the tools of this turn had used up their 10 bytes of output"
    account.open_turn()
    account.add(0.0, "\ud800" * 5)
    assert account.why == "not run, because the tools of this episode had used up their 15 bytes of output"


def test_a_closed_account_stays_closed() -> None:
    account = Account()
    account.close("enough")
    account.open_turn()
    account.add(0.0)
    assert account.why == "enough"


def test_no_limit_is_ever_met_without_limits() -> None:
    account = Account(UNLIMITED)
    account.add(1e9, "x" * 10**6)
    assert account.why is None


def test_places_are_bounded_by_descriptors() -> None:
    assert ToolLimits(processes=100, descriptors=50).places == 25
    assert ToolLimits(processes=10, descriptors=50).places == 10
    assert ToolLimits(descriptors=1).places == 1
    assert ToolLimits(descriptors=None).places > 1


def test_every_limit_has_an_option_and_a_place_in_the_manifest() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    required = ["--model", "policy/oracle", "--tasks", "demo_*"]
    told = tool_limits_of(parser.parse_args(required)).to_json()
    assert told == ToolLimits().to_json()
    assert set(told) == set(TOOL_LIMITS.values())
    assert json.loads(json.dumps(told)) == told
    for option, name in TOOL_LIMITS.items():
        given = parser.parse_args([*required, f"--{option.replace('_', '-')}", "7"])
        assert tool_limits_of(given) == replace(ToolLimits(), **{name: 7})


def played(status: str, output: str) -> tuple[Sample, Trajectory]:
    call = ToolCall("c0", "size", {"town": "Brill"}, '{"town": "Brill"}')
    sample = Sample("s", (Message("user", "How large?"),), (), {}, Gold({"size": ("998",)}, answer="998"))
    messages = (*sample.messages, Message("assistant", tool_calls=(call,)), Message("tool", output))
    records = (CallRecord(0, call, status, output),)  # type: ignore[arg-type]
    return sample, Trajectory(messages, records, 1, "ok", "no_tool_calls", Usage(), {"total": 1.0})


@pytest.mark.parametrize(("status", "solved"), [("ok", 1.0), ("refused", 0.0)])
def test_a_refused_call_counts_and_solves_nothing_by_either_rule(status: str, solved: float) -> None:
    scores = score(*played(status, "998 people")).scores
    assert (scores["calls"], scores["tool_error_rate"], scores["malformed_call_rate"]) == (1.0, 1.0 - solved, 0.0)
    for name in ("solve_precision", "solve_rate", "solve_f1"):
        assert (scores[name], scores[f"paper_{name}"]) == (solved, solved)


def test_a_transcript_says_why_a_refused_call_solves_nothing() -> None:
    sample, trajectory = played("refused", "an error occured when call size: not run")
    key = RunKey("t", "f", "s", 0, "m", "f", Reasoning(), Sampling(), Limits())
    said = format_transcript(to_record(key, trajectory, score(sample, trajectory)), sample, False)
    assert "refused" in said
    assert "strict: solves nothing (a limit of the run on tools had been met)" in said
