"""Show a run or a folder of runs in the browser while they are played: progress, newest episodes, every transcript.

Serves on 127.0.0.1 only, prints its address, and ends with Ctrl-C. The address has a secret word, new each time;
without it nobody else on this machine can read what is served.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "runs in the browser, followed while they are played"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="a run directory, or a folder that holds some, now or later")
    add("--port", type=parse_port, default=0, metavar="N", help="the port (default: one that is free)")


def parse_port(text: str) -> int:
    """An argparse type."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where there is no folder, or the port is taken."""
    from results.view.server import serve_view

    serve_view(args.folder, args.port)
    return 0
