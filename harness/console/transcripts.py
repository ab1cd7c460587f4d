"""Episodes as people read them: a row each, or whole transcripts with what every call solved and why others did not.

Whatever a model, a tool, a user or a data file wrote stands behind a mark (`|`, and `~` for reasoning), or on one line
behind a word of ours, with names that are no words in quotes: so no text can look like a heading, a call or a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from tabulate import tabulate

from harness.checks import judge_checks
from harness.console.tables import format_number
from harness.console.text import mark_lines, one_line, quote_name, shorten_text
from harness.data import jsonio
from harness.data.schema import CallJSON, ReasoningJSON, Record
from harness.metrics import ANSWERS, HEADLINE, RULES, shown_by_rule
from harness.runs.record import calls_of, to_trajectory
from harness.runs.results import EpisodeResult
from harness.scoring.strict import reject_reasons
from harness.stops import stop_sentence
from harness.types import CallStatus, Gold, Sample

INDENT = "    "
SAID, THOUGHT, ANSWERED = f"{INDENT}| ", f"{INDENT}~ ", f"{INDENT}   | "
"""What stands before each line of a message, of reasoning, and of a tool's output."""
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
    "refused": "a limit of the run on tools had been met",
    "no_sub_answer": "no sub-answer is this tool's",
    "repeat": "it repeats an earlier call",
    "error_output": "the tool reported an error",
    "not_in_output": "the output states no sub-answer",
    "in_arguments": "its own arguments state it already",
    "taken": "what it found is credited to another call",
}
"""The strict verifier's reasons in words."""


def format_episodes(results: Sequence[EpisodeResult], headlines: Mapping[str, str]) -> str:
    """A row an episode. Tasks with a headline metric of their own, which have no Solve-F1, show that."""

    def rows() -> Iterator[dict[str, object]]:
        return (_row(result, headlines[result.task]) for result in results)

    columns = list(dict.fromkeys(name for row in rows() for name in row))
    cells = ([row.get(name) for name in columns] for row in rows())  # a dict for each would be three times as large
    return tabulate(cells, columns, disable_numparse=True)


def _row(result: EpisodeResult, headline: str) -> dict[str, object]:
    return {
        "task": quote_name(result.task),
        "sample": quote_name(result.sample),
        "epoch": result.epoch,
        "outcome": result.outcome,
        "stop": quote_name(result.stop),
        **_headline(result.scores, headline),
        "calls": result.calls,
        "error": one_line((result.error or "")[:80]),
    }


def _headline(scores: Mapping[str, float | None], metric: str) -> dict[str, str]:
    if metric == HEADLINE:
        return {"F1": format_number(scores.get(metric)), "paper F1": format_number(scores.get(f"paper_{metric}"))}
    return {quote_name(metric): format_number(scores.get(metric))}


def format_transcript(record: Record, sample: Sample | None, full: bool, width: int = 0) -> str:
    """One episode. Without its sample nothing is said of gold; texts are shortened unless it is to be `full`, and
    folded to `width` columns where there is one."""
    return "\n".join(_transcript(record, sample, _Page(full, width)))


@dataclass(frozen=True, slots=True)
class _Page:
    full: bool
    width: int

    def say(self, text: str, limit: int, first: str, rest: str = "") -> str:
        """Somebody else's text, each line behind a mark."""
        return mark_lines(shorten_text(text, 10**9 if self.full else limit), first, rest or first, self.width)

    def line(self, label: str, text: str, limit: int = 10**9) -> str:
        """Somebody else's text on one line behind a word of ours."""
        return self.say(one_line(text), limit, label, ANSWERED)


def _transcript(record: Record, sample: Sample | None, page: _Page) -> Iterator[str]:
    gold = None if sample is None else sample.gold
    yield _heading(record)
    if ended := stop_sentence(record["stop"]):
        yield f"ended: {ended}"
    yield _scores(record["scores"])
    if (read := record.get("answer_read")) is not None:
        yield page.line("answer read as: ", read, 300)
    yield from _reasoned(record.get("reasoning", {}))
    for note in record.get("notes", ()):
        yield page.line("note: ", note)
    if record["error"]:
        yield page.line("error: ", record["error"])
    reasons = _reasons(record, gold)
    yield from _messages(record, zip(record["calls"], reasons, strict=True), gold, page)
    if sample is not None:
        yield "\n" + page.line("gold answer: ", str(sample.gold.answer))
        yield from _checks(record, sample, page)


def _heading(record: Record) -> str:
    name = f"{quote_name(record['task'])} / {quote_name(record['sample'])}"
    return f"{name}   epoch {record['epoch']}   {record['outcome']} ({quote_name(record['stop'])})"


def _messages(
    record: Record, calls: Iterator[tuple[CallJSON, str | None]], gold: Gold | None, page: _Page
) -> Iterator[str]:
    turn = 0
    for message in record["messages"]:
        if message["role"] == "tool":
            continue
        heading: str = message["role"]
        if message["role"] == "assistant":
            turn += 1
            heading = f"turn {turn}"
        yield f"\n{one_line(heading)}"
        if reasoning := message.get("reasoning"):
            yield f"{INDENT}(reasoning)\n{page.say(reasoning, 1200, THOUGHT)}"
        if message["content"]:
            yield page.say(message["content"], 1200, SAID)
        for _ in message.get("tool_calls", ()):
            call, reason = next(calls, (MISSING_CALL, None))
            yield from _call(call, reason, gold, page)


def _reasoned(seen: ReasoningJSON) -> Iterator[str]:
    """What was asked and seen of reasoning, where there was anything."""
    asked, turns, tokens = seen.get("asked", "default"), seen.get("turns", 0), seen.get("tokens", 0)
    if asked != "default" or turns or tokens:
        yield f"reasoning {quote_name(asked)}: text in {turns} turns, {tokens} tokens as counted"


def _checks(record: Record, sample: Sample, page: _Page) -> Iterator[str]:
    """The checks of a row, where its task has some: which held."""
    for check, holds in judge_checks(sample, to_trajectory(record)):
        yield page.line(f"check {'holds' if holds else 'fails'}: ", jsonio.canonical_json(check))


def _scores(scores: Mapping[str, float | None]) -> str:
    if HEADLINE not in scores:
        return "\n".join(f"{quote_name(name)} {format_number(value)}" for name, value in scores.items())
    strict, paper = (
        "  ".join(f"{row.heading} {format_number(scores.get(rule + row.name))}" for row in shown_by_rule())
        for rule in RULES.values()
    )
    answers = [f"{quote_name(name)} {format_number(scores[name], 0)}" for name in scores if name.startswith(ANSWERS[0])]
    return f"strict  {strict}\npaper   {paper}" + "".join(f"\n{answer}" for answer in answers)


def _call(call: CallJSON, reason: str | None, gold: Gold | None, page: _Page) -> Iterator[str]:
    """Its status comes first, because what a model wrote may say anything at its end."""
    raw = call["arguments"] is None
    arguments = json.dumps(call["raw"], ensure_ascii=False) if raw else jsonio.canonical_json(call["arguments"])
    on_purpose = f" (fault: {call['fault']})" if "fault" in call else ""
    yield page.line(f"{INDENT}-> {call['status']}{on_purpose}  ", f"{quote_name(call['name'])}({arguments})", 600)
    yield page.say(call["output"], 600, ANSWERED)
    if gold is not None and not gold.sub_answers:
        return  # a benchmark that judges whole episodes
    strict, paper = _solved(call, "solves", gold), _solved(call, "paper_solves", gold)
    because = f" ({BECAUSE[reason]})" if reason and call["solves"] is None else ""
    yield page.line(f"{INDENT}   strict: ", f"{strict}{because}; paper: {paper}")


def _solved(call: CallJSON, verdict: Literal["solves", "paper_solves"], gold: Gold | None) -> str:
    position = call[verdict]
    if position is None:
        return "solves nothing"
    answers = () if gold is None else gold.sub_answers.get(call["name"], ())
    if position >= len(answers):  # without gold, or by a record that says what is not so
        return f"solves sub-answer {position + 1} of {quote_name(call['name'])}"
    return f"solves {answers[position]!r}"


def _reasons(record: Record, gold: Gold | None) -> list[str | None]:
    """Why the strict verifier gave each call nothing; None where it gave something or the gold is not at hand."""
    if gold is None:
        return [None] * len(record["calls"])
    return list(reject_reasons(calls_of(record), gold.sub_answers))
