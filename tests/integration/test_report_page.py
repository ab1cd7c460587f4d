"""The report in a real browser with the network off: read, filtered, searched, by keyboard, attacked, and long."""

import re
from contextlib import contextmanager

import pytest
from browsers import chromium
from report_runs import MARKUP, TOLD, hostile, towns, varied, write_run

from results.report.data import read_report
from results.report.page import build_page as written

IMAGE = """
new Promise(done => {
    const image = new Image();
    image.onerror = () => done('refused');
    image.onload = () => done('sent');
    image.src = 'https://example.org/i.png';
})
"""


OUTSIDE = """
[...document.querySelectorAll('.node')].flatMap(node => {
    const box = node.querySelector('rect').getBoundingClientRect();
    const ends = text => [text.getBoundingClientRect().left, text.getBoundingClientRect().right];
    const spills = text => ends(text)[0] < box.left || ends(text)[1] > box.right;
    return [...node.querySelectorAll('text')].filter(spills).map(text => text.textContent);
})
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextmanager
def opened(browser, path, at="", complaints=False, **settings):
    """The report at `path` in a page without a network, which must ask for nothing else and complain of nothing unless
    it should."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800}, **settings)
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri() + at)
    tab.wait_for_selector("html[data-ready]")
    yield tab
    assert bool(said) is complaints, said
    assert complaints or [url for url in asked if url.partition("#")[0] != path.as_uri()] == []
    context.close()


def save(folder, *runs):
    path = folder / "report.html"
    path.write_text(written(read_report(list(runs)), "Report"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    data = towns(folder / "data", 12)
    runs = [write_run(folder / name, data, varied(data), f"test/{name}") for name in ("one", "two")]
    return save(folder, *runs)


def count(tab):
    return tab.text_content("#count")


def test_it_opens_with_the_network_off_and_shows_the_result(browser, report):
    with opened(browser, report) as tab:
        assert tab.text_content(".card .big") == "0.578"
        assert tab.locator("figure svg").count() >= 4
        assert tab.is_hidden("#episodes")


def test_its_own_policy_forbids_every_connection(browser, report):
    with opened(browser, report, complaints=True) as tab:
        policy = tab.get_attribute("meta[http-equiv]", "content")
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert tab.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
        assert tab.evaluate(IMAGE) == "refused"


def test_filters_and_search(browser, report):
    with opened(browser, report, "#episodes") as tab:
        assert count(tab) == "24 episodes"
        tab.select_option("#by-run", "test/one")
        assert count(tab) == "12 of 24 episodes"
        tab.select_option("#by-cause", "stopped early")
        assert count(tab) == "2 of 24 episodes"
        assert tab.locator(".row .chip").all_text_contents() == ["stopped early"] * 2
        tab.select_option("#by-cause", "")
        tab.fill("#low", "1")
        assert count(tab) == "4 of 24 episodes"
        tab.fill("#low", "")
        tab.select_option("#by-outcome", "infrastructure_error")
        assert count(tab) == "2 of 24 episodes"
        tab.select_option("#by-outcome", "")
        tab.fill("#search", "NUMBER 11? capital")
        assert count(tab) == "1 of 24 episodes"
        tab.fill("#search", "no such words")
        assert count(tab) == "0 of 24 episodes"
        assert tab.locator(".row").count() == 0
        tab.fill("#search", "")
        tab.select_option("#by-run", "")
        tab.select_option("#order", "low")
        scores = [float(text) for text in tab.locator(".row .score").all_text_contents()]
        assert scores == sorted(scores)


def test_a_transcript_shows_graph_calls_and_both_verdicts(browser, report):
    with opened(browser, report, "#episodes") as tab:
        tab.fill("#search", "town-4")
        tab.locator(".row").first.click()
        tab.wait_for_selector(".turn")
        assert "#episode=" in tab.url
        assert tab.locator(".node").count() == 2
        assert tab.locator(".node.solved").count() == 0
        assert tab.locator(".node.paper").count() == 1
        assert tab.locator(".verdicts td").first.text_content() == "0.000"
        ruling = tab.text_content(".ruling.differs")
        assert "strict nothing: it did not end ok" in ruling
        assert "paper solves 2, 998" in ruling
        tab.locator(".node.paper").click()
        assert tab.evaluate("document.activeElement.id") == "call-0"
        tab.locator(".others button", has_text="test/two").click()
        tab.wait_for_selector(".by:has-text('test/two')")


def test_causes_lead_to_their_episodes_and_chips_say_what_their_numbers_are(browser, tmp_path):
    data = towns(tmp_path / "data", 6)
    runs = [write_run(tmp_path / name, data, varied(data, epochs=2), f"test/{name}") for name in ("one", "two")]
    with opened(browser, save(tmp_path, *runs)) as tab:
        tab.locator("a.k-stopped_early").last.click()
        tab.wait_for_selector("#count:text-is('2 of 24 episodes')")
        assert [tab.input_value(f"#by-{name}") for name in ("run", "task", "cause")] == [
            "test/two",
            "",
            "stopped early",
        ]
        tab.keyboard.press("g")
        tab.wait_for_selector("#overview:not([hidden])")
        tab.locator("#overview summary", has_text="test/one: by task").click()
        tab.locator("details[open] .counts a").first.click()
        tab.wait_for_selector("#count:text-is('2 of 24 episodes')")
        chosen = [tab.input_value(f"#by-{name}") for name in ("run", "task", "cause")]
        assert chosen == ["test/one", "towns", "no failure"]
        tab.locator(".row").first.click()
        tab.wait_for_selector(".others")
        said = tab.locator(".others button").all_text_contents()
        assert said[0] == "test/one, epoch 0, F1 1.00"
        assert len(said) == len(set(said)) == 4


def test_what_is_wider_than_the_page_shows_that_it_goes_on(browser, report):
    with opened(browser, report) as tab:
        tab.set_viewport_size({"width": 480, "height": 800})
        wide = tab.locator("#overview .scroll").first
        assert wide.evaluate("box => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX") == "auto"
        shadows = wide.evaluate(
            "box => [getComputedStyle(box).backgroundAttachment, getComputedStyle(box).backgroundImage]"
        )
        assert shadows[0] == "local, local, scroll, scroll" and shadows[1].count("linear-gradient") == 4


def test_reasoning_is_folded_until_it_is_asked_for(browser, report):
    with opened(browser, report, "#episodes") as tab:
        tab.fill("#search", "town-0")
        tab.locator(".row").first.click()
        tab.wait_for_selector(".reasoning")
        thought = tab.locator(".reasoning p").first
        assert not thought.is_visible()
        tab.locator(".reasoning summary").first.click()
        assert thought.is_visible()
        assert thought.text_content() == "First the capital, then its size."
        tab.locator(".reasoning summary").first.click()
        assert not thought.is_visible()


def test_everything_can_be_done_by_keyboard(browser, report):
    with opened(browser, report) as tab:
        key = tab.keyboard.press
        key("/")
        tab.wait_for_selector("#search:focus")
        tab.keyboard.type("test/two")
        assert count(tab) == "12 of 24 episodes"
        key("Escape")
        assert tab.evaluate("document.activeElement.id") == "list"
        key("j")
        key("ArrowDown")
        key("k")
        selected = tab.locator(".row[aria-selected=true]")
        assert selected.get_attribute("aria-posinset") == "2"
        assert tab.get_attribute("#list", "aria-activedescendant") == selected.get_attribute("id")
        key("End")
        assert tab.get_attribute(".row[aria-selected=true]", "aria-posinset") == "12"
        key("Home")
        key("Enter")
        tab.wait_for_selector(".turn")
        assert tab.evaluate("document.activeElement.id") == "transcript"
        key("j")
        tab.wait_for_selector("#transcript .path:has-text('town-1 ')")
        key("k")
        tab.wait_for_selector("#transcript .path:has-text('town-0 ')")
        key("r")
        assert tab.locator(".reasoning[open]").count() == tab.locator(".reasoning").count() > 0
        key("r")
        assert tab.locator(".reasoning[open]").count() == 0
        key("n")
        assert "turn" in tab.evaluate("document.activeElement.className")
        key("Escape")
        assert tab.evaluate("document.activeElement.id") == "list"
        key("?")
        assert tab.is_visible("#help")
        key("Escape")
        assert tab.is_hidden("#help")
        key("g")
        tab.wait_for_selector("#overview:not([hidden])")


def test_dark_and_light_follow_the_system_and_the_button(browser, report):
    def lightness(tab):
        return sum(map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]))

    for scheme, dark in (("dark", True), ("light", False)):
        with opened(browser, report, color_scheme=scheme) as tab:
            assert (lightness(tab) < 200) is dark
            tab.click("#theme")
            assert (lightness(tab) < 200) is not dark
            tab.keyboard.press("t")
            assert (lightness(tab) < 200) is dark


def test_print_is_dark_on_white_in_either_theme(browser, report):
    for scheme in ("dark", "light"):
        with opened(browser, report, color_scheme=scheme) as tab:
            tab.emulate_media(media="print")
            look = tab.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
            )
            assert look == ["rgb(255, 255, 255)", "rgb(31, 33, 38)"]
            assert tab.is_hidden("nav")
            assert tab.is_visible("#overview")


def test_a_narrow_window_shows_the_list_or_the_transcript(browser, report):
    with opened(browser, report, "#episodes") as tab:
        tab.set_viewport_size({"width": 480, "height": 800})
        tab.locator(".row").first.click()
        tab.wait_for_selector(".turn")
        assert tab.is_hidden("#list")
        tab.keyboard.press("Escape")
        assert tab.is_visible("#list")
        assert tab.is_hidden("#transcript")


def test_markup_stays_text_wherever_it_stands(browser, tmp_path):
    with opened(browser, save(tmp_path, hostile(tmp_path)), "#episode=0") as tab:
        tab.wait_for_selector(".turn")
        read_text = tab.text_content("#transcript")
        for place in TOLD:
            assert f"{place} {MARKUP}" in read_text, place
        assert MARKUP in tab.text_content(".row")
        assert tab.evaluate(OUTSIDE) == []
        tab.keyboard.press("g")
        assert f"model {MARKUP}" in tab.text_content("#overview")
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("img").count() == 0
        assert tab.locator("script:not([type])").count() == 1


@pytest.mark.slow
def test_ten_thousand_episodes_keep_few_rows_in_the_page(browser, tmp_path):
    data = towns(tmp_path / "data", 100)
    path = save(tmp_path, write_run(tmp_path / "run", data, varied(data, epochs=100)))
    with opened(browser, path, "#episodes") as tab:
        assert count(tab) == "10,000 episodes"
        most = 0
        for place in range(0, 620_000, 31_000):
            tab.evaluate(f"document.getElementById('list').scrollTop = {place}")
            tab.wait_for_selector(f".row[aria-posinset='{place // 62 + 1}']")
            most = max(most, tab.locator(".row").count())
        assert most <= 40
        tab.focus("#list")
        tab.keyboard.press("End")
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".turn")
        assert "town-99 · epoch 99" in tab.text_content("#transcript .path")
