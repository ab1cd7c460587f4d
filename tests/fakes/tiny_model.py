"""Tiny Qwen3-architecture models in a folder: weights, tokenizer, and the chat template of Qwen3.

`random_model` says nonsense, which is enough to compare two ways of generating it. `trained_model` has learned two
replies by heart in a few seconds: to the question of builders.sample() the right call, and to what follows it the
answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import builders

from harness.models.local.packages import set_library_defaults

set_library_defaults()

ENDS = ("<|endoftext|>", "<|im_end|>")
MARKS = ("<|im_start|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
CALL = '<tool_call>\n{"name": "population", "arguments": {"town": "Corrie"}}\n</tool_call>'
ANSWER = "Answer: 45210"
STEPS = 60


def template(name: str = "qwen3") -> str:
    """A real chat template, from the wheel of TRL."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer(chat_template: str | None, texts: Sequence[str] = ()) -> Any:
    """A byte-level BPE tokenizer of 600 tokens in which the marks of tool calls are no special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=590, initial_alphabet=alphabet, special_tokens=list(ENDS), show_progress=False
    )
    made.train_from_iterator([json.dumps(builders.record()), template(), *texts], trainer)
    made.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=chat_template
    )


def random_model(folder: Path, chat_template: str | None = None, context: int = 4096, seed: int = 0) -> Path:
    """A folder with a network of random weights, large enough that its choices are seldom close."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed

    words = tokenizer(template() if chat_template is None else chat_template)
    set_seed(seed)
    network = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(words),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,  # the least that vLLM can attend with on a CPU
            max_position_embeddings=context,
            tie_word_embeddings=True,
            initializer_range=0.2,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    return save(folder, network, words)


def save(folder: Path, network: Any, words: Any) -> Path:
    """Writes the folder as a person would find it: safetensors, configuration, tokenizer, template."""
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def trained_model(folder: Path, chat_template: str | None = None) -> Path:
    """A folder with a network that calls `population` for Corrie and then answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    random_model(folder, chat_template)
    words = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.nn.init.normal_(network.model.embed_tokens.weight, std=0.05)
    pairs = [(words.encode(prompt), words.encode(reply + "<|im_end|>")) for prompt, reply in lessons(words)]
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    longest = max(len(prompt) + len(reply) for prompt, reply in pairs)
    spare = [longest - len(prompt) - len(reply) for prompt, reply in pairs]
    ids = torch.tensor([p + r + [0] * more for (p, r), more in zip(pairs, spare, strict=True)])
    labels = torch.tensor([[-100] * len(p) + r + [-100] * more for (p, r), more in zip(pairs, spare, strict=True)])
    for _ in range(STEPS):
        optimiser.zero_grad()
        network(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
    return save(folder, network.eval(), words)


def lessons(words: Any) -> list[tuple[str, str]]:
    """Prompts as the template renders them with a question and with a tool's answer, and what is to be said."""
    sample = builders.sample()
    asked = [{"role": "user", "content": sample.messages[0].content}]
    call = {"type": "function", "function": {"name": "population", "arguments": {"town": "Corrie"}}}
    told = [
        *asked,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "population", "content": '{"inhabitants": 45210}'},
    ]
    tools = builders.record()["tools"]
    return [
        (words.apply_chat_template(chat, tools=tools, add_generation_prompt=True, tokenize=False, **options), said)
        for chat, said in ((asked, CALL), (told, ANSWER))
        for options in ({}, {"enable_thinking": False})
    ]
