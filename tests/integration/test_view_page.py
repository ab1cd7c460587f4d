"""The view in a real browser that may reach nothing else: a run followed while it is played, markup, a lost server."""

import json
import signal
import subprocess
import threading
from contextlib import contextmanager

import pytest
from browsers import chromium
from commands import command, environment
from fakes.chat_server import ChatServer, text
from report_runs import MARKUP, TOLD, hostile, towns, varied, write_run


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextmanager
def viewed(browser, root, at="", complaints=False):
    """A tab on `harness view`, which asks for nothing elsewhere and, but where it should, complains of nothing."""
    process = subprocess.Popen(command("view", root), env=environment(), stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address + at)
    tab.wait_for_selector("html[data-ready]")
    tab.server = process
    try:
        yield tab
        assert bool(said) is complaints, said
        assert [url for url in asked if not url.startswith(address)] == []
    finally:
        context.close()
        process.send_signal(signal.SIGINT)
        process.wait(10)
        process.stdout.close()


@contextmanager
def evaluation(out):
    """`harness eval` of the demo tasks by an endpoint that says nothing until it is let: so many episodes end."""
    gate = threading.Semaphore(0)

    def answer(asked):
        gate.acquire(timeout=60)
        return text("Answer: I cannot say")

    with ChatServer(answer) as server:
        words = ["eval", "--model", "m", "--base-url", server.url, "--tasks", "demo_*", "--concurrency", "1"]
        process = subprocess.Popen(
            command(*words, "--out", out, "--quiet"),
            env=environment(OPENAI_API_KEY="key"),
            stdout=subprocess.DEVNULL,
        )
        try:
            yield lambda episodes: gate.release(episodes), process
        finally:
            gate.release(100)
            assert process.wait(60) == 0


def test_a_run_is_followed_while_it_is_played(browser, tmp_path):
    with viewed(browser, tmp_path) as tab:
        assert tab.is_visible("#none")
        with evaluation(tmp_path / "run") as (let, process):
            let(3)
            tab.wait_for_selector("#runs td:has-text('3 of 12')")
            assert tab.get_attribute("#runs progress", "value") == "3"
            tab.click("#runs button")
            tab.wait_for_selector("#count:has-text('3 episodes')")
            tab.locator(".row").last.click()
            tab.wait_for_selector("#transcript dd:text-is('Answer: I cannot say')")
            tab.wait_for_selector("#transcript .answer.wrong")
            assert tab.locator(".chip", has_text="stopped early").count() == 1
            first = tab.text_content("#transcript .path")
            let(1)
            tab.wait_for_selector("#count:has-text('4 episodes')")
            newest = json.loads((tmp_path / "run" / "samples.jsonl").read_text().splitlines()[-1])["sample"]
            tab.locator(".row").first.click()
            tab.wait_for_selector(f"#transcript .path:has-text('{newest}')")
            assert newest not in first
            let(8)
            process.wait(60)
            tab.keyboard.press("g")
            tab.wait_for_selector("#runs td:text-is('finished')")
            tab.wait_for_selector("#runs td:has-text('demo: F1 0.000 [0.00, ')")


def test_markup_stays_text_wherever_it_stands(browser, tmp_path):
    hostile(tmp_path)
    with viewed(browser, tmp_path, "#episode=0") as tab:
        tab.wait_for_selector(".answer:text-is('wrong')")
        told = tab.text_content("#transcript")
        for place in TOLD:
            assert f"{place} {MARKUP}" in told, place
        assert f"model {MARKUP} (mode {MARKUP})" in tab.text_content("#runs")
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("img").count() == 0
        assert tab.locator("script").count() == 1


def test_runs_are_changed_files_replaced_and_a_lost_server_is_said(browser, tmp_path):
    data = towns(tmp_path / "data", 12)
    for name in ("one", "two"):
        write_run(tmp_path / "runs" / name, data, varied(data), f"test/{name}")
    with viewed(browser, tmp_path / "runs", complaints=True) as tab:
        tab.locator("#runs button", has_text="test/two").click()
        tab.wait_for_selector("#count:has-text('12 episodes')")
        assert set(tab.locator(".row .run").all_text_contents()) == {"test/two"}
        tab.select_option("#by-outcome", "infrastructure_error")
        assert tab.text_content("#count") == "2 of 12 episodes"
        tab.reload()
        tab.wait_for_selector("#count:has-text('12 episodes')")
        assert set(tab.locator(".row .run").all_text_contents()) == {"test/two"}
        tab.locator(".row", has_text="number 3?").click()
        tab.wait_for_selector(".turn")
        samples = tmp_path / "runs" / "two" / "samples.jsonl"
        samples.with_name("new").write_text("".join(samples.read_text().splitlines(keepends=True)[:5]))
        samples.with_name("new").replace(samples)
        tab.wait_for_selector("#count:has-text('5 episodes')")
        assert tab.is_hidden("#lost")
        tab.server.kill()
        tab.wait_for_selector("#lost:not([hidden])")
        assert tab.text_content("#count") == "5 episodes"
        tab.evaluate("fetch('https://example.org').catch(() => 0)")
