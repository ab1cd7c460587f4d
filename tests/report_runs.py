"""Run directories of real episodes for tests of causes and reports: scored, and with gold that is found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders import record, tool, write_records

from harness.data import jsonio
from harness.data.records import fingerprint, read_samples, sample_from_record
from harness.runs.directory import RUN_SCHEMA, RunDirectory, record_to_line
from harness.runs.record import to_record
from harness.runs.summary import summarise_run
from harness.scoring import score
from harness.types import (
    CallRecord,
    CallStatus,
    Limits,
    Message,
    Outcome,
    Reasoning,
    RunKey,
    Sample,
    Sampling,
    ToolCall,
    Trajectory,
    Usage,
)

CHAIN = """
def capital(land):
    return {"arden": "Brill", "corrie": "Dunn"}.get(land.lower()) or {"error": "no such land"}
"""
SIZE = """
def size(town):
    return {"brill": "998 people", "dunn": "45 people"}.get(town.lower()) or {"error": "no such town"}
"""
OTHER = """
def weather(town):
    return "rain"
"""


def chain(**changes: Any) -> dict[str, Any]:
    """Two hops, `capital` and then `size`, and a tool that is not needed."""
    fields = {
        "id": "chain",
        "messages": [{"role": "user", "content": "Question: How big is Arden's capital?\\nEnd with `Answer: ...`."}],
        "tools": [tool(name, {"town": {"type": "string"}}) for name in ("capital", "size", "weather")],
        "codes": {"capital": CHAIN, "size": SIZE, "weather": OTHER},
        "unsolved_set": {"capital": ["Brill"], "size": ["998"]},
        "answer": "998",
        "gold_calls": [
            {"name": "capital", "arguments": {"land": "Arden"}, "solves": 0},
            {"name": "size", "arguments": {"town": "Brill"}, "solves": 1},
        ],
        "sub_questions": [
            {"question": "What is Arden's capital?", "tool": "capital", "answer": "Brill", "depends_on": []},
            {"question": "How big is Brill?", "tool": "size", "answer": "998", "depends_on": [0]},
        ],
    }
    return record(**{**fields, **changes})


def chain_sample(**changes: Any) -> Sample:
    """The sample of `chain`."""
    return sample_from_record(chain(**changes), 0, "record 1")


Made = tuple[str, Mapping[str, Any] | None, str] | tuple[str, Mapping[str, Any] | None, str, CallStatus]
"""A call in a turn of its own: name, arguments (None: malformed), output, status (ok)."""


def play(sample: Sample, made: Sequence[Made], says: str = "Answer: 998", **about: Any) -> Trajectory:
    """An episode: a turn a call, then the answer. `about`: outcome, stop, error, reasoning, notes."""
    messages = list(sample.messages)
    calls = []
    for turn, (name, arguments, output, *status) in enumerate(made):
        given: CallStatus = status[0] if status else "malformed" if arguments is None else "ok"
        raw = "{oops" if arguments is None else jsonio.canonical_json(arguments)
        values = None if arguments is None else dict(arguments)
        call = ToolCall(f"call_{turn}", name, values, raw, "no JSON" if arguments is None else None)
        messages += [Message("assistant", reasoning=about.get("reasoning"), tool_calls=(call,))]
        messages += [Message("tool", output, tool_call_id=call.id)]
        calls.append(CallRecord(turn, call, given, output))
    outcome: Outcome = about.get("outcome", "ok")
    if outcome == "ok":
        messages.append(Message("assistant", says, reasoning=about.get("reasoning")))
    usage, seconds = Usage(100, 20, requests=len(made) + 1), {"total": 1.5, "model": 1.0, "tools": 0.5}
    stop, notes = about.get("stop", "no_tool_calls"), about.get("notes", ())
    return Trajectory(
        tuple(messages), tuple(calls), len(made) + 1, outcome, stop, usage, seconds, about.get("error"), notes
    )


def record_of(
    sample: Sample, trajectory: Trajectory, task: str = "t", model: str = "m", epoch: int = 0
) -> dict[str, Any]:
    """The episode's line."""
    key = RunKey(task, "f", sample.id, epoch, model, "f", Reasoning(), Sampling(), Limits())
    return to_record(key, trajectory, score(sample, trajectory))


def write_run(
    path: Path, data: Path, plays: Mapping[str, Sequence[Trajectory]], model: str = "test/model", **about: Any
) -> Path:
    """A finished run on a file of records. `plays`: a sample's id to its episodes, one an epoch; `about`: reasoning."""
    task = data.name.removesuffix(".jsonl")
    samples = {sample.id: sample for sample in read_samples(data)}
    records = [
        record_of(samples[name], trajectory, task, model, epoch)
        for name, played in plays.items()
        for epoch, trajectory in enumerate(played)
    ]
    success = ["answer_accuracy", "answer_accuracy_lenient"]
    manifest = {
        "schema": RUN_SCHEMA,
        "created": "2026-01-02T03:04:05+00:00",
        "model": {"backend": model.partition("/")[0]},
        "identity": {
            "model": model,
            "model_fingerprint": jsonio.digest(model),
            "reasoning": about.get("reasoning", "default"),
            "tasks": {task: fingerprint(list(samples.values()))},
            "epochs": len(next(iter(plays.values()))),
            "verifier": 1,
        },
        "tasks": {task: {"headline": "solve_f1", "success": success, "clusters": {name: name for name in samples}}},
        "groups": {},
        "sources": {"tasks": [str(data)], "data": {}},
        "sandbox": {},
    }
    path.mkdir(parents=True)
    jsonio.write_json(path / "manifest.json", manifest)
    (path / "samples.jsonl").write_text("".join(map(record_to_line, records)), encoding="utf-8")
    RunDirectory.open(path).write_summary(summarise_run(manifest, records))
    return path


TOLD = (
    *("id", "system", "asked", "gold", "found", "key", "value", "name", "output", "error", "note", "stop"),
    *("answer", "thought", "model", "mode", "why", "tool"),
)
"""Where `hostile` has markup that a transcript shows."""
MARKUP = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"

ASK, SIZED = ("capital", {"land": "Arden"}, "Brill"), ("size", {"town": "Brill"}, "998 people")


def towns(folder: Path, count: int = 6) -> Path:
    """A file of `count` two-hop samples."""
    asked = "Question: How big is the capital of Arden, number {}?\nEnd with `Answer: ...`."
    rows = [
        chain(id=f"town-{n}", world=f"w{n}", messages=[{"role": "user", "content": asked.format(n)}])
        for n in range(count)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    return write_records(folder / "towns.jsonl", rows)


def varied(data: Path, epochs: int = 1) -> dict[str, list[Trajectory]]:
    """Episodes of every kind, in turn, on each of a file's samples."""
    ways = [
        lambda s: play(s, [ASK, SIZED], reasoning="First the capital, then its size."),
        lambda s: play(s, [ASK], "I stop.", reasoning="Enough."),
        lambda s: play(s, [ASK, ASK, SIZED]),
        lambda s: play(s, [ASK, SIZED], "Answer: 45"),
        lambda s: play(s, [("size", {"998": 1}, "an error occured when call size: 998", "raised")], "Answer: 998"),
        lambda s: play(s, [], outcome="infrastructure_error", stop="http_500", error="the server is down"),
    ]
    samples = read_samples(data)
    return {s.id: [ways[(n + epoch) % len(ways)](s) for epoch in range(epochs)] for n, s in enumerate(samples)}


def hostile(folder: Path) -> Path:
    """A run with markup in everything that a model, a tool, a data file or a manifest can say."""
    row = chain(
        id=f"id {MARKUP}",
        messages=[{"role": "system", "content": f"system {MARKUP}"}, {"role": "user", "content": f"asked {MARKUP}"}],
        answer=f"gold {MARKUP}",
        unsolved_set={"capital": [f"found {MARKUP}"], "size": ["998"]},
        sub_questions=[
            {"question": f"why {MARKUP}", "tool": "capital", "answer": f"found {MARKUP}", "depends_on": []},
            {"question": "", "tool": "size", "answer": "998", "depends_on": [0]},
        ],
    )
    row["tools"] = [tool("capital", {})]
    row["tools"][0]["function"]["description"] = f"tool {MARKUP}"
    data = write_records(folder / f"task {MARKUP.replace('/', '')}.jsonl", [record(**row)])
    (sample,) = read_samples(data)
    calls = [
        ("capital", {f"key {MARKUP}": f"value {MARKUP}"}, f"found {MARKUP}"),
        (f"name {MARKUP}", {}, f"output {MARKUP}", "unknown_tool"),
    ]
    about = {"error": f"error {MARKUP}", "notes": (f"note {MARKUP}",), "stop": f"stop {MARKUP}"}
    episode = play(sample, calls, f"answer {MARKUP}", reasoning=f"thought {MARKUP}", **about)
    return write_run(folder / "run", data, {sample.id: [episode]}, f"model {MARKUP}", reasoning=f"mode {MARKUP}")
