"""Demonstrations as a chat model would play them: rendered by its own template, in its own format of calls.

For every turn there is the prompt that the model would read, as in an evaluation, and what it is to say, up to the
token that ends its turn. A turn goes on in the row of the turn before where the template leaves that as it was; where
it rewrites earlier turns, the turn begins a row of its own, so that nothing is learnt after a prompt that no evaluation
shows. Prompts and turns are encoded apart, so that tokens are those that the model generates from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import ModelFailure, UsageError
from harness.formats import parse_reply
from harness.formats.plain import write_turn
from harness.models.local.prompting import Prompt, Prompter, with_reasoning_history
from harness.models.local.tokenizer import ModelTokenizer, make_renderer
from harness.types import (
    Gold,
    JSONObject,
    Message,
    ModelRequest,
    Reasoning,
    Sample,
    Sampling,
    Tool,
    ToolCall,
    Trajectory,
    Usage,
)
from trainer.sft.network import IGNORE_INDEX

Piece = tuple[str, bool]
"""A text, and whether the model says it."""

CALL = ToolCall("call_0_0", "look", {"at": "it"}, '{"at": "it"}')
LOOK = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})


@dataclass(frozen=True, slots=True)
class SpokenTurns:
    """Writes episodes as rows of a model."""

    local: ModelTokenizer

    def encode_episode(self, sample: Sample, trajectory: Trajectory) -> list[JSONObject]:
        """An episode as rows of input_ids and labels; only what the model says has labels.

        Raises UsageError where what is to be said would not be read as it is meant.
        """
        return [self._encode(row) for row in self.write_rows(sample, trajectory)]

    def write_rows(self, sample: Sample, trajectory: Trajectory) -> list[list[Piece]]:
        """An episode as texts: rows of what is read and what is said, in turn."""
        messages = trajectory.messages
        reasoning = self.reasoning(any(message.reasoning for message in messages))
        rows: list[list[Piece]] = []
        so_far = ""
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = list(messages[:index])
            request = ModelRequest(before, sample.tools, Sampling(), sample, reasoning=reasoning)
            prompt = self.local.prompter.prompt(request)
            said = self._said(request, prompt, message)
            goes_on = bool(so_far) and prompt.text.startswith(so_far)
            if not goes_on:
                rows.append([])
            rows[-1] += [(prompt.text[len(so_far) if goes_on else 0 :], False), (said, True)]
            so_far = prompt.text + said
        return rows

    def reasoning(self, thinks: bool) -> Reasoning:
        """What the template is told. Raises UsageError where it has no switch and is to think."""
        try:
            asked = Reasoning("on" if thinks else "off")
            self.local.prompter.switch(asked)
            return asked
        except UsageError:
            if thinks:
                raise
            return Reasoning()

    def check(self, thinks: bool) -> None:
        """Raises UsageError, in one sentence, where a small conversation cannot be demonstrated to this model."""
        for thought in (None, "I look.") if thinks else (None,):
            spoken = Message("assistant", reasoning=thought, tool_calls=(CALL,))
            seen = Message("tool", "seen", tool_call_id=CALL.id)
            talk = (Message("user", "Look."), spoken, seen, Message("assistant", "Answer: 5", reasoning=thought))
            sample = Sample("", talk[:1], (LOOK,), {}, Gold({}))
            try:
                self.write_rows(sample, Trajectory(talk, (), 2, "ok", "no_tool_calls", Usage(), {}))
            except ModelFailure as failure:
                raise UsageError(str(failure)) from None

    # --- a turn --------------------------------------------------------------------------------------------------

    def _said(self, request: ModelRequest, prompt: Prompt, message: Message) -> str:
        """What the model is to say after a prompt: as its template shows it, or else as its format writes it."""
        found = [said for said in (self._shown(request, prompt, message), self._written(prompt, message)) if said]
        for said in found:
            if self._reads(said, request, prompt, message):
                return said
        raise UsageError(
            f"{self.local.folder.name}: neither its chat template nor the format {self.local.format.name} writes a "
            "turn that would be read as it is meant; give another with --model-arg chat_template=FILE or format=NAME."
        )

    def _shown(self, request: ModelRequest, prompt: Prompt, message: Message) -> str:
        """What the template makes of the turn behind the prompt; "" where it shows it otherwise."""
        plain = replace(message, raw=None)
        history = [*with_reasoning_history(request.messages, request.reasoning), plain]
        closed = self._closed.write(history, request.tools, self.local.prompter.switch(request.reasoning)).text
        if not closed.startswith(prompt.text):
            return ""
        said = closed[len(prompt.text) :]
        ends = [place + len(end) for end in self._ends if (place := said.rfind(end)) >= 0]
        return said[: max(ends)] if ends else ""

    def _written(self, prompt: Prompt, message: Message) -> str:
        """The turn as reasoning between its marks, text and calls."""
        said = write_turn(replace(message, raw=None), self.local.format.render).content
        thought = message.reasoning or ""
        if prompt.thinking:
            said = f"{thought}\n</think>\n\n{said}"
        elif thought:
            said = f"<think>\n{thought}\n</think>\n\n{said}"
        return said + self.local.decode([self.local.tokenizer.eos_token_id])

    def _reads(self, said: str, request: ModelRequest, prompt: Prompt, message: Message) -> bool:
        """Whether an evaluation would read what is meant."""
        text = next((said.removesuffix(end) for end in self._ends if said.endswith(end)), said)
        tools = [tool.name for tool in request.tools]
        read = parse_reply(self.local.format, text, request.turn, thinking=prompt.thinking, tools=tools)
        calls = [[(call.name, call.arguments) for call in one.tool_calls] for one in (read, message)]
        thought = (message.reasoning or "").strip() == (read.reasoning or "").strip()
        return calls[0] == calls[1] and read.content.strip() == message.content.strip() and thought

    @property
    def _closed(self) -> Prompter:
        prompter = self.local.prompter
        return replace(prompter, render=make_renderer(self.local.tokenizer, prompter.template, opens=False))

    @property
    def _ends(self) -> list[str]:
        return [text for token in self.local.end_token_ids if (text := self.local.decode([token]))]

    def _encode(self, row: Sequence[Piece]) -> JSONObject:
        ids: list[int] = []
        labels: list[int] = []
        for text, says in row:
            encoded = self.local.encode(text)
            ids += encoded
            labels += encoded if says else [IGNORE_INDEX] * len(encoded)
        return {"input_ids": ids, "labels": labels}
