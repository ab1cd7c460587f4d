"""From a row to the commands that reproduce it: which there are, in which order, and what each leaves behind.

A step is one call of `harness`, whose run directory resumes by itself; which steps are over is read from what they
left. With --trainer verl a round ends in commands for a cluster, which a person runs.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.jsonio import digest
from harness.data.records import fingerprint
from harness.errors import MissingData
from harness.registry import load_samples, select_tasks
from tasks.released import REPOSITORY, TRAIN, raw_folder
from trainer.reproduction.rows import PAPER, ROUNDS, Sizes, TrainedRow

BENCHMARKS = {
    "paper": "Solve-P, Solve-R, Solve-F1",
    "toolhop": "ToolHop AC",
    "taubench": "tau-bench pass^1",
    "rotbench": "RoTBench TS, PI, CF",
}
"""The groups of tasks of the table, and the columns that each fills."""
SIDES = ("base", "trained")


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What a person asked for.

    weights   a model directory, or bundled/NAME
    backend   who plays it: vllm or hf
    trainer   harness, or verl: prompts are exported, and a person trains
    user      the words that name tau-bench's simulated user; without any, tau-bench is left out
    changes   values of the recipe (--set), beside those of `sizes`
    """

    row: TrainedRow
    weights: str
    data: Mapping[str, Path]
    out: Path
    backend: str = "vllm"
    trainer: str = "harness"
    user: Sequence[str] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    sizes: Sizes = PAPER
    quiet: bool = False

    @property
    def trained(self) -> str:
        """The directory of the last round's model."""
        return trained_weights(self, ROUNDS)


@dataclass(frozen=True, slots=True)
class Step:
    """One command, over where `result` exists. `out` is the directory that it goes on with by --resume, where it does.
    Without words it is a person's, who runs `by_hand`."""

    title: str
    words: Sequence[str]
    result: Path
    out: Path | None = None
    by_hand: Sequence[str] = ()


# --- what is there -----------------------------------------------------------------------------------------------


def find_missing(request: Reproduction) -> dict[str, str]:
    """The groups of tasks that cannot be played, each with the reason, in a sentence. Raises UsageError for data of
    another format."""
    reasons = {}
    for group in BENCHMARKS:
        try:
            for task in select_tasks([f"{group}_*"], request.data):
                load_samples([task])
        except MissingData as error:
            reasons[group] = str(error)
    if not request.user:
        reasons.setdefault("taubench", "tau-bench's customer is played by a model: name one with --user-model.")
    return reasons


def digest_data(request: Reproduction, missing: Mapping[str, str]) -> dict[str, str]:
    """What there is to train on, and to play in each group of tasks that is not missing: a digest of each."""
    found = {}
    for group in (group for group in BENCHMARKS if group not in missing):
        samples = load_samples(select_tasks([f"{group}_*"], request.data))
        found[group] = digest({name: fingerprint(listed) for name, listed in samples.items()})
    if (path := train_file(request)).is_file():
        with path.open("rb") as file:
            found["train"] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return found


def train_file(request: Reproduction) -> Path:
    """The environments that are trained on."""
    return raw_folder(request.data.get(REPOSITORY, Path("FTRL"))) / TRAIN


def find_nothing_to_train_on(request: Reproduction) -> str:
    """The sentence for a person whose training data is not there; nothing where it is."""
    path = train_file(request)
    if path.is_file():
        return ""
    return f"There is nothing to train on at {path}; name the repository by --data ftrl=FOLDER."


def player(request: Reproduction, weights: str) -> str:
    """The name by which `harness eval` plays weights."""
    return weights if weights.startswith("bundled/") else f"{request.backend}/{weights}"


# --- the commands ------------------------------------------------------------------------------------------------


def plan_steps(request: Reproduction, missing: Mapping[str, str]) -> list[Step]:
    """All of them, in order; columns that are missing are played for neither model."""
    groups = [group for group in BENCHMARKS if group not in missing]
    steps = [_evaluate(request, "base", request.weights, group) for group in groups]
    for number in range(1, ROUNDS + 1):
        steps += _round(request, number)
    steps += [_evaluate(request, "trained", request.trained, group) for group in groups]
    return [*steps, _analyze(request)]


def trained_weights(request: Reproduction, number: int) -> str:
    """What a round begins with: the weights that the one before left, and at last the result."""
    return str(_folder(request, number) / "train" / "model") if number else request.weights


def _folder(request: Reproduction, number: int) -> Path:
    return request.out / f"round-{number}"


def _round(request: Reproduction, number: int) -> Iterator[Step]:
    weights = trained_weights(request, number - 1)
    prompts = _folder(request, number) / "collect" / "prefixes.jsonl"
    yield _collect(request, number, weights, prompts)
    if request.trainer == "verl":
        yield from _export(request, number, weights, prompts)
    else:
        yield _train(request, number, weights, prompts)


def _evaluate(request: Reproduction, side: str, weights: str, group: str) -> Step:
    out = request.out / "evaluation" / side / group
    words = ["eval", *_play(request, weights), "--tasks", f"{group}_*", "--data", *_data(request), "--out", str(out)]
    words += request.user if group == "taubench" else ()
    return Step(
        f"{side}: {BENCHMARKS[group]}", [*words, *request.sizes.evaluate, *_quiet(request)], out / "summary.json", out
    )


def _collect(request: Reproduction, number: int, weights: str, prompts: Path) -> Step:
    words = ["collect", *_play(request, weights), "--tasks", str(train_file(request)), "--rule", "paper"]
    words += ["--seed", str(number), "--out", str(prompts.parent), *request.sizes.collect, *_quiet(request)]
    return Step(f"round {number}: collect", words, prompts, prompts.parent)


def _train(request: Reproduction, number: int, weights: str, prompts: Path) -> Step:
    out = _folder(request, number) / "train"
    words = ["train", "--recipe", request.row.recipe, "--algorithm", request.row.algorithm, "--model", weights]
    words += ["--tasks", str(prompts), "--out", str(out)]
    if changes := {**request.sizes.train, **request.changes}:
        words += ["--set", *(f"{name}={value}" for name, value in changes.items())]
    return Step(f"round {number}: train", [*words, *_quiet(request)], out / "result.json", out)


def _export(request: Reproduction, number: int, weights: str, prompts: Path) -> Iterator[Step]:
    out, model = _folder(request, number) / "export", trained_weights(request, number)
    words = ["export", "verl", "--tasks", str(prompts), "--algorithm", request.row.algorithm, "--model", weights]
    yield Step(f"round {number}: export", [*words, "--out", str(out)], out / "launch.sh")
    merge = ["python", "-m", "verl.model_merger", "merge", "--backend", "fsdp"]
    merge += ["--local_dir", f"{out}/checkpoints/global_step_N/actor", "--target_dir", model]
    by_hand = (shlex.quote(f"{out}/launch.sh"), shlex.join(merge))
    yield Step(f"round {number}: train with verl", (), Path(model, "config.json"), by_hand=by_hand)


def _analyze(request: Reproduction) -> Step:
    out = request.out / "changes.json"
    return Step("what training changed", ["analyze", request.weights, request.trained, "--out", str(out)], out)


def _play(request: Reproduction, weights: str) -> list[str]:
    row = request.row
    mode = [] if row.reasoning == "default" else ["--reasoning", row.reasoning]
    tokens = [] if "--max-tokens" in request.sizes.evaluate else ["--max-tokens", str(row.max_tokens)]
    return ["--model", player(request, weights), *mode, *tokens]


def _data(request: Reproduction) -> list[str]:
    return [f"{name}={path}" for name, path in request.data.items()]


def _quiet(request: Reproduction) -> list[str]:
    return ["--quiet"] if request.quiet else []
