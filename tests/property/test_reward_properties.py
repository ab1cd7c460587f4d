"""The trainer's reward is the evaluation's score: of the same texts, turn by turn and as a whole."""

import json
from dataclasses import replace

import pytest
from builders import COUNTER, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.records import sample_from_record
from harness.environment import ToolEnvironment
from harness.formats.hermes import Hermes
from harness.rollout import Episode, play_episode
from harness.scoring import score
from harness.types import Limits, Reply
from trainer.prefixes import cut_prefixes, drop_duplicates, first_prefix, prefix_from_record, prefix_to_record
from trainer.rewards import REWARDS, episode_f1
from trainer.tool_runner import shared_sandbox

ECHO = "def echo(text):\n    return text\n"
FACTS = "def facts(which):\n    return {'oaks': ['Oak of Arden', 'Oak of Brill'], 'both': '998 and 1,204'}[which]\n"

SAMPLE = sample_from_record(
    {
        "id": "mixed",
        "messages": [{"role": "user", "content": "How many people live where? End with a line `Answer: ...`."}],
        "tools": [tool("population", {"town": {"type": "string"}}), tool("echo", {"text": {}}), tool("facts", {})],
        "codes": {"population": COUNTER, "echo": ECHO, "facts": FACTS},
        "unsolved_set": {"population": ["45,210", "998"], "echo": ["Corrie"], "facts": ["998", "Oak of Brill", "1204"]},
        "answer": "45210",
    },
    0,
    "record 1",
)

towns = st.sampled_from(["Corrie", "corrie ", "Brill", "Arden", "Nowhere", "45,210"])
well_formed = st.one_of(
    towns.map(lambda town: ("population", {"town": town})),
    st.sampled_from(["Corrie", "998", ""]).map(lambda text: ("echo", {"text": text})),
    st.sampled_from(["oaks", "both", "none"]).map(lambda which: ("facts", {"which": which})),
    st.sampled_from([("echo", {"Corrie": 1}), ("missing", {}), ("facts", {"which": 7})]),
)
written = well_formed.map(
    lambda made: f"<tool_call>\n{json.dumps({'name': made[0], 'arguments': made[1]})}\n</tool_call>"
)
malformed = st.sampled_from(['<tool_call>\n{"name": "echo", "arguments": {\n</tool_call>', "<tool_call>\n{}"])
turns_of_calls = st.lists(written, min_size=1, max_size=4).map("\n".join)
mixed_turns = st.lists(st.one_of(written, written, malformed), min_size=1, max_size=4).map("\n".join)
finals = st.sampled_from(["Answer: 45,210", "Answer: 998", "I give up.", "", "45210", "</tool_call>"])


class Script:
    """A model that says these texts, read as a Hermes model's replies are."""

    def __init__(self, texts):
        self.texts = texts

    def __call__(self, request):
        return Reply(Hermes().parse(self.texts[request.turn], request.turn))


def play(texts):
    with shared_sandbox().episode() as tools:
        episode = Episode(SAMPLE, limits=Limits(max_turns=len(texts)))
        trajectory = play_episode(episode, ToolEnvironment(SAMPLE), Script(texts), tools)
    return trajectory, score(SAMPLE, trajectory)


def prefixes(trajectory, rule="strict"):
    """The episode's prefixes, by way of their records."""
    records = [
        json.loads(json.dumps(prefix_to_record(prefix)))
        for prefix in cut_prefixes("towns", SAMPLE, trajectory, 0, rule)
    ]
    return [prefix_from_record(record, 0, "record 1") for record in records]


def rewards(name, trajectory, texts, rule="strict"):
    """What each turn that was played earns, from its prefix and its text alone."""
    pairs = zip(prefixes(trajectory, rule), texts[: trajectory.turns], strict=False)
    return REWARDS[name].steps([prefix.to_turn(text) for prefix, text in pairs])


def solved_after(trajectory, turns):
    """What the evaluation says of the episode's first turns: how many sub-answers they solve."""
    calls = tuple(record for record in trajectory.calls if record.turn < turns)
    return sum(position is not None for position in score(SAMPLE, replace(trajectory, calls=calls)).solves)


@settings(max_examples=120, deadline=None)
@given(st.lists(mixed_turns, min_size=1, max_size=4), finals)
def test_a_strict_turn_earns_what_it_adds_to_the_evaluations_score(turns, final):
    texts = [*turns, final]
    trajectory, verdict = play(texts)
    played = range(trajectory.turns)
    made = [[record for record in trajectory.calls if record.turn == turn] for turn in played]
    gained = [solved_after(trajectory, turn + 1) - solved_after(trajectory, turn) for turn in played]
    assert sum(gained) == sum(position is not None for position in verdict.solves)
    expected = {
        turn: gained[turn] if any(record.status != "malformed" for record in made[turn]) else -0.3
        for turn in played
        if made[turn]
    }
    rates, f1s = (rewards(name, trajectory, texts) for name in ("strict_rate", "strict_f1"))
    assert {turn: rates[turn] for turn in expected} == expected
    assert all(f1s[turn] == 2 * t / (len(made[turn]) + 1) for turn, t in expected.items() if t >= 0)


@settings(max_examples=80, deadline=None)
@given(st.lists(turns_of_calls, min_size=1, max_size=4))
def test_the_papers_turns_sum_up_to_the_papers_score(turns):
    texts = [*turns, "I give up."]
    trajectory, verdict = play(texts)
    earned = rewards("paper_rate", trajectory, texts, "paper")
    assert sum(earned[:-1]) == sum(position is not None for position in verdict.paper_solves)
    n = sum(map(len, SAMPLE.gold.sub_answers.values()))
    assert [prefix.unsolved_count for prefix in prefixes(trajectory, "paper")] == [
        n - int(sum(earned[:turn])) for turn in range(trajectory.turns)
    ]


@settings(max_examples=80, deadline=None)
@given(st.lists(mixed_turns, min_size=0, max_size=4), finals)
def test_the_episode_reward_is_made_of_the_evaluations_numbers(turns, final):
    trajectory, verdict = play([*turns, final])
    broken = sum(record.status == "malformed" for record in trajectory.calls)
    cost = min(0.1 * broken, 0.3)
    expected = verdict.scores["solve_f1"] + 0.3 * verdict.scores["answer_accuracy"] - cost
    value = episode_f1(SAMPLE, trajectory, verdict)
    assert value == pytest.approx(expected)
    assert -0.3 <= value <= 1.3


@settings(max_examples=60, deadline=None)
@given(st.one_of(mixed_turns, finals, st.text(max_size=40)))
def test_bounds_of_a_turn(text):
    turn = first_prefix("towns", SAMPLE).to_turn(text)
    value = {name: found.steps([turn])[0] for name, found in REWARDS.items() if found.kind == "step"}
    for rule in ("paper", "strict"):
        assert -0.5 <= value[f"{rule}_precision"] <= 1.0
        assert -0.5 <= value[f"{rule}_f1"] < 2.0
        assert -0.5 <= value[f"{rule}_rate"] <= 6.0
        assert value[f"{rule}_pr"] <= value[f"{rule}_rate"]
    assert value["mended_f1"] in (value["strict_f1"], -0.2)
    if value["mended_f1"] != value["strict_f1"]:
        assert value["strict_f1"] == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(mixed_turns, min_size=1, max_size=4), finals, st.sampled_from(["strict", "paper"]))
def test_a_prefix_survives_its_record(turns, final, rule):
    trajectory, _ = play([*turns, final])
    before = list(cut_prefixes("towns", SAMPLE, trajectory, 3, rule))
    for old, new in zip(
        before, [prefix_from_record(prefix_to_record(prefix), 5, "record 6") for prefix in before], strict=True
    ):
        assert (new.id, new.epoch, new.turn, new.rule) == (old.id, 3, old.turn, rule)
        assert (new.messages, new.unsolved_set, new.solve_rate) == (old.messages, old.unsolved_set, old.solve_rate)
        assert new.sample.gold.sub_answers == SAMPLE.gold.sub_answers
        assert (new.sample.messages, new.sample.tools) == (SAMPLE.messages, SAMPLE.tools)
        assert [(c.turn, c.status, c.output, c.call.arguments) for c in new.calls] == [
            (c.turn, c.status, c.output, c.call.arguments) for c in old.calls
        ]
        assert old.messages == trajectory.messages[: len(old.messages)]
    assert len({prefix.id for prefix in before}) == len(before)
    assert list(drop_duplicates([*before, *before])) == before
