"""A request as a row of token ids, and what was generated after it as a reply."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data import jsonio
from harness.errors import ModelFailure
from harness.formats import parse_reply
from harness.formats.parsing import find_reasoning_end
from harness.models.local.prompting import Prompt
from harness.models.local.tokenizer import ModelTokenizer, cut_at_turn_end, reasoning_tokens
from harness.stops import StopReason
from harness.types import ModelRequest, Reply, Usage

OUT_OF_CONTEXT: StopReason = "context_length"


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt to continue: its token ids, how many new tokens it may have, and how they are drawn.

    `begun`: the last of its ids are the reply's first; `thought`: so many of these the network wrote itself. `anew`: it
    has written a reply before, of which only that counts. `silent`: the reply is kept from calling. `note`: what the
    record is to say of the turn. All of these are a gate's (harness/models/local/call_gate.py), but for a reply that is
    gone on with (resume_row), of which so many of its ids were `drawn` by its seed.
    """

    request: ModelRequest
    prompt: Prompt
    ids: tuple[int, ...]
    max_new_tokens: int
    begun: tuple[int, ...] = ()
    thought: int = 0
    anew: bool = False
    silent: bool = False
    note: str | None = None
    drawn: int = 0

    @property
    def seed(self) -> int:
        """For this turn of this episode alone, so that what is drawn does not depend on who is in the batch; another
        for a reply that is written anew."""
        request, again = self.request, ["anew"] if self.anew else []
        drawn_for = [request.sampling.seed or 0, request.sample.id, request.epoch, request.turn, *again]
        return int(jsonio.digest(drawn_for)[:8], 16)

    @property
    def written(self) -> tuple[int, ...]:
        """What the network wrote of its ids."""
        return self.begun[: self.thought]


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


def resume_row(row: PromptRow, generated: Sequence[int]) -> PromptRow:
    """The rest of a row that has so much of its reply, all of which the network wrote; it may be interrupted again."""
    written = tuple(generated)
    return replace(
        row,
        ids=(*row.ids, *written),
        max_new_tokens=row.max_new_tokens - len(written),
        begun=(*row.begun, *written),
        thought=row.thought + len(written),
        drawn=row.drawn + len(written),
    )


def to_reply(local: ModelTokenizer, row: PromptRow, generated: Sequence[int]) -> Reply:
    """New token ids, also with padding behind their end, as a reply. A row that never ended was cut: "length"."""
    ids, text, finished = cut_at_turn_end(local, [*row.begun, *generated[: row.max_new_tokens]])
    tools = [tool.name for tool in row.request.tools]
    message = parse_reply(local.format, text, row.request.turn, thinking=row.prompt.thinking, tools=tools)
    read, given = len(row.ids) - row.thought, len(row.begun) - row.thought
    usage = Usage(read, len(ids) - given, reasoning_tokens(local, message), requests=1)
    return Reply(replace(message, raw=text), usage, "stop" if finished else "length", note=row.note)


def count_reasoning(local: ModelTokenizer, row: PromptRow, generated: Sequence[int]) -> int | None:
    """How many of a reply's tokens come before what it says: its reasoning, and the space behind that. 0: it does not
    reason. None: its reasoning is not at its beginning, or does not end, or within a token that also says something."""
    ids, text, finished = cut_at_turn_end(local, generated[: row.max_new_tokens])
    closed, end = find_reasoning_end(text, row.prompt.thinking)
    if closed is None:
        return None
    if closed == 0:
        return None if to_reply(local, row, generated).message.reasoning else 0
    most = (
        bisect.bisect_right(range(len(ids) - finished + 1), end, key=lambda count: len(local.decode(ids[:count]))) - 1
    )
    return most if len(local.decode(ids[:most])) >= closed else None


def refuse_after_close(rows: Sequence[PromptRow]) -> list[list[int]]:
    """What continues rows after a model was closed."""
    raise ModelFailure("the model was closed", outcome="infrastructure_error", stop="closed")
