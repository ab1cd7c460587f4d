"""Each cause on an episode that shows it, and the order in which they are asked."""

import pytest
from builders import ROOT
from report_runs import ASK, SIZED, chain_sample, play, record_of

from results.causes import CAUSE_LABELS, Diagnosis, count_causes, diagnose, sub_answers

WRONG_TOOL = ("weather", {"town": "Brill"}, "rain")
WRONG_SIZE = ("size", {"town": "Dunn"}, "45 people")
ERROR = ("size", {"town": "Bril"}, '{"error": "no such town"}')
OTHER_ERROR = ("size", {"town": "Brll"}, '{"error": "no such town"}')
MALFORMED = ("size", None, "the arguments are not JSON")
REFUSED = ("size", {"town": "Bryll"}, "not run, because this turn had 256 calls before it", "refused")
UNKNOWN = ("sizes", {"town": "Brill"}, "there is no such tool", "unknown_tool")

EPISODES = {
    "nothing called": ([], "998", "stopped_early"),
    "stopped after a hop": ([ASK], "Answer: 998", "stopped_early"),
    "stopped after a repeat": ([ASK, ASK], "Answer: 998", "stopped_early"),
    "another tool instead": ([ASK, WRONG_TOOL], "Answer: 998", "wrong_tool"),
    "a tool that is not there": ([ASK, UNKNOWN], "Answer: 998", "wrong_tool"),
    "a wrong argument": ([ASK, WRONG_SIZE], "Answer: 45", "wrong_argument"),
    "errors, tried again": ([ASK, ERROR, OTHER_ERROR], "Answer: 998", "wrong_argument"),
    "an error, not tried again": ([ASK, ERROR], "Answer: 998", "ignored_error"),
    "malformed": ([ASK, MALFORMED], "Answer: 998", "malformed_call"),
    "another tool instead, malformed": ([ASK, ("weather", None, "no JSON")], "Answer: 998", "malformed_call"),
    "refused": ([ASK, REFUSED], "Answer: 998", "refused"),
    "another tool instead, refused": ([ASK, ("weather", {}, "not run", "refused")], "Answer: 998", "refused"),
    "all found, after a refused call": ([ASK, REFUSED, SIZED], "Answer: 998", "refused"),
    "all found, answer wrong": ([ASK, SIZED], "Answer: 45", "wrong_answer"),
    "all found, answer wrong, and waste": ([ASK, ASK, SIZED], "Answer: 45", "wrong_answer"),
    "all found, one call twice": ([ASK, ASK, SIZED], "Answer: 998", "repeated"),
    "all found, a spare tool": ([ASK, WRONG_TOOL, SIZED], "Answer: 998", "wrong_tool"),
    "all found, after a wrong argument": ([ASK, WRONG_SIZE, SIZED], "Answer: 998", "wrong_argument"),
    "all found, after a malformed call": ([ASK, MALFORMED, SIZED], "Answer: 998", "malformed_call"),
}


@pytest.mark.parametrize("name", EPISODES)
def test_a_failed_episode_has_the_cause_it_shows(name):
    made, says, cause = EPISODES[name]
    sample = chain_sample()
    found = diagnose(record_of(sample, play(sample, made, says)), sample)
    assert found is not None
    assert found.cause == cause


def test_a_perfect_episode_has_none():
    sample = chain_sample()
    assert diagnose(record_of(sample, play(sample, [ASK, SIZED])), sample) is None


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [
        ("infrastructure_error", "infrastructure"),
        ("model_error", "model_error"),
        ("token_limit", "token_limit"),
        ("turn_limit", "out_of_turns"),
    ],
)
def test_what_ended_an_episode_from_outside_comes_first(outcome, cause):
    sample = chain_sample()
    found = diagnose(record_of(sample, play(sample, [ASK, ASK, MALFORMED], outcome=outcome)), sample)
    assert found is not None
    assert (found.cause, found.marks) == (cause, ("malformed_call", "repeated"))


def test_the_second_question_to_one_tool_is_missing_because_the_first_was_repeated():
    questions = [
        {"question": name, "tool": "size", "answer": answer, "depends_on": []}
        for name, answer in (("Brill?", "998"), ("Dunn?", "45"))
    ]
    sample = chain_sample(unsolved_set={"size": ["998", "45"]}, sub_questions=questions, gold_calls=...)
    found = diagnose(record_of(sample, play(sample, [SIZED, SIZED])), sample)
    assert found is not None
    assert found.cause == "repeated"


def test_the_hop_that_could_be_taken_next_decides_not_a_later_one():
    sample = chain_sample()
    found = diagnose(record_of(sample, play(sample, [ERROR, WRONG_TOOL])), sample)  # size is not next: capital is
    assert found is not None
    assert found.cause == "wrong_tool"


def test_without_gold_only_the_record_speaks():
    sample = chain_sample()
    for made, cause in (([ASK], "unexplained"), ([ASK, ERROR], "ignored_error"), ([], "stopped_early")):
        found = diagnose(record_of(sample, play(sample, made)))
        assert found is not None
        assert found.cause == cause


def test_sub_answers_follow_the_sub_questions_and_fall_back_to_the_gold():
    found = sub_answers(chain_sample())
    assert [(sub.tool, sub.position, sub.answer, sub.depends_on) for sub in found] == [
        ("capital", 0, "Brill", ()),
        ("size", 0, "998", (0,)),
    ]
    for odd in ("no list", [], [1, 2], [{"tool": "capital", "answer": "Brill"}, {"tool": "size", "answer": "7"}]):
        plain = sub_answers(chain_sample(sub_questions=odd))
        assert [(sub.tool, sub.answer, sub.question) for sub in plain] == [
            ("capital", "Brill", None),
            ("size", "998", None),
        ]


def test_counts_are_by_group_and_hold_every_episode():
    sample = chain_sample()
    perfect, stopped = (diagnose(record_of(sample, play(sample, made)), sample) for made in ([ASK, SIZED], [ASK]))
    found = count_causes([("a", perfect), ("a", stopped), ("b", stopped), ("a", stopped)])
    assert found == {"a": {None: 1, "stopped_early": 2}, "b": {"stopped_early": 1}}


def test_every_cause_has_a_name_of_its_own_and_a_rule_in_the_documents():
    assert len(set(CAUSE_LABELS.values())) == len(CAUSE_LABELS)
    rules = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    assert [label for label in CAUSE_LABELS.values() if f" | {label} | " not in rules] == []


def test_arguments_of_any_depth_are_compared():
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    call = {"turn": 0, "name": "size", "arguments": deep, "raw": "deep", "status": "ok", "output": "", "solves": None}
    sample = chain_sample()
    record = record_of(sample, play(sample, []))
    found = diagnose({**record, "calls": [call, {**call, "turn": 1}]}, sample)
    assert found is not None
    assert "repeated" in found.marks


def test_a_benchmark_that_judges_whole_episodes_has_only_what_its_calls_show():
    sample = chain_sample(unsolved_set={}, sub_questions=..., gold_calls=...)
    record = record_of(sample, play(sample, [ASK]))
    own = {**record, "scores": {"success": 0.0, "turns": 2.0, "calls": 1.0}}
    assert diagnose(own, sample) is None
    assert diagnose(own, sample, "success") == Diagnosis("unexplained")
    assert diagnose({**own, "calls": []}, sample, "success") == Diagnosis("unexplained")
