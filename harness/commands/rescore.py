"""Score a run anew with the current verifier, from its stored outputs: no model is called, no tool runs.

samples.jsonl (or samples.jsonl.xz) and summary.json are replaced; the table shows the run before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import add_trust_option

HELP = "score a run anew with the current verifier, without calling a model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories")
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that is no run or has no episodes, or whose task data is gone or changed."""
    from harness.evaluation.rescore import rescore_runs

    rescore_runs(args.run, args.trust_code)
    return 0
