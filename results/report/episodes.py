"""Episodes as the page carries them: a short index that is read at once, and transcripts in compressed blocks.

Everything leaves this file as base64 of gzip, so no text of a model, a tool or a data file stands in the markup.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.console.transcripts import BECAUSE, MISSING_CALL
from harness.data.schema import CallJSON, Manifest, Record, ToolCallJSON
from harness.metrics import ANSWERS, HEADLINE, find_metric
from harness.runs.record import calls_of
from harness.runs.results import EpisodeResult
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
EpisodeEntry = tuple[int, ReportedRun, EpisodeResult, Diagnosis | None]


def pack_json(value: Any) -> str:
    """JSON, gzip, base64; the same text for the same value."""
    return _packed(_text(value))


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), 7, mtime=0)).decode("ascii")


def list_episodes(runs: Sequence[ReportedRun]) -> list[EpisodeEntry]:
    """All episodes, the runs of one question beside each other: by task, sample, epoch and run."""
    found = [
        (number, run, result, diagnosis)
        for number, run in enumerate(runs)
        for result, diagnosis in zip(run.results, run.diagnoses, strict=True)
    ]
    return sorted(found, key=lambda entry: (entry[2].order, entry[0]))


@dataclass(frozen=True, slots=True)
class EpisodeTexts:
    """What the index has of transcripts: each sample's question, by task and id, and what each episode said last."""

    questions: dict[tuple[str, str], str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """The next episode's."""
        sample = record["task"], record["sample"]
        if sample not in self.questions:
            self.questions[sample] = question_of(record)
        self.said.append(words_of(record))


def make_index(
    runs: Sequence[ReportedRun],
    found: Sequence[EpisodeEntry],
    texts: EpisodeTexts,
    colours: Mapping[str, str],
    starts: Sequence[int],
) -> Any:
    """What the list shows and searches: columns, one value an episode. `starts`: each block's first episode."""
    tasks = {name: number for number, name in enumerate(dict.fromkeys(result.task for _, _, result, _ in found))}
    samples = {sample: number for number, sample in enumerate(texts.questions)}
    return {
        "runs": [{"label": run.label, "colour": colours[run.label]} for run in runs],
        "tasks": list(tasks),
        "metrics": [_heading(runs, task) for task in tasks],
        "causes": [{"key": cause, "label": label} for cause, label in CAUSE_LABELS.items()],
        "samples": [(sample, question) for (_, sample), question in texts.questions.items()],
        "starts": list(starts),
        "episodes": [
            [
                number,
                tasks[result.task],
                samples[result.task, result.sample],
                -1 if diagnosis is None else list(CAUSE_LABELS).index(diagnosis.cause),
                *list_facts(result, run.manifest, said),
            ]
            for (number, run, result, diagnosis), said in zip(found, texts.said, strict=True)
        ],
    }


def _heading(runs: Sequence[ReportedRun], task: str) -> str:
    """What a task's score is called."""
    found = next(run.manifest["tasks"][task] for run in runs if task in run.manifest["tasks"])
    return find_metric(str(found.get("headline", HEADLINE))).heading


def list_facts(result: EpisodeResult, manifest: Manifest, said: str) -> list[Any]:
    """What the list has of an episode besides its names, question and cause, in the order of elements.js."""
    headline = manifest["tasks"][result.task].get("headline", HEADLINE)
    return [
        result.epoch,
        result.outcome,
        _rounded(result.scores.get(headline)),
        _rounded(result.scores.get("paper_solve_f1")),
        next((result.scores[name] for name in ANSWERS if result.scores.get(name) is not None), None),
        result.calls,
        said,
    ]


def pack_transcripts(found: Sequence[EpisodeEntry], texts: EpisodeTexts) -> Iterator[tuple[int, str]]:
    """Transcripts in order: the number of a block's first episode, and the block. `texts` is filled on the way."""
    start, size = 0, 0
    block: list[str] = []
    for number, one in enumerate(_transcripts(found, texts)):
        if block and (len(block) == BLOCK_EPISODES or size + len(one) > BLOCK_CHARACTERS):
            yield start, _packed(f"[{','.join(block)}]")
            start, block, size = number, [], 0
        block.append(one)
        size += len(one)
    if block:
        yield start, _packed(f"[{','.join(block)}]")


def _transcripts(found: Sequence[EpisodeEntry], texts: EpisodeTexts) -> Iterator[str]:
    """Every transcript as JSON, read one by one."""
    golds: dict[int, tuple[SubAnswer, ...]] = {}
    with ExitStack() as stack:
        readers = {
            number: stack.enter_context(run.source.open_records())
            for number, run in {number: run for number, run, _, _ in found}.items()
        }
        for number, run, result, diagnosis in found:
            record = readers[number](result)
            texts.add(record)
            sample = run.samples.get((result.task, result.sample))
            if sample is not None and id(sample) not in golds:
                golds[id(sample)] = sub_answers(sample)
            yield _text(make_transcript(record, diagnosis, sample, golds.get(id(sample))))


def make_transcript(
    record: Record, diagnosis: Diagnosis | None, sample: Sample | None, wanted: Sequence[SubAnswer] | None
) -> dict[str, Any]:
    """One episode in full: its messages with every call beside the turn that made it, verdicts and gold."""
    reasons: Sequence[str | None] = [None] * len(record["calls"])
    if sample is not None:
        reasons = reject_reasons(calls_of(record), sample.gold.sub_answers)
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
        "status": call["status"] + (" on purpose" if "fault" in call else ""),
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


def question_of(record: Record) -> str:
    """The question in a line: what follows "Question:" where the prompt says that."""
    text = next((m["content"] for m in record["messages"] if m["role"] == "user"), "")
    asked = text.rpartition("Question:")[2].strip() or text
    return _cut(asked.partition("\n")[0])


def words_of(record: Record) -> str:
    """The end of the last message, or the error."""
    last = record["messages"][-1] if record["messages"] else {"role": "", "content": ""}
    lines = last["content"].strip().split("\n") if last["role"] == "assistant" else [record["error"] or ""]
    return _cut(lines[-1])


def _cut(text: str) -> str:
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
