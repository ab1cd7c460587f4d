"""`harness analyze` as a person runs it: tables, files, one sentence for bad input, little memory for large models."""

import csv
import json
import math
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from commands import environment, harness, one_sentence
from fakes.tiny_model import random_model

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def two_models(tmp_path_factory):
    """A tiny Qwen3 model as transformers saves it, and the same with one MLP matrix scaled by 1.1, in shards."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models")
    random_model(folder / "base")
    network = AutoModelForCausalLM.from_pretrained(folder / "base")
    network.model.layers[0].mlp.up_proj.weight.data *= 1.1
    network.save_pretrained(folder / "trained", max_shard_size="100KB")
    assert len(list((folder / "trained").glob("*.safetensors"))) > 1
    return folder / "base", folder / "trained"


def test_the_table_shows_the_edit_and_the_sentence_answers(two_models):
    done = harness("analyze", *two_models)
    assert done.returncode == 0, done.stderr
    header, _, first, second = done.stdout.splitlines()[:4]
    columns = header.split()[2:]
    norms = {"q_norm", "k_norm", "input_layernorm", "post_attention_layernorm"}
    assert set(columns) == {"q", "k", "v", "o", "gate", "up", "down"} | norms
    assert set(columns[-4:]) == norms
    assert dict(zip(columns, first.split()[1:], strict=True))["up"] == "10"
    assert set(second.split()[1:]) == {"0"}
    assert "The MLPs of the lower third (layers 0 to 0 of 2) hold 100 % of the squared change" in done.stdout


@pytest.mark.parametrize("style", ["markdown", "latex", "html", "json"])
def test_every_format_is_printed(two_models, style):
    done = harness("analyze", *two_models, "--format", style)
    assert done.returncode == 0, done.stderr
    mark = {"markdown": "|", "latex": r"\begin{tabular}", "html": "<table>", "json": '"squared_change"'}[style]
    assert mark in done.stdout


def test_json_csv_and_heat_map_hold_the_same_values(two_models, tmp_path):
    for ending in ("json", "csv", "svg"):
        assert harness("analyze", *two_models, "--out", tmp_path / f"x.{ending}").returncode == 0
    result = json.loads((tmp_path / "x.json").read_text())
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [float(row["relative_change"]) for row in rows] == [cell["relative_change"] for cell in result["cells"]]
    (edited,) = [cell for cell in result["cells"] if cell["relative_change"]]
    assert (edited["layer"], edited["module"], edited["kind"]) == (0, "mlp.up_proj", "mlp")
    assert math.isclose(edited["relative_change"], 0.1, rel_tol=1e-5)
    picture = ElementTree.fromstring((tmp_path / "x.svg").read_text())
    titles = [title.text for title in picture.iter(f"{SVG}title")]
    assert "model.layers.0.mlp.up_proj: 10 %" in titles
    assert len(titles) == 1 + len(result["cells"])


def test_bad_input_is_one_sentence(two_models, tmp_path):
    base, trained = two_models
    for arguments, says in (
        ((base, tmp_path / "nowhere"), "no folder of weights at"),
        ((base, trained, "--out", tmp_path / "x.png"), "--out must end in .json, .csv, .svg"),
        ((base, trained, "--out", tmp_path / "none" / "x.svg"), "there is no folder"),
        (("bundled/no-such-model", trained), "no-such-model"),
    ):
        assert says in one_sentence(harness("analyze", *arguments))


# --- memory --------------------------------------------------------------------------------------------------------

GIGABYTE = 1 << 30
PEAK = """
import pathlib, re, sys
from harness.cli import main
status = main(sys.argv[1:])
# not ru_maxrss, which begins with what the parent had
print(re.search(r"VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0], file=sys.stderr)
sys.exit(status)
"""


def sparse_shard(path, shapes):
    """A file of BF16 tensors that holds zeros for the file system and takes no space; each starts with ones."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
        for entry in header.values():
            file.seek(8 + len(text) + entry["data_offsets"][0])
            file.write(struct.pack("<H", 0x3F80) * 1000)
    return end


def sparse_model(folder, layers):
    """A sharded checkpoint with the width of an 8B model (Qwen3-8B's) and less of all else. Returns its bytes."""
    folder.mkdir()
    width, wide, words = 4096, 4096, 50_000
    shards = [{"model.embed_tokens.weight": (words, width)}]
    for layer in range(layers):
        mlp = {"gate_proj": (wide, width), "up_proj": (wide, width), "down_proj": (width, wide)}
        attention = {
            "q_proj": (width, width),
            "k_proj": (1024, width),
            "v_proj": (1024, width),
            "o_proj": (width, width),
        }
        shards.append(
            {f"model.layers.{layer}.mlp.{name}.weight": shape for name, shape in mlp.items()}
            | {f"model.layers.{layer}.self_attn.{name}.weight": shape for name, shape in attention.items()}
        )
    files = {f"model-{number:05d}.safetensors": shard for number, shard in enumerate(shards)}
    size = sum(sparse_shard(folder / file, shapes) for file, shapes in files.items())
    index = {name: file for file, shapes in files.items() for name in shapes}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(tmp_path):
    """0.6 GB a model, one tensor alone 0.4 GB, and less is allowed; what an 8B model has more is layers and words."""
    for name in ("base", "trained"):
        assert sparse_model(tmp_path / name, layers=1) > 0.5 * GIGABYTE
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "analyze", tmp_path / "base", tmp_path / "trained"],
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "are equal in every one of their" in done.stdout
    assert int(re.search(r"VmHWM:\s+(\d+) kB", done.stderr)[1]) * 1024 < GIGABYTE // 4
