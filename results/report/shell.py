"""What the report and the view have in common: a page of one style and one script that may load nothing.

Its Content-Security-Policy allows these two texts by their digests. Names and texts of runs are escaped in the markup,
and reach the script only as data that it shows as text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from results.report.svg import element

READER = ("elements.js", "list.js", "graph.js", "transcript.js", "main.js")
"""The scripts of the list and the transcripts, wherever their data comes from."""


def read_static(name: str, package: str = "results.report") -> str:
    return (files(package) / "static" / name).read_text(encoding="utf-8")


def read_style() -> str:
    """The style with its colours said again: the dark ones for who presses the button, the light ones on paper."""
    style = read_static("report.css")
    light = style.partition(":root {")[2].partition("}")[0]
    dark = style.partition(':root:not([data-theme="light"]) {')[2].partition("}")[0]
    return style.replace("/*DARK*/", dark).replace("/*LIGHT*/", light)


def join_scripts(texts: Sequence[str]) -> str:
    """One script whose names are its own."""
    return "(() => {\n'use strict';\n" + "\n".join(texts) + "\n})();\n"


def make_policy(style: str, script: str) -> str:
    """No source but these two texts: not even an image or a font."""
    sources = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def head_lines(title: str, style: str, policy: str) -> Iterator[str]:
    """The page's head."""
    yield from [
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        "</head>",
    ]


def build_header(title: str, told: str, first: str) -> str:
    """The bar: what this is, its two views, of which `first` names the one before the episodes, and buttons."""
    name = element("div", element("h1", escape(title)) + element("p", escape(told), id="told"), class_="title")
    tabs = element("a", first, href="#overview", data_view="overview")
    tabs += element("a", "Episodes", href="#episodes", data_view="episodes")
    buttons = element("button", "Theme", id="theme", type="button", title="dark or light (t)")
    buttons += element("button", "?", id="keys", type="button", title="keys (?)", aria_label="Keys")
    return element("header", name + element("nav", tabs, aria_label="Views") + element("div", buttons), id="top")
