"""Whether a network knows that a call is due before it says so: a linear probe at every layer, on unseen worlds.

The samples are twins (docs/decisions.md), whose situation says whether the first action is a call. Worlds are dealt
into five folds; a row's score is by what was learnt on the other folds, with a penalty chosen within them. The layer
with the highest AUROC is chosen knowing all of them, so another row has the layer that the other folds choose: that is
what a reader who never saw the fold would get. Predictors that do not read stand beside it, by the same rule.

The state is that of the prompt's last token, or, of a network that reasons first, that of the last token before it
says anything. Then its reasoning's words stand among the predictors: the probe has read them too.

Left out: any token but the last, and probes that are not linear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from harness.console.progress import ProgressBar
from harness.console.tables import format_number
from harness.data import records
from harness.errors import ModelFailure, UsageError
from harness.evaluation.plan import switch_of
from harness.models import ModelOptions, expand_names, load_model, public_name
from harness.models.local import call_gate
from harness.models.local.hf import (
    HFModel,
    generate_rows,
    is_out_of_memory,
    load_weights,
    release_memory,
    resolve_device,
)
from harness.models.local.packages import first_line
from harness.models.local.probe import Array, Probe, read_last_states
from harness.models.local.rows import PromptRow, count_reasoning, to_row
from harness.models.local.tokenizer import ModelTokenizer
from harness.registry import load_samples, select_tasks
from harness.rollout import Episode, rollout
from harness.scoring.decisions import check_twin, situation_of
from harness.stats import Estimate
from harness.stats.classifier import (
    Unseen,
    bag,
    compare_aurocs,
    estimate_auroc,
    fold_clusters,
    learn,
    learn_standardised,
    score_unseen,
    spread_of,
    words,
)
from harness.types import JSONObject, ModelRequest, Reasoning, Sample, Sampling, Task

NETWORKS = ("hf", "bundled")
FOLDS = 5
PENALTIES = (1.0, 1e1, 1e2, 1e3, 1e4)
"""Of standardised columns; of those that do equally well the first is taken, which says it most clearly."""
WORD_PENALTIES = (1e-2, 1e-1, 1.0)
"""Of bags of words, whose rows have length 1."""
HEADERS = {
    "prompt": "last hidden state before the first reply",
    "reasoning": "last hidden state of the reasoning",
}
OF_THE_REASONING = ("length of the reasoning", "words of the reasoning", "words of both")
"""Predictors that have more than the prompt."""
TOGETHER = 16
"""Replies that are written together."""
SURE, FEWEST = 0.9, 20
"""What a threshold needs on unseen worlds: this share of right decisions beyond it, of at least so many."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be told apart, without what tells it: of every row whether a call is due, its world and its fold."""

    due: Array
    worlds: Sequence[str]
    fold: NDArray[np.intp]

    def estimate(self, scores: Array) -> Estimate:
        return estimate_auroc(scores, self.due, self.worlds, self.fold)


@dataclass(frozen=True, slots=True)
class Findings:
    """AUROC on unseen worlds: of each layer, of the layer chosen within the other folds, of each predictor that does
    not read, and how much more the chosen layer has than the best of these: `lead` of all, and `lead_on_prompt` of
    those that have the prompt alone."""

    layers: Sequence[Estimate]
    chosen: Estimate
    predictors: Mapping[str, Estimate]
    lead: Estimate
    lead_on_prompt: Estimate

    def to_json(self) -> JSONObject:
        return {
            "layers": [one.to_json() for one in self.layers],
            "chosen": self.chosen.to_json(),
            "predictors": {name: one.to_json() for name, one in self.predictors.items()},
            "lead": self.lead.to_json(),
            "lead_on_prompt": self.lead_on_prompt.to_json(),
        }


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found, the probe of the best layer, and what both were made of."""

    findings: Findings
    probe: Probe
    about: JSONObject

    def write(self, path: Path) -> None:
        self.probe.write(path, {**self.about, "auroc": self.findings.to_json()})

    def format(self) -> str:
        """The table, and what to hold against it."""
        found = self.findings
        rows = [(f"layer {number}", one) for number, one in enumerate(found.layers)]
        rows += [("layer chosen without the fold", found.chosen), *found.predictors.items()]
        table = tabulate(
            [(name, format_number(one.value), format_interval(one)) for name, one in rows],
            headers=[HEADERS[self.probe.after], "AUROC", "95 %"],
            disable_numparse=True,
        )
        leads = [f"the chosen layer less {find_best(found.predictors)}: {format_lead(found.lead)}"]
        if self.probe.after == "reasoning":
            leads.append(f"less {find_best(on_prompt(found.predictors))}: {format_lead(found.lead_on_prompt)}")
        counted = "{samples} samples, {worlds} worlds, {folds} folds by world".format_map(self.about)
        return f"{table}\n\n{counted}; {'; '.join(leads)}\n{self._format_replies()}{format_thresholds(self.probe)}"

    def _format_replies(self) -> str:
        """What became of the replies, a line of its own; nothing where none were written."""
        if self.probe.after == "prompt":
            return ""
        bare, left = self.about["without_reasoning"], self.about["left_out"]
        said = f"{bare} of these replies do not reason: of them it is the prompt's last state. " if bare else ""
        if any(left.values()):
            said += (
                "Left out, because their reasoning has no end that can be read: {due} where a call is due, ".format_map(
                    left
                )
            )
            said += "{not_due} where none is.".format_map(left)
        return f"{said.strip()}\n" if said else ""


def find_best(predictors: Mapping[str, Estimate]) -> str:
    return max(predictors, key=lambda name: predictors[name].value or 0)


def on_prompt(predictors: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Those that have the prompt alone."""
    return {name: one for name, one in predictors.items() if name not in OF_THE_REASONING}


def format_lead(lead: Estimate) -> str:
    return f"{format_number(lead.value)} {format_interval(lead)}"


def format_thresholds(probe: Probe) -> str:
    """Beyond which scores a call, or none, is nearly always right."""
    sides = [(probe.high, "a call above"), (probe.low, "no call below")]
    found = [f"{what} {value:.3f}" for value, what in sides if value is not None]
    return f"thresholds at which {SURE:.0%} are right: {', '.join(found) or 'none'}"


def format_interval(estimate: Estimate) -> str:
    return "" if estimate.ci95 is None else "[{:.3f}, {:.3f}]".format(*estimate.ci95)


# --- from a model ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What a network has read where its state is taken: a prompt, and the tokens of its reasoning, if any."""

    row: PromptRow
    thought: Sequence[int] = ()

    @property
    def ids(self) -> list[int]:
        return [*self.row.ids, *self.thought]


def probe_model(
    name: str,
    args: Mapping[str, str],
    patterns: Sequence[str],
    seed: int,
    reasoning: Reasoning,
    quiet: bool = False,
    after: str = "prompt",
    max_tokens: int = 2048,
) -> ProbeReport:
    """Probes a network on twins, behind their prompts or behind the reasoning that it writes greedily, in at most
    `max_tokens` tokens. Raises UsageError for another model, for other samples, and for too few of them."""
    model = find_network(name, args)
    switch_of(model, reasoning)
    tasks = select_tasks(patterns, {})
    samples = load_samples(tasks)
    chosen = [(task, sample) for task in tasks for sample in samples.get(task.name, ())]
    question = ask(chosen, seed)
    sampling = Sampling(max_tokens=max_tokens)
    read: list[Reading | None] = [
        Reading(find_row(model, first_request(task, sample, reasoning, sampling))) for task, sample in chosen
    ]
    network = load_weights(
        model.local, *resolve_device(model.name, args.get("dtype", "auto"), args.get("device", "auto"))
    )
    if after == "reasoning":
        read = write_reasoning(model, network, [one.row for one in read if one], quiet)
        question = ask_again(chosen, read, seed)
    readings = [one for one in read if one]
    states = read_states(model.name, network, [one.ids for one in readings], quiet)
    findings, layer, unseen = judge(states, score_predictors(model.local, readings, question), question)
    probe = replace(
        learn_probe(states, question.due, layer, unseen.penalty, model.fingerprint),
        reasoning=reasoning.label,
        low=find_low(unseen.scores, question.due),
        high=find_high(unseen.scores, question.due),
        after=after,
    )
    about: JSONObject = {
        "model": model.name,
        "tasks": {task.name: records.fingerprint(samples[task.name]) for task in tasks if task.name in samples},
        "target": "a call is due",
        "samples": len(readings),
        "worlds": len(set(question.worlds)),
        "folds": FOLDS,
        "seed": seed,
        "penalty": unseen.penalty,
    }
    if after == "reasoning":
        left = [situation_of(sample).due for (_, sample), one in zip(chosen, read, strict=True) if one is None]
        about |= {
            "max_tokens": max_tokens,
            "without_reasoning": sum(not one.thought for one in readings),
            "left_out": {"due": sum(left), "not_due": len(left) - sum(left)},
        }
    return ProbeReport(findings, probe, about)


def find_network(name: str, args: Mapping[str, str]) -> HFModel:
    """The model of that name, run here. Raises UsageError where its hidden states cannot be seen."""
    if given := [arg for arg in call_gate.ARGS if arg in args]:
        raise UsageError(f"A probe is made of the network alone: leave --model-arg {given[0]} out.")
    names = expand_names([name])
    if len(names) > 1:
        raise UsageError(f"One model is probed at a time, not {len(names)}: {', '.join(names)}.")
    if names[0].partition("/")[0] in NETWORKS:
        model = load_model(names[0], ModelOptions(args, concurrency=TOGETHER))
        if isinstance(model, HFModel):
            return model
    raise UsageError(f"{public_name(names[0])} shows no hidden states: a probe needs hf/PATH or bundled/NAME.")


def ask(chosen: Sequence[tuple[Task, Sample]], seed: int) -> Question:
    """Whether a call is due in each sample. Raises UsageError where nothing says so, or where too few are of one kind
    for it to be in every fold."""
    for _, sample in chosen:
        check_twin(sample)
    due = np.array([float(situation_of(sample).due) for _, sample in chosen])
    if len(kinds := set(due)) == 1:
        of = "all" if 1.0 in kinds else "none"
        raise UsageError(f"A call is due in {of} of these samples, so there is nothing to tell apart.")
    worlds = [str(sample.metadata.get("world") or f"{task.name}/{sample.id}") for task, sample in chosen]
    fold = fold_clusters(worlds, FOLDS, seed)
    if any(len(set(due[fold == number])) < 2 for number in range(FOLDS)):
        raise UsageError(
            f"{len(set(worlds))} worlds are too few: each of the {FOLDS} folds needs samples where a call is due, and "
            "where none is."
        )
    return Question(due, worlds, fold)


def ask_again(chosen: Sequence[tuple[Task, Sample]], read: Sequence[Reading | None], seed: int) -> Question:
    """The question of the samples whose reasoning ended. Raises UsageError where these are too few."""
    kept = [one for one, found in zip(chosen, read, strict=True) if found]
    try:
        return ask(kept, seed)
    except UsageError as error:
        lost = (
            f"{len(read) - len(kept)} of {len(read)} replies have no end of reasoning that can be read (--max-tokens)"
        )
        raise UsageError(f"{lost}. Of the others: {error}") from None


def first_request(task: Task, sample: Sample, reasoning: Reasoning, sampling: Sampling) -> ModelRequest:
    """What a model is asked first in an episode. Raises UsageError where something else is done before."""
    steps = rollout(Episode(sample, task=task.name, reasoning=reasoning, sampling=sampling), task.environment(sample))
    wish = next(steps)
    steps.close()
    if not isinstance(wish, ModelRequest):
        raise UsageError(f"{task.name} does something before the model speaks, which a probe does not play.")
    return wish


def find_row(model: HFModel, request: ModelRequest) -> PromptRow:
    """The request as the network reads it. Raises UsageError where it cannot."""
    row = to_row(model.local, request)
    if isinstance(row, ModelFailure):
        raise UsageError(f"{request.task}: {request.sample.id!r} cannot be read: {row}.")
    return row


def write_reasoning(model: HFModel, network: Any, rows: Sequence[PromptRow], quiet: bool) -> list[Reading | None]:
    """Of each row, what the network has read where its reasoning ends; None: it did not end.

    Raises UsageError where none of the replies begins with reasoning, and where memory runs out.
    """
    found, size = list[Reading | None](), model.width
    with ProgressBar(" replies", quiet=quiet, leave=False) as progress:
        progress.begin("", len(rows))
        while len(found) < len(rows):
            some = rows[len(found) : len(found) + size]
            try:
                replies = generate_rows(network, model.local, some)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                trouble = first_line(error)
            else:
                counts = [count_reasoning(model.local, row, reply) for row, reply in zip(some, replies, strict=True)]
                for row, reply, count in zip(some, replies, counts, strict=True):
                    found.append(None if count is None else Reading(row, reply[:count]))
                    progress.advance()
                continue
            release_memory()
            if size == 1:
                raise UsageError(f"{model.name}: out of memory for a prompt of {len(some[0].ids)} tokens: {trouble}.")
            size //= 2
    if not any(one and one.thought for one in found):
        raise UsageError(
            f"{model.name} ended no reasoning in these replies: ask for it with --reasoning on, give it room with "
            "--max-tokens, or leave --after out."
        )
    return found


def read_states(name: str, network: Any, prompts: Sequence[Sequence[int]], quiet: bool) -> Array:
    """The last hidden states of shape (prompts, layers + 1, size). Raises UsageError where memory runs out, and for
    states that are no numbers."""
    found = []
    with ProgressBar(" prompts", quiet=quiet, leave=False) as progress:
        progress.begin("", len(prompts))
        for ids in prompts:
            found.append(_read(name, network, ids))
            progress.advance()
    states = np.stack(found)
    if not np.isfinite(states).all():
        raise UsageError(f"{name}: its hidden states are not all finite; try --model-arg dtype=float32.")
    return states


def _read(name: str, network: Any, ids: Sequence[int]) -> Array:
    try:
        return read_last_states(network, ids)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        trouble = first_line(error)
    raise UsageError(f"{name}: out of memory for a prompt of {len(ids)} tokens: {trouble}.")


# --- judged ------------------------------------------------------------------------------------------------------


def judge(states: Array, predicted: Mapping[str, Array], question: Question) -> tuple[Findings, int, Unseen]:
    """What the states of shape (rows, layers + 1, size) tell on unseen worlds, beside the scores of predictors that
    lack them, and the best layer with its scores there and its penalty."""
    due, fold = question.due, question.fold
    layers = [score_unseen(table, due, fold, PENALTIES, learn_standardised) for table in np.moveaxis(states, 1, 0)]
    estimates = [question.estimate(layer.scores) for layer in layers]
    chosen = choose_without(layers, fold)
    predictors = {name: question.estimate(one) for name, one in predicted.items()}

    lead, lead_on_prompt = (
        compare_aurocs(predicted[find_best(some)], chosen, due, question.worlds, fold)
        for some in (predictors, on_prompt(predictors))
    )
    findings = Findings(estimates, question.estimate(chosen), predictors, lead, lead_on_prompt)
    layer = max(range(len(layers)), key=lambda number: estimates[number].value or 0)
    return findings, layer, layers[layer]


def choose_without(layers: Sequence[Unseen], fold: NDArray[np.intp]) -> Array:
    """The scores of every fold by the layer that is best on the others."""
    best = np.array([layer.inner for layer in layers]).argmax(0)
    return np.array([layers[best[number]].scores[row] for row, number in enumerate(fold)])


def find_high(scores: Array, due: Array) -> float | None:
    """The lowest score of at least 0 above which a call is nearly always due, of scores on unseen worlds; None: there
    is none. Nearly always: in at least SURE of at least FEWEST rows."""
    order = np.argsort(-scores, kind="stable")
    above, right = scores[order], np.cumsum(due[order])
    counts = np.arange(1, len(above) + 1)
    cuts = np.maximum((above + np.append(above[1:], 0.0)) / 2, 0.0)
    fits = (counts >= FEWEST) & (right >= SURE * counts) & (cuts < above)
    return float(cuts[fits].min()) if fits.any() else None


def find_low(scores: Array, due: Array) -> float | None:
    """The highest score of at most 0 below which a call is hardly ever due; see `find_high`."""
    high = find_high(-scores, 1 - due)
    return None if high is None else -high


def score_predictors(local: ModelTokenizer, readings: Sequence[Reading], question: Question) -> dict[str, Array]:
    """What needs no network to read, by the same rule. All are first turns: their number tells nothing."""
    due, fold = question.due, question.fold

    def of_lengths(lengths: Sequence[int]) -> Array:
        column = np.array(lengths, dtype=np.float64)[:, np.newaxis]
        return score_unseen(column, due, fold, PENALTIES, learn_standardised).scores

    def of_words(texts: Sequence[str]) -> Array:
        return score_unseen(bag(texts, words), due, fold, WORD_PENALTIES, learn).scores

    found = {
        "length of the prompt": of_lengths([len(one.row.ids) for one in readings]),
        "words of the prompt": of_words([one.row.prompt.text for one in readings]),
        "turn number (always the first)": np.zeros(len(due)),
    }
    if any(one.thought for one in readings):
        lengths, alone, both = OF_THE_REASONING
        thoughts = [local.decode(one.thought) for one in readings]
        found[lengths] = of_lengths([len(one.thought) for one in readings])
        found[alone] = of_words(thoughts)
        found[both] = of_words([f"{one.row.prompt.text} {text}" for one, text in zip(readings, thoughts, strict=True)])
    return found


def learn_probe(states: Array, due: Array, layer: int, penalty: float, fingerprint: Mapping[str, Any]) -> Probe:
    """The probe of one layer, learnt on all rows."""
    table = states[:, layer]
    mean, scale = spread_of(table)
    weights = learn((table - mean) / scale, due, penalty)
    return Probe(
        layer=layer,
        mean=mean.tolist(),
        scale=scale.tolist(),
        weights=weights[:-1].tolist(),
        bias=float(weights[-1]),
        fingerprint=fingerprint,
    )
