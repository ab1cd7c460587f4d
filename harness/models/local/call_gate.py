"""Whether an episode's first turn calls, decided by a probe of the network's own states (MeCo, arXiv 2502.12961).

    harness eval --model hf/PATH --model-arg probe=FILE --tasks 'when_*'

`harness probe` writes FILE: a linear probe and two thresholds. A score above the upper one begins a call, in the
model's own format, and the network goes on from there; below the lower one no token is taken after which the reply
would hold a call, well-formed or not; between them the network does as it likes. docs/decisions.md

A probe reads where it was made: behind the prompt, before the network speaks; or behind its reasoning. There the reply
is written first, and written again from the reasoning's end only where it does otherwise than was decided.

Left out: later turns, and sharing what was read for the score with what is read for the reply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness.errors import ModelFailure, UsageError
from harness.formats.parsing import BLOCKS
from harness.models.local.probe import Probe, read_last_states, read_probe
from harness.models.local.prompting import OPEN_REASONING
from harness.models.local.rows import OUT_OF_CONTEXT, PromptRow, count_reasoning, to_reply
from harness.models.local.tokenizer import ModelTokenizer
from harness.types import Reasoning, ToolCall

ARGS = ("probe", "probe_high", "probe_low")
PLACED = ("device", "dtype")
"""What a model's fingerprint says of where it runs: a probe of the same weights fits another device and precision."""
NAME = "@"
"""Stands for a tool's name where a call is written; no format's marks have it."""


@dataclass(frozen=True, slots=True)
class CallGate:
    """A probe and its thresholds: above `high` a call is begun, below `low` none is made; None: never.

    `path` is the file it was read from, for errors, and `digest` that of the file's bytes.
    """

    probe: Probe
    low: float | None
    high: float | None
    path: Path
    digest: str

    @property
    def identity(self) -> dict[str, object]:
        """What it adds to the fingerprint of a model."""
        return {"probe": self.digest, "probe_low": self.low, "probe_high": self.high}

    def at(self, local: ModelTokenizer, load: Callable[[], Any]) -> NetworkGate:
        """The gate of a network that `load` gives."""
        return NetworkGate(self, local, load)


@dataclass(frozen=True, slots=True)
class NetworkGate:
    """A gate at the network whose calls it decides."""

    gate: CallGate
    local: ModelTokenizer
    load: Callable[[], Any]

    def check_reasoning(self, reasoning: Reasoning) -> None:
        """Raises UsageError where the probe was made of other prompts."""
        if (asked := reasoning.label) != (made := self.gate.probe.reasoning):
            raise UsageError(f"The probe {self.gate.path} was made with reasoning {made}, and this run has {asked}.")

    def decide(self, row: PromptRow) -> PromptRow | ModelFailure:
        """The row as it is to be continued: the first turn of an episode with tools is decided, others are left.

        Raises UsageError for a network or a prompt that the probe was not made for.
        """
        self.check_reasoning(row.request.reasoning)
        if self.gate.probe.after != "prompt" or not is_first(row):
            return row
        wanted, note = self._judge(row.ids)
        decided = replace(row, note=note, silent=wanted is False)
        return begin_call(self.local, decided) if wanted else decided

    def revise(self, row: PromptRow, generated: Sequence[int]) -> PromptRow:
        """The row whose reply was `generated`, with what was decided behind its reasoning. It is to be continued `anew`
        where its reply does otherwise. Raises UsageError as `decide` does."""
        if self.gate.probe.after != "reasoning" or not is_first(row):
            return row
        count = count_reasoning(self.local, row, generated)
        if count is None:
            return replace(row, note="its reasoning has no end that a probe could read: left to the model")
        thought = tuple(generated[:count])
        ids, room = (*row.ids, *thought), row.max_new_tokens - count
        wanted, note = self._judge(ids)
        if wanted is None:
            return replace(row, note=note)
        if wanted == bool(to_reply(self.local, row, generated).message.tool_calls):
            return replace(row, note=f"{note}, as the model does")
        there = replace(row, ids=ids, max_new_tokens=room, begun=thought, thought=count, anew=True, note=note)
        if not wanted:
            return replace(there, silent=True)
        begun = begin_call(self.local, there)
        if isinstance(begun, ModelFailure):
            return replace(row, note=f"{note}, for which there is no room: left to the model")
        return begun

    def _judge(self, ids: Sequence[int]) -> tuple[bool | None, str]:
        """Whether what was read is to be followed by a call (None: as the model likes), and what the record says."""
        score, low, high = self.score(ids), self.gate.low, self.gate.high
        said = f"probe score {score:.4f}"
        if high is not None and score > high:
            return True, f"{said}, above {high:g}: a call is begun"
        if low is not None and score < low:
            return False, f"{said}, below {low:g}: no call"
        return None, f"{said}: left to the model"

    def score(self, ids: Sequence[int]) -> float:
        """What the probe says of the last of some tokens."""
        path, probe = self.gate.path, self.gate.probe
        states = read_last_states(self.load(), ids)
        if probe.layer >= len(states) or len(probe.mean) != states.shape[1]:
            layers, size = states.shape
            raise UsageError(f"The probe {path} does not fit a network of {layers - 1} layers of size {size}.")
        if not math.isfinite(score := probe.score(states)):
            raise UsageError(f"The probe {path} gives no number; try --model-arg dtype=float32.")
        return score


def is_first(row: PromptRow) -> bool:
    """Whether a row is of a turn that a probe decides: the first, with tools."""
    return row.request.turn == 0 and bool(row.request.tools)


def read_gate(local: ModelTokenizer, args: Mapping[str, str]) -> CallGate | None:
    """The gate that --model-arg asks for; None: it asks for none. Raises UsageError for a file that is no probe of this
    model, and for thresholds that decide nothing."""
    if "probe" not in args:
        if stray := [name for name in ARGS if name in args]:
            raise UsageError(f"--model-arg {stray[0]} is a threshold of a probe: name it with probe=FILE.")
        return None
    path = Path(args["probe"])
    probe, digest = read_probe(path)
    check_same_model(local, path, probe)
    low, high = read_threshold(args, "probe_low", probe.low), read_threshold(args, "probe_high", probe.high)
    if low is None and high is None:
        raise UsageError(
            f"The probe {path} has no thresholds, because it told too little: give probe_low=X or probe_high=X."
        )
    if low is not None and high is not None and low > high:
        raise UsageError(f"--model-arg probe_low={low:g} is above probe_high={high:g}.")
    return CallGate(probe, low, high, path, digest)


def check_same_model(local: ModelTokenizer, path: Path, probe: Probe) -> None:
    """Raises UsageError where the probe was learnt from other weights, another template or another format."""
    ours = {"backend": "hf", **local.identity()}
    theirs = {key: value for key, value in probe.fingerprint.items() if key not in PLACED}
    if differ := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
        raise UsageError(
            f"The probe {path} was made of another model than {local.folder.name} ({', '.join(differ)} differ); "
            "`harness probe` makes one of this."
        )


def read_threshold(args: Mapping[str, str], name: str, default: float | None) -> float | None:
    """A threshold that a person gives, else the file's. Raises UsageError for what is no number."""
    if name not in args:
        return default
    try:
        value = float(args[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--model-arg {name}={args[name]!r} is no number.")
    return value


# --- a call is begun ---------------------------------------------------------------------------------------------


def begin_call(local: ModelTokenizer, row: PromptRow) -> PromptRow | ModelFailure:
    """The row with the beginning of a call behind its prompt; reasoning that the prompt opened is closed first."""
    opened = None if row.anew else OPEN_REASONING.search(row.prompt.text)
    closed = local.encode(f"{BLOCKS[opened[1]]}\n\n") if opened else []
    begun = (*closed, *first_tokens(local, [tool.name for tool in row.request.tools]))
    if row.max_new_tokens <= len(begun):
        text = f"a call begins with {len(begun)} tokens, and the reply may have {row.max_new_tokens}"
        return ModelFailure(f"{local.folder.name}: {text}", outcome="token_limit", stop=OUT_OF_CONTEXT)
    room = row.max_new_tokens - len(begun)
    return replace(row, ids=(*row.ids, *begun), begun=(*row.begun, *begun), max_new_tokens=room)


def first_tokens(local: ModelTokenizer, names: Sequence[str]) -> list[int]:
    """The tokens with which a call of any of these tools begins, before its name.

    A tokenizer may join what stands before a name with its first letters. So only tokens count that the calls of all
    these tools share; where there are none, the beginning is split on its own.
    """
    text = write_call(local, NAME).partition(NAME)[0]
    calls = zip(*(local.encode(write_call(local, name)) for name in names), strict=False)
    shared = [tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, calls)]
    while not text.startswith(local.decode(shared)):
        shared.pop()
    return shared or local.encode(text)


def write_call(local: ModelTokenizer, name: str) -> str:
    return local.format.render([ToolCall("", name, {}, "{}")])


# --- no call is made ---------------------------------------------------------------------------------------------


class CallBan:
    """Keeps silent rows from calling: a token is not taken after which the reply, as it is read, would hold a call.

    The reader decides, so it holds for every format and however a tokenizer splits it; calls within reasoning are none.
    It comes last: what is the greatest score is what will be taken. Where nothing is left, the turn ends.
    """

    def __init__(self, local: ModelTokenizer, rows: Sequence[PromptRow]) -> None:
        self._local = local
        self._rows = list(rows)
        self._longest = max(len(row.ids) for row in rows)

    @property
    def any(self) -> bool:
        """Whether any row is silent."""
        return any(row.silent for row in self._rows)

    def select(self, places: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        self._rows = [self._rows[place] for place in places]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary) in which every silent row's greatest makes no call."""
        scores = scores.clone()
        for place, row in enumerate(self._rows):
            if row.silent:
                self._ban(row, input_ids[place, self._longest :].tolist(), scores[place])
        return scores

    def _ban(self, row: PromptRow, written: Sequence[int], scores: Any) -> None:
        best = int(scores.argmax())
        while to_reply(self._local, row, [*written, best]).message.tool_calls:
            scores[best] = -math.inf
            best = int(scores.argmax())
            if scores[best] == -math.inf:
                scores[list(self._local.end_token_ids)] = 0.0
                return
