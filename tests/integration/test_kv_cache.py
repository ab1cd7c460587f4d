"""What hf/ keeps of its episodes from turn to turn: the same tokens as reading every prompt anew, and less to read."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import sample
from fakes import tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    set_seed,
)
from transformers.cache_utils import DynamicLayer

from harness.models import ModelOptions
from harness.models.local import hf, kv_cache
from harness.models.local.kv_cache import CachedPrefix, PreallocatedLayer, PrefixCache
from harness.models.local.rows import PromptRow
from harness.models.local.tokenizer import ModelTokenizer, cut_at_turn_end
from harness.types import Message, ModelRequest, Reply, Sampling

FEW = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROWS = 5


def gpt2(folder: Path) -> Path:
    """Positions that are embedded, and end with the context: those of padding must not lie beyond it."""
    words = tiny_model.tokenizer(tiny_model.template())
    set_seed(0)
    shape = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 128, "initializer_range": 0.3}
    ends = {"eos_token_id": words.eos_token_id, "bos_token_id": None}
    return tiny_model.save(folder, GPT2LMHeadModel(GPT2Config(vocab_size=len(words), **shape, **ends)), words)


def mistral(folder: Path) -> Path:
    """Layers that remember a window of 16 tokens."""
    words = tiny_model.tokenizer(tiny_model.template())
    set_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "initializer_range": 0.2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "sliding_window": 16}
    ends = {"eos_token_id": words.eos_token_id, "bos_token_id": None}
    config = MistralConfig(vocab_size=len(words), max_position_embeddings=512, **shape, **heads, **ends)
    return tiny_model.save(folder, MistralForCausalLM(config), words)


KINDS: dict[str, Callable[[Path], Path]] = {"qwen3": tiny_model.random_model, "gpt2": gpt2, "mistral": mistral}


@pytest.fixture(scope="module", params=KINDS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ModelTokenizer, Any]:
    """A kind of network, its directory, and its weights."""
    folder = KINDS[request.param](tmp_path_factory.mktemp(request.param) / "model")
    local = hf.load_directory("hf/tiny", str(folder), ModelOptions(concurrency=ROWS))._local
    return request.param, local, hf.load_weights(local, "float32", "cpu")


def row(place: int, ids: Sequence[int], room: int) -> PromptRow:
    request = ModelRequest([Message("user", "?")], (), Sampling(), sample(id=f"episode{place}"))
    return PromptRow(request, None, tuple(ids), room)  # type: ignore[arg-type]


def alone(model: Any, local: ModelTokenizer, one: PromptRow) -> list[int]:
    """What transformers makes of a row by itself, without anything of ours."""
    ids = torch.tensor([one.ids])
    with torch.inference_mode():
        new = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=one.max_new_tokens)
    return list(cut_at_turn_end(local, new[0, ids.shape[1] :].tolist())[0])


@FEW
@given(seed=st.integers(0, 2**16), turns=st.integers(1, 4), capacity=st.sampled_from([0, 2, ROWS]))
def test_episodes_are_answered_as_if_every_prompt_were_read_anew(
    loaded: tuple[str, ModelTokenizer, Any], seed: int, turns: int, capacity: int
) -> None:
    _, local, model = loaded
    draw, memory = random.Random(seed), PrefixCache(capacity)
    words = range(10, 500)
    prompts = {place: draw.choices(words, k=draw.randint(1, 40)) for place in range(ROWS)}
    for _ in range(turns):
        rows = [row(place, ids, draw.randint(1, 8)) for place, ids in prompts.items()]
        draw.shuffle(rows)
        together = hf.generate_rows(model, local, rows, memory)
        for one, new in zip(rows, together, strict=True):
            said = list(cut_at_turn_end(local, new[: one.max_new_tokens])[0])
            assert said == alone(model, local, one)
            place = int(one.request.sample.id.removeprefix("episode"))
            prompts[place] = [*one.ids, *said, *draw.choices(words, k=draw.randint(1, 12))]
        if draw.random() < 0.5:  # a template that rewrites an earlier turn
            changed = prompts[draw.randrange(ROWS)]
            changed[draw.randrange(len(changed))] = draw.choice(words)
        if draw.random() < 0.3:  # an episode ends, and another begins
            prompts[draw.randrange(ROWS)] = draw.choices(words, k=draw.randint(1, 40))


def count_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the tokens of each prompt that the network is given to read."""
    read: list[int] = []
    plain = kv_cache._read_prompts

    def counted(model: Any, rows: Sequence[PromptRow], pasts: Sequence[CachedPrefix]) -> list[CachedPrefix]:
        read.extend(len(one.ids) - 1 - len(past.ids) for one, past in zip(rows, pasts, strict=True))
        return plain(model, rows, pasts)

    monkeypatch.setattr(kv_cache, "_read_prompts", counted)
    return read


def test_the_next_turn_reads_only_what_is_new(
    loaded: tuple[str, ModelTokenizer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, local, model = loaded
    if kind == "mistral":
        assert not kv_cache.has_token_cache(model)
        return
    read = count_read(monkeypatch)
    memory = PrefixCache(2)
    first = [row(0, range(10, 40), 4), row(1, range(30, 50), 4)]
    new = hf.generate_rows(model, local, first, memory)
    assert sorted(read) == [19, 29]  # the last token of a prompt is generate's
    read.clear()
    pairs = enumerate(zip(first, new, strict=True))
    second = [row(place, [*one.ids, *said, 77, 78, 79], 4) for place, (one, said) in pairs]
    hf.generate_rows(model, local, second, memory)
    assert read == [3, 3]  # the last generated token, which the network had not read, and two of three new ones


def test_samples_of_one_prompt_read_it_once(
    loaded: tuple[str, ModelTokenizer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, local, model = loaded
    read = count_read(monkeypatch)
    memory = PrefixCache(ROWS)
    rows = [row(place, range(10, 40 if place < 4 else 30), 4) for place in range(ROWS)]
    new = hf.generate_rows(model, local, rows, memory)
    assert read == ([] if kind == "mistral" else [29, 19])
    for one, said in zip(rows, new, strict=True):
        assert list(cut_at_turn_end(local, said)[0]) == alone(model, local, one)
    read.clear()
    hf.generate_rows(model, local, [row(place, [*rows[0].ids, *new[0], 77], 4) for place in range(4)], memory)
    assert read == ([] if kind == "mistral" else [1] * 4), "each goes on with its own past"


def test_memory_that_runs_out_is_first_made_by_forgetting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model.random_model(tmp_path / "model")
    network = hf.load_directory("hf/tiny", str(folder), ModelOptions(concurrency=3))
    requests = [
        ModelRequest([Message("user", f"{'word ' * n}?")], (), Sampling(max_tokens=8), sample(id=f"e{n}"))
        for n in range(3)
    ]
    expected = network.batch(requests)
    opened, sizes = kv_cache.prefill_cache, list[tuple[int, int]]()

    def short(model: Any, rows: Sequence[PromptRow], memory: PrefixCache) -> Any:
        sizes.append((len(rows), memory.capacity))
        if len(sizes) in (1, 3):
            raise MemoryError
        return opened(model, rows, memory)

    monkeypatch.setattr(kv_cache, "prefill_cache", short)
    with caplog.at_level(logging.WARNING):
        assert [network.batch(requests) for _ in range(3)] == [expected] * 3
    assert all(isinstance(reply, Reply) for reply in expected)
    assert sizes == [(3, 3), (3, 3), (3, 3), (3, 0), (3, 0)]  # the second time it is for good
    assert caplog.text.count("out of memory") == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(1, 70), st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), st.just("crop")),
        max_size=8,
    )
)
def test_a_layer_with_spare_room_holds_what_a_plain_one_does(steps: list[Any]) -> None:
    plain, spare = DynamicLayer(), PreallocatedLayer()
    rows = 4

    def add(tokens: int) -> None:
        keys, values = torch.randn(rows, 2, tokens, 3), torch.randn(rows, 2, tokens, 5)
        for one, other in zip(plain.update(keys, values), spare.update(keys.clone(), values.clone()), strict=True):
            assert torch.equal(one, other)

    add(12)
    for step in steps:
        if isinstance(step, int):
            add(step)
        elif step == "crop":
            plain.crop(-1)
            spare.crop(-1)
        else:
            chosen = torch.tensor([place % rows for place in step])
            plain.batch_select_indices(chosen)
            spare.batch_select_indices(chosen)
            rows = len(step)
        assert plain.get_seq_length() == spare.get_seq_length()
        assert torch.equal(plain.keys, spare.keys) and torch.equal(plain.values, spare.values)
    add(1)
    place = spare.keys.data_ptr()
    if spare.get_seq_length() < spare._rooms[0].shape[2]:
        add(1)
        assert spare.keys.data_ptr() == place, "nothing is copied while there is room"
    assert spare._rooms[0].shape[0] == rows, "rows that were left are not held"


@given(st.lists(st.integers(0, 3000), max_size=40))
def test_every_row_with_something_to_read_is_in_one_pass(unread: list[int]) -> None:
    found = kv_cache.plan_passes(unread)
    assert sorted(place for one in found for place in one) == [place for place, count in enumerate(unread) if count]
    for one in found:
        counts = [unread[place] for place in one]
        assert len(one) == 1 or max(counts) * len(one) <= kv_cache.READ_TOGETHER
        assert max(counts) * len(one) - sum(counts) <= kv_cache.PADDING
    assert kv_cache.plan_passes([5, 0, 5, 4]) == [[0, 2, 3]]
    longest = [max(unread[place] for place in one) for one in found]
    assert longest == sorted(longest, reverse=True)


def test_the_pasts_of_the_last_episodes_are_kept() -> None:
    def held(place: int) -> PromptRow:
        return row(place, [1, 2, 3], 4)

    memory = PrefixCache(2)
    layer = PreallocatedLayer()
    layer.update(torch.arange(24.0).view(2, 1, 6, 2), torch.zeros(2, 1, 6, 2))
    cache = kv_cache.Cache(layers=[layer])
    for place in (0, 1, 2):
        memory.store(held(place), [4, 5, 6, 7], cache, place % 2, 1)
    assert memory.find_prefix(held(0)).ids == ()
    past = memory.find_prefix(row(1, [1, 2, 3, 4, 5, 9, 9], 4))
    assert past.ids == (1, 2, 3, 4, 5)
    assert past.layers[0][0].untyped_storage().nbytes() == 4 * 5 * 2, "a row is kept, not its batch"
    assert torch.equal(past.layers[0][0], torch.arange(14.0, 24.0).view(1, 5, 2))
    assert memory.find_prefix(held(1)).ids == (), "what is recalled is held by the batch alone"
    assert memory.find_prefix(held(2)).ids == (1, 2), "the last token of a prompt is always read"


SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
STRETCHED = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 64}
STRETCHED |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        (lambda: LlamaForCausalLM(LlamaConfig(**SMALL)), True),
        (lambda: LlamaForCausalLM(LlamaConfig(**SMALL, rope_parameters=STRETCHED)), False),
        (lambda: BertLMHeadModel(BertConfig(**SMALL)), False),  # every token sees the whole text
    ],
)
def test_only_what_stays_true_is_kept(model: Callable[[], Any], kept: bool) -> None:
    assert kv_cache.has_token_cache(model()) is kept


def test_joining_takes_the_pasts_and_not_as_much_again() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    pasts = [CachedPrefix((1,) * n, [(torch.ones(2, n, 8), torch.ones(2, n, 8))]) for n in (3, 5)]
    cache = kv_cache._join_caches(model, pasts, 4)
    assert cache.get_seq_length() == 5
    assert all(past.layers == [kv_cache.USED_UP] for past in pasts)


@pytest.mark.parametrize("rotated", [True, False])
def test_what_is_kept_is_rounded_once_where_computing_rounds(tmp_path: Path, rotated: bool) -> None:
    """Without any change to what is generated: attention would round it at every token."""
    folder = (tiny_model.random_model if rotated else gpt2)(tmp_path / "model")
    local = hf.load_directory("hf/tiny", str(folder), ModelOptions(concurrency=ROWS))._local
    model = hf.load_weights(local, "float32", "cpu")
    rows, memory = [row(place, range(10, 30 + place), 12) for place in range(3)], PrefixCache(ROWS)
    with torch.autocast("cpu", torch.bfloat16):
        new = hf.generate_rows(model, local, rows, memory)
        ids = torch.tensor([rows[0].ids])
        with torch.no_grad():
            cache = model(input_ids=ids, use_cache=True).past_key_values
    assert cache.layers[0].keys.dtype == (torch.float32 if rotated else torch.bfloat16)
    past = memory.find_prefix(row(0, [*rows[0].ids, *new[0], 5], 4))
    assert {states.dtype for layer in past.layers for states in layer} == {torch.bfloat16}
    length = len(rows[0].ids) - 1
    assert torch.equal(past.layers[0][0][:, :length], cache.layers[0].keys[0, :, :length].bfloat16())
