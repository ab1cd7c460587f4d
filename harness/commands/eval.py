"""Evaluate models on tasks: one run directory a model and reasoning mode, then one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from harness.commands.options import (
    add_data_option,
    add_ray_option,
    at_least,
    parse_data_paths,
    parse_headers,
    parse_mass,
    parse_pairs,
    parse_penalty,
    parse_positive,
    parse_reasoning,
    parse_share,
    parse_temperature,
    parse_tool_faults,
)
from harness.errors import UsageError
from harness.types import Reasoning

HELP = "evaluate models on tasks, with the scores' uncertainty, failures and transcripts"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", nargs="+", action="extend", required=True, metavar="M", help="model names; globs over policy/*")
    add(
        "--tasks",
        nargs="+",
        action="extend",
        required=True,
        metavar="GLOB",
        help="task names (NAME@N: version N), globs, paths of data or task files",
    )
    add_data_option(parser)
    add("--limit", type=at_least(1), metavar="N", help="N samples a task: a seeded, stratified subset")
    add("--samples", nargs="+", action="extend", metavar="ID", help="only these samples")
    add("--epochs", type=at_least(1), default=1, metavar="K", help="play every sample K times (default 1)")
    add("--settings", choices=["default", "paper"], default="default", help="paper: 1,024 new tokens a turn, not 8,192")
    add("--max-turns", type=at_least(1), metavar="N", help="turns an episode (default 20, or what the benchmark says)")
    add(
        "--temperature",
        type=parse_temperature,
        default=0.0,
        metavar="T",
        help="sampling temperature (eval 0, collect 1)",
    )
    _add_sampling_options(add)
    _add_turn_options(add)
    add("--concurrency", type=at_least(1), default=16, metavar="N", help="episodes at once (default 16)")
    add("--seed", type=int, metavar="S", help="seeds subsets, policy/random and, where given, the provider's sampling")
    _add_place_options(parser)
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: run tools even where isolation is missing")
    add("--out", type=Path, metavar="DIR", help="run directory (default results/runs/TIME-MODEL)")
    add("--resume", action="store_true", help="go on with the run in --out")
    _add_spending_options(add)
    add("--dry-run", action="store_true", help="estimate requests, tokens and cost; send nothing")
    _add_endpoint_options(add)
    add("--quiet", action="store_true", help="no progress bar, and no lines in a log")
    _add_tool_options(parser.add_argument_group("limits on tools", "a call beyond one is answered as refused"))
    _add_faults_option(add)
    _add_user_options(parser.add_argument_group("simulated user", "the other side of a conversation, as in taubench_*"))


def _add_turn_options(add: Callable[..., object]) -> None:
    add("--max-tokens", type=at_least(1), metavar="N", help="new tokens a turn (default 8,192)")
    add("--max-episode-tokens", type=at_least(1), metavar="N", help="output tokens an episode (default: no limit)")
    add("--max-episode-seconds", type=parse_positive, default=3600.0, metavar="S", help="an episode's time (3600)")
    add(
        "--reasoning",
        type=parse_reasoning,
        default=(Reasoning(),),
        metavar="MODE",
        help="off, on, low, medium, high, budget:N (tokens), or both: off and on, compared",
    )
    add(
        "--reasoning-history",
        choices=["none", "last", "all"],
        default="all",
        help="whose reasoning goes back to the model in later turns: no turn's, the last one's, every one's (default)",
    )


def _add_place_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--max-wait",
        type=parse_positive,
        default=600.0,
        metavar="S",
        help="end a run whose endpoint accepted no request at all for S seconds (600)",
    )
    add_ray_option(parser)
    add(
        "--ray-keys",
        nargs="+",
        action="extend",
        default=[],
        metavar="VARIABLE",
        help="variables that --ray sends along",
    )


def _add_endpoint_options(add: Callable[..., object]) -> None:
    add("--base-url", metavar="URL", help="the endpoint's base URL (also OPENAI_BASE_URL, ANTHROPIC_BASE_URL)")
    add(
        "--model-arg",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="options of the model's backend, as docs/endpoints.md lists them",
    )
    add("--header", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="sent with every request")


def _add_sampling_options(add: Callable[..., object]) -> None:
    add("--top-p", type=parse_mass, metavar="P", help="draw from the likeliest tokens that make up P (0 to 1)")
    add("--top-k", type=at_least(1), metavar="K", help="draw from the K likeliest tokens")
    add("--min-p", type=parse_share, metavar="P", help="draw from tokens at least P times as likely as the likeliest")
    add("--presence-penalty", type=parse_penalty, metavar="X", help="taken off a token that was written (-2 to 2)")
    add("--frequency-penalty", type=parse_penalty, metavar="X", help="the same for each time it was (-2 to 2)")
    add("--repetition-penalty", type=parse_positive, metavar="X", help="divides a token that was read or written")


def _add_spending_options(add: Callable[..., object]) -> None:
    add(
        "--max-cost",
        type=parse_positive,
        metavar="USD",
        help="end the run before it costs more than this, by at most 5 %%",
    )
    add("--max-tokens-total", type=at_least(1), metavar="N", help="begin no episode once so many tokens are used")
    add("--prices", type=Path, metavar="FILE", help="what tokens cost, as TOML (default ~/.config/harness/prices.toml)")


def _add_tool_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--max-turn-calls", type=at_least(1), metavar="N", help="calls of one turn that are run (256)")
    add("--max-turn-seconds", type=parse_positive, metavar="S", help="that the tools of one turn run (120)")
    add("--max-tool-seconds", type=parse_positive, metavar="S", help="that the tools of one episode run (600)")
    add("--max-turn-output", type=at_least(1), metavar="BYTES", help="of the tools of one turn (1 MiB)")
    add("--max-tool-output", type=at_least(1), metavar="BYTES", help="of the tools of one episode (4 MiB)")
    add("--max-tool-processes", type=at_least(1), metavar="N", help="that belong to single episodes, in all (256)")
    add(
        "--max-tool-memory",
        type=at_least(1),
        metavar="BYTES",
        help="of these processes in all (8 GiB, or half of the machine's if that is less)",
    )
    add(
        "--max-tool-files",
        type=at_least(2),
        metavar="N",
        help="open files for these processes (half of what ulimit -n allows)",
    )


def _add_faults_option(add: Callable[..., object]) -> None:
    add(
        "--tool-faults",
        type=parse_tool_faults,
        metavar="P[:KIND]",
        help="each call of a tool fails with probability P, seeded: by KIND (timeout, 500, 429, malformed, truncated "
        "or permission), or without it by any of them (docs/tool-faults.md)",
    )


def _add_user_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--user-model", metavar="M", help="who plays it; policy/scripted: who reference policies meet")
    add("--user-base-url", metavar="URL", help="the endpoint of --user-model (default: as for models)")
    add("--user-model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of its backend")
    add("--user-header", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="sent with its requests")
    add("--user-temperature", type=parse_temperature, metavar="T", help="its temperature (default 0)")
    add("--user-max-tokens", type=at_least(1), metavar="N", help="its new tokens a message (2048)")
    add("--user-seed", type=int, metavar="S", help="its seed; each episode has its own from it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is played if the input is bad."""
    from harness.evaluation.from_options import make_plan, play_plan

    if args.resume and args.out is None:
        raise UsageError("--resume needs --out: the directory of the run to go on with.")
    options = read_options(args)
    return play_plan(options, make_plan(options))


def read_options(args: argparse.Namespace) -> argparse.Namespace:
    """The options with their NAME=VALUE texts read. Raises UsageError for one that is none."""
    read = {
        "data": parse_data_paths(args.data),
        "model_arg": parse_pairs(args.model_arg, "--model-arg"),
        "header": parse_headers(args.header, "--header"),
        "user_model_arg": parse_pairs(args.user_model_arg, "--user-model-arg"),
        "user_header": parse_headers(args.user_header, "--user-header"),
    }
    return argparse.Namespace(**{**vars(args), **read})
