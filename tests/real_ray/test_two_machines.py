"""Two Ray nodes on this machine: the same records, none lost and none twice when one is killed, and no key in a log.

Runs only where Ray is installed: tox -e ray.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT, record, write_records
from commands import command, environment, episodes, harness
from fakes.chat_server import ChatServer, calls, text

pytest.importorskip("ray", reason="needs the ray extra, in an environment of its own: tox -e ray")

from ray.cluster_utils import Cluster

DECOY = "sk-decoy0123456789abcdefghijklmnop"
SLOW = """
import time
def population(town):
    time.sleep(0.2)
    return {"inhabitants": 45210}
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores, and two nodes with one each, so that every episode is played on one that can be lost."""
    with short_folder() as folder:
        logs = folder / "ray"
        logs.mkdir()  # Ray writes an address there before it makes the folder
        monkeypatch.setenv("RAY_TMPDIR", str(folder))
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        found.nodes = [found.add_node(num_cpus=1), found.add_node(num_cpus=1)]
        found.wait_for_nodes()
        found.logs = logs
        yield found
        found.shutdown()


@contextmanager
def short_folder() -> Iterator[Path]:
    """One whose path leaves room for those of Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="hr", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def counted(run: Path) -> dict[str, dict[str, Any]]:
    """The records by key; how long they took is left out."""
    found = {one["key"]: {**one, "timing": None} for one in episodes(run)}
    assert len(found) == len(episodes(run))
    return found


def test_two_machines_record_what_one_process_records(cluster: Any, tmp_path: Path) -> None:
    words = ["eval", "--quiet", "--model", "policy/random", "--tasks", "demo", "micro", "--limit", "30", "--seed", "3"]
    alone = harness(*words, "--out", tmp_path / "alone")
    together = harness(*words, "--out", tmp_path / "together", "--ray", cluster.address)
    assert (alone.returncode, together.returncode) == (0, 0), together.stderr
    assert counted(tmp_path / "together") == counted(tmp_path / "alone")
    assert len(counted(tmp_path / "alone")) == 12 + 120
    assert "Traceback" not in together.stderr


def test_a_machine_that_is_killed_loses_no_episode_and_plays_none_twice(cluster: Any, tmp_path: Path) -> None:
    slow = record(codes={"population": SLOW})
    rows = [{**slow, "id": f"towns-{number}", "world": f"shire-{number}"} for number in range(40)]
    path, out = write_records(tmp_path / "towns.jsonl", rows), tmp_path / "run"
    words = ["eval", "--quiet", "--model", "policy/oracle", "--tasks", path, "--out", out, "--concurrency", "4"]
    running = subprocess.Popen(
        command(*words, "--epochs", "5", "--ray", cluster.address),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for_episodes(out, 40)
    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    _, errors = running.communicate(timeout=240)
    assert running.returncode == 0, errors
    assert "was lost; what it played is played again" in errors
    found = counted(out)
    assert len(found) == 200
    assert all(one["scores"]["solve_f1"] == 1.0 for one in found.values())
    again = harness(*words, "--epochs", "5", "--resume", "--ray", cluster.address)
    assert again.returncode == 0 and counted(out) == found


def _wait_for_episodes(out: Path, least: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (out / "samples.jsonl").exists() and len(episodes(out, torn=True)) >= least:
            return
        time.sleep(0.05)
    raise AssertionError("the run did not begin")


@pytest.mark.parametrize("named", [True, False])
def test_a_key_is_used_on_every_machine_and_stands_in_no_log(named: bool, cluster: Any, tmp_path: Path) -> None:
    """Without --ray-keys the machines have no key; with it they have, and no file of Ray's session holds it."""
    rows = [record(id=f"towns-{number}", world=f"shire-{number}") for number in range(8)]
    path = write_records(tmp_path / "towns.jsonl", rows)
    script = [calls(("population", '{"town": "Corrie"}')), text("Answer: 45210")]
    with ChatServer(lambda asked: script[min(asked.turn, 1)]) as server:
        words = [
            "eval",
            "--quiet",
            "--model",
            "m",
            "--tasks",
            path,
            "--out",
            tmp_path / "run",
            "--ray",
            cluster.address,
        ]
        keys = ["--ray-keys", "OPENAI_API_KEY", "OPENAI_BASE_URL"] if named else ["--base-url", server.url]
        words += ["--ray", cluster.address]
        done = harness(*words, *keys, OPENAI_API_KEY=DECOY, OPENAI_BASE_URL=server.url)
        sent = {asked.headers.get("authorization") for asked in server.requests}
    assert done.returncode == 0, done.stderr
    assert len(counted(tmp_path / "run")) == 8
    assert sent == ({f"Bearer {DECOY}"} if named else {"Bearer no-key"})
    files = [path for path in cluster.logs.rglob("*") if path.is_file()]
    assert any(path.name == "runtime_env_agent.log" for path in files)
    assert not [path for path in files if DECOY.encode() in path.read_bytes()]


def test_a_local_ray_inherits_a_key_and_keeps_it_out_of_its_logs(tmp_path: Path) -> None:
    path = write_records(tmp_path / "towns.jsonl", [record(id=f"towns-{n}", world=f"shire-{n}") for n in range(4)])
    with short_folder() as folder:
        with ChatServer(lambda asked: text("Answer: 45210")) as server:
            words = ["eval", "--quiet", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--ray"]
            env = {"OPENAI_API_KEY": DECOY, "OPENAI_BASE_URL": server.url, "RAY_TMPDIR": str(folder)}
            done = harness(*words, **env)
            sent = {asked.headers.get("authorization") for asked in server.requests}
        assert (done.returncode, sent) == (0, {f"Bearer {DECOY}"}), done.stderr
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert files
        assert not [one for one in files if DECOY.encode() in one]


def test_a_build_has_the_same_bytes(cluster: Any, tmp_path: Path) -> None:
    words = ["build", "--quiet", "--n", "24", "--seed", "11"]
    alone = harness(*words, "--out", tmp_path / "alone.jsonl")
    there = harness(*words, "--out", tmp_path / "there.jsonl", "--ray", cluster.address)
    assert (alone.returncode, there.returncode) == (0, 0), there.stderr
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    words = ["validate", "--quiet", "--json", tmp_path / "alone.jsonl"]
    said = [harness(*words), harness(*words, "--ray", cluster.address)]
    assert said[0].stdout == said[1].stdout and json.loads(said[0].stdout)


def test_the_benchmark_measures_one_process_beside_a_crew() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scaling.py"), "--smoke"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| a crew of 2" in done.stdout
