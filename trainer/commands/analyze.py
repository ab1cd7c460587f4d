"""Show where training changed a network: the relative change of parameters by layer and module.

BASE and TRAINED are folders of safetensors (one file or shards), a .safetensors file, or bundled/NAME; TRAINED may be a
LoRA adapter. Nothing is loaded whole: a model of any size takes a few hundred megabytes of memory. --text also
loads and runs both, to say what training did to the text that BASE was warmed up on. docs/analysis.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.console.text import printable
from harness.errors import UsageError

HELP = "where training changed a network, by layer and module"
STYLES = {"simple": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}
ENDINGS = (".json", ".csv", ".svg")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", metavar="BASE", help="the model before training: a folder, or bundled/NAME")
    parser.add_argument("trained", metavar="TRAINED", help="the model after it, or its LoRA adapter")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write a .json, .csv or .svg (heat map)")
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="environments with gold: also the loss of both on demonstrations of them, by the warm-up recipe of BASE",
    )
    parser.add_argument("--format", choices=[*STYLES, "json"], default="simple", help="how to print it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where the two cannot be compared or FILE cannot be written."""
    from trainer.analysis.report import analyze_models
    from trainer.outputs import check_output, list_model_files

    if args.out is not None and args.out.suffix not in ENDINGS:
        raise UsageError(f"--out must end in {', '.join(ENDINGS)}; {args.out} does not.")
    if args.out is not None and not args.out.parent.is_dir():
        raise UsageError(f"--out names {args.out}, but there is no folder {args.out.parent}.")
    if args.out is not None:
        read = [file for model in (args.base, args.trained) for file in list_model_files(Path(model))]
        check_output(args.out, [*read, *([args.text] if args.text else [])])
    report = analyze_models(args.base, args.trained, args.text)
    if args.out is not None:
        report.write(args.out)
    print(report.to_json() if args.format == "json" else printable(report.format(STYLES[args.format])))
    return 0
