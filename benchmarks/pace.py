"""What gets through an endpoint that limits requests: accepted requests a second, over time, as the endpoint counts.

    python benchmarks/pace.py [--seconds 20] [--limits bucket fixed sliding at-once lifted] [--smoke]

256 requests are always waiting, replies take 100 ms, and every refusal says Retry-After: 1. The limits, one after the
other, each with a model of its own:

bucket   20 tokens a second, at most 20 at hand
fixed    20 requests in each second of the clock
sliding  20 requests in any second
at-once  8 requests under way, which with these replies is at most 80 a second
lifted   sliding until half of the time is over, then no limit

The goal is 90 % of 20 a second from the fifth second on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from itertools import count
from typing import Any

from tabulate import tabulate

from harness.models import ModelOptions, load_model
from harness.types import Gold, Message, ModelRequest, Sample, Sampling

CONCURRENCY = 256
LATENCY = 0.1
LIMITS = {"bucket": 20.0, "fixed": 20.0, "sliding": 20.0, "at-once": 8 / LATENCY, "lifted": 20.0}
"""Requests a second that the limits allow, while they do."""

SERVER = """
import asyncio, json, sys, time
from aiohttp import web

kind, seconds, latency = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
accepted, refused = [], []
state = {"tokens": 20.0, "filled": 0.0, "under_way": 0}

def take(now):
    if kind == "bucket":
        state["tokens"] = min(20.0, state["tokens"] + 20.0 * (now - state["filled"]))
        state["filled"] = now
        if state["tokens"] < 1.0:
            return False
        state["tokens"] -= 1.0
        return True
    if kind == "at-once":
        return state["under_way"] < 8
    if kind == "lifted" and accepted and now - accepted[0] > seconds / 2:
        return True
    since = now // 1.0 if kind == "fixed" else now - 1.0
    return len(accepted) < 20 or accepted[-20] <= since

async def answer(request):
    try:
        await request.read()
    except ConnectionResetError:  # the end of the measurement
        return web.Response(status=400)
    now = time.monotonic()
    if not take(now):
        refused.append(now)
        return web.json_response({"error": {"message": "too many"}}, status=429, headers={"Retry-After": "1"})
    accepted.append(now)
    state["under_way"] += 1
    await asyncio.sleep(latency)
    state["under_way"] -= 1
    choice = {"index": 0, "message": {"role": "assistant", "content": "done"}, "finish_reason": "stop"}
    return web.json_response({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

async def counts(request):
    return web.json_response({"accepted": accepted, "refused": refused})

async def main():
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/counts", counts)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Server:
    """The endpoint with one kind of limit, in a process of its own."""

    def __init__(self, kind: str, seconds: float) -> None:
        self.words = [sys.executable, "-c", SERVER, kind, str(seconds), str(LATENCY)]

    def __enter__(self) -> str:
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        return f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


async def send_for(seconds: float, url: str, callers: int) -> None:
    """So many callers of one model, each with a next request as soon as it has a reply: seconds from the first one."""
    model: Any = load_model("openai/m", ModelOptions(base_url=f"{url}/v1", concurrency=callers, environ={}))
    numbers = count()
    answered = asyncio.Event()

    async def work() -> None:
        while True:
            said = (Message("user", f"request {next(numbers)}"),)
            sample = Sample("s", said, (), {}, Gold({}))
            await model(ModelRequest(said, (), Sampling(), sample))
            answered.set()

    workers = [asyncio.create_task(work()) for _ in range(callers)]
    first = asyncio.create_task(answered.wait())
    try:
        await asyncio.wait([first, *workers], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait(workers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for worker in done:
            worker.result()
    finally:
        for task in (first, *workers):
            task.cancel()
        await asyncio.gather(first, *workers, return_exceptions=True)
        await model.aclose()


def per_second(times: list[float], begin: float, seconds: int) -> list[int]:
    return [sum(begin + second <= time < begin + second + 1 for time in times) for second in range(seconds)]


def measure(kind: str, seconds: int, callers: int) -> tuple[list[int], list[int]]:
    """Accepted and refused requests in each second since the first."""
    with Server(kind, seconds) as url:
        asyncio.run(send_for(seconds + 0.5, url, callers))
        with urllib.request.urlopen(f"{url}/counts") as reply:
            counts = json.load(reply)
    begin = counts["accepted"][0]
    return per_second(counts["accepted"], begin, seconds), per_second(counts["refused"], begin, seconds)


def row(kind: str, accepted: list[int], refused: list[int], since: int, seconds: int) -> list[object]:
    until = seconds // 2 if kind == "lifted" else seconds
    rate = sum(accepted[since:until]) / (until - since)
    share = sum(refused[since:until]) / (sum(refused[since:until]) + sum(accepted[since:until]))
    return [kind, LIMITS[kind], rate, rate / LIMITS[kind], share, sum(refused[:since])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="of every limit, at least 12 (default: 20)")
    parser.add_argument("--limits", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--smoke", action="store_true", help="one limit, 32 waiting, four seconds")
    args = parser.parse_args()
    since, callers = 5, CONCURRENCY
    if args.smoke:
        args.seconds, args.limits, since, callers = 4, ["bucket"], 1, 32
    elif args.seconds < 12:
        parser.error("--seconds must be at least 12: the first five are not counted.")
    rows = []
    for kind in args.limits:
        accepted, refused = measure(kind, args.seconds, callers)
        print(f"{kind}: accepted in each second: {' '.join(map(str, accepted))}", flush=True)
        rows.append(row(kind, accepted, refused, since, args.seconds))
    headers = ["limit", "allowed a second", "accepted a second", "of allowed", "refused share", f"refused in {since} s"]
    print("\n" + tabulate(rows, headers=headers, tablefmt="github", floatfmt=("", ".0f", ".2f", ".3f", ".3f", "")))


if __name__ == "__main__":
    main()
