"""The files of `harness export inspect`: task.py, which is small and made to be read, and environments.jsonl.

The task file imports inspect_task, which holds what inspect_ai needs. Left out: tasks with a score or an environment of
their own, which are more than a file of environment records can say.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data.files import write_rows
from harness.data.jsonio import write_atomically
from harness.data.messages import message_to_json
from harness.errors import UsageError
from harness.interop.live import is_plain_episode
from harness.models.api.chat import wire_tool
from harness.registry import load_samples, select_tasks
from harness.scoring import score
from harness.types import JSONObject, Sample, Task

DATA = "environments.jsonl"
KEPT = ("world", "data_source", "split", "sub_questions")
TASK_FILE = '''\
"""{name} for inspect_ai, written by `harness export inspect`.

pip install tool-harness inspect_ai
inspect eval task.py --model openai/gpt-5.4-mini
"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig

from harness.interop.inspect_task import dataset, play, verdict

DATA = str(Path(__file__).with_name("{data}"))


@task
def {name}(max_turns: int = 20, sandbox: str = "jail") -> Task:
    return Task(
        dataset=dataset(DATA),
        solver=play(DATA, max_turns, sandbox),
        scorer=verdict(DATA),
        config=GenerateConfig(temperature=0, max_tokens=8192),
        fail_on_error=False,  # a sample that failed keeps what it solved and stays in the means, as in `harness eval`
        score_on_error=True,
    )
'''


def select_one_task(pattern: str, data: Mapping[str, Path]) -> tuple[Task, list[Sample]]:
    """The task that a pattern means, with its samples. Raises UsageError where it is not one that can be exported."""
    tasks = select_tasks([pattern], data)
    if len(tasks) > 1:
        raise UsageError(f"{pattern!r} means {len(tasks)} tasks, and one is exported at a time: {tasks[0].name}, ...")
    [task] = tasks
    samples = load_samples(tasks)[task.name]
    if task.score is not score or not all(is_plain_episode(task, sample) for sample in samples):
        raise UsageError(f"{task.name} has a score or an environment of its own, which only `harness eval` plays.")
    return task, samples


def write_export(folder: Path, name: str, samples: Sequence[Sample]) -> None:
    """Writes the data, then the task file that reads it. Raises UsageError where another task file would be lost: it
    is made to be changed."""
    file, text = folder / "task.py", TASK_FILE.format(name=identifier(name), data=DATA)
    if file.exists() and file.read_bytes() != text.encode():
        raise UsageError(f"{file} holds something else; remove it, or name another folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / DATA, map(to_record, samples))
    write_atomically(file, text)


def identifier(name: str) -> str:
    """A task's name as Python can spell it."""
    spelt = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"task_{spelt}" if not spelt.isidentifier() or keyword.iskeyword(spelt) else spelt


def to_record(sample: Sample) -> JSONObject:
    """A sample as the environment record that it is read from."""
    gold = sample.gold
    record: JSONObject = {
        "id": sample.id,
        **{name: sample.metadata[name] for name in KEPT if name in sample.metadata},
        "messages": [message_to_json(message) for message in sample.messages],
        "tools": [wire_tool(tool) for tool in sample.tools],
        "codes": dict(sample.codes),
        "unsolved_set": {name: list(answers) for name, answers in gold.sub_answers.items()},
    }
    if gold.answer is not None:
        record["answer"] = gold.answer
    if gold.calls is not None:
        record["gold_calls"] = [
            {"name": call.name, "arguments": call.arguments, "solves": call.solves} for call in gold.calls
        ]
    return record
