"""The bundled networks: they use tools by the command line, think when asked to, and training shows."""

import json
import re
import shlex

import pytest
from commands import episodes, harness, one_sentence, summary
from documents import block, page

from harness.evaluation.plan import select_subset
from harness.models import ModelOptions, load_model
from harness.registry import load_samples, select_tasks
from harness.types import ModelRequest, Reasoning, Reply, Sampling
from trainer import bundled

README = page("README.md")
PUBLISHED = block(page("docs/training.md"), "bundled output")


@pytest.fixture(scope="module")
def micro():
    """What they were trained for: environments of the first generation."""
    return load_samples(select_tasks(["micro_*@1"], {}))


@pytest.mark.slow
def test_training_shows_as_the_readme_says(tmp_path):
    evaluation, comparison = (shlex.split(line)[1:] for line in block(README, "trained").strip().splitlines())
    assert harness(*evaluation, "--quiet", cwd=tmp_path).returncode == 0
    compared = json.loads(harness(*comparison, "--format", "json", cwd=tmp_path).stdout)
    changes = {change["metric"]: change for change in compared["comparisons"][0]["changes"]}
    for metric in ("solve_f1", "answer_accuracy"):
        published = re.search(rf"micro(?:@1)? +{metric} +(\S+) +(\S+) ", block(README, "trained output"))
        assert abs(changes[metric]["base"] - float(published[1])) < 0.03
        assert abs(changes[metric]["run"] - float(published[2])) < 0.03
    assert changes["solve_f1"]["difference"]["ci95"][0] > 0.1


@pytest.mark.slow
def test_the_readmes_command_gives_the_published_scores_and_switches_reasoning(tmp_path):
    """Within .03, because the order in which numbers are added differs between processors."""
    install, command = block(README, "bundled").strip().split(" && ")
    assert install == "pip install '.[local]'"
    done = harness(*shlex.split(command)[1:], "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bundled/tiny-base, on minus off, paired" in done.stdout
    assert "WARNING" not in done.stdout
    out = tmp_path / "runs" / "tiny"
    for mode, thinks in (("off", False), ("on", True)):
        entry = summary(out / mode)["groups"]["micro"]
        published = re.search(rf"bundled/tiny-base +{mode} +micro(?:@1)? +200 +(\S+)", PUBLISHED)
        assert entry["n"] == 200
        assert 0.40 <= entry["metrics"]["solve_f1"]["value"] <= 0.70
        assert abs(entry["metrics"]["solve_f1"]["value"] - float(published[1])) < 0.03
        assert json.loads((out / mode / "manifest.json").read_text())["reasoning_switch"] == {"enable_thinking": thinks}
        seen = summary(out / mode)["reasoning_seen"]
        assert (seen["episodes"] > 0, seen["tokens"] > 0) == (thinks, thinks)
        spoke = [m for r in episodes(out / mode) for m in r["messages"] if m["role"] == "assistant"]
        assert all("raw" in message for message in spoke)


@pytest.mark.slow
def test_a_batch_makes_the_same_calls_as_one_by_one(micro):
    model = load_model("bundled/tiny-base", ModelOptions(concurrency=64))
    samples = [sample for name, chosen in micro.items() for sample in select_subset(chosen, name, 16, 0)]
    requests = [
        ModelRequest(s.messages, s.tools, Sampling(max_tokens=60), s, reasoning=Reasoning("off")) for s in samples
    ]
    together = model.batch(requests)
    alone = [model.batch([request])[0] for request in requests]
    assert len(requests) == 64 and all(isinstance(reply, Reply) for reply in together)
    assert sum(len(reply.message.tool_calls) for reply in together) >= 48
    assert [reply.message.tool_calls for reply in together] == [reply.message.tool_calls for reply in alone]


def test_the_folder_says_how_it_was_made_and_is_small():
    folder = bundled.model_path("tiny-base")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["recipe"]["regime"] == "sft" and manifest["command"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000


def test_an_unknown_name_is_one_sentence():
    assert "Did you mean bundled/tiny-base" in one_sentence(
        harness("eval", "--model", "bundled/tiny-bse", "--tasks", "micro_*")
    )
