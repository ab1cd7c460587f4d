"""The example of docs/comparing.md prints what the page says."""

import argparse
import shlex

from commands import harness
from documents import block, page

from results.commands import compare

PAGE = page("docs/comparing.md")


def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch, capsys):
    evaluation, comparison = (shlex.split(line)[1:] for line in block(PAGE, "example").strip().splitlines())
    assert harness(*evaluation, cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    compare.configure(parser)
    assert comparison.pop(0) == "compare"
    assert compare.run(parser.parse_args(comparison)) == 0
    assert capsys.readouterr().out == block(PAGE, "example output")
