"""harness reproduce: the plan of every row, and going on from wherever it stopped; no network is played here."""

import json
import shlex
import shutil
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from fakes.ftrl_repository import write_repository
from result_runs import write_run

from harness import cli
from harness.data import jsonio
from harness.errors import UsageError
from tasks.released import RAW
from trainer.recipes.load import load_recipe
from trainer.reproduction.plan import BENCHMARKS, Reproduction, find_missing, plan_steps
from trainer.reproduction.rows import REHEARSAL, ROWS
from trainer.reproduction.run import TABLE, describe_plan, reproduce

GROUPS = {
    "paper": ["single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop"],
    "toolhop": ["direct", "mandatory", "free"],
    "taubench": ["airline", "retail"],
    "rotbench": ["clean", "slight", "medium", "heavy", "union"],
}
SCORES = ["solve_precision", "solve_rate", "solve_f1", "answer_accuracy", "success", "ts", "pi", "cf"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("repository") / "FTRL", train=4)


def asked(folder, out, row="qwen3-8b-grpo", **changes):
    fields = {"user": ["--user-model", "policy/scripted"], "sizes": REHEARSAL, **changes}
    return Reproduction(ROWS[row], "bundled/tiny-base", {"ftrl": folder}, out, backend="hf", **fields)


class Harness:
    """Stands for `harness`: leaves what a command leaves, and may be stopped at one of its calls."""

    def __init__(self, stop_at=None, fails_at=None, lost=()):
        self.called, self.stop_at, self.fails_at, self.lost = [], stop_at, fails_at, set(lost)

    def __call__(self, words):
        self.called.append(words)
        if len(self.called) == self.stop_at:
            raise KeyboardInterrupt
        if len(self.called) == self.fails_at:
            return 2
        out = Path(words[words.index("--out") + 1])
        return getattr(self, words[0])(words, out) or 0

    def eval(self, words, out):
        group = out.name
        tasks = {f"{group}_{name}": {"a": [self.scores(out)]} for name in GROUPS[group]}
        model = words[words.index("--model") + 1]
        if out.exists():
            shutil.rmtree(out)
        write_run(out, tasks, model=model, reasoning="off", groups={group: list(tasks)})
        if group in self.lost:
            self.lost.remove(group)
            summary = json.loads((out / "summary.json").read_text())
            next(iter(summary["tasks"].values()))["outcomes"] = {"infrastructure_error": 1}
            jsonio.write_json(out / "summary.json", summary)
            return 1
        return 0

    def scores(self, out):
        return {f"paper_{name}": 0.25 if out.parent.name == "base" else 0.5 for name in SCORES}

    def collect(self, words, out):
        leave(out / "prefixes.jsonl")

    def train(self, words, out):
        leave(out / "result.json")

    def analyze(self, words, out):
        leave(out)

    def export(self, words, out):
        leave(out / "launch.sh")


def leave(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


def played(request, call, resume=False):
    missing = find_missing(request)
    return reproduce(request, plan_steps(request, missing), missing, resume, call)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_one_of_the_papers_with_the_recipe_for_its_mode(name):
    row = ROWS[name]
    table = tomllib.loads((files("results.layouts") / "table2.toml").read_text("utf-8"))
    ((first, *others),) = [
        [line["model"] for line in block["rows"]]
        for block in table["blocks"]
        if row.published in [line["model"] for line in block["rows"]]
    ]
    assert first == row.base and row.published in others
    recipe = load_recipe(row.recipe, {"algorithm": row.algorithm})
    assert (recipe.thinking, recipe.max_tokens) == (row.reasoning, row.max_tokens)


@pytest.mark.parametrize("changes", [{}, {"trainer": "verl"}])
@pytest.mark.parametrize("name", ["qwen3-8b-grpo", "qwen2.5-7b-reinforce++", "qwen3-14b-thinking-grpo"])
def test_every_command_of_a_plan_is_one_that_harness_takes(folder, tmp_path, name, changes):
    request = asked(folder, tmp_path / "out", name, **changes)
    steps = plan_steps(request, {})
    assert len(steps) == 4 + 3 * (3 if changes else 2) + 4 + 1
    for step in steps:
        if step.words:
            parser, command = cli._parser(list(step.words))
            assert command is not None and parser.parse_args(list(step.words))
        else:
            assert "verl.model_merger" in step.by_hand[1]


def test_a_round_begins_with_what_the_one_before_left(folder, tmp_path):
    steps = {step.title: list(step.words) for step in plan_steps(asked(folder, tmp_path / "out"), {})}
    for number, weights in ((1, "bundled/tiny-base"), (2, f"{tmp_path}/out/round-1/train/model")):
        assert weights in steps[f"round {number}: train"]
        assert any(weights in word for word in steps[f"round {number}: collect"])
    assert f"{tmp_path}/out/round-3/train/model" in steps["what training changed"]


def test_all_columns_beside_the_published_row(folder, tmp_path, capsys):
    assert played(asked(folder, tmp_path / "out"), Harness()) == 0
    table = (tmp_path / "out" / TABLE).read_text()
    said = capsys.readouterr().out
    assert table in said and "[15/15] what training changed" in said
    assert table.startswith("A rehearsal")
    lines = [line.split() for line in table.splitlines() if "tiny-base" in line or "(published)  " in line]
    cells = [[cell.lstrip("*↑↓") for cell in line[-9:]] for line in lines]
    assert cells[:2] == [["25.00"] * 9, ["50.00"] * 9]
    assert [row[-1] for row in cells[2:]] == ["31.01", "45.43"]
    assert "FTRL-GRPO" in table and "REINFORCE" not in table


def test_it_goes_on_wherever_it_was_stopped_and_gives_the_same_table(folder, tmp_path):
    assert played(asked(folder, tmp_path / "whole"), Harness()) == 0
    whole = (tmp_path / "whole" / TABLE).read_text()
    for stop in (1, 6, 15):
        out = tmp_path / f"stopped-{stop}"
        first, second = Harness(stop_at=stop), Harness()
        with pytest.raises(KeyboardInterrupt):
            played(asked(folder, out), first)
        assert played(asked(folder, out), second, resume=True) == 0
        assert [*first.called[:-1], *second.called] == words_of(asked(folder, out))
        assert (out / TABLE).read_text() == whole


def words_of(request):
    """The words of all steps."""
    return [list(step.words) for step in plan_steps(request, {})]


def test_a_step_that_was_running_resumes(folder, tmp_path):
    request, call = asked(folder, tmp_path / "out"), Harness(stop_at=6)
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        played(request, call)
    (tmp_path / "out" / "round-1" / "train").mkdir()
    again = Harness()
    assert played(request, again, resume=True) == 0
    assert again.called[0][0] == "train" and again.called[0][-1] == "--resume"
    assert "--resume" not in again.called[1]


def test_a_column_without_data_is_a_dash_with_its_reason(tmp_path):
    folder = write_repository(tmp_path / "FTRL", without=["ToolHop.jsonl"], train=4)
    request, call = asked(folder, tmp_path / "out", user=()), Harness()
    assert played(request, call) == 0
    table = (tmp_path / "out" / TABLE).read_text()
    cells = next(line.split() for line in table.splitlines() if line.startswith("bundled/tiny-base  "))
    assert [cell == "-" for cell in cells[-9:]] == [False] * 3 + [True] * 2 + [False] * 3 + [True]
    assert "No ToolHop AC: toolhop_* looked for" in table and str(folder / RAW / "ToolHop.jsonl") in table
    assert "No tau-bench pass^1: " in table and "--user-model" in table
    assert not [words for words in call.called if "toolhop_*" in words or "taubench_*" in words]


def test_a_column_that_came_later_is_played_alone(tmp_path):
    folder = write_repository(tmp_path / "FTRL", train=4)
    file = folder / RAW / "ToolHop.jsonl"
    hidden = file.rename(file.with_suffix(".hidden"))
    request, again = asked(folder, tmp_path / "out"), Harness()
    assert played(request, Harness()) == 0
    hidden.rename(file)
    assert played(request, again, resume=True) == 0
    assert [words[words.index("--tasks") + 1] for words in again.called] == ["toolhop_*"] * 2
    assert "No ToolHop" not in (tmp_path / "out" / TABLE).read_text()


def test_lost_episodes_are_status_1_and_played_again(folder, tmp_path):
    request, call = asked(folder, tmp_path / "out"), Harness(lost=["rotbench"])
    assert played(request, call) == 1
    again = Harness()
    assert played(request, again, resume=True) == 0
    assert [words[-1] for words in again.called] == ["--resume"]
    assert "rotbench_*" in again.called[0]


def test_a_step_that_leaves_nothing_ends_it(folder, tmp_path, capsys):
    call = Harness(fails_at=6)
    assert played(asked(folder, tmp_path / "out"), call) == 1
    said = capsys.readouterr().err
    assert len(call.called) == 6
    assert "'round 1: train', which left no result.json" in said and "--resume" in said


def test_with_verl_each_round_waits_for_a_person(folder, tmp_path, capsys):
    request = asked(folder, tmp_path / "out", trainer="verl", sizes=replace(REHEARSAL, train={}))
    for number in (1, 2, 3):
        call = Harness()
        assert played(request, call, resume=number > 1) == 1
        assert [words[0] for words in call.called][-2:] == ["collect", "export"]
        said = capsys.readouterr().err
        assert f"round-{number}/export/launch.sh" in said and f"--target_dir {request.out}/round-{number}" in said
        model = request.out / f"round-{number}" / "train" / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}")
    assert played(request, Harness(), resume=True) == 0


def test_another_reproduction_is_refused(folder, tmp_path):
    request = asked(folder, tmp_path / "out")
    assert played(request, Harness()) == 0
    with pytest.raises(UsageError, match="by --resume"):
        played(request, Harness())
    with pytest.raises(UsageError, match="another row"):
        played(asked(folder, tmp_path / "out", "qwen3-14b-grpo"), Harness(), resume=True)
    with pytest.raises(UsageError, match="something else"):
        played(asked(folder, folder), Harness())


@pytest.mark.parametrize("file", ["train.jsonl", "ToolHop.jsonl"])
def test_other_data_or_another_user_is_another_reproduction(tmp_path, file):
    folder = write_repository(tmp_path / "FTRL", train=4)
    request = asked(folder, tmp_path / "out")
    assert played(request, Harness()) == 0
    with pytest.raises(UsageError, match="another user"):
        played(replace(request, user=["--user-model", "policy/other"]), Harness(), resume=True)
    path = folder / RAW / file
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(UsageError, match="another data"):
        played(request, Harness(), resume=True)
    path.write_text("".join(lines))
    moved = folder.rename(tmp_path / "moved")
    assert played(replace(request, data={"ftrl": moved}), Harness(), resume=True) == 0


def test_one_that_was_begun_before_its_data_and_user_were_kept_goes_on_and_keeps_them(folder, tmp_path):
    request, path = asked(folder, tmp_path / "out", user=()), tmp_path / "out" / "reproduction.json"
    assert played(request, Harness()) == 0
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in whole.items() if name not in ("data", "user")}))
    named = replace(request, user=["--user-model", "policy/scripted", "--user-base-url", "http://localhost"])
    assert played(named, Harness(), resume=True) == 0
    kept = json.loads(path.read_text())
    assert kept["user"] == {"--user-model": "policy/scripted"}
    assert {name: kept["data"][name] for name in whole["data"]} == whole["data"] and "taubench" in kept["data"]


def test_commands_for_a_person_are_words_of_a_shell(folder, tmp_path):
    out = tmp_path / "my runs; $(touch pwned)"
    request = asked(folder, out, trainer="verl", sizes=replace(REHEARSAL, train={}))
    missing = {"toolhop": "it is not\n$(touch pwned)"}
    script = describe_plan(request, plan_steps(request, missing), missing)
    commands = [shlex.split(line) for line in script.splitlines() if line and not line.startswith("#")]
    assert {words[0] for words in commands} == {
        "harness",
        "python",
        *(f"{out}/round-{number}/export/launch.sh" for number in (1, 2, 3)),
    }
    assert f"{out}/round-1/train/model" in [words[-1] for words in commands if words[0] == "python"]


def test_the_plan_is_a_script(folder, tmp_path):
    request = asked(folder, tmp_path / "out", user=())
    missing = find_missing(request)
    lines = describe_plan(request, plan_steps(request, missing), missing).splitlines()
    assert all(line.startswith(("#", "harness ")) for line in lines if line)
    assert [group for group in BENCHMARKS if group in missing] == ["taubench"]
    assert not any("nothing to train on" in line for line in lines)
    bare = replace(request, data={"ftrl": tmp_path})
    assert "# There is nothing to train on at" in describe_plan(bare, plan_steps(bare, missing), missing)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--row", "qwen3-8b-grpo"), "--model is missing: the folder with the weights of Qwen/Qwen3-8B"),
        (("--row", "qwen3-8b-grpo", "--model", "nowhere"), "there is no directory nowhere"),
        (("--row", "qwen3-8b-grpo", "--rehearse"), "nothing to train on"),
        (("--row", "qwen3-8b-grpo", "--rehearse", "--trainer", "verl"), "are for --trainer harness"),
        (("--row", "qwen3-8b-grpo", "--dry-run", "--user-base-url", "http://x"), "needs --user-model"),
        (("--row", "qwen3-8b-grpo", "--dry-run", "--data", "ftrl2=x"), "which no task reads"),
        (("--row", "qwen3-8b-grpo", "--dry-run", "--set", "step=3"), "--set knows no 'step'. Did you mean steps"),
    ],
)
def test_bad_input_is_one_sentence(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "table2", *words]) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and not said.out
    assert not list(tmp_path.iterdir())


def test_without_any_column_nothing_is_trained(tmp_path, capsys):
    every = ["test.jsonl", "ToolHop.jsonl", "tau-bench.jsonl", "RoTBench.jsonl"]
    folder = write_repository(tmp_path / "FTRL", without=every, train=4)
    words = ["--row", "qwen3-8b-grpo", "--rehearse", "--data", f"ftrl={folder}", "--out", str(tmp_path / "out")]
    assert cli.main(["reproduce", "table2", *words]) == 2
    said = capsys.readouterr().err
    assert "No column of the table can be played, so nothing is trained: paper looked for" in said
    assert not (tmp_path / "out").exists()
