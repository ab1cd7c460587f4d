"""256 episodes at once against an endpoint that takes twenty requests a second and answers 429 to the rest.

The figure asked for is a property of the result, not of this machine's speed: the endpoint's limit decides how long it
takes, and a run that sends too little or wastes its tries falls below it.
"""

from __future__ import annotations

from collections import Counter

import pytest
from commands import episodes, harness, summary
from fakes.chat_server import Asked, ChatServer, Step, call, calls, delayed, text
from fakes.limited_server import FixedWindow, Limited

PER_SECOND = 20
LIMIT, EPOCHS = 33, 2
EPISODES = 4 * LIMIT * EPOCHS


def answer(asked: Asked) -> Step:
    """One tool call, then an answer, each after 50 ms."""
    name = asked.body["tools"][0]["function"]["name"]
    return delayed(calls(call(name, {})) if asked.turn == 0 else text("I do not know."), 0.05)


@pytest.mark.slow
def test_256_episodes_against_twenty_requests_a_second(tmp_path):
    limited = Limited(FixedWindow(PER_SECOND, 1.0), answer, {"retry_after": "1"})
    with ChatServer(limited) as server:
        done = harness(
            "eval", "--model", "openai/fake", "--base-url", server.url, "--tasks", "ftrl_*", "--limit", LIMIT,
            "--epochs", EPOCHS, "--concurrency", 256, "--out", tmp_path / "run", "--quiet",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    played = episodes(tmp_path / "run")
    assert len({record["key"] for record in played}) == len(played) == EPISODES
    assert Counter(record["outcome"] for record in played) == {"ok": EPISODES}
    assert sum(task["n"] for task in summary(tmp_path / "run")["tasks"].values()) == EPISODES
    assert len(limited.accepted) == sum(record["usage"]["requests"] for record in played) == 2 * EPISODES
    assert len(limited.refused) == sum(record["usage"]["retries"] for record in played)

    wall = limited.accepted[-1] - limited.accepted[0]
    assert sum(record["timing"]["total"] for record in played) / wall > 128  # episodes at once, on the average
    begin = limited.accepted[0] + 5.0
    end = limited.accepted[-PER_SECOND]  # what is left after it is less than a second's work
    rate = sum(begin <= time < end for time in limited.accepted) / (end - begin)
    seconds = [int(time - begin + 5.0) for time in limited.accepted]
    print("accepted in each second:", *(seconds.count(second) for second in range(seconds[-1] + 1)))
    print(f"{rate:.2f} accepted requests a second, {len(limited.refused)} refused, {wall:.1f} s")
    assert rate >= 0.9 * PER_SECOND
    assert sum(time >= begin for time in limited.refused) <= 0.1 * len(limited.accepted)
