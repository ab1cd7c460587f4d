"""The episodes that two runs have in common, or why they cannot be compared.

Episodes are paired by task, sample and epoch. Runs that did not play the same thing are not paired: they are refused
with what differs. A reference policy is a floor: it plays the same in every epoch, so that its run stands beside any
run of samples that it played too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import UsageError
from harness.runs.identity import version_of
from harness.runs.results import EpisodeOrder, EpisodeResult
from results.runs import Run

OTHER_CLUSTERS = "has the same samples in other clusters"
POLICIES = "policy/"
CHANCE = "policy/random"
"""The policy that draws anew in every epoch."""


@dataclass(frozen=True, slots=True)
class EpisodePair:
    """One episode of both runs; `weight` is what its task counts in the mean of its group."""

    cluster: str
    before: EpisodeResult
    after: EpisodeResult
    weight: float = 1.0

    @property
    def task(self) -> str:
        return self.before.task

    @property
    def where(self) -> EpisodeOrder:
        """Task, sample, epoch."""
        return max(self.before.order, self.after.order)


def pair_episodes(base: Run, run: Run, shared: bool) -> list[EpisodePair]:
    """The episodes of both runs, in order. Raises UsageError where they did not play the same tasks, samples and
    epochs under the same verifier, and says how they differ; `shared` leaves out tasks that only one of them has."""
    mine, other = (one.manifest["identity"] for one in (base, run))
    where = f"{base.path} and {run.path} cannot be paired"
    name: Literal["epochs", "verifier"]
    for name, hint in (("epochs", ""), ("verifier", " (harness rescore brings both up to date)")):
        if mine[name] != other[name] and not (name == "epochs" and (is_floor(base) or is_floor(run))):
            raise UsageError(f"{where}: {name} {mine[name]} there, {other[name]} here{hint}.")
    common = [task for task in base.manifest["tasks"] if task in run.manifest["tasks"]]
    if not common:
        raise UsageError(f"{where}: they have no task in common{_versions(base, run)}.")
    for one in (base, run):
        only = [task for task in one.manifest["tasks"] if task not in common]
        if only and not shared and not is_floor(one):
            raise UsageError(f"{where}: only {one.path} played {_listed(only)}; --shared leaves such tasks out.")
    for task in common:
        if how := _differs(base, run, task):
            raise UsageError(f"{where}: {task} {how}.")
    return _pairs(base, run, set(common), where)


def is_floor(run: Run) -> bool:
    """Whether a run is a reference policy's that plays a sample the same way every time."""
    name = str(run.manifest["identity"]["model"])
    return name.startswith(POLICIES) and name != CHANCE


def _pairs(base: Run, run: Run, tasks: set[str], where: str) -> list[EpisodePair]:
    leading = run if is_floor(base) else base
    before, after = (_by_place(one) for one in (base, run))
    entries = {task: base.manifest["tasks"][task] for task in tasks}
    weights = {task: float(entry.get("weight", 1.0)) for task, entry in entries.items()}
    pairs = [
        EpisodePair(
            entries[result.task]["clusters"][result.sample],
            mine,
            other,
            weights[result.task],
        )
        for result in leading.results
        if result.task in tasks and (mine := before(result)) is not None and (other := after(result)) is not None
    ]
    if not pairs:
        raise UsageError(f"{where}: they have no episode in common.")
    if changed := _asked_otherwise(base, run, pairs):
        raise UsageError(f"{where}: {changed.task} asks {changed.before.sample!r} something else in one of them.")
    return pairs


def _asked_otherwise(base: Run, run: Run, pairs: Sequence[EpisodePair]) -> EpisodePair | None:
    """A pair with different prompts. Where the tasks' fingerprints differ, as they do of different samples, only
    transcripts say so."""
    mine, other = (one.manifest["identity"]["tasks"] for one in (base, run))
    unsure = [pair for pair in pairs if mine.get(pair.task) != other.get(pair.task)]
    if not unsure:
        return None
    with base.open_records() as before, run.open_records() as after:
        for pair in unsure:
            prompts = (
                read(result).get("messages", [])[:1] for read, result in ((before, pair.before), (after, pair.after))
            )
            if next(prompts) != next(prompts):
                return pair
    return None


def _by_place(run: Run) -> Callable[[EpisodeResult], EpisodeResult | None]:
    """What finds a run's episode of the same place as another run's; a floor's is that of its first epoch."""
    known = {result.order: result for result in run.results}
    if is_floor(run):
        return lambda result: known.get((result.task, result.sample, 0))
    return lambda result: known.get(result.order)


def _differs(base: Run, run: Run, task: str) -> str | None:
    """How a task of the same name is another one, or None."""
    mine, other = (one.manifest["tasks"][task]["clusters"] for one in (base, run))
    if _covers(base, mine, other) or _covers(run, other, mine):
        return None if all(mine[name] == other[name] for name in mine.keys() & other.keys()) else OTHER_CLUSTERS
    if set(mine) != set(other):
        common = len(set(mine) & set(other))
        return f"has {len(mine)} samples there and {len(other)} here, {common} of them the same"
    prints = [one.manifest["identity"]["tasks"].get(task) for one in (base, run)]
    if prints[0] != prints[1]:
        return f"has the same sample ids but other content (fingerprints {prints[0]} there, {prints[1]} here)"
    return OTHER_CLUSTERS if mine != other else None


def _covers(run: Run, own: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether a floor was played on all samples of the other run, and on more."""
    return is_floor(run) and own.keys() > others.keys()


def _versions(base: Run, run: Run) -> str:
    """What is said where they played different versions of a task; nothing where they did not."""
    mine, other = (
        {name.removesuffix(f"@{version_of(entry)}"): name for name, entry in one.manifest["tasks"].items()}
        for one in (base, run)
    )
    name = next((name for name in mine if name in other), None)
    return f" ({mine[name]} there, {other[name]} here: other questions under one name)" if name else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more tasks" if len(names) > 3 else "")


def find_other_differences(base: Run, run: Run) -> dict[str, tuple[Any, Any]]:
    """What else the runs' configurations differ in, besides model and reasoning, and what their endpoints made of them:
    name to both values."""
    expected = {"model", "model_fingerprint", "reasoning", "reasoning_history", "tasks", "verifier", "epochs"}
    mine, other = (dict(_flat(one.manifest["identity"])) | _learnt(one) for one in (base, run))
    names = [name for name in {**mine, **other} if name.partition(".")[0] not in expected]
    return {name: (mine.get(name), other.get(name)) for name in names if mine.get(name) != other.get(name)}


def _learnt(run: Run) -> dict[str, Any]:
    """What the endpoint refused, and the values that were sent instead."""
    return {
        f"learnt.{item['field']}": "none" if item["value"] is None else item["value"]
        for item in run.manifest.get("learnt", [])
    }


def _flat(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (f"{name}.{key}" if key else name, part)
        for name, whole in value.items()
        for key, part in (whole.items() if isinstance(whole, dict) else [("", whole)])
    ]
