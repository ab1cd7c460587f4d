"""What the documents promise: the README's first command prints the README's table, docs/cli.md is what is there."""

import re
import runpy
import shlex

from builders import ROOT
from commands import harness
from documents import block, page

README = page("README.md")


def test_the_curves_are_those_of_the_committed_runs():
    made = runpy.run_path(str(ROOT / "docs" / "make_curves.py"))
    assert made["IMAGE"].read_text(encoding="utf-8") == made["drawn"](made["published"](made["RUNS"]))


def test_the_first_command_prints_the_readmes_table(tmp_path):
    install, first = block(README, "first").strip().split(" && ")
    assert install == "pip install ."
    done = harness(*shlex.split(first)[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(block(README, "first output"))


def test_the_command_line_is_documented_as_it_is():
    assert runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["page"]() == (ROOT / "docs" / "cli.md").read_text()


def test_every_file_that_the_readme_links_to_is_there():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_example_is_a_task(tmp_path):
    done = harness(
        "eval", "--model", "policy/oracle", "--tasks", ROOT / "examples" / "ticket_office.py", "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"ticket_office +2 +1\.000", done.stdout)


def test_the_integration_runs_the_readmes_test_command():
    assert "pytest" in block(README, "tests")
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
