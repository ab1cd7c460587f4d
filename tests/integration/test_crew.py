"""Episodes played by a crew, with a stand-in for Ray within this process: what is recorded, lost, refused and sent."""

import json
import pickle
from contextlib import nullcontext

import pytest
from builders import record, write_records
from fakes.in_process_ray import fake_cluster

from harness import cli
from harness.batching import BatchModel
from harness.distributed.cluster import Machine
from harness.errors import HarnessError, ModelFailure, UsageError
from harness.evaluation import crew, crew_options
from harness.evaluation.crew import share_out
from harness.types import Model, Usage


@pytest.fixture
def rows(tmp_path):
    return write_records(tmp_path / "towns.jsonl", [record(id=f"towns-{n}", world=f"shire-{n}") for n in range(12)])


@pytest.fixture
def cluster(monkeypatch):
    """Two cores of a Ray that is none."""
    there = fake_cluster(cores=2)
    monkeypatch.setattr(crew_options, "connect", lambda address, keys: nullcontext(there))
    return there


def played(*words):
    return cli.main(["eval", "--quiet", *map(str, words)])


def records(path):
    """By key; two of one key are an error. How long it took is left out."""
    found = {}
    for line in (path / "samples.jsonl").read_text().splitlines():
        one = json.loads(line)
        one.pop("timing")
        assert one["key"] not in found
        found[one["key"]] = one
    return found


@pytest.mark.parametrize("model", ["policy/oracle", "policy/random"])
def test_a_crew_records_what_one_process_records(model, rows, cluster, tmp_path):
    words = ["--model", model, "--tasks", rows, "--epochs", 3, "--seed", 7, "--concurrency", 5]
    assert played(*words, "--out", tmp_path / "alone") == 0
    assert played(*words, "--out", tmp_path / "crew", "--ray") == 0
    assert records(tmp_path / "crew") == records(tmp_path / "alone")
    assert len(cluster.ray.actors) == 2
    alone, together = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("alone", "crew"))
    assert alone == together


def test_what_a_lost_member_played_is_played_again_and_nothing_twice(rows, cluster, tmp_path, caplog):
    cluster.ray.lose_after(4, 3, 9)
    words = ["--model", "policy/oracle", "--tasks", rows, "--epochs", 3]
    assert played(*words, "--out", tmp_path / "crew", "--ray") == 0
    assert len(cluster.ray.actors) == 2 + 3
    assert len(records(tmp_path / "crew")) == 36
    assert caplog.text.count("was lost; what it played is played again") == 3


def test_an_episode_that_ends_every_member_is_a_failure_that_resume_plays_again(rows, cluster, tmp_path):
    words = ["--model", "policy/oracle", "--tasks", rows, "--samples", "towns-3", "--out", tmp_path / "crew", "--ray"]
    cluster.ray.lose_after(*[0] * crew.MOST_LOSSES)
    assert played(*words) == 1
    (only,) = records(tmp_path / "crew").values()
    assert (only["outcome"], only["stop"], only["calls"]) == ("infrastructure_error", "machine_lost", [])
    assert played(*words, "--resume") == 0


def test_a_run_that_ended_early_goes_on_where_it_was(rows, cluster, tmp_path, monkeypatch):
    words = ["--model", "policy/oracle", "--tasks", rows, "--out", tmp_path / "crew", "--ray"]
    heard = crew.Crew._hear

    def break_at_five(self, *args):
        if len((tmp_path / "crew" / "samples.jsonl").read_text().splitlines()) >= 5:
            raise HarnessError("broken off")
        heard(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(crew.Crew, "_hear", break_at_five)
        assert played(*words) == 2
    before = records(tmp_path / "crew")
    assert played(*words, "--resume") == 0
    after = records(tmp_path / "crew")
    assert len(after) == 12 and before.items() <= after.items()


def test_an_actor_is_sent_no_key(rows, cluster, tmp_path, monkeypatch):
    """Neither in its arguments, nor in the variables that Ray would log."""
    from harness.distributed.sealed_keys import seal_keys

    decoy = "sk-decoy0123456789abcdefghij"
    monkeypatch.setenv("OPENAI_API_KEY", decoy)
    object.__setattr__(cluster, "keys", seal_keys(["OPENAI_API_KEY"], {"OPENAI_API_KEY": decoy}))
    assert played("--model", "policy/oracle", "--tasks", rows, "--out", tmp_path / "crew", "--ray") == 0
    assert decoy.encode() not in b"".join(cluster.ray.sent)
    assert decoy not in str(cluster.runtime_env) and cluster.runtime_env["env_vars"]


def test_code_of_another_machine_is_not_played(cluster, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from pathlib import Path\nfrom harness.task import environment_task\n"
        "from harness.data.records import read_samples\n"
        "def tasks(data):\n"
        f"    return [environment_task('mine', lambda: read_samples(Path({str(tmp_path / 'rows.jsonl')!r})))]\n"
    )
    write_records(tmp_path / "rows.jsonl", [record()])
    words = ["--model", "policy/oracle", "--tasks", path, "--ray", "--out"]
    assert played(*words, tmp_path / "one") == 0
    digest = crew_options.code_digest
    monkeypatch.setattr(crew_options, "code_digest", lambda path: "other" + digest(path))
    assert played(*words, tmp_path / "two") == 2
    assert capsys.readouterr().err.rstrip().endswith(f"{path} is another file there.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--header", "X-Key=v"], "does not travel with --ray"),
        (["--model-arg", "api_key=sk-decoy0123456789abcdefghij"], "holds a key, which --ray would send"),
    ],
)
def test_what_may_hold_a_key_is_refused(words, said, rows, cluster, tmp_path, capsys):
    asked = ["--model", "gpt-x", "--base-url", "http://127.0.0.1:9/v1", "--tasks", rows, "--ray", *words]
    assert played(*asked, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert said in err and "decoy" not in err and err.count("\n") == 1
    assert not cluster.ray.actors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ray", "ray://head:10001"], "run the command on a machine of the cluster"),
        (["--ray", "head"], "none of local, auto and HOST:PORT"),
        (["--ray", "127.0.0.1:1"], "nobody answers there"),
        (["--ray-keys", "HOME"], "give --ray too, or leave it out"),
        (["--ray", "--ray-keys", "NO_SUCH_VARIABLE"], "names NO_SUCH_VARIABLE, which is not set here"),
        (["--ray"], "--ray needs the ray extra: pip install '.[ray]'"),
    ],
)
def test_what_cannot_be_reached_is_one_sentence(words, said, rows, tmp_path, capsys, monkeypatch):
    """A path that hides Ray stands for a machine without it."""
    import sys

    if words == ["--ray"]:
        monkeypatch.setitem(sys.modules, "ray", None)
    else:
        monkeypatch.setattr("harness.distributed.cluster.import_ray", lambda: None)
    asked = ["--model", "policy/oracle", "--tasks", rows, *words]
    assert played(*asked, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


class Network(BatchModel):
    name, fingerprint, width = "vllm/net", {}, 64

    def batch(self, requests):
        raise AssertionError("never asked")


class Speaker(Model):
    name, fingerprint = "openai/m", {}

    def __call__(self, request):
        raise AssertionError("never asked")


@pytest.mark.parametrize(
    ("model", "args", "machines", "members", "each", "episodes"),
    [
        (Speaker(), {}, [(8, 0), (8, 0)], 16, {"num_cpus": 1}, 4),
        (Network(), {}, [(8, 0), (16, 0)], 3, {"num_cpus": 8}, 64),
        (Network(), {}, [(8, 8), (8, 8)], 16, {"num_cpus": 1, "num_gpus": 1}, 64),
        (Network(), {"engine": '{"tensor_parallel_size": 4}'}, [(8, 8), (8, 6)], 3, {"num_cpus": 1, "num_gpus": 4}, 64),
    ],
)
def test_a_network_has_a_member_an_engine_and_other_models_one_a_core(model, args, machines, members, each, episodes):
    there = [Machine(str(place), cpus, gpus) for place, (cpus, gpus) in enumerate(machines)]
    found = share_out(model, args, there, 64)
    assert (found.members, found.each, found.episodes) == (members, each, episodes)


def test_a_cluster_without_room_is_refused():
    with pytest.raises(UsageError, match="no machine of the cluster has room"):
        share_out(Network(), {"engine": '{"tensor_parallel_size": 4}'}, [Machine("a", 8, 2)], 64)


def test_a_failure_of_a_model_reaches_another_process_whole():
    failure = ModelFailure("m: too long", outcome="token_limit", stop="context_length", usage=Usage(requests=3))
    there = pickle.loads(pickle.dumps(failure))
    assert (str(there), there.outcome, there.stop, there.usage) == (
        *("m: too long", "token_limit", "context_length"),
        Usage(requests=3),
    )
