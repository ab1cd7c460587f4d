"""tau-bench end to end over HTTP: a scripted agent and a scripted customer, and what can be wrong with either."""

import json

import pytest
from commands import episodes, harness, one_sentence, summary
from fakes.chat_server import ChatServer, call, calls, error, text
from small_shop import CANCEL, NOTHING, WIKI, write_shop

from harness.batching import BatchModel
from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player
from harness.models import ModelOptions
from harness.models.policies import load as load_policy
from harness.sandbox import Sandbox
from harness.types import Message, Reply, SimulatedUser
from tasks.taubench import tasks

STOP = text("###STOP###")
WANTS = text("Please cancel order A1.")
CANCELS = calls(call("cancel_order", {"order_id": "A1"}))
TELLS = text("Done: you get $1,054.50 back.")


def two(agent, customer):
    """A script for both: each goes through its steps, the last of which is repeated."""

    def answer(asked):
        steps = customer if asked.body["model"] == "customer" else agent
        return steps[min(asked.turn, len(steps) - 1)]

    return answer


def play(tmp_path, agent, customer, *words, rows=(CANCEL,), user=("--user-model", "customer"), out="run"):
    data = tmp_path / "data"
    if not data.exists():
        write_shop(data, *rows)
    with ChatServer(two(agent, customer)) as server:
        done = harness(
            "eval", "--model", "agent", "--tasks", "taubench_retail", "--data", f"taubench={data}", "--base-url",
            server.url, "--model-arg", "max_retries=1", "max_retry_wait=0.01", *user, "--out", tmp_path / out, *words,
        )  # fmt: skip
    return done, episodes(tmp_path / out), server


def asked_of(server, model):
    return [asked for asked in server.requests if asked.body["model"] == model]


def scores(episode):
    return {name: episode["scores"][name] for name in ("success", "official_success", "paper_success", "user_fault")}


def test_a_whole_conversation(tmp_path):
    done, [episode], _ = play(tmp_path, [CANCELS, TELLS], [WANTS, STOP])
    assert done.returncode == 0, done.stderr
    assert (episode["outcome"], episode["stop"]) == ("ok", "user_stop")
    assert scores(episode) == {"success": 1.0, "official_success": 1.0, "paper_success": 0.0, "user_fault": 0.0}
    roles = [message["role"] for message in episode["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert [call["status"] for call in episode["calls"]] == ["ok"]
    assert episode["facts"]["state"] == episode["facts"]["gold_state"]
    assert (episode["usage"]["requests"], episode["user_usage"]["requests"]) == (2, 2)
    assert summary(tmp_path / "run")["user"]["usage"]["output_tokens"] == 14
    assert "the simulated user openai/customer: 22 tokens in, 14 out" in done.stdout


def test_each_side_sees_its_own_conversation(tmp_path):
    _, _, server = play(tmp_path, [CANCELS, TELLS], [WANTS, STOP], "--user-temperature", "0.7", "--user-seed", "5")
    agent, customer = asked_of(server, "agent"), asked_of(server, "customer")
    assert [message["role"] for message in agent[0].messages] == ["system", "user"]
    assert agent[0].messages[0]["content"] == WIKI
    assert "A1 and ask" not in json.dumps([asked.body for asked in agent])
    assert agent[0].body["temperature"] == 0 and "seed" not in agent[0].body
    assert customer[0].body["temperature"] == 0.7 and customer[0].body["seed"] == customer[1].body["seed"]
    assert not customer[0].body.get("tools")
    assert CANCEL["instruction"] in customer[0].messages[0]["content"]
    assert [(m["role"], m["content"]) for m in customer[1].messages[1:]] == [
        ("user", "Hi! How can I help you today?"),
        ("assistant", "Please cancel order A1."),
        ("user", "Done: you get $1,054.50 back."),
    ]


def test_a_customer_that_never_stops_ends_at_the_turn_limit_and_is_counted(tmp_path):
    done, [episode], _ = play(tmp_path, [CANCELS, TELLS], [WANTS, text("And what else can you tell me?")])
    assert done.returncode == 0
    assert (episode["outcome"], episode["scores"]["turns"]) == ("turn_limit", 30.0)
    assert scores(episode) == {"success": 0.0, "official_success": 0.0, "paper_success": 0.0, "user_fault": 1.0}


def test_an_agent_that_never_stops_calling_is_no_fault_of_the_customer(tmp_path):
    looks = calls(call("get_order", {"order_id": "A1"}))
    _, [episode], _ = play(tmp_path, [looks], [WANTS, STOP], "--max-turns", "7")
    assert (episode["outcome"], episode["scores"]["turns"], episode["scores"]["user_fault"]) == ("turn_limit", 7.0, 0.0)


def test_a_customer_that_breaks_its_role_is_noted_and_the_score_stands(tmp_path):
    customer = [WANTS, text("Is there anything else I can help you with?"), STOP]
    done, [episode], _ = play(tmp_path, [CANCELS, TELLS], customer)
    assert scores(episode) == {"success": 1.0, "official_success": 1.0, "paper_success": 0.0, "user_fault": 1.0}
    assert episode["notes"] == ["turn 1: the simulated user spoke as the agent ('anything else I can help')"]
    assert "1 episodes with a remark on a turn" in done.stdout
    assert summary(tmp_path / "run")["tasks"]["taubench_retail"]["metrics"]["user_fault"]["value"] == 1.0


def test_an_agent_that_transfers_ends_the_episode(tmp_path):
    hands_on = calls(call("transfer_to_human_agents", {"summary": "delivered"}))
    _, [episode], server = play(tmp_path, [hands_on], [WANTS, STOP], rows=(NOTHING,))
    assert (episode["outcome"], episode["stop"]) == ("ok", "transferred")
    assert scores(episode)["official_success"] == 1.0
    assert len(asked_of(server, "customer")) == 1


def test_a_customer_whose_model_fails_is_infrastructure(tmp_path):
    failing = [WANTS, error(500, "out of order")]
    done, [episode], _ = play(tmp_path, [CANCELS, TELLS], failing)
    assert done.returncode == 1
    assert (episode["outcome"], episode["stop"]) == ("infrastructure_error", "user_http_500")
    assert episode["error"].startswith("the simulated user: ")
    assert scores(episode) == {"success": 0.0, "official_success": 0.0, "paper_success": 0.0, "user_fault": 1.0}


@pytest.mark.parametrize("empty", ["", "<think>what would a customer say?</think>"])
def test_a_customer_that_says_nothing_is_infrastructure(tmp_path, empty):
    _, [episode], _ = play(tmp_path, [CANCELS, TELLS], [text(empty)])
    assert (episode["outcome"], episode["stop"]) == ("infrastructure_error", "user_silent")
    assert [message["role"] for message in episode["messages"]] == ["system"]


def test_only_the_first_call_of_a_turn_runs_and_all_are_answered(tmp_path):
    both = calls(call("cancel_order", {"order_id": "A1"}), call("cancel_order", {"order_id": "A2"}))
    _, [episode], server = play(tmp_path, [both, TELLS], [WANTS, STOP])
    assert [call["status"] for call in episode["calls"]] == ["ok", "raised"]
    assert "one call at a time" in episode["calls"][1]["output"]
    assert [m["tool_call_id"] for m in asked_of(server, "agent")[1].messages if m["role"] == "tool"] == [
        "call_0",
        "call_1",
    ]
    assert scores(episode)["success"] == 1.0


def test_states_of_episodes_are_apart_and_epochs_give_pass_hat(tmp_path):
    done, found, _ = play(tmp_path, [CANCELS, TELLS], [WANTS, STOP], "--epochs", "2", "--user-seed", "1")
    assert [episode["scores"]["success"] for episode in found] == [1.0, 1.0]
    assert summary(tmp_path / "run")["tasks"]["taubench_retail"]["metrics"]["pass^2"]["value"] == 1.0
    assert "pass^2" in done.stdout


def test_the_user_is_part_of_the_run(tmp_path):
    play(tmp_path, [CANCELS, TELLS], [WANTS, STOP])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["identity"]["users"]["taubench_retail"]["model"] == "openai/customer"
    assert manifest["identity"]["turns"] == {"taubench_retail": 30}
    other = harness(
        "eval", "--model", "agent", "--tasks", "taubench_retail", "--data", f"taubench={tmp_path / 'data'}",
        "--user-model", "another", "--base-url", "http://127.0.0.1:9/v1", "--resume", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "another run" in one_sentence(other)


def test_rescoring_needs_no_tools(tmp_path):
    play(tmp_path, [CANCELS, TELLS], [WANTS, STOP])
    done = harness("rescore", tmp_path / "run")
    assert "0 changed" in done.stdout, done.stderr


def test_a_model_needs_somebody_to_talk_to(tmp_path):
    data = write_shop(tmp_path / "data")
    words = ("--tasks", "taubench_retail", "--data", f"taubench={data}", "--base-url", "http://127.0.0.1:9/v1")
    assert "--user-model" in one_sentence(harness("eval", "--model", "agent", *words))
    alone = harness("eval", "--model", "policy/silent", *words, "--user-seed", "3")
    assert "need --user-model" in one_sentence(alone)
    nobody = harness("eval", "--model", "policy/silent", "--tasks", "demo_multi_hop", "--user-model", "x")
    assert "simulates a user" in one_sentence(nobody)


def test_reference_policies_meet_a_scripted_customer(tmp_path):
    data = write_shop(tmp_path / "data")
    done = harness(
        "eval", "--model", "policy/oracle", "policy/silent", "--tasks", "taubench_retail", "--data",
        f"taubench={data}", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = {
        name: summary(tmp_path / "run" / f"policy-{name}")["tasks"]["taubench_retail"]["metrics"]
        for name in ("oracle", "silent")
    }
    assert metrics["oracle"]["success"]["value"] == 1.0
    assert metrics["silent"]["official_success"]["value"] == 0.5
    assert "success" in done.stdout.splitlines()[0] and "F1" not in done.stdout


def test_missing_data_is_one_sentence_alone_and_a_skip_among_others(tmp_path):
    data = write_shop(tmp_path / "data")
    alone = harness("eval", "--model", "policy/silent", "--tasks", "taubench_airline", "--data", f"taubench={data}")
    said = one_sentence(alone)
    assert "sierra-research/tau-bench" in said and str(data / "airline") in said
    unnamed = one_sentence(harness("eval", "--model", "policy/silent", "--tasks", "taubench_*"))
    assert "sierra-research/tau-bench" in unnamed and "--data taubench=FOLDER" in unnamed
    among = harness(
        "eval", "--model", "policy/silent", "--tasks", "taubench_*", "--data", f"taubench={data}", "--out",
        tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert among.returncode == 0
    assert among.stderr.startswith("Skipped taubench_airline: ") and among.stderr.count("\n") == 1
    assert list(summary(tmp_path / "run")["tasks"]) == ["taubench_retail"]


class Batched(BatchModel):
    """A customer as a local network is: it answers what waits together."""

    name, fingerprint, width = "batched", {"backend": "test"}, 4

    def batch(self, requests):
        return [Reply(Message("assistant", "###STOP###" if request.turn else "Cancel A1.")) for request in requests]

    def __call__(self, request):
        raise AssertionError("it is asked in batches")


def test_a_customer_that_answers_in_batches(tmp_path):
    task = tasks({"taubench": write_shop(tmp_path / "data")})[1]
    plan = Plan([task], {task.name: list(task.load())}, {}, epochs=4)
    with Sandbox() as sandbox:
        player = Player(load_policy("oracle", ModelOptions()), sandbox, user=SimulatedUser(Batched()))
        found = evaluate(plan, player, tmp_path / "run")
    assert found["tasks"][task.name]["metrics"]["success"]["value"] == 1.0
    assert found["user"]["model"] == ["batched"]


def test_a_dry_run_says_what_it_leaves_out(tmp_path):
    data = write_shop(tmp_path / "data", CANCEL)
    done = harness(
        "eval", "--model", "policy/oracle", "--tasks", "taubench_retail", "--data", f"taubench={data}", "--dry-run"
    )
    assert "about 2 requests (at most 30)" in done.stdout
    assert "simulated user" in done.stdout


def test_any_model_meets_the_scripted_customer_by_name(tmp_path):
    scripted = ("--user-model", "policy/scripted")
    done, [episode], server = play(tmp_path, [CANCELS, TELLS], [], user=scripted)
    assert done.returncode == 0, done.stderr
    assert scores(episode) == {"success": 1.0, "official_success": 1.0, "paper_success": 0.0, "user_fault": 0.0}
    assert len(server.requests) == 2
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["identity"]["users"]["taubench_retail"]["model"] == "scripted"
    words = ("--model", "policy/silent", "--tasks", "taubench_retail", "--data", f"taubench={tmp_path / 'data'}")
    assert "none of the other" in one_sentence(harness("eval", *words, *scripted, "--user-seed", "3"))
    assert "that can talk" in one_sentence(harness("eval", *words, "--user-model", "policy/silent"))
