"""Looks at the tools of the bundled environments, so that nobody who plays them has to (harness.data.bundled_sources).

python -m tasks.look_at_sources

To be run after a file of tasks/data came or a rule of harness.sandbox.screen changed; a test says when that was
forgotten. Left out: tools of demo_*, which are few.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from harness.data import jsonio
from harness.data.bundled_sources import FILE, digest_tool, to_bytes
from harness.data.source import parse_source
from harness.sandbox import screen
from tasks.synthesised import FOLDER

Tool = tuple[str, str]
"""A name and a source."""


def bundled_tools() -> Iterator[Tool]:
    """Those of every bundled file, each as often as it stands there."""
    for path in sorted(FOLDER.glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as rows:
            for row in rows:
                codes = jsonio.parse_json(row)["codes"]
                yield from (jsonio.parse_json(codes) if isinstance(codes, str) else codes).items()


def is_sound(tool: Tool) -> bool:
    """Whether there is nothing left to find out about a tool: it can be called, and may share a worker as it is."""
    name, source = tool
    return screen.is_plain_source(source) and parse_source(source).defines(name) and not screen.uses_chance(source)


def main() -> None:
    FILE.write_bytes(to_bytes(digest_tool(*tool) for tool in set(bundled_tools()) if is_sound(tool)))


if __name__ == "__main__":
    main()
