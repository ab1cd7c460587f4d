"""--data ftrl=FOLDER: the paper's repository (bytedance/FTRL) as it packs its data, one name for all of its files.

FOLDER is a checkout, or the folder Data/jsonl/raw in it. A data set with a path of its own (--data rotbench=PATH) is
read from there. A file that is not there leaves out its tasks: whoever loads one is told which path was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPOSITORY = "ftrl"
RAW = Path("Data", "jsonl", "raw")
FILES = {"paper": "test.jsonl", "toolhop": "ToolHop.jsonl", "taubench": "tau-bench", "rotbench": "RoTBench.jsonl"}
"""Where each data set is, below RAW; beside the folder tau-bench lie its tasks, TAU_TASKS."""
TAU_TASKS = "tau-bench.jsonl"
TRAIN = "train.jsonl"


def find_data(name: str, data: Mapping[str, Path]) -> Path | None:
    """Where a data set is: at its own path, else in the repository; None where neither was named."""
    if name in data or REPOSITORY not in data:
        return data.get(name)
    return raw_folder(data[REPOSITORY]) / FILES[name]


def raw_folder(folder: Path) -> Path:
    """The folder of the packed files, of which either it or the checkout is named."""
    return folder / RAW if (folder / RAW).is_dir() else folder
