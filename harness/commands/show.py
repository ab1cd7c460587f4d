"""Read a run: its episodes in a list, or whole transcripts with what every call solved and why the others did not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from harness.console.text import printable
from harness.errors import UsageError
from harness.stops import stop_sentence
from harness.types import CallStatus, Outcome, Sample

if TYPE_CHECKING:
    from harness.data.schema import CallJSON, ReasoningJSON, Record

HELP = "read a run's episodes: what was said, which call solved what, and why not"
INDENT = "    "
MISSING_CALL: CallJSON = {
    "turn": 0,
    "name": "?",
    "arguments": None,
    "raw": "",
    "status": cast(CallStatus, "lost"),
    "output": "",
    "solves": None,
    "paper_solves": None,
}
"""What stands for a call that the transcript has and the record's calls do not."""
BECAUSE = {
    "status": "it did not end ok",
    "no_sub_answer": "no sub-answer is this tool's",
    "repeat": "it repeats an earlier call",
    "error_output": "the tool reported an error",
    "not_in_output": "the output states no sub-answer",
    "in_arguments": "its own arguments state it already",
    "taken": "what it found is credited to another call",
}
"""The strict verifier's reasons in words."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run directory")
    add("sample", nargs="*", default=[], metavar="SAMPLE", help="ids of samples to read; without one, all are listed")
    add("--task", metavar="NAME", help="only episodes of this task")
    add("--epoch", type=int, metavar="K", help="only this epoch")
    add("--outcome", choices=get_args(Outcome), help="only episodes that ended so")
    add("--full", action="store_true", help="long texts in full")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where the run has no such episode."""
    from harness.registry import suggest_names
    from harness.runs.directory import RunDirectory

    directory = RunDirectory.open(args.run)
    everything = directory.read_records()
    known = {record["sample"] for record in everything}
    for sample in args.sample:
        if sample not in known:
            raise UsageError(f"{args.run} has no episode of {sample!r}.{suggest_names(sample, known)}")
    records = [record for record in everything if _wanted(record, args)]
    if not everything:
        raise UsageError(f"Nothing of {args.run} has been played yet; go on with the run by --resume.")
    if not records:
        kinds = ", ".join(sorted({record["outcome"] for record in everything} | {r["task"] for r in everything}))
        raise UsageError(f"No episode of {args.run} is of that kind; there are {kinds}.")
    if args.sample:
        samples = _samples(directory)
        for record in records:
            print(printable("\n".join(_transcript(record, samples, args.full))), end="\n\n")
    else:
        headlines = {name: str(task["headline"]) for name, task in directory.manifest["tasks"].items()}
        print(printable(_list(records, headlines)))
    return 0


def _wanted(record: Record, args: argparse.Namespace) -> bool:
    return (
        (not args.sample or record["sample"] in args.sample)
        and args.task in (None, record["task"])
        and args.epoch in (None, record["epoch"])
        and args.outcome in (None, record["outcome"])
    )


def _list(records: list[Record], headlines: Mapping[str, str]) -> str:
    """A row an episode. Tasks with a headline metric of their own, which have no Solve-F1, show that."""
    from tabulate import tabulate

    rows = [
        {
            "task": record["task"],
            "sample": record["sample"],
            "epoch": record["epoch"],
            "outcome": record["outcome"],
            "stop": record["stop"],
            **_headline(record["scores"], headlines[record["task"]]),
            "calls": len(record["calls"]),
            "error": (record["error"] or "")[:80],
        }
        for record in records
    ]
    return tabulate(rows, headers="keys", disable_numparse=True)


def _headline(scores: Mapping[str, float | None], metric: str) -> dict[str, str]:
    from harness.console.tables import format_number
    from harness.metrics import HEADLINE

    if metric == HEADLINE:
        return {"F1": format_number(scores.get(metric)), "paper F1": format_number(scores.get(f"paper_{metric}"))}
    return {metric: format_number(scores.get(metric))}


def _samples(directory: Any) -> dict[tuple[str, str], Sample]:
    """Every sample, where the task's data can still be found; the transcript is readable without."""
    from harness.evaluation.run_tasks import load_run_tasks

    try:
        tasks = load_run_tasks(directory)
    except UsageError as error:
        print(printable(f"Without gold: {error}"), file=sys.stderr)
        return {}
    return {(name, sample.id): sample for name, (_, samples) in tasks.items() for sample in samples.values()}


def _transcript(record: Record, samples: Mapping[tuple[str, str], Sample], full: bool) -> Iterator[str]:
    from harness.console.text import shorten_text

    sample = samples.get((record["task"], record["sample"]))
    gold = None if sample is None else sample.gold
    yield f"{record['task']} / {record['sample']}   epoch {record['epoch']}   {record['outcome']} ({record['stop']})"
    if ended := stop_sentence(record["stop"]):
        yield f"ended: {ended}"
    yield _scores(record["scores"])
    yield from _reasoned(record.get("reasoning", {}))
    yield from record.get("notes", ())
    if record["error"]:
        yield f"error: {record['error']}"
    reasons = _reasons(record, gold)
    calls: Iterator[tuple[CallJSON, str | None]] = iter(zip(record["calls"], reasons, strict=True))
    turn = 0
    for message in record["messages"]:
        if message["role"] == "tool":
            continue
        heading: str = message["role"]
        if message["role"] == "assistant":
            turn += 1
            heading = f"turn {turn}"
        yield f"\n{heading}"
        for label, text in (("(reasoning) ", message.get("reasoning")), ("", message["content"])):
            if text:
                yield _indented(label + shorten_text(text, 10**9 if full else 1200))
        for _ in message.get("tool_calls", ()):
            call, reason = next(calls, (MISSING_CALL, None))
            yield from _call(call, reason, gold, full)
    if sample is not None:
        yield f"\ngold answer: {sample.gold.answer}"
        yield from _checks(record, sample)


def _reasoned(seen: ReasoningJSON) -> Iterator[str]:
    """What was asked and seen of reasoning, where there was anything."""
    asked, turns, tokens = seen.get("asked", "default"), seen.get("turns", 0), seen.get("tokens", 0)
    if asked != "default" or turns or tokens:
        yield f"reasoning {asked}: text in {turns} turns, {tokens} tokens as counted"


def _checks(record: Record, sample: Sample) -> Iterator[str]:
    """The checks of a row, where its task has some: which held."""
    from harness.checks import judge_checks
    from harness.data import jsonio
    from harness.runs.record import to_trajectory

    for check, holds in judge_checks(sample, to_trajectory(record)):
        yield f"check {'holds' if holds else 'fails'}: {jsonio.canonical_json(check)}"


def _scores(scores: Mapping[str, float | None]) -> str:
    from harness.console.tables import format_number
    from harness.metrics import ANSWERS, HEADLINE, RULES, shown_by_rule

    if HEADLINE not in scores:
        return "\n".join(f"{name} {format_number(value)}" for name, value in scores.items())
    strict, paper = (
        "  ".join(f"{row.heading} {format_number(scores.get(rule + row.name))}" for row in shown_by_rule())
        for rule in RULES.values()
    )
    answers = [f"{name} {format_number(scores[name], 0)}" for name in scores if name.startswith(ANSWERS[0])]
    return f"strict  {strict}\npaper   {paper}" + "".join(f"\n{answer}" for answer in answers)


def _call(call: CallJSON, reason: str | None, gold: Any, full: bool) -> Iterator[str]:
    from harness.console.text import shorten_text
    from harness.data import jsonio

    arguments = call["raw"] if call["arguments"] is None else jsonio.canonical_json(call["arguments"])
    limit = 10**9 if full else 600
    yield _indented(_quoted(f"-> {call['name']}({shorten_text(arguments, limit)})   {call['status']}"))
    yield _indented(_quoted(f"   {shorten_text(call['output'], limit)}"))
    if gold is not None and not gold.sub_answers:
        return  # a benchmark that judges whole episodes
    strict, paper = _solved(call, "solves", gold), _solved(call, "paper_solves", gold)
    because = f" ({BECAUSE[reason]})" if reason and call["solves"] is None else ""
    yield _indented(f"   strict: {strict}{because}; paper: {paper}")


def _solved(call: CallJSON, verdict: Literal["solves", "paper_solves"], gold: Any) -> str:
    position = call[verdict]
    if position is None:
        return "solves nothing"
    answers = () if gold is None else gold.sub_answers.get(call["name"], ())
    if position >= len(answers):  # without gold, or by a record that says what is not so
        return f"solves sub-answer {position + 1} of {call['name']}"
    return f"solves {answers[position]!r}"


def _reasons(record: Record, gold: Any) -> list[str | None]:
    """Why the strict verifier gave each call nothing; None where it gave something or the gold is not at hand."""
    from harness.runs.record import to_trajectory
    from harness.scoring.strict import reject_reasons

    if gold is None:
        return [None] * len(record["calls"])
    return list(reject_reasons(to_trajectory(record).calls, gold.sub_answers))


def _quoted(text: str) -> str:
    """Text of a model or a tool whose further lines are marked, so that none of them looks like a line of ours."""
    return text.replace("\n", "\n   | ")


def _indented(text: str) -> str:
    return "\n".join(INDENT + line for line in text.split("\n"))
