"""What stands in the files of a run directory: an episode's record, the manifest and the summary, as types.

A required field is in every run that can be read: harness.runs.faults refuses a record or a manifest without it. A
field that is NotRequired is only there sometimes, or in newer runs. docs/runs.md says what each one means.
"""

# Without `from __future__ import annotations`: it would hide from `__required_keys__` which fields are required.

from typing import Any, NotRequired, TypedDict

from harness.stops import StopReason
from harness.types import CallStatus, FaultKind, JSONObject, Outcome, Role, Scores

# --- an episode: a line of samples.jsonl -------------------------------------------------------------------------


class FunctionJSON(TypedDict):
    """What a message says of a call; `arguments` is the text as the model wrote it."""

    name: str
    arguments: str


class ToolCallJSON(TypedDict):
    """A call in a message, in the chat-completions format; a malformed one carries its `parse_error`."""

    id: str
    type: NotRequired[str]
    function: FunctionJSON
    parse_error: NotRequired[str | None]
    echo: NotRequired[JSONObject | None]


class MessageJSON(TypedDict):
    """harness.types.Message in the chat-completions format; what is empty is left out, content excepted."""

    role: Role
    content: str
    reasoning: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCallJSON]]
    tool_call_id: NotRequired[str | None]
    raw: NotRequired[str | None]
    echo: NotRequired[list[JSONObject]]


class CallJSON(TypedDict):
    """An attempted call, with what it solves by either rule: a position in the sample's unsolved_set[name]; `fault`
    where it failed on purpose."""

    turn: int
    name: str
    arguments: JSONObject | None
    raw: str
    status: CallStatus
    output: str
    solves: int | None
    paper_solves: int | None
    fault: NotRequired[FaultKind]


class UsageJSON(TypedDict, total=False):
    """The fields of harness.types.Usage; one that a run has not got is 0."""

    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    requests: int
    retries: int


class ReasoningJSON(TypedDict, total=False):
    """The mode that was asked for, and what was seen of reasoning in one episode."""

    asked: str
    turns: int
    characters: int
    tokens: int


class Record(TypedDict):
    """One episode; `user_usage` where a user was simulated, `facts` where the environment found some at its end,
    `answer_read` where the task took a text for the final answer."""

    schema: int
    key: str
    task: str
    sample: str
    epoch: int
    outcome: Outcome
    stop: StopReason
    messages: list[MessageJSON]
    calls: list[CallJSON]
    scores: Scores
    usage: UsageJSON
    timing: dict[str, float]
    error: str | None
    reasoning: NotRequired[ReasoningJSON]
    answer_read: NotRequired[str]
    notes: NotRequired[list[str]]
    user_usage: NotRequired[UsageJSON]
    facts: NotRequired[JSONObject]


# --- the run: manifest.json --------------------------------------------------------------------------------------


class PriceJSON(TypedDict):
    """US dollars a million tokens."""

    input: float
    output: float
    cached_input: float


class UserIdentity(TypedDict):
    """Who simulated the users of a task."""

    model: str
    model_fingerprint: NotRequired[str]
    sampling: NotRequired[JSONObject]


class FaultsIdentity(TypedDict):
    """The faults in front of a run's tools; `seed` is what they are drawn from."""

    probability: float
    kinds: list[FaultKind]
    seed: int


class Identity(TypedDict):
    """What makes a run this one: with anything else here it is another run. `tasks`: their fingerprints."""

    model: str
    model_fingerprint: NotRequired[str]
    reasoning: str
    reasoning_history: NotRequired[str]
    tasks: dict[str, str]
    epochs: int
    seed: NotRequired[int | None]
    sampling: NotRequired[JSONObject]
    limits: NotRequired[JSONObject]
    sandbox: NotRequired[str]
    verifier: int
    code: NotRequired[dict[str, str]]
    turns: NotRequired[dict[str, int]]
    users: NotRequired[dict[str, UserIdentity]]
    tool_faults: NotRequired[FaultsIdentity]


class TaskEntry(TypedDict):
    """What summaries need to know of a task; `clusters` are those of its samples, by their ids. Without a `version` it
    is the task's first."""

    headline: str
    success: NotRequired[list[str]]
    source: NotRequired[str]
    version: NotRequired[int]
    weight: NotRequired[float]
    floor: NotRequired[float]
    clusters: dict[str, str]


class Learnt(TypedDict):
    """A field that an endpoint refused: what is sent instead (null: nothing), and how many episodes were answered
    before that was known."""

    field: str
    value: float | None
    episodes_before: int


class Manifest(TypedDict):
    """A run's configuration: its identity, and what is for the reader and for summaries."""

    schema: int
    created: NotRequired[str]
    identity: Identity
    model: NotRequired[JSONObject]
    reasoning_switch: NotRequired[JSONObject]
    price: NotRequired[PriceJSON | None]
    base_urls: NotRequired[list[str]]
    learnt: NotRequired[list[Learnt]]
    user: NotRequired[JSONObject]
    user_price: NotRequired[PriceJSON | None]
    tasks: dict[str, TaskEntry]
    groups: dict[str, list[str]]
    tables: NotRequired[dict[str, dict[str, list[str]]]]
    sources: dict[str, Any]
    sandbox: JSONObject
    versions: NotRequired[dict[str, str]]


# --- the result: summary.json ------------------------------------------------------------------------------------


class MetricJSON(TypedDict):
    """A metric over `n` episodes; with n = 0 the others are null. `ci95`: the ends of the interval."""

    value: float | None
    stderr: float | None
    ci95: list[float] | None
    n: int


class Floor(TypedDict, total=False):
    """What policy/silent reaches by the headline metric, where that is not 0."""

    floor: float


class Version(TypedDict, total=False):
    """As in a TaskEntry; of a group, that of its first task."""

    version: int


class SummaryEntry(Floor, Version):
    """What a task, a group or a table over several benchmarks reached."""

    n: int
    headline: str
    metrics: dict[str, MetricJSON]
    outcomes: dict[Outcome, int]


class ReasoningSeen(TypedDict):
    """In how many episodes a model reasoned, `of` those in which it spoke; `refused`: its switch was."""

    episodes: int
    of: int
    characters: NotRequired[int]
    tokens: NotRequired[int]
    refused: NotRequired[int]


class UserSummary(TypedDict):
    """What simulated users took, apart from the model's own."""

    model: list[str]
    usage: UsageJSON
    cost: float | None


class Summary(TypedDict):
    """A run's result, computed from its manifest and its records; `cost` is null where no price is known;
    `tool_faults`, as the command line takes them, where tools failed on purpose."""

    schema: int
    model: str
    reasoning: str
    verifier: int
    tasks: dict[str, SummaryEntry]
    groups: dict[str, SummaryEntry]
    usage: UsageJSON
    cost: float | None
    reasoning_seen: ReasoningSeen
    sandbox: JSONObject
    user: NotRequired[UserSummary]
    tool_faults: NotRequired[str]
