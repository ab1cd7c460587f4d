"""Which of lm-eval's benchmarks are general_*: those that ask a chat model to write, not to weigh given answers.

The names of data sets and tasks are lm-eval's, 0.4.13 (lm_eval/tasks/*/*.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass

HUB = "HF_HUB_OFFLINE"
"""The variable of Hugging Face's libraries; only where it is 0 is a data set without a local path fetched."""


@dataclass(frozen=True)
class Benchmark:
    """One of lm-eval's benchmarks.

    name, data   our task's, and the data set's: --data DATA=PATH
    about        what it asks, for `harness list`
    hub          the data set's id on the Hugging Face hub
    folder       where below lm_eval/tasks its files are; pattern: the names of its parts
    headline     the metric, as `suite.score_reply` names it
    code         whether scoring runs what the model wrote
    files        how the files of the split begin that is asked, in the hub's layout
    needs        what lm-eval's code for it reads beside the documents, by the names of its libraries
    """

    name: str
    about: str
    data: str
    hub: str
    folder: str
    pattern: str
    headline: str
    code: bool = False
    files: str = "test"
    needs: tuple[str, ...] = ()


MATCH, FLEXIBLE, PASSED = "exact_match", "exact_match_flexible_extract", "pass_at_1"
LISTED = (
    Benchmark(
        name="general_mmlu",
        about="MMLU: 57 subjects, the letter of an answer",
        data="mmlu",
        hub="cais/mmlu",
        folder="mmlu/generative",
        pattern="mmlu_*_generative",
        headline=MATCH,
    ),
    Benchmark(
        name="general_bbh",
        about="BIG-Bench Hard: 27 kinds of puzzles, step by step",
        data="bbh",
        hub="SaylorTwift/bbh",
        folder="bbh/cot_zeroshot",
        pattern="bbh_cot_zeroshot_*",
        headline=FLEXIBLE,
    ),
    Benchmark(
        name="general_gsm8k",
        about="GSM8K: school arithmetic in words, step by step",
        data="gsm8k",
        hub="openai/gsm8k",
        folder="gsm8k",
        pattern="gsm8k_cot_zeroshot",
        headline=FLEXIBLE,
    ),
    Benchmark(
        name="general_math",
        about="MATH: 7 subjects of competition mathematics, four examples",
        data="math",
        hub="EleutherAI/hendrycks_math",
        folder="minerva_math",
        pattern="minerva_math_*",
        headline="math_verify",
    ),
    Benchmark(
        name="general_humaneval",
        about="HumanEval: functions from their docstrings; runs code",
        data="humaneval",
        hub="openai/openai_humaneval",
        folder="humaneval",
        pattern="humaneval_instruct",
        headline=PASSED,
        code=True,
    ),
    Benchmark(
        name="general_mbpp",
        about="MBPP: short functions from a sentence and tests, three examples; runs code",
        data="mbpp",
        hub="google-research-datasets/mbpp",
        folder="mbpp",
        pattern="mbpp_instruct",
        headline=PASSED,
        code=True,
    ),
    Benchmark(
        name="general_ifeval",
        about="IFEval: instructions whose following can be checked, such as a length or a language",
        data="ifeval",
        hub="google/IFEval",
        folder="ifeval",
        pattern="ifeval",
        headline="prompt_level_strict_acc",
        files="ifeval_input_data",
        needs=("langdetect", "nltk"),
    ),
)
BENCHMARKS = {benchmark.data: benchmark for benchmark in LISTED}
