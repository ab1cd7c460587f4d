"""Whatever an episode was like: a failed one has one cause, a perfect one none, and nothing raises."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import chain_sample, play, record_of

from harness.types import Sample
from results.causes import CAUSE_LABELS, diagnose, is_failed

SAMPLES = [
    chain_sample(),
    chain_sample(sub_questions=...),
    chain_sample(unsolved_set={"size": ["998", "45", "998"]}, sub_questions=..., gold_calls=...),
    chain_sample(answer=..., sub_questions="odd"),
    chain_sample(unsolved_set={}, sub_questions=..., gold_calls=...),
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
names = st.sampled_from(["capital", "size", "weather", "", "no such"])
outputs = st.sampled_from(["Brill", "998 people", "45", "", '{"error": 1}', "Error: no"]) | st.text(max_size=8)
statuses = st.sampled_from(["ok", "ok", "ok", "raised", "timeout", "killed", "truncated", "unknown_tool"])
arguments = st.none() | st.fixed_dictionaries({}, optional={"town": values, "land": values})
calls = st.tuples(names, arguments, outputs, statuses).map(lambda c: c[:3] if c[1] is None else c)
outcomes = st.sampled_from(["ok", "ok", "ok", "turn_limit", "token_limit", "model_error", "infrastructure_error"])
RUNS = settings(max_examples=200, deadline=None, derandomize=True)


@RUNS
@given(
    st.sampled_from(SAMPLES),
    st.lists(calls, max_size=6),
    outcomes,
    st.sampled_from(["Answer: 998", "", "998"]),
    st.booleans(),
)
def test_one_cause_for_a_failed_episode_and_none_for_another(
    sample: Sample, made: list[tuple[str, dict[str, object] | None, str]], outcome: str, says: str, gold: bool
) -> None:
    record = record_of(sample, play(sample, made, says, outcome=outcome))
    before = copy.deepcopy(repr(record))
    found = diagnose(record, sample if gold else None)
    assert (found is not None) is is_failed(record)
    if found is not None:
        assert found.cause in CAUSE_LABELS
        assert found.cause not in found.marks
        assert list(found.marks) == [cause for cause in CAUSE_LABELS if cause in found.marks]
    assert found == diagnose(record, sample if gold else None)
    assert repr(record) == before


@RUNS
@given(st.lists(calls, max_size=4))
def test_everything_right_and_nothing_else_is_no_failure(made: list[tuple[str, dict[str, object] | None, str]]) -> None:
    """Failure is what the scores say, whatever the calls were."""
    sample = chain_sample()
    record = record_of(sample, play(sample, made))
    perfect = {**record, "scores": {**record["scores"], "solve_f1": 1.0, "answer_accuracy": 1.0}}
    assert diagnose(perfect, sample) is None
    assert diagnose({**perfect, "scores": {**perfect["scores"], "answer_accuracy": 0.0}}, sample) is not None
