"""Pairs as tokens: each attempt as the model read and said it, word by word.

What it said is the text that it generated, which records of local models keep (`raw`); a text made anew from its calls
would be none of its own, and what is learnt from pairs is which of one's own texts to prefer. Left out: attempts whose
earlier turns the template shows otherwise than they were said, and those that are longer than the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.data import jsonio
from harness.data.messages import message_from_json
from harness.errors import UsageError
from harness.models.local.tokenizer import ModelTokenizer
from harness.types import Gold, JSONObject, Message, ModelRequest, Reasoning, Sample, Sampling, Tool
from trainer.sft.network import IGNORE_INDEX

SIDES = ("chosen", "rejected")


def encode_pairs(rows: Iterable[Mapping[str, Any]], local: ModelTokenizer, reasoning: Reasoning) -> list[JSONObject]:
    """Each pair as `chosen_ids`, `chosen_labels` and the same of `rejected`; only what the model said has labels.

    Raises UsageError where the model's own texts are not there, and where no pair can be shown.
    """
    encoded = []
    for row in rows:
        functions = [tool["function"] for tool in jsonio.parse_json(row["tools"])]
        tools = [Tool(one["name"], one.get("description", ""), one.get("parameters", {})) for one in functions]
        both = {}
        for side in SIDES:
            messages = [message_from_json(message) for message in (*row["prompt"], *row[side])]
            cut = row[f"{side}_from"]["outcome"] == "token_limit"
            both[side] = _encode(messages, tools, cut, local, reasoning)
        if all(both.values()):
            encoded.append({f"{side}_{name}": ids for side, found in both.items() for name, ids in found.items()})
    if not encoded:
        raise UsageError(f"None of the pairs can be shown to {local.folder.name} as it said them.")
    return encoded


def _encode(
    messages: Sequence[Message], tools: Sequence[Tool], cut: bool, local: ModelTokenizer, reasoning: Reasoning
) -> dict[str, list[int]]:
    """An attempt's ids and labels; nothing where it cannot be shown. `cut`: its last turn never ended."""
    ids: list[int] = []
    labels: list[int] = []
    so_far = ""
    sample = Sample("", tuple(messages[:1]), tuple(tools), {}, Gold({}))
    end = local.decode([local.end_token_ids[0]])
    turns = [index for index, message in enumerate(messages) if message.role == "assistant"]
    for index in turns:
        said = messages[index].raw
        if said is None:
            raise UsageError("These pairs have no texts as the model generated them: collect with hf/ or bundled/.")
        request = ModelRequest(list(messages[:index]), tools, Sampling(), sample, reasoning=reasoning)
        prompt = local.prompter.prompt(request).text
        if not prompt.startswith(so_far):
            return {}
        read = local.encode(prompt[len(so_far) :])
        spoken = local.encode(said + ("" if cut and index == turns[-1] else end))
        ids += read + spoken
        labels += [IGNORE_INDEX] * len(read) + spoken
        so_far = prompt + said + end
    return {"ids": ids, "labels": labels} if len(ids) <= (local.folder.context or 10**9) else {}
