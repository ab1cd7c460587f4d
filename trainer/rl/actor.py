"""The network in training as a player of episodes: the exact tokens of every turn, and what stood between the turns.

It speaks through the shared rollout (harness.rollout, harness.batching), and trainer.rl.players says who continues its
rows. What it adds are the tokens of each live episode: the prompt's ids, the ids that were sampled, and the ids of what
the template and the tools put between, which no gradient is taken on. Sampled ids are never encoded again from their
text.

What stands between two turns is read off the chat template: the conversation up to the turn, and the conversation with
the tools' outputs, must begin alike. Where a template rewrites earlier turns, TRL's variant of it for training is used
if it has one; if not, whole episodes are refused. A turn that the network spelled otherwise than the template would
(two spaces in its JSON, say) stays as sampled here and is respelled in an evaluation; `rewritten` counts such turns.

Left out: formats that end a turn by a stop string.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from harness.batching import UNFINISHED, BatchModel, Unfinished, play_all
from harness.errors import HarnessError, ModelFailure, UsageError
from harness.models.local.hf import Generate, generate_rows, is_done, is_out_of_memory, release_memory
from harness.models.local.prompting import Prompt
from harness.models.local.rows import OUT_OF_CONTEXT, PromptRow, resume_row, to_reply
from harness.models.local.tokenizer import ModelTokenizer, cut_at_turn_end, make_renderer
from harness.rollout import Episode, play_episode_async
from harness.sandbox import Sandbox
from harness.types import (
    Gold,
    JSONObject,
    Limits,
    Message,
    Model,
    ModelRequest,
    Reasoning,
    Reply,
    Sample,
    Sampling,
    Task,
    Tool,
    ToolCall,
    Trajectory,
)
from trainer.precision import compute_in

log = logging.getLogger(__name__)

NOT_GENERATED = -1
"""The turn of a token that the network did not generate."""

Key = tuple[str, str, int]
"""Task, sample, epoch: one live episode."""


@dataclass(slots=True)
class EpisodeTokens:
    """The tokens of an episode. `turns` has, for every token after the prompt, the turn that generated it or
    NOT_GENERATED.

    logprobs   with what log-probability each of them was drawn, as its sampler says; 0 where it says nothing, and for
               what was not generated; None where it could not tell
    ended      the last turn generated the token that ends it
    rewritten  turns that the template spells otherwise than they were generated
    thinking   the prompt opened a block of reasoning
    """

    prompt: list[int]
    ids: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    ended: bool = False
    rewritten: int = 0
    thinking: bool = False

    def add(self, ids: Sequence[int], turn: int, logprobs: Sequence[float | None] = ()) -> None:
        """Tokens of one turn; `logprobs` has one for each of `ids`, or more, which are of tokens that were cut off."""
        self.ids += ids
        self.turns += [turn] * len(ids)
        self.logprobs += logprobs[: len(ids)] or [0.0] * len(ids)

    @property
    def loss_mask(self) -> list[int]:
        """1 for the tokens that a gradient is taken on, those that the network sampled; 0 for the rest."""
        return [int(turn != NOT_GENERATED) for turn in self.turns]


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to play: the `epoch`-th sample of an environment."""

    task: Task
    sample: Sample
    epoch: int

    @property
    def key(self) -> Key:
        return self.task.name, self.sample.id, self.epoch


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How episodes of a batch are played."""

    sampling: Sampling
    limits: Limits
    reasoning: Reasoning


@dataclass(frozen=True, slots=True)
class Continuation:
    """New tokens of a row, what follows its end included, and with what log-probability each was drawn; () where the
    sampler does not say. Not `finished`: there is more to come, if it is asked for."""

    ids: Sequence[int]
    logprobs: Sequence[float | None] = ()
    finished: bool = True


class Continue(Protocol):
    """Continues rows together, in the same order: the network itself, or an engine that has its weights
    (trainer.rl.players)."""

    def __call__(self, rows: Sequence[PromptRow], pauses: bool = False) -> list[Continuation]:
        """With `pauses` it may stop when half of the rows are finished."""


def only_ids(continue_rows: Continue) -> Generate:
    """The same for who asks for the tokens alone."""
    return lambda rows: [list(one.ids) for one in continue_rows(rows)]


class NetworkGenerator:
    """Continues rows with a network as it is now, in the precision that it is trained in.

    At most `width` rows go together. What was read of an episode is kept for its next turn, of `kept` episodes. It is
    of these weights: whoever changes them makes another generator. Where memory runs out, that is let go, and rows go
    in smaller batches for the rest of its life.
    """

    def __init__(self, local: ModelTokenizer, network: Any, dtype: str, width: int, kept: int) -> None:
        from harness.models.local import kv_cache  # it imports torch, which the base install lacks

        self._local = local
        self._network = network
        self._dtype = dtype
        self._memory = kv_cache.PrefixCache(kept if kv_cache.has_token_cache(network) else 0)
        self._size = width

    def __call__(self, rows: Sequence[PromptRow], pauses: bool = False) -> list[Continuation]:
        """Raises what the network raises, for a row alone."""
        found: list[list[int]] = []
        while len(found) < len(rows):
            some = rows[len(found) : len(found) + self._size]
            found += self._together(some, pauses) or []
        finished = [not pauses or is_done(self._local, row, ids) for row, ids in zip(rows, found, strict=True)]
        return [Continuation(ids, (), done) for ids, done in zip(found, finished, strict=True)]

    def _together(self, rows: Sequence[PromptRow], pauses: bool) -> list[list[int]] | None:
        """None: memory ran out, and the next try needs less."""
        try:
            # Here and not around a whole rollout: autocast belongs to a thread, and models speak in one of their own.
            with compute_in(self._dtype, str(self._network.device)):
                return generate_rows(self._network, self._local, rows, self._memory, pauses)
        except Exception as error:
            if not is_out_of_memory(error) or (len(rows) == 1 and not self._memory.capacity):
                raise
        # Outside of the handler: until it ends, the error's frames hold the tensors that are to be freed.
        if self._memory.capacity:
            self._memory.clear()
        if len(rows) > 1:
            self._size = len(rows) // 2
            log.warning("out of memory with %d rows; from now on %d at once", len(rows), self._size)
        release_memory()
        return None


class EpisodeBook:
    """The tokens of live episodes: what is asked next of a model, and what it said.

    `longest`: tokens that an episode may have after its prompt; None: as many as the context holds.
    """

    def __init__(self, local: ModelTokenizer, longest: int | None = None) -> None:
        self._local = local
        self._longest = longest
        self._turns = Turns(local)
        self._episode_tokens: dict[Key, EpisodeTokens] = {}

    def pop_tokens(self, key: Key) -> EpisodeTokens:
        """The tokens of an episode that has ended; they are forgotten here. Raises KeyError where nothing was asked."""
        return self._episode_tokens.pop(key)

    def ask(self, request: ModelRequest) -> PromptRow | ModelFailure:
        """The row that a request continues: the episode's tokens, and what the template put behind them."""
        try:
            begin = self._begin if request.turn == 0 else self._go_on
            episode_tokens, prompt, more, rewritten = begin(request)
        except ModelFailure as failure:
            return failure
        ids = (*episode_tokens.prompt, *episode_tokens.ids, *more)
        context = self._bound(episode_tokens)
        room = request.sampling.max_tokens if context is None else min(request.sampling.max_tokens, context - len(ids))
        if room < 1:  # what does not fit is not added either: nothing longer than the context is trained on
            text = f"the episode has {len(ids)} tokens, and the model's context {context}"
            name = self._local.folder.name
            return ModelFailure(f"{name}: {text}", outcome="token_limit", stop=OUT_OF_CONTEXT)
        episode_tokens.add(more, NOT_GENERATED)
        episode_tokens.rewritten += rewritten
        return PromptRow(request, prompt, ids, room)

    def answer(self, row: PromptRow, generated: Sequence[int], logprobs: Sequence[float | None] = ()) -> Reply:
        """The reply that generated tokens are, which are kept."""
        request = row.request
        ids, _, ended = cut_at_turn_end(self._local, [*row.begun, *generated[: row.max_new_tokens]])
        episode_tokens = self._episode_tokens[_key(request)]
        episode_tokens.add(ids, request.turn, logprobs)
        episode_tokens.ended = ended
        return to_reply(self._local, row, generated)

    def _bound(self, episode_tokens: EpisodeTokens) -> int | None:
        """Tokens that an episode may have with its prompt."""
        bounds = [self._local.folder.context]
        bounds += [] if self._longest is None else [len(episode_tokens.prompt) + self._longest]
        return min((bound for bound in bounds if bound is not None), default=None)

    def _begin(self, request: ModelRequest) -> tuple[EpisodeTokens, Prompt, list[int], bool]:
        prompt = self._local.prompter.prompt(request)
        episode_tokens = EpisodeTokens(self._local.encode(prompt.text), thinking=prompt.thinking)
        self._episode_tokens[_key(request)] = episode_tokens
        return episode_tokens, prompt, [], False

    def _go_on(self, request: ModelRequest) -> tuple[EpisodeTokens, Prompt, list[int], bool]:
        """The episode so far, and the tokens between its last turn and the next."""
        episode_tokens = self._episode_tokens[_key(request)]
        spoken = self._spoken(episode_tokens, request.turn - 1)
        between = self._turns.between(request, episode_tokens.ended, spoken)
        return episode_tokens, between.prompt, self._local.encode(between.text), between.rewritten

    def _spoken(self, episode_tokens: EpisodeTokens, turn: int) -> str:
        """The text of a turn as the network wrote it, without the token that ended it."""
        ids = [token for token, of in zip(episode_tokens.ids, episode_tokens.turns, strict=True) if of == turn]
        return self._local.decode(ids[:-1] if episode_tokens.ended else ids)


class Actor(BatchModel):
    """Answers up to `width` episodes at once with the network as it is now; see harness.batching.BatchModel."""

    def __init__(self, local: ModelTokenizer, continue_rows: Continue, width: int) -> None:
        self.name = local.folder.name
        self.fingerprint: JSONObject = {"backend": "training"}
        self.width = width
        self._continue = continue_rows
        self._book = EpisodeBook(local)
        self._paused: dict[Key, tuple[PromptRow, list[float | None]]] = {}

    def batch(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure]:
        """One answer a request, in their order, of rows generated together."""
        return [answer for answer in self._answer_all(requests, False) if not isinstance(answer, Unfinished)]

    def advance(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure | Unfinished]:
        """The same, as soon as half of them have their answers."""
        return self._answer_all(requests, True)

    def _answer_all(self, requests: Sequence[ModelRequest], pauses: bool) -> list[Reply | ModelFailure | Unfinished]:
        rows = [self._begun(request) or self._book.ask(request) for request in requests]
        said = iter(self._continue([row for row in rows if isinstance(row, PromptRow)], pauses))
        return [row if isinstance(row, ModelFailure) else self._answer(row, next(said)) for row in rows]

    def _begun(self, request: ModelRequest) -> PromptRow | None:
        """The row of a reply that is gone on with."""
        row, _ = self._paused.get(_key(request), (None, []))
        return row if row is not None and row.request.turn == request.turn else None

    def _answer(self, row: PromptRow, said: Continuation) -> Reply | Unfinished:
        """The reply; or what there is of it is kept until it is asked for again."""
        key = _key(row.request)
        _, logprobs = self._paused.pop(key, (row, []))
        logprobs += said.logprobs
        if said.finished:
            return self._book.answer(row, said.ids, logprobs)
        self._paused[key] = resume_row(row, said.ids), logprobs
        return UNFINISHED

    def pop_tokens(self, key: Key) -> EpisodeTokens:
        """The tokens of an episode that has ended; they are forgotten here. Raises KeyError where nothing was asked."""
        self._paused.pop(key, None)
        return self._book.pop_tokens(key)


def _key(request: ModelRequest) -> Key:
    return request.task, request.sample.id, request.epoch


# --- between two turns -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Between:
    """The text from the end of a turn to where the next begins, and the prompt of which it is the end."""

    prompt: Prompt
    text: str
    rewritten: bool


class Turns:
    """Reads what stands between two turns off a chat template."""

    def __init__(self, local: ModelTokenizer) -> None:
        self._prompter = local.prompter
        self._closed = replace(
            local.prompter, render=make_renderer(local.tokenizer, local.prompter.template, opens=False)
        )
        self._ends = tuple(text for token in local.end_token_ids if (text := local.decode([token])))

    def between(self, request: ModelRequest, ended: bool, said: str) -> Between:
        """What follows the last turn of a conversation. `ended`: the network generated the token that ends it.

        Raises HarnessError where the template shows the conversation otherwise once outputs follow.
        """
        last = max(index for index, message in enumerate(request.messages) if message.role == "assistant")
        until = self._closed.prompt(replace(request, messages=request.messages[: last + 1])).text
        now = self._prompter.prompt(request)
        start, end = self._end(until)
        if start < 0 or not now.text.startswith(until):
            raise HarnessError(f"{self._prompter.name}: {REWRITES}")
        text = until[end if ended else start :] + now.text[len(until) :]
        return Between(now, text, not until[:start].endswith(said))

    def _end(self, text: str) -> tuple[int, int]:
        """Where the last marker of a turn's end begins and ends; -1 where there is none."""
        found = [(place, place + len(end)) for end in self._ends if (place := text.rfind(end)) >= 0]
        return max(found, default=(-1, -1))


REWRITES = (
    "its chat template shows earlier turns otherwise once outputs follow, so the tokens it was trained on would not be "
    "those it reads; train it on single turns, with --regime step --set credit=turn."
)


def with_stable_template(local: ModelTokenizer, reasoning: Reasoning) -> ModelTokenizer:
    """The model with a template that keeps earlier turns as they were: its own, or TRL's variant for training.

    Raises UsageError where neither does, and for formats that end a turn by a stop string.
    """
    if local.format.stop:
        raise UsageError(
            f"{local.folder.name}: the format {local.format.name} is trained on single turns only: --regime step --set "
            "credit=turn."
        )
    if keeps_turns(local, reasoning):
        return local
    variant = training_variant(local)
    if variant is None or not keeps_turns(variant, reasoning):
        raise UsageError(f"{local.folder.name}: {REWRITES}")
    return variant


def training_variant(local: ModelTokenizer) -> ModelTokenizer | None:
    """The same model with the template that TRL trains it with; None where TRL does not know its template."""
    from trl.chat_template_utils import get_training_chat_template

    try:
        template = get_training_chat_template(local.tokenizer)
    except ValueError:
        return None
    if template is None:
        return None
    render = make_renderer(local.tokenizer, template)
    return replace(local, prompter=replace(local.prompter, template=template, render=render))


def keeps_turns(local: ModelTokenizer, reasoning: Reasoning) -> bool:
    """Whether a small conversation of two turns with calls is rendered as the beginning of what follows it, and every
    prompt as the beginning of its turn."""
    call = ToolCall("call_0", "look", {"at": "it"}, '{"at": "it"}')
    thought = "I look." if reasoning.mode == "on" else None
    spoken = Message("assistant", reasoning=thought, tool_calls=(call,))
    turn = (spoken, Message("tool", "seen", tool_call_id="call_0"))
    talk = (Message("user", "Look."), *turn, *turn)
    tools = (Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}}),)
    sample = Sample("", talk[:1], tools, {}, Gold({}))
    asked = ModelRequest(talk, tools, Sampling(), sample, reasoning=reasoning)
    whole = local.prompter.prompt(asked).text
    turns = Turns(local)
    try:
        for end in (3, 5):
            turns.between(replace(asked, messages=talk[:end]), True, "")
    except HarnessError:
        return False
    prompts = (local.prompter.prompt(replace(asked, messages=talk[:end])).text for end in (1, 3))
    return all(whole.startswith(prompt) for prompt in prompts)


# --- playing -----------------------------------------------------------------------------------------------------


def play_episodes(
    actor: BatchModel, requests: Sequence[EpisodeRequest], rollout_settings: RolloutSettings, sandbox: Sandbox
) -> list[Trajectory]:
    """Plays episodes side by side, their turns in batches; trajectories in the order of `requests`."""

    async def one(request: EpisodeRequest, model: Model) -> Trajectory:
        state = None if request.task.state is None else sandbox.preload(request.task.state(request.sample))
        with sandbox.episode(state) as tools:
            episode = _episode(request, rollout_settings)
            return await play_episode_async(episode, request.task.environment(request.sample), model, tools)

    return asyncio.run(play_all(requests, actor, one))


def _episode(request: EpisodeRequest, settings: RolloutSettings) -> Episode:
    return Episode(
        request.sample, settings.sampling, settings.limits, request.epoch, request.task.name, settings.reasoning
    )
