"""What a report of N episodes costs: seconds to write it, its size, and how it behaves in headless Chromium.

There: seconds until it can be used, the longest task and the median frame while the list is scrolled from end to end,
and the time to open a transcript. Stated limit: no task over 200 ms while scrolling.

python benchmarks/report.py [--episodes 10000] [--model policy/random] [--rounds 5] [--smoke]

The episodes are those of a policy on `ftrl_*` (200), played as often as needed, each time in other letters, because
equal texts would compress better than different ones. Needs playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from tabulate import tabulate

SCROLL = """
async () => {
    const list = document.getElementById('list');
    const tasks = [0];
    const seen = new PerformanceObserver(found => tasks.push(...found.getEntries().map(entry => entry.duration)));
    seen.observe({type: 'longtask'});
    const frames = [];
    const step = Math.max(62, Math.ceil((list.scrollHeight - list.clientHeight) / 300));
    let last = performance.now();
    for (let top = 0; top < list.scrollHeight; top += step) {
        list.scrollTop = top;
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - last);
        last = performance.now();
    }
    await new Promise(done => setTimeout(done, 200));
    seen.disconnect();
    frames.sort((a, b) => a - b);
    return {longest: Math.max(...tasks), frame: frames[Math.floor(frames.length / 2)]};
}
"""
OPEN = """
async (place) => {
    const list = document.getElementById('list');
    const reader = document.getElementById('transcript');
    list.scrollTop = place * 62;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const began = performance.now();
    const done = new Promise(found => new MutationObserver((_, own) => { own.disconnect(); found(); })
        .observe(reader, {childList: true}));
    list.querySelector(`.row[aria-posinset="${place + 1}"]`).click();
    await done;
    return performance.now() - began;
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000, help="how many, in steps of 200")
    parser.add_argument("--model", default="policy/random", help="a reference policy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a round with the demo tasks: seconds")
    args = parser.parse_args()
    tasks = "demo_*" if args.smoke else "ftrl_*"
    epochs, args.rounds = (2, 1) if args.smoke else (args.episodes // 200, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "report.html"
        words = ["eval", "--model", args.model, "--tasks", tasks, "--out", str(run), "--quiet"]
        harness(*words)
        played = repeat(run, epochs)
        began = time.perf_counter()
        harness("report", str(run), "--out", str(out))
        written = time.perf_counter() - began
        rounds = [measure(out) for _ in range(args.rounds)]
        rows = [("written in, s", f"{written:.1f}"), ("size, MB", f"{out.stat().st_size / 1e6:.1f}")]
        rows += [(name, f"{statistics.median(one[name] for one in rounds):.1f}") for name in rounds[0]]
        rows += [("longest task of all rounds, ms", f"{max(one['longest task scrolling, ms'] for one in rounds):.0f}")]
    print(tabulate(rows, headers=[f"{played:,} episodes of {args.model}", "median"], disable_numparse=True))


def harness(*words: str) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "harness.cli", *words], check=True, stdout=subprocess.DEVNULL)


def repeat(run: Path, epochs: int) -> int:
    """The run as if every sample had been played so many times, each time in other letters; how many episodes."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["identity"]["epochs"] = epochs
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "summary.json").unlink()
    records = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    with (run / "samples.jsonl").open("w") as file:
        for epoch in range(epochs):
            for record in records:
                calls = [{**call, "output": turned(call["output"], epoch)} for call in record["calls"]]
                messages = [{**said, "content": turned(said["content"], epoch)} for said in record["messages"]]
                other = {"epoch": epoch, "key": f"{record['key']}-{epoch}", "calls": calls, "messages": messages}
                file.write(json.dumps({**record, **other}) + "\n")
    return epochs * len(records)


def turned(text: str, by: int) -> str:
    """The text with every small letter replaced, by another alphabet for each number."""
    letters = list(string.ascii_lowercase)
    random.Random(by).shuffle(letters)
    return text.translate(str.maketrans(string.ascii_lowercase, "".join(letters))) if by else text


def find_chromium(driver: Any) -> str:
    """The path of one, or playwright's own; without either, the end."""
    path = shutil.which("chromium") or shutil.which("google-chrome") or driver.chromium.executable_path
    if not Path(path).exists():
        print("No Chromium was found: put one on the PATH, or run playwright install chromium.", file=sys.stderr)
        raise SystemExit(2)
    return str(path)


def measure(report: Path) -> dict[str, float]:
    """One round in a fresh browser."""
    with sync_playwright() as driver:
        path = find_chromium(driver)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page: Any = browser.new_context(offline=True, viewport={"width": 1280, "height": 860}).new_page()
        began = time.perf_counter()
        page.goto(report.as_uri() + "#episodes")
        page.wait_for_selector("html[data-ready]")
        ready = time.perf_counter() - began
        scrolled = page.evaluate(SCROLL)
        total = page.evaluate("Number(document.querySelector('.row').getAttribute('aria-setsize'))")
        opened = [page.evaluate(OPEN, place) for place in range(5, total, total // 15)]
        browser.close()
    return {
        "until it can be used, s": ready,
        "longest task scrolling, ms": scrolled["longest"],
        "frame scrolling, ms": scrolled["frame"],
        "a transcript opens in, ms": statistics.median(opened),
        "the slowest transcript, ms": max(opened),
    }


if __name__ == "__main__":
    main()
