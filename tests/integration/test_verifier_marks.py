"""Runs that different versions of the verifier scored stand side by side only with a word about it."""

import json

import pytest
from commands import harness, one_sentence
from report_runs import towns, varied
from report_runs import write_run as write_played
from result_runs import group, solved, write_run

FORMATS = ("simple", "markdown", "latex", "csv", "html", "json")
VALUES = ((0.4,) * 2,) * 4
SENTENCE = "different versions of the verifier scored these runs (1: test/a; 2: test/b (off))"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one verifier, and one of another: the same model name would do as well."""
    folder = tmp_path_factory.mktemp("runs")
    about = {"groups": group("micro")}
    return [
        write_run(folder / "a", solved("micro", VALUES), model="test/a", verifier=1, **about),
        write_run(folder / "b", solved("micro", VALUES), model="test/b", reasoning="off", verifier=2, **about),
    ]


def printed(*arguments):
    done = harness("table", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(said):
    """Without line breaks of a terminal and what a format puts in front of a character."""
    return " ".join(said.replace("\\", "").replace("{[}", "[").replace("{]}", "]").replace("%", "").split())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("layout", ["default", "scenario", "paper"])
def test_every_layout_and_format_marks_the_rows_and_says_why(runs, layout, form):
    said = printed(*runs, "--layout", layout, "--format", form)
    if (layout, form) == ("default", "json"):
        assert {row["model"]: row["verifier"] for row in json.loads(said)} == {"test/a": 1, "test/b": 2}
        return
    assert "test/a [verifier 1]" in plain(said)
    assert "[verifier 2]" in plain(said)
    assert (SENTENCE in plain(said)) is (form != "csv")  # which has no sentences


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("layout", ["default", "scenario", "paper"])
def test_runs_of_one_verifier_are_not_marked(runs, layout, form):
    assert "erifier" not in printed(runs[1], runs[1], "--layout", layout, "--format", form)


def test_a_base_is_named_without_its_mark(runs):
    said = printed(*runs, "--layout", "paper", "--base", "test/b (off)")
    assert said.index("test/b (off) [verifier 2]") < said.index("test/a [verifier 1]")


def test_comparing_them_is_refused(runs):
    assert "verifier 1 there, 2 here (harness rescore brings both up to date)" in one_sentence(
        harness("compare", *runs)
    )


def test_a_report_says_it_at_its_top_and_marks_its_tables(tmp_path):
    data = towns(tmp_path)
    paths = [write_played(tmp_path / name, data, varied(data), model=f"test/{name}") for name in "ab"]
    manifest = json.loads((paths[1] / "manifest.json").read_text())
    version = manifest["identity"]["verifier"]
    manifest["identity"]["verifier"] = version + 1
    (paths[1] / "manifest.json").write_text(json.dumps(manifest))
    done = harness("report", *paths, "--out", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text()
    sentence = f"different versions of the verifier scored these runs ({version}: test/a; {version + 1}: test/b)"
    assert sentence in page.partition('class="remarks"')[2].partition("</ul>")[0]
    assert sentence in done.stderr
    assert f'<td class="name">test/b [verifier {version + 1}]</td>' in page
    assert "cannot be paired" in page
