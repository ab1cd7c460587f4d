"""--model-arg probe=FILE: the first turn of an episode, decided by a probe, on real networks."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import sample
from fakes import tiny_model

from harness import cli
from harness.errors import ModelFailure, UsageError
from harness.formats import FORMATS
from harness.models import ModelOptions
from harness.models.local import call_gate, hf
from harness.models.local.probe import Probe
from harness.models.local.prompting import Prompt
from harness.models.local.rows import PromptRow, to_reply, to_row
from harness.types import Message, ModelRequest, Reply, Sampling, ToolCall
from trainer.analysis.probing import FEWEST, find_high, find_low

torch = pytest.importorskip("torch", reason="NO GATE TEST RAN: they need the local extra")
SIZE = 64
CALL = ToolCall("", "population", {"town": "Corrie"}, "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights."""
    return tiny_model.random_model(tmp_path_factory.mktemp("gate") / "model", context=512)


@pytest.fixture(scope="module")
def plain(folder: Path) -> hf.HFModel:
    """Its network without a gate."""
    return model(folder)


def model(folder: Path, **args: object) -> hf.HFModel:
    options = ModelOptions(args={key: str(value) for key, value in args.items()}, concurrency=8)
    return hf.load_directory("hf/tiny", str(folder), options)


def write_probe(path: Path, plain: hf.HFModel, **changes: Any) -> Path:
    """A file with a probe of a network, whose score is the same for all prompts unless `changes` say otherwise."""
    probe = Probe(1, [0.0] * SIZE, [1.0] * SIZE, [0.0] * SIZE, 0.0, plain.fingerprint)
    probe = replace(probe, **{name: value for name, value in changes.items() if name in asdict(probe)})
    probe.write(path, {"model": "tiny"})
    return path


def ask(text: str = "How many in Corrie?", turn: int = 0, **sampling: Any) -> ModelRequest:
    problem = sample()
    drawn = Sampling(**{"max_tokens": 12, **sampling})
    return ModelRequest([Message("user", text)], problem.tools, drawn, replace(problem, id=text), turn=turn)


def row_of(local: hf.ModelTokenizer, request: ModelRequest | None = None) -> PromptRow:
    row = to_row(local, request or ask(max_tokens=200))
    assert isinstance(row, PromptRow)
    return row


# --- what is decided ---------------------------------------------------------------------------------------------


def test_above_the_upper_a_call_is_begun_and_below_the_lower_none_is_made(plain, folder, tmp_path):
    probe = write_probe(tmp_path / "probe.json", plain, bias=2.0)
    begun = model(folder, probe=probe, probe_high=1)(ask())
    assert begun.message.raw.startswith("<tool_call>")
    assert begun.message.tool_calls
    assert begun.note == "probe score 2.0000, above 1: a call is begun"
    left = model(folder, probe=probe, probe_high=3)(ask())
    assert replace(left, note=None) == plain(ask())
    assert left.note == "probe score 2.0000: left to the model"
    silent = model(folder, probe=probe, probe_low=3)(ask())
    assert silent.message.tool_calls == ()
    assert silent.note == "probe score 2.0000, below 3: no call"


def test_what_was_begun_is_read_and_not_written(plain, folder, tmp_path):
    probe = write_probe(tmp_path / "probe.json", plain, bias=2.0)
    begun, free = model(folder, probe=probe, probe_high=1)(ask()), plain(ask())
    tokens = begun.usage.input_tokens - free.usage.input_tokens
    assert tokens >= 1
    assert begun.usage.output_tokens == 12 - tokens
    assert len(plain.local.encode(begun.message.raw)) <= 12


def test_later_turns_and_prompts_without_tools_are_left(plain, folder, tmp_path):
    gated = model(folder, probe=write_probe(tmp_path / "probe.json", plain, bias=2.0), probe_high=1)
    for request in (ask(turn=1), replace(ask(), tools=())):
        assert gated(request) == plain(request)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_batch_decides_as_single_requests_do(plain, folder, tmp_path, temperature):
    """A probe whose score is a value of the prompt's own state, so that one batch holds all three."""
    requests = [ask(f"{'so ' * number}Corrie?", temperature=temperature, seed=1) for number in range(8)]
    states = np.stack([call_gate.read_last_states(_network(plain), row_of(plain.local, one).ids) for one in requests])
    column = int(states[:, 1].std(axis=0).argmax())
    lower, upper = np.quantile(states[:, 1, column], [0.35, 0.65])
    weights = [float(number == column) for number in range(SIZE)]
    probe = write_probe(tmp_path / "probe.json", plain, weights=weights, low=lower, high=upper)
    gated = model(folder, probe=probe)
    together = gated.batch(requests)
    assert together == [gated(request) for request in requests]
    assert {note_of(reply).split(": ")[1] for reply in together} == {"a call is begun", "no call", "left to the model"}


def _network(plain: hf.HFModel) -> Any:
    return hf.load_weights(plain.local, "float32", "cpu")


def note_of(reply: Reply | ModelFailure) -> str:
    assert isinstance(reply, Reply)
    return reply.note or ""


def test_memory_that_runs_out_for_the_score_fails_that_episode_alone(plain, folder, tmp_path, monkeypatch):
    gated = model(folder, probe=write_probe(tmp_path / "probe.json", plain, bias=2.0), probe_high=1)
    requests = [ask("Corrie?"), ask("How many are there in Corrie, in this longer question?")]
    read, most = call_gate.read_last_states, len(row_of(plain.local, requests[0]).ids)

    def read_short(network: Any, ids: Any) -> Any:
        if len(ids) > most:
            raise RuntimeError("not enough memory: you tried to allocate")
        return read(network, ids)

    monkeypatch.setattr(call_gate, "read_last_states", read_short)
    short, long = gated.batch(requests)
    assert isinstance(short, Reply)
    assert isinstance(long, ModelFailure)
    assert (long.outcome, long.stop) == ("infrastructure_error", "out_of_memory")


# --- behind the reasoning ----------------------------------------------------------------------------------------

THOUGHT = "<think>\nPerhaps.\n</think>\n\n"


def decide_after(plain, said, room=200, low=None, high=None, **changes):
    """The reply of a network that first writes `said` and then a full stop, decided behind its reasoning by a probe of
    which every score is `bias`; and the rows that were continued."""
    local, continued = plain.local, list[PromptRow]()

    def generate(rows):
        texts = [".\nAnswer: 3" if continued else said for _ in rows]
        continued.extend(rows)
        return [local.encode(text) for text in texts]

    probe = replace(Probe(1, [0.0] * SIZE, [1.0] * SIZE, [0.0] * SIZE, 0.0, {}, after="reasoning"), **changes)
    gate = call_gate.CallGate(probe, low, high, Path(), "").at(local, lambda: _network(plain))
    (reply,) = hf.HFModel("hf/tiny", local, 8, {}, generate, gate).batch([ask(max_tokens=room)])
    return reply, continued


def test_a_reply_that_does_as_was_decided_stays(plain):
    call = plain.local.format.render([CALL])
    for said, changes, note in (
        (f"{THOUGHT}{call}", {"bias": 2.0, "high": 1.0}, "above 1: a call is begun, as the model does"),
        (f"{THOUGHT}Answer: 3", {"bias": -2.0, "low": -1.0}, "below -1: no call, as the model does"),
        (f"{THOUGHT}{call}", {"bias": 0.5, "low": -1.0, "high": 1.0}, "probe score 0.5000: left to the model"),
    ):
        reply, continued = decide_after(plain, said, **changes)
        assert len(continued) == 1
        assert reply.message.raw == said
        assert reply.note.endswith(note)


@pytest.mark.parametrize("thought", [THOUGHT, "<think>a</think><think>b</think> ", ""])
def test_a_reply_that_calls_too_little_is_written_anew_from_the_reasonings_end(plain, thought):
    reply, (first, again) = decide_after(plain, f"{thought}Answer: 3", bias=2.0, high=1.0)
    begun, text = plain.local.decode(again.begun), plain.local.format.render([CALL])
    assert again.ids == (*first.ids, *again.begun)
    assert begun.startswith(thought)
    assert begun != thought
    assert text.startswith(begun[len(thought) :])
    assert reply.message.tool_calls
    assert reply.message.raw.startswith(begun)
    assert reply.note == "probe score 2.0000, above 1: a call is begun"
    assert reply.usage.input_tokens == len(first.ids) + len(again.begun) - again.thought
    assert reply.usage.output_tokens == again.thought + len(plain.local.encode(".\nAnswer: 3"))
    assert again.seed != first.seed


def test_a_reply_that_calls_too_much_is_written_anew_without(plain):
    reply, (first, again) = decide_after(plain, f"{THOUGHT}{plain.local.format.render([CALL])}", bias=-2.0, low=-1.0)
    assert again.silent
    assert again.ids == (*first.ids, *plain.local.encode(THOUGHT))
    assert reply.message.raw == f"{THOUGHT}.\nAnswer: 3"
    assert reply.message.tool_calls == ()
    assert reply.note == "probe score -2.0000, below -1: no call"


@pytest.mark.parametrize(
    "said", ["<think>\non and on", "Well.\n<think>\na\n</think>\nAnswer: 3", "a\n</think>\nAnswer: 3"]
)
def test_reasoning_without_an_end_that_can_be_read_is_left_to_the_model(plain, said):
    reply, continued = decide_after(plain, said, bias=2.0, high=1.0)
    assert len(continued) == 1
    assert reply.message.reasoning
    assert reply.note == "its reasoning has no end that a probe could read: left to the model"


@pytest.mark.parametrize("spare", [0, 1])
def test_without_room_for_a_call_the_reply_stays(plain, spare):
    """And one that calls already needs none."""
    room = len(plain.local.encode(THOUGHT)) + spare
    reply, continued = decide_after(plain, f"{THOUGHT}Answer: 3", room=room, bias=2.0, high=1.0)
    assert len(continued) == 1
    assert reply.usage.output_tokens == room
    assert reply.note == "probe score 2.0000, above 1: a call is begun, for which there is no room: left to the model"
    call = plain.local.format.render([CALL])
    room = len(plain.local.encode(f"{THOUGHT}{call}"))
    reply, _ = decide_after(plain, f"{THOUGHT}{call}", room=room, bias=2.0, high=1.0)
    assert reply.message.tool_calls
    assert reply.note.endswith("as the model does")


@pytest.mark.parametrize(
    "drawn", [{}, {"temperature": 1.0, "seed": 3}, {"presence_penalty": 2.0, "frequency_penalty": 1.0}]
)
def test_a_batch_is_written_anew_as_single_requests_are(plain, folder, tmp_path, monkeypatch, drawn):
    """A real network; its first tokens stand for reasoning, of which random weights write none."""
    counts = {f"{'so ' * number}Corrie?": number % 4 for number in range(8)}
    monkeypatch.setattr(call_gate, "count_reasoning", lambda local, row, generated: counts[row.request.sample.id])
    probe = write_probe(tmp_path / "probe.json", plain, bias=2.0, after="reasoning")
    gated = model(folder, probe=probe, probe_high=1)
    requests = [ask(text, **drawn) for text in counts]
    together = gated.batch(requests)
    assert together == [gated(request) for request in requests]
    assert together == [model(folder, probe=probe, probe_high=1, batch_size=1)(request) for request in requests]
    for reply, free, count in zip(together, plain.batch(requests), counts.values(), strict=True):
        kept, begun, _ = reply.message.raw.partition("<tool_call>")
        assert begun
        assert free.message.raw.startswith(kept)
        assert bool(kept) == bool(count)


def test_what_was_thought_is_penalised_as_written(plain):
    sampling = Sampling(presence_penalty=2.0, frequency_penalty=1.0)
    row = replace(row_of(plain.local), ids=(5, 6, 7, 7), begun=(7, 7), thought=2, anew=True)
    row = replace(row, request=replace(row.request, sampling=sampling))
    scores = hf.GumbelNoise([row])(torch.tensor([[5, 6, 7, 7, 8]]), torch.zeros(1, 10))
    assert scores[0].tolist() == [0.0] * 7 + [-4.0, -3.0, 0.0]


def test_another_reasoning_is_refused_before_the_run(plain, folder, tmp_path, capsys):
    probe = write_probe(tmp_path / "probe.json", plain, high=1.0, after="reasoning", reasoning="on")
    words = ["--tasks", "when_*", "--out", str(tmp_path / "run"), "--model-arg", f"probe={probe}"]
    assert cli.main(["eval", "--model", f"hf/{folder}", *words]) == 2
    assert "was made with reasoning on, and this run has default" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_score_is_that_of_the_reasonings_last_token(plain):
    ids = [*row_of(plain.local).ids, *plain.local.encode(THOUGHT)]
    state = call_gate.read_last_states(_network(plain), ids)[1]
    weights = [float(number == 5) for number in range(SIZE)]
    reply, _ = decide_after(plain, f"{THOUGHT}Answer: 3", weights=weights, bias=0.0, high=99.0)
    assert reply.note == f"probe score {state[5]:.4f}: left to the model"


def test_a_real_network_is_decided_behind_its_reasoning(plain, folder, tmp_path):
    """Random weights reason about nothing: it is decided where the prompt ends."""
    probe = write_probe(tmp_path / "probe.json", plain, bias=2.0, after="reasoning")
    begun = model(folder, probe=probe, probe_high=1)(ask())
    assert begun.message.raw.startswith("<tool_call>")
    assert begun.note == "probe score 2.0000, above 1: a call is begun"
    assert model(folder, probe=probe, probe_high=1)(ask(turn=1)) == plain(ask(turn=1))


# --- in every format ---------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(FORMATS))
def local(request: pytest.FixtureRequest, plain: hf.HFModel) -> hf.ModelTokenizer:
    """The tokenizer, as a network of each format would have it."""
    return replace(plain.local, format=FORMATS[request.param])


def test_what_is_begun_goes_on_as_a_call(local):
    row = row_of(local)
    begun = call_gate.begin_call(local, row)
    assert isinstance(begun, PromptRow)
    text, said = local.format.render([CALL]), local.decode(begun.begun)
    assert said
    assert text.startswith(said)
    assert CALL.name not in said
    assert begun.ids == (*row.ids, *begun.begun)
    reply = to_reply(local, begun, local.encode(text[len(said) :]))
    assert [(call.name, call.arguments) for call in reply.message.tool_calls] == [(CALL.name, CALL.arguments)]


def test_reasoning_that_the_prompt_opened_is_closed_first(local):
    row = row_of(local)
    thinking = replace(row, prompt=Prompt(f"{row.prompt.text}<think>\n", thinking=True))
    begun = call_gate.begin_call(local, thinking)
    assert isinstance(begun, PromptRow)
    said = local.decode(begun.begun)
    assert said.startswith("</think>\n\n")
    rest = local.format.render([CALL])[len(said.removeprefix("</think>\n\n")) :]
    assert to_reply(local, begun, local.encode(rest)).message.tool_calls[0].name == CALL.name


@pytest.mark.parametrize("before", ["", "I will look it up.\n", "<think>Perhaps a call.</think>\n"])
def test_a_network_that_wants_to_call_is_kept_from_it(local, before):
    wanted = local.encode(before + local.format.render([CALL]))
    row = replace(row_of(local), silent=True)
    free = write(local, replace(row, silent=False), wanted)
    assert free == wanted
    assert to_reply(local, row, free).message.tool_calls
    said = to_reply(local, row, kept := write(local, row, wanted))
    assert said.message.tool_calls == ()
    assert local.decode(kept).startswith(before)


def write(local: hf.ModelTokenizer, row: PromptRow, wanted: list[int]) -> list[int]:
    """What is written where each next token of `wanted` has the greatest score, and a full stop the next greatest."""
    ban, written = call_gate.CallBan(local, [row]), list[int]()
    for token in wanted:
        scores = torch.zeros(1, len(local.tokenizer))
        scores[0, local.encode(".")[0]], scores[0, token] = 1.0, 2.0
        written.append(int(ban(torch.tensor([[*row.ids, *written]]), scores).argmax()))
    return written


def test_where_only_a_call_is_left_the_turn_ends(plain):
    local, row = plain.local, replace(row_of(plain.local), silent=True)
    scores = torch.full((1, len(local.tokenizer)), -math.inf)
    scores[0, local.encode("<tool_call>")[0]] = 1.0
    after = call_gate.CallBan(local, [row])(torch.tensor([row.ids]), scores)
    assert int(after.argmax()) in local.end_token_ids


def test_a_call_in_a_block_of_reasoning_is_no_call(plain):
    wanted = plain.local.encode("<think>\n<tool_call>")
    assert write(plain.local, replace(row_of(plain.local), silent=True), wanted) == wanted


# --- identity, and what is refused --------------------------------------------------------------------------------


def test_probe_and_thresholds_are_part_of_the_identity(plain, folder, tmp_path):
    probe = write_probe(tmp_path / "probe.json", plain, low=-1.0, high=1.0)
    gated = model(folder, probe=probe)
    added = {key: value for key, value in gated.fingerprint.items() if key not in plain.fingerprint}
    assert added == {"probe": added["probe"], "probe_low": -1.0, "probe_high": 1.0}
    assert {key: gated.fingerprint[key] for key in plain.fingerprint} == plain.fingerprint
    assert model(folder, probe=probe, probe_high=2).fingerprint["probe_high"] == 2.0
    other = write_probe(tmp_path / "other.json", plain, low=-1.0, high=1.0, bias=0.5)
    assert model(folder, probe=other).fingerprint["probe"] != added["probe"]


def test_a_probe_of_the_same_weights_elsewhere_fits(plain, folder, tmp_path):
    there = {**plain.fingerprint, "device": "cuda", "dtype": "bfloat16"}
    assert model(folder, probe=write_probe(tmp_path / "probe.json", plain, high=1.0, fingerprint=there))


@pytest.mark.parametrize(
    ("changes", "args", "says"),
    [
        ({"fingerprint": {"backend": "hf", "sha256": "0"}}, {}, r"of another model than hf/tiny \(.*sha256.* differ\)"),
        ({}, {}, "has no thresholds, because it told too little"),
        ({"high": 1.0}, {"probe_low": 2}, "probe_low=2 is above probe_high=1"),
        ({"high": 1.0}, {"probe_high": "inf"}, "probe_high='inf' is no number"),
        ({"high": 1.0}, {"probe_low": "low"}, "probe_low='low' is no number"),
        ({"high": "high"}, {}, "is no probe"),
        ({"high": 1.0, "layer": True}, {}, "is no probe"),
    ],
)
def test_what_decides_nothing_is_refused(plain, folder, tmp_path, changes, args, says):
    probe = write_probe(tmp_path / "probe.json", plain, **changes)
    with pytest.raises(UsageError, match=says):
        model(folder, probe=probe, **args)


def test_the_digest_is_that_of_what_was_read(plain, folder, tmp_path, monkeypatch):
    """Also of a file that is replaced at once."""
    path = write_probe(tmp_path / "probe.json", plain, high=1.0)
    wanted = model(folder, probe=path).fingerprint["probe"]
    read = call_gate.read_probe

    def read_and_replace(path: Path) -> Any:
        found = read(path)
        path.write_text("{}")
        return found

    monkeypatch.setattr(call_gate, "read_probe", read_and_replace)
    assert model(folder, probe=path).fingerprint["probe"] == wanted


def test_a_threshold_alone_is_refused(folder):
    with pytest.raises(UsageError, match="probe_high is a threshold of a probe: name it with probe=FILE"):
        model(folder, probe_high=1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"layer": 3}, "does not fit a network of 2 layers of size 64"),
        ({"mean": [0.0], "scale": [1.0], "weights": [0.0]}, "does not fit a network of 2 layers of size 64"),
        ({"reasoning": "off"}, "was made with reasoning off, and this run has default"),
        ({"bias": math.nan}, "gives no number"),
        ({"mean": [-1.0] * SIZE, "scale": [5e-324] * SIZE, "weights": [1e99] * SIZE}, "gives no number"),
    ],
)
def test_what_does_not_fit_is_said_at_the_first_prompt(plain, folder, tmp_path, changes, says):
    probe = replace(Probe(1, [0.0] * SIZE, [1.0] * SIZE, [0.0] * SIZE, 0.0, {}), **changes)
    gate = call_gate.CallGate(probe, None, 1.0, tmp_path, "").at(plain.local, lambda: _network(plain))
    with pytest.raises(UsageError, match=says):
        gate.decide(row_of(plain.local))


def test_no_room_for_a_call_is_a_token_limit(plain):
    failure = call_gate.begin_call(plain.local, row_of(plain.local, ask(max_tokens=1)))
    assert isinstance(failure, ModelFailure)
    assert failure.outcome == "token_limit"


def test_the_command_line_refuses_a_probe_of_another_model_in_one_sentence(plain, tmp_path, capsys):
    probe = write_probe(tmp_path / "probe.json", plain, high=1.0)
    words = ["--tasks", "micro_*", "--out", str(tmp_path / "run"), "--model-arg", f"probe={probe}"]
    assert cli.main(["eval", "--model", "bundled/tiny-base", *words]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "was made of another model than bundled/tiny-base" in sentence
    assert not (tmp_path / "run").exists()
    words = ["--out", str(tmp_path / "again.json"), "--model-arg", f"probe={probe}"]
    assert cli.main(["probe", "bundled/tiny-base", *words]) == 2
    assert "leave --model-arg probe out" in capsys.readouterr().err


# --- thresholds from scores on unseen worlds ---------------------------------------------------------------------


def test_thresholds_are_where_nine_of_ten_are_right():
    due = np.array([1.0] * 60 + [0.0] * 40)
    apart = np.concatenate([np.linspace(3, 0.5, 60), np.linspace(-0.5, -3, 40)])
    assert find_high(apart, due) == 0.0
    assert find_low(apart, due) == 0.0
    mixed = np.concatenate(
        [np.linspace(4, 1, 30), np.tile([0.5, -0.5], 15), np.tile([0.4, -0.6], 5), np.linspace(-1, -4, 30)]
    )
    high, low = find_high(mixed, due), find_low(mixed, due)
    assert high is not None
    assert low is not None
    assert (due[mixed > high] == 1).mean() >= 0.9
    assert (due[mixed < low] == 0).mean() >= 0.9
    assert (mixed > high).sum() >= FEWEST
    assert low <= 0 <= high


def test_scores_that_tell_nothing_have_no_thresholds():
    due = np.tile([1.0, 0.0], 50)
    assert find_high(np.linspace(1, -1, 100), due) is None
    assert find_low(np.zeros(100), due) is None
    assert find_high(np.linspace(2, 1, FEWEST - 1), np.ones(FEWEST - 1)) is None


def test_a_probe_of_before_the_thresholds_reads_and_has_none(plain, folder, tmp_path):
    path = write_probe(tmp_path / "probe.json", plain)
    found = {
        key: value for key, value in json.loads(path.read_text()).items() if key not in ("low", "high", "reasoning")
    }
    path.write_text(json.dumps(found))
    assert model(folder, probe=path, probe_low=-2).fingerprint["probe_low"] == -2.0
