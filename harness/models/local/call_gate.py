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
from harness.types import ToolCall

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

    def decide(self, local: ModelTokenizer, load: Callable[[], Any], row: PromptRow) -> PromptRow | ModelFailure:
        """The row as it is to be continued: the first turn of an episode with tools is decided, others are left.

        Raises UsageError for a network or a prompt that the probe was not made for.
        """
        if self.probe.after != "prompt" or row.request.turn or not row.request.tools:
            return row
        return self._decide(local, load, row)

    def revise(
        self, local: ModelTokenizer, load: Callable[[], Any], row: PromptRow, generated: Sequence[int]
    ) -> PromptRow | ModelFailure:
        """The row whose reply was `generated`, with what was decided behind its reasoning. It is to be continued anew
        where it is `silent` or `begun`: its reply does otherwise. Raises UsageError as `decide` does."""
        if self.probe.after != "reasoning" or row.request.turn or not row.request.tools:
            return row
        count = count_reasoning(local, row, generated)
        if count is None:
            return replace(row, note="its reasoning has no end that a probe could read: left to the model")
        thought = tuple(generated[:count])
        there = replace(
            row,
            ids=(*row.ids, *thought),
            max_new_tokens=row.max_new_tokens - count,
            begun=thought,
            thought=count,
        )
        wanted = self._decide(local, load, there)
        if isinstance(wanted, ModelFailure):
            return wanted
        calls, begins = to_reply(local, row, generated).message.tool_calls, len(wanted.begun) > count
        if calls if wanted.silent else begins and not calls:
            return wanted
        return replace(row, note=f"{wanted.note}, as the model does" if begins or wanted.silent else wanted.note)

    def _decide(self, local: ModelTokenizer, load: Callable[[], Any], row: PromptRow) -> PromptRow | ModelFailure:
        score = self.score(load, row)
        said = f"probe score {score:.4f}"
        if self.high is not None and score > self.high:
            return begin_call(local, replace(row, note=f"{said}, above {self.high:g}: a call is begun"))
        if self.low is not None and score < self.low:
            return replace(row, silent=True, note=f"{said}, below {self.low:g}: no call")
        return replace(row, note=f"{said}: left to the model")

    def score(self, load: Callable[[], Any], row: PromptRow) -> float:
        """What the probe says of a prompt; `load` gives the network."""
        if (asked := row.request.reasoning.label) != self.probe.reasoning:
            raise UsageError(
                f"The probe {self.path} was made with reasoning {self.probe.reasoning}, and this run has {asked}."
            )
        states = read_last_states(load(), row.ids)
        if self.probe.layer >= len(states) or len(self.probe.mean) != states.shape[1]:
            layers, size = states.shape
            raise UsageError(f"The probe {self.path} does not fit a network of {layers - 1} layers of size {size}.")
        if not math.isfinite(score := self.probe.score(states)):
            raise UsageError(f"The probe {self.path} gives no number; try --model-arg dtype=float32.")
        return score


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
    opened = None if row.thought else OPEN_REASONING.search(row.prompt.text)
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
