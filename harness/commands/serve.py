"""Offer environments to other programs: one to an MCP client over stdin and stdout, or whole tasks over HTTP.

Without --http: the question is the prompt `question` (and the resource harness://question); the answer goes to the tool
submit_answer. When the client answers or leaves, the score is printed on stderr and, with --out, written as a run. The
client never learns it.

With --http: many sessions at once, by OpenEnv's reset, step and state, or by MCP at /mcp, for clients that have the
token: HARNESS_TOKEN, the file of --token-file, or a new one that is shown on the terminal. docs/interoperability.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.commands.options import add_data_option, at_least, parse_data_paths, parse_positive
from harness.console.text import printable
from harness.errors import UsageError
from harness.extras import install_command

HELP = "environments for other programs: an MCP server of one of them, or tasks over HTTP"
MAX_TURNS = 100
SESSIONS, IDLE = 64, 600.0
HOST, CLIENT = "127.0.0.1", "client"
OF_ONE, OF_HTTP = ("sample", "client", "out"), ("host", "port", "token_file", "sessions", "idle")
"""Options that say nothing to the other way of serving."""
ONE, HTTP = "one MCP client (the mcp extra)", "over HTTP"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("set", metavar="FILE|TASK", help="a file of environment records, or a task's name; with --http also a glob")
    add_data_option(parser)
    add(
        "--max-turns",
        type=at_least(1),
        metavar="N",
        help=f"calls and answer together, where one call is one turn (default: {MAX_TURNS}; with --http as in eval)",
    )
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: also where the kernel has no jail")
    configure_one(parser.add_argument_group(ONE))
    configure_http(parser.add_argument_group(HTTP))


def configure_one(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--sample", metavar="ID", help="which environment")
    add("--client", metavar="NAME", help="who plays, for the record: the model is called mcp/NAME")
    add("--out", type=Path, metavar="DIR", help="write the episode as a run")


def configure_http(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--http", action="store_true", help="serve all samples to many clients, until Ctrl-C")
    add("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1, this machine only)")
    add("--port", type=at_least(0), metavar="N", help="the port (default: one that is free)")
    add("--token-file", type=Path, metavar="FILE", help="what clients must know; as well as HARNESS_TOKEN, never shown")
    add("--sessions", type=at_least(1), metavar="N", help=f"at once, at most (default: {SESSIONS})")
    add("--idle", type=parse_positive, metavar="S", help=f"seconds one may rest (default: {IDLE:g})")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is served if the input is bad, and where mcp is needed and not installed."""
    return serve_http(args) if args.http else serve_one(args)


def serve_http(args: argparse.Namespace) -> int:
    from harness.interop.http_command import Address, find_served, serve_tasks
    from harness.interop.sessions import Bounds

    if _said(args, OF_ONE):
        raise UsageError("--http serves every sample and writes no run: leave out --sample, --client and --out.")
    port = args.port or 0
    if port > 65535:
        raise UsageError(f"{port} is no port: 0 to 65535.")
    served = find_served(args.set, parse_data_paths(args.data))
    bounds = Bounds(args.sessions or SESSIONS, args.idle or IDLE, args.max_turns)
    return serve_tasks(served, Address(args.host or HOST, port), bounds, args.token_file, args.sandbox)


def _said(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Those of the options that were given."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]


def serve_one(args: argparse.Namespace) -> int:
    try:
        from harness.interop.serve import plan_episode, serve_episode
    except ImportError:
        raise UsageError(f"This command needs the mcp extra: {install_command('mcp')}.") from None
    if args.sample is None:
        raise UsageError("Name the environment to serve with --sample ID, or serve all of them with --http.")
    if said := _said(args, OF_HTTP):
        raise UsageError(f"{said[0]} is for many clients over HTTP: give --http too, or leave it out.")
    client = CLIENT if args.client is None else args.client
    if not client.strip() or client != printable(client):
        raise UsageError("--client takes a name without control characters.")
    plan = plan_episode(args.set, args.sample, parse_data_paths(args.data), args.max_turns or MAX_TURNS)
    return serve_episode(plan, client, args.sandbox, args.out)
