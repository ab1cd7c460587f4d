"""--data ftrl=FOLDER: every benchmark of the paper's table from its repository's packed files."""

import json
import shutil

import pytest
from builders import RELEASED, SHARED, needs
from fakes.ftrl_repository import noisy, write, write_repository

from harness.data.records import fingerprint
from harness.errors import MissingData, UsageError
from harness.models import ModelOptions
from harness.models.policies import load as load_policy
from harness.registry import load_samples, select_tasks
from harness.rollout import Episode, play_episode
from tasks import rotbench
from tasks.released import RAW

COLUMNS = ["paper_*", "toolhop_*", "taubench_*", "rotbench_*"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("repository") / "FTRL", train=4)


def loaded(data, patterns=COLUMNS):
    return load_samples(select_tasks(patterns, data))


def test_the_checkout_and_its_folder_of_packed_files_hold_all_fourteen_tasks(folder):
    sizes = {name: len(samples) for name, samples in loaded({"ftrl": folder}).items()}
    assert sum(sizes.values()) == 4 + 3 * 2 + 2 * 2 + 5 * 2
    assert len(sizes) == 14
    assert {name: len(samples) for name, samples in loaded({"ftrl": folder / RAW}).items()} == sizes


def test_a_missing_file_leaves_out_its_tasks_and_says_which(tmp_path, capsys):
    missing = ["ToolHop.jsonl", "RoTBench.jsonl", "tau-bench.jsonl"]
    folder = write_repository(tmp_path / "FTRL", without=missing, train=4)
    assert sorted({name.partition("_")[0] for name in loaded({"ftrl": folder})}) == ["paper"]
    said = capsys.readouterr().err
    for file in missing:
        assert str(folder / RAW / file) in said
    (folder / RAW / "test.jsonl").unlink()
    with pytest.raises(MissingData, match=r"test\.jsonl"):
        loaded({"ftrl": folder})


def test_a_path_of_its_own_comes_first(folder, tmp_path):
    write(tmp_path / "RoTBench.jsonl", [noisy("clean", "Emma")])
    found = loaded({"ftrl": folder, "rotbench": tmp_path / "RoTBench.jsonl"}, ["rotbench_*"])
    assert {name: len(samples) for name, samples in found.items()} == {"rotbench_clean": 1}


def test_right_answers_score_one_and_levels_keep_apart(folder):
    for task in select_tasks(["rotbench_*"], {"ftrl": folder}):
        level = task.name.removeprefix("rotbench_")
        for number, sample in enumerate(task.load()):
            assert sample.id == f"{level}-{number}"
            gold = play_episode(Episode(sample), task.environment(sample), load_policy("oracle", ModelOptions()), None)
            assert task.score(sample, gold).scores["paper_cf"] == 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"data_source": "RoTBench"},
        {"data_source": "RoTBench/clean and heavy"},
        {"data_source": None},
        {"answer": []},
        {"answer": "Action: find_book"},
        {"messages": []},
        {"messages": [{"role": "system", "content": "[]"}, {"role": "user", "content": "x"}]},
        {"messages": noisy("clean", "Emma")["messages"] * 2},
    ],
)
def test_rows_of_another_shape_are_one_sentence(tmp_path, changes):
    write(tmp_path / "rows.jsonl", [{**noisy("clean", "Emma"), **changes}])
    with pytest.raises(UsageError, match=r"rows\.jsonl, row 1"):
        rotbench.read_packed(tmp_path / "rows.jsonl")


# --- the real data, in that packing ------------------------------------------------------------------------------


def test_the_real_tau_bench_is_the_same_task_in_either_packing(tmp_path):
    real = needs(SHARED / "data" / "tau-bench" / "tasks.jsonl").parent
    shutil.copy(real / "tasks.jsonl", tmp_path / "tau-bench.jsonl")
    shutil.copytree(real, tmp_path / "tau-bench", ignore=shutil.ignore_patterns("tasks.jsonl"))
    packed = loaded({"ftrl": tmp_path}, ["taubench_*"])
    own = loaded({"taubench": real}, ["taubench_*"])
    assert {name: fingerprint(samples) for name, samples in packed.items()} == {
        name: fingerprint(samples) for name, samples in own.items()
    }


def test_the_real_rotbench_rows_ask_and_want_the_same_in_either_packing(tmp_path):
    real = needs(SHARED / "data" / "rotbench" / "First_Turn" / "clean.json")
    rows = []
    for level in ("clean", "heavy"):
        for row in json.loads((real.parent / f"{level}.json").read_text(encoding="utf-8")):
            system, user, assistant = (turn["value"] for turn in row["conversations"])
            messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
            rows.append({"messages": messages, "answer": assistant, "data_source": f"RoTBench/{level.title()}"})
    write(tmp_path / "RoTBench.jsonl", rows)
    packed = loaded({"ftrl": tmp_path}, ["rotbench_*"])
    for name in ("rotbench_clean", "rotbench_heavy"):
        own = rotbench.load(real.parents[1], name.removeprefix("rotbench_"))
        assert [(s.id, s.messages, s.metadata["golds"]) for s in packed[name]] == [
            (s.id, s.messages, s.metadata["golds"]) for s in own
        ]


def test_the_real_test_rows_are_the_papers_tasks(tmp_path):
    shutil.copy(needs(RELEASED), tmp_path / "test.jsonl")
    assert [len(samples) for samples in loaded({"ftrl": tmp_path}, ["paper_*"]).values()] == [15] * 4
