"""`harness probe`: what the hidden states of a real network tell before its first reply, and the file that says so."""

import dataclasses
import io
import json
import re
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest
from builders import record, write_records
from commands import episodes, harness, one_sentence

from harness import cli
from harness.data import records
from harness.errors import UsageError
from harness.models.local.hf import load_weights
from harness.models.local.probe import PLACES, read_last_states, read_probe
from harness.registry import load_samples, select_tasks
from harness.stats.classifier import auroc
from harness.types import Reasoning, Sampling
from trainer.analysis import probing
from trainer.bundled import model_path
from trainer.commands import probe as command

pytest.importorskip("torch", reason="NO PROBE TEST RAN: they need the local extra")
BASE = "bundled/tiny-base"
DUE = {"answerable": "Here", "no_tool": "There"}


def twins(worlds):
    """Two samples a world, whose prompts differ in a word that says whether a call is due."""
    return [
        record(
            id=f"{world}-{situation}",
            world=f"world {world}",
            data_source=f"when/{situation}",
            messages=[{"role": "user", "content": f"{'so ' * (world % 4)}How many in Corrie, {world * 37}? {word}."}],
        )
        for world in range(worlds)
        for situation, word in DUE.items()
    ]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A file of twins, its probe as the command wrote it, and what it printed."""
    folder = tmp_path_factory.mktemp("probe")
    path = write_records(folder / "twins.jsonl", twins(10))
    with redirect_stdout(io.StringIO()) as printed:
        assert cli.main(["probe", BASE, "--tasks", str(path), "--out", str(folder / "probe.json"), "--quiet"]) == 0
    return path, folder / "probe.json", printed.getvalue()


@pytest.fixture(scope="module")
def read(planted):
    """The network, and of the planted samples what is asked, what it reads and what it holds."""
    model = probing.find_network(BASE, {})
    (task,) = select_tasks([str(planted[0])], {})
    chosen = [(task, sample) for sample in load_samples([task])[task.name]]
    rows = [
        probing.find_row(model, probing.first_request(task, sample, Reasoning(), Sampling())) for _, sample in chosen
    ]
    network = load_weights(model.local, "float32", "cpu")
    states = probing.read_states(model.name, network, [row.ids for row in rows], quiet=True)
    return model, probing.ask(chosen, seed=0), rows, states


def test_a_planted_word_is_found_on_unseen_worlds(planted):
    said = json.loads(planted[1].read_text())
    assert said["auroc"]["chosen"]["value"] > 0.95
    assert said["auroc"]["layers"][0]["value"] == 0.5  # the last token is the same everywhere
    assert len(said["auroc"]["layers"]) == 5
    assert said["auroc"]["predictors"]["words of the prompt"]["value"] > 0.95
    assert (said["samples"], said["worlds"], said["folds"], said["seed"]) == (20, 10, 5, 0)


def test_the_table_has_every_layer_and_predictor(planted):
    lines = planted[2].splitlines()
    assert [line.split("  ")[0] for line in lines[2:11]] == [
        *(f"layer {number}" for number in range(5)),
        "layer chosen without the fold",
        "length of the prompt",
        "words of the prompt",
        "turn number (always the first)",
    ]
    assert lines[-3] == "thresholds at which 90% are right: none"  # of ten rows: too few
    assert lines[-1].endswith("probe.json")


def test_the_file_reads_back_as_the_probe_that_was_learnt(planted, read):
    model, question, _, states = read
    probe, _ = read_probe(planted[1])
    scores = np.array([probe.score(one) for one in states])
    assert auroc(scores, question.due) == 1.0
    assert probe.fingerprint == model.fingerprint
    said = json.loads(planted[1].read_text())
    (task,) = select_tasks([str(planted[0])], {})
    assert said["tasks"] == {"twins": records.fingerprint(load_samples([task])["twins"])}
    again = probing.learn_probe(states, question.due, probe.layer, said["penalty"], model.fingerprint)
    assert again.weights == pytest.approx(probe.weights, abs=1e-4)


def test_an_evaluation_with_the_probe_decides_as_it_says(planted, tmp_path, capsys):
    asks = {"role": "system", "content": "End with a line `Answer: ...`."}
    rows = [{**row, "messages": [asks, *row["messages"]]} for row in twins(3)]
    path = write_records(tmp_path / "asked.jsonl", rows)
    words = ["--tasks", path, "--max-tokens", "8", "--max-turns", "1", "--out", tmp_path / "run", "--quiet"]
    command = ["eval", "--model", BASE, *map(str, words)]
    gate = ["--model-arg", f"probe={planted[1]}", "probe_low=0", "probe_high=0"]
    assert cli.main([*command, *gate]) == 0
    said = {one["sample"]: (one["notes"][0].split(": ")[2], bool(one["calls"])) for one in episodes(tmp_path / "run")}
    assert len(said) == 6
    assert set(said.values()) == {("a call is begun", True), ("no call", False)}
    assert cli.main([*command, *gate, "--resume"]) == 0
    capsys.readouterr()
    assert cli.main([*command, *gate[:-1], "probe_high=1", "--resume"]) == 2
    assert "holds another run (model.probe_high: 0.0 there, 1.0 now)" in capsys.readouterr().err


def test_labels_that_the_prompt_does_not_tell_are_not_found(read):
    """In one of every two worlds of a fold the words mean the opposite."""
    model, question, rows, states = read
    swapped = question.due.copy()
    for fold in range(probing.FOLDS):
        half = np.flatnonzero(question.fold == fold)[:2]
        swapped[half] = 1 - swapped[half]
    asked = dataclasses.replace(question, due=swapped)
    predicted = probing.score_predictors(model.local, [probing.Reading(row) for row in rows], asked)
    findings, *_ = probing.judge(states[:, 3:4], predicted, asked)
    assert findings.chosen.value < 0.65
    assert findings.predictors["words of the prompt"].value < 0.65


def test_the_last_state_is_what_the_first_token_is_read_from(read):
    model, _, rows, states = read
    network = load_weights(model.local, "float32", "cpu")
    reply = model(dataclasses.replace(rows[0].request, sampling=Sampling(max_tokens=1)))
    first = network.lm_head(network.lm_head.weight.new_tensor(states[0, -1])).argmax()
    assert int(first) == model.local.encode(reply.message.raw)[0]
    assert (read_last_states(network, rows[0].ids) == states[0]).all()


# --- behind the reasoning ----------------------------------------------------------------------------------------

THOUGHTS = {
    "answerable": "<think>\na tool is wanted\n</think>\n\n",
    "no_tool": "<think>\nit is said above\n</think>\n\n",
}


@pytest.fixture
def alike(tmp_path):
    """A file of twins that their prompts do not tell apart."""
    rows = [{**row, "messages": [{"role": "user", "content": row["id"].split("-")[0]}]} for row in twins(10)]
    return write_records(tmp_path / "alike.jsonl", rows)


def say(monkeypatch, text_of, most=99):
    """The network writes what `text_of` says of a sample's id; for more than `most` rows there is no memory."""

    def write(network, local, rows):
        if len(rows) > most:
            raise RuntimeError("not enough memory: you tried to allocate")
        return [local.encode(text_of(row.request.sample.id)) for row in rows]

    monkeypatch.setattr(probing, "generate_rows", write)


def think(name):
    return f"{THOUGHTS[name.split('-')[1]]}Answer: 3"


def test_what_the_reasoning_tells_is_found_behind_it_and_in_its_words(alike, tmp_path, monkeypatch, capsys):
    say(monkeypatch, think, most=3)
    out = tmp_path / "probe.json"
    assert cli.main(["probe", BASE, "--tasks", str(alike), "--out", str(out), "--after", "reasoning", "--quiet"]) == 0
    printed, said = capsys.readouterr().out, json.loads(out.read_text())
    found = {name: one["value"] for name, one in said["auroc"]["predictors"].items()}
    assert said["auroc"]["chosen"]["value"] > 0.9
    assert (found["words of the reasoning"], found["words of both"]) == (1.0, 1.0)
    assert max(found["words of the prompt"], found["length of the prompt"]) <= 0.5
    assert said["auroc"]["lead"]["value"] <= 0 < said["auroc"]["lead_on_prompt"]["value"]
    assert (said["after"], said["max_tokens"], said["without_reasoning"]) == ("reasoning", 2048, 0)
    assert said["left_out"] == {"due": 0, "not_due": 0}
    assert printed.startswith("last hidden state of the reasoning ")
    assert re.search("the chosen layer less (length|words) of the reasoning: .*; less ", printed)
    assert read_probe(out)[0].after == "reasoning"


def test_the_state_is_that_of_the_last_token_before_anything_is_said(read, monkeypatch):
    model, _, rows, _ = read
    network = load_weights(model.local, "float32", "cpu")
    say(monkeypatch, think)
    for row, one in zip(rows, probing.write_reasoning(model, network, rows, quiet=True), strict=True):
        assert model.local.decode(one.thought) == THOUGHTS[row.request.sample.id.split("-")[1]]
        assert one.ids == [*row.ids, *one.thought]


def test_what_does_not_reason_and_what_does_not_end_is_told(alike, tmp_path, monkeypatch, capsys):
    def text_of(name):
        return {"3": "<think>\non and on", "4": "Answer: 3"}.get(name.split("-")[0], think(name))

    words = ["--tasks", str(alike), "--out", str(tmp_path / "probe.json"), "--after", "reasoning", "--quiet"]
    say(monkeypatch, text_of)
    assert cli.main(["probe", BASE, *words]) == 0
    printed = capsys.readouterr().out
    assert "18 samples, 9 worlds, 5 folds by world; " in printed
    assert "2 of these replies do not reason: of them it is the prompt's last state. Left out, because" in printed
    assert "can be read: 1 where a call is due, 1 where none is." in printed
    say(monkeypatch, lambda name: "<think>\non" if name[0] in "012345" else think(name))
    assert cli.main(["probe", BASE, *words]) == 2
    lost = (
        "12 of 20 replies have no end of reasoning that can be read (--max-tokens). Of the others: 4 worlds are too few"
    )
    assert lost in capsys.readouterr().err
    for text in ("Answer: 3", "<think>\non and on"):
        say(monkeypatch, lambda name, text=text: text)
        assert cli.main(["probe", BASE, *words]) == 2
        assert "ended no reasoning in these replies: ask for it with --reasoning on" in capsys.readouterr().err
    say(monkeypatch, think, most=0)
    assert cli.main(["probe", BASE, *words]) == 2
    assert "out of memory for a prompt of " in capsys.readouterr().err


# --- refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tasks", "says"),
    [
        ("openai/gpt-5", "when_*", "openai/gpt-5 shows no hidden states: a probe needs hf/PATH or bundled/NAME."),
        ("policy/oracle", "when_*", "policy/oracle shows no hidden states"),
        ("bundled/*", "when_*", "One model is probed at a time, not 2"),
        (BASE, "demo_multi_hop", "stands among twins, whose data_source is when/"),
        (BASE, "when_no_tool", "A call is due in none of these samples"),
        (BASE, "when_answerable", "A call is due in all of these samples"),
        (BASE, "nothing_*", "No task matches 'nothing_*'."),
    ],
)
def test_what_cannot_be_probed_is_said(model, tasks, says):
    with pytest.raises(UsageError) as error:
        probing.probe_model(model, {}, [tasks], 0, Reasoning())
    assert says in str(error.value)


def test_few_worlds_long_prompts_and_reasoning_are_refused(tmp_path, read):
    path = write_records(tmp_path / "few.jsonl", twins(4))
    with pytest.raises(UsageError, match="4 worlds are too few"):
        probing.probe_model(BASE, {}, [str(path)], 0, Reasoning())
    with pytest.raises(UsageError, match="reasoning"):
        probing.probe_model(BASE, {}, [str(path)], 0, Reasoning("on", effort="high"))
    _, _, rows, _ = read
    long = dataclasses.replace(rows[0].request.messages[0], content="word " * 5000)
    with pytest.raises(UsageError, match=r"cannot be read: .* tokens, and the model's context 4096\.$"):
        probing.find_row(read[0], dataclasses.replace(rows[0].request, messages=[long]))


def test_the_command_offers_the_places_that_a_probe_reads():
    assert command.PLACES == PLACES


def test_bad_options_are_one_sentence_each(tmp_path, capsys):
    (folder := tmp_path / "folder.json").mkdir()
    assert "shows no hidden states" in one_sentence(harness("probe", "gpt-5", "--out", tmp_path / "a.json"))
    for words, says in (
        (["--out", tmp_path / "a.npz"], "is no .json file"),
        (["--out", tmp_path / "none" / "a.json"], "there is no folder"),
        (["--out", folder], "which is a folder"),
        (["--out", tmp_path / "twins.json", "--tasks", tmp_path / "twins.json"], "which is read"),
        (["--out", tmp_path / "a.json", "--reasoning", "both"], "two prompts for each sample"),
        (["--out", tmp_path / "a.json", "--max-tokens", "9"], "--max-tokens is of replies, which --after reasoning"),
        (["--out", tmp_path / "a.json", "--model-arg", "layer=3"], "--model-arg layer is unknown to bundled/tiny-base"),
    ):
        assert cli.main(["probe", BASE, *map(str, words)]) == 2
        assert says in capsys.readouterr().err
    shutil.copy(model_path("tiny-base") / "config.json", tmp_path)
    assert cli.main(["probe", f"hf/{tmp_path}", "--out", str(tmp_path / "config.json")]) == 2
    assert "which is read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"layer": -1},
        {"scale": [0.0] * 128},
        {"weights": [1.0]},
        {"bias": "x"},
        {"mean": None},
        {"after": "x"},
    ],
)
def test_a_file_that_is_no_probe_is_refused(planted, tmp_path, change):
    path = tmp_path / "probe.json"
    path.write_text(json.dumps({**json.loads(planted[1].read_text()), **change}))
    with pytest.raises(UsageError, match="is no probe"):
        read_probe(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_probe(tmp_path / "none.json")
