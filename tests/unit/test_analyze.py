"""Relative changes against known edits, whatever the shards, types and slices; what cannot be compared."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from trainer.analysis.changes import TensorChange, group_changes, measure_change, pair_tensors
from trainer.analysis.heatmap import draw_heatmap
from trainer.analysis.report import shorten_modules
from trainer.analysis.weights import Weights, open_weights
from trainer.tensor_places import place_tensor

LAYERS = 4
MODULES = {
    "self_attn.q_proj": (8, 6),
    "self_attn.q_proj.bias": (8,),
    "self_attn.o_proj": (6, 8),
    "mlp.gate_proj": (10, 6),
    "mlp.down_proj": (6, 10),
    "input_layernorm": (6,),
}


def named(module):
    return module if module.endswith(".bias") else f"{module}.weight"


def network(seed=0, layers=LAYERS, **more):
    """Tensors of a small network in a family's usual names."""
    draw = np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (12, 6)}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{named(module)}": shape for module, shape in MODULES.items()}
    shapes |= {"model.norm.weight": (6,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} | more


def encoded(values, dtype):
    """The bytes of an array as a safetensors type; what is written as BF16 must be representable in it."""
    if dtype == "BF16":
        return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return np.asarray(values, {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]).tobytes()


def rounded(values, dtype):
    """The array as that type holds it."""
    if dtype == "BF16":
        return (np.asarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return np.asarray(values, {"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype])


def write_file(path, tensors, dtypes=None):
    """One safetensors file, written by hand."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        dtype = (dtypes or {}).get(name, "F32")
        raw = encoded(values, dtype)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def write_model(folder, tensors, dtypes=None, shard_of=None, **config):
    """A folder as a trainer leaves it; `shard_of` maps a tensor to the number of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", **config}))
    if shard_of is None:
        write_file(folder / "model.safetensors", tensors, dtypes)
        return folder
    files = {name: f"model-{shard_of[name]:05d}.safetensors" for name in tensors}
    for file in set(files.values()):
        write_file(folder / file, {name: tensors[name] for name in tensors if files[name] == file}, dtypes)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def analysed(base, trained, step=1 << 20):
    old, new = open_weights(base), open_weights(trained)
    return group_changes(old, new, [measure_change(pair, step) for pair in pair_tensors(old, new)])


def relative(result, layer, module):
    (cell,) = [cell for cell in result.cells if (cell.place.layer, cell.place.module) == (layer, module)]
    return cell.relative


def test_a_module_scaled_by_a_tenth_changed_by_a_tenth_and_nothing_else_did(tmp_path):
    tensors = network()
    edited = tensors | {"model.layers.1.mlp.down_proj.weight": tensors["model.layers.1.mlp.down_proj.weight"] * 1.1}
    result = analysed(write_model(tmp_path / "a", tensors), write_model(tmp_path / "b", edited))
    assert relative(result, 1, "mlp.down_proj") == pytest.approx(0.1, rel=1e-6)
    assert sum(cell.relative != 0 for cell in result.cells) == 1
    (third, half) = result.parts()[-2:]
    assert third["squared_change_share"] == 0.0  # of four layers the lower third is one, and the edit is in the second
    assert half["squared_change_share"] == half["relative_change_share"] == 1.0
    assert half["parameters"] == 2 * (60 + 60)
    assert half["parameter_share"] == 240 / sum(values.size for values in tensors.values())
    assert (half["cells"], half["cell_share"]) == (4, 4 / len(result.cells))


def test_equal_models_have_no_shares_but_an_answer(tmp_path):
    result = analysed(write_model(tmp_path / "a", network()), write_model(tmp_path / "b", network()))
    assert "are equal in every one of their" in result.answer()
    assert result.parts()[0]["squared_change_share"] is None
    assert "NaN" not in json.dumps(result.to_json())
    assert draw_heatmap(result).startswith("<svg")


def test_a_module_that_was_zero_has_a_change_but_no_relative_one(tmp_path):
    bias = "model.layers.0.self_attn.q_proj.bias"
    base = network() | {bias: np.zeros(8, np.float32)}
    result = analysed(
        write_model(tmp_path / "a", base), write_model(tmp_path / "b", base | {bias: np.ones(8, np.float32)})
    )
    assert relative(result, 0, "self_attn.q_proj.bias") is None
    assert result.parts()[0]["squared_change_share"] == 1.0


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_shards_types_and_slices_make_no_difference(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("models")
    plain = {"a": network(1), "b": network(2)}
    kinds = {
        model: {n: data.draw(st.sampled_from(["BF16", "F16", "F32", "F64"])) for n in plain[model]} for model in "ab"
    }
    stored = {model: {n: rounded(plain[model][n], kinds[model][n]) for n in plain[model]} for model in "ab"}
    for model in "ab":
        shards = {name: data.draw(st.integers(1, 3)) for name in plain[model]} if data.draw(st.booleans()) else None
        write_model(folder / model, stored[model], kinds[model], shards)
    result = analysed(folder / "a", folder / "b", data.draw(st.integers(1, 50)))
    for name, old in stored["a"].items():
        where = place_tensor(name)
        old, new = old.astype(np.float64), stored["b"][name].astype(np.float64)
        expected = np.linalg.norm(new - old) / np.linalg.norm(old)
        assert relative(result, where.layer, where.module) == pytest.approx(expected, rel=1e-9)
    assert math.fsum(part["squared_change_share"] for part in result.parts()[1:-2]) == pytest.approx(1)


def test_what_the_safetensors_package_writes_is_read_as_it_reads_it(tmp_path):
    import torch
    from safetensors.torch import save_file

    tensors = {"model.layers.0.mlp.up_proj.weight": torch.randn(7, 5, generator=torch.Generator().manual_seed(3))}
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        kept = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        save_file(kept, tmp_path / "model.safetensors")
        (read,) = open_weights(tmp_path).tensors.values()
        assert read.shape == (7, 5)
        assert read.read().tolist() == next(iter(kept.values())).double().flatten().tolist()


@pytest.mark.parametrize(
    ("name", "layer", "module", "kind"),
    [
        ("model.layers.3.self_attn.q_proj.weight", 3, "self_attn.q_proj", "attention"),
        ("model.layers.3.self_attn.q_proj.bias", 3, "self_attn.q_proj.bias", "attention"),
        ("model.layers.3.self_attn.q_norm.weight", 3, "self_attn.q_norm", "norm"),
        ("model.layers.3.self_attn.qkv_proj.weight", 3, "self_attn.qkv_proj", "attention"),
        ("model.layers.31.mlp.gate_up_proj.weight", 31, "mlp.gate_up_proj", "mlp"),
        ("model.layers.3.mlp.experts.17.up_proj.weight", 3, "mlp.experts.*.up_proj", "mlp"),
        ("model.layers.3.post_attention_layernorm.weight", 3, "post_attention_layernorm", "norm"),
        ("transformer.h.0.attn.c_attn.weight", 0, "attn.c_attn", "attention"),
        ("transformer.h.0.ln_1.bias", 0, "ln_1.bias", "norm"),
        ("model.embed_tokens.weight", None, "model.embed_tokens", "embedding"),
        ("transformer.wte.weight", None, "transformer.wte", "embedding"),
        ("model.norm.weight", None, "model.norm", "norm"),
        ("lm_head.weight", None, "lm_head", "head"),
        ("model.rotary_emb.inv_freq", None, "model.rotary_emb.inv_freq", "other"),
    ],
)
def test_a_tensors_place_is_read_from_its_name(name, layer, module, kind):
    found = place_tensor(name)
    assert (found.layer, found.module, found.kind) == (layer, module, kind)


def test_columns_have_short_names_where_these_are_clear():
    assert shorten_modules(["self_attn.q_proj", "self_attn.q_proj.bias", "mlp.gate_up_proj"]) == [
        "q",
        "q.bias",
        "gate_up",
    ]
    assert shorten_modules(["attn.c_proj", "mlp.c_proj", "ln_1"]) == ["attn.c_proj", "mlp.c_proj", "ln_1"]


def test_the_language_model_is_the_table_where_there_are_other_layers():
    names = {"visual.blocks.0.mlp.fc1.weight": 5, "model.layers.0.mlp.up_proj.weight": 50, "model.norm.weight": 1}
    nothing = Weights(Path("x"), {})
    result = group_changes(nothing, nothing, [TensorChange(name, size, 1.0, 1.0) for name, size in names.items()])
    assert [cell.place.module for cell in result.grid] == ["mlp.up_proj"]
    assert {cell.place.module for cell in result.rest} == {"mlp.fc1", "model.norm"}
    assert result.lower_mlps("third", 1 / 3)["cells"] == 1


# --- heads that are the embeddings ---------------------------------------------------------------------------------


def test_a_head_tied_on_both_sides_counts_once(tmp_path):
    tensors = network()
    stored = tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    old = write_model(tmp_path / "a", stored, tie_word_embeddings=True)
    result = analysed(old, write_model(tmp_path / "b", tensors, tie_word_embeddings=True))
    assert "lm_head" not in {cell.place.module for cell in result.cells}


def test_a_head_untied_by_training_is_compared_with_the_embeddings_it_was(tmp_path):
    tensors = network()
    untied = tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] * 1.5}
    old, new = write_model(tmp_path / "a", tensors), write_model(tmp_path / "b", untied)
    assert relative(analysed(old, new), None, "lm_head") == pytest.approx(0.5, rel=1e-6)


# --- adapters ------------------------------------------------------------------------------------------------------


def adapter(folder, tensors, **config):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 8, "r": 2, **config}))
    write_file(folder / "adapter_model.safetensors", tensors)
    return folder


def factors(module="model.layers.2.mlp.gate_proj", out=10, into=6, rank=2):
    draw = np.random.default_rng(5)
    return {
        f"base_model.model.{module}.lora_A.weight": draw.normal(size=(rank, into)).astype(np.float32),
        f"base_model.model.{module}.lora_B.weight": draw.normal(size=(out, rank)).astype(np.float32),
    }


@pytest.mark.parametrize(("config", "scale"), [({}, 4.0), ({"use_rslora": True}, 8 / math.sqrt(2))])
@pytest.mark.parametrize("step", [7, 1 << 20])
def test_an_adapter_is_its_product(tmp_path, config, scale, step):
    tensors, pair = network(), factors()
    result = analysed(write_model(tmp_path / "a", tensors), adapter(tmp_path / "b", pair, **config), step)
    inner, outer = (values.astype(np.float64) for values in pair.values())
    expected = np.linalg.norm(scale * outer @ inner) / np.linalg.norm(tensors["model.layers.2.mlp.gate_proj.weight"])
    assert relative(result, 2, "mlp.gate_proj") == pytest.approx(expected, rel=1e-6)
    assert sum(cell.relative != 0 for cell in result.cells) == 1
    assert result.parts()[0]["parameters"] == sum(values.size for values in tensors.values())


def test_modules_that_an_adapter_holds_whole_are_compared_whole(tmp_path):
    tensors = network()
    whole = {"base_model.model.model.norm.weight": tensors["model.norm.weight"] * 3}
    result = analysed(write_model(tmp_path / "a", tensors), adapter(tmp_path / "b", factors() | whole))
    assert relative(result, None, "model.norm") == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(
    ("tensors", "config", "says"),
    [
        (factors("model.layers.9.mlp.gate_proj"), {}, "adapts 'model.layers.9.mlp.gate_proj.weight', which"),
        (factors(out=9), {}, "does not fit the shape"),
        (factors(), {"use_dora": True}, "an adapter with use_dora"),
        (factors(), {"peft_type": "LOHA"}, "an adapter with LOHA"),
        (factors(), {"lora_alpha": None}, "no lora_alpha"),
        ({"base_model.model.x.lora_embedding_A": np.ones((2, 2), np.float32)}, {}, "no known part"),
    ],
)
def test_adapters_that_are_not_understood_are_refused(tmp_path, tensors, config, says):
    base = write_model(tmp_path / "a", network())
    with pytest.raises(UsageError, match=says):
        analysed(base, adapter(tmp_path / "b", tensors, **config))


def test_an_adapter_is_no_base(tmp_path):
    with pytest.raises(UsageError, match="is a LoRA adapter: BASE must be the whole model"):
        analysed(adapter(tmp_path / "b", factors()), write_model(tmp_path / "a", network()))


# --- what cannot be compared ---------------------------------------------------------------------------------------

UP = "model.layers.0.mlp.gate_proj.weight"


@pytest.mark.parametrize(
    ("trained", "config", "says"),
    [
        (network(layers=3), {}, "which .* lacks: they cannot be compared"),
        (network(layers=5), {}, "which .* lacks: they cannot be compared"),
        (network() | {UP: np.ones((9, 6), np.float32)}, {}, "is 10 x 6 in .* and 9 x 6 in"),
        (network() | {UP: np.full((10, 6), np.nan, np.float32)}, {}, "not finite in one of the two"),
        (network() | {UP: np.full((10, 6), np.inf, np.float32)}, {}, "not finite in one of the two"),
        (network(), {"model_type": "llama"}, "is a qwen3 and .* a llama"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(tmp_path, trained, config, says):
    base = write_model(tmp_path / "a", network())
    with pytest.raises(UsageError, match=says):
        analysed(base, write_model(tmp_path / "b", trained, **config))


def broken(folder, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"{oops", "its header is not JSON"),
        (b"[1]", "no JSON object"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}, "is not understood"),
        ({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, "is not understood"),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "is damaged"),
        ({"x": {"dtype": "F32", "shape": [0], "data_offsets": [-4, -4]}}, "is damaged"),
        ({"x": {"dtype": "F32", "shape": [9**30], "data_offsets": [0, 8]}}, "is damaged"),
        ({"x": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}, "stored as I8"),
    ],
)
def test_files_are_not_trusted(tmp_path, header, says):
    with pytest.raises(UsageError, match=says):
        open_weights(broken(tmp_path / "x", header, b"1234"))


def test_a_short_file_and_a_huge_header_are_no_safetensors(tmp_path):
    for data in (b"", b"abc", struct.pack("<Q", 1 << 60) + b"{}"):
        (tmp_path / "model.safetensors").write_bytes(data)
        with pytest.raises(UsageError, match="is no safetensors file"):
            open_weights(tmp_path)


def test_an_index_reaches_no_file_outside_of_its_folder(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    write_file(tmp_path / "secret.safetensors", {"x": np.ones(2, np.float32)})
    for file in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "missing.safetensors"):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": file}}))
        with pytest.raises(UsageError, match="is no file of that folder"):
            open_weights(folder)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "holds no .safetensors file"),
        (["pytorch_model.bin"], "pickled weights, which run code when loaded"),
        (["a.safetensors", "b.safetensors"], "holds 2 .safetensors files but no model.safetensors.index.json"),
        (["adapter_model.safetensors"], "without the adapter_config.json"),
    ],
)
def test_folders_without_weights_are_told_apart(tmp_path, files, says):
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(UsageError, match=says):
        open_weights(tmp_path)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no folder of weights at .*nowhere"):
        open_weights(tmp_path / "nowhere")


# --- rounding ----------------------------------------------------------------------------------------------------


def stored(folder, tensors, dtype):
    held = {name: rounded(value, dtype) for name, value in tensors.items()}
    return write_model(folder, held, dict.fromkeys(tensors, dtype))


@pytest.mark.parametrize(
    ("change", "dtypes", "says"),
    [
        (0.0, ("F32", "F16"), "The difference is rounding: 100 % of the numbers that differ"),
        (0.1, ("F32", "F16"), None),
        (1e-6, ("F16", "F32"), None),
        (1e-6, ("F32", "F32"), None),
        (3e-4, ("F16", "F16"), None),
    ],
)
def test_it_is_said_when_a_difference_is_rounding(change, dtypes, says, tmp_path):
    before = network()
    after = {name: value + np.float32(change) * np.sign(value) for name, value in before.items()}
    folders = [stored(tmp_path / n, t, d) for n, t, d in zip("ab", (before, after), dtypes, strict=True)]
    answer = analysed(*folders).answer()
    assert (says in answer) if says else ("rounding" not in answer and "rounded away" not in answer)


def test_it_is_said_when_nearly_nothing_moved_in_half_precision(tmp_path):
    """As after steps on weights in half precision: the few that moved went a whole step."""
    before = {name: rounded(value, "F16").astype(np.float32) for name, value in network().items()}
    after = {name: value.copy() for name, value in before.items()}
    next(iter(after.values())).flat[0] *= 2
    found = analysed(stored(tmp_path / "a", before, "F16"), stored(tmp_path / "b", after, "F16"))
    assert "of the numbers differ at all, and they are stored in half precision" in found.answer()
    assert found.to_json()["changed"] == 1 and found.to_json()["rounded"] == 0
