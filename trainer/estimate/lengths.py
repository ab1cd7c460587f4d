"""How long episodes are, in tokens: prompts as the model would read them, and what a player would say who makes the
gold calls one a turn.

Measured by the model's own tokenizer and template where they are at hand, else by characters. What tools print is not
known before they run: the sub-answer stands for it. Left out: reasoning, and calls in vain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from harness.models.local.tokenizer import ModelTokenizer
from harness.types import GoldCall, Message, ModelRequest, Sample, ToolCall
from trainer.prefixes import Prefix

CHARACTERS_A_TOKEN = 3.3
"""Characters of a prompt's messages and tools for each token of it, where no tokenizer is at hand: 3.1 to 3.5 by the
tokenizer of SmolLM2 and the template of Qwen3 on the tasks demo, micro and ftrl."""


@dataclass(frozen=True, slots=True)
class EpisodeLength:
    """Tokens of a prompt, of what is said in answer, and of what is read between turns; how many turns that takes."""

    prompt: int
    said: int
    read: int
    turns: int

    @property
    def whole(self) -> int:
        return self.prompt + self.said + self.read


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of several episodes: their means, and the most."""

    prompt: float
    said: float
    read: float
    longest_prompt: int
    longest_said: int
    longest_read: int
    longest: int
    measured: int

    @property
    def answered(self) -> float:
        """What follows the prompt."""
        return self.said + self.read


def summarise_lengths(found: Sequence[EpisodeLength], longest_prompt: int = 0) -> Lengths:
    """Means and maxima of at least one length; `longest_prompt`: what is known of prompts besides."""
    return Lengths(
        prompt=fmean(one.prompt for one in found),
        said=fmean(one.said for one in found),
        read=fmean(one.read for one in found),
        longest_prompt=max(longest_prompt, *(one.prompt for one in found)),
        longest_said=max(one.said for one in found),
        longest_read=max(one.read for one in found),
        longest=max(one.whole for one in found),
        measured=len(found),
    )


def measure_episode(request: ModelRequest, local: ModelTokenizer | None) -> EpisodeLength:
    """An episode that begins with a request, played by its gold calls and ended by its answer."""
    calls, answer = _gold_turns(request.sample), f"Answer: {request.sample.gold.answer or ''}"
    prompt = _count_prompt(request, local)
    ended = replace(request, messages=[*request.messages, *_play(request.sample, calls)])
    final = _count(answer, local) + 1  # the token that ends a turn
    said = sum(_count(_write(call), local) + 1 for call in calls) + final
    whole = _count_prompt(ended, local) + final
    return EpisodeLength(prompt, said, max(0, whole - prompt - said), len(calls) + 1)


def _count_prompt(request: ModelRequest, local: ModelTokenizer | None) -> int:
    if local is not None:
        return len(local.encode(local.prompter.prompt(request).text))
    shown = Prefix(request.task, request.sample, tuple(request.messages), {})
    return round(shown.characters / CHARACTERS_A_TOKEN)


def _count(text: str, local: ModelTokenizer | None) -> int:
    return round(len(text) / CHARACTERS_A_TOKEN) if local is None else len(local.encode(text))


def _write(call: GoldCall) -> str:
    return f'<tool_call>\n{{"name": "{call.name}", "arguments": {_arguments(call)}}}\n</tool_call>'


def _arguments(call: GoldCall) -> str:
    return json.dumps(call.arguments, ensure_ascii=False)


def _gold_turns(sample: Sample) -> Sequence[GoldCall]:
    """The gold calls; where there are none, a call without arguments for each sub-answer."""
    if sample.gold.calls:
        return sample.gold.calls
    return [GoldCall(name, {}) for name, answers in sample.gold.sub_answers.items() for _ in answers]


def _play(sample: Sample, calls: Iterable[GoldCall]) -> Iterable[Message]:
    left = {name: list(answers) for name, answers in sample.gold.sub_answers.items()}
    for turn, call in enumerate(calls):
        printed = left[call.name].pop(0) if left.get(call.name) else ""
        known = ToolCall(f"call_{turn}", call.name, call.arguments, _arguments(call))
        yield Message("assistant", tool_calls=(known,))
        yield Message("tool", json.dumps({"value": printed}), tool_call_id=known.id)


def measure_turn(request: ModelRequest, local: ModelTokenizer | None) -> EpisodeLength:
    """A single turn that answers a request: as long as a gold turn of the sample is on average."""
    whole = measure_episode(request, local)
    return EpisodeLength(whole.prompt, whole.said // whole.turns, 0, 1)


def cut_anywhere(episode: EpisodeLength) -> EpisodeLength:
    """A turn whose prompt is an episode cut after any of its turns, on average."""
    return EpisodeLength(episode.prompt + (episode.said + episode.read) // 2, episode.said // episode.turns, 0, 1)
