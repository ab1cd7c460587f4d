"""Small data sets in the hub's layouts for general_*, and a chat model that answers them in the many ways models do.

Every third or so reply is wrong, or right in a form that lm-eval's extraction does not see, so that a score that
ignores the reply, the filter or the stop strings is found out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakes.chat_server import Asked, Step, text

SUMS = ((2, 3), (10, 7), (999, 2), (40, 2), (5, 6), (700, 801), (9, 9))


def gsm8k(path: Path) -> Path:
    """A file, as in GSM8K's own repository."""
    rows = [
        {"question": f"Ann has {a} apples and buys {b}. How many are there?", "answer": f"{a}+{b}\n#### {a + b}"}
        for a, b in SUMS
    ]
    return write(path / "test.jsonl", rows)


def mmlu(path: Path, parts: Sequence[str]) -> Path:
    """A folder a subject."""
    for number, part in enumerate(parts):
        rows = [
            {"question": f"Which is {k}?", "subject": part, "choices": ["0", "1", "2", "3"], "answer": k}
            for k in ((number + shift) % 4 for shift in range(2))
        ]
        write(path / part / "test-00000-of-00001.jsonl", rows)
    return path


def bbh(path: Path, parts: Sequence[str]) -> Path:
    """A file a puzzle, of what fits all of their filters."""
    for part in parts:
        rows = [
            {"input": f"Puzzle {n}. List: pear apple\nOptions:\n(A) yes\n(B) no", "target": target}
            for n, target in enumerate(("(A)", "Yes", "apple pear", "7", "(B)"))
        ]
        write(path / part / "test.jsonl", rows)
    return path


def math(path: Path, parts: Sequence[str]) -> Path:
    """A folder a subject."""
    for part in parts:
        rows = [
            {"problem": f"What is ${a}+{b}$?", "solution": f"It is $\\boxed{{{a + b}}}$.", "level": "1", "type": part}
            for a, b in SUMS[:4]
        ]
        write(path / part / "test.jsonl", rows)
    return path


def humaneval(path: Path) -> Path:
    """A file, as in HumanEval's own repository."""
    rows = [
        {
            "task_id": f"HumanEval/{n}",
            "prompt": f'def add{n}(a, b):\n    """Adds."""\n',
            "entry_point": f"add{n}",
            "canonical_solution": "    return a + b\n",
            "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n",
        }
        for n in range(len(CODE))
    ]
    return write(path / "test.jsonl", rows)


def mbpp(path: Path) -> Path:
    """A folder as on the hub."""
    rows = [
        {
            "task_id": n,
            "text": f"Write add{n} which adds.",
            "code": f"def add{n}(a, b):\n    return a + b",
            "test_list": [f"assert add{n}({a}, 1) == {a + 1}" for a in range(3)],
            "test_setup_code": "",
            "challenge_test_list": [],
        }
        for n in range(len(CODE))
    ]
    write(path / "full" / "test.jsonl", rows)
    return path


def ifeval(path: Path) -> Path:
    """A folder as on the hub, with instructions for each kind of check: text, words, sentences, a language."""
    asked: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("punctuation:no_comma", {}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 6}),
        ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 2}),
        ("change_case:english_lowercase", {}),
        ("language:response_language", {"language": "de"}),
    )
    rows = [
        {
            "key": n,
            "prompt": f"Instruction {n}: {name}.",
            "instruction_id_list": [name, asked[0][0]],
            "kwargs": [kw, {}],
        }
        for n, (name, kw) in enumerate(asked)
    ]
    write(path / "ifeval_input_data.jsonl", rows)
    return path


def punkt(path: Path) -> Path:
    """nltk's model of sentences as a folder for NLTK_DATA, which has learnt nothing."""
    folder = path / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (folder / name).write_text("")
    return path


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- the model ---------------------------------------------------------------------------------------------------

CODE = (
    "Here you are:\n```python\ndef add{n}(a, b):\n    return a + b\n```\nIt adds.",  # passes
    "```python\ndef add{n}(a, b):\n    return a - b\n```",  # wrong
    "    return a + b\n",  # goes on as a network would: passes HumanEval
    "```\n# a comment\nimport math\n\ndef helper(x):\n    return x\n\ndef add{n}(a, b):\n    return helper(a) + b\n```",
    "I cannot do that.",
    "",
)
WAYS = (
    "They are {right}. The answer is {right}.",
    "Adding gives ${right}$. Final Answer: The final answer is ${right}$. I hope it is correct.",
    "It is 12345.",
    "{right}\nQ: and now 1000? Problem: 1001",
    "<think>The answer is 1.</think>So \\boxed{{{right}}}",
)
LETTERS = ("{letter}", "{letter}\nBecause it is.", "The answer is {letter}.", "({letter})", "D")
FOLLOWED = (
    "It has none",
    "*One two three four five, six seven*",
    "One sentence here. And another one there.",
    "all of this is written in small letters",
    "Here\nDas ist ein kurzer Satz auf Deutsch über das Wetter von morgen",
)
PUZZLES = ("So the answer is (A).", "Yes. The answer is Yes.", "apple pear", "7\nQ: what is 8?", "no")


def answers(asked: Asked) -> Step:
    """What the model says: by what it is asked last, and nothing else."""
    question = next(m["content"] for m in reversed(asked.messages) if m["role"] == "user")
    if code := re.search(r"\badd(\d+)\b", question):
        return text(CODE[int(code[1])].replace("{n}", code[1]))
    if instruction := re.search(r"Instruction (\d+)", question):
        return text(FOLLOWED[int(instruction[1])])
    if puzzle := re.search(r"Puzzle (\d+)", question):
        return text(PUZZLES[int(puzzle[1])])
    if which := re.search(r"Which is (\d)\?\nA\.", question):
        ways = LETTERS[(len(str(asked.messages)) + int(which[1])) % len(LETTERS)]
        return text(ways.format(letter="ABCD"[int(which[1])]))
    first, second = map(int, re.findall(r"\d+", question)[:2])
    return text(WAYS[(first + second) % len(WAYS)].format(right=first + second))
