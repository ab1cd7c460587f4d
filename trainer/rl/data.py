"""What a run of reinforcement learning trains on, checked: environments, their tasks, what is evaluated.

Environments are those of --tasks, or built by the recipe. Those for validation are always built where the recipe asks
for them, and so are those of the test at the end: other seeds and splits, so they share no world and no names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from envbuilder.records import TWINS
from harness.data import jsonio
from harness.data.records import fingerprint, read_samples
from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.metrics import HEADLINE
from harness.models.local.tokenizer import ModelTokenizer
from harness.registry import load_samples, select_tasks
from harness.scoring.decisions import JUDGED
from harness.task import file_task
from harness.types import JSONObject, Limits, ModelRequest, Reasoning, Sample, Sampling, Task, Trajectory, Usage
from trainer.environments import build_environments
from trainer.prefixes import Prefix, SolveRule, prefix_to_record, read_prefixes, refuse_test_data
from trainer.rewards import DEFAULTS, Reward, reward
from trainer.rl.settings import REWARD_OPTIONS, RLRecipe
from trainer.rl.validation import EvaluationSet
from trainer.run_directory import ProgressCallback

SPLIT_SEED_OFFSETS = {"train": 0, "validation": 1, "test": 2}
"""What is added to the recipe's data_seed for each split."""


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Everything that is trained on. `items`: environments by name; `prefixes`: given prompts, if any."""

    settings: RLRecipe
    reward: Reward
    items: Mapping[str, tuple[Task, Sample]]
    prefixes: Sequence[Prefix]
    validation: EvaluationSet | None
    test: EvaluationSet | None

    @property
    def reasoning(self) -> Reasoning:
        return reasoning_of(self.settings)

    @property
    def limits(self) -> Limits:
        return Limits(max_turns=self.settings.max_turns)

    @property
    def rule(self) -> SolveRule:
        """By which rule an episode's prefixes are told what is still unsolved: that of the reward."""
        return "paper" if self.settings.is_paper_reward else "strict"


def reasoning_of(settings: RLRecipe) -> Reasoning:
    """What the chat template is told about thinking."""
    if settings.thinking == "default":
        return Reasoning()
    return Reasoning("on" if settings.thinking == "on" else "off")


def named_reward(settings: RLRecipe) -> Reward:
    """The recipe's reward, with the recipe's values for its options.

    Raises UsageError for one that does not judge what the regime rewards, or not what the recipe builds, or has not the
    option that a value is for.
    """
    twins = settings.scenario == TWINS
    name = settings.reward or ("decision_f1" if twins else DEFAULTS[settings.regime])
    found = reward(name)
    if found.kind != settings.regime:
        raise UsageError(f"The reward {name} judges {found.kind}s, and --regime {settings.regime} does not; see docs.")
    if twins and found.metric and found.metric not in JUDGED:
        raise UsageError(f"Twins have no {found.metric} for the reward {name}; leave --reward out, or take autotir.")
    given = {option: value for option in REWARD_OPTIONS if (value := getattr(settings, option)) is not None}
    if unknown := [option for option in given if option not in found.options]:
        raise UsageError(f"The reward {name} has no {unknown[0]}; leave that value out of the recipe.")
    return replace(found, function=partial(found.function, **given))


@dataclass(frozen=True, slots=True)
class CheckedData:
    """What a recipe names to be trained on, checked: the reward, the environments by name, and prompts if any."""

    reward: Reward
    items: Mapping[str, tuple[Task, Sample]]
    given: Sequence[Prefix]

    @property
    def identity(self) -> JSONObject:
        """What of the data makes a run this one: their digest."""
        environments = fingerprint([sample for _, sample in self.items.values()])
        return {"data": jsonio.digest([environments, *map(prefix_to_record, self.given)])}


def check_data(
    settings: RLRecipe, tasks: Sequence[Task], patterns: Sequence[str], data: Mapping[str, Path]
) -> CheckedData:
    """Raises UsageError for test data, for data that no reward can judge, and for a reward that does not fit them."""
    judged = named_reward(settings)
    given = _given(patterns) if settings.regime == "step" and settings.prefixes == "given" else []
    samples = load_samples(tasks)
    tasks = [task for task in tasks if task.name in samples]
    refuse_test_data(tasks, samples, data)
    items = {f"{task.name}/{sample.id}": (task, sample) for task in tasks for sample in samples[task.name]}
    check_environments(settings, [(prefix_task(prefix), prefix.sample) for prefix in given] or list(items.values()))
    if judged.metric:
        for task in tasks:
            require_metric(judged.metric, task, samples[task.name][0])
    return CheckedData(judged, items, given)


def check_tasks(settings: RLRecipe, patterns: Sequence[str], data: Mapping[str, Path]) -> CheckedData | None:
    """What is trained on; None where it is built. Raises UsageError, before anything is built or written, for whatever
    prepare_training would refuse."""
    if patterns:
        found = check_data(settings, select_tasks(patterns, data), patterns, data)
        require_prompts(settings, len(found.given or found.items))
        return found
    named_reward(settings)
    require_prompts(settings, settings.environments)
    return None


def check_prompts(settings: RLRecipe, local: ModelTokenizer, found: CheckedData) -> None:
    """Raises UsageError where the model cannot read a prompt that the recipe refuses to drop, or reads too few."""
    reasoning = reasoning_of(settings)
    if found.given:
        requests = {str(place): prefix_request(one, reasoning) for place, one in enumerate(found.given)}
    elif not settings.cuts_prompts:
        requests = {name: first_request(*item, reasoning) for name, item in found.items.items()}
    else:
        return
    require_prompts(settings, len(select_fitting_prompts(local, settings, requests)))


def require_prompts(settings: RLRecipe, there: int) -> None:
    """Raises UsageError where a generation takes more prompts than there are."""
    if there < settings.prompts and not settings.cuts_prompts:
        raise UsageError(f"A generation takes {settings.prompts} prompts, and there are {there}; lower prompts.")


def prepare_training(
    settings: RLRecipe, patterns: Sequence[str], data: Mapping[str, Path], out: Path, watch: ProgressCallback
) -> TrainingSetup:
    """Reads or builds what is trained on. Raises UsageError where it cannot be used; see check_data."""
    tasks = select_tasks(patterns, data) if patterns else [_built(settings, "train", out, watch)]
    found = check_data(settings, tasks, patterns, data)
    if not settings.steps:
        settings = replace(settings, steps=len(found.given) // settings.prompts * settings.updates)
    validation, test = (
        _make_evaluation_set(settings, split, out, watch) if count else None
        for split, count in (("validation", settings.validation), ("test", settings.test))
    )
    return TrainingSetup(settings, found.reward, found.items, found.given, validation, test)


def require_metric(metric: str, task: Task, sample: Sample) -> None:
    """Raises UsageError where a task scores an episode, one in which nothing is said, without the reward's metric."""
    silent = Trajectory(tuple(sample.messages), (), 0, "ok", "no_tool_calls", Usage(), {})
    if metric not in task.score(sample, silent).scores:
        raise UsageError(f"The reward needs the metric {metric}, which {task.name} lacks; name another by --reward.")


def prefix_task(prefix: Prefix) -> Task:
    """The task that a prefix's environment is played by where its file alone is known."""
    return file_task(Path(f"{prefix.task}.jsonl"))


def _given(patterns: Sequence[str]) -> list[Prefix]:
    if len(patterns) != 1 or not Path(patterns[0]).is_file():
        raise UsageError("prefixes = given trains on one file of prefixes: --tasks collected/prefixes.jsonl.")
    return read_prefixes(Path(patterns[0]))


def check_environments(settings: RLRecipe, items: Sequence[tuple[Task, Sample]]) -> None:
    """Raises UsageError where there is nothing to train on, nothing to reward, nobody to talk to, or a state that no
    prompt holds."""
    if not items:
        raise UsageError("There is nothing to train on: --tasks names no environment.")
    for task, sample in items:
        gold = sample.gold
        if task.scripted_user is not None:
            raise UsageError(f"{task.name} simulates a user, whom nobody plays in training; leave it out.")
        judged = any(gold.sub_answers.values()) or gold.answer is not None or gold.calls
        if task.headline == HEADLINE and not judged:
            raise UsageError(f"{task.name}, sample {sample.id!r} has no gold, so no reward can judge it; leave it out.")
        if settings.regime == "step":
            if not isinstance(task.environment(sample), ToolEnvironment):
                raise UsageError(
                    f"{task.name} has an environment with a state; train on it with --regime episode and a reward "
                    "such as episode_success."
                )
            if settings.prefixes == "fresh" and any(message.role == "assistant" for message in sample.messages):
                raise UsageError(
                    f"{task.name}, sample {sample.id!r} has turns in its prompt, as prefixes do: --set prefixes=given."
                )
            if not sample.codes or not any(gold.sub_answers.values()):
                raise UsageError(f"{task.name}, sample {sample.id!r} has no tools or no sub-answers; leave it out.")


def select_fitting_prompts(
    local: ModelTokenizer, settings: RLRecipe, requests: Mapping[str, ModelRequest]
) -> list[str]:
    """The names of those prompts that are short enough for the model, in order.

    Raises UsageError for the first that is not, where the recipe refuses such, and where none is.
    """
    kept = []
    for name, request in requests.items():
        tokens = len(local.encode(local.prompter.prompt(request).text))
        if tokens <= max_prompt_tokens(local, settings):
            kept.append(name)
        elif settings.overlong == "refuse":
            raise UsageError(
                f"The prompt of {name} has {tokens} tokens and may have {max_prompt_tokens(local, settings)}; leave it "
                "out, or all that are too long with --set overlong=drop."
            )
    if not kept:
        raise UsageError(f"No prompt fits: each has more than {max_prompt_tokens(local, settings)} tokens.")
    return kept


def max_prompt_tokens(local: ModelTokenizer, settings: RLRecipe) -> int:
    """Tokens that a prompt may have."""
    context = local.folder.context
    room = settings.max_prompt or 10**9
    return room if context is None else min(room, context - settings.max_tokens)


def prefix_request(prefix: Prefix, reasoning: Reasoning, epoch: int = 0) -> ModelRequest:
    """What the model is asked behind a prefix."""
    sample, turn = prefix.sample, prefix.turn
    return ModelRequest(prefix.messages, sample.tools, Sampling(), sample, epoch, turn, prefix.task, reasoning)


def first_request(task: Task, sample: Sample, reasoning: Reasoning) -> ModelRequest:
    """What the model is asked first in an episode."""
    environment = task.environment(sample)
    return ModelRequest(
        list(environment.reset()), environment.tools, Sampling(), sample, task=task.name, reasoning=reasoning
    )


# --- built -------------------------------------------------------------------------------------------------------


def _built(settings: RLRecipe, split: str, out: Path, watch: ProgressCallback) -> Task:
    return file_task(build_split(settings, split, out, watch))


def _make_evaluation_set(settings: RLRecipe, split: str, out: Path, watch: ProgressCallback) -> EvaluationSet:
    path = build_split(settings, split, out, watch)
    return EvaluationSet(path, Limits(max_turns=settings.max_turns), reasoning_of(settings), settings.max_tokens)


def build_split(settings: RLRecipe, split: str, out: Path, watch: ProgressCallback) -> Path:
    """The recipe's environments of a split, built where they are not there yet."""
    n = {"train": settings.environments, "validation": settings.validation, "test": settings.test}[split]
    path = out / "environments" / f"{split}.jsonl"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = settings.data_seed + SPLIT_SEED_OFFSETS[split]
    build_environments(path, n, settings, seed, split, partial(watch, f"build {split}"))
    if len(read_samples(path)) < n:
        raise UsageError(f"Only a part of the {n} environments of {path} could be built; ask for fewer.")
    return path
