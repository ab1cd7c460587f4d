"""Every command of README and docs: understood by the real parser, and run where that is cheap, or marked why not."""

import re
import shlex
import tomllib
from contextlib import chdir
from importlib.util import find_spec

import pytest
from builders import ROOT
from documents import commands

from harness import cli

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
FOUND = [(name, shlex.join(words)) for name in PAGES for words in commands(name)]
OURS = list(dict.fromkeys(text for _, text in FOUND if text.startswith("harness ")))

RUN = (
    "harness show runs/first/policy-shotgun",
    "harness show runs/first/policy-shotgun g2-paper-20250811-test-single_hop-0",
    "harness report runs/first --out report.html",
    "harness analyze bundled/tiny-base bundled/tiny-trained",
    "harness export inspect demo_multi_hop --out demo",
    "harness reproduce table2 --row qwen3-8b-grpo --data ftrl=FTRL --dry-run",
    "harness export verifiers demo_multi_hop --out demo-verifiers",
)
"""Run here, in a folder where runs/first holds one episode of two of its policies."""
PLAYED = ("--tasks", "ftrl_single_hop", "--samples", "g2-paper-20250811-test-single_hop-0", "--out", "runs/first")
NOT_RUN = {
    r"eval --model 'policy/\*' --tasks 'ftrl_\*' --out runs/first": "run by test_docs.py",
    r"--tasks 'demo_\*' --out runs/demo|compare runs/demo": "run by test_compare_docs.py",
    r"bundled/|runs/(trained|tiny)": "minutes of a network; the same by test_bundled.py with less",
    r"gpt-|openai/NAME|runs/(mini|mine)|--user-model": "an endpoint's key",
    r"runs/when": "MODEL stands for one of one's own; policies are played by test_decisions.py",
    r"my-model|--client": "a server or client of one's own",
    r"hf/|vllm/|compare before after|--model PATH|\./Qwen3|trained/model": "a model's weights, mostly a GPU",
    r"--model M |table DIR": "data sets that are not shipped",
    r"^harness train ": "minutes to hours of training; run smaller by test_train_*.py",
    r"^harness build ": "minutes; run smaller by test_build.py",
    r"train\.jsonl|test-60\.jsonl|prefixes\.jsonl|collected/many": "files that the command before makes",
    r"--tool-faults": "seconds; run smaller by test_tool_faults.py",
    r"^harness serve --http ": "serves until Ctrl-C; run by test_serve_http.py",
    r"^harness reproduce .*(rehearse|--model)": "minutes of a network; run by benchmarks/rehearsal.py",
    r" --ray ": "Ray, in an environment of its own; run smaller by tests/real_ray",
    r"^harness view ": "serves until Ctrl-C; run by test_view_page.py",
    r"^harness lm-eval-path$": "seconds; run smaller by test_first_class.py",
    r"^harness validate 'demo_\*'|runs/floors": "many seconds; run smaller by test_validate.py and test_eval.py",
}
"""What is only understood, by a pattern of its text, and why it is not run."""
OTHER_PROGRAMS = {"pip", "python", "python3.11", "inspect", "lm_eval", "pytest", "cd", "export"}


@pytest.mark.parametrize("text", OURS)
def test_a_command_is_understood(text):
    words = shlex.split(text)[1:]
    parser, command = cli._parser(words)
    assert command is not None and parser.parse_args(words)


@pytest.mark.parametrize("text", OURS)
def test_a_command_is_run_or_marked_why_not(text):
    assert text in RUN or any(re.search(pattern, text) for pattern in NOT_RUN), "run it, or say why not"


def test_no_mark_is_left_of_a_command_that_is_gone():
    assert set(RUN) <= set(OURS)
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, text) for text in OURS)] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("docs")
    with chdir(made):
        assert cli.main(["eval", "--model", "policy/shotgun", "policy/silent", *PLAYED]) == 0
    return made


@pytest.mark.parametrize("text", RUN)
def test_a_cheap_command_runs(text, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(shlex.split(text)[1:]) == 0
    assert capsys.readouterr().out


def test_other_programs_are_known_and_extras_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for _, text in FOUND:
        program, *words = shlex.split(text)
        name = program.rpartition("/")[2]
        assert name == "harness" or name in OTHER_PROGRAMS, text
        if name == "pip":
            asked = [
                one for word in words if (found := re.fullmatch(r"\.\[(.*)\]", word)) for one in found[1].split(",")
            ]
            assert set(asked) <= set(extras), text
        if name == "python" and words[0] == "-m" and words[1].partition(".")[0] in ("tasks", "results", "trainer"):
            assert find_spec(words[1]), text


def test_the_pages_have_commands():
    assert len(OURS) > 40
