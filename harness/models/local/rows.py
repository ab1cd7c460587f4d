"""A request as a row of token ids, and what was generated after it as a reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data import jsonio
from harness.errors import ModelFailure
from harness.formats import parse_reply
from harness.models.local.prompting import Prompt
from harness.models.local.tokenizer import ModelTokenizer, cut_at_turn_end, reasoning_tokens
from harness.stops import StopReason
from harness.types import ModelRequest, Reply, Usage

OUT_OF_CONTEXT: StopReason = "context_length"


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt to continue: its token ids, how many new tokens it may have, and how they are drawn.

    `begun`: the last of its ids are the reply's first. `silent`: the reply is kept from calling. `note`: what the
    record is to say of the turn. All three are a gate's (harness/models/local/call_gate.py).
    """

    request: ModelRequest
    prompt: Prompt
    ids: tuple[int, ...]
    max_new_tokens: int
    begun: tuple[int, ...] = ()
    silent: bool = False
    note: str | None = None

    @property
    def seed(self) -> int:
        """For this turn of this episode alone, so that what is drawn does not depend on who is in the batch."""
        request = self.request
        return int(jsonio.digest([request.sampling.seed or 0, request.sample.id, request.epoch, request.turn])[:8], 16)


def to_row(local: ModelTokenizer, request: ModelRequest) -> PromptRow | ModelFailure:
    """A request as token ids. A prompt that leaves no room in the model's context is a token limit."""
    try:
        prompt = local.prompter.prompt(request)
    except ModelFailure as failure:
        return failure
    ids, context = local.encode(prompt.text), local.folder.context
    room = request.sampling.max_tokens if context is None else min(request.sampling.max_tokens, context - len(ids))
    if room < 1:
        text = f"the prompt has {len(ids)} tokens, and the model's context {context}"
        return ModelFailure(f"{local.folder.name}: {text}", outcome="token_limit", stop=OUT_OF_CONTEXT)
    return PromptRow(request, prompt, tuple(ids), room)


def to_reply(local: ModelTokenizer, row: PromptRow, generated: Sequence[int]) -> Reply:
    """New token ids, also with padding behind their end, as a reply. A row that never ended was cut: "length"."""
    ids, text, finished = cut_at_turn_end(local, [*row.begun, *generated[: row.max_new_tokens]])
    tools = [tool.name for tool in row.request.tools]
    message = parse_reply(local.format, text, row.request.turn, thinking=row.prompt.thinking, tools=tools)
    usage = Usage(len(row.ids), len(ids) - len(row.begun), reasoning_tokens(local, message), requests=1)
    return Reply(replace(message, raw=text), usage, "stop" if finished else "length", note=row.note)


def refuse_after_close(rows: Sequence[PromptRow]) -> list[list[int]]:
    """What continues rows after a model was closed."""
    raise ModelFailure("the model was closed", outcome="infrastructure_error", stop="closed")
