"""What a step of training costs on a GPU: noise, tokens a second, the split of an update, memory.

    sh benchmarks/gpu.sh [--rows 128] [--prompt 860] [--tokens 128] [--smoke]

A Qwen3 of 0.6 billion parameters is made from its configuration, so nothing is downloaded; its weights are random and
what it says is nonsense, which costs as much as sense. Groups of eight rows share a prompt, as in training:

1. Noise for sampling: milliseconds a decoding step, of all rows.
2. Generation by harness.models.local, in bfloat16 over float32 masters, at temperature 1.
3. An update of those rows: forward, backward, AdamW; each group behind one copy of its prompt, and as whole rows.

Needs torch and transformers alone. --smoke: a network of two small layers, on whatever there is, in seconds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from harness.models.local.decoding import exponential_waits
from harness.models.local.hf import generate_rows
from harness.models.local.kv_cache import PrefixCache
from harness.models.local.rows import PromptRow
from harness.types import Gold, Message, ModelRequest, Sample, Sampling
from trainer.precision import compute_in
from trainer.rl.shared_prompt import Tree, count_shared

GROUP = 8
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
QWEN3 = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "vocab_size": 151936}
HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 500}
FEW_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}

Batch = dict[str, torch.Tensor]


def main() -> int:
    """Prints a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128, help="sequences of a step, a multiple of 8")
    parser.add_argument("--prompt", type=int, default=860, help="tokens of a prompt")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens a sequence")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.rows, args.prompt, args.tokens = 16, 80, 8
    network = make_network(smoke=args.smoke)
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    parameters = sum(weights.numel() for weights in network.parameters())
    print(f"{name}, torch {torch.__version__}, {parameters / 1e6:,.1f} million parameters in float32")
    time_noise(args.rows, network.config.vocab_size)
    prompts = make_prompts(args.rows, args.prompt, network.config.vocab_size)
    said = time_generation(network, prompts, args.tokens)
    time_update(network, prompts, said)
    return 0


def make_network(smoke: bool) -> Any:
    """A network of random weights."""
    torch.manual_seed(0)
    shape: dict[str, Any] = TINY | FEW_HEADS if smoke else QWEN3 | HEADS
    network: Any = Qwen3ForCausalLM(Qwen3Config(**shape, tie_word_embeddings=True))
    network.generation_config = GenerationConfig(pad_token_id=0, do_sample=False)  # type: ignore[no-untyped-call]
    return network.to(DEVICE).eval()


def make_prompts(rows: int, length: int, vocabulary: int) -> list[tuple[int, ...]]:
    """A prompt a row, the same for a group."""
    draw = random.Random(0)
    groups = [tuple(draw.choices(range(1, vocabulary), k=length)) for _ in range(rows // GROUP)]
    return [prompt for prompt in groups for _ in range(GROUP)]


# --- measured ------------------------------------------------------------------------------------------------------


def time_noise(rows: int, vocabulary: int) -> None:
    def draw() -> None:
        exponential_waits(range(rows), [7] * rows, vocabulary, torch.device(DEVICE)).log()

    milliseconds = 1000 * min(seconds_of(draw) for _ in range(5))
    print(f"noise of {rows} rows and {vocabulary:,} words: {milliseconds:.2f} ms a token")


def time_generation(network: Any, prompts: Sequence[tuple[int, ...]], tokens: int) -> list[list[int]]:
    """What was generated; the first time warms up."""
    local: Any = SimpleNamespace(end_token_ids=(), format=SimpleNamespace(stop=()))
    found: list[list[int]] = []
    for new in (2, tokens):
        rows = [make_row(place, prompt, new) for place, prompt in enumerate(prompts)]

        def generate(rows: list[PromptRow] = rows) -> None:
            with compute_in("bfloat16", DEVICE):
                found[:] = generate_rows(network, local, rows, PrefixCache(0))

        forget_peak()
        seconds = seconds_of(generate)
    print(f"generation: {len(prompts) * tokens / seconds:,.0f} tokens/s, {seconds:.1f} s, {read_peak()}")
    return found


def make_row(place: int, prompt: tuple[int, ...], tokens: int) -> PromptRow:
    sample = Sample(str(place // GROUP), (Message("user", ""),), (), {}, Gold({}))
    request = ModelRequest(sample.messages, (), Sampling(1.0, tokens, 1), sample, place % GROUP)
    return PromptRow(request, None, prompt, tokens)  # type: ignore[arg-type]


def time_update(network: Any, prompts: Sequence[tuple[int, ...]], said: Sequence[Sequence[int]]) -> None:
    """Two updates each way, the first of which warms up."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)
    tokens = sum(map(len, prompts)) + sum(map(len, said))
    for way in ("behind one copy of the prompt", "as whole rows"):
        for _ in range(2):
            forget_peak()
            seconds = {"forward": 0.0, "backward": 0.0, "AdamW": 0.0}
            for first in range(0, len(prompts), GROUP):
                batch = make_batch(prompts[first], said[first : first + GROUP])
                with clocked(seconds, "forward"):
                    loss = compute_loss(network, batch, shares=way != "as whole rows")
                with clocked(seconds, "backward"):
                    loss.backward()  # type: ignore[no-untyped-call]
            with clocked(seconds, "AdamW"):
                optimizer.step()
                optimizer.zero_grad()
        split = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
        print(f"update {way}: {split}, {tokens / sum(seconds.values()):,.0f} tokens/s, {read_peak()}")


def make_batch(prompt: Sequence[int], said: Sequence[Sequence[int]]) -> Batch:
    ids = torch.tensor([[*prompt, *new] for new in said], device=DEVICE)
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def compute_loss(network: Any, batch: Batch, shares: bool) -> torch.Tensor:
    """Minus the mean log-probability of what was said."""

    def score(labels: torch.Tensor, **given: Any) -> torch.Tensor:
        given.pop("fused_lm_head", None)
        hidden = network.base_model(**given).last_hidden_state[:, :-1]
        wanted = labels[:, 1:] != -100
        logits = network.get_output_embeddings()(hidden[wanted]).float()
        return torch.nn.functional.cross_entropy(logits, labels[:, 1:][wanted])

    with compute_in("bfloat16", DEVICE):
        shared = count_shared(batch) if shares else 0
        found: torch.Tensor = Tree(network, batch, shared).run(score) if shared else score(**batch)
    return found


# --- clocks --------------------------------------------------------------------------------------------------------


def seconds_of(function: Callable[[], None]) -> float:
    seconds = {"": 0.0}
    with clocked(seconds, ""):
        function()
    return seconds[""]


@contextmanager
def clocked(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Adds how long it took until the device was done."""
    settle()
    began = time.perf_counter()
    yield
    settle()
    seconds[name] += time.perf_counter() - began


def settle() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def forget_peak() -> None:
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()


def read_peak() -> str:
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most" if DEVICE == "cuda" else "memory not told"


if __name__ == "__main__":
    sys.exit(main())
