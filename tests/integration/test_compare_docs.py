"""The example of docs/comparing.md prints what the page says."""

import argparse
import re
import shlex

from builders import ROOT
from commands import harness

from results import compare

PAGE = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")


def block(marker):
    """The fenced block after a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, marker
    return found[1]


def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch, capsys):
    evaluation, comparison = (shlex.split(line)[1:] for line in block("example").strip().splitlines())
    assert harness(*evaluation, cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    compare.configure(parser)
    assert comparison.pop(0) == "compare"
    assert compare.run(parser.parse_args(comparison)) == 0
    assert capsys.readouterr().out == block("example output")
