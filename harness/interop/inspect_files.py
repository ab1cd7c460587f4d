"""The files of `harness export inspect`: task.py, which is small and made to be read, and environments.jsonl.

The task file imports inspect_task, which holds what inspect_ai needs. A task with a score or an environment of its own
is more than a file of records can say: its task file names the Python file that makes it. Left out: such tasks of
packages.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import checks
from harness.data.exports import Content, write_files
from harness.data.files import write_rows
from harness.data.jsonio import parse_json
from harness.data.messages import message_to_json
from harness.errors import UsageError
from harness.interop.live import has_own_user, is_plain_episode
from harness.models.api.chat import wire_tool
from harness.registry import is_path, load_samples, select_tasks
from harness.scoring import score
from harness.types import JSONObject, Sample, Task

DATA = "environments.jsonl"
BESIDE = f'str(Path(__file__).with_name("{DATA}"))'
SEPARATOR = "::"
"""Between the path of a Python file and the name of one of its tasks."""
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

DATA = {data}


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
    if has_own_user(task) or not (is_path(pattern) or is_set(task, samples)):
        raise UsageError(f"{task.name} has a score or an environment of its own, which only `harness eval` plays.")
    return task, samples


def is_set(task: Task, samples: Sequence[Sample]) -> bool:
    """Whether a file of records, or of rows with checks, says all of a task."""
    if task.score is checks.score:
        return True
    return task.score is score and all(is_plain_episode(task, sample) for sample in samples)


def write_export(folder: Path, task: Task, samples: Sequence[Sample], pattern: str) -> None:
    """Writes the data and the task file that reads it; of a task of a Python file only the latter. Raises UsageError
    where another file would be lost: the task file is made to be changed, and the data may be what is exported."""
    whole = is_set(task, samples)
    data = BESIDE if whole else repr(f"{Path(pattern).resolve()}{SEPARATOR}{task.name}")
    files: dict[str, Content] = {DATA: lambda path: write_rows(path, map(to_record, samples))} if whole else {}
    write_files(folder, files | {"task.py": TASK_FILE.format(name=identifier(task.name), data=data)})


def identifier(name: str) -> str:
    """A task's name as Python can spell it."""
    spelt = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"task_{spelt}" if not spelt.isidentifier() or keyword.iskeyword(spelt) else spelt


def to_record(sample: Sample) -> JSONObject:
    """A sample as the environment record, or the row with checks, that it is read from."""
    gold = sample.gold
    record: JSONObject = {
        "id": sample.id,
        **{name: sample.metadata[name] for name in KEPT if name in sample.metadata},
        "messages": [message_to_json(message) for message in sample.messages],
        "tools": [wire_tool(tool) for tool in sample.tools],
        "codes": dict(sample.codes),
        "unsolved_set": {name: list(answers) for name, answers in gold.sub_answers.items()},
    }
    if "checks" in sample.metadata:
        record |= {"checks": list(sample.metadata["checks"])}
        record |= {"state": parse_json(sample.metadata["state"])} if "state" in sample.metadata else {}
    if gold.answer is not None:
        record["answer"] = gold.answer
    if gold.calls is not None:
        record["gold_calls"] = [
            {"name": call.name, "arguments": call.arguments, "solves": call.solves} for call in gold.calls
        ]
    return record
