"""BFCL's figures: gold and corruptions of it, judged by the wheel's own checker inside the sandbox.

Needs the wheel: `tox -e bfcl`, or an environment with bfcl-eval (--no-deps) and mpmath in it.
"""

from collections import Counter
from functools import cache
from importlib.util import find_spec

import pytest

from harness.models import ModelOptions
from harness.models.policies import load
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import Limits
from tasks.bfcl import LIVE, OTHERS, SIMPLE, TURNS, tasks
from tasks.bfcl.environments import CODES
from tasks.bfcl.samples import CONVERSATIONS, WANTED_CALLS
from tasks.bfcl.schemas import tool_name

COMPARED = (*SIMPLE, *OTHERS, *LIVE)
PYTHON = tuple(name for name in COMPARED if "java" not in name)
BROKEN = {
    "live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_507-149-4", "live_multiple_862-181-3",
    "live_multiple_964-207-0", "simple_java_36", "simple_java_65",
}  # fmt: skip
SIZES = {
    "simple_python": 400, "simple_java": 100, "simple_javascript": 50, "multiple": 200, "parallel": 200,
    "parallel_multiple": 200, **LIVE, "irrelevance": 240, "live_irrelevance": 884, "live_relevance": 16,
    **dict.fromkeys(CONVERSATIONS, 200),
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("bfcl_eval") is None or find_spec("mpmath") is None,
        reason="needs the wheel bfcl-eval and mpmath: tox -e bfcl",
    ),
]


@cache
def task(category):
    found = next(each for each in tasks({}) if each.name == f"bfcl_{category}")
    return found, list(found.load())


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as tools:
        yield tools


def plays(name, category, sandbox):
    """The ids that a policy gets right, each in an episode of its own, as in `harness eval`."""
    found, samples = task(category)
    policy = load(name, ModelOptions())
    right = set()
    for sample in samples:
        with sandbox.episode(found.state and sandbox.preload(found.state(sample))) as tools:
            episode = Episode(sample, limits=Limits(max_turns=TURNS), task=found.name)
            trajectory = play_episode(episode, found.environment(sample), policy, tools)
        assert trajectory.outcome == "ok", trajectory.error
        if found.score(sample, trajectory).scores["official_accuracy"] == 1:
            right.add(sample.id)
    return right


# --- gold --------------------------------------------------------------------------------------------------------


def test_the_sizes_of_the_categories():
    assert {category: len(task(category)[1]) for category in SIZES} == SIZES
    assert set(SIZES) == {each.name.removeprefix("bfcl_") for each in tasks({})}


def test_gold_is_right_but_for_the_broken_entries(sandbox):
    wrong = set()
    for category in COMPARED:
        ids = {sample.id for sample in task(category)[1]}
        wrong |= ids - plays("oracle", category, sandbox)
    assert wrong == BROKEN


@pytest.mark.parametrize("category", WANTED_CALLS)
def test_a_call_or_none(category, sandbox):
    assert len(plays("oracle", category, sandbox)) == SIZES[category]
    assert len(plays("silent", category, sandbox)) == task(category)[0].floor * SIZES[category]


@pytest.mark.parametrize("category", CONVERSATIONS)
def test_gold_of_conversations(category, sandbox):
    assert len(plays("oracle", category, sandbox)) == 200


def test_saying_nothing_in_a_conversation(sandbox):
    assert {category: len(plays("silent", category, sandbox)) for category in CONVERSATIONS} == dict.fromkeys(
        CONVERSATIONS, 0
    )


# --- corruptions of single turns ---------------------------------------------------------------------------------


def judged(corrupt, categories, sandbox):
    """[how many are still right, of how many that the corruption applies to], over gold that is right."""
    counts = Counter()
    for category in categories:
        found, samples = task(category)
        with sandbox.episode(sandbox.preload(found.state(samples[0]))) as tools:
            wishes = []
            for sample in samples:
                functions = sample.metadata["functions"]
                types = {tool_name(each["name"]): each["parameters"]["properties"] for each in functions}
                gold = [(call.name, dict(call.arguments)) for call in sample.gold.calls]
                changed = None if sample.id in BROKEN else corrupt(gold, types)
                if changed is not None:
                    known = {name: sample.metadata[name] for name in ("functions", "answer", "language", "category")}
                    wishes.append(("check_calls", {**known, "calls": [{name: value} for name, value in changed]}))
            results = tools.run(CODES, wishes)
        assert {result.status for result in results} <= {"ok"}, results
        counts["right"] += sum('"valid": true' in result.output for result in results)
        counts["of"] += len(results)
    return [counts["right"], counts["of"]]


def change(gold, types, applies, value):
    """Gold with the values of its first call that `applies` names changed; None where there are none."""
    (name, arguments), *rest = gold
    changed = {key: value(old) for key, old in arguments.items() if applies(old, types[name].get(key, {}).get("type"))}
    return [(name, {**arguments, **changed}), *rest] if changed else None


def disguised(text):
    """Another case, and the spaces and marks that are not compared."""
    return " " + "-".join(text.swapcase()) + "_,./^*"


def test_case_spaces_and_punctuation_are_not_compared(sandbox):
    def corrupt(gold, types):
        return change(gold, types, lambda old, kind: isinstance(old, str) and kind == "string", disguised)

    assert judged(corrupt, PYTHON, sandbox) == [1882, 1882]


def test_a_text_is_no_integer(sandbox):
    def corrupt(gold, types):
        return change(gold, types, lambda old, kind: type(old) is int and kind == "integer", str)

    assert judged(corrupt, PYTHON, sandbox) == [0, 785]


def test_strings_of_a_java_array_are_wrong_with_their_quotation_marks(sandbox):
    def corrupt(gold, types):
        quoted = '"{}"'.format
        return change(
            gold,
            types,
            lambda old, kind: kind == "Array" and old.startswith("new String[]"),
            lambda old: f"new String[]{{{', '.join(map(quoted, old[13:-1].split(', ')))}}}",
        )

    assert judged(corrupt, ("simple_java",), sandbox) == [0, 8]


def test_a_parameter_too_many(sandbox):
    def corrupt(gold, types):
        (name, arguments), *rest = gold
        return [(name, {**arguments, "surplus": 1}), *rest]

    assert judged(corrupt, COMPARED, sandbox) == [0, 2494]


def test_a_call_too_many(sandbox):
    assert judged(lambda gold, types: [*gold, gold[0]], COMPARED, sandbox) == [0, 2494]


def test_parallel_calls_in_another_order(sandbox):
    def corrupt(gold, types):
        return gold[::-1] if gold != gold[::-1] else None

    assert judged(corrupt, ("parallel", "parallel_multiple"), sandbox) == [398, 399]


# --- corruptions of conversations --------------------------------------------------------------------------------


def replayed(change_turns, category, sandbox, before=None):
    """How many conversations are right with these steps; `before` was judged in the same process first."""
    found, samples = task(category)
    right = 0
    for sample in samples:
        turns = gold_turns(sample)
        attempts = [each(turns) for each in (before, change_turns) if each]
        known = {"entry": sample.metadata["entry"], "gold": sample.metadata["answer"]}
        with sandbox.episode(sandbox.preload(found.state(sample))) as tools:
            results = tools.run(CODES, [("check_conversation", {**known, "turns": each}) for each in attempts])
        assert {result.status for result in results} == {"ok"}, results
        right += '"valid": true' in results[-1].output
    return right


def gold_turns(sample):
    """[[[name, arguments], ...] as one step] for each turn of the user's."""
    calls = iter(sample.gold.calls)
    turns = []
    for texts in sample.metadata["answer"]:
        step = [[call.name, call.arguments] for _, call in zip(texts, calls, strict=False)]
        turns.append([step] if step else [])
    return turns


def last_with_calls(turns):
    return max(index for index, turn in enumerate(turns) if turn)


def without_last(turns):
    place = last_with_calls(turns)
    return [[[*turn[0][:-1]]] if index == place else turn for index, turn in enumerate(turns)]


def without_last_of_first(turns):
    place = next(index for index, turn in enumerate(turns) if turn)
    return [[[*turn[0][:-1]]] if index == place else turn for index, turn in enumerate(turns)]


def repeated(turns):
    place = last_with_calls(turns)
    return [[[*turn[0], turn[0][-1]]] if index == place else turn for index, turn in enumerate(turns)]


@pytest.mark.parametrize("category", CONVERSATIONS)
def test_the_last_call_removed_or_made_twice(category, sandbox):
    assert replayed(without_last, category, sandbox) == 0
    assert replayed(repeated, category, sandbox) == 142


def test_state_does_not_leak_between_episodes_although_it_does_within_a_process(sandbox):
    assert replayed(lambda turns: turns, "multi_turn_base", sandbox, before=without_last_of_first) == 131
    assert replayed(without_last_of_first, "multi_turn_base", sandbox) < 200
    assert replayed(lambda turns: turns, "multi_turn_base", sandbox) == 200
