"""Export for other tools: training prompts for verl, a set of environments for inspect_ai or for verifiers.

`harness export verl` writes what verl 0.9 needs to train with the paper's settings (docs/verl.md), `harness export
inspect` a task file that inspect_ai plays, `harness export verifiers` a package that vf-eval and prime-rl load
(docs/interoperability.md).
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from harness.commands.options import add_data_option, parse_data_paths
from harness.console.text import printable
from harness.errors import UsageError
from trainer.rl.algorithms import ALGORITHMS

HELP = "training prompts for verl, or environments for inspect_ai or verifiers"
MODEL = "Qwen/Qwen3-8B"
REWARDS = {"step": "paper_f1", "episode": "episode_f1"}
"""What each regime maximises where nothing is said."""
VERL = """\
Training prompts for verl 0.9: DIR gets train.parquet, reward.py, agent_loop.yaml and launch.sh.

The prompts are files that `harness collect` wrote, or environments, whose first prompts they are then. With --regime
episode whole episodes of environments are played and rewarded. Test environments are refused. docs/verl.md
"""
INSPECT = """\
A set of environments for inspect_ai: DIR gets task.py, which is small and made to be read, and environments.jsonl.

The tools run in the harness's sandbox, and the rollout and the verifier are the harness's: it must be installed beside
inspect_ai. docs/interoperability.md
"""
VERIFIERS = """\
A set of environments for verifiers: DIR gets a package that vf-eval and prime-rl load by its name.

Whole episodes: the tools run in the harness's sandbox, and the rollout and the verifier are the harness's, which must
be installed beside verifiers. docs/interoperability.md
"""


def configure(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(metavar="KIND", required=True, title="for what")
    for name, text, options, export in (
        ("verl", VERL, configure_verl, export_verl),
        ("inspect", INSPECT, configure_set, export_inspect),
        ("verifiers", VERIFIERS, configure_set, export_verifiers),
    ):
        kind = kinds.add_parser(
            name,
            help=text.partition(":")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options(kind)
        kind.set_defaults(export=export)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for what cannot be exported; then nothing is written."""
    return int(args.export(args))


def configure_verl(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tasks", nargs="+", action="extend", required=True, metavar="GLOB|FILE", help="prompts, or environments")
    add_data_option(parser)
    add("--out", type=Path, required=True, metavar="DIR", help="where the files go: a folder that every node can read")
    add("--model", default=MODEL, metavar="M", help=f"what verl trains, a path or a name (default: {MODEL})")
    exported = [name for name, algorithm in ALGORITHMS.items() if algorithm.verl]
    add("--algorithm", choices=exported, default="grpo", help="(default: grpo)")
    add("--regime", choices=list(REWARDS), default="step", help="single turns, or whole episodes (default: step)")
    add("--reward", metavar="R", help="a reward of the regime (default: paper_f1, the paper's; episode_f1)")
    add(
        "--reasoning",
        choices=["off", "on", "default"],
        help="whether the model thinks (default: as in the run, or off)",
    )


def export_verl(args: argparse.Namespace) -> int:
    """Raises UsageError for prompts, a reward or a model that cannot be exported; then nothing is written."""
    from trainer.verl.files import Export, export_prompts
    from trainer.verl.prompts import find_reasoning

    mode = find_reasoning(args.tasks, args.reasoning)
    reward = args.reward or REWARDS[args.regime]
    export = Export(args.model, args.algorithm, reward, {"off": False, "on": True}.get(mode), regime=args.regime)
    export_prompts(args.out, args.tasks, parse_data_paths(args.data), export)
    return 0


def configure_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", metavar="FILE|TASK", help="a file of environment records, or a task's name")
    add_data_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")


def export_inspect(args: argparse.Namespace) -> int:
    """Raises UsageError for a set that cannot be exported; then nothing is written."""
    from harness.interop.inspect_files import select_one_task, write_export

    refuse_file(args.out)
    task, samples = select_one_task(args.set, parse_data_paths(args.data))
    write_export(args.out, task, samples, args.set)
    command = f"cd {shlex.quote(str(args.out))} && inspect eval task.py --model MODEL"
    print(printable(f"{len(samples):,} environments for inspect_ai: {command}"))
    return 0


def export_verifiers(args: argparse.Namespace) -> int:
    """Raises UsageError for a set that cannot be exported; then nothing is written."""
    from harness.interop.inspect_files import select_one_task
    from harness.interop.verifiers_files import write_package

    refuse_file(args.out)
    task, samples = select_one_task(args.set, parse_data_paths(args.data))
    name = write_package(args.out, task, samples, args.set)
    command = f"pip install -e {shlex.quote(str(args.out))} && vf-eval {name} --model MODEL"
    print(printable(f"{len(samples):,} environments for verifiers: {command}"))
    return 0


def refuse_file(out: Path) -> None:
    """Raises UsageError where a folder cannot be made."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out names {out}, which is a file; name a folder.")
