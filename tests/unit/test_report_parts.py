"""What a report says of runs that are not as they should be, what it writes over, and what it packs."""

import argparse
import base64
import gzip
import itertools
import json
import math
import re
import sys
from html import unescape

import pytest
from report_runs import ASK, SIZED, chain_sample, play, record_of, towns, varied, write_run

from harness.errors import UsageError
from harness.runs.folders import find_runs_below
from results.causes import diagnose, sub_answers
from results.commands import report as command
from results.comparison.changes import measure_changes
from results.comparison.pairs import pair_episodes
from results.report.curves import read_curves
from results.report.data import read_report
from results.report.episodes import make_transcript
from results.report.figures import COLOURS, GREYS
from results.report.page import PAGE_START, build_page
from results.report.settings import build_settings
from results.report.shell import read_static
from results.report.svg import text_element, tick_values


@pytest.fixture
def data(tmp_path):
    return towns(tmp_path / "data")


@pytest.fixture
def run(tmp_path, data):
    return write_run(tmp_path / "run", data, varied(data))


def report(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def unpacked(html: str, name: str):
    text = html.partition(f'<script type="application/gzip" id="{name}">')[2].partition("<")[0]
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_a_sound_run_has_no_remark(run):
    found = read_report([run])
    assert found.remarks == []
    assert [diagnosis and diagnosis.cause for diagnosis in found.runs[0].diagnoses] == [
        None,
        "stopped_early",
        "repeated",
        "wrong_answer",
        "wrong_tool",
        "infrastructure",
    ]


def test_a_summary_that_disagrees_is_named_and_computed_anew(run):
    summary = json.loads((run / "summary.json").read_text())
    right = summary["tasks"]["towns"]["metrics"]["solve_f1"]["value"]
    summary["tasks"]["towns"]["metrics"]["solve_f1"]["value"] = 0.999
    (run / "summary.json").write_text(json.dumps(summary))
    found = read_report([run])
    assert [("disagrees" in said, "solve_f1: 0.999 there" in said) for said in found.remarks] == [(True, True)]
    assert found.runs[0].summary["tasks"]["towns"]["metrics"]["solve_f1"]["value"] == right
    assert "0.999 there" in build_page(found, "t")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ('{"schema": 2, "tasks": {}, "groups": {}}', "another format"), ("[]", "no")],
)
def test_a_summary_that_cannot_be_used_is_named(run, text, said):
    (run / "summary.json").write_text(text)
    (remark,) = read_report([run]).remarks
    assert said in remark
    assert "computed anew" in remark


def test_a_cut_file_is_named_and_what_is_there_counts(run):
    path = run / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    found = read_report([run])
    assert len(found.runs[0].results) == 5
    assert "cut in its last line" in found.remarks[0]
    assert "5 of its 6 episodes" in found.remarks[1]
    assert found.runs[0].summary["tasks"]["towns"]["n"] == 5


def test_a_run_of_another_format_is_left_out_and_named_or_is_the_error(tmp_path, data, run):
    other = write_run(tmp_path / "other", data, varied(data), "test/other")
    edit(other / "manifest.json", schema=2)
    found = read_report([run, other])
    assert [entry.label for entry in found.runs] == ["test/model"]
    assert ["Left out" in said and "another format" in said for said in found.remarks] == [True]
    with pytest.raises(UsageError, match="another format"):
        read_report([other])


@pytest.mark.parametrize("field", ["messages", "calls", "usage", "outcome", "stop", "error", "epoch", "scores"])
@pytest.mark.parametrize("value", [None, 7, "x", [7], {"a": 1}])
def test_a_damaged_episode_is_shown_or_named_in_one_sentence(run, field, value):
    path = run / "samples.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), field: value})
    path.write_text("\n".join(lines) + "\n")
    try:
        assert build_page(read_report([run]), "t").startswith(PAGE_START)
    except UsageError as error:
        assert "\n" not in str(error)


def test_without_its_data_a_run_is_read_and_the_report_says_so(run, data):
    data.unlink()
    found = read_report([run])
    assert ["Without gold" in said for said in found.remarks] == [True]
    assert "unexplained" in {diagnosis.cause for diagnosis in found.runs[0].diagnoses if diagnosis}
    assert "<h2" in build_page(found, "t")


def test_two_runs_of_one_model_have_names_that_differ(tmp_path, data, run):
    second = write_run(tmp_path / "again", data, varied(data))
    assert [entry.label for entry in read_report([run, second]).runs] == ["test/model, run", "test/model, again"]


def test_only_a_report_is_written_over(tmp_path, run, capsys):
    out = tmp_path / "report.html"
    assert report(run, "--out", out) == 0
    assert report(run, "--out", out) == 0
    assert "1 run, 6 episodes" in capsys.readouterr().out
    out.write_text("<!DOCTYPE html>\n<html lang='en'>my homepage")
    with pytest.raises(UsageError, match="is no report"):
        report(run, "--out", out)
    assert "my homepage" in out.read_text()
    for bad in (tmp_path, tmp_path / "nowhere" / "a.html"):
        with pytest.raises(UsageError):
            report(run, "--out", bad)


@pytest.mark.parametrize("name", ["nothing", "data"])
def test_what_is_no_run_is_one_sentence(tmp_path, data, name):
    with pytest.raises(UsageError, match="no run directory"):
        report(tmp_path / name, "--out", tmp_path / "a.html")


def test_the_same_runs_give_the_same_file(run):
    assert build_page(read_report([run]), "t") == build_page(read_report([run]), "t")


def test_policies_are_floors_beside_a_model(tmp_path, data, run):
    floor = write_run(tmp_path / "floor", data, varied(data), "policy/random")
    html = build_page(read_report([run, floor]), "t")
    assert "What understands nothing reaches" in html
    assert html.count('class="card"') == 1


def test_a_benchmark_with_a_metric_of_its_own_is_told_by_it(tmp_path, data, run):
    other = write_run(tmp_path / "own", data, varied(data), "test/own")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["tasks"]["towns"]["headline"] = "success"
    (other / "manifest.json").write_text(json.dumps(manifest))
    lines = [json.loads(line) for line in (other / "samples.jsonl").read_text().splitlines()]
    scores = [{"success": n % 2, "paper_success": 1.0, "calls": 1.0, "turns": 2.0} for n in range(len(lines))]
    changed = [json.dumps({**line, "scores": own}) + "\n" for line, own in zip(lines, scores, strict=True)]
    (other / "samples.jsonl").write_text("".join(changed))
    (other / "summary.json").unlink()
    found = read_report([other])
    assert "test/own reached success 0.500" in build_page(found, "t")
    assert sum(diagnosis is None for diagnosis in found.runs[0].diagnoses) == 3
    assert build_page(read_report([run, other]), "t").count("<table") >= 6


def test_epochs_have_their_figure(tmp_path, data):
    run = write_run(tmp_path / "epochs", data, varied(data, epochs=4))
    assert "<h3>Reliability</h3>" in build_page(read_report([run]), "t")


def test_shared_episodes_are_compared_in_pairs(tmp_path, data, run):
    def best(sample):
        return play(sample, [ASK, SIZED])

    better = write_run(
        tmp_path / "better", data, {name: [best(chain_sample(id=name))] for name in varied(data)}, "test/better"
    )
    html = build_page(read_report([run, better]), "t")
    assert "<h3>Paired differences</h3>" in html
    assert "test/better minus test/model, on the same episodes: strict F1 +0." in html


def test_differences_are_those_of_compare(tmp_path, data, run):
    best = {name: [play(chain_sample(id=name), [ASK, SIZED])] for name in varied(data)}
    runs = read_report([run, write_run(tmp_path / "better", data, best, "test/better")])
    html = build_page(runs, "t")
    base, other = (one.source for one in runs.runs)
    (f1,) = measure_changes(pair_episodes(base, other, shared=False), {"towns": ["towns"]}, ["solve_f1"])
    assert f", p {f1.p:.3f}, detectable {f1.detectable:.3f}; paper F1 " in html
    assert "Not compared" not in html


def test_runs_that_cannot_be_paired_are_said_so(tmp_path, data, run):
    epochs = write_run(tmp_path / "epochs", data, varied(data, epochs=2), "test/epochs")
    html = build_page(read_report([run, epochs]), "t")
    assert "cannot be paired: epochs 1 there, 2 here" in html
    assert "<h3>Paired differences</h3>" not in html


def test_unfinished_runs_of_a_folder_are_named(tmp_path, data, run, capsys):
    write_run(run.parent / "begun", data, varied(data), "test/begun")
    (run.parent / "begun" / "summary.json").unlink()
    found = read_report([tmp_path])
    assert [entry.label for entry in found.runs] == ["test/model"]
    assert found.remarks == [f"Left out {run.parent / 'begun'}: it is not finished."]
    assert capsys.readouterr().err == ""


def test_a_training_directory_has_curves(tmp_path, run):
    lines = [{"step": 0, "validation": {"solve_f1": 0.1}}, {"step": 1, "reward": 0.2}, {"step": 2, "reward": 0.4}]
    lines.append({"step": 2, "validation": {"solve_f1": 0.5, "answer_accuracy": "odd"}})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n[7]\n{"step": "x"}\n{"ste')
    curves = read_curves(tmp_path)
    assert curves is not None
    assert curves.trained == {"reward": ((1.0, 0.2), (2.0, 0.4))}
    assert curves.validated == {"solve_f1": ((0.0, 0.1), (2.0, 0.5))}
    assert build_page(read_report([run], [tmp_path]), "t").count("<h3>Training: ") == 2
    with pytest.raises(UsageError, match="no metrics"):
        read_report([run], [run])


def test_numbers_that_cannot_be_drawn_are_left_out(tmp_path, run):
    lines = [{"step": 0, "reward": -1e308}, {"step": 1, "reward": 1e308}, {"step": 10**400, "reward": 0.2}]
    lines += [{"step": 0.0, "loss": 1e99}, {"step": 5e-324, "loss": -1e99}, {"step": 2, "loss": 10**400}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_curves(tmp_path).trained == {"loss": ((0.0, 1e99), (5e-324, -1e99))}
    assert build_page(read_report([run], [tmp_path]), "t").count("<h3>Training: ") == 1


def test_a_run_is_found_beside_folders_in_one_another_beyond_any_recursion(tmp_path, run):
    (tmp_path / "/".join(["a"] * 400)).mkdir(parents=True)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(350)
    try:
        assert find_runs_below(tmp_path) == [run]
    finally:
        sys.setrecursionlimit(limit)


def test_the_index_points_at_the_blocks(run):
    html = build_page(read_report([run]), "t")
    index, block = unpacked(html, "index"), unpacked(html, "block-0")
    assert index["starts"] == [0]
    assert [len(row) for row in index["episodes"]] == [11] * len(block) == [11] * 6
    assert index["samples"][0] == ["town-0", "How big is the capital of Arden, number 0?"]


def test_a_transcript_has_each_call_beside_its_turn_with_both_verdicts():
    sample = chain_sample()
    guess = ("size", {"998": 1}, "an error occured when call size: unexpected keyword 998", "raised")
    record = record_of(sample, play(sample, [ASK, guess], "Answer: 998"))
    full = make_transcript(record, diagnose(record, sample), sample, sub_answers(sample))
    calls = [call for message in full["messages"] for call in message["calls"]]
    assert [(call["strict"], call["paper"]) for call in calls] == [(0, 0), (None, 1)]
    assert calls[1]["because"] == "it did not end ok"
    assert [message["role"] for message in full["messages"]] == ["user", "assistant", "assistant", "assistant"]
    assert full["wanted"][1] == ["size", "998", "How big is Brill?", [0]]


def test_calls_and_messages_that_do_not_fit_are_all_shown():
    sample = chain_sample()
    record = record_of(sample, play(sample, [ASK, SIZED]))
    fewer = make_transcript({**record, "calls": record["calls"][:1]}, None, None, None)
    assert [call["status"] for message in fewer["messages"] for call in message["calls"]] == ["ok", "lost"]
    silent = [message for message in record["messages"] if "tool_calls" not in message]
    more = make_transcript({**record, "messages": silent}, None, None, None)
    assert [call["name"] for message in more["messages"] for call in message["calls"]] == ["capital", "size"]


def test_drawings_escape_their_words():
    assert text_element(0, 0, "<b>&\"'") == '<text x="0" y="0">&lt;b&gt;&amp;&quot;&#x27;</text>'


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-0.07, 0.07), (1.0, 30.0), (0.0, 0.0), (0.3, 0.30001)])
def test_ticks_lie_between_the_ends(ends):
    found = tick_values(*ends)
    assert 1 <= len(found) <= 8
    assert all(ends[0] - 1e-6 <= tick <= ends[1] + 1e-6 for tick in found)


def oklab(colour):
    """Lightness and two axes of colour, in which distances are as they are seen (Ottosson 2020)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize(("letter", "count", "apart"), [("c", 6, 0.17), ("c", COLOURS, 0.095), ("p", GREYS, 0.05)])
def test_runs_have_colours_that_can_be_told_apart_in_either_theme(letter, count, apart):
    style = read_static("report.css")
    found = re.findall(rf"--{letter}(\d+): #([0-9a-f]{{6}});", style)
    assert [int(number) for number, _ in found] == [*range(COLOURS if letter == "c" else GREYS)] * 2
    for theme in (found[: len(found) // 2], found[len(found) // 2 :]):
        seen = [oklab(colour) for _, colour in theme[:count]]
        assert min(math.dist(one, other) for one, other in itertools.combinations(seen, 2)) > apart
    assert all(f".{letter}{number} {{ --own: var(--{letter}{number}); }}" in style for number, _ in found)


def test_how_runs_were_played_is_told_apart_and_what_they_share_once(tmp_path, data, run):
    other = write_run(tmp_path / "other", data, varied(data), "test/other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["identity"]["sampling"] = {"temperature": 0.7}
    manifest["versions"] = {"<b>": ["x"] * 200}
    (other / "manifest.json").write_text(json.dumps(manifest))
    told, shared = build_settings(read_report([run, other]).runs).split("<details>")
    cells = re.findall("<td[^>]*>([^<]*)</td>", told)
    assert cells[cells.index("sampling temperature") :][:3] == ["sampling temperature", "-", "0.7"]
    assert cells[cells.index("tokens, input") :][:3] == ["tokens, input", "600", "600"]
    assert cells[cells.index("cost") :][:3] == ["cost", "-", "-"]
    assert "versions &lt;b&gt;" in told and max(len(unescape(cell)) for cell in cells) == 300
    assert "verifier" in shared and "verifier" not in told
