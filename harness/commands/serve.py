"""Offer one environment's tools to any MCP client over stdin and stdout, and score what the client did.

The question is the prompt `question` (and the resource harness://question); the answer goes to the tool submit_answer.
When the client answers or leaves, the score is printed on stderr and, with --out, written as a run. The client never
learns it. docs/interoperability.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import add_data_option, at_least, parse_data_paths
from harness.console.text import printable
from harness.errors import UsageError
from harness.extras import install_command

HELP = "offer one environment's tools as an MCP server, and score what its client does"
MAX_TURNS = 100


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("set", metavar="FILE|TASK", help="a file of environment records, or a task's name")
    add("--sample", required=True, metavar="ID", help="which environment")
    add_data_option(parser)
    add("--client", default="client", metavar="NAME", help="who plays, for the record: the model is called mcp/NAME")
    add(
        "--max-turns",
        type=at_least(1),
        default=MAX_TURNS,
        metavar="N",
        help=f"calls and answer together; one call is one turn (default: {MAX_TURNS})",
    )
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: also where the kernel has no jail")
    add("--out", type=Path, metavar="DIR", help="write the episode as a run")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is served if the input is bad, and where mcp is not installed."""
    try:
        from harness.interop.serve import plan_episode, serve_episode
    except ImportError:
        raise UsageError(f"This command needs the mcp extra: {install_command('mcp')}.") from None
    if not args.client.strip() or args.client != printable(args.client):
        raise UsageError("--client takes a name without control characters.")
    plan = plan_episode(args.set, args.sample, parse_data_paths(args.data), args.max_turns)
    return serve_episode(plan, args.client, args.sandbox, args.out)
