"""Build environments: from fictional worlds without any model, or by a model that writes them.

Every environment is validated before it is written. An interrupted build goes on with the same command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from envbuilder.plan import BuildPlan, BuildReport
from envbuilder.records import QUESTION_KINDS, TWINS, QuestionKind
from envbuilder.spec import GENERATION, GENERATIONS, MEANS, PRESETS, scale_levels
from harness.commands.options import add_ray_option, at_least, parse_headers, parse_pairs
from harness.console.text import printable
from harness.data.files import SUFFIXES, file_suffix
from harness.errors import UsageError
from harness.scoring.decisions import SITUATIONS

HELP = "build environments: five stages, each one validated before it is written"
PROCEDURAL = "procedural"
RESERVED_SEED = 20250811
"""The seed of the test environments that ship with the package."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--generator", default=PROCEDURAL, metavar="procedural|MODEL", help="what writes them (default procedural)")
    kinds = [*QUESTION_KINDS, "all", TWINS]
    add(
        "--scenario",
        nargs="+",
        choices=kinds,
        default=["all"],
        help="which kinds, in turn (default all, the four of the paper); when: twins that ask when to call, alone",
    )
    add("--n", type=at_least(1), required=True, metavar="N", help="environments in all")
    add("--level", choices=list(PRESETS), default="paper", help="how large and hard (default paper)")
    add(
        "--scale",
        nargs="+",
        action="extend",
        default=[],
        metavar="MEANS=0..3",
        help=f"one of these otherwise than the level has it: {', '.join(MEANS)}",
    )
    add(
        "--about",
        nargs="+",
        action="extend",
        default=[],
        metavar="KIND",
        help="kinds of things to ask about, and no others, such as school teacher (default: all that the level has)",
    )
    add(
        "--generation",
        type=int,
        choices=GENERATIONS,
        default=GENERATION,
        help=f"of the procedural generator; 1 repeats the builds of earlier versions (default {GENERATION})",
    )
    add("--seed", type=int, default=0, metavar="S", help="another seed, other environments (default 0)")
    add(
        "--split",
        choices=["train", "validation", "test"],
        default="train",
        help="splits share no world (default train)",
    )
    add("--names", choices=["disjoint", "shared"], default="disjoint", help="whether splits may share entity names")
    add("--out", type=Path, required=True, metavar="FILE", help="FILE.jsonl, .jsonl.gz, .jsonl.xz or .parquet")
    add("--keep-stages", type=Path, metavar="DIR", help="what each stage made of every environment")
    add("--workers", type=at_least(1), metavar="N", help="processes of the procedural generator (default: all cores)")
    add_ray_option(parser)
    _add_model_options(add)
    add("--quiet", action="store_true", help="no progress bar, and no lines in a log")


def _add_model_options(add: Callable[..., object]) -> None:
    """What a generator that is a model takes."""
    add("--topics", type=Path, metavar="FILE", help="a model's topics, one a line (default: a bundled list)")
    add(
        "--questions",
        type=Path,
        metavar="FILE",
        help="a model's questions: one a line, or JSON {question, answer, kind}",
    )
    add(
        "--tries",
        type=at_least(1),
        default=3,
        metavar="N",
        help="replies a model gets for each thing asked (default 3)",
    )
    add("--temperature", type=float, default=0.0, metavar="T", help="a model's sampling temperature (default 0)")
    add("--max-tokens", type=at_least(1), default=8192, metavar="N", help="a model's new tokens a reply (8192)")
    add("--concurrency", type=at_least(1), default=8, metavar="N", help="environments a model works on at once (8)")
    add("--base-url", metavar="URL", help="an OpenAI-compatible endpoint (also OPENAI_BASE_URL)")
    add("--model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of the model's backend")
    add("--header", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="sent with every request")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is built if the input is bad."""
    if file_suffix(args.out) not in SUFFIXES:
        raise UsageError(f"--out {args.out} must end in {', '.join(SUFFIXES)}.")
    if args.out.exists():
        raise UsageError(f"{args.out} is there already; name another file, or delete it.")
    if args.seed == RESERVED_SEED and args.split != "test":
        raise UsageError(f"The seed {RESERVED_SEED} is reserved for the bundled test environments; choose another.")
    if not args.out.parent.is_dir():
        raise UsageError(f"There is no folder {args.out.parent} for --out.")
    if args.ray is not None and (args.workers or args.generator != PROCEDURAL):
        raise UsageError(
            "--ray builds with the procedural generator, on all the cores that Ray has: leave the rest out."
        )
    if args.about and args.generator != PROCEDURAL:
        raise UsageError("--about is for the procedural generator; a model is told what to write about by --topics.")
    if TWINS in args.scenario:
        _check_twins(args)
    plan = _plan(args)
    try:
        report = _procedural(plan, args) if args.generator == PROCEDURAL else _modelled(plan, args)
    except KeyboardInterrupt:
        print("Interrupted. What was built is kept; the same command goes on.", file=sys.stderr)
        raise
    print(printable(_described(report, args)))
    return 0 if sum(report.built.values()) == args.n else 1


def _check_twins(args: argparse.Namespace) -> None:
    """Raises UsageError where twins are asked for in a way in which they are not made."""
    if len(args.scenario) > 1:
        raise UsageError(f"--scenario {TWINS} is built alone: name no other kind beside it.")
    if args.generator != PROCEDURAL or args.generation != GENERATION or args.keep_stages is not None:
        raise UsageError(
            f"--scenario {TWINS} is made by the procedural generator of generation {GENERATION}, and keeps no stages."
        )
    if args.n % len(SITUATIONS):
        raise UsageError(f"--n {args.n}: a world of --scenario {TWINS} has {len(SITUATIONS)} twins; give a multiple.")


def _plan(args: argparse.Namespace) -> BuildPlan:
    return BuildPlan(
        kinds=_kinds(args.scenario),
        n=args.n,
        preset=args.level,
        levels=scale_levels(args.level, args.generation, args.scale),
        seed=args.seed,
        split=args.split,
        names=args.names,
        generation=args.generation,
        about=_about(args.about),
    )


def _about(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    from envbuilder.worlds.catalogue import read_kinds

    return read_kinds(names)


def _kinds(scenarios: Sequence[str]) -> tuple[QuestionKind, ...]:
    if TWINS in scenarios:
        return (TWINS,)
    return tuple(kind for kind in QUESTION_KINDS if kind in scenarios or "all" in scenarios)


def _procedural(plan: BuildPlan, args: argparse.Namespace) -> BuildReport:
    from envbuilder.pipeline import build_file_in_sight
    from harness.distributed.cluster import connect_if

    with connect_if(args.ray) as cluster:
        return build_file_in_sight(
            plan, args.out, workers=args.workers, keep_stages=args.keep_stages, quiet=args.quiet, cluster=cluster
        )


def _modelled(plan: BuildPlan, args: argparse.Namespace) -> BuildReport:
    from envbuilder.model.build import ModelBuildOptions, build_file_with_model

    options = ModelBuildOptions(
        model=args.generator,
        model_args=parse_pairs(args.model_arg, "--model-arg"),
        base_url=args.base_url,
        headers=parse_headers(args.header, "--header"),
        tries=args.tries,
        concurrency=args.concurrency,
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        topics=args.topics,
        questions=args.questions,
    )
    return build_file_with_model(plan, options, args.out, args.keep_stages, args.quiet)


def _described(report: BuildReport, args: argparse.Namespace) -> str:
    from tabulate import tabulate

    built = tabulate(sorted(report.built.items()), headers=["scenario", "environments"])
    refused = tabulate(report.refused.most_common(), headers=["refused because", "attempts"])
    lines = [built, ""]
    if report.refused:
        lines += [refused, ""]
    if report.text:
        lines += [report.text, ""]
    return "\n".join([*lines, f"{sum(report.built.values())} environments in {args.out}"])
