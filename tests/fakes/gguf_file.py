"""A tiny model in one GGUF file: Llama's architecture, the tokenizer of tiny_model, a template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fakes import tiny_model

WIDTH, INNER, LAYERS, HEADS = 64, 96, 2, 4
NAMES = {
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // 2, WIDTH),
    "attn_v": (WIDTH // 2, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (INNER, WIDTH),
    "ffn_up": (INNER, WIDTH),
    "ffn_down": (WIDTH, INNER),
}


def write(path: Path, template: str | None, context: int = 2048) -> Path:
    """The file, with random weights in float32."""
    import gguf
    import numpy

    words = tiny_model.tokenizer(template)
    draw = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    _add_settings(writer, words, template, context)

    def add(name: str, shape: tuple[int, ...]) -> None:
        values = numpy.ones(shape) if len(shape) == 1 else draw.normal(0, 0.2, shape)
        writer.add_tensor(f"{name}.weight", values.astype(numpy.float32))

    add("token_embd", (len(words), WIDTH))
    add("output_norm", (WIDTH,))
    for layer in range(LAYERS):
        for name, shape in NAMES.items():
            add(f"blk.{layer}.{name}", shape)
        add(f"blk.{layer}.attn_norm", (WIDTH,))
        add(f"blk.{layer}.ffn_norm", (WIDTH,))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_settings(writer: Any, words: Any, template: str | None, context: int) -> None:
    made = json.loads(words.backend_tokenizer.to_str())
    tokens = sorted(words.get_vocab(), key=words.get_vocab().__getitem__)
    special = set(words.all_special_tokens)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 4 if token in tiny_model.MARKS else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in made["model"]["merges"]])
    writer.add_eos_token_id(words.eos_token_id)
    writer.add_bos_token_id(words.eos_token_id)
    writer.add_pad_token_id(words.pad_token_id)
    if template is not None:
        writer.add_chat_template(template)
