"""lm-eval's benchmarks as samples and scores of ours: its prompts, its filters, its metrics, on data from a local path.

Every document of a benchmark becomes one sample, so that runs, resumes, intervals and comparisons work as for any
task. A benchmark of several parts (subjects of MMLU) is one task, whose value is the mean over all documents, which
is how lm-eval weighs parts by their size.

Left out: log-likelihoods, which a chat model does not give.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.console.text import printable
from harness.data import jsonio
from harness.data.files import file_suffix, read_rows
from harness.errors import HarnessError, MissingData, UsageError
from harness.extras import install_command
from harness.types import Gold, Sample, Scores, Trajectory
from tasks.lmeval import code, language
from tasks.lmeval.benchmarks import HUB, Benchmark
from tasks.lmeval.replies import continuation, read_chat, stop_strings, write_chat

log = logging.getLogger(__name__)

SPLIT = "test"
ONE_SPLIT = {"test_split": SPLIT, "training_split": None, "validation_split": None, "fewshot_split": None}
"""All benchmarks here are zero-shot or carry their own examples, so other splits need not be there."""


@dataclass(frozen=True)
class Part:
    """One of lm-eval's task objects, with its documents and its filters by the names of our metrics."""

    name: str
    task: Any
    documents: Sequence[Mapping[str, Any]]
    filters: Mapping[str, Any]


POOLED = ("inst_level_strict_acc", "inst_level_loose_acc")
"""Metrics of IFEval that are a list a document, whose mean is no mean of documents: left out."""
Suite = Mapping[str, Part]
LoadSuite = Callable[[], Suite]


# --- reading -----------------------------------------------------------------------------------------------------


def check_benchmark(benchmark: Benchmark, path: Path | None) -> None:
    """Raises MissingData where there is no path and no leave to fetch, UsageError where code may not be run."""
    if path is None and os.environ.get(HUB) != "0":
        raise MissingData(
            f"{benchmark.name} needs the data set {benchmark.hub}: --data {benchmark.data}=PATH (nothing is fetched "
            f"from the hub unless {HUB}=0 is set)."
        )
    if path is not None and not path.exists():
        raise MissingData(f"{benchmark.name} looked for {benchmark.hub} at {path}, where there is nothing.")
    if benchmark.code:
        code.check_code_allowed(benchmark.name)


def load_suite(benchmark: Benchmark, path: Path | None) -> Suite:
    """The parts of a benchmark, in order. Raises MissingData and UsageError, one sentence each."""
    check_benchmark(benchmark, path)
    _require(benchmark.name)
    if benchmark.needs:
        language.require(benchmark)
    from lm_eval import tasks as theirs
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=Path(theirs.__file__).parent / benchmark.folder, include_defaults=False)
    names = fnmatch.filter(manager.all_subtasks, benchmark.pattern)
    settings = {name: _settings(benchmark, path, manager.task_index[name].cfg, len(names)) for name in names}
    try:
        with code.without_metric() if benchmark.code else nullcontext():
            loaded = manager.load(
                [{"group": benchmark.name, "task": [{"task": name, **settings[name]} for name in names]}]
            )["tasks"]
            return {name: _part(name, loaded[name]) for name in names}
    except HarnessError:
        raise
    except ImportError as error:
        raise UsageError(f"{benchmark.name} needs more of lm-eval: {_line(error)}") from None
    except Exception as error:
        where = f"{path} is not what {benchmark.name} reads" if path else f"{benchmark.hub} cannot be fetched"
        raise (UsageError if path else MissingData)(f"{where}: {type(error).__name__}: {_line(error)}") from error


def _require(name: str) -> None:
    if find_spec("lm_eval") is None:
        raise UsageError(f"{name} is run by lm-eval, which is not installed: {install_command('lm-eval')}.")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300].rstrip(".") + "."


def _settings(benchmark: Benchmark, path: Path | None, config: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """What differs from lm-eval's own configuration of a part: where its documents come from."""
    if path is None:
        return {}
    name = config.get("dataset_name")

    def read(**_: Any) -> Mapping[str, Any]:
        import datasets

        datasets.disable_progress_bars()
        return {SPLIT: datasets.Dataset.from_list(_rows(benchmark, path, name, parts))}

    return {"custom_dataset": read, **ONE_SPLIT}


def _rows(benchmark: Benchmark, path: Path, name: str | None, parts: int) -> list[Any]:
    """A part's rows: those of a file, or of all files of the split (shards) in the folder that the hub's layout has."""
    if path.is_file():
        if parts > 1:
            raise UsageError(f"{benchmark.name} has {parts} parts: --data {benchmark.data}=FOLDER, a folder for each.")
        files = [path]
    else:
        own = [path / name] if name else [path, *sorted(path.iterdir())]
        places = own if parts > 1 else [*own, path]
        found = ([file for file in sorted(place.glob(f"{benchmark.files}*")) if file_suffix(file)] for place in places)
        files = next(filter(None, found), [])
        if not files:
            where = places[0] / benchmark.files
            raise MissingData(f"{benchmark.name} looked for {benchmark.hub} at {where}*, where nothing is.")
    rows = [row for file in files for row in read_rows(file)]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{files[0]} must hold rows that are JSON objects.")
    return rows


def _part(name: str, task: Any) -> Part:
    return Part(name, task, list(task.eval_docs), _filters(task))


def _filters(task: Any) -> dict[str, Any]:
    """The task's filters, by what our metrics are called after: the filter, where there are several."""
    from lm_eval.filters import build_filter_ensemble

    listed = task.config.filter_list or [{"name": "none", "filter": [{"function": "take_first"}]}]
    built = {}
    for entry in listed:
        steps = [
            [step["function"], {key: value for key, value in step.items() if key != "function"}]
            for step in entry["filter"]
        ]
        label = "" if len(listed) == 1 else "_" + entry["name"].replace("-", "_")
        built[label] = build_filter_ensemble(entry["name"], steps)
    return built


# --- samples -----------------------------------------------------------------------------------------------------


def make_samples(suite: Suite) -> list[Sample]:
    """One sample a document: PART/INDEX, or INDEX where the benchmark has one part."""
    return [
        _sample(part, index, document, f"{part.name}/{index}" if len(suite) > 1 else str(index))
        for part in suite.values()
        for index, document in enumerate(part.documents)
    ]


def _sample(part: Part, index: int, document: Mapping[str, Any], name: str) -> Sample:
    prompt = chat_prompt(part.task, document)
    messages, begun = read_chat(prompt)
    decides = [part.name, str(part.task.VERSION), version("lm_eval"), jsonio.canonical_json(_plain(document)), prompt]
    gold = gold_reply(part.task, document)
    return Sample(
        id=name,
        messages=messages,
        tools=(),
        codes={},
        gold=Gold({}, None if gold is None else (), message=gold),
        metadata={
            "data_source": f"lm-eval/{part.name}",
            "digest": jsonio.digest(decides),
            "part": part.name,
            "index": index,
            "begun": begun,
        },
    )


def chat_prompt(task: Any, document: Mapping[str, Any]) -> str:
    """lm-eval's prompt for a chat model: the turns as JSON, examples as turns of their own."""
    prompt: str = task.fewshot_context(
        document,
        num_fewshot=task.config.num_fewshot or 0,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=write_chat,
        gen_prefix=task.doc_to_prefix(document),
    )
    return prompt


def gold_reply(task: Any, document: Mapping[str, Any]) -> str | None:
    """What a perfect chat model writes, for policy/oracle: the data set's own solution. IFEval has none."""
    if "instruction_id_list" in document:
        return None
    if "canonical_solution" in document:
        return f"```python\n{document['prompt']}{document['canonical_solution']}\n```"
    if "test_list" in document:
        return f"```python\n{document['code']}\n```"
    return str(document.get("solution") or task.doc_to_target(document))


def _plain(document: Mapping[str, Any]) -> Any:
    """The document as JSON; what is no JSON in Parquet (a date) as its text."""
    return json.loads(json.dumps(document, default=str))


# --- scores ------------------------------------------------------------------------------------------------------


def filter_reply(suite: Suite, sample: Sample, trajectory: Trajectory) -> dict[str, Any]:
    """What lm-eval's filters make of the reply, by the names of `_filters`."""
    part = suite[sample.metadata["part"]]
    until = stop_strings(part.task.config.generation_kwargs)
    text = continuation(trajectory, until, sample.metadata["begun"])
    document = part.documents[sample.metadata["index"]]
    results = {}
    for label, ensemble in part.filters.items():
        asked = part.task.construct_requests(doc=document, ctx="", metadata=(part.name, sample.metadata["index"], 1))
        asked.resps = [text]
        ensemble.apply([asked])
        results[label] = asked.filtered_resps[ensemble.name]
    return results


def score_reply(suite: Suite, sample: Sample, trajectory: Trajectory) -> Scores:
    """lm-eval's metrics of one reply; each is called METRIC, or METRIC_FILTER where there are several filters.

    A reply with which lm-eval's code ends in an error is wrong: no model's text may end a run.
    """
    part = suite[sample.metadata["part"]]
    document = part.documents[sample.metadata["index"]]
    try:
        found = {
            label: part.task.process_results(document, [result])
            for label, result in filter_reply(suite, sample, trajectory).items()
        }
    except Exception as error:
        log.warning("lm-eval cannot score %s: %s: %s", sample.id, type(error).__name__, printable(str(error)))
        found = {label: dict.fromkeys(part.task.aggregation(), 0.0) for label in part.filters}
    return {
        f"{metric}{label}": float(value)
        for label, results in found.items()
        for metric, value in results.items()
        if metric not in POOLED
    }


def make_program(suite: Suite, sample: Sample, trajectory: Trajectory) -> str:
    """What decides a benchmark of code: the reply as a program, with the document's tests behind it."""
    part = suite[sample.metadata["part"]]
    (written,) = filter_reply(suite, sample, trajectory)[""]
    return f"{written}\n{part.task.doc_to_target(part.documents[sample.metadata['index']])}"
