"""The page: overview, episode browser, style, script and data in one file that may not load anything, nor connect."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

from results.report.data import Report, ReportedRun
from results.report.episodes import EpisodeTexts, list_episodes, make_index, pack_json, pack_transcripts
from results.report.figures import assign_colours
from results.report.overview import build_overview, section
from results.report.settings import build_settings
from results.report.shell import READER, build_header, head_lines, join_scripts, make_policy, read_static, read_style
from results.report.svg import element

PAGE_START = '<!DOCTYPE html>\n<html lang="en" data-kind="harness-report">'
"""How every report begins, so that nothing else is overwritten by one."""


def build_page(report: Report, title: str) -> str:
    """The whole file."""
    return "\n".join(build_lines(report, title))


def build_lines(report: Report, title: str) -> Iterator[str]:
    """The file in parts, each to begin a line. Transcripts are read one by one, and wait in a temporary file while the
    index, which stands before them, is made of all."""
    played = section("How it was played", build_settings(report.runs))
    style, script = read_style(), join_scripts([*map(read_static, (*READER, "data.js")), "startReport();"])
    yield from [
        PAGE_START,
        *head_lines(title, style, make_policy(style, script)),
        "<body>",
        _header(report.runs, title),
        f'<main id="overview">{build_overview(report)}{played}</main>',
        read_static("episodes.html"),
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


def _data(name: str, packed: str) -> str:
    return element("script", packed, type="application/gzip", id=name)


def _header(runs: Sequence[ReportedRun], title: str) -> str:
    episodes = sum(len(run.results) for run in runs)
    return build_header(title, f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {episodes:,} episodes", "Overview")
