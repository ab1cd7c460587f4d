"""What the documents promise: the README's first command prints the README's table, docs/cli.md is what is there."""

import re
import runpy
import shlex

import pytest
from builders import ROOT
from commands import harness
from documents import block, page

README = page("README.md")
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PAGES += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "results" / "published").glob("*/README.md"))]
LINK = re.compile(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)")


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


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for link, heading in LINK.findall(page(name)):
        target = (ROOT / name).parent / link if link else ROOT / name
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}, heading


def test_the_index_has_every_page():
    linked = {link for link, _ in LINK.findall(page("docs/index.md"))}
    assert linked - {"../README.md"} == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert "docs/index.md" in README


def test_the_readme_is_read_in_five_minutes():
    assert len(README.split()) <= 1200


def test_the_example_is_a_task(tmp_path):
    done = harness(
        "eval", "--model", "policy/oracle", "--tasks", ROOT / "examples" / "ticket_office.py", "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"ticket_office +2 +1\.000", done.stdout)


def test_the_integration_runs_the_readmes_test_command():
    assert "pytest" in block(README, "tests")
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
