"""Rewards, from the one verifier of the evaluation.

A reward is a plain function, chosen by name. Two kinds: a step reward judges one turn that answers a prefix of an
episode, an episode reward judges a whole trajectory.

paper_*     the paper's four step rewards (method: FTRL, arXiv 2508.08791, section "Reward"), faults included: its
            parser, its substring rule, error texts that count as outputs. Malformed calls do not exist for them.
strict_*    the same four shapes with the strict verifier. What was called before in the episode counts: a turn earns
            by how much it raises the number of solved sub-answers.
mended_f1   strict_f1 with a cost for a turn whose calls solve nothing: the step regime's default (docs/training.md).
episode_f1  strict Solve-F1 of an episode, a bonus for the right answer, a cost for malformed calls: the episode
            regime's default.
episode_success
            success of an episode by its task's own rule, such as the checks of its rows, and the same cost.
decision_f1, autotir
            for twins that ask when to call a tool (docs/decisions.md): the metric decision_f1, and the reward of
            AutoTIR (arXiv 2507.21836) with whether to call as the kind of action.

Left out: advantages, baselines and return-to-go, which are the trainer's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Literal

from harness.errors import UsageError
from harness.formats import FORMATS
from harness.formats.paper import STRAY, parse_paper, without_end_tokens
from harness.metrics import ANSWERS, HEADLINE
from harness.registry import find_entry_points, load_entry_point, suggest_names
from harness.scoring import paper, strict
from harness.scoring.answer import answer_scores
from harness.scoring.normalise import tokens
from harness.types import CallRecord, Gold, Message, Sample, Trajectory, Usage, Verdict
from trainer.tool_runner import map_concurrently, run_turn

GROUP = "harness.rewards"
SILENT, FAILED_CALL, ALL_SOLVED = -0.5, -0.3, 0.5
"""A turn without calls: it is empty; it tried to call and failed; it is wrong, but nothing was left to call for."""
USELESS_COST = 0.2
ANSWER_BONUS = 0.3
WRONG_KIND, FORMED = -0.1, 0.1
"""AutoTIR's: an action of the wrong kind; an answer in the right form that is wrong."""
MALFORMED_COST, MALFORMED_MOST = 0.1, 0.3
"""What a malformed call costs an episode, and the most that all of them cost."""

SubAnswers = Mapping[str, Sequence[str]]
"""Tool name to sub-answers: what the tool's outputs must state."""


# --- what a reward is given --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """What a strict step reward needs besides the paper's five arguments.

    messages     the prefix: the prompt, and every turn since with its tool outputs
    calls        the calls of the prefix, in order, with what was fed back
    sub_answers  all of the sample's, solved ones included; None: those of `unsolved_set`
    format       the name of the model's text format (harness.formats)
    thinking     whether the rendered prompt ends inside a block of reasoning
    """

    messages: tuple[Message, ...] = ()
    calls: tuple[CallRecord, ...] = ()
    sub_answers: SubAnswers | None = None
    format: str = "hermes"
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One generated turn, with what its reward needs. `solve_rate` is the share of sub-answers solved before it."""

    response: str
    codes: Mapping[str, str]
    unsolved_set: SubAnswers
    solve_rate: float
    answer: str
    context: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward as the trainer knows it.

    kind     step: function(response, codes, unsolved_set, solve_rate, answer) -> float;
             episode: function(sample, trajectory, verdict) -> float
    context  whether a step function takes a Context as its sixth argument
    options  keyword arguments of the function that are values of a recipe, by these names
    metric   the metric that an episode's verdict must have, if any: a task without it is refused before it is played
    """

    kind: Literal["step", "episode"]
    function: Callable[..., float]
    context: bool = False
    options: tuple[str, ...] = ()
    metric: str = ""

    def steps(self, turns: Sequence[Turn]) -> list[float]:
        """The rewards of turns, in order; their tools run side by side. Raises SandboxError where tools cannot run."""
        return map_concurrently(self._step, turns)

    def episode(self, sample: Sample, trajectory: Trajectory, verdict: Verdict) -> float:
        """The reward of an episode that its task has scored."""
        return float(self.function(sample, trajectory, verdict))

    def _step(self, turn: Turn) -> float:
        five = (turn.response, turn.codes, turn.unsolved_set, turn.solve_rate, turn.answer)
        return float(self.function(*five, turn.context) if self.context else self.function(*five))


# --- t of k calls solve ------------------------------------------------------------------------------------------

Form = Callable[[int, int], float]
"""What a turn is worth of whose k calls, at least one, t solve something."""


def _f1(t: int, k: int) -> float:
    return 2 * t / (k + 1)


def _precision(t: int, k: int) -> float:
    return t / k


def _rate(t: int, k: int) -> float:
    return float(t)


def _pr(t: int, k: int) -> float:
    return t * t / k


# --- the paper's -------------------------------------------------------------------------------------------------


def paper_step(
    form: Form, response: str, codes: Mapping[str, str], unsolved_set: SubAnswers, solve_rate: float, answer: str
) -> float:
    """`form`(t, k), where t of the turn's k calls solve an open sub-answer; the paper trains with 2t/(k+1).

    `response` is the generated text, `codes` the tools' sources, `unsolved_set` what is still open. A turn without
    calls: -0.5 empty, -0.3 with a stray tag, 1/(1+u) where it contains the answer and u sub-answers are open, 0.5
    where none is open, else 0. Whether all is solved is read from `unsolved_set`; `solve_rate` says the same.
    """
    reply = parse_paper(without_end_tokens(response))
    if made := len(reply.message.tool_calls):
        return form(_count(paper.solves(run_turn(reply.message, codes).calls, unsolved_set)), made)
    content = reply.message.content
    return _without_calls(content, reply.stray_tag, paper.contains(content, answer), _size(unsolved_set))


paper_f1 = partial(paper_step, _f1)
paper_precision = partial(paper_step, _precision)
paper_rate = partial(paper_step, _rate)
paper_pr = partial(paper_step, _pr)


# --- strict ------------------------------------------------------------------------------------------------------


def strict_step(
    form: Form,
    response: str,
    codes: Mapping[str, str],
    unsolved_set: SubAnswers,
    solve_rate: float,
    answer: str,
    context: Context | None = None,
) -> float:
    """`form`(t, k), where the turn's k calls raise the number of strictly solved sub-answers of the episode by t.

    Malformed calls are among the k; a turn of nothing else earns -0.3, and calls inside reasoning are not made. A turn
    without calls earns as in paper_step, but the answer must be right by the evaluation's rule for this prompt, and
    reasoning is no answer. Without a context nothing was called before, all that must be solved is in `unsolved_set`,
    and a final message that states the answer is right.
    """
    before = context or Context()
    wanted = unsolved_set if before.sub_answers is None else before.sub_answers
    turn = sum(message.role == "assistant" for message in before.messages)
    text = without_end_tokens(response)
    message = FORMATS[before.format].parse(text, turn, thinking=before.thinking)
    solved = _count(strict.solves(before.calls, wanted))
    if any(call.arguments is not None for call in message.tool_calls):
        calls = (*before.calls, *run_turn(message, codes, turn).calls)
        return form(_count(strict.solves(calls, wanted)) - solved, len(message.tool_calls))
    failed = bool(message.tool_calls) or any(tag in message.content for tag in STRAY)
    right = _is_right(message, answer, before.messages)
    return _without_calls(message.content, failed, right, _size(wanted) - solved)


strict_f1 = partial(strict_step, _f1)
strict_precision = partial(strict_step, _precision)
strict_rate = partial(strict_step, _rate)
strict_pr = partial(strict_step, _pr)


def mended_f1(
    response: str,
    codes: Mapping[str, str],
    unsolved_set: SubAnswers,
    solve_rate: float,
    answer: str,
    context: Context | None = None,
    useless_cost: float = USELESS_COST,
) -> float:
    """strict_f1, less `useless_cost` (0.2) where a turn's calls solve nothing.

    Without that cost a useless call earns 0, as much as a wrong stop, so a model learns to go on calling.
    """

    def form(t: int, k: int) -> float:
        return _f1(t, k) if t else -useless_cost

    return strict_step(form, response, codes, unsolved_set, solve_rate, answer, context)


def _is_right(message: Message, answer: str, prefix: Sequence[Message]) -> bool:
    """Whether this final message has the answer, by the rule of the evaluation for this prompt."""
    first = next((index for index, said in enumerate(prefix) if said.role == "assistant"), len(prefix))
    sample = Sample("", tuple(prefix[:first]), (), {}, Gold({}, answer=answer))
    scores = answer_scores(sample, Trajectory((message,), (), 1, "ok", "no_tool_calls", Usage(), {}))
    return any(scores.values())


def _without_calls(content: str, failed: bool, right: bool, still_open: int) -> float:
    """The reward of a turn that made no call. `failed`: it tried to; `right`: it has the answer."""
    if failed:
        return FAILED_CALL
    if not content.strip():
        return SILENT
    if right:
        return 1 / (1 + still_open)
    return 0.0 if still_open else ALL_SOLVED


def _count(solves: tuple[int | None, ...]) -> int:
    return sum(position is not None for position in solves)


def _size(sub_answers: SubAnswers) -> int:
    return sum(map(len, sub_answers.values()))


# --- a whole episode ---------------------------------------------------------------------------------------------


def episode_f1(sample: Sample, trajectory: Trajectory, verdict: Verdict, answer_bonus: float = ANSWER_BONUS) -> float:
    """Strict Solve-F1 + `answer_bonus` (0.3) for the right answer - 0.1 a malformed call, 0.3 at most.

    All three are read from the verdict, so they are the evaluation's. Raises UsageError for a task without Solve-F1.
    """
    scores = verdict.scores
    if HEADLINE not in scores:
        raise UsageError("The reward episode_f1 needs the metric solve_f1, which this task lacks; name another reward.")
    right = max(scores.get(answer) or 0.0 for answer in ANSWERS)
    return (scores[HEADLINE] or 0.0) + answer_bonus * right - _malformed(verdict)


def episode_success(sample: Sample, trajectory: Trajectory, verdict: Verdict) -> float:
    """1 for success by the task's own rule (its metric `success`: every check of a row holds) - 0.1 a malformed call,
    0.3 at most. Raises UsageError for a task without that metric."""
    if "success" not in verdict.scores:
        raise UsageError("The reward episode_success needs the metric success, which this task lacks; name another.")
    return (verdict.scores["success"] or 0.0) - _malformed(verdict)


def decision_f1(sample: Sample, trajectory: Trajectory, verdict: Verdict) -> float:
    """The metric of this name: F1 of needed calls and answers among those made, 0 where the first action is of the
    wrong kind."""
    return verdict.scores["decision_f1"] or 0.0


def autotir(sample: Sample, trajectory: Trajectory, verdict: Verdict) -> float:
    """-0.1 where the first action is of the wrong kind; 0 for a fault of form: a malformed call, no answer line; 0.1
    for a wrong answer; else the F1 of the answer's tokens, where that is more."""
    if not verdict.scores["decision_accuracy"]:
        return WRONG_KIND
    if verdict.answer_read is None or verdict.scores["malformed_call_rate"]:
        return 0.0
    said, wanted = Counter(tokens(verdict.answer_read)), Counter(tokens(sample.gold.answer or ""))
    shared = (said & wanted).total()
    return max(FORMED, 2 * shared / (said.total() + wanted.total())) if shared else FORMED


def _malformed(verdict: Verdict) -> float:
    """What malformed calls cost."""
    calls = round((verdict.scores.get("malformed_call_rate") or 0.0) * (verdict.scores.get("calls") or 0.0))
    return min(MALFORMED_COST * calls, MALFORMED_MOST)


def validation_score(scores: Mapping[str, float]) -> float:
    """By which means of validations are compared: strict Solve-F1 + 0.3 x right answers; of twins, decision F1 in
    its place."""
    return scores.get(HEADLINE, scores.get("decision_f1", 0.0)) + ANSWER_BONUS * scores.get("answer_accuracy", 0.0)


# --- by name -----------------------------------------------------------------------------------------------------

REWARDS: Mapping[str, Reward] = MappingProxyType(
    {
        "paper_f1": Reward("step", paper_f1),
        "paper_precision": Reward("step", paper_precision),
        "paper_rate": Reward("step", paper_rate),
        "paper_pr": Reward("step", paper_pr),
        "strict_f1": Reward("step", strict_f1, context=True),
        "strict_precision": Reward("step", strict_precision, context=True),
        "strict_rate": Reward("step", strict_rate, context=True),
        "strict_pr": Reward("step", strict_pr, context=True),
        "mended_f1": Reward("step", mended_f1, context=True, options=("useless_cost",)),
        "episode_f1": Reward("episode", episode_f1, options=("answer_bonus",), metric=HEADLINE),
        "episode_success": Reward("episode", episode_success, metric="success"),
        "decision_f1": Reward("episode", decision_f1, metric="decision_f1"),
        "autotir": Reward("episode", autotir, metric="decision_accuracy"),
    }
)
DEFAULTS: Mapping[str, str] = MappingProxyType({"step": "mended_f1", "episode": "episode_f1"})
"""The reward of each regime where none is named."""


def reward(name: str) -> Reward:
    """A reward by name: one of REWARDS, or an installed package's (entry point group `harness.rewards`, a Reward).

    Raises UsageError for a name that there is not.
    """
    if name in REWARDS:
        return REWARDS[name]
    known = [*REWARDS, *find_entry_points(GROUP)]
    if name not in known:
        hint = suggest_names(name, known) or f" There are {', '.join(known)}."
        raise UsageError(f"No reward is called {name!r}.{hint}")
    found = load_entry_point(GROUP, name)
    if not isinstance(found, Reward):
        raise UsageError(f"The entry point {name!r} of {GROUP} is no trainer.rewards.Reward; make one of its function.")
    return found
