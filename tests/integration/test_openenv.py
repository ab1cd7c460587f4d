"""`harness serve --http` and OpenEnv's own client, which plays episodes over its connection.

openenv-core is in no extra: `tox -e openenv` has it, elsewhere this is skipped.
"""

import asyncio
import subprocess

import builders
import pytest
from commands import command, environment

pytest.importorskip("openenv", reason="needs openenv-core; tox -e openenv runs this")

from openenv.core import GenericEnvClient

TOKEN = "a-token-of-the-tests-0123456789"
CALL = {"calls": [{"name": "population", "arguments": {"town": "Corrie"}}]}


@pytest.fixture
def address(tmp_path):
    """Where a server of one environment is, and its token's place in a URL."""
    towns = builders.write_records(tmp_path / "towns.jsonl", [builders.record()])
    words = command("serve", "--http", towns)
    with subprocess.Popen(words, env=environment(HARNESS_TOKEN=TOKEN), stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip().removeprefix("http://")
        process.terminate()


def test_a_real_client_plays_an_episode(address):
    async def play():
        async with GenericEnvClient(base_url=f"http://any:{TOKEN}@{address}") as env:
            begun = await env.reset(sample="towns", seed=1)
            assert begun.observation["messages"][0]["role"] == "user" and not begun.done
            turn = await env.step(CALL)
            assert (turn.reward, turn.done) == (1.0, False)
            assert turn.observation["messages"][0]["content"] == '{"inhabitants": 45210}'
            last = await env.step({"content": "Answer: 45210"})
            assert (last.reward, last.done) == (0.0, True)
            assert last.observation["scores"]["solve_f1"] == last.observation["scores"]["answer_accuracy"] == 1.0
            state = await env.state()
            assert (state["step_count"], state["sample"], state["outcome"]) == (2, "towns", "ok")
            with pytest.raises(RuntimeError, match="reset begins another"):
                await env.step(CALL)
            assert not (await env.reset()).done

    asyncio.run(play())


def test_the_synchronous_client_does_too(address):
    with GenericEnvClient(base_url=f"http://any:{TOKEN}@{address}").sync() as env:
        env.reset()
        assert env.step(CALL).reward == 1.0


def test_without_the_token_there_is_no_connection(address):
    async def play():
        async with GenericEnvClient(base_url=f"http://{address}"):
            pytest.fail("it was let in")

    with pytest.raises(ConnectionError, match="401"):
        asyncio.run(play())
