"""Step and episode rewards on small cases: what each kind of turn earns, and how a reward is found by name."""

import json
import multiprocessing
from importlib.metadata import EntryPoint

import pytest
from builders import COUNTER, call, sample, says

from harness.errors import UsageError
from harness.scoring import score
from harness.types import CallRecord, Message, Trajectory, Usage, Verdict
from trainer import rewards, tool_runner
from trainer.rewards import (
    DEFAULTS,
    REWARDS,
    Context,
    Reward,
    Turn,
    episode_f1,
    episode_success,
    mended_f1,
    paper_f1,
    paper_rate,
    reward,
    strict_f1,
    strict_pr,
    strict_precision,
    strict_rate,
    validation_score,
)

ECHO = "def echo(text):\n    return text\n"
CODES = {"population": COUNTER, "echo": ECHO}
OPEN = {"population": ["45,210", "998"], "echo": ["Corrie"]}
MALFORMED = '<tool_call>\n{"name": "population", "arguments": {\n</tool_call>'


def said(*calls):
    """A text that makes these calls, each (name, arguments)."""
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>" for name, arguments in calls
    )


def ask(town):
    return "population", {"town": town}


def turn(text, still_open=None, answer="45210"):
    """The five arguments of a step reward."""
    left = OPEN if still_open is None else still_open
    n = sum(map(len, left.values()))
    return text, CODES, left, 1 - n / 3, answer


def before(*calls, messages=()):
    """A context in which these calls were made, each with its output."""
    records = tuple(CallRecord(0, call(name, arguments), "ok", output) for (name, arguments), output in calls)
    return Context(messages, records, OPEN)


# --- strict ------------------------------------------------------------------------------------------------------


def test_two_of_three_calls_solve():
    text = said(ask("Corrie"), ask("Brill"), ask("Nowhere"))
    assert strict_f1(*turn(text)) == 2 * 2 / 4
    assert strict_precision(*turn(text)) == 2 / 3
    assert strict_rate(*turn(text)) == 2.0
    assert strict_pr(*turn(text)) == 4 / 3


def test_malformed_and_unknown_calls_count_as_calls():
    assert strict_precision(*turn(said(ask("Corrie")) + MALFORMED + said(("nothing", {})))) == 1 / 3


def test_a_turn_of_nothing_but_malformed_calls_is_a_failed_attempt():
    assert strict_f1(*turn(MALFORMED)) == -0.3
    assert mended_f1(*turn(MALFORMED)) == -0.3
    assert strict_f1(*turn("nothing </tool_call>")) == -0.3


def test_an_echo_earns_nothing_strictly():
    text = said(("echo", {"text": "Corrie"}))
    assert strict_f1(*turn(text)) == 0.0
    assert mended_f1(*turn(text)) == -0.2
    assert paper_f1(*turn(text)) == 1.0


def test_a_guess_as_an_unknown_keyword_earns_nothing_strictly():
    text = said(("echo", {"Corrie": 1}))
    assert strict_f1(*turn(text)) == 0.0
    assert paper_f1(*turn(text)) == 1.0


def test_a_repeat_of_an_earlier_call_earns_nothing():
    earlier = before((ask("Corrie"), '{"inhabitants": 45210}'))
    left = {"population": ["998"], "echo": ["Corrie"]}
    assert strict_rate(*turn(said(ask("Corrie")), left), earlier) == 0.0
    assert mended_f1(*turn(said(ask("Corrie")), left), earlier) == -0.2
    assert strict_rate(*turn(said(ask("Brill")), left), earlier) == 1.0


def test_a_repeat_within_a_turn_earns_once():
    assert strict_rate(*turn(said(ask("Corrie"), ask("Corrie")), {"population": ["45,210", "45,210"]})) == 1.0


def test_the_increase_counts_where_a_later_call_rearranges_the_matching():
    both = "def both(which):\n    return 'ash and elm' if which == 0 else 'ash'\n"
    wanted = {"both": ["ash", "elm"]}
    earlier = Context((), (CallRecord(0, call("both", {"which": 0}), "ok", "ash and elm"),), wanted)
    # "ash" was given to the first call; with the second one there, the first takes "elm".
    five = said(("both", {"which": 1})), {"both": both}, {"both": ["elm"]}, 0.5, "ash"
    assert strict_rate(*five, earlier) == 1.0


def test_calls_inside_reasoning_are_not_made():
    text = f"<think>{said(ask('Corrie'))}</think>I do not know."
    assert strict_f1(*turn(text)) == 0.0
    assert paper_f1(*turn(text)) > 0


def test_a_prompt_that_ends_inside_a_block_of_reasoning():
    text = f"{said(ask('Corrie'))}</think>{said(ask('Brill'))}"
    assert strict_precision(*turn(text), Context(thinking=True)) == 1.0
    assert strict_precision(*turn(text + said(ask("Nowhere"))), Context(thinking=True)) == 0.5


def test_the_calls_are_read_in_the_models_own_format():
    text = '{"name": "population", "parameters": {"town": "Corrie"}}'
    assert strict_rate(*turn(text), Context(format="llama3")) == 1.0
    assert strict_rate(*turn(text)) == 0.0


@pytest.mark.parametrize("text", ["", "  \n", "<|im_end|>", "<think>\nwell\n</think>\n\n<|im_end|>"])
def test_silence(text):
    assert strict_f1(*turn(text)) == -0.5


def test_an_answer_is_worth_more_the_less_is_open():
    assert strict_f1(*turn("It is 45,210.<|im_end|>")) == 1 / 4
    assert strict_f1(*turn("It is 45,210.", {"population": []})) == 1.0
    assert strict_f1(*turn("It is 7.", {"population": []})) == 0.5
    assert strict_f1(*turn("It is 7.")) == 0.0


def test_where_the_prompt_asks_for_a_last_line_the_answer_must_stand_there():
    prompt = (Message("user", "How many? End with a line `Answer: ...`."),)
    everything = before((ask("Corrie"), "45210"), (ask("Brill"), "998"), messages=prompt)
    wanted = {"population": ["45,210", "998"]}
    context = Context(prompt, everything.calls, wanted)
    assert strict_f1(*turn("Answer: 45,210", {"population": []}), context) == 1.0
    assert strict_f1(*turn("It is 45,210.", {"population": []}), context) == 0.5
    assert strict_f1(*turn("<think>Answer: 45210</think>no", {"population": []}), context) == 0.5


def test_an_empty_answer_is_right_for_the_paper_only():
    assert paper_f1(*turn("Well.", answer="")) == 1 / 4
    assert strict_f1(*turn("Well.", answer="")) == 0.0


def test_a_useless_call_may_cost_another_amount():
    assert mended_f1(*turn(said(ask("Nowhere"))), useless_cost=0.4) == -0.4


# --- the paper's -------------------------------------------------------------------------------------------------


def test_a_malformed_call_does_not_exist_for_the_paper():
    assert paper_rate(*turn(said(ask("Corrie")) + MALFORMED)) == 1.0
    assert paper_f1(*turn(said(ask("Corrie")) + MALFORMED)) == 1.0
    assert paper_f1(*turn(MALFORMED)) == -0.3


# --- batches and the sandbox -------------------------------------------------------------------------------------


def test_a_batch_keeps_its_order():
    towns = ["Corrie", "Nowhere", "Brill", "Corrie", "Arden"] * 8
    turns = [Turn(*turn(said(ask(town)))) for town in towns]
    expected = [1.0 if town in ("Corrie", "Brill") else -0.2 for town in towns]
    assert REWARDS["mended_f1"].steps(turns) == expected
    assert REWARDS["mended_f1"].steps([]) == []


def test_the_process_has_one_sandbox():
    assert tool_runner.shared_sandbox() is tool_runner.shared_sandbox()


def test_a_call_that_fails_earns_nothing_whatever_its_error_says():
    wrong = {"population": "def population(town):\n    raise ValueError('45,210')\n"}
    assert tool_runner.run_turn(says("", call("population", {"town": "Corrie"})), wrong).calls[0].status == "raised"
    assert strict_f1(said(ask("Corrie")), wrong, OPEN, 0.0, "") == 0.0


def _in_a_fork(queue):
    queue.put(strict_rate(*turn(said(ask("Corrie")))))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_its_own_sandbox():
    assert strict_rate(*turn(said(ask("Corrie")))) == 1.0
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    process = fork.Process(target=_in_a_fork, args=(queue,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get() == 1.0
    assert strict_rate(*turn(said(ask("Corrie")))) == 1.0


# --- an episode --------------------------------------------------------------------------------------------------


def played(final, *calls):
    records = tuple(calls)
    trajectory = Trajectory((says(final),), records, 2, "ok", "no_tool_calls", Usage(), {})
    return sample(), trajectory, score(sample(), trajectory)


def made(town, output):
    return CallRecord(0, call("population", {"town": town}), "ok", output)


BROKEN = CallRecord(0, call("population", None), "malformed", "an error")


def test_an_episode_earns_its_f1_and_a_bonus():
    right = made("Corrie", '{"inhabitants": 45210}')
    assert episode_f1(*played("Answer: 45,210", right)) == 1.3
    assert episode_f1(*played("no idea", right)) == 1.0
    assert episode_f1(*played("Answer: 45,210")) == 0.3
    assert episode_f1(*played("no idea")) == 0.0


def test_malformed_calls_cost_up_to_a_limit():
    right = made("Corrie", '{"inhabitants": 45210}')
    assert episode_f1(*played("no idea", right, BROKEN)) == pytest.approx(2 / 3 - 0.1)
    assert episode_f1(*played("no idea", *[BROKEN] * 2)) == -0.2
    assert episode_f1(*played("no idea", *[BROKEN] * 9)) == -0.3


def test_success_is_the_tasks_own():
    failed = {"success": 0.0, "calls": 2.0, "malformed_call_rate": 0.5}
    assert episode_success(sample(), played("x")[1], Verdict((), (), {"success": 1.0})) == 1.0
    assert episode_success(sample(), played("x")[1], Verdict((), (), failed)) == -0.1
    with pytest.raises(UsageError, match="episode_success needs the metric success"):
        episode_success(*played("x"))


def test_a_task_without_solve_f1_needs_another_reward():
    _, trajectory, _ = played("no idea")
    with pytest.raises(UsageError, match="solve_f1"):
        episode_f1(sample(), trajectory, Verdict((), (), {"accuracy": 1.0}))


# --- by name -----------------------------------------------------------------------------------------------------


def test_rewards_by_name():
    assert reward("paper_f1").function is paper_f1
    assert {name for name, found in REWARDS.items() if found.kind == "episode"} == {
        *("episode_f1", "episode_success", "decision_f1", "autotir"),
    }
    assert {kind: REWARDS[name].kind for kind, name in DEFAULTS.items()} == {"step": "step", "episode": "episode"}


def test_validations_are_compared_by_calls_and_answers_of_twins_too():
    assert validation_score({"solve_f1": 0.5, "answer_accuracy": 0.2, "decision_f1": 0.9}) == pytest.approx(0.56)
    assert validation_score({"decision_accuracy": 0.6, "decision_f1": 0.4, "answer_accuracy": 0.1}) == pytest.approx(
        0.43
    )


def test_a_name_that_is_nearly_right_is_named():
    with pytest.raises(UsageError, match=r"Did you mean .*paper_f1"):
        reward("paper_f2")
    with pytest.raises(UsageError, match="There are paper_f1,"):
        reward("zzz")


def length(response, codes, unsolved_set, solve_rate, answer):
    return len(response)


OWN = Reward("step", length)


def test_a_reward_of_ones_own(monkeypatch):
    points = {
        "length": EntryPoint("length", f"{__name__}:OWN", rewards.GROUP),
        "plain": EntryPoint("plain", f"{__name__}:length", rewards.GROUP),
    }
    monkeypatch.setattr(rewards, "find_entry_points", lambda group: points)
    monkeypatch.setattr(rewards, "load_entry_point", lambda group, name: {"length": OWN, "plain": length}[name])
    assert reward("length").steps([Turn(*turn("four"))]) == [4.0]
    with pytest.raises(UsageError, match=r"is no trainer\.rewards\.Reward"):
        reward("plain")
    with pytest.raises(UsageError, match="Did you mean length"):
        reward("lengths")
