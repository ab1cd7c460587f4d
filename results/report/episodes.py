"""Episodes as the page carries them: a short index that is read at once, and transcripts in compressed blocks.

Everything leaves this file as base64 of gzip, so no text of a model, a tool or a data file stands in the markup.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from harness.console.transcripts import BECAUSE, MISSING_CALL
from harness.data.schema import CallJSON, Record, ToolCallJSON
from harness.metrics import ANSWERS, HEADLINE
from harness.runs.record import to_trajectory
from harness.scoring.strict import reject_reasons
from harness.stops import stop_sentence
from harness.types import Sample
from results.causes import CAUSE_LABELS, Diagnosis, SubAnswer, sub_answers
from results.report.data import ReportedRun

BLOCK_EPISODES = 200
BLOCK_CHARACTERS = 1_000_000
"""Where a block ends: what a browser unpacks in a few hundredths of a second."""
SNIPPET = 260

Solves = Literal["solves", "paper_solves"]
EpisodeEntry = tuple[int, ReportedRun, Record, Diagnosis | None]


def pack_json(value: Any) -> str:
    """JSON, gzip, base64; the same text for the same value."""
    return _packed(_text(value))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 7, mtime=0)).decode("ascii")


def list_episodes(runs: Sequence[ReportedRun]) -> list[EpisodeEntry]:
    """All episodes, the runs of one question beside each other: by task, sample, epoch and run."""
    found = [
        (number, run, record, diagnosis)
        for number, run in enumerate(runs)
        for record, diagnosis in zip(run.records, run.diagnoses, strict=True)
    ]
    return sorted(found, key=lambda entry: (entry[2]["task"], entry[2]["sample"], entry[2]["epoch"], entry[0]))


def make_index(
    runs: Sequence[ReportedRun], found: Sequence[EpisodeEntry], colours: Mapping[str, str], starts: Sequence[int]
) -> Any:
    """What the list shows and searches: columns, one value an episode. `starts`: each block's first episode."""
    tasks = {name: number for number, name in enumerate(dict.fromkeys(record["task"] for _, _, record, _ in found))}
    samples: dict[tuple[str, str], int] = {}
    questions: list[tuple[str, str]] = []
    for _, _, record, _ in found:
        if (key := (record["task"], record["sample"])) not in samples:
            samples[key] = len(samples)
            questions.append((record["sample"], _question(record)))
    return {
        "runs": [{"label": run.label, "colour": colours[run.label]} for run in runs],
        "tasks": list(tasks),
        "causes": [{"key": cause, "label": label} for cause, label in CAUSE_LABELS.items()],
        "samples": questions,
        "starts": list(starts),
        "episodes": [
            [
                number,
                tasks[record["task"]],
                samples[record["task"], record["sample"]],
                record["epoch"],
                record["outcome"],
                -1 if diagnosis is None else list(CAUSE_LABELS).index(diagnosis.cause),
                _rounded(_headline(run, record)),
                _rounded(record["scores"].get("paper_solve_f1")),
                next((record["scores"][name] for name in ANSWERS if record["scores"].get(name) is not None), None),
                len(record["calls"]),
                _said(record),
            ]
            for number, run, record, diagnosis in found
        ],
    }


def pack_transcripts(found: Sequence[EpisodeEntry]) -> Iterator[tuple[int, str]]:
    """Transcripts in order: the number of a block's first episode, and the block."""
    start, size = 0, 0
    block: list[str] = []
    golds: dict[int, tuple[SubAnswer, ...]] = {}
    for number, (_, run, record, diagnosis) in enumerate(found):
        sample = run.samples.get((record["task"], record["sample"]))
        if sample is not None and id(sample) not in golds:
            golds[id(sample)] = sub_answers(sample)
        one = _text(make_transcript(record, diagnosis, sample, golds.get(id(sample))))
        if block and (len(block) == BLOCK_EPISODES or size + len(one) > BLOCK_CHARACTERS):
            yield start, _packed(f"[{','.join(block)}]")
            start, block, size = number, [], 0
        block.append(one)
        size += len(one)
    if block:
        yield start, _packed(f"[{','.join(block)}]")


def make_transcript(
    record: Record, diagnosis: Diagnosis | None, sample: Sample | None, wanted: Sequence[SubAnswer] | None
) -> dict[str, Any]:
    """One episode in full: its messages with every call beside the turn that made it, verdicts and gold."""
    reasons: Sequence[str | None] = [None] * len(record["calls"])
    if sample is not None:
        reasons = reject_reasons(to_trajectory(record).calls, sample.gold.sub_answers)
    places = {(sub.tool, sub.position): number for number, sub in enumerate(wanted or ())}
    calls = [_call(call, why, places) for call, why in zip(record["calls"], reasons, strict=True)]
    return {
        "messages": list(_messages(record, calls)),
        "scores": record["scores"],
        "stop": record["stop"],
        "ended": stop_sentence(record["stop"]),
        "error": record["error"],
        "notes": [str(note) for note in record.get("notes", ())],
        "usage": record["usage"],
        "seconds": record["timing"].get("total"),
        "marks": [] if diagnosis is None else [CAUSE_LABELS[mark] for mark in diagnosis.marks],
        "gold": None if sample is None else sample.gold.answer,
        "wanted": None if wanted is None else [_wanted(sub) for sub in wanted],
        "tools": None if sample is None else [[tool.name, tool.description] for tool in sample.tools],
    }


def _wanted(sub: SubAnswer) -> list[Any]:
    return [sub.tool, sub.answer, sub.question, list(sub.depends_on)]


def _call(call: CallJSON, reason: str | None, places: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    """`strict` and `paper`: the sub-answer solved, by its number in `wanted` or, without gold, in its tool's list."""
    arguments = call["raw"] if call["arguments"] is None else _readable(call["arguments"], call["raw"])
    return {
        "name": call["name"],
        "arguments": arguments,
        "status": call["status"],
        "output": call["output"],
        "strict": _place(call, "solves", places),
        "paper": _place(call, "paper_solves", places),
        "because": BECAUSE[reason] if reason else None,
    }


def _place(call: CallJSON, verdict: Solves, places: Mapping[tuple[str, int], int]) -> int | None:
    position = call[verdict]
    return None if position is None else places.get((call["name"], position), position)


def _readable(arguments: Any, raw: str) -> str:
    """One value a line where there are several."""
    try:
        short = json.dumps(arguments, ensure_ascii=False)
        return short if len(short) < 90 else json.dumps(arguments, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return raw


def _messages(record: Record, calls: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Messages but for the tools' own, whose text stands beside its call."""
    rest = list(reversed(calls))
    for message in record["messages"]:
        if message["role"] != "tool":
            made = [rest.pop() if rest else _lost(asked) for asked in message.get("tool_calls", ())]
            shown = {name: message.get(name) for name in ("role", "content", "reasoning")}
            yield {**shown, "calls": made}
    if rest:
        yield {"role": "assistant", "content": "", "reasoning": None, "calls": rest[::-1]}


def _lost(asked: ToolCallJSON) -> dict[str, Any]:
    function = asked["function"]
    return _call({**MISSING_CALL, "name": function["name"], "raw": function["arguments"]}, None, {})


def _headline(run: ReportedRun, record: Record) -> float | None:
    metric = run.manifest["tasks"][record["task"]].get("headline", HEADLINE)
    value: float | None = record["scores"].get(metric)
    return value


def _question(record: Record) -> str:
    """The question in a line: what follows "Question:" where the prompt says that."""
    text = next((m["content"] for m in record["messages"] if m["role"] == "user"), "")
    asked = text.rpartition("Question:")[2].strip() or text
    return _cut(asked.partition("\n")[0])


def _said(record: Record) -> str:
    """The end of the last message, or the error."""
    last = record["messages"][-1] if record["messages"] else {"role": "", "content": ""}
    lines = last["content"].strip().split("\n") if last["role"] == "assistant" else [record["error"] or ""]
    return _cut(lines[-1])


def _cut(text: str) -> str:
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
