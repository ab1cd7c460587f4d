"""A chat model's reply as the text that lm-eval scores.

lm-eval's generative tasks were written for networks that continue a text. Such a text ends at the first of the task's
stop strings; and where a task puts the beginning of the answer into the network's mouth (HumanEval, MBPP: "...here it
is: ```python"), it goes on from there. A chat model is asked without that beginning, because endpoints do not
continue a turn: what it writes up to and including the line that opens its first block of code stands for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data import jsonio
from harness.scoring.answer import final_text
from harness.types import Message, Trajectory

FENCE = re.compile(r"```[^\n`]*\n")


def continuation(trajectory: Trajectory, until: Sequence[str], begun: bool) -> str:
    """What lm-eval is given of an episode; "" where the model said nothing. `begun`: the task began the answer.

    Code that follows an opened block is not cut at stop strings: they are meant for what comes after a function, and
    here a line of code may begin with one. Its closing fence stays, for lm-eval's own filter to find.
    """
    text = final_text(trajectory) or ""
    if begun and (opened := FENCE.search(text)):
        return "\n" + text[opened.end() :]
    ends = [place for stop in until if stop and (place := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def stop_strings(generation: Mapping[str, Any] | None) -> list[str]:
    """The stop strings of a task's generation_kwargs."""
    until = (generation or {}).get("until") or []
    return [until] if isinstance(until, str) else [str(stop) for stop in until]


# --- prompts -----------------------------------------------------------------------------------------------------


def write_chat(turns: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    """lm-eval's `apply_chat_template`: the turns themselves, as JSON."""
    return json.dumps(list(turns), ensure_ascii=False)


def read_chat(prompt: str) -> tuple[tuple[Message, ...], bool]:
    """The messages of a prompt, and whether the task began the answer. A prompt that is plain text is one message."""
    try:
        turns = jsonio.parse_json(prompt)
        messages = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    except (ValueError, TypeError, KeyError):
        messages = ()
    if not messages:
        return (Message("user", prompt),), False
    begun = messages[-1].role == "assistant"
    return (messages[:-1] if begun else messages), begun
