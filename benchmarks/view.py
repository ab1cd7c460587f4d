"""What `harness view` costs with a run of N episodes that is being written, in headless Chromium.

python benchmarks/view.py [--episodes 10000] [--rounds 5] [--ends 10] [--smoke]

A round: the command is started and opened in a fresh browser at once, while it still reads what is there. Told are the
first paint, counted from when the address was asked for, and when the run's line, its first episodes and all of them
stand in the page; then, for each of `--ends` episodes, the time from the flush of its line until the list has it; and
the CPU that the command takes while nothing comes. Requests of the browser that go elsewhere are counted. Stated
limits: first paint 0.5 s, an ended episode 2 s, no request elsewhere.

The episodes are those of policy/random, played as often as needed, as in benchmarks/report.py. Needs playwright and a
Chromium.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from report import find_chromium, harness, repeat
from tabulate import tabulate

LISTED = "wanted => document.querySelector('#count').textContent.startsWith(wanted)"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
IDLE = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000, help="how many, in steps of 200")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ends", type=int, default=10, help="episodes a round that end while it is looked at")
    parser.add_argument("--smoke", action="store_true", help="a round with the demo tasks: seconds")
    args = parser.parse_args()
    tasks, epochs = ("demo_*", 2) if args.smoke else ("ftrl_*", args.episodes // 200)
    rounds, ends = (1, 1) if args.smoke else (args.rounds, args.ends)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        harness("eval", "--model", "policy/random", "--tasks", tasks, "--out", str(run), "--quiet")
        played = repeat(run, epochs)
        left = set_aside(run, ends)
        found = [measure(run, left) for _ in range(rounds)]
    rows = [(name, told([value for one in found for value in one[name]])) for name in found[0]]
    print(
        tabulate(rows, headers=[f"{played:,} episodes of a run in progress", "median, highest"], disable_numparse=True)
    )


def told(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}, {max(values):.2f}"


def set_aside(run: Path, count: int) -> list[bytes]:
    """Takes the last lines of the run's episodes away, so that they are still to end."""
    lines = (run / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (run / "samples.jsonl").write_bytes(b"".join(lines[:-count]))
    return lines[-count:]


def measure(run: Path, left: list[bytes]) -> dict[str, list[float]]:
    """One round; the run is afterwards as it was."""
    whole = (run / "samples.jsonl").stat().st_size
    there = sum(1 for _ in (run / "samples.jsonl").open("rb"))
    with opened(run) as (address, process, page, asked):
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("#runs tr")
        line = time.perf_counter() - began
        page.click("#runs button")
        page.wait_for_selector(".row")
        row = time.perf_counter() - began
        page.wait_for_function(LISTED, arg=f"{there:,} episodes", timeout=120_000)
        everything = time.perf_counter() - began
        paint = page.evaluate(PAINT) / 1000
        waits = list(end_episodes(run, left, there, page))
        before = cpu_seconds(process.pid)
        time.sleep(IDLE)
        idle = (cpu_seconds(process.pid) - before) / IDLE
        elsewhere = sum(not url.startswith(address) for url in asked)
    os.truncate(run / "samples.jsonl", whole)
    return {
        "first paint, s": [paint],
        "the run's line, s": [line],
        "its first episodes, s": [row],
        "all episodes in the list, s": [everything],
        "an ended episode shows after, s": waits,
        "CPU while nothing comes, of a core": [idle],
        "requests elsewhere": [elsewhere],
    }


def end_episodes(run: Path, left: list[bytes], there: int, page: Any) -> Iterator[float]:
    """Appends lines as a run does; how long each took to be shown."""
    with (run / "samples.jsonl").open("ab") as file:
        for number, line in enumerate(left, start=1):
            time.sleep(0.37)  # at another moment of the page's second each time
            file.write(line)
            file.flush()
            ended = time.perf_counter()
            page.wait_for_function(LISTED, arg=f"{there + number:,} episodes")
            yield time.perf_counter() - ended


@contextmanager
def opened(run: Path) -> Iterator[tuple[str, subprocess.Popen[str], Any, list[str]]]:
    """The command on the run's folder, its address, a fresh browser's page, and what that asks for."""
    words = [sys.executable, "-m", "harness.cli", "view", str(run.parent)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=find_chromium(driver), args=["--no-sandbox"])
            page: Any = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            yield process.stdout.readline().strip(), process, page, asked
            browser.close()
    finally:  # also where there is no browser
        process.send_signal(signal.SIGINT)
        process.wait(10)


def cpu_seconds(process: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
