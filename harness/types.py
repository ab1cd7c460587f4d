"""The nouns, on one page. Frozen dataclasses for what is, Protocols and one base class for what can be replaced.

Nothing here does I/O or knows a provider, a benchmark or a file format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from harness.metrics import ANSWERS, HEADLINE
from harness.stops import StopReason

Role = Literal["system", "user", "assistant", "tool"]
Outcome = Literal["ok", "turn_limit", "token_limit", "model_error", "infrastructure_error"]
FAILED_OUTCOMES: frozenset[Outcome] = frozenset({"model_error", "infrastructure_error"})
"""Outcomes of episodes that an error ended; they stay in every denominator."""
CallStatus = Literal["ok", "raised", "timeout", "killed", "truncated", "unknown_tool", "malformed", "refused"]
"""refused: not run, or not answered, because a limit of harness.sandbox.ledger was met."""
FaultKind = Literal["timeout", "500", "429", "malformed", "truncated", "permission"]
"""How a tool fails on purpose (harness.tool_faults)."""
JSONObject = dict[str, Any]


# --- what is said ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as the model wrote it: `arguments` is None when `raw` is no JSON object, and `parse_error` says why.

    `echo` holds fields of the provider's own that it wants back with the call (Gemini's thought signatures).
    """

    id: str
    name: str
    arguments: JSONObject | None
    raw: str
    parse_error: str | None = None
    echo: JSONObject | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn. `reasoning` is what the model thought where the provider tells it; it is never scored.

    `raw` is the text as the network generated it, where it was parsed on this side. `echo` is what the provider wants
    back in later turns to go on reasoning (Responses' encrypted items, Anthropic's signed blocks), as it came.
    """

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    raw: str | None = None
    echo: tuple[JSONObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """What the model sees of a tool: `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: JSONObject


# --- what is asked -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoldCall:
    """One call of a reference solution: `solves` is the index of the sub-question that it answers."""

    name: str
    arguments: JSONObject
    solves: int | None = None


@dataclass(frozen=True, slots=True)
class Gold:
    """What only the parent process knows: sub-answers by tool, a reference solution if there is one, the answer.

    `message` is the whole last message of the reference solution, where that is more than the answer. `turns` are the
    calls turn by turn, where it matters which share a turn; the message is what an empty turn says.
    """

    sub_answers: Mapping[str, tuple[str, ...]]
    calls: tuple[GoldCall, ...] | None = None
    answer: str | None = None
    message: str | None = None
    turns: tuple[tuple[GoldCall, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem. `codes` maps a tool's name to its Python source; `metadata` holds world, data_source and such.

    `metadata["digest"]`, where a benchmark gives one, stands for what decides an episode or its score and is in no
    other field: it becomes part of the task's fingerprint.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    codes: Mapping[str, str]
    gold: Gold
    metadata: Mapping[str, Any] = field(default_factory=dict)


# --- how it is answered ------------------------------------------------------------------------------------------


SAMPLING_OPTIONS = ("top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding. `max_tokens` is new tokens a turn; `seed` None leaves the provider its own randomness.

    The others are None where nothing is said of them. Those of the `top_p` kind do nothing at temperature 0.
    """

    temperature: float = 0.0
    max_tokens: int = 8192
    seed: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None

    @property
    def options(self) -> dict[str, float]:
        """Those of SAMPLING_OPTIONS that are set."""
        return {name: value for name in SAMPLING_OPTIONS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model is asked about thinking before it speaks, in one meaning for every provider.

    mode     default: nothing is said; off: not at all; on: as the model does by itself, or as `effort` or `budget` say
    budget   tokens of reasoning a turn
    history  whose reasoning goes back to the model in later turns: nobody's, the last turn's, or every turn's
    """

    mode: Literal["default", "off", "on"] = "default"
    effort: Literal["low", "medium", "high"] | None = None
    budget: int | None = None
    history: Literal["none", "last", "all"] = "all"

    @property
    def label(self) -> str:
        """The word of the command line: default, off, on, low, medium, high or budget:N."""
        return self.effort or (f"budget:{self.budget}" if self.budget is not None else self.mode)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an episode ends: turns, all its output tokens (None: no limit), and wall-clock seconds."""

    max_turns: int = 20
    max_episode_tokens: int | None = None
    max_episode_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind, and requests. A request that was retried counts once in `requests`, its retries in `retries`.

    `cached_tokens` are those of `input_tokens` that the provider had in its cache, and `reasoning_tokens` those of
    `output_tokens` that were reasoning: neither is added to anything.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    retries: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
            self.requests + other.requests,
            self.retries + other.retries,
        )


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One turn to speak. `sample` and what follows are for reference policies and replays: a network must not read
    gold. A network may take `turn` to vary its seed."""

    messages: Sequence[Message]
    tools: Sequence[Tool]
    sampling: Sampling
    sample: Sample
    epoch: int = 0
    turn: int = 0
    task: str = ""
    reasoning: Reasoning = Reasoning()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said: `finish_reason` as the provider gave it (None: it gave none; "length": the token cap).

    `note` is what the record should say of this turn, such as a server whose parser saw other calls than ours.
    """

    message: Message
    usage: Usage = Usage()
    finish_reason: str | None = None
    note: str | None = None


class Model(ABC):
    """Anything that speaks: a function of a request, plain or async. It raises ModelFailure when it cannot.

    The rest has defaults. One that answers many requests at once is a harness.batching.BatchModel.
    """

    name: str
    fingerprint: Mapping[str, Any]
    """What decides its replies, free of secrets; part of the run's identity."""
    sampling_options: Sequence[str] = ()
    """Those of SAMPLING_OPTIONS that it heeds; a run that sets another is refused."""
    remote: bool = False
    """Whether somebody else's endpoint answers, which may accept no request at all (harness.evaluation.first_reply)."""
    trouble: str | None = None
    """What the endpoint said to the last request, where it did not accept that."""

    @abstractmethod
    def __call__(self, request: ModelRequest) -> Reply | Awaitable[Reply]: ...

    def check(self, samples: Sequence[Sample]) -> None:
        """Called before a run. Raises UsageError where the model cannot play these samples."""
        return

    def check_reasoning(self, reasoning: Reasoning) -> None:
        """Called before a run. Raises UsageError where the model cannot play in this mode, whatever it would send."""
        return

    def switch(self, reasoning: Reasoning) -> Mapping[str, Any] | None:
        """What it sends to reason as asked, for the manifest; None: there is nothing to switch.

        Raises UsageError where it has no such setting.
        """
        return None

    def learnt(self, reasoning: Reasoning) -> list[JSONObject]:
        """What is sent otherwise than it was asked for, because the endpoint refused it: `field`, `value` (None: it is
        left out) and `episodes_before`, those in this mode that were answered before."""
        return []

    def recall(
        self, learnt: Sequence[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[tuple[str, str, int]]
    ) -> None:
        """Takes up what an earlier part of a run had learnt, and which episodes (task, sample, epoch) it answered."""
        return

    def unlike(self, reasoning: Reasoning) -> Collection[tuple[str, str, int]]:
        """The episodes in this mode that were answered otherwise than they would be now, after what was learnt."""
        return ()

    def forget(self, episode: tuple[str, str, int], reasoning: Reasoning) -> None:
        """Called before an episode is played: an earlier attempt at it counts no more for `unlike`."""
        return

    async def aclose(self) -> None:
        """Awaited when a run ends, and with it the event loop; another run may follow."""
        return

    def close(self) -> None:
        """Called when no run follows: lets go of weights, ends a server."""
        return


@dataclass(frozen=True, slots=True)
class SimulatedUser:
    """The other side of a conversation, where a task simulates it: a model, and its own sampling."""

    model: Model
    sampling: Sampling = Sampling()


# --- what happens ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What running a call gave: the tool's output when ok or truncated, else a sentence about what went wrong.

    `fault`: it went wrong on purpose, in this way.
    """

    status: CallStatus
    output: str
    fault: FaultKind | None = None


@dataclass(frozen=True, slots=True)
class RunTools:
    """An environment's wish: run these calls, in order, on these tools. Answered with one ToolResult a call."""

    codes: Mapping[str, str]
    calls: tuple[tuple[str, JSONObject], ...]


@dataclass(frozen=True, slots=True)
class AskUser:
    """An environment's wish: what the simulated user says next. Answered with a Reply.

    `messages` is the conversation as the user sees it: what the agent said has the role user.
    """

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class DigestState:
    """An environment's wish: the digest of the episode's state or, with `replay`, of a fresh one after these calls.

    Answered with the digest; None where the state was lost or is no longer JSON.
    """

    replay: RunTools | None = None


EnvironmentWish = RunTools | AskUser | DigestState


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One attempted call of an episode: `output` is the exact text that was fed back, `turn` is 0-based; `fault` as in
    a ToolResult."""

    turn: int
    call: ToolCall
    status: CallStatus
    output: str
    fault: FaultKind | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What follows a model's turn: new messages, the calls they answer, and whether the episode is over (`stop` says
    why, where that is not the model's own silence). `note`: what the record should say of this turn.

    `stop` is one of harness.stops where that has a fitting one; a third party's environment may say a word of its own.
    """

    messages: tuple[Message, ...] = ()
    calls: tuple[CallRecord, ...] = ()
    done: bool = False
    stop: str | None = None
    note: str | None = None


class Environment(Protocol):
    """A live episode of one sample. `step` is a generator so that it never does I/O: it yields wishes."""

    @property
    def tools(self) -> Sequence[Tool]: ...

    def reset(self) -> Sequence[Message]: ...

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]: ...


@runtime_checkable
class OpeningEnvironment(Environment, Protocol):
    """An environment that has to do before the model's first turn: `opening` gives a step that follows `reset`."""

    def opening(self) -> Generator[EnvironmentWish, Any, Step]: ...


@runtime_checkable
class ClosingEnvironment(Environment, Protocol):
    """An environment that has to do after the model's last turn, whatever ended the episode: `closing` gives facts for
    the record, as JSON, which scores may need."""

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]: ...


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One finished episode; `seconds` is wall-clock time: total, model, tools, and user where one was simulated."""

    messages: tuple[Message, ...]
    calls: tuple[CallRecord, ...]
    turns: int
    outcome: Outcome
    stop: StopReason
    usage: Usage
    seconds: Mapping[str, float]
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What models said of single turns, each with its 0-based turn in front."""
    user_usage: Usage | None = None
    """What the simulated user took; None where there was none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a ClosingEnvironment found at the end."""


Scores = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A scored episode: for each call the position it solves in unsolved_set[its tool], strict and paper; metrics."""

    solves: tuple[int | None, ...]
    paper_solves: tuple[int | None, ...]
    scores: Scores
    answer_read: str | None = None
    """The text that was taken for the final answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """A named benchmark: `load` gives its samples (MissingData if it cannot), the rest says how they are played."""

    name: str
    load: Callable[[], Sequence[Sample]]
    environment: Callable[[Sample], Environment]
    score: Callable[[Sample, Trajectory], Verdict]
    headline: str = HEADLINE
    success: tuple[str, ...] = ANSWERS
    """The metric, the first of these that the episodes have, whose value 1 is a success for pass@k and pass^k."""
    group: str | None = None
    weight: float = 1.0
    """What it counts in the mean of its group, beside the others there."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tables over several benchmarks (harness.runs.averages), each with the metrics whose columns it has a part in."""
    floor: float = 0.0
    """What policy/silent reaches by the headline metric on all samples: said below every table where it is not 0."""
    description: str = ""
    source: str = ""
    max_turns: int | None = None
    """The benchmark's own number of turns, where --max-turns says nothing."""
    state: Callable[[Sample], str] | None = None
    """The JSON document that the tools of an episode work on, as their first argument: a fresh copy each episode."""
    scripted_user: Model | None = None
    """Where the other side of the conversation is simulated: what plays it for reference policies."""
    version: int = 1
    """Which of the task's sets of samples: NAME is the highest that is registered, NAME@1 the first. Records and keys
    hold the name alone, because the samples' fingerprint stands beside it."""
    size: int | None = None
    """How many samples `load` gives, where that is known without it."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """What makes an episode this one and no other; its digest is the `key` of a record."""

    task: str
    task_fingerprint: str
    sample: str
    epoch: int
    model: str
    model_fingerprint: str
    reasoning: Reasoning
    sampling: Sampling
    limits: Limits
    user: str | None = None
    """The digest of the simulated user's identity, where there is one."""
    faults: str | None = None
    """The digest of the faults in front of its tools, where there are some."""
