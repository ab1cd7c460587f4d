"""Every reader of what somebody else wrote, each as a function of the file's bytes in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from builders import record
from result_runs import write_run
from small_shop import write_shop

from envbuilder.model.checkpoint import read_lines, read_manifest
from envbuilder.model.requests import read_questions
from harness.data.records import read_samples
from harness.models import ModelOptions
from harness.models.api import chat, messages, responses
from harness.models.local.folder import check_folder
from harness.models.replay import load as load_replay
from harness.runs.prices import price_of
from harness.task import file_task
from results.report.curves import read_curves
from results.runs import read_run
from tasks import rotbench, taubench, toolhop
from trainer.prefixes import read_prefixes
from trainer.recipes.load import load_recipe
from trainer.run_directory import find_run, truncate_metrics

Read = Callable[[Path], object]
SCORES = {"solve_f1": 1.0}


def play_file(path: Path) -> object:
    return file_task(path).load()


def read_whole_run(file: Path) -> object:
    run = read_run(file.parent, unfinished=True)
    return list(run.stream_records())


def read_whole_shop(file: Path) -> object:
    folder = file.parent if file.name == "tasks.jsonl" else file.parent.parent
    return taubench.read_domain(folder, "retail")


def read_toolhop(path: Path) -> object:
    return [toolhop.sample_of(row, "direct", line, f"row {line}") for line, row in enumerate(toolhop.read(path))]


def read_model(file: Path) -> object:
    return check_folder("hf/model", file.parent, {})


def read_models_template(file: Path) -> object:
    return check_folder("hf/model", file.parent, {"chat_template": str(file)})


READERS: Mapping[str, tuple[str, Read]] = {
    "records": ("towns.jsonl", read_samples),
    "records, one value": ("towns.json", read_samples),
    "records, gz": ("towns.jsonl.gz", read_samples),
    "records, xz": ("towns.jsonl.xz", read_samples),
    "records, Parquet": ("towns.parquet", read_samples),
    "rows with checks": ("checks.jsonl", play_file),
    "prompts": ("prefixes.jsonl", read_prefixes),
    "manifest": ("run/manifest.json", read_whole_run),
    "episodes": ("run/samples.jsonl", read_whole_run),
    "episodes, packed": ("run/samples.jsonl.xz", read_whole_run),
    "summary": ("run/summary.json", read_whole_run),
    "recording": ("recorded.jsonl", lambda path: load_replay(str(path), ModelOptions())),
    "prices": ("prices.toml", lambda path: price_of("openai/gpt", path, {})),
    "recipe": ("recipe.toml", lambda path: load_recipe(str(path), {})),
    "ToolHop": ("ToolHop.json", read_toolhop),
    "RoTBench": ("First_Turn/clean.json", lambda path: rotbench.load(path.parent.parent, "clean")),
    "RoTBench, packed": ("RoTBench.jsonl", rotbench.read_packed),
    "tau-bench's tasks": ("tasks.jsonl", read_whole_shop),
    "tau-bench's tools": ("retail/tools.json", read_whole_shop),
    "tau-bench's code": ("retail/codes.json", read_whole_shop),
    "tau-bench's database": ("retail/orders.json", read_whole_shop),
    "curves": ("metrics.jsonl", lambda path: read_curves(path.parent)),
    "metrics of a training": ("metrics.jsonl", lambda path: truncate_metrics(path, 3)),
    "a training run": ("run.json", lambda path: find_run(path.parent, {"recipe": {"steps": 1}}, True)),
    "a build's manifest": ("manifest.json", read_manifest),
    "a build's lines": ("1-scenario.jsonl", lambda path: list(read_lines(path))),
    "questions": ("questions.txt", read_questions),
    "a model's configuration": ("config.json", read_model),
    "a chat template": ("template.jinja", read_models_template),
    "a chat completion": ("reply", lambda path: chat.read_reply(path.read_bytes(), [])),
    "a response": ("reply", lambda path: responses.read_response(path.read_bytes(), [])),
    "a message": ("reply", lambda path: messages.read_message(path.read_bytes(), [])),
}


def prepare(folder: Path, name: str) -> Path:
    """The path that a reader reads, with what belongs around it; the file itself is sound where it is made at all."""
    file = folder / READERS[name][0]
    if file.parent.name == "run":
        write_run(file.parent, {"towns": {"s1": [SCORES]}})
        if file.name.endswith(".xz"):
            (file.parent / "samples.jsonl").unlink()
    elif "tau-bench" in name:
        write_shop(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def sound_texts() -> Iterator[str]:
    """What some of the readers take, to be spoilt."""
    yield json.dumps(record())
    yield json.dumps(record(checks=[{"type": "final_answer", "value": "7"}], unsolved_set=None))
    yield "[m]\ninput = 1\noutput = 2\n"
    yield 'regime = "sft"\n'
    yield '{"line": 0, "policy": "p", "turns": [[{"name": "f", "arguments": {}}]], "final": "x"}'
    yield '{"question": "q", "answer": "a", "sub_task": [], "tools": {}, "functions": []}'
    yield '{"step": 1, "loss": 0.5, "validation": {"solve_f1": 1.0}}'
    yield '{"architectures": ["LlamaForCausalLM"], "auto_map": {}}'
    yield '{"choices": [{"message": {"role": "assistant", "content": "x", "tool_calls": [{"id": 1}]}}], "usage": {}}'
    yield '{"output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}]}'
    yield '{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": []}], "stop_reason": "tool_use"}'
