"""taubench_*: tau-bench, airline and retail: an agent with tools on a database talks to a simulated customer.

The tools change the database, which lives in the sandbox; at the end it must be as the gold actions leave a fresh one,
and the customer must have been told certain facts (Yao et al., arXiv 2406.12045). Scored strictly (no prefix), by the
benchmark's own rule and by the paper's. The data is not shipped: --data taubench=FOLDER, which holds tasks.jsonl and,
in airline/ and retail/, tools.json, codes.json, wiki.md and the database files (sierra-research/tau-bench, MIT, as
bytedance/FTRL has it, which --data ftrl=FOLDER reads). Left out: the benchmark's wording of the simulated user, and its
other kinds of user.

    harness eval --model policy/oracle --tasks 'taubench_*' --data taubench=FOLDER
    harness eval --model M --user-model U --tasks 'taubench_*' --data taubench=FOLDER
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.data.files import read_rows
from harness.data.records import sample_from_record
from harness.environment import make_call_record, malformed_result
from harness.errors import MissingData, UsageError
from harness.scoring import call_counts, call_rates
from harness.scoring.leaves import leaf
from harness.scoring.strict import states
from harness.types import (
    AskUser,
    DigestState,
    EnvironmentWish,
    JSONObject,
    Message,
    RunTools,
    Sample,
    Step,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Verdict,
)
from harness.user import (
    USER_STOP,
    ScriptedUser,
    begin_conversation,
    count_talk_only,
    find_role_fault,
    read_user_message,
)
from tasks.released import TAU_TASKS, find_data

DOMAINS = {"airline": "an airline's bookings", "retail": "an online shop's orders"}
DATA_SET = "tau-bench (sierra-research/tau-bench, as packed by bytedance/FTRL)"
TURNS = 30
TRANSFER = "transfer_to_human_agents"
ONE_CALL = "only the first call of a turn is run here: make one call at a time"
FLOORS = {"airline": 19 / 50, "retail": 7 / 115}
"""Of saying nothing, by each of the three rules: the gold of these tasks changes nothing and tells nothing."""
CIRCLES = 5
"""An episode that reaches its turn limit after so many turns of mere talk counts as a user that never stops."""


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """The two tasks; loading one whose files are not there raises MissingData."""
    folder = find_data("taubench", data)
    packed = folder.with_name(TAU_TASKS) if folder and "taubench" not in data else None
    read = cache(partial(read_domain, folder, packed=packed))
    return [
        Task(
            name=f"taubench_{domain}",
            load=partial(_load, read, domain),
            environment=TauEnvironment,
            score=score,
            headline="success",
            success=("success",),
            group="taubench",
            columns={"paper_table": ("success",)},
            floor=FLOORS[domain],
            description=f"tau-bench, {about}, with a simulated user",
            source=str(folder) if folder else "--data taubench=FOLDER",
            max_turns=TURNS,
            state=partial(_state, read, domain),
            scripted_user=ScriptedUser(),
        )
        for domain, about in DOMAINS.items()
    ]


# --- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Domain:
    """What all samples of a domain share: the policy, the tools and their code, and the database as a JSON object of
    files."""

    wiki: str
    tools: Any
    codes: Any
    database: str


Reader = Callable[[str], tuple[Domain, list[Sample]]]


def read_domain(folder: Path | None, name: str, packed: Path | None = None) -> tuple[Domain, list[Sample]]:
    """A domain and its samples; their rows are in `packed`, or else in the folder. Raises MissingData where a file is
    not there, UsageError where one cannot be used."""
    if folder is None:
        raise MissingData(
            f"taubench_{name} needs {DATA_SET}: --data taubench=FOLDER, which holds tasks.jsonl, airline/ and retail/."
        )
    paths = [
        packed or folder / "tasks.jsonl",
        *(folder / name / part for part in ("wiki.md", "tools.json", "codes.json")),
    ]
    for path in paths:
        if not path.is_file():
            raise MissingData(f"taubench_{name} looked for {DATA_SET} at {path}, where there is no file.")
    tables = sorted(path for path in (folder / name).glob("*.json") if path not in paths)
    if not tables:
        raise MissingData(f"taubench_{name} looked for {DATA_SET} at {folder / name}, where there is no database file.")
    domain = Domain(
        wiki=_text(paths[1]),
        tools=_json(paths[2]),
        codes=_json(paths[3]),
        database=jsonio.canonical_json({path.stem: _json(path) for path in tables}),
    )
    state = jsonio.digest(domain.database)
    rows = [
        (line, row)
        for line, row in enumerate(read_rows(paths[0]))
        if isinstance(row, dict) and row.get("data_source") == f"tau-bench/{name}"
    ]
    samples = [
        _sample(row, domain, state, f"{name}-{index}", line, f"{paths[0]}, row {line + 1}")
        for index, (line, row) in enumerate(rows)
    ]
    if not samples:
        raise UsageError(f"{paths[0]} has no rows whose data_source is tau-bench/{name}.")
    return domain, samples


def _load(read: Reader, domain: str) -> list[Sample]:
    return read(domain)[1]


def _state(read: Reader, domain: str, sample: Sample) -> str:
    return read(domain)[0].database


def _text(path: Path) -> str:
    try:
        return disk.read_file(path, links=True).decode("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}.") from None


def _json(path: Path) -> Any:
    try:
        return jsonio.read_json(path, links=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from None


def _sample(row: JSONObject, domain: Domain, state: str, name: str, line: int, where: str) -> Sample:
    """A checked sample: what the customer wants and must be told is known to its environment and its score alone."""
    instruction, outputs = row.get("instruction"), row.get("outputs")
    if not isinstance(instruction, str) or not instruction.strip():
        raise UsageError(f"{where} has no instruction for the user.")
    if not isinstance(outputs, list) or not all(isinstance(output, str) for output in outputs):
        raise UsageError(f"{where}: outputs must be a list of texts.")
    try:
        calls = [action["function"] for action in row["actions"]]
    except (KeyError, TypeError):
        raise UsageError(f"{where}: actions must be a list of calls in OpenAI's format.") from None
    sample = sample_from_record(
        {
            "id": name,
            "data_source": row["data_source"],
            "messages": [{"role": "system", "content": domain.wiki}],
            "tools": domain.tools,
            "codes": domain.codes,
            "unsolved_set": {},
            "gold_calls": calls,
            "answer": "; ".join(outputs) or None,
        },
        line,
        where,
    )
    told = "; ".join(["That is all done", *outputs])
    return replace(
        sample,
        gold=replace(sample.gold, message=f"{told}."),
        metadata={
            **sample.metadata,
            "instruction": instruction,
            "outputs": tuple(outputs),
            "digest": jsonio.digest([instruction, outputs, state]),
        },
    )


# --- playing -----------------------------------------------------------------------------------------------------


class TauEnvironment:
    """One episode: a turn with calls acts on the database, a turn without goes to the customer.

    As in the benchmark, one call a turn is run, and a call to transfer_to_human_agents ends the episode. There,
    further calls of a turn vanish from the conversation; here they are answered, because endpoints want every call
    answered.
    """

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools
        self._talk = begin_conversation(sample.metadata["instruction"])
        self._faults: list[str] = []

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def opening(self) -> Generator[EnvironmentWish, Any, Step]:
        """The customer speaks first."""
        return (yield from self._user_speaks())

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]:
        if message.tool_calls:
            return (yield from self._act(message.tool_calls, turn))
        # Endpoints refuse an empty message.
        self._talk.append(Message("user", _spoken(message) or "(The agent says nothing.)"))
        step = yield from self._user_speaks()
        done = USER_STOP in step.messages[0].content
        return replace(step, done=done, stop="user_stop" if done else None)

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]:
        """Digests of the database as it is and as the gold actions leave a fresh one, and what the user did wrong."""
        state = yield DigestState()
        calls = tuple((call.name, call.arguments) for call in self.sample.gold.calls or ())
        gold_state = yield DigestState(RunTools(self.sample.codes, calls))
        return {"state": state, "gold_state": gold_state, "user_faults": self._faults}

    def _user_speaks(self) -> Generator[EnvironmentWish, Any, Step]:
        reply = yield AskUser(tuple(self._talk))
        text = read_user_message(reply)
        self._talk.append(Message("assistant", text))
        if (wrong := find_role_fault(reply, text)) is not None:
            self._faults.append(wrong)
        return Step((Message("user", text),), note=wrong)

    def _act(self, calls: Sequence[ToolCall], turn: int) -> Generator[EnvironmentWish, Any, Step]:
        first = calls[0]
        if first.arguments is None:
            result = malformed_result(first)
        else:
            (result,) = yield RunTools(self.sample.codes, ((first.name, first.arguments),))
        results = [result, *[ToolResult("raised", ONE_CALL)] * (len(calls) - 1)]
        records = tuple(make_call_record(turn, call, result) for call, result in zip(calls, results, strict=True))
        messages = tuple(Message("tool", record.output, tool_call_id=record.call.id) for record in records)
        done = first.name == TRANSFER and first.arguments is not None
        return Step(messages, records, done=done, stop="transferred" if done else None)


def _spoken(message: Message) -> str:
    """What a turn says, without its reasoning."""
    return message.content.rpartition("</think>")[2].partition("<think>")[0].strip()


# --- scoring -----------------------------------------------------------------------------------------------------


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """Whether the database is as it should be and the customer was told everything, by three rules.

    success           told in so many words (harness.scoring.strict.states), in a message to the customer
    official_success  told as part of the text, case and commas aside; an episode that reached its turn limit fails
    paper_success     told in a message that has calls; however the episode ended (FTRL's rule for closed models)

    user_fault is 1 where the simulated user broke its role, never stopped or failed: such an episode says less about
    the agent. It changes no other metric.
    """
    outputs: Sequence[str] = sample.metadata["outputs"]
    turns = [message for message in trajectory.messages if message.role == "assistant"]
    to_user = [message for message in turns if not message.tool_calls]
    state = trajectory.facts.get("state")
    right = state is not None and state == trajectory.facts.get("gold_state")
    ended = trajectory.outcome == "ok"
    played = ended or trajectory.outcome in ("turn_limit", "token_limit")
    leaves = [leaf(_spoken(message)) for message in to_user]
    scores = {
        "success": right and ended and all(any(states([told], output) for told in leaves) for output in outputs),
        "official_success": right and ended and _told(to_user, outputs),
        "paper_success": right and played and _told([turn for turn in turns if turn.tool_calls], outputs),
        "user_fault": _user_at_fault(trajectory),
    }
    nothing = (None,) * len(trajectory.calls)
    return Verdict(
        nothing,
        nothing,
        {
            **{metric: float(value) for metric, value in scores.items()},
            **call_counts(trajectory),
            **call_rates(trajectory),
        },
    )


def _told(messages: Sequence[Message], outputs: Sequence[str]) -> bool:
    texts = [message.content.lower().replace(",", "") for message in messages]
    return all(any(output.lower() in text for text in texts) for output in outputs)


def _user_at_fault(trajectory: Trajectory) -> bool:
    """A user that never stops cannot be told from an agent that never comes to an end: both talk in circles."""
    if trajectory.outcome == "turn_limit" and count_talk_only(trajectory.messages) >= min(CIRCLES, trajectory.turns):
        return True
    failed = trajectory.outcome == "infrastructure_error" and trajectory.stop.startswith("user_")
    return failed or bool(trajectory.facts.get("user_faults"))
