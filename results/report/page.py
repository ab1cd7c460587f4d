"""The page: overview, episode browser, style, script and data in one file that may not load anything.

Its Content-Security-Policy allows one style and one script, by their digests, and no connection at all. Names and
texts of runs are escaped in the markup, and reach the script only as packed data that it shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from harness.runs.directory import RUN_SCHEMA
from results.report.data import Report, ReportedRun
from results.report.episodes import EpisodeTexts, list_episodes, make_index, pack_json, pack_transcripts
from results.report.figures import assign_colours
from results.report.overview import build_overview
from results.report.svg import element

PAGE_START = '<!DOCTYPE html>\n<html lang="en" data-kind="harness-report">'
"""How every report begins, so that nothing else is overwritten by one."""
SCRIPTS = ("data.js", "list.js", "graph.js", "transcript.js", "main.js")


def build_page(report: Report, title: str) -> str:
    """The whole file."""
    return "\n".join(build_lines(report, title))


def build_lines(report: Report, title: str) -> Iterator[str]:
    """The file in parts, each to begin a line. Transcripts are read one by one, and wait in a temporary file while the
    index, which stands before them, is made of all."""
    style = _themed(_static("report.css"))
    script = "(() => {\n'use strict';\n" + "\n".join(_static(name) for name in SCRIPTS) + "\n})();\n"
    yield from [
        PAGE_START,
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        _header(report.runs, title),
        f'<main id="overview">{build_overview(report)}{_foot(report.runs)}</main>',
        _static("episodes.html"),
    ]
    yield from _episodes(report.runs)
    yield from [f"<script>{script}</script>", "</body>", "</html>", ""]


def _episodes(runs: Sequence[ReportedRun]) -> Iterator[str]:
    """The data of the index, and of every block of transcripts."""
    found, texts, starts = list_episodes(runs), EpisodeTexts(), []
    with tempfile.TemporaryFile("w+", encoding="ascii") as blocks:
        for start, packed in pack_transcripts(found, texts):
            starts.append(start)
            blocks.write(packed + "\n")
        yield _data("index", pack_json(make_index(runs, found, texts, assign_colours(runs), starts)))
        blocks.seek(0)
        for number, packed in enumerate(blocks):
            yield _data(f"block-{number}", packed.removesuffix("\n"))


def _static(name: str) -> str:
    return (files("results.report") / "static" / name).read_text(encoding="utf-8")


def _themed(style: str) -> str:
    """The style with its colours said again: the dark ones for who presses the button, the light ones on paper."""
    light = style.partition(":root {")[2].partition("}")[0]
    dark = style.partition(':root:not([data-theme="light"]) {')[2].partition("}")[0]
    return style.replace("/*DARK*/", dark).replace("/*LIGHT*/", light)


def _policy(style: str, script: str) -> str:
    """No source but these two texts: not even an image or a font."""
    sources = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(name: str, packed: str) -> str:
    return element("script", packed, type="application/gzip", id=name)


def _header(runs: Sequence[ReportedRun], title: str) -> str:
    episodes = sum(len(run.results) for run in runs)
    told = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {episodes:,} episodes"
    name = element("div", element("h1", escape(title)) + element("p", told), class_="title")
    tabs = element("a", "Overview", href="#overview", data_view="overview")
    tabs += element("a", "Episodes", href="#episodes", data_view="episodes")
    buttons = element("button", "Theme", id="theme", type="button", title="dark or light (t)")
    buttons += element("button", "?", id="keys", type="button", title="keys (?)", aria_label="Keys")
    return element("header", name + element("nav", tabs, aria_label="Views") + element("div", buttons), id="top")


def _foot(runs: Sequence[ReportedRun]) -> str:
    """Where each run came from: what is needed to say what was measured."""
    lines = []
    for run in runs:
        identity = run.manifest["identity"]
        facts = [f"{run.label}: {run.path}", f"played {str(run.manifest.get('created', '?'))[:10]}"]
        facts += [f"verifier {identity['verifier']}", f"epochs {identity['epochs']}"]
        facts += [f"model {identity.get('model_fingerprint', '?')}", f"format {RUN_SCHEMA}"]
        lines.append(element("li", escape(", ".join(map(str, facts)))))
    return element("footer", element("h2", "Runs") + element("ul", "".join(lines)))
