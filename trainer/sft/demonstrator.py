"""A player with bad habits, for supervised warm-up: it knows the gold calls and plays them carelessly.

Its flaws are systematic, so that a network that imitates it keeps them however long it imitates: what a later training
on the reward mends is then that training's merit. Each is drawn once an episode, with its own probability:

repeat      the first call is made a second time, right after it was answered
skip_last   where there are two or more gold calls, the last one is left out
needless    where no call is due (twins of `harness build --scenario when`), one is made all the same

Whoever skipped the last call answers with the value that the last tool returned. With all probabilities at 0 it is the
oracle: every gold call once, then the right answer, which it gives after a needless call as well. It plays through the
real rollout, environment and sandbox, so tool messages hold what tools really said. Left out: mistakes in arguments,
which greedy decoding averages away.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from harness.data import jsonio
from harness.data.messages import question_of
from harness.data.schema_values import declared_parameters, enum_values
from harness.environment import ToolEnvironment
from harness.errors import HarnessError
from harness.models.policies import fill_arguments, find_spans
from harness.models.wording import Question
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox
from harness.scoring.decisions import SITUATIONS, find_situation, is_twin
from harness.types import (
    GoldCall,
    JSONObject,
    Message,
    Model,
    ModelRequest,
    Reasoning,
    Reply,
    Sample,
    ToolCall,
    Trajectory,
)


@dataclass(frozen=True, slots=True)
class Flaws:
    """Probabilities, from 0 to 1, each drawn once an episode."""

    repeat: float = 0.7
    skip_last: float = 0.7
    needless: float = 0.0


Words = tuple[str, ...]
"""What tools say of one thing that is wanted, argument by argument."""
THOUGHTS = ("tool", "meaning")
"""What is thought before a call: which tool it is, or what the tools say of that which is wanted, and then the tool. Of
twins that ask when to call, both things wanted are thought of first, and where each stands: in a tool, in the note, or
nowhere."""


class Demonstrator(Model):
    """A model that plays gold calls one a turn, with flaws. Where the request asks for reasoning it thinks a line.

    An episode's draws depend on `seed`, the task, the sample and the epoch alone. `wanted`: what is asked of a world's
    twins, as their tools say it (find_wanted).
    """

    def __init__(
        self, flaws: Flaws, seed: int, thoughts: str = "tool", wanted: Mapping[str, Sequence[Words]] | None = None
    ) -> None:
        self.name = "demonstrator"
        self.fingerprint: JSONObject = {"backend": "demonstrator", "version": 1, "seed": seed, **asdict(flaws)}
        self.fingerprint |= {} if thoughts == "tool" else {"thoughts": thoughts}
        if not flaws.needless:  # as before there was any
            del self.fingerprint["needless"]
        self._flaws = flaws
        self._seed = seed
        self._thoughts = thoughts
        self._wanted = wanted or {}

    def __call__(self, request: ModelRequest) -> Reply:
        """Raises HarnessError for a sample without gold calls."""
        calls, skipped = self.plan(request.sample, request.task, request.epoch)
        call = calls[request.turn] if request.turn < len(calls) else None
        thought = self._think(request, call) if request.reasoning.mode == "on" else None
        if call is not None:
            raw = json.dumps(call.arguments, ensure_ascii=False)
            said = ToolCall(f"call_{request.turn}", call.name, call.arguments, raw)
            return Reply(Message("assistant", reasoning=thought, tool_calls=(said,)))
        answer = _last_value(request.messages) if skipped else request.sample.gold.answer
        return Reply(Message("assistant", f"Answer: {answer}", reasoning=thought))

    def _think(self, request: ModelRequest, call: GoldCall | None) -> str:
        """What is thought before a call, or before the answer."""
        wanted = self._wanted.get(str(request.sample.metadata.get("world")), ())
        if self._thoughts == "meaning" and wanted and not request.turn and is_twin(request.sample.metadata):
            return "; ".join(f"{' '.join(words)} -> {find_place(request.sample, words)}" for words in wanted)
        if call is None:
            return "I answer."
        return explain_call(request.sample, call) if self._thoughts == "meaning" else f"I call {call.name}."

    def plan(self, sample: Sample, task: str = "", epoch: int = 0) -> tuple[list[GoldCall], bool]:
        """The calls of an episode in order, and whether the last gold call is not among them."""
        if not is_demonstrable(sample):
            raise HarnessError(f"The demonstrator plays gold calls and answers, and {sample.id!r} lacks them.")
        draw = random.Random(f"{self._seed}:{task}:{sample.id}:{epoch}").random
        repeats, skips = draw() < self._flaws.repeat, draw() < self._flaws.skip_last
        calls = list(sample.gold.calls or ())
        if not calls:
            needless = bool(sample.tools) and draw() < self._flaws.needless
            return [needless_call(sample)] if needless else [], False
        skipped = skips and len(calls) > 1
        if skipped:
            calls.pop()
        return [calls[0], *calls] if repeats else calls, skipped


def is_demonstrable(sample: Sample) -> bool:
    """Whether a sample says what is called and answered; of a twin it may be that no call is due."""
    situation = find_situation(sample)
    return sample.gold.answer is not None and bool(sample.gold.calls or (situation and not situation.due))


def needless_call(sample: Sample) -> GoldCall:
    """A look-up where none is due: of what the question names, by the tool that offers most to choose from, its first
    choice."""
    asked = question_of(sample)
    tool = max(sample.tools, key=lambda tool: sum(len(enum_values(of)) for of in declared_parameters(tool).values()))
    names = [start.value for start in Question(asked).starts if not start.doubtful]
    return GoldCall(tool.name, fill_arguments(tool, names or find_spans(asked) or ["x"], 0, asked))


def explain_call(sample: Sample, call: GoldCall) -> str:
    """What the tools say of that which a call asks for, as they say it, and then the tool.

    Whoever has found the tools' words for those of the question has but to look where they stand. An argument's own
    explanation ("VALUE: what it is") says more than the tool's description.
    """
    return f"{' '.join(_read_meaning(sample, call))} -> {call.name}"


def _read_meaning(sample: Sample, call: GoldCall) -> Words:
    """What a tool says of the arguments of a call; what it says of itself, where it explains none of them."""
    tool = next(tool for tool in sample.tools if tool.name == call.name)
    properties = tool.parameters.get("properties", {})
    told = [
        _explanation(properties.get(name, {}).get("description", ""), value) for name, value in call.arguments.items()
    ]
    return tuple(filter(None, told)) or (tool.description,)


def find_wanted(samples: Sequence[Sample]) -> dict[str, tuple[Words, ...]]:
    """By world, what is asked of its twins, as the tools of that one say it in which all of it can be looked up."""
    return {
        str(sample.metadata["world"]): tuple(_read_meaning(sample, call) for call in sample.gold.calls or ())
        for sample in samples
        if find_situation(sample) == SITUATIONS["answerable"] and sample.metadata.get("world")
    }


def find_place(sample: Sample, wanted: Words) -> str:
    """Where a twin has what is wanted, in the tools' words: the name of a tool, the note, or nowhere."""
    for tool in sample.tools:
        told = json.dumps([tool.description, tool.parameters], ensure_ascii=False)
        if all(words in told for words in wanted):
            return tool.name
    entries = re.split(r"; |: ", "; ".join(message.content for message in sample.messages))
    noted = any(entry.endswith(", in force") and all(words in entry for words in wanted) for entry in entries)
    return "note" if noted else "nowhere"


def _explanation(description: str, value: object) -> str:
    found = re.search(rf"(?:^|[\s;]){re.escape(str(value))}: ([^;]+?)(?=;|\.\s|\.$|$)", description)
    return found[1] if found else ""


def play_demonstrations(
    samples: Sequence[Sample],
    flaws: Flaws,
    seed: int,
    thinking: float,
    sandbox: Sandbox,
    draws: int = 1,
    thoughts: str = "tool",
) -> Iterator[tuple[Sample, Trajectory]]:
    """One episode of every sample, in order, and that `draws` times over, each time with flaws drawn anew; a share of
    `thinking` (0 to 1) of the episodes with a line of reasoning a turn.

    Raises HarnessError where an episode does not end well: gold calls that fail are a fault of the environment.
    """
    demonstrator = Demonstrator(flaws, seed, thoughts, find_wanted(samples))
    for epoch, sample in product(range(draws), samples):
        thinks = random.Random(f"{seed}:{sample.id}:{epoch}:thinking").random() < thinking
        episode = Episode(sample, epoch=epoch, reasoning=Reasoning(mode="on" if thinks else "off"))
        with sandbox.episode() as tools:
            trajectory = play_episode(episode, ToolEnvironment(sample), demonstrator, tools)
        if trajectory.outcome != "ok" or any(call.status != "ok" for call in trajectory.calls):
            raise HarnessError(f"The demonstrator could not play {sample.id!r}: {_trouble(trajectory)}")
        yield sample, trajectory


def _trouble(trajectory: Trajectory) -> str:
    failed = next((call.output for call in trajectory.calls if call.status != "ok"), None)
    return failed or trajectory.error or trajectory.stop


def _last_value(messages: Sequence[Message]) -> str:
    """What the last tool message says: its value, without the JSON object around it and what else stands there."""
    output = next((message.content for message in reversed(messages) if message.role == "tool"), "")
    try:
        value = jsonio.parse_json(output)
    except ValueError:
        return output
    if isinstance(value, dict) and "value" in value:
        return _as_text(value["value"])
    values = list(value.values()) if isinstance(value, dict) else [value]
    return ", ".join(_as_text(item) for item in values)


def _as_text(value: object) -> str:
    """Numbers as prompts and answers write them, with commas between thousands."""
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
