"""`harness build --generator openai/NAME` against a server that plays an author, from the command line to the file."""

import json

from commands import harness, one_sentence
from fakes.chat_server import ChatServer, text
from fakes.scripted_author import FIRMS, author

SCENARIOS = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")


def build(server, out, topics, *words, **env):
    return harness(
        "build", "--generator", "m", "--base-url", server.url, "--n", 4, "--level", "easy", "--topics", topics,
        "--out", out, "--split", "train", *words, **env,
    )  # fmt: skip


def topics(tmp_path):
    path = tmp_path / "topics.txt"
    path.write_text("\n".join(FIRMS) + "\n")
    return path


def test_a_built_file_is_validated_and_a_task(tmp_path):
    with ChatServer(author()) as server:
        done = build(server, tmp_path / "made.jsonl", topics(tmp_path), "--keep-stages", tmp_path / "stages")
    assert done.returncode in (0, 1), done.stderr
    rows = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    assert rows
    assert f"{len(rows)} environments in" in done.stdout
    assert "output tokens" in done.stdout
    assert (tmp_path / "stages" / "5-deployment.jsonl").exists()
    account = json.loads((tmp_path / "made.report.json").read_text())
    assert account["stages"]["scenario"]["passed"] + sum(account["stages"]["scenario"]["dropped"].values()) == 4
    assert sum(stage["requests"] for stage in account["stages"].values()) == len(server.requests)
    assert sum(account["refused"].values()) == 4 - len(rows)
    oracle = harness("eval", "--model", "policy/oracle", "--tasks", tmp_path / "made.jsonl", "--out", tmp_path / "run")
    assert oracle.returncode == 0, oracle.stderr
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]["made"]["metrics"]
    assert found["solve_f1"]["value"] == found["paper_solve_f1"]["value"] == 1.0


def test_nothing_but_nonsense_is_one_clear_end(tmp_path):
    with ChatServer(lambda asked: text("I would rather not.")) as server:
        done = build(server, tmp_path / "made.jsonl", topics(tmp_path))
    assert done.returncode == 2
    assert "No environment passed" in done.stderr and "not_json" in done.stderr
    assert "environment 0, scenario: it holds no JSON object" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "made.jsonl").exists()


def test_bad_input(tmp_path):
    (tmp_path / "there.jsonl").touch()
    for words, said in [
        (("--out", tmp_path / "a.csv"), ".jsonl"),
        (("--out", tmp_path / "there.jsonl"), "already"),
        (("--out", tmp_path / "no" / "a.jsonl"), "no folder"),
        (("--out", tmp_path / "a.jsonl", "--scale", "types=9"), "0 to 3"),
        (("--out", tmp_path / "a.jsonl", "--seed", "20250811"), "reserved"),
        (("--out", tmp_path / "a.jsonl", "--generator", "gpt-x"), "OPENAI_API_KEY"),
        (("--out", tmp_path / "a.jsonl", "--generator", "policy/*"), "one model"),
        (("--out", tmp_path / "a.jsonl", "--generator", "policy/silent", "--questions", "nowhere"), "nowhere"),
        (("--out", tmp_path / "a.jsonl", "--n", "0"), "at least 1"),
    ]:
        assert said in one_sentence(harness("build", "--n", 2, *words))
