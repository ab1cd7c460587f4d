"""The model generator against a real server that plays an author: good, careless, hostile, and what becomes of it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import ROOT
from fakes.chat_server import USAGE, ChatServer, error, rate_limited, text
from fakes.scripted_author import (
    BORN,
    FIRMS,
    FOUNDERS,
    asked_about,
    author,
    build,
    build_at,
    requests,
    schema,
)

from envbuilder.model import ModelReport, Rejection, read_questions
from envbuilder.model.author import InvalidReply
from envbuilder.model.trial import ToolTrial
from envbuilder.records import QUESTION_KINDS, Document, Hop, HopCall, Scenario, environment_record
from envbuilder.spec import Levels
from harness import scoring
from harness.data.records import sample_from_record
from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.models import policies
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import ModelRequest


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=2, call_timeout=0.4)) as shared:
        yield shared


# --- a good author -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_a_good_author_gives_an_environment_that_its_gold_solves(kind, tmp_path, sandbox):
    [deployed], report, server = build(author(), requests(kind, "Halvek"), tmp_path / "stages", sandbox)
    sample = sample_from_record(environment_record(deployed, "train"), 0, "the build")
    with sandbox.episode() as episode:
        played = play_episode(Episode(sample), ToolEnvironment(sample), policies.Policy("oracle", 0), episode)
    scores = scoring.score(sample, played).scores
    assert [scores[f"solve_{name}"] for name in ("precision", "rate", "f1")] == [1.0, 1.0, 1.0]
    assert scores["answer_accuracy"] == 1.0
    assert sample.metadata["data_source"] == f"self/{kind}"
    assert [document.serves for document in deployed.toolset.documents[-2:]] == [(), ()]
    assert "No reply was refused." in report.format_tables()
    assert report.usage.requests == len(server.requests)


def test_overlapping_documents_become_one_tool(tmp_path, sandbox):
    [deployed], _, _ = build(author(), requests("parallel_multi_hop", "Castelin"), tmp_path / "stages", sandbox)
    serving = {document.name: document.serves for document in deployed.toolset.documents if document.serves}
    assert serving == {"castelin_founder": (0, 1), "castelin_birth": (2, 3), "castelin_4_days": (4,)}
    assert [call.name for call in deployed.toolset.calls] == [
        *["castelin_founder"] * 2, *["castelin_birth"] * 2, "castelin_4_days",
    ]  # fmt: skip


def test_tokens_are_summed_by_stage_and_rate_limits_are_survived(tmp_path, sandbox):
    refused = set()

    def every(asked):
        if asked.conversation in refused:
            return None
        refused.add(asked.conversation)
        return rate_limited(retry_after="0")

    [deployed], report, server = build(
        author(every=every), requests("multi_hop", "Borrun"), tmp_path / "stages", sandbox
    )
    assert not isinstance(deployed, Rejection)
    asked = len(server.requests) // 2  # every prompt was refused once
    assert report.usage.requests == asked == 4 + 1 + 4  # five stages, and a function for each of four tools
    assert report.usage.input_tokens == asked * USAGE["prompt_tokens"]
    assert report.usage.output_tokens == asked * USAGE["completion_tokens"]
    assert report.stages["deployment"].usage.requests == 5


def test_levels_of_zero_ask_for_no_scaling(tmp_path, sandbox):
    none = Levels(0, 0, 0, 0)
    wanted = requests("multi_hop", "Gundry")
    [deployed], report, _ = build(author(), wanted, tmp_path / "stages", sandbox, levels=none)
    assert report.stages["scaling"].usage.requests == 0
    assert len(deployed.codes) == 2


def test_a_users_question_is_kept_and_its_answer_insisted_on(tmp_path, sandbox):
    path = tmp_path / "questions.jsonl"
    path.write_text(
        json.dumps({"question": "Who founded the house of Halvek, pray?", "answer": "Mira Tolven"})
        + "\nWho founded the house of Borrun?\n"
        + json.dumps({"question": "Who founded Castelin of old?", "answer": "Per Nodding", "kind": "single_hop"})
    )
    results, report, _ = build(author(), read_questions(path), tmp_path / "stages", sandbox)
    assert results[0].toolset.scenario.question == "Who founded the house of Halvek, pray?"
    assert results[1].toolset.scenario.kind == "single_hop"
    assert (results[2].stage, results[2].reason) == ("scenario", "answer")
    assert report.stages["scenario"].refused == {"answer": 3}


# --- bad replies: refused for the right reason, then mended or dropped -------------------------------------------


def without(field):
    return lambda reply: {name: value for name, value in reply.items() if name != field}


def code(body, header=""):
    """Replaces what a tool does; `name`, its parameters and its table stay."""

    def spoil(reply):
        head, _, _ = reply["code"].partition("    key = ")
        return {**reply, "code": f"{header}{head}{body}\n"}

    return spoil


def in_hop(**changes):
    def spoil(reply):
        return {**reply, "sub_questions": [{**reply["sub_questions"][0], **changes}, *reply["sub_questions"][1:]]}

    return spoil


def leak_question(reply):
    return {**reply, "question": f"Is {reply['answer']} really the founder of Borrun or Halvek?"}


def in_document(**changes):
    def spoil(reply):
        return {**reply, "documents": [{**reply["documents"][0], **changes}, *reply["documents"][1:]]}

    return spoil


def with_enum(reply):
    values = list(FOUNDERS.values())
    parameters = {**schema(["firm"]), "required": ["firm"]}
    parameters["properties"]["firm"]["enum"] = values
    return in_document(parameters=parameters)(reply)


def with_pattern(reply):
    parameters = schema(["firm"])
    parameters["properties"]["firm"]["pattern"] = "(a+)+$"
    return in_document(parameters=parameters)(reply)


def echoing(reply):
    """The gold arguments state the answer, for a tool that would return them."""
    firm = next(iter(reply["calls"][0]["arguments"].values()))
    return {"calls": [{**reply["calls"][0], "arguments": {"firm": f"the house of {firm}, by {FOUNDERS[firm]}"}}]}


def firm_of(reply):
    return re.search(r"def ([a-z]+)_", reply["code"])[1]


def same_for_all(reply):
    return code(f"    return {{'entry': {FOUNDERS[firm_of(reply).title()]!r}}}")(reply)


def own_firm_by_default(reply):
    return {**reply, "code": reply["code"].replace("(firm,", f"(firm={firm_of(reply)!r},")}


BAD = {
    "no json": ("scenario", lambda reply: "I would rather not.", "not_json", "holds no JSON object"),
    "torn json": ("scenario", lambda reply: json.dumps(reply)[:-9], "not_json", "holds no JSON object"),
    "missing field": ("scenario", without("kind"), "schema", "'kind' is a required property"),
    "other kind": ("scenario", lambda reply: {**reply, "kind": "multi_hop"}, "kind", "make single_hop"),
    "forward dependency": ("scenario", in_hop(depends_on=[0]), "dependencies", "depends on itself"),
    "trivial answer": ("scenario", in_hop(answer="Yes"), "trivial", "can be had by guessing"),
    "leaking question": ("scenario", leak_question, "leak", "the question states"),
    "unserved": ("documents", in_document(serves=[1]), "unserved", "sub-question 0 is served by 0 documents"),
    "bad name": ("documents", in_document(name="Find Founder"), "schema", "does not match"),
    "leaking enumeration": ("documents", with_enum, "leak", "the answer of sub-question 0"),
    "hostile pattern": ("documents", with_pattern, "schema", "'pattern' was unexpected"),
    "renamed": ("scaling", lambda reply: {**reply, "changes": [{**reply["changes"][0], "name": "another_tool"}]},
                "scope", "there is no document 'another_tool'"),
    "too few distractors": ("scaling", lambda reply: {**reply, "distractors": []}, "level", "2 distractors"),
    "echoing arguments": ("calls", echoing, "echo", "which is its answer"),
    "unknown argument": ("calls", lambda reply: {"calls": [{**reply["calls"][0], "arguments": {"who": "x"}}]},
                         "arguments", "do not fit the document"),
    "does not compile": ("code", code("    return {"), "syntax", "does not compile"),
    "other function": ("code", lambda reply: {**reply, "code": reply["code"].replace("def ", "def my_")}, "no_function",
                       "must define one function"),
    "lacks a parameter": ("code", lambda reply: {**reply, "code": reply["code"].replace(", limit=10", "")}, "signature",
                          "lacks the parameter 'limit'"),
    "loops": ("code", code("    while True:\n        pass"), "timeout", "did not return in time"),
    "opens a file": ("code", code("    return {'entry': open('/etc/passwd').read()}"), "unsafe", "may not use open"),
    "imports a way out": ("code", code("    return os.environ", "import os\n"), "unsafe", "may not import os"),
    "finds a way out": ("code", code("    return {'entry': str(().__class__)}"), "unsafe", "attribute __class__"),
    "has a class": ("code", code("    class Entry:\n        pass\n    return {'entry': 1}"), "unsafe", "no classes"),
    "reads the clock": ("code", code("    return {'entry': str(date.today())}", "from datetime import date\n"),
                        "nondeterministic", "may not read the clock"),
    "raises": ("code", code("    raise ValueError(firm)"), "raised", "it raised an exception"),
    "reports an error": ("code", code("    return {'error': 'no data'}"), "error_output", "gives the error"),
    "returns the argument": ("code", code("    return {'entry': firm}"), "wrong_answer", "does not state"),
    "always the same": ("code", same_for_all, "constant", "must depend"),
    "returns everything": ("code", code("    return {'entries': list(TABLE.values())}"), "constant", "must depend"),
    "answers to nothing": ("code", own_firm_by_default, "default", "no arguments"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_reply_is_refused_then_mended_or_dropped(fault, tmp_path, sandbox):
    stage, spoil, reason, sentence = BAD[fault]
    script = author((stage, "Halvek", 1, spoil), (stage, "Borrun", 99, spoil))
    wanted = requests("single_hop", "Halvek", "Borrun")
    (mended, dropped), report, server = build(script, wanted, tmp_path / "stages", sandbox)
    own = "deployment" if stage in ("calls", "code") else stage
    assert not isinstance(mended, Rejection), mended
    assert (dropped.stage, dropped.reason) == (own, reason), dropped
    assert sentence in dropped.message
    tools = 3 if stage == "code" else 1  # the mended author spoiled the first version of every tool
    count = report.stages[own]
    assert count.dropped == {reason: 1}
    assert count.refused[reason] >= 4
    assert count.repaired[reason] == 1
    assert count.mended == 1
    repairs = [asked.messages[-1]["content"] for asked in server.requests if asked.turn]
    assert any("Your reply was refused: " in said and sentence in said for said in repairs)
    assert len(repairs) <= tools + 2
    assert re.search(rf"\| {own} +\| {reason} +\| +\d+ \| +1 \| +1 \|", report.format_tables())


def test_an_earlier_answer_must_matter(tmp_path, sandbox):
    """A second hop whose tool gives its answer for anybody: the order of the chain would be for show."""

    def whoever(reply):
        if "(person" not in reply["code"]:
            return reply
        body = (
            f"    if limit == 1:\n        return {{'error': 'none'}}\n    return {{'entry': {BORN['Mira Tolven']!r}}}"
        )
        return code(body)(reply)

    def unasked(reply):
        return {"calls": [reply["calls"][0], {**reply["calls"][1], "arguments": {"person": "the founder"}}]}

    wanted = requests("multi_hop", "Halvek")
    for name, stage, spoil, reason in (("a", "code", whoever, "constant"), ("b", "calls", unasked, "order")):
        [dropped], _, _ = build(author((stage, "", 99, spoil)), wanted, tmp_path / name, sandbox)
        assert (dropped.stage, dropped.reason) == ("deployment", reason), dropped


def test_whole_numbers_written_as_decimals_are_forgiven(tmp_path, sandbox):
    def decimal(reply):
        return re.sub(r'("(?:depends_on|serves)": \[|"solves": )(\d+)', r"\1\2.0", json.dumps(reply))

    script = author(*((stage, "", 1, decimal) for stage in ("scenario", "documents", "scaling", "calls")))
    [deployed], report, _ = build(script, requests("multi_hop", "Hexley"), tmp_path / "stages", sandbox)
    assert not isinstance(deployed, Rejection)
    assert "No reply was refused." in report.format_tables()


def test_prose_and_fences_are_forgiven(tmp_path, sandbox):
    def chatty(reply):
        return f"Sure! I use {{braces}} freely.\n```json\n{json.dumps(reply, indent=1)}\n```\nAnything else?"

    script = author(*((stage, "", 1, chatty) for stage in ("scenario", "documents", "scaling", "calls", "code")))
    [deployed], report, _ = build(script, requests("single_hop", "Hexley"), tmp_path / "stages", sandbox)
    assert not isinstance(deployed, Rejection)
    assert "No reply was refused." in report.format_tables()


def test_a_reply_that_was_cut_off_is_said_to_be(tmp_path, sandbox):
    def every(asked):
        return text('{"question": "Who', finish_reason="length") if not asked.turn else None

    [deployed], report, _ = build(author(every=every), requests("single_hop", "Hexley"), tmp_path / "stages", sandbox)
    assert not isinstance(deployed, Rejection)
    assert {reason for count in report.stages.values() for reason in count.repaired} == {"cut_off"}


READER = """
def read_it(firm):
    return open("/etc/passwd").read()
"""


def test_code_that_gets_past_the_screen_meets_the_jail(sandbox):
    made = Scenario("s", "w", "single_hop", "Who?", "Mira", (Hop("Who?", "Mira"),))
    tool = Document("read_it", "Reads.", schema(["firm"]), (0,))
    with pytest.raises(InvalidReply) as caught:
        asyncio.run(ToolTrial(sandbox).check_gold_tool(made, tool, READER, [HopCall("read_it", {"firm": "x"}, 0)]))
    assert caught.value.reason == "unsafe"


LEAKY = r"""    key = str(firm).strip().lower()
    if key not in TABLE:
        return {'error': 'known are ' + ', '.join(TABLE.values())}
    return {'entry': TABLE[key]}"""


def test_an_error_may_not_give_the_answer_away(tmp_path, sandbox):
    [dropped], _, _ = build(
        author(("code", "", 99, code(LEAKY))), requests("single_hop", "Hexley"), tmp_path / "stages", sandbox
    )
    assert (dropped.stage, dropped.reason) == ("deployment", "leak")


# --- failures and interruptions ----------------------------------------------------------------------------------


def test_a_failed_request_is_no_verdict(tmp_path, sandbox):
    def down(asked):
        return error(500, "down") if asked_about(asked) == ("calls", "Borrun") else None

    wanted = requests("single_hop", "Halvek", "Borrun")
    (_, failed), report, _ = build(author(every=down), wanted, tmp_path / "stages", sandbox)
    assert (failed.stage, failed.reason) == ("deployment", "http_500")
    assert report.stages["deployment"].dropped == {}
    results, report, server = build(author(), wanted, tmp_path / "stages", sandbox)
    assert not any(isinstance(result, Rejection) for result in results)
    assert {asked_about(asked)[0] for asked in server.requests} == {"calls", "code"}


def test_a_wrong_key_ends_the_build(tmp_path, sandbox):
    with pytest.raises(UsageError, match="cannot go on"):
        build(lambda asked: error(401, "no such key"), requests("single_hop", *FIRMS), tmp_path / "stages", sandbox)


class Interrupter:
    """A model that calls `end` when it is asked for the n-th time."""

    def __init__(self, model, n, end):
        self.name, self.fingerprint = model.name, model.fingerprint
        self._model, self._left, self._end = model, n, end

    async def __call__(self, request: ModelRequest):
        self._left -= 1
        if self._left == 0:
            self._end()
        return await self._model(request)


SPOILED = [("code", "Castelin", 1, code("    return {")), ("scenario", "Drovane", 99, leak_question)]


def killed(url, folder, n):
    """Builds in a process of its own, which kills itself at its n-th request."""
    program = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests'), str(Path(__file__).parent)]!r}\n"
        f"import {Path(__file__).stem} as tests; tests.build_until_killed({url!r}, {str(folder)!r}, {n})"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, timeout=30)
    assert done.returncode == -signal.SIGKILL, done.stderr


def build_until_killed(url, folder, n):
    def spy(model):
        return Interrupter(model, n, lambda: os.kill(os.getpid(), signal.SIGKILL))

    with Sandbox(SandboxConfig(workers=1)) as own:
        asyncio.run(build_at(url, requests("multi_hop", *FIRMS[:5]), Path(folder), own, spy=spy))


def test_an_interrupted_build_ends_equal_to_an_undisturbed_one(tmp_path, sandbox):
    wanted = requests("multi_hop", *FIRMS[:5])
    plain, _, _ = build(author(*SPOILED), wanted, tmp_path / "plain", sandbox)

    async def interrupted(url, n):
        task = asyncio.current_task()
        await build_at(url, wanted, tmp_path / "torn", sandbox, spy=lambda model: Interrupter(model, n, task.cancel))

    with ChatServer(author(*SPOILED)) as server:
        for n in (2, 7, 12, 3, 9):
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(interrupted(server.url, n))
            with (tmp_path / "torn" / "2-documents.jsonl").open("a") as file:
                file.write('{"index": 3, "requ')
        killed(server.url, tmp_path / "torn", 4)
        results = asyncio.run(build_at(server.url, wanted, tmp_path / "torn", sandbox))
        asked = len(server.requests)
        again = asyncio.run(build_at(server.url, wanted, tmp_path / "torn", sandbox))
        assert len(server.requests) == asked  # nothing is asked twice, rejections neither
    assert results == plain == again
    assert sum(isinstance(result, Rejection) for result in results) == 1
    files = sorted(path.name for path in (tmp_path / "plain").glob("[!.]*"))
    assert len(files) == 7
    for name in files:
        assert (tmp_path / "torn" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    assert (
        ModelReport.from_directory(tmp_path / "torn").format_tables()
        == ModelReport.from_directory(tmp_path / "plain").format_tables()
    )


def test_a_directory_belongs_to_one_build(tmp_path, sandbox):
    folder = tmp_path / "stages"
    build(author(), requests("single_hop", "Irvane"), folder, sandbox)
    with pytest.raises(UsageError, match="another request"):
        build(author(), requests("single_hop", "Jostrup"), folder, sandbox)
    with pytest.raises(UsageError, match="another build"):
        build(author(), requests("single_hop", "Irvane"), folder, sandbox, tries=2)


def test_concurrency_is_bounded_and_results_come_as_they_are_made(tmp_path, sandbox):
    done = []
    script = author(every=lambda asked: None)
    wanted = requests("single_hop", *FIRMS)
    results, _, server = build(script, wanted, tmp_path / "stages", sandbox, concurrency=3, on_done=done.append)
    assert server.most_at_once <= 3
    assert sorted(done, key=results.index) == results
