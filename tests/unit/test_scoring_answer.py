"""The final answer: an exact "Answer:" line where the prompt asks for one, else stated anywhere."""

import pytest

from harness.scoring.answer import answer_read, answer_scores
from harness.types import Gold, Message, Sample, ToolCall, Trajectory, Usage

ASKS = "Finish with a last line 'Answer: ...'."


def scores(final: str | Message | None, gold: str | None, prompt: str = ASKS, role: str = "user") -> dict[str, float]:
    sample = Sample("0", (Message(role, prompt),), (), {}, Gold({}, answer=gold))  # type: ignore[arg-type]
    last = Message("assistant", final) if isinstance(final, str) else final
    messages = (Message("user", prompt), *([last] if last else []))
    return answer_scores(sample, Trajectory(messages, (), 1, "ok", "stop", Usage(), {}))  # type: ignore[return-value]


LINES = [
    ("Answer: $\\boxed{173}$", "173", 1.0),
    ("\\boxed{\\text{Turku}}", "Turku", 1.0),
    ("So \\[ \\boxed{12{,}345} \\]", "12,345", 1.0),
    ("Final answer: 173", "173", 1.0),
    ("**Final Answer**: 173", "173", 1.0),
    ("## Final Answer\n\n173", "173", 1.0),
    ("**Answer**\n173", "173", 1.0),
    ("ANSWER: 173", "173", 1.0),
    ("1. Answer: 173", "173", 1.0),
    ("* **Answer:** 173", "173", 1.0),
    ("<b>Answer: 173</b>", "173", 1.0),
    ("Answer:\n\n- Turku\n- 1229", "Turku, 1229", 1.0),
    ("Answer:\n1. Ann\n2. Bob", "Ann, Bob", 1.0),
    ("Answer:\n1. Bob\n2. Ann", "Ann, Bob", 0.0),
    ("Answer: Bob, Ann", "Ann, Bob", 0.0),
    ("Answer: Ann and Bob", "Ann, Bob", 1.0),
    ("Answer: Bob, Ann", "Ann; Bob", 1.0),
    ("Answer: 5, 7", "7, 5", 0.0),
    ("Answer: 5, 7", "5, 7", 1.0),
    ("Answer: 956,000, 11,624", "11,624, 956,000", 0.0),
    ("Answer: 11,624, 956,000", "11,624, 956,000", 1.0),
    ("Answer: 11624, 956000", "11,624, 956,000", 1.0),
    ("Answer: 11,624 and 956,000", "11,624, 956,000", 1.0),
    ("Answer: 1635-12-27, 2,233", "2,233, 1635-12-27", 1.0),
    ("Answer: 27th December 1635", "1635-12-27", 1.0),
    ("Answer: December 27th, 1635", "1635-12-27", 1.0),
    ("Answer: 27/12/1635", "1635-12-27", 1.0),
    ("Answer: 1635", "1635-12-27", 0.0),
    ("Answer: It is Rome", "Rome", 1.0),
    ("Answer: it is not Rome", "Rome", 0.0),
    ("Answer: not Rome", "Rome", 0.0),
    ("Answer: Rome or Paris", "Rome", 0.0),
    ("Answer: either Rome or Paris", "Rome", 0.0),
    ("Answer: Rome, Paris, Oslo", "Rome", 0.0),
    ("Answer: Rome / Paris", "Rome", 0.0),
    ("Answer: Rome (or Paris)", "Rome", 0.0),
    ("Answer: 173?", "173", 0.0),
    ("Answer: >173", "173", 0.0),
    ("Answer: ≥ 173", "173", 0.0),
    ("> Answer: 173", "173", 1.0),
    ("Answer: Lund (Oslo)", "Lund", 0.0),
    ("Answer: Lund (likely)", "Lund", 0.0),
    ("Answer: Lund (not Oslo)", "Lund", 1.0),
    ("Answer: Lund, not Oslo", "Lund", 1.0),
    ("Answer: 173 (not verified)", "173", 0.0),
    ("Answer: 173 BC", "173", 0.0),
    ("Answer: 173 maximum", "173", 0.0),
    ("Answer: in 1907", "1907", 1.0),
    ("Answer: Lund<br/>", "Lund", 1.0),
    ("Answer: maybe 173", "173", 0.0),
    ("Answer: 173 km", "173", 1.0),
    ("Answer: 173 km", "173 miles", 0.0),
    ("Answer: 173", "173 km", 0.0),
    ("Answer: 173 kilometres", "173 km", 1.0),
    ("Answer: 173%", "173", 0.0),
    ("Answer: $173", "173", 1.0),
    ("Answer: 12.5", "12.5%", 1.0),
    ("Answer: 306.95000000000005", "306.95", 1.0),
    ("Answer: 306,95", "306.95", 1.0),
    ("Answer: 307", "306.95", 0.0),
    ("Answer: -5", "5", 0.0),
    ("Answer: 1.5 million", "1,500,000", 1.0),
    ("Answer: twelve", "12", 1.0),
    ("Answer: Dr. Ada Byron", "Dr. Ada Byron", 1.0),
    ("Answer: Professor Ada Byron", "Ada Byron", 1.0),
    ("Answer: Ada", "Ada Byron", 0.0),
    ("Answer: Byron, Ada", "Ada Byron", 1.0),
    ("The answer is Rome.", "Rome", 1.0),
    ("The final answer is **Rome**.", "Rome", 1.0),
    ("Therefore, the answer is: Rome", "Rome", 1.0),
    ("The answer is not Rome.", "Rome", 0.0),
    ("I think Rome.", "Rome", 0.0),
    ("Rome", "Rome", 0.0),
    ("Rome is nice. Paris too.", "Rome", 0.0),
    ("Answer: Rome\n\nAnswer: <your answer>", "Rome", 1.0),
    ("Answer: Rome\nExplanation: Paris is not it.", "Rome", 1.0),
    ("Answer:Rome", "Rome", 1.0),
    ("answer: rome", "Rome", 1.0),
    ("The answer to the question: Rome", "Rome", 0.0),
    ("Answer: The capital of Italy is Rome", "Rome", 1.0),
    ("Answer: Rome is the capital", "Rome", 0.0),
    ("Answer: I don't know", "Rome", 0.0),
    ("Answer: unknown (maybe Rome)", "Rome", 0.0),
    ("Answer: 1, 2, 3", "3", 0.0),
    ("Answer: 17 3", "173", 0.0),
    ("```\nAnswer: 173\n```", "173", 1.0),
    ('Answer: "Rome"', "Rome", 1.0),
    ("Answer: Tuesday 1 May 2007", "2007-05-01", 1.0),
    ("Answer: 2007-05-01 (Tuesday)", "2007-05-01", 1.0),
    ("Respuesta: Roma", "Roma", 1.0),
    ("<think>x</think>**Answer:** Rome", "Rome", 1.0),
    ("The correct answer: Rome", "Rome", 1.0),
    ("Answer: Yes", "True", 1.0),
    ("Answer: No", "Yes", 0.0),
    ("Answer: Rome. Hope this helps!", "Rome", 1.0),
    ("Answer: Rome.\nLet me know!", "Rome", 1.0),
    ("Answer: Rome; Paris", "Rome", 0.0),
    ("Answer: 12 and 14", "12", 0.0),
    ("Answer: between 12 and 14", "12", 0.0),
    ("Answer: more than 12", "12", 0.0),
    ("Answer: at least 12", "12", 0.0),
    ("Answer: 12+", "12", 0.0),
    ("Answer: 12-14", "12", 0.0),
    ("Answer: 44 BC", "44 B.C.", 1.0),
    ("Answer: 3:30 PM", "15:30", 1.0),
    ("Answer: x = 12", "12", 1.0),
    ("Answer: 3 + 9 = 12", "12", 1.0),
    ("Answer: Turku.\n", "Turku", 1.0),
    ("Answer: ✅ Turku", "Turku", 1.0),
    ("Some words.\n  Answer: the ROME.", "Rome", 1.0),
    ("> answer : `Rome`", "Rome", 1.0),
    ("Answer: Paris\nAnswer: Rome", "Rome", 1.0),
    ("Answer: Rome\nAnswer: Paris", "Rome", 0.0),
    ("Answer: Rome\nand so on", "Rome", 1.0),
    ("Answer: Rome, Italy", "Rome", 0.0),
    ("Answer: 5", "5 km", 0.0),
    ("Answer: 2007-05-01", "2007", 0.0),
    ("Answer: Brazil", "China, Brazil", 0.0),
    ("Answer: Brazil, Brazil", "China, Brazil", 0.0),
    ("Answer: China, Brazil, Brazil", "China, Brazil", 0.0),
    ("Answer: The", "The", 1.0),
    ("<think>Answer: Paris</think>\nAnswer: Rome", "Rome", 1.0),
    ("<think>Answer: Rome</think>\nI give up", "Rome", 0.0),
    ("<think>\nAnswer: Rome", "Rome", 0.0),
    ("", "Rome", 0.0),
]
SENTENCES = [
    ("The mean is 306.95.", "306.95", 1.0),
    ("So it's Rome. Let me know if you need more!", "Rome", 1.0),
    ("Rome\nParis\nOslo", "Rome", 0.0),
    ("Rome, Paris, Oslo", "Rome", 0.0),
    ("- Rome\n- Paris", "Rome", 0.0),
    ("It could be Rome.", "Rome", 0.0),
    ("It is Rome or Paris.", "Rome", 0.0),
    ("It is not Rome.", "Rome", 0.0),
    ("The answer could not be determined from the records of Pakistan.", "Pakistan", 0.0),
    ("Paris was wrong; the town is Rome.", "Rome", 1.0),
    ("I found Rome earlier. The answer is Paris.", "Rome", 0.0),
    ("Howard Unruh killed 13 people in 1949.", "13", 1.0),
    ("The sums are 12, 13 and 14.", "13", 0.0),
    ("The war ended on August 31, 1949.", "1949-08-31", 1.0),
    ("The war ended on August 31, 1949, not in 1950.", "1949-08-31", 1.0),
    ("- Lund\n- Oslo", "Oslo", 0.0),
    ("Oslo\n1048\n17", "17", 0.0),
    ("The town is:\nLund", "Lund", 1.0),
    ("Lund / Oslo", "Oslo", 0.0),
    ("The town is Oslo, the mayor is Mira Holm.", "Mira Holm", 0.0),
    ("Lund is older than Oslo.", "Oslo", 0.0),
    ("Lund is older than Oslo.", "Lund", 1.0),
    ("It is Lund rather than Oslo.", "Oslo", 0.0),
    ("I could not determine it. The closest is Lund.", "Lund", 0.0),
    ("It is likely Lund.", "Lund", 0.0),
    ("It is Brazil and China.", "Brazil, China", 1.0),
    ("It is China and Brazil.", "Brazil, China", 0.0),
    ("The countries are Brazil, China and India.", "Brazil, China", 0.0),
    ("The country is Brazil.", "Brazil, China", 0.0),
    ("Based on the tools, the dance is Flamenco.", "Flamenco", 1.0),
    ("**Flamenco**", "Flamenco", 1.0),
    ("The order is: c, a, b", "c, a, b", 1.0),
    ("Answer: Flamenco is the dance.", "Flamenco", 1.0),
    ("Outputs: Rome | Paris | 12 | 13", "12", 0.0),
    ('{"city": "Rome"} {"city": "Paris"}', "Rome", 0.0),
    ("Rome Paris Oslo", "Rome", 0.0),
    ("Herring Bait Salmon Bait Jack Johnson Pacific Northwest Salmon", "Salmon", 0.0),
    ("Total: 12", "12", 1.0),
    (
        "Jack Johnson is based in the Pacific Northwest. Salmon are a key species in the Pacific Northwest.",
        "Salmon",
        1.0,
    ),
    ("It may be Rome", "Rome", 0.0),
    ("Is it Rome?", "Rome", 0.0),
    ("The total is more than 12.", "12", 0.0),
    ("The answer is Rome, of course", "Rome", 1.0),
    ("opened 2007-05-01", "2007", 1.0),
    ("12 casualties", "2", 0.0),
    ('["New", "York"]', "New York", 1.0),
    ("<think>Rome</think>Paris", "Rome", 0.0),
]


@pytest.mark.parametrize(("final", "gold", "expected"), LINES)
def test_answer_line(final: str, gold: str, expected: float) -> None:
    assert scores(final, gold) == {"answer_accuracy": expected}


@pytest.mark.parametrize(("final", "gold", "expected"), SENTENCES)
def test_lenient(final: str, gold: str, expected: float) -> None:
    assert scores(final, gold, prompt="Question: where?") == {"answer_accuracy_lenient": expected}


@pytest.mark.parametrize("join", ["\n", " ", ". ", ", ", "; ", " | ", "\n- ", " and ", " or "])
@pytest.mark.parametrize("label", ["", "Answer: ", "The outputs were: "])
def test_repeating_everything_at_the_end_is_no_answer(join: str, label: str) -> None:
    outputs = ["Seattle Port", "Rome", "The mayor is Ann Bell", "1,024", "Oslo"]
    assert scores(label + join.join(outputs), "Rome", prompt="Question: where?") == {"answer_accuracy_lenient": 0.0}


@pytest.mark.parametrize(
    ("final", "prompt", "read"),
    [
        ("Paris.\n**Answer:** Rome.\nBye", ASKS, "Rome."),
        ("It is \\boxed{\\text{Rome}}", ASKS, "Rome"),
        ("It was hard. It is Rome.", ASKS, None),
        ("It was hard. It is Rome.", "Question: where?", "It is Rome."),
        ("Answer:\n- Rome\n- Oslo", ASKS, "Rome, Oslo"),
    ],
)
def test_what_was_read_is_told(final: str, prompt: str, read: str | None) -> None:
    sample = Sample("0", (Message("user", prompt),), (), {}, Gold({}, answer="Rome"))
    messages = (Message("user", prompt), Message("assistant", final))
    assert answer_read(sample, Trajectory(messages, (), 1, "ok", "stop", Usage(), {})) == read


@pytest.mark.parametrize("role", ["user", "system"])
def test_who_asks(role: str) -> None:
    assert list(scores("x", "Rome", role=role)) == ["answer_accuracy"]


def test_an_assistant_does_not_ask() -> None:
    assert list(scores("x", "Rome", role="assistant")) == ["answer_accuracy_lenient"]


@pytest.mark.parametrize("gold", [None, "", "  "])
def test_no_gold_no_key(gold: str | None) -> None:
    assert scores("Answer: Rome", gold) == {}


@pytest.mark.parametrize(
    "last",
    [
        None,
        Message("tool", "Answer: Rome"),
        Message("assistant", "Answer: Rome", tool_calls=(ToolCall("1", "f", {}, "{}"),)),
    ],
)
def test_an_episode_that_ended_otherwise_has_no_final_message(last: Message | None) -> None:
    assert scores(last, "Rome") == {"answer_accuracy": 0.0}


def test_many_lines_are_read_in_linear_time() -> None:
    assert scores("\n" * 100_000 + " " * 100_000 + "* " * 100_000, "Rome") == {"answer_accuracy": 0.0}


PERCENTAGE = f"What percentage of the dishes is cold? Two decimals, please. {ASKS}"
PER_CENT = f"How many per cent of A is B? {ASKS}"
OLDER = f"Which was seen earlier, the comet Helonda or the comet of Asten Vale? Just the name, please. {ASKS}"
PERSON = f"Skipper Isnica Fairington or skipper Alda Roe: which of them sailed later? {ASKS}"
PUBLISHER = f"Which is older, Helonda or the publisher of Helonda? {ASKS}"


@pytest.mark.parametrize(
    ("prompt", "final", "gold", "right"),
    [
        (PERCENTAGE, "28.39%", "28.39", 1.0),
        (PERCENTAGE, "28.39 %.", "28.39", 1.0),
        (PERCENTAGE, "about 28.39 per cent", "28.39", 1.0),
        (PERCENTAGE, "28.4%", "28.39", 0.0),
        (PERCENTAGE, "0.2839", "28.39", 0.0),
        (PERCENTAGE, "28.39 ‰", "28.39", 0.0),
        (PER_CENT, "12 %", "12", 1.0),
        (f"How many camps? {ASKS}", "173 %", "173", 0.0),
        (OLDER, "the comet Helonda", "Helonda", 1.0),
        (OLDER, "comet Helonda", "Helonda", 1.0),
        (OLDER, "the planet Helonda", "Helonda", 0.0),
        (OLDER, "the comet Helonda or the comet of Asten Vale", "Helonda", 0.0),
        (PERSON, "skipper Isnica Fairington", "Isnica Fairington", 1.0),
        (PERSON, "Skipper Isnica Fairington", "Isnica Fairington", 1.0),
        (PERSON, "skipper Alda Roe", "Isnica Fairington", 0.0),
        (PUBLISHER, "the publisher of Helonda", "Helonda", 0.0),
        (OLDER, "Helonda", "Helon", 0.0),
        (OLDER, "comet Helonda", "Helon", 0.0),
        (f"Is the stadium Ravdale or the stadium Ravdale park older? {ASKS}", "Ravdale park", "Ravdale", 0.0),
        (f"How large is the field? {ASKS}", "4,870 sq m", "4870", 1.0),
        (f"How much water? {ASKS}", "1056 m3", "1056", 1.0),
    ],
)
def test_an_answer_may_repeat_what_the_question_says_of_it(prompt, final, gold, right):
    assert scores(f"Answer: {final}", gold, prompt) == {"answer_accuracy": right}
    if right:
        plain = prompt.replace("Answer:", "answer")
        assert scores(f"Answer: {final}", gold, plain) == {"answer_accuracy_lenient": right}
