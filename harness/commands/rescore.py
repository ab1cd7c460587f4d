"""Score a run anew with the current verifier, from its stored outputs: no model is called, no tool runs.

samples.jsonl (or samples.jsonl.xz) and summary.json are replaced; the table shows the run before and after. With
--economy tools do run: every call is left out once, and the others are run again (docs/scoring.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import add_trust_option

HELP = "score a run anew with the current verifier, without calling a model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument("--economy", action="store_true", help="also score efficiency and necessity of calls")
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that is no run or has no episodes, or whose task data is gone or changed."""
    from harness.evaluation.rescore import rescore_runs

    rescore_runs(args.run, args.trust_code, args.economy)
    return 0
