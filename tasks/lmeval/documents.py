"""Our tasks as tasks of lm-eval: a document a sample, and metrics by the task's own score.

The files that `harness lm-eval-path` writes name the two functions here. A task of one turn can be asked of any model
of lm-eval: its reply is read as calls, they run in our sandbox, and the task scores what happened. A conversation of
several turns needs the model `harness` (tasks/lmeval/model.py), which plays it and leaves the episode here under the
text that it hands to lm-eval. Only texts of this process are taken for episodes, or a model could write its own result.

A prompt that offers tools is written as the network's own chat template writes it, where lm-eval's model_args name a
local directory (pretrained=PATH); for any other model as ReAct, which is plain text (harness/formats/react.py).

Left out: tasks with a simulated user, lm-eval's cache of responses for whole episodes, few-shot examples.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.data.messages import message_to_json
from harness.environment import TextEnvironment
from harness.errors import UsageError
from harness.formats import FORMATS, parse_reply
from harness.interop.live import state_of
from harness.models.local.folder import check_folder
from harness.models.local.prompting import Prompt
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.registry import select_tasks
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox
from harness.types import Limits, ModelRequest, Reply, Sample, Sampling, Task, Trajectory

SPLIT = "test"
SEPARATOR = "::"
"""Between the path of a file and the name of one of its tasks."""
TASK, SAMPLE, DATA = "task", "sample", "data"
"""Columns by which a document is known as a sample of ours; `data` has the paths of --data, as JSON."""


# --- documents ---------------------------------------------------------------------------------------------------


def dataset(task: str, data: Mapping[str, str] | None = None, pretrained: object = None, **_: object) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: the documents of one of our tasks. What else it hands over of its metadata and of a
    model's arguments is not needed. Raises UsageError as `harness eval` does for a task that is not there."""
    import datasets

    paths = jsonio.canonical_json(dict(data or {}))
    local = _local(str(pretrained)) if pretrained is not None and Path(str(pretrained)).is_dir() else None
    rows = [_document(task, sample, paths, local) for sample in find_task(task, paths)[1].values()]
    return {SPLIT: datasets.Dataset.from_list(rows)}


@cache
def find_task(task: str, paths: str) -> tuple[Task, dict[str, Sample]]:
    """A task, which may be PATH::NAME, and its samples by id; `paths` is a JSON object of data sets."""
    file, _, name = task.partition(SEPARATOR)
    found = select_tasks([file], {name: Path(path) for name, path in jsonio.parse_json(paths).items()})
    (chosen,) = [one for one in found if not name or one.name == name]
    return chosen, {sample.id: sample for sample in chosen.load()}


def _document(task: str, sample: Sample, paths: str, local: ModelTokenizer | None) -> dict[str, Any]:
    prompt = _prompt(sample, local)
    return {
        TASK: task,
        SAMPLE: sample.id,
        DATA: paths,
        "prompt": prompt.text,
        "format": local.format.name if local else "react",
        "thinking": prompt.thinking,
        "answer": sample.gold.answer or "",
    }


@cache
def _local(folder: str) -> ModelTokenizer | None:
    """The tokenizer and chat template of a directory; None where it has none that fits."""
    try:
        return open_tokenizer(check_folder(f"hf/{folder}", Path(folder), {}), {})
    except UsageError:
        return None


def _prompt(sample: Sample, local: ModelTokenizer | None) -> Prompt:
    """The text of a sample's prompt."""
    if local is not None:
        return local.prompter.prompt(ModelRequest(sample.messages, sample.tools, Sampling(), sample))
    spoken = FORMATS["react"].converse(sample.messages, sample.tools) or sample.messages
    return Prompt("\n\n".join(message.content for message in spoken) + "\n", thinking=False)


# --- results -----------------------------------------------------------------------------------------------------

_episodes: dict[str, Trajectory] = {}


def keep_trajectory(trajectory: Trajectory) -> str:
    """Keeps an episode that our model played, for `process_results`; returns the text that stands for it."""
    said = [message_to_json(message) for message in trajectory.messages]
    text = json.dumps({"outcome": trajectory.outcome, "messages": said}, ensure_ascii=False)
    _episodes[text] = trajectory
    return text


def process_results(document: Mapping[str, Any], results: list[str]) -> dict[str, float]:
    """lm-eval's `process_results`: the task's metrics of one document, without those that have no value.

    Raises UsageError where a task of several turns was asked of a model that is not ours.
    """
    task, samples = find_task(document[TASK], document[DATA])
    sample = samples[document[SAMPLE]]
    trajectory = _episodes.get(results[0])
    if trajectory is None:
        trajectory = _one_turn(task, sample, results[0], document)
    return {metric: value for metric, value in task.score(sample, trajectory).scores.items() if value is not None}


def _one_turn(task: Task, sample: Sample, text: str, document: Mapping[str, Any]) -> Trajectory:
    """The episode in which a text is the model's only turn."""
    environment = task.environment(sample)
    if task.max_turns != 1 and not isinstance(environment, TextEnvironment):
        raise UsageError(
            f"{task.name} is a conversation of several turns, which a model of lm-eval's own cannot hold: use --model "
            "harness (python -m tasks.lmeval), or a step_* task."
        )
    known = [tool.name for tool in sample.tools]
    message = parse_reply(FORMATS[document["format"]], text, thinking=document["thinking"], tools=known)
    reply = Reply(replace(message, raw=text))
    episode = Episode(sample, limits=Limits(max_turns=1), task=task.name)
    jail = shared_sandbox()
    with jail.episode(state_of(task, sample, jail)) as tools:
        return play_episode(episode, environment, lambda request: reply, tools)


@cache
def shared_sandbox() -> Sandbox:
    """This process's sandbox."""
    made = Sandbox()
    atexit.register(made.close)
    return made
