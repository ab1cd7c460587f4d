"""The reference policies: what they play, and that they play it again."""

import pytest
from builders import record, sample, tool

from harness.data.records import sample_from_record
from harness.errors import UsageError
from harness.models import ModelOptions, expand_names, is_free, load_model, load_models
from harness.models.policies import find_spans
from harness.types import ModelRequest, Sampling


def replies(name, the_sample=None, turns=5, **options):
    the_sample = the_sample or sample()
    model = load_model(f"policy/{name}", ModelOptions(**options))
    return [
        model(ModelRequest((), the_sample.tools, Sampling(), the_sample, turn=turn, task="t")).message
        for turn in range(turns)
    ]


def test_the_oracle_plays_gold_and_answers():
    first, last = replies("oracle", turns=2)
    assert [(c.name, c.arguments) for c in first.tool_calls] == [("population", {"town": "Corrie"})]
    assert (last.tool_calls, last.content) == ((), "Answer: 45210")


def test_the_oracle_needs_gold():
    model = load_model("policy/oracle", ModelOptions())
    with pytest.raises(UsageError, match="1 of 2 samples have none"):
        model.check([sample(), sample(gold_calls=..., id="bare")])


def test_the_silent_one_is():
    assert not replies("silent", turns=1)[0].tool_calls


def test_random_is_seeded():
    first = [m.tool_calls for m in replies("random", turns=20)]
    assert first == [m.tool_calls for m in replies("random", turns=20)]
    assert first != [m.tool_calls for m in replies("random", turns=20, seed=1)]
    assert any(not calls for calls in first[1:])
    assert first[0]


def test_shotgun_fires_every_span_at_every_tool():
    record_ = record(
        messages=[{"role": "user", "content": 'Question: Did Ida Norr, in "the old mill", sell 12 maps?'}],
        tools=[
            tool("population", {"town": {"type": "string"}}, ["town"]),
            tool(
                "sales",
                {
                    "who": {"type": "string"},
                    "where": {"type": "string"},
                    "count": {"type": "integer"},
                    "kind": {"enum": ["map", "chart"]},
                    "note": {"type": "string"},
                },
                ["who", "where", "count", "kind"],
            ),
        ],
        codes={"population": record()["codes"]["population"], "sales": "def sales(**given):\n    return 1\n"},
    )
    message, rest = replies("shotgun", sample_from_record(record_, 0, "here"), turns=2)
    assert not rest.tool_calls
    found = find_spans('Did Ida Norr, in "the old mill", sell 12 maps?')
    assert found == ["Did Ida Norr", "the old mill"]
    assert [c.arguments for c in message.tool_calls if c.name == "population"] == [{"town": s} for s in found]
    assert [c.arguments for c in message.tool_calls if c.name == "sales"] == [
        {"who": found[0], "where": found[1], "count": 12, "kind": "map"},
        {"who": found[1], "where": found[0], "count": 12, "kind": "map"},
    ]


def test_echo_hides_the_answer_everywhere():
    message, rest = replies("echo", sample(unsolved_set={"population": ["Ida Norr"]}), turns=2)
    assert not rest.tool_calls
    arguments = [c.arguments for c in message.tool_calls]
    assert {"town": "Ida Norr"} in arguments
    assert {"Ida Norr": 1} in arguments
    assert {"town": "x", "Ida": "Ida", "Norr": "Norr"} in arguments


def test_arguments_go_to_the_backends_that_take_them_and_others_are_refused():
    with pytest.raises(UsageError, match="--model-arg seed is unknown to policy/random, which take none"):
        load_models(["policy/random"], ModelOptions(args={"seed": "1"}))
    both = ["policy/random", "openai/m"]
    models = load_models(both, ModelOptions(args={"timeout": "5"}, base_url="http://localhost:1/v1"))
    assert [model.name for model in models] == both
    with pytest.raises(UsageError, match=r"unknown to policy/random, openai/m; there are .*timeout"):
        load_models(both, ModelOptions(args={"timeuot": "5"}, base_url="http://localhost:1/v1"))


def test_what_costs_nothing_says_so():
    assert all(map(is_free, ("policy/silent", "replay/file")))
    assert not any(map(is_free, ("openai/m", "hf/m", "unknown/m", "m")))


def test_names_globs_and_near_misses():
    assert expand_names(["policy/*"]) == [
        f"policy/{n}" for n in ("oracle", "silent", "random", "shotgun", "echo", "keyword")
    ]
    assert expand_names(["gpt-x", "org/model", "openai/gpt-x"]) == ["openai/gpt-x", "openai/org/model"]
    with pytest.raises(UsageError, match="No model matches"):
        expand_names(["policy/z*"])
    with pytest.raises(UsageError, match="Did you mean policy/oracle"):
        load_model("policy/oracel", ModelOptions())
