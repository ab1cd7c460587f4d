"""The view's page: the report's list and transcripts, with a list of runs before them, fed by the server."""

from __future__ import annotations

from dataclasses import dataclass

from results.report.shell import READER, build_header, head_lines, join_scripts, make_policy, read_static, read_style
from results.report.svg import element

HOME = "results.view"
COLUMNS = ("model", "run", "tasks", "episodes", "failed", "score so far", "last episode")


@dataclass(frozen=True, slots=True)
class ViewPage:
    """The page, and the policy that it is sent under."""

    text: str
    policy: str


def build_page() -> ViewPage:
    """A page without a word of any run: these come as data, and become text."""
    style = read_style() + read_static("view.css", HOME)
    scripts = [*map(read_static, READER), *(read_static(name, HOME) for name in ("runs.js", "live.js"))]
    script = join_scripts([*scripts, "startView();"])
    policy = f"{make_policy(style, script)}; connect-src 'self'"
    lines = [
        '<!DOCTYPE html>\n<html lang="en" data-kind="harness-view">',
        *head_lines("harness view", style, policy),
        "<body>",
        build_header("harness view", "", "Runs"),
        element("p", "The server does not answer: what is shown is what it said last.", id="lost", hidden=""),
        element("main", _runs(), id="overview"),
        read_static("episodes.html"),
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ]
    return ViewPage("\n".join(lines), policy + "; frame-ancestors 'none'")


def _runs() -> str:
    heads = "".join(element("th", name, scope="col", class_="name") for name in COLUMNS)
    table = element("table", element("thead", element("tr", heads)) + element("tbody", id="runs"))
    none = element("p", "There is no run here yet.", id="none", class_="note", hidden="")
    return element("section", element("div", table, class_="scroll", tabindex=0) + none, aria_label="Runs")
