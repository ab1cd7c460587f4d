"""The demonstrator: flaws at the rates it says, real outputs, answers that follow from what it has seen."""

import json

import builders
import pytest

from harness.data.messages import question_of
from harness.data.records import read_samples
from harness.errors import HarnessError
from harness.sandbox import Sandbox, SandboxConfig
from harness.scoring.decisions import score, situation_of
from harness.types import GoldCall
from tasks.synthesised import FOLDER
from trainer.sft.demonstrator import Demonstrator, Flaws, explain_call, play_demonstrations


@pytest.fixture(scope="module")
def samples():
    return read_samples(FOLDER / "micro@1.jsonl.xz")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as opened:
        yield opened


def plans(samples, flaws, epochs=10):
    player = Demonstrator(flaws, seed=3)
    return [(sample, *player.plan(sample, epoch=epoch)) for sample in samples for epoch in range(epochs)]


def test_flaws_come_at_their_rates(samples):
    planned = plans(samples, Flaws(repeat=0.7, skip_last=0.4))
    repeated = [calls[:1] == calls[1:2] for _, calls, _ in planned]
    long = [skipped for sample, _, skipped in planned if len(sample.gold.calls) > 1]
    assert sum(repeated) / len(repeated) == pytest.approx(0.7, abs=0.04)  # four standard errors of 2,000 draws
    assert sum(long) / len(long) == pytest.approx(0.4, abs=0.05)


def test_a_single_call_is_never_skipped(samples):
    planned = plans(samples, Flaws(repeat=0.0, skip_last=1.0), epochs=1)
    for sample, calls, skipped in planned:
        assert skipped == (len(sample.gold.calls) > 1)
        assert calls == list(sample.gold.calls[:-1] if skipped else sample.gold.calls)


def test_draws_depend_on_seed_and_epoch_alone(samples):
    flaws = Flaws()
    drawn = [Demonstrator(flaws, seed).plan(sample, epoch=e) for seed in (1, 2) for e in (0, 1) for sample in samples]
    again = [Demonstrator(flaws, seed).plan(sample, epoch=e) for seed in (1, 2) for e in (0, 1) for sample in samples]
    assert drawn == again
    parts = [drawn[at : at + len(samples)] for at in range(0, len(drawn), len(samples))]
    assert all(parts[0] != other for other in parts[1:])


def test_a_thought_says_what_is_wanted_as_the_tools_say_it(sandbox):
    samples = read_samples(FOLDER / "micro@2.jsonl.xz")[:20]
    played = list(play_demonstrations(samples, Flaws(0, 0), 1, 1.0, sandbox, thoughts="meaning"))
    assert [sample for sample, _ in played] == samples
    for sample, trajectory in played:
        told = json.dumps([[tool.description, tool.parameters] for tool in sample.tools], ensure_ascii=False)
        thoughts = [message.reasoning for message in trajectory.messages if message.tool_calls]
        assert len(thoughts) == len(sample.gold.calls)
        for thought, call in zip(thoughts, sample.gold.calls, strict=True):
            meaning, _, name = thought.rpartition(" -> ")
            assert name == call.name
            if "entry" in call.arguments:
                assert f"{call.arguments['entry']}: {meaning[:12]}" in told


def test_without_an_explanation_the_tools_own_words_are_thought():
    tool = {"name": "population", "description": "People of a town.", "parameters": {"type": "object"}}
    one = builders.sample(tools=[{"type": "function", "function": tool}])
    assert explain_call(one, GoldCall("population", {"town": "Ahlen"}, None)) == "People of a town. -> population"


def test_without_flaws_it_is_the_oracle(samples, sandbox):
    for sample, trajectory in play_demonstrations(samples[:16], Flaws(0, 0), 1, 0.0, sandbox):
        assert [(record.call.name, record.call.arguments) for record in trajectory.calls] == [
            (call.name, call.arguments) for call in sample.gold.calls
        ]
        assert trajectory.messages[-1].content == f"Answer: {sample.gold.answer}"


def test_outputs_are_the_tools_own_and_a_careless_answer_is_the_last_of_them(samples, sandbox):
    careless = 0
    for sample, trajectory in play_demonstrations(samples[:40], Flaws(1, 1), 1, 0.0, sandbox):
        outputs = [message.content for message in trajectory.messages if message.role == "tool"]
        namespace: dict = {}
        last = trajectory.calls[-1]
        exec(sample.codes[last.call.name], namespace)
        assert json.loads(outputs[-1]) == namespace[last.call.name](**last.call.arguments)
        assert trajectory.calls[0].call.arguments == trajectory.calls[1].call.arguments
        assert outputs[0] == outputs[1]
        if len(sample.gold.calls) > 1:
            careless += 1
            value = str(next(iter(json.loads(outputs[-1]).values())))
            assert trajectory.messages[-1].content.replace(",", "") == f"Answer: {value}".replace(",", "")
    assert careless == 30


def test_it_thinks_in_the_share_of_episodes_it_is_told_to(samples, sandbox):
    thinking = []
    for _, trajectory in play_demonstrations(samples, Flaws(), 1, 0.3, sandbox):
        thoughts = {bool(message.reasoning) for message in trajectory.messages if message.role == "assistant"}
        assert len(thoughts) == 1
        thinking.append(thoughts.pop())
        for message in trajectory.messages:
            for call in message.tool_calls:
                assert not message.reasoning or call.name in message.reasoning
    assert sum(thinking) / len(thinking) == pytest.approx(0.3, abs=0.13)


@pytest.mark.parametrize("needless", [0.0, 1.0])
def test_a_twin_without_a_due_call_has_none_or_a_needless_one(sandbox, needless):
    twins = read_samples(FOLDER / "when@1.jsonl.xz")[:40]
    for sample, trajectory in play_demonstrations(twins, Flaws(0, 0, needless), 1, 0.0, sandbox):
        scores = score(sample, trajectory).scores
        due = situation_of(sample).due
        assert scores["answer_accuracy"] == 1
        assert scores["needless_calls"] == (0.0 if due else needless)
        assert scores["decision_accuracy"] == float(due or not needless)
        if not due and needless:
            (call,) = (record.call for record in trajectory.calls)
            assert any(value in question_of(sample) for value in call.arguments.values())


def test_it_thinks_of_twins_where_what_is_wanted_stands(sandbox):
    """Both things asked, in the tools' words, which no question has: in a tool, in the note, or nowhere."""
    twins, seen = read_samples(FOLDER / "when@1.jsonl.xz")[:60], set()
    for sample, trajectory in play_demonstrations(twins, Flaws(0, 0, 1.0), 1, 1.0, sandbox, thoughts="meaning"):
        first, *_, last = (message for message in trajectory.messages if message.role == "assistant")
        wanted = [thought.rpartition(" -> ") for thought in first.reasoning.split("; ")]
        tools = {tool.name: json.dumps(tool.parameters, ensure_ascii=False) for tool in sample.tools}
        for words, _, place in wanted:
            assert place not in tools or " ".join(words.split()[:3]) in tools[place]
        situation = str(sample.metadata["data_source"]).removeprefix("when/")
        seen.add((situation, *("tool" if place in tools else place for _, _, place in wanted)))
        assert last.reasoning == "I answer."
    assert seen == {
        ("answerable", "tool", "tool"),
        ("partial", "tool", "nowhere"),
        ("partial", "nowhere", "tool"),
        ("missing_record", "tool", "tool"),
        ("no_tool", "note", "note"),
        ("tool_gone", "nowhere", "nowhere"),
    }


def test_twins_of_ones_own_may_lack_a_world_tools_and_a_situation(sandbox):
    """Their thoughts are those of any sample, and without a tool there is no needless call."""
    calls = [{"name": "population", "arguments": {"town": "Corrie"}, "solves": 0}]
    twins = [
        builders.sample(data_source="when/answerable", world=...),
        builders.sample(data_source="when/other", gold_calls=calls),
        builders.sample(data_source="when/no_tool", gold_calls=[], tools=[], codes={}, unsolved_set={}),
    ]
    played = play_demonstrations(twins, Flaws(0, 0, 1.0), 1, 1.0, sandbox, thoughts="meaning")
    first, other, bare = ([one.reasoning for one in said.messages if one.role == "assistant"] for _, said in played)
    assert first == other and first[0].endswith(" -> population")
    assert bare == ["I answer."]


def test_needless_calls_come_at_their_rate_and_change_no_other_draw(samples):
    twins = [one for one in read_samples(FOLDER / "when@1.jsonl.xz") if not one.gold.calls]
    made = [bool(calls) for _, calls, _ in plans(twins, Flaws(0.7, 0.4, 0.8))]
    assert sum(made) / len(made) == pytest.approx(0.8, abs=0.06)  # four standard errors of 800 draws
    assert plans(samples, Flaws(0.7, 0.4, 0.8)) == plans(samples, Flaws(0.7, 0.4))


@pytest.mark.parametrize("missing", ["gold_calls", "answer"])
def test_a_sample_without_gold_is_an_error_that_names_it(sandbox, missing):
    with pytest.raises(HarnessError, match="'towns' lacks them"):
        list(play_demonstrations([builders.sample(**{missing: ...})], Flaws(), 1, 0.0, sandbox))


def test_gold_that_fails_is_an_error_that_quotes_the_tool(sandbox):
    broken = builders.sample(codes={"population": "def population(town):\n    raise ValueError('closed')"})
    with pytest.raises(HarnessError, match=r"could not play 'towns': .*closed"):
        list(play_demonstrations([broken], Flaws(), 1, 0.0, sandbox))
