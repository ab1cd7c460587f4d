"""Ask a network's hidden states whether a call is due: a linear probe at every layer, judged on unseen worlds.

It reads the last hidden state before the model's first reply to each sample, of the very prompt that `harness eval`
sends, and learns what docs/decisions.md says is right there: to call, or not to. Beside it stand predictors that read
the same prompt without understanding it. With --after reasoning the model writes its first reply, and the state is the
last one before it says anything. FILE is a JSON object with the probe of the best layer and two thresholds;
`harness eval --model-arg probe=FILE` lets it decide. docs/decisions.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import at_least, parse_pairs, parse_reasoning
from harness.console.text import printable
from harness.errors import UsageError
from harness.types import Reasoning

HELP = "whether a network's hidden states tell that a call is due, layer by layer"
PLACES = ("prompt", "reasoning")
"""As harness.models.local.probe has them, which wants numpy."""
MAX_TOKENS = 2048


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="hf/PATH or bundled/NAME")
    add(
        "--tasks",
        nargs="+",
        action="extend",
        metavar="GLOB",
        help="tasks of twins (default 'when_*'), or a file of `harness build --scenario when`",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="where the probe goes: a .json file")
    add("--seed", type=int, default=0, metavar="S", help="which worlds are judged together (default 0)")
    add(
        "--reasoning",
        type=parse_reasoning,
        default=(Reasoning(),),
        metavar="MODE",
        help="off, on, low, medium, high or budget:N, as the prompt is to say it",
    )
    add(
        "--after",
        choices=PLACES,
        default="prompt",
        help="behind what the hidden state is read: the prompt (default), or the reasoning before a first reply",
    )
    add(
        "--max-tokens",
        type=at_least(1),
        metavar="N",
        help="with --after reasoning: tokens that a reply may have (default 2048)",
    )
    add("--model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of the model's backend")
    add("--quiet", action="store_true", help="no progress bar, and no lines in a log")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a model that shows no hidden states, and for samples that are no twins."""
    from trainer.analysis.probing import probe_model
    from trainer.outputs import check_output, list_model_files

    if args.out.suffix != ".json":
        raise UsageError(f"--out {args.out} is no .json file; name one.")
    if not args.out.parent.is_dir():
        raise UsageError(f"--out names {args.out}, but there is no folder {args.out.parent}.")
    tasks = args.tasks or ["when_*"]
    check_output(args.out, [*map(Path, tasks), *list_model_files(Path(args.model.removeprefix("hf/")))])
    if args.max_tokens is not None and args.after != "reasoning":
        raise UsageError("--max-tokens is of replies, which --after reasoning alone has; leave it out.")
    if len(args.reasoning) > 1:
        raise UsageError("--reasoning both is two prompts for each sample; probe with off or on.")
    model_args = parse_pairs(args.model_arg, "--model-arg")
    report = probe_model(
        args.model,
        model_args,
        tasks,
        args.seed,
        args.reasoning[0],
        args.quiet,
        args.after,
        args.max_tokens or MAX_TOKENS,
    )
    report.write(args.out)
    print(printable(f"{report.format()}\n\nThe probe of layer {report.probe.layer}: {args.out}"))
    return 0
