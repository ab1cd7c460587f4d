"""A run whose endpoint accepts nothing: it ends early, without a score, and goes on once that is mended."""

import asyncio
import csv
import io
import json

import pytest
from builders import record, write_records
from commands import episodes, harness
from fakes.chat_server import ChatServer, call, calls, delayed, error, rate_limited, text, wrong_key

from harness.errors import ModelFailure, NothingAccepted
from harness.evaluation.first_reply import EQUAL_REFUSALS, FirstReply
from harness.types import Message, Model, ModelRequest, Reply, Sampling

TOWNS = ("Corrie", "Brill", "Dull", "Ware", "Looe", "Wem", "Eye", "Rye", "Ham", "Ash", "Bow", "Diss")
QUICK = ("max_retry_wait=0.01", "timeout=5", "max_retries=1")
GOOD = [calls(call("population", {"town": "Corrie"})), text("They counted.\nAnswer: 45,210")]


def play(tmp_path, script, *words, url=None):
    """A run of twelve samples, at sixteen at once: the finished process and the server."""
    rows = [record(id=town, messages=[{"role": "user", "content": f"How many live in {town}?"}]) for town in TOWNS]
    path = write_records(tmp_path / "towns.jsonl", rows)
    with ChatServer(script) as server:
        done = harness(
            "eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", url or server.url,
            "--model-arg", *QUICK, "--quiet", *words,
        )  # fmt: skip
    return done, server


def check_unscored(done, tmp_path, *said):
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for part in (*said, "no request was accepted", "--resume"):
        assert part in done.stderr
    assert episodes(tmp_path / "run") == []
    assert not (tmp_path / "run" / "summary.json").exists()
    shown = harness("table", tmp_path / "run")
    assert shown.returncode == 2
    assert "*" not in shown.stdout


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (wrong_key, "HTTP 401"),
        (lambda asked: error(403, "not for you"), "HTTP 403: not for you"),
        (lambda asked: error(404, "no such model: m"), "HTTP 404: no such model: m"),
        (lambda asked: error(400, f"tools are not supported (request {id(asked)})"), "tools are not supported"),
    ],
)
def test_equal_refusals_end_a_run_within_ten_requests(tmp_path, script, said):
    done, server = play(tmp_path, script)
    check_unscored(done, tmp_path, said)
    assert len(server.requests) < 10
    done, server = play(tmp_path, GOOD, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(episodes(tmp_path / "run")) == len(TOWNS)


def test_an_endpoint_that_is_not_there_ends_a_run(tmp_path):
    done, _ = play(tmp_path, [], url="http://127.0.0.1:9/v1")
    check_unscored(done, tmp_path, "openai/m: ConnectError", "(after 2 requests)")


def test_waiting_for_a_first_reply_ends(tmp_path):
    done, _ = play(tmp_path, lambda asked: delayed(rate_limited(), 0.4), "--max-wait", "4")
    check_unscored(done, tmp_path, "HTTP 429", "within 4 seconds (--max-wait)")


def test_a_server_that_is_down_for_every_sample_gives_no_score(tmp_path):
    done, _ = play(tmp_path, lambda asked: error(503, "busy"))
    check_unscored(done, tmp_path, "HTTP 503: busy")


def test_fewer_samples_than_refusals_are_no_score_either(tmp_path):
    done, server = play(tmp_path, wrong_key, "--limit", "2")
    check_unscored(done, tmp_path, "HTTP 401")
    assert len(server.requests) == 2


def test_one_refused_episode_before_the_first_reply_counts(tmp_path):
    """Not every 400 is the endpoint's word on the whole run."""
    script = {TOWNS[0]: [error(400, "this town is not allowed")], "": GOOD}
    done, _ = play(tmp_path, script)
    assert done.returncode == 0, done.stderr
    outcomes = [(episode["sample"], episode["outcome"]) for episode in episodes(tmp_path / "run")]
    assert ("Corrie", "model_error") in outcomes
    assert len(outcomes) == len(TOWNS)


def test_failures_are_in_no_precision_and_never_best(tmp_path):
    """A run that failed after its first episode: null, marked in every layout and format."""
    play(tmp_path, {TOWNS[0]: GOOD, "": [error(400, "no")] * 3})
    failed = [episode for episode in episodes(tmp_path / "run") if episode["outcome"] == "model_error"]
    assert len(failed) == len(TOWNS) - 1
    for episode in failed:
        assert episode["scores"]["solve_precision"] is None
        assert episode["scores"]["paper_solve_precision"] is None
        assert episode["scores"]["solve_f1"] == 0.0
    shown = harness("table", tmp_path / "run", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(shown.stdout))
    assert row["failed"] == str(len(TOWNS) - 1)
    compared = harness("compare", tmp_path / "run", tmp_path / "run", "--brief", "--format", "csv")
    assert compared.returncode == 0
    assert compared.stderr.count(f"WARNING: openai/m, {tmp_path / 'run'} [11 of 12 failed]") == 2


# --- the gate itself ---------------------------------------------------------------------------------------------


class Scripted(Model):
    """Fails by what it is given, then replies."""

    remote = True
    name = "m"

    def __init__(self, *failures):
        self.fingerprint = {"backend": "test"}
        self.failures = list(failures)
        self.live = self.most = self.asked = 0

    async def __call__(self, request):
        self.asked += 1
        self.live += 1
        self.most = max(self.most, self.live)
        await asyncio.sleep(0)
        self.live -= 1
        if self.failures:
            raise self.failures.pop(0)
        return Reply(Message("assistant", "yes"))


def refusal(said, stop="http_400", outcome="model_error"):
    return ModelFailure(said, outcome=outcome, stop=stop)


def ask(model, times, sample):
    """What so many episodes at once are told."""
    request = ModelRequest((), (), Sampling(), sample)

    async def gather():
        return await asyncio.gather(*(model(request) for _ in range(times)), return_exceptions=True)

    return asyncio.run(gather())


def test_until_a_first_reply_requests_come_one_by_one():
    theirs = Scripted(refusal("a 1"), refusal("b 2"))
    told = ask(FirstReply(theirs, 9, accepted=False), 8, None)
    assert [isinstance(said, Reply) for said in told] == [False, False] + [True] * 6
    assert theirs.most > 1  # the rest, all at once
    once = Scripted(*(refusal(f"{number}: {word}") for number, word in enumerate("abcd")))
    ask(FirstReply(once, 9, accepted=False), 4, None)
    assert once.most == 1


@pytest.mark.parametrize("trouble", [None, "HTTP 503: loading"])
def test_a_slow_first_reply_is_not_waited_for_but_one_that_met_a_failure(trouble):
    class Slow(Scripted):
        begun = 0

        async def __call__(self, request):
            self.begun, self.trouble = self.begun + 1, trouble
            await asyncio.sleep(0.3)
            return await super().__call__(request)

    theirs = Slow()
    began = []

    async def play():
        first = FirstReply(theirs, 9, accepted=False, patience=0.02)
        request = ModelRequest((), (), Sampling(), None)
        asked = [asyncio.ensure_future(first(request)) for _ in range(6)]
        await asyncio.sleep(0.15)
        began.append(theirs.begun)
        return await asyncio.gather(*asked)

    assert all(isinstance(said, Reply) for said in asyncio.run(play()))
    assert began == [1 if trouble else 6]


def test_once_a_request_was_accepted_no_others_end_with_the_wait():
    """Let go together, one replies at once and one only when the time for a first reply is over."""

    class Uneven(Scripted):
        async def __call__(self, request):
            self.asked += 1
            await asyncio.sleep(0.6 if self.asked == 1 else 0.1)
            return Reply(Message("assistant", "yes"))

    first = FirstReply(Uneven(), 0.3, accepted=False, patience=0.01)
    assert [type(said) for said in ask(first, 4, None)] == [Reply] * 4
    told = FirstReply(Uneven(), 0.3, accepted=False)

    async def hear_from_others():
        asked = asyncio.ensure_future(told(ModelRequest((), (), Sampling(), None)))
        await asyncio.sleep(0.1)
        told.accept()
        return await asked

    assert isinstance(asyncio.run(hear_from_others()), Reply)


def test_equal_means_the_same_words_whatever_the_numbers():
    theirs = Scripted(*(refusal(f"no tools (request 0x{number:x})") for number in range(20)))
    told = ask(FirstReply(theirs, 9, accepted=False), EQUAL_REFUSALS, None)
    assert isinstance(told[-1], NothingAccepted)
    assert theirs.asked == EQUAL_REFUSALS


@pytest.mark.parametrize(
    "failures",
    [
        [refusal("too long", "context_length", "token_limit")] * 20,
        [refusal(word) for word in "abcdefghij"],
        [refusal("busy", "http_503", "infrastructure_error")] * 20,
    ],
)
def test_what_may_be_an_episodes_own_or_pass_ends_nothing_at_once(failures):
    told = ask(FirstReply(Scripted(*failures), 9, accepted=False), 8, None)
    assert all(isinstance(said, ModelFailure) for said in told)


def test_an_accepted_run_and_a_local_model_are_let_through():
    same = [refusal("no") for _ in range(20)]
    assert all(isinstance(said, ModelFailure) for said in ask(FirstReply(Scripted(*same), 9, accepted=True), 8, None))
    local = Scripted(*same)
    local.remote = False
    assert all(isinstance(said, ModelFailure) for said in ask(FirstReply(local, 9, accepted=False), 8, None))
    assert json.dumps(local.fingerprint) == json.dumps(FirstReply(local, 9, accepted=False).fingerprint)


def test_an_episode_whose_time_is_over_before_any_reply_was_not_accepted():
    """Neither the one that asked nor the one that waited for it: no score, however short episodes are."""

    class Silent(Scripted):
        async def __call__(self, request):
            await asyncio.Event().wait()

    first = FirstReply(Silent(), 9, accepted=False)
    request = ModelRequest((), (), Sampling(), None)

    async def wait():
        asked = [asyncio.wait_for(first(request), 0.05) for _ in range(2)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(said) for said in asyncio.run(wait())] == [TimeoutError, TimeoutError]
    assert first.undecided
    with pytest.raises(NothingAccepted, match="m: no reply; no request was accepted"):
        first.check_accepted()
