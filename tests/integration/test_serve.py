"""`harness serve`: a real MCP client over stdin and stdout lists, calls and is scored."""

import asyncio
import signal
import subprocess
import sys
import time

import builders
import pytest
from commands import command, environment, episodes, harness, one_sentence, summary

mcp = pytest.importorskip("mcp", reason="needs the mcp extra")

SLOW = "def slow():\n    while True:\n        pass"
READY = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
READY += '"clientInfo":{"name":"hand","version":"1"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
CALL = '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"population","arguments":{"town":"Corrie"}}}\n'


@pytest.fixture
def towns(tmp_path):
    """A file of one environment whose tools are one that answers and one that never ends."""
    tools = [*builders.record()["tools"], builders.tool("slow", {})]
    codes = {"population": builders.COUNTER, "slow": SLOW}
    return builders.write_records(tmp_path / "towns.jsonl", [builders.record(tools=tools, codes=codes)])


def served(play, *arguments, errors, **options):
    """What `play` returns, a coroutine function of a connected client of `harness serve ARGUMENTS`."""

    async def connected():
        server = mcp.StdioServerParameters(
            command=sys.executable,
            args=["-W", "error", "-m", "harness.cli", "serve", *map(str, arguments)],
            env=environment(),
        )
        with errors.open("w") as log:
            async with mcp.Client(mcp.client.stdio.stdio_client(server, log), **options) as client:
                return await play(client)

    return asyncio.run(connected())


def text(result):
    [part] = result.content
    return part.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_lists_calls_answers_and_is_scored(towns, tmp_path, mode):
    async def play(client):
        tools = (await client.list_tools()).tools
        schema = builders.record()["tools"][0]["function"]["parameters"]
        assert [tool.name for tool in tools] == ["population", "slow", "submit_answer"]
        assert tools[0].input_schema == schema
        wrong = await client.call_tool("population", {"place": "Corrie"})
        assert wrong.is_error
        assert text(wrong).startswith("an error occured when call population: population() got an unexpected keyword")
        right = await client.call_tool("population", {"town": "Corrie"})
        assert (text(right), right.is_error) == ('{"inhabitants": 45210}', False)
        taken = await client.call_tool("submit_answer", {"answer": "45,210"})
        assert not taken.is_error and "45" not in text(taken)
        late = await client.call_tool("population", {"town": "Arden"})
        assert late.is_error and "over" in text(late)
        assert (tmp_path / "run" / "samples.jsonl").exists()  # written when the answer came

    arguments = (towns, "--sample", "towns", "--out", tmp_path / "run", "--client", "tester")
    served(play, *arguments, errors=tmp_path / "errors", mode=mode)
    [record] = episodes(tmp_path / "run")
    assert (record["outcome"], record["stop"], record["error"]) == ("ok", "no_tool_calls", None)
    assert [(call["turn"], call["status"], call["solves"]) for call in record["calls"]] == [
        (0, "raised", None),
        (1, "ok", 0),
    ]
    assert record["messages"][-1] == {"role": "assistant", "content": "Answer: 45,210"}
    scores = record["scores"]
    assert (scores["solve_precision"], scores["solve_rate"], scores["answer_accuracy"]) == (0.5, 1.0, 1.0)
    assert summary(tmp_path / "run")["model"] == "mcp/tester"
    printed = (tmp_path / "errors").read_text()
    assert "mcp/tester" in printed and "towns: ok (no_tool_calls) after 2 calls." in printed
    assert "Traceback" not in printed and "Warning" not in printed


def test_the_score_is_that_of_harness_eval_on_the_same_turns(tmp_path):
    """The client plays a demo's gold calls; replayed, the run scores the same, and both can be scored anew."""
    from tasks.demo import samples

    sample = samples("multi_hop")[0]

    async def play(client):
        for call in sample.gold.calls:
            assert not (await client.call_tool(call.name, call.arguments)).is_error
        await client.call_tool("submit_answer", {"answer": sample.gold.answer})

    run = tmp_path / "run"
    served(play, "demo_multi_hop", "--sample", sample.id, "--out", run, errors=tmp_path / "errors")
    done = harness(
        *("eval", "--model", f"replay/{run / 'samples.jsonl'}", "--tasks", "demo_multi_hop", "--samples", sample.id),
        *("--out", tmp_path / "again", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    [first], [second] = episodes(run), episodes(tmp_path / "again")
    assert first["scores"] == second["scores"]
    assert first["scores"]["solve_f1"] == first["scores"]["answer_accuracy"] == 1.0
    assert [call["output"] for call in first["calls"]] == [call["output"] for call in second["calls"]]
    rescored = harness("rescore", run)
    assert rescored.returncode == 0 and "0 changed" in rescored.stdout, rescored.stderr


def test_the_question_is_a_prompt_and_a_resource(towns, tmp_path):
    async def play(client):
        question = builders.record()["messages"][0]["content"]
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["question"]
        [message] = (await client.get_prompt("question")).messages
        assert (message.role, message.content.text) == ("user", question)
        [resource] = (await client.list_resources()).resources
        assert (await client.read_resource(resource.uri)).contents[0].text == question
        assert "submit_answer" in client.instructions
        for asked in (client.get_prompt("answer"), client.read_resource("harness://gold")):
            with pytest.raises(mcp.MCPError, match="The only"):
                await asked

    served(play, towns, "--sample", "towns", errors=tmp_path / "errors")
    assert "there is no episode to score" in (tmp_path / "errors").read_text()


def test_a_client_that_leaves_is_scored_on_what_it_did(towns, tmp_path):
    async def play(client):
        await client.call_tool("population", {"town": "Corrie"})
        unread = await client.call_tool("submit_answer", {"answer": 45210})
        assert unread.is_error and "must be a text" in text(unread)
        unknown = await client.call_tool("nothing", {})
        assert unknown.is_error and text(unknown) == "an error occured when call nothing: 'nothing'"

    served(play, towns, "--sample", "towns", "--out", tmp_path / "run", errors=tmp_path / "errors")
    [record] = episodes(tmp_path / "run")
    assert [call["status"] for call in record["calls"]] == ["ok", "unknown_tool"]
    assert (record["outcome"], record["scores"]["solve_rate"], record["scores"]["answer_accuracy"]) == ("ok", 1.0, 0.0)
    assert record["notes"] == ["turn 2: the client left without an answer"]


@pytest.mark.slow
def test_a_tool_that_never_ends_is_stopped_and_the_client_is_told(towns, tmp_path):
    async def play(client):
        stopped, beside = await asyncio.gather(
            client.call_tool("slow", {}), client.call_tool("population", {"town": "Corrie"})
        )
        assert stopped.is_error and text(stopped).startswith("an error occured when call slow: ")
        assert not beside.is_error

    served(play, towns, "--sample", "towns", "--out", tmp_path / "run", errors=tmp_path / "errors")
    [record] = episodes(tmp_path / "run")
    assert [(call["name"], call["status"]) for call in record["calls"]] == [("slow", "timeout"), ("population", "ok")]


def test_turns_are_limited(towns, tmp_path):
    async def play(client):
        for _ in range(2):
            assert not (await client.call_tool("population", {"town": "Corrie"})).is_error
        for name, arguments in (("population", {"town": "Corrie"}), ("submit_answer", {"answer": "45210"})):
            assert "over" in text(await client.call_tool(name, arguments))

    arguments = (towns, "--sample", "towns", "--max-turns", "2", "--out", tmp_path / "run")
    served(play, *arguments, errors=tmp_path / "errors")
    [record] = episodes(tmp_path / "run")
    assert (record["outcome"], len(record["calls"])) == ("turn_limit", 2)


def test_an_environments_own_submit_answer_is_kept(tmp_path):
    codes = {"population": builders.COUNTER, "submit_answer": "def submit_answer(answer):\n    return 'no ' + answer"}
    tools = [*builders.record()["tools"], builders.tool("submit_answer", {"answer": {"type": "string"}})]
    path = builders.write_records(tmp_path / "own.jsonl", [builders.record(codes=codes, tools=tools)])

    async def play(client):
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["population", "submit_answer", "harness_submit_answer"]
        assert text(await client.call_tool("submit_answer", {"answer": "you"})) == "no you"
        await client.call_tool("harness_submit_answer", {"answer": "45210"})

    served(play, path, "--sample", "towns", "--out", tmp_path / "run", errors=tmp_path / "errors")
    [record] = episodes(tmp_path / "run")
    assert [call["name"] for call in record["calls"]] == ["submit_answer"]
    assert record["scores"]["answer_accuracy"] == 1.0


# --- how it ends ---------------------------------------------------------------------------------------------------


def started(towns, *arguments):
    """`harness serve` with pipes of ours, after its client has called one tool."""
    words = command("serve", towns, "--sample", "towns", *arguments)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, env=environment(), text=True, **pipes)
    process.stdin.write(READY + CALL)
    process.stdin.flush()
    assert '"id":1' in process.stdout.readline()
    assert "45210" in process.stdout.readline()
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_the_session_as_a_client_that_leaves_does(towns, tmp_path, number, status):
    process = started(towns, "--out", tmp_path / "run")
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    assert "after 1 calls." in errors and "Traceback" not in errors and "Warning" not in errors
    assert episodes(tmp_path / "run")[0]["scores"]["solve_rate"] == 1.0


def test_a_client_that_hangs_up_in_the_middle_of_a_call_is_scored(towns, tmp_path):
    process = started(towns, "--out", tmp_path / "run")
    process.stdin.write(CALL.replace("population", "slow").replace('"town":"Corrie"', "").replace('"id":2', '"id":3'))
    process.stdin.flush()
    time.sleep(0.5)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    [record] = episodes(tmp_path / "run")
    assert [call["status"] for call in record["calls"]] in (["ok"], ["ok", "killed"])
    assert record["scores"]["solve_rate"] == 1.0


def test_what_is_no_message_harms_nobody(towns, tmp_path):
    process = started(towns, "--out", tmp_path / "run")
    deep = "[" * 5000
    nan = CALL.replace('"Corrie"', "NaN").replace('"id":2', '"id":4')
    process.stdin.write(f"no json\n{deep}\n\x00\n{nan}" + CALL.replace('"id":2', '"id":5'))
    half = CALL.replace('"id":2', '"id":6').replace('"population"', '"submit_answer"')
    process.stdin.write(half.replace('"town":"Corrie"', r'"answer":"45210 \ud800"'))
    process.stdin.flush()
    answers = [process.stdout.readline()]
    while '"id":6' not in answers[-1]:
        answers.append(process.stdout.readline())
    assert "45210" in answers[-2] and "The answer was taken" in answers[-1]
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    [record] = episodes(tmp_path / "run")
    assert {call["status"] for call in record["calls"]} <= {"ok", "malformed"}
    assert record["messages"][-1]["content"] == "Answer: 45210 \ufffd"


def test_bad_input_is_one_sentence_and_nothing_is_served(towns, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    two = builders.write_records(tmp_path / "two.jsonl", [builders.record(tools=[], codes={}, unsolved_set={})])
    for arguments, said in (
        ((towns, "--sample", "towne"), "Did you mean towns?"),
        ((towns,), "--sample"),
        ((tmp_path / "none.jsonl", "--sample", "towns"), "there is no file"),
        (("demo_single", "--sample", "towns"), "Did you mean demo_single_hop"),
        ((two, "--sample", "towns"), "only `harness eval` plays it"),
        ((towns, "--sample", "towns", "--out", tmp_path / "taken"), "is no run directory"),
        ((towns, "--sample", "towns", "--max-turns", "0"), "at least 1"),
        ((towns, "--sample", "towns", "--client", "a\x1bb"), "without control characters"),
    ):
        assert said in one_sentence(harness("serve", *arguments))


def test_a_run_that_is_there_is_not_played_again(towns, tmp_path):
    process = started(towns, "--out", tmp_path / "run")
    process.communicate(timeout=60)
    assert "holds this run already" in one_sentence(
        harness("serve", towns, "--sample", "towns", "--out", tmp_path / "run")
    )


def test_without_mcp_one_sentence_says_what_to_install(towns, tmp_path):
    (tmp_path / "mcp.py").write_text("raise ImportError('not here')")
    done = harness("serve", towns, "--sample", "towns", PYTHONPATH=str(tmp_path))
    assert "pip install 'tool-harness[mcp]'" in one_sentence(done)
