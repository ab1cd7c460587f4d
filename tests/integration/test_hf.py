"""hf/ with real, tiny networks: batches against single requests, memory that runs out, directories that are broken."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import record, sample
from commands import harness, one_sentence
from fakes import tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.batching import UNFINISHED, play_all
from harness.errors import ModelFailure, UsageError
from harness.formats.hermes import Hermes
from harness.models import ModelOptions
from harness.models.local import hf, kv_cache
from harness.models.local.decoding import RowStoppingCriteria
from harness.models.local.folder import folder_digest
from harness.models.local.rows import PromptRow
from harness.types import Message, ModelRequest, Reasoning, Reply, Sampling

PROMPTS = tuple(f"{'word ' * (3 * number)}Corrie {number}?" for number in range(8))


@pytest.fixture(scope="module")
def nonsense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights."""
    return tiny_model.random_model(tmp_path_factory.mktemp("random") / "model", context=512)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that knows one episode by heart."""
    return tiny_model.trained_model(tmp_path_factory.mktemp("trained") / "model")


@pytest.fixture(scope="module")
def chatter(nonsense: Path) -> hf.HFModel:
    """The network of random weights, eight at once."""
    return model(nonsense)


def model(folder: Path, concurrency: int = 8, **args: str) -> hf.HFModel:
    return hf.load_directory("hf/tiny", str(folder), ModelOptions(args=args, concurrency=concurrency))


def ask(
    text: str = PROMPTS[0], sampling: Sampling = Sampling(max_tokens=24), epoch: int = 0, turn: int = 0
) -> ModelRequest:
    return ModelRequest([Message("user", text)], (), sampling, sample(), epoch=epoch, turn=turn)


def raws(answers: Sequence[Reply | ModelFailure]) -> list[str | None]:
    return [answer.message.raw if isinstance(answer, Reply) else f"failed: {answer}" for answer in answers]


# --- what is generated -------------------------------------------------------------------------------------------


def test_a_batch_says_what_single_requests_say(chatter: hf.HFModel) -> None:
    requests = [ask(text, Sampling(max_tokens=5 + 7 * number)) for number, text in enumerate(PROMPTS)]
    together = chatter.batch(requests)
    assert together == [chatter(request) for request in requests]
    assert len(set(raws(together))) > 4, "the replies must differ for the comparison to mean something"


def test_rows_that_cannot_leave_the_batch_say_the_same(chatter: hf.HFModel, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [ask(text, Sampling(0.5 * (number % 2), 3 + 5 * number)) for number, text in enumerate(PROMPTS)]
    leaving = chatter.batch(requests)
    monkeypatch.setattr(kv_cache, "prefill_cache", lambda model, rows, memory: None)
    assert chatter.batch(requests) == leaving


def test_one_long_reply_does_not_hold_the_others_rows(nonsense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(nonsense)
    requests = [ask(text, Sampling(max_tokens=40 if number == 3 else 2)) for number, text in enumerate(PROMPTS)]
    widths: list[int] = []
    checked = RowStoppingCriteria.__call__

    def counted(self: RowStoppingCriteria, input_ids: Any, scores: Any, **more: Any) -> Any:
        widths.append(input_ids.shape[0])
        return checked(self, input_ids, scores, **more)

    monkeypatch.setattr(RowStoppingCriteria, "__call__", counted)
    answers = network.batch(requests)
    assert [answer.usage.output_tokens for answer in answers if isinstance(answer, Reply)] == [2, 2, 2, 40, 2, 2, 2, 2]
    assert widths == [8] * 2 + [1] * 38


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    others=st.lists(st.integers(0, 7), max_size=5),
    place=st.integers(0, 5),
    temperature=st.sampled_from([0.7, 1.0, 1.5]),
)
def test_a_draw_does_not_depend_on_the_batch(
    chatter: hf.HFModel, others: list[int], place: int, temperature: float
) -> None:
    sampling = Sampling(temperature, 12, seed=3)
    mine = ask("Corrie?", sampling, epoch=1, turn=2)
    # Others end before and after it, so rows leave the batch while it is drawn.
    requests = [ask(PROMPTS[other], Sampling(temperature, 3 + 4 * other, seed=3), epoch=other) for other in others]
    requests.insert(place, mine)
    assert chatter.batch(requests)[min(place, len(others))] == chatter(mine)


def stopping_at(stop: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> hf.HFModel:
    """A model whose format ends turns by a stop string."""
    network = model(folder)
    local = replace(network._local, format=Hermes(stop=(stop,)))
    monkeypatch.setattr(network, "_local", local)
    monkeypatch.setattr(
        network, "_generate", hf.make_generate(local, lambda: hf.load_weights(local, "float32", "cpu"), 8)
    )
    return network


# --- replies that are gone on with -------------------------------------------------------------------------------


def answer_in_parts(network: hf.HFModel, requests: Sequence[ModelRequest], late: int = 0) -> tuple[list[Any], int]:
    """Answers by `advance`, of which the last `late` are asked for when others have begun; and in how many parts."""
    answers: dict[int, Any] = {}
    asked, waiting = list(range(len(requests) - late)), list(range(len(requests) - late, len(requests)))
    for parts in range(1, 99):
        answers |= dict(zip(asked, network.advance([requests[place] for place in asked]), strict=True))
        asked = [place for place in asked if answers[place] is UNFINISHED]
        asked += [waiting.pop() for _ in range(min(2, len(waiting)))]
        if not asked:
            return [answers[place] for place in range(len(requests))], parts
    raise AssertionError("they never end")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rooms=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    late=st.integers(0, 4),
    sampling=st.sampled_from(
        [
            Sampling(0.0),
            Sampling(1.2, seed=3),
            Sampling(0.0, presence_penalty=1.5, frequency_penalty=0.5, repetition_penalty=1.3),
        ]
    ),
)
def test_a_reply_in_parts_is_the_reply(chatter: hf.HFModel, rooms: list[int], late: int, sampling: Sampling) -> None:
    requests = [
        ask(PROMPTS[number], replace(sampling, max_tokens=room), epoch=number) for number, room in enumerate(rooms)
    ]
    found, parts = answer_in_parts(chatter, requests, min(late, len(rooms) - 1))
    assert found == [chatter(request) for request in requests]
    assert parts > 1 or len(set(rooms)) < 3 or len(rooms) < 3
    assert not chatter._paused


def test_who_waits_joins_a_long_reply(nonsense: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, passes = model(nonsense, concurrency=4), [0]
    checked = RowStoppingCriteria.__call__

    def counted(self: RowStoppingCriteria, *given: Any, **more: Any) -> Any:
        passes[0] += 1
        return checked(self, *given, **more)

    monkeypatch.setattr(RowStoppingCriteria, "__call__", counted)

    async def one(turns: int, speaker: Any) -> list[str | None]:
        """Two of four say one long reply, and two say many short ones."""
        said = []
        for turn in range(turns):
            reply = await speaker(ask(PROMPTS[turn], Sampling(max_tokens=60 // turns), epoch=turns, turn=turn))
            said.append(reply.message.raw)
        return said

    joined = asyncio.run(play_all([1, 6], network, one))
    assert passes[0] == 60, "one long reply's"
    monkeypatch.setattr(hf.HFModel, "advance", hf.HFModel.batch)
    assert asyncio.run(play_all([1, 6], model(nonsense, concurrency=4), one)) == joined
    assert passes[0] == 60 + 60 + 5 * 10, "the short ones wait for it"


def test_a_reply_that_was_left_is_not_gone_on_with_behind_another_prompt(chatter: hf.HFModel) -> None:
    short, long = ask(PROMPTS[1], Sampling(max_tokens=2), epoch=1), ask(PROMPTS[2], epoch=2)
    assert chatter.advance([short, long])[1] is UNFINISHED
    again = replace(long, messages=[Message("user", PROMPTS[4])])
    assert chatter(again) == chatter(replace(again, epoch=3))
    assert chatter.advance([short, long])[1] is UNFINISHED
    assert chatter(long) == chatter(replace(long, epoch=3)), "what there is of it is gone on with"


def test_memory_that_runs_out_between_the_parts_changes_no_reply(
    nonsense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice where the batch is kept and once where it is read; from then on nothing is kept, and replies end whole."""
    network, failing = model(nonsense), iter([True, False, True, True])
    take_over, prefill = kv_cache.PrefixCache.take_over, kv_cache.prefill_cache

    def scarce(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            if next(failing, False):
                raise RuntimeError("CUDA out of memory")
            return plain(*given)

        return call

    monkeypatch.setattr(kv_cache.PrefixCache, "take_over", scarce(take_over))
    monkeypatch.setattr(kv_cache, "prefill_cache", scarce(prefill))
    requests = [ask(text, Sampling(1.0, 4 + 3 * number, seed=2)) for number, text in enumerate(PROMPTS)]
    found, _ = answer_in_parts(network, requests, 2)
    assert next(failing, None) is None
    assert found == [model(nonsense)(request) for request in requests]


@pytest.mark.parametrize("place", range(1, 6))
def test_a_stop_string_in_two_parts_ends_a_row(learned: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other row ends within the stop string of this one."""
    network = stopping_at('"town": "Corrie', learned, monkeypatch)
    whole = network(first())
    assert whole.finish_reason == "stop"
    left = whole.usage.output_tokens - place
    other = replace(first(), epoch=1, sampling=Sampling(max_tokens=left))
    found, parts = answer_in_parts(network, [first(), other])
    assert found[0] == whole
    assert parts == 2


@pytest.mark.parametrize("change", [{"epoch": 1}, {"turn": 1}, {"sampling": Sampling(1.0, 24, seed=8)}])
def test_another_epoch_turn_or_seed_draws_something_else(chatter: hf.HFModel, change: dict[str, object]) -> None:
    one = ask(sampling=Sampling(1.0, 24, seed=7))
    other = ask(**{"sampling": one.sampling, **change})  # type: ignore[arg-type]
    assert chatter(one) == chatter(one)
    assert chatter(one).message.raw != chatter(other).message.raw


PENALISED = {"presence_penalty": 1.5, "frequency_penalty": 0.5, "repetition_penalty": 1.3}


def test_penalties_and_filters_do_not_depend_on_the_batch(chatter: hf.HFModel) -> None:
    samplings = [Sampling(0.0, 24, **PENALISED), Sampling(1.5, 24, seed=3, top_p=0.8, top_k=20, min_p=0.05)]
    requests = [ask(text, samplings[number % 2]) for number, text in enumerate(PROMPTS)]
    together = chatter.batch(requests)
    assert together == [chatter(request) for request in requests]
    plain = chatter.batch([replace(request, sampling=Sampling(max_tokens=24)) for request in requests])
    assert not set(raws(together)) & set(raws(plain))


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}])
def test_where_only_the_likeliest_is_left_a_draw_is_greedy(chatter: hf.HFModel, narrow: dict[str, Any]) -> None:
    assert raws([chatter(ask(sampling=Sampling(1.5, 24, seed=1, **narrow)))]) == raws([chatter(ask())])


def test_draws_follow_the_softmax() -> None:
    """Frequencies of Gumbel draws against the probabilities they stand for, over 4,000 rows of one seed each."""
    import torch

    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    counts = torch.zeros(4)
    for epoch in range(40):
        requests = [ask(sampling=Sampling(2.0), epoch=100 * epoch + turn, turn=turn) for turn in range(100)]
        noise = hf.GumbelNoise([PromptRow(request, None, (), 1) for request in requests])  # type: ignore[arg-type]
        read = torch.zeros((100, 0), dtype=torch.long)
        counts += noise(read, logits.repeat(100, 1)).argmax(dim=1).bincount(minlength=4)
    expected = torch.softmax(logits / 2.0, dim=0)
    assert torch.allclose(counts / counts.sum(), expected, atol=0.03)


def test_a_reply_is_counted_and_cut_at_its_limit(chatter: hf.HFModel) -> None:
    reply = chatter(ask(sampling=Sampling(max_tokens=9)))
    assert (reply.finish_reason, reply.usage.output_tokens, reply.usage.requests) == ("length", 9, 1)
    assert reply.usage.input_tokens == len(chatter.prompter.prompt(ask()).text.encode()) - _saved(chatter)


def _saved(chatter: hf.HFModel) -> int:
    """Bytes that tokens of several bytes save in the prompt."""
    text = chatter.prompter.prompt(ask()).text
    return len(text.encode()) - len(chatter._local.tokenizer(text)["input_ids"])


def test_new_tokens_are_clamped_to_the_context(nonsense: Path) -> None:
    network = model(nonsense)
    reply = network(ask("word " * 90, Sampling(max_tokens=8192)))
    assert reply.usage.input_tokens + reply.usage.output_tokens == 512
    assert reply.finish_reason == "length"


def test_a_prompt_that_does_not_fit_is_a_token_limit_of_its_own_episode(chatter: hf.HFModel) -> None:
    good, bad = chatter.batch([ask(), ask("word " * 900)])
    assert isinstance(good, Reply)
    assert isinstance(bad, ModelFailure)
    assert (bad.outcome, bad.stop) == ("token_limit", "context_length")
    with pytest.raises(ModelFailure, match="context 512"):
        chatter(ask("word " * 900))


def test_a_stop_string_of_the_format_ends_a_row(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = stopping_at("Corrie", learned, monkeypatch)
    reply = network(first())
    assert reply.usage.output_tokens < 20
    assert reply.message.raw == '<tool_call>\n{"name": "population", "arguments": {"town": "'
    assert reply.finish_reason == "stop"


# --- calls, switches, episodes -----------------------------------------------------------------------------------


def first(reasoning: Reasoning = Reasoning()) -> ModelRequest:
    problem = sample()
    return ModelRequest(problem.messages, problem.tools, Sampling(), problem, reasoning=reasoning)


def test_a_trained_network_calls_its_tool(learned: Path) -> None:
    reply = model(learned)(first())
    [call] = reply.message.tool_calls
    assert (call.name, call.arguments, call.parse_error) == ("population", {"town": "Corrie"}, None)
    assert (reply.message.raw, reply.finish_reason) == (tiny_model.CALL, "stop")


def test_the_reasoning_switch_is_in_the_prompt(learned: Path) -> None:
    network = model(learned)
    assert network.switch(Reasoning("off")) == {"enable_thinking": False}
    off, on = (network.prompter.prompt(first(Reasoning(mode))).text for mode in ("off", "on"))
    assert off == f"{on}<think>\n\n</think>\n\n"
    longer, shorter = (network(first(Reasoning(mode))).usage.input_tokens for mode in ("off", "on"))
    assert longer > shorter


@pytest.mark.slow
def test_an_evaluation_by_the_command_line(learned: Path, tmp_path: Path) -> None:
    task = tmp_path / "towns.jsonl"
    task.write_text("".join(json.dumps(record(id=f"towns{number}")) + "\n" for number in range(5)))
    done = harness("eval", "--model", f"hf/{learned}", "--tasks", task, "--out", tmp_path / "run", "--concurrency", 3)
    assert done.returncode == 0, done
    [metrics] = [
        entry["metrics"] for entry in json.loads((tmp_path / "run/summary.json").read_text())["tasks"].values()
    ]
    assert metrics["solve_f1"]["value"] == metrics["answer_accuracy"]["value"] == 1.0


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_halves_the_batch_for_good(
    nonsense: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    network, sizes = model(nonsense), list[int]()
    network._generate = above(2, network._generate, sizes, error)
    requests = [ask(text) for text in PROMPTS]
    with caplog.at_level(logging.WARNING):
        answers = network.batch(requests)
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert answers == model(nonsense).batch(requests)
    assert caplog.text.count("out of memory") == 2
    sizes.clear()
    network.batch(requests)
    assert sizes == [2, 2, 2, 2]


def test_a_cuda_error_of_memory_is_recognised() -> None:
    import torch

    assert hf.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not hf.is_out_of_memory(RuntimeError("shape mismatch"))


def test_a_single_row_that_does_not_fit_costs_its_episode(nonsense: Path) -> None:
    network = model(nonsense)
    network._generate = above(0, network._generate, [], MemoryError())
    answers = network.batch([ask(text) for text in PROMPTS[:3]])
    assert [(a.outcome, a.stop) for a in answers if isinstance(a, ModelFailure)] == [
        ("infrastructure_error", "out_of_memory")
    ] * 3


def test_another_error_is_not_taken_for_memory(nonsense: Path) -> None:
    network = model(nonsense)
    network._generate = above(0, network._generate, [], RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        network.batch([ask()])


def above(limit: int, generate: hf.Generate, sizes: list[int], error: Exception) -> hf.Generate:
    """A network whose memory holds `limit` rows."""

    def limited(rows: Sequence[PromptRow]) -> list[list[int]]:
        sizes.append(len(rows))
        if len(rows) > limit:
            raise error
        return generate(rows)

    return limited


# --- directories -------------------------------------------------------------------------------------------------


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def another_architecture(folder: Path) -> None:
    change_config(folder, architectures=["BertForMaskedLM"], model_type="bert")


def remote_code(folder: Path) -> None:
    change_config(folder, model_type="homemade", auto_map={"AutoModelForCausalLM": "modeling_homemade.Homemade"})
    (folder / "modeling_homemade.py").write_text("raise SystemExit('code of a model was run')\n")


def unknown_architecture(folder: Path) -> None:
    change_config(folder, model_type="homemade")


def torn_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"architectures": ["Qwen3')


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def broken_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "{% if tools }}")


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


BROKEN = {
    "there is no directory": shutil.rmtree,
    "has no config.json": without("config.json"),
    "has no weights": without("model.safetensors"),
    "lacks model-00002-of-00002.safetensors": missing_shard,
    "pickled weights only (pytorch_model.bin)": pickled,
    "has no chat template": without("chat_template.jinja"),
    "has no tokenizer": without("tokenizer.json"),
    "its tokenizer cannot be loaded": broken_tokenizer,
    "holds BertForMaskedLM, which is not a causal language model": another_architecture,
    "needs code that came with it (homemade)": remote_code,
    "does not know the architecture 'homemade'": unknown_architecture,
    "cannot be read as JSON": torn_config,
    "its chat template has an error in line": broken_template,
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_directory_is_one_sentence(nonsense: Path, tmp_path: Path, words: str) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    BROKEN[words](folder)
    with pytest.raises(UsageError) as caught:
        model(folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_weights_that_are_no_weights_are_one_sentence(nonsense: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UsageError, match="its weights cannot be loaded") as caught:
        model(folder)(ask())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3},
            "model.layers.2.input_layernorm.weight is missing (and",
        ),
        ({"intermediate_size": 96}, "model.layers.0.mlp.down_proj.weight has another shape (and"),
    ],
)
def test_weights_that_do_not_fit_are_no_random_numbers(
    nonsense: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    change_config(folder, **changes)
    with pytest.raises(UsageError, match=r"its weights do not fit its config\.json") as caught:
        model(folder)(ask())
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_weights_without_a_place_are_told(nonsense: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    change_config(folder, num_hidden_layers=1, layer_types=["full_attention"])
    with caplog.at_level(logging.WARNING):
        assert isinstance(model(folder)(ask()), Reply)
    assert "has no place for 11 of its weights, such as model.layers.1.input_layernorm.weight" in caplog.text


@pytest.mark.slow
def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    done = harness(
        "eval", "--model", f"hf/{tmp_path / 'nowhere'}", "--tasks", "demo_single_hop", "--out", tmp_path / "run"
    )
    assert "there is no directory" in one_sentence(done)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"dtype": "int3"}, "dtype='int3'"),
        ({"device": "tpu"}, "device='tpu'"),
        ({"batch_size": "0"}, "batch_size='0'"),
        ({"bath_size": "4"}, "bath_size is unknown"),
        ({"format": "herms"}, "herms"),
        ({"chat_template": "nowhere.jinja"}, "nowhere.jinja"),
    ],
)
def test_a_wrong_argument_is_one_sentence(nonsense: Path, args: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        model(nonsense, **args)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_given_template_replaces_a_missing_one(nonsense: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    without("chat_template.jinja")(folder)
    path = tmp_path / "plain.jinja"
    path.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] ")
    network = model(folder, chat_template=str(path), format="react")
    assert network.prompter.prompt(first()).text.endswith("[assistant] ")
    assert "Action Input:" in network.prompter.prompt(first()).text


# --- identity ----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_contents_not_of_the_place(nonsense: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(nonsense, tmp_path / "elsewhere")
    assert model(copied).fingerprint == model(nonsense, concurrency=2, batch_size="3").fingerprint
    assert model(copied, format="react").fingerprint != model(nonsense).fingerprint
    assert model(copied, dtype="bfloat16").fingerprint != model(nonsense).fingerprint


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_every_file_that_decides_replies_is_in_the_fingerprint(nonsense: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(nonsense, tmp_path / "model")
    before = folder_digest(folder)
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert folder_digest(folder) != before


def test_the_batch_size_is_the_width(nonsense: Path) -> None:
    assert model(nonsense, concurrency=5).width == 5
    assert model(nonsense, concurrency=5, batch_size="9").width == 9


def test_this_machine_is_ready() -> None:
    assert hf.ready({}) is None


RELEASE = """
from harness.models.local.hf import release_memory

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

release_memory()
before = resident()
blocks = [bytes(60_000 + 16 * (i % 100)) for i in range(4000)]
held = blocks[-1]
del blocks
kept = resident()
release_memory()
print(before, kept, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_that_the_heap_keeps_is_given_back():
    done = subprocess.run([sys.executable, "-c", RELEASE], capture_output=True, text=True, check=True)
    before, kept, after = map(int, done.stdout.split())
    assert kept > before + 100 and after < before + 50
