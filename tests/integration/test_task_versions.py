"""Versions of a task: what a name means, and that a run of an earlier one stays a run of that one and of no other."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from builders import ROOT
from commands import episodes

from harness import read_run, registry
from harness.cli import main
from harness.data.files import read_rows, write_rows
from harness.errors import UsageError
from harness.registry import groups_of, select_tasks
from harness.runs.identity import describe_other_version
from tasks import synthesised

EACH = 2
"""Rows a scenario."""


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A few rows of version 1 as the bundled data, alone. What it returns adds version 2: other questions, same ids."""
    rows = [row for kind in synthesised.SCENARIOS for row in few("ftrl@1.jsonl.xz", kind)]
    folder = tmp_path / "data"
    folder.mkdir()
    for family in ("ftrl", "micro"):
        write_rows(folder / f"{family}@1.jsonl.xz", rows)
        write_rows(folder / f"{family}@2.jsonl.xz", map(asked_otherwise, rows))
    first = [bundled for bundled in synthesised.BUILDS if bundled.version == 1]
    monkeypatch.setattr(synthesised, "FOLDER", folder)
    monkeypatch.setattr(synthesised, "BUILDS", first)
    monkeypatch.setattr(synthesised, "GENERATION", 1)
    monkeypatch.setattr(synthesised, "SIZE", EACH * len(synthesised.SCENARIOS))
    synthesised._everything.cache_clear()

    def add_second_version():
        second = [replace(bundled, version=2, generation=2) for bundled in first]
        monkeypatch.setattr(synthesised, "BUILDS", [*second, *first])
        monkeypatch.setattr(synthesised, "GENERATION", 2)

    yield add_second_version
    synthesised._everything.cache_clear()


def few(name, kind):
    rows = read_rows(synthesised.FOLDER / name)
    return [row for row in rows if row["data_source"] == f"self/{kind}"][:EACH]


def asked_otherwise(row):
    head, *others = row["messages"]
    return {**row, "messages": [{**head, "content": f"Second version. {head['content']}"}, *others]}


@pytest.fixture
def command(capsys):
    """Runs a command in this process; returns its status and what it printed."""

    def run(*words):
        status = main(list(map(str, words)))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def play(command, tmp_path):
    """Plays tasks into a folder, and returns it."""

    def run(name, tasks, *words, model="policy/random", status=0):
        out = tmp_path / name
        done = command("eval", "--model", model, "--tasks", tasks, "--out", out, "--quiet", *words)
        assert done[0] == status, done
        return out

    return run


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def tasks_shown(said):
    """The column `tasks` of a table."""
    lines = said.splitlines()
    return [re.split(r"\s{2,}", line)[1] for line in lines[2 : lines.index("")]]


# --- what a name means -------------------------------------------------------------------------------------------


def names(*patterns):
    return [(task.name, task.version) for task in select_tasks(patterns, {})]


def test_a_name_is_the_current_version_and_another_is_asked_for_by_its_number(bundle):
    assert names("ftrl_single_hop", "ftrl_single_hop@1") == [("ftrl_single_hop", 1)]
    bundle()
    assert names("ftrl_single_hop") == names("ftrl_single_hop@2") == [("ftrl_single_hop", 2)]
    assert names("ftrl_single_hop@1") == [("ftrl_single_hop", 1)]
    assert {version for _, version in names("ftrl_*", "micro_*", "step_*")} == {2}
    assert names("ftrl_*@1") == [(f"ftrl_{kind}", 1) for kind in synthesised.SCENARIOS]
    assert names("step_micro_*@1") == [(f"step_micro_{kind}", 1) for kind in synthesised.SCENARIOS]
    for patterns in (("ftrl_single_hop@3",), ("ftrl_*@",), ("nothing_*@1",)):
        with pytest.raises(UsageError, match="No task matches"):
            names(*patterns)
    with pytest.raises(UsageError, match="ftrl_single_hop@1 and ftrl_single_hop@2 are versions of one task"):
        names("ftrl_*", "ftrl_single_hop@1")


def test_a_group_is_whole_in_one_version(bundle):
    bundle()
    both = [select_tasks([pattern], {}) for pattern in ("ftrl_*", "ftrl_*@1")]
    assert [list(groups_of(tasks, {})) for tasks in both] == [["ftrl"]] * 2
    assert groups_of([*both[0][:2], *both[1][2:]], {}) == {}


def test_the_list_has_current_tasks_and_says_that_there_are_others(bundle, command):
    assert "Earlier" not in command("list")[1]
    bundle()
    said = command("list")[1]
    assert sum(line.startswith("ftrl_") for line in said.splitlines()) == len(synthesised.SCENARIOS)
    assert "Earlier versions: ftrl_*@1, micro_*@1, step_micro_*@1, step_ftrl_*@1." in said
    status, said, _ = command("list", "ftrl_*@1")
    assert status == 0 and said.count(f"--seed {synthesised.SEED} --generation 1, bundled") == 4
    assert [line.split()[:3] for line in said.splitlines()[2:6]] == [
        [f"ftrl_{kind}@1", str(EACH), "ftrl@1"] for kind in synthesised.SCENARIOS
    ]
    assert command("list", "ftrl_*")[1].count(f"--seed {synthesised.SEED}, bundled") == 4


# --- a run of version 1 ------------------------------------------------------------------------------------------


def test_a_run_of_version_1_is_scored_anew_shown_and_compared_with_its_like(bundle, command, play):
    runs = [play(model, "ftrl_*", model=f"policy/{model}") for model in ("random", "oracle")]
    before = manifest(runs[0]), episodes(runs[0]), json.loads((runs[0] / "summary.json").read_text())
    bundle()
    status, said, _ = command("rescore", runs[0])
    assert status == 0 and f"{EACH * 4} episodes rescored" in said and "; 0 changed" in said
    assert set(tasks_shown(said)) == {"ftrl@1"}
    after = manifest(runs[0]), episodes(runs[0]), json.loads((runs[0] / "summary.json").read_text())
    assert [after[0], sorted(after[1], key=str), after[2]] == [before[0], sorted(before[1], key=str), before[2]]
    sample = before[1][0]["sample"]
    status, said, errors = command("show", runs[0], sample)
    assert (status, errors) == (0, "") and "gold" in said and "Second version" not in said
    status, said, _ = command("compare", *runs, "--by-task")
    assert status == 0 and "ftrl@1" in said and "ftrl_single_hop@1" in said
    assert tasks_shown(command("table", *runs)[1]) == ["ftrl@1", "ftrl@1"]


def test_versions_are_never_paired_and_never_one_row(bundle, command, play):
    old = play("old", "ftrl_*", model="policy/oracle")
    bundle()
    new = play("new", "ftrl_*", model="policy/oracle")
    assert {entry["version"] for entry in manifest(new)["tasks"].values()} == {2}
    summary = json.loads((new / "summary.json").read_text())
    assert summary["groups"]["ftrl"]["version"] == 2
    for words in ((), ("--shared",)):
        status, said, error = command("compare", old, new, *words)
        assert (status, said, error.count("\n")) == (2, "", 1)
        assert "no task in common (ftrl_single_hop@1 there, ftrl_single_hop here: other questions under one" in error
    assert tasks_shown(command("table", old, new)[1]) == ["ftrl@1", "ftrl"]
    shown = tasks_shown(command("table", old, new, "--by-task")[1])
    assert len(set(shown)) == len(shown) == 10
    layout = command("table", old, new, "--layout", "scenario", "--format", "csv")[1]
    assert [line.split(",")[1:3] for line in layout.splitlines() if "oracle" in line] == [
        ["ftrl_*@1", "1.0"],
        ["ftrl_*", "1.0"],
    ]
    alone, both = (command("table", *runs, "--layout", "paper")[1] for runs in ((old,), (old, new)))
    assert "Solve columns: ftrl_*@1 environments" in alone and "Solve columns: ftrl_* environments" in both
    assert "100.00" in alone


def test_what_both_played_in_one_version_is_compared_where_that_is_asked(bundle, command, play):
    old = play("old", "ftrl_*,demo_single_hop")
    bundle()
    new = play("new", "ftrl_*,demo_single_hop")
    status, _, error = command("compare", old, new)
    assert status == 2 and f"only {old} played ftrl_single_hop@1" in error and "--shared" in error
    status, said, _ = command("compare", old, new, "--shared")
    assert status == 0 and "demo_single_hop" in said and "ftrl" not in said


def test_a_run_of_version_1_goes_on_as_what_it_is(bundle, command, play, tmp_path):
    run = play("run", "ftrl_*,demo_*", "--limit", 1)
    whole = episodes(run)
    bundle()
    lines = (run / "samples.jsonl").read_text().splitlines(keepends=True)
    (run / "samples.jsonl").write_text("".join(lines[::2]))
    (run / "summary.json").unlink()
    before = manifest(run)
    words = ("eval", "--model", "policy/random", "--out", run, "--quiet", "--limit", 1)
    for more in ((), ("--resume",)):
        status, said, error = command(*words, "--tasks", "ftrl_*", "demo_*", *more)
        assert (status, said, error.count("\n")) == (2, "", 1)
        assert "version 1 of ftrl_single_hop, which is version 2 here" in error
        assert "--tasks 'ftrl_*@1' 'demo_*' --resume goes on" in error
    status, said, _ = command(*words, "--tasks", "ftrl_*@1", "demo_*", "--resume", "--concurrency", 1)
    assert status == 0 and "mean of ftrl@1" in tasks_shown(said)
    assert manifest(run) == before
    timeless = [
        sorted(({**record, "timing": None} for record in records), key=lambda record: record["key"])
        for records in (whole, episodes(run))
    ]
    assert timeless[0] == timeless[1]


def test_another_model_on_another_version_is_another_run(bundle, command, play):
    run = play("run", "ftrl_*")
    bundle()
    status, _, error = command("eval", "--model", "policy/silent", "--tasks", "ftrl_*", "--out", run, "--resume")
    assert status == 2 and "holds another run (model" in error


def test_a_new_run_of_version_1_is_one_with_the_old_ones(bundle, command, play):
    old = play("old", "ftrl_*")
    bundle()
    new = play("new", "ftrl_*@1")
    assert {record["key"] for record in episodes(new)} == {record["key"] for record in episodes(old)}
    assert command("compare", old, new)[0] == 0
    assert [list(read_run(run).summary["groups"]) for run in (old, new)] == [["ftrl@1"]] * 2


def test_a_run_of_a_few_samples_finds_its_version(bundle, command, play):
    run = play("run", "step_micro_*,ftrl_*", "--limit", 1)
    bundle()
    assert command("rescore", run)[0] == 0
    assert set(tasks_shown(command("table", run)[1])) == {"step_micro@1", "ftrl@1"}


def test_the_report_shows_both_with_their_gold(bundle, command, play, tmp_path):
    old = play("old", "ftrl_*")
    bundle()
    new = play("new", "ftrl_*")
    status, _, error = command("report", old, new, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert (status, error) == (0, "") and "Without gold" not in page
    assert "ftrl_single_hop@1" in page and "ftrl@1" in page


def test_rows_that_no_version_has_are_still_refused(bundle, command, play):
    run = play("run", "ftrl_*")
    bundle()
    for name in ("ftrl@1.jsonl.xz", "ftrl@2.jsonl.xz"):
        rows = [asked_otherwise(asked_otherwise(row)) for row in read_rows(synthesised.FOLDER / name)]
        write_rows(synthesised.FOLDER / name, rows)
    synthesised._everything.cache_clear()
    status, _, error = command("rescore", run)
    assert status == 2 and "The data of ftrl_single_hop is not what" in error


def test_a_committed_run_is_one_of_version_1(bundle, command, tmp_path):
    """Its manifest says nothing of versions."""
    run = shutil.copytree(ROOT / "results" / "published" / "version-1" / "policy-random", tmp_path / "run")
    bundle()
    shutil.copy(ROOT / "tasks" / "data" / "ftrl@1.jsonl.xz", synthesised.FOLDER)
    assert tasks_shown(command("table", run)[1]) == ["ftrl@1"]
    status, said, _ = command("rescore", run)
    assert status == 0 and "200 episodes rescored" in said and "; 0 changed" in said


def test_turns_of_another_version_are_not_replayed_on_tools_that_they_do_not_know(bundle, command, play):
    run = play("run", "ftrl_*", model="policy/oracle")
    bundle()
    rows = list(read_rows(synthesised.FOLDER / "ftrl@1.jsonl.xz"))
    write_rows(
        synthesised.FOLDER / "ftrl@2.jsonl.xz", [{**rows[-1 - n], "id": rows[n]["id"]} for n in range(len(rows))]
    )
    words = ("eval", "--model", f"replay/{run / 'samples.jsonl'}", "--out", run.parent / "again", "--quiet", "--tasks")
    status, _, error = command(*words, "ftrl_*")
    assert status == 2 and "was recorded on other tasks" in error
    assert command(*words, "ftrl_*@1")[0] == 0
    assert command("compare", run, run.parent / "again")[0] == 0


# --- anybody's tasks ---------------------------------------------------------------------------------------------


@pytest.fixture
def providers(monkeypatch):
    """Replaces the packages that offer tasks."""

    def install(**offered):
        monkeypatch.setattr(registry, "load_entry_points", lambda group: offered)

    return install


def task(name, version, group=None):
    return replace(synthesised.ftrl({})[0], name=name, version=version, group=group)


def test_any_task_may_have_versions(providers):
    first, second, alone, other = (
        task("mine", 1, "ours"),
        task("mine", 3, "ours"),
        task("more", 1, "ours"),
        task("at@home", 1),
    )
    providers(one=lambda data: [second, alone], two=lambda data: [first, other])
    assert names("m*") == [("mine", 3), ("more", 1)]
    assert names("mine@1", "more") == [("mine", 1), ("more", 1)]
    assert names("m*@1") == [("more", 1), ("mine", 1)]
    assert names("at@home") == names("at@*") == [("at@home", 1)]
    assert groups_of([second, alone], {}) == {"ours": ["mine", "more"]}
    assert groups_of([second], {}) == groups_of([alone], {}) == {}
    assert registry.current_versions() == {"mine": 3, "more": 1, "at@home": 1}


def test_a_package_that_fails_does_not_hide_the_versions_of_others(providers):
    def broken(data):
        raise KeyError("nothing")

    providers(one=broken, two=lambda data: [task("mine", 2)])
    assert registry.current_versions() == {"mine": 2}
    with pytest.raises(UsageError, match="cannot be listed"):
        names("mine")


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ({"a_x": 1, "a_y": 1, "b": 1}, "--tasks 'a_*@1' b"),
        ({"a_x": 1, "a_y": 2, "b": 1}, "--tasks a_x@1 a_y@2 b"),
    ],
)
def test_what_goes_on_with_an_earlier_run_is_spelt_out(then, words):
    now = {"a_x": 3, "a_y": 3, "b": 1}
    earlier, asked = ({"tasks": {name: {"version": n} for name, n in each.items()}} for each in (then, now))
    earlier["sources"] = {"tasks": ["a_*", "b"]}
    differing = {"tasks.a_x": ("1", "2"), "tasks.a_y": ("1", "2"), "verifier": (1, 2)}
    said = describe_other_version(earlier, asked, differing)
    assert said == f"version 1 of a_x, which is version 3 here: {words}"
    assert describe_other_version(earlier, asked, {**differing, "seed": (0, 1)}) is None
    assert describe_other_version(earlier, earlier, {"verifier": (1, 2)}) is None
    nameless = describe_other_version({**earlier, "sources": {}}, asked, differing)
    assert nameless.endswith(f"--tasks a_x@1 a_y@{then['a_y']}")
