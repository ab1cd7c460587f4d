"""Further attempts that branch off where a network hesitated, so that one prefix has several continuations.

    harness collect --model hf/PATH --tasks train.jsonl --epochs 8 --branch entropy --out collected/many

The idea is Tool-Light's (arXiv 2509.23285): a turn hesitates by the mean entropy of its first tokens. Of each
environment the episodes whose most hesitant turn is the most hesitant are played again: what stood before that turn is
repeated, its tools run anew, and from there the network draws with a seed of its own. OUT/branches.jsonl says where,
and OUT/branches is an ordinary run of these episodes, which `harness pairs OUT OUT/branches` reads beside the others.

Entropies are read from the transcripts, by one pass over each turn's prompt and first tokens, and not while they are
drawn: so a run that is gone on with needs nothing but its records. They are the network's own, at temperature 1.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from harness.batching import BatchModel
from harness.console.progress import ProgressBar
from harness.console.text import printable
from harness.data import disk, jsonio
from harness.data.files import write_rows
from harness.data.schema import Record
from harness.errors import ModelFailure, UsageError
from harness.evaluation.command import Evaluation
from harness.evaluation.from_options import tool_limits_of
from harness.evaluation.plan import Plan
from harness.models import ModelOptions, expand_names, load_model, public_name
from harness.models.local.hf import HFModel, is_out_of_memory, load_weights, resolve_device
from harness.models.local.rows import to_row
from harness.runs.directory import RunDirectory
from harness.runs.record import to_trajectory
from harness.sandbox import SandboxConfig
from harness.types import JSONObject, Message, ModelRequest, Reasoning, Reply, Sample, Sampling, Usage

NETWORKS = ("hf", "bundled")
FILE, FOLDER = "branches.jsonl", "branches"
LEAST, MOST = 10, 50
"""Of a turn's first tokens, whose mean entropy says how much it hesitated; shorter turns do not count."""
KINDS = [str, str, int, int, int, float, int]
"""What the values of a branch are, in their order."""
FIRST_EPOCH = 1_000_000
"""What a branch's draws count its epochs from, so that none is drawn as an ordinary episode is."""
Said = Mapping[tuple[str, str, int], Sequence[Message]]
"""The messages of episodes, by task, sample and epoch."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a further attempt begins: `epoch` is its own, in the run of the branches, `parent_epoch` that of the
    episode it leaves before its `turn`. `entropy`: nats, the mean of that turn's first `tokens`."""

    task: str
    sample: str
    epoch: int
    parent_epoch: int
    turn: int
    entropy: float
    tokens: int

    @property
    def note(self) -> str:
        """What the record says of the turn."""
        where = f"branched off epoch {self.parent_epoch} before its turn {self.turn}"
        return f"{where} (mean entropy {self.entropy:.4f} of {self.tokens} tokens)"


def play_branches(args: argparse.Namespace, plan: Plan, network: HFModel) -> int:
    """Plays the branches of the run in `args.out`, whose plan this is, and reports. Returns the exit status.

    Raises UsageError where branches of another number, or of another run, stand there.
    """
    run, path = RunDirectory.open(args.out), args.out / FILE
    if not run.summary_path.exists():
        print("The run is not complete, so nothing was branched off; go on with --resume.", file=sys.stderr)
        return 1
    reasoning = replace(args.reasoning[0], history=args.reasoning_history)
    plan = replace(plan, reasoning=reasoning)
    count = args.branches or 1
    if not path.exists():
        write_rows(path, map(asdict, find_branches(network, args.model_arg, run, plan, count, args.quiet)))
    branches = read_branches(path)
    if not branches:
        print(f"No turn has {LEAST} tokens, so nothing was branched off.", file=sys.stderr)
        return 1
    branched = restrict_plan(plan, branches)
    if branched.epochs != count:
        raise UsageError(f"{path} has {branched.epochs} branches an environment, not {count}; name another --out.")
    said = read_parents(run, branches)
    check_branches(path, branches, plan, said, count)
    evaluation = Evaluation(
        plan=branched,
        models=[BranchModel(network, branches, said)],
        reasonings=[reasoning],
        out=args.out / FOLDER,
        resume=args.resume,
        quiet=args.quiet,
        concurrency=args.concurrency,
        sandbox=SandboxConfig(mode=args.sandbox, limits=tool_limits_of(args)),
    )
    try:
        return evaluation.run()
    except KeyboardInterrupt:
        print(
            printable(f"These were branches: the command that goes on with them has --out {args.out}."), file=sys.stderr
        )
        raise


def open_network(args: argparse.Namespace) -> HFModel:
    """The network that branches are drawn from. Raises UsageError for options that cannot branch."""
    if not args.temperature:
        raise UsageError("--branch entropy draws again, and at --temperature 0 nothing is drawn.")
    faulty = args.tool_faults is not None and args.tool_faults.probability > 0
    if faulty or args.ray is not None:
        option = "--tool-faults" if faulty else "--ray"
        raise UsageError(f"--branch repeats the beginnings of episodes, which it does not do with {option}.")
    (name,) = expand_names(args.model)
    if name.partition("/")[0] in NETWORKS:
        model = load_model(name, ModelOptions(args.model_arg, concurrency=args.concurrency, seed=args.seed))
        if isinstance(model, HFModel):
            return model
    raise UsageError(f"{public_name(name)} shows no entropies: --branch needs hf/PATH or bundled/NAME.")


# --- where -------------------------------------------------------------------------------------------------------


def find_branches(
    model: HFModel, args: Mapping[str, str], run: RunDirectory, plan: Plan, count: int, quiet: bool
) -> list[Branch]:
    """`count` branches of every environment that has a turn long enough, the most hesitant episode's first; where it
    has fewer such episodes, they branch again."""
    network = load_weights(
        model.local, *resolve_device(model.name, args.get("dtype", "auto"), args.get("device", "auto"))
    )
    samples = {(task, sample.id): sample for task, chosen in plan.samples.items() for sample in chosen}
    found: dict[tuple[str, str], list[Branch]] = defaultdict(list)
    results = [one for one in run.read_results() if one.outcome != "infrastructure_error" and one.spoke]
    with ProgressBar("hesitation", quiet=quiet, leave=False) as progress:
        progress.begin("", len(results))
        for record in run.stream_records(results):
            place = record["task"], record["sample"]
            found[place] += most_hesitant(measure_turns(model, network, record, samples[place], plan.reasoning))
            progress.advance()
    return [branch for branches in found.values() for branch in deal_branches(branches, count)]


def deal_branches(found: Sequence[Branch], count: int) -> list[Branch]:
    """The branches of one environment, of the most hesitant turn of each of its episodes."""
    order = sorted(found, key=lambda one: (-one.entropy, one.parent_epoch))
    return [replace(order[number % len(order)], epoch=number) for number in range(count)] if order else []


def most_hesitant(turns: Iterator[Branch]) -> list[Branch]:
    """The turn of an episode with the highest entropy, the first of equal ones; none where none is long enough."""
    best = max(turns, key=lambda one: one.entropy, default=None)
    return [] if best is None else [best]


def measure_turns(
    model: HFModel, network: Any, record: Record, sample: Sample, reasoning: Reasoning
) -> Iterator[Branch]:
    """How much the network hesitated at each turn of an episode that is long enough."""
    messages = to_trajectory(record).messages
    for turn, place in enumerate(find_turns(messages, len(sample.messages))):
        ids = model.local.encode(messages[place].raw or "")[:MOST]
        request = ModelRequest(messages[:place], sample.tools, Sampling(), sample, turn=turn, reasoning=reasoning)
        row = to_row(model.local, request)
        if len(ids) >= LEAST and not isinstance(row, ModelFailure):
            entropy = mean_entropy(model.name, network, row.ids, ids)
            yield Branch(record["task"], sample.id, 0, record["epoch"], turn, entropy, len(ids))


def mean_entropy(name: str, network: Any, read: Sequence[int], written: Sequence[int]) -> float:
    """The mean entropy, in nats, of what may stand at each of some tokens that follow others. Raises UsageError where
    memory runs out."""
    import torch

    tokens = torch.tensor([[*read, *written]], device=network.device)
    try:
        with torch.inference_mode():
            logits = network(input_ids=tokens, use_cache=False, logits_to_keep=len(written) + 1).logits[0, :-1]
            shares = logits.float().log_softmax(dim=-1)
            return float(-(shares.exp() * shares).nansum(dim=-1).mean())
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    raise UsageError(f"{name}: out of memory for the entropies of a turn behind {len(read)} tokens.")


# --- the file ----------------------------------------------------------------------------------------------------


def read_branches(path: Path) -> list[Branch]:
    """Those of a file that was written here. Raises UsageError for another."""
    try:
        with disk.open_file(path, links=False) as file:
            found = [Branch(**jsonio.parse_json(line)) for line in disk.read_lines(file, path)]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is no file of branches: {error}.") from None
    for number, one in enumerate(found, start=1):
        if [type(value) for value in astuple(one)] != KINDS or not jsonio.is_number(one.entropy):
            raise UsageError(f"{path} is no file of branches: line {number} has a value of another kind.")
    return found


def check_branches(path: Path, branches: Sequence[Branch], plan: Plan, said: Said, count: int) -> None:
    """Raises UsageError where a branch leaves no turn of the run, and where an environment has not one of each epoch.
    Such branches would be episodes from the beginning, or none."""
    prompts = {(task, sample.id): len(sample.messages) for task, chosen in plan.samples.items() for sample in chosen}
    epochs = defaultdict[tuple[str, str], list[int]](list)
    for number, one in enumerate(branches, start=1):
        epochs[one.task, one.sample].append(one.epoch)
        prompt = prompts.get((one.task, one.sample), 0)
        messages = said.get((one.task, one.sample, one.parent_epoch), ())
        if not 0 <= one.turn < len(find_turns(messages, prompt)):
            raise UsageError(f"{path} was not made of this run: line {number} leaves a turn that nobody took.")
    if any(sorted(found) != list(range(count)) for found in epochs.values()):
        raise UsageError(f"{path} was not made of this run: an environment has not one branch of each epoch.")


# --- played ------------------------------------------------------------------------------------------------------


class BranchModel(BatchModel):
    """A network that first repeats what was said before a branch, and from there draws as its epoch says.

    `said` are the messages of the episodes that are left, by task, sample and epoch.
    """

    def __init__(self, network: HFModel, branches: Sequence[Branch], said: Said) -> None:
        self.name, self.width = network.name, network.width
        self.sampling_options = network.sampling_options
        digest = jsonio.digest([asdict(branch) for branch in branches])
        self.fingerprint = {**network.fingerprint, "branches": digest}
        self._network = network
        self._branches = {(one.task, one.sample, one.epoch): one for one in branches}
        self._said = said

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """As the network's."""
        return self._network.switch(reasoning)

    def close(self) -> None:
        """Lets go of the network's weights."""
        self._network.close()

    def batch(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure]:
        """One answer a request, in the same order."""
        repeated = [self._repeat(request) for request in requests]
        asked = [
            replace(request, epoch=FIRST_EPOCH + request.epoch)
            for request, answer in zip(requests, repeated, strict=True)
            if answer is None
        ]
        drawn = iter(self._network.batch(asked) if asked else ())
        answers = [next(drawn) if answer is None else answer for answer in repeated]
        return [self._marked(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _repeat(self, request: ModelRequest) -> Reply | ModelFailure | None:
        """What was said in this turn; None: the branch is reached."""
        branch = self._branch_of(request)
        said = self._said[branch.task, branch.sample, branch.parent_epoch]
        if request.turn > branch.turn:
            return None
        before, message = split_at_turn(said, len(request.sample.messages), request.turn)
        if [(one.role, one.content) for one in before] != [(one.role, one.content) for one in request.messages]:
            text = f"the tools of epoch {branch.parent_epoch} answered otherwise when its turns were repeated"
            return ModelFailure(text, outcome="infrastructure_error", stop="no_recording")
        return None if request.turn == branch.turn else Reply(message, Usage())

    def _marked(self, request: ModelRequest, answer: Reply | ModelFailure) -> Reply | ModelFailure:
        branch = self._branch_of(request)
        if request.turn != branch.turn or isinstance(answer, ModelFailure):
            return answer
        return replace(answer, note="; ".join(filter(None, (branch.note, answer.note))))

    def _branch_of(self, request: ModelRequest) -> Branch:
        return self._branches[request.task, request.sample.id, request.epoch]


def split_at_turn(messages: Sequence[Message], prompt: int, turn: int) -> tuple[Sequence[Message], Message]:
    """What stands before a model's turn behind a prompt of so many messages, and what it said."""
    place = find_turns(messages, prompt)[turn]
    return messages[:place], messages[place]


def find_turns(messages: Sequence[Message], prompt: int) -> list[int]:
    """Where a model's turns stand behind a prompt of so many messages."""
    return [place for place, message in enumerate(messages) if place >= prompt and message.role == "assistant"]


def read_parents(run: RunDirectory, branches: Sequence[Branch]) -> Said:
    """The messages of the episodes that these branches leave."""
    wanted = {(one.task, one.sample, one.parent_epoch) for one in branches}
    results = [one for one in run.read_results() if (one.task, one.sample, one.epoch) in wanted]
    return {
        (record["task"], record["sample"], record["epoch"]): to_trajectory(record).messages
        for record in run.stream_records(results)
    }


def restrict_plan(plan: Plan, branches: Sequence[Branch]) -> Plan:
    """The plan of the branches: the environments that have some, each as often as it has."""
    places = {(one.task, one.sample) for one in branches}
    samples = {name: [one for one in chosen if (name, one.id) in places] for name, chosen in plan.samples.items()}
    tasks = [task for task in plan.tasks if samples.get(task.name)]
    return replace(
        plan,
        tasks=tasks,
        samples={task.name: samples[task.name] for task in tasks},
        groups={},
        tables={},
        epochs=max(one.epoch for one in branches) + 1,
    )
