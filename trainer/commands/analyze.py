"""Show where training changed a network: the relative change of parameters by layer and module.

BASE and TRAINED are folders of safetensors (one file or shards), a .safetensors file, or bundled/NAME; TRAINED may be a
LoRA adapter. Nothing is loaded whole: a model of any size takes a few hundred megabytes of memory. --text also
loads and runs both, to say what training did to the text that BASE was warmed up on. docs/analysis.md
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console.text import printable
from harness.errors import UsageError

if TYPE_CHECKING:
    from trainer.analysis.changes import TensorChange, TensorPair, WeightAnalysis
    from trainer.analysis.text_loss import TextLoss

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
    from trainer.analysis.changes import group_changes, pair_tensors
    from trainer.analysis.weights import open_weights

    if args.out is not None and args.out.suffix not in ENDINGS:
        raise UsageError(f"--out must end in {', '.join(ENDINGS)}; {args.out} does not.")
    if args.out is not None and not args.out.parent.is_dir():
        raise UsageError(f"--out names {args.out}, but there is no folder {args.out.parent}.")
    paths = [find_model(name) for name in (args.base, args.trained)]
    base, trained = (open_weights(path) for path in paths)
    compared = pair_tensors(base, trained)
    text = [] if args.text is None else on_text(paths[0], paths[1], args.text)
    result = group_changes(base, trained, measure_changes(compared))
    if args.out is not None:
        write(args.out, result)
    if args.format == "json":
        said = {"text": [one.to_json() for one in text]} if text else {}
        print(json.dumps(result.to_json() | said, indent=2))
    else:
        print(printable("\n\n".join([report(result, STYLES[args.format]), *text_table(text, STYLES[args.format])])))
    return 0


def on_text(base: Path, trained: Path, file: Path) -> list[TextLoss]:
    """The losses on demonstrations of a file's environments. Raises UsageError where they cannot be had."""
    from harness.data.records import read_samples
    from harness.models.local.packages import check_packages, set_library_defaults

    check_packages("--text", ("torch", "transformers", "safetensors"), "train")
    set_library_defaults()
    from trainer.analysis.text_loss import compare_text_losses

    return compare_text_losses(base, trained, read_samples(file))


def text_table(losses: Sequence[TextLoss], style: str) -> list[str]:
    """A row a text: loss in nats a token before and after, with the paired interval; nothing where none was asked."""
    rows = []
    for one in losses:
        low, high = one.difference.ci95 or (None, None)
        interval = "-" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"
        change = "-" if one.difference.value is None else f"{one.difference.value:+.4f}"
        rows.append([one.text, f"{one.base:.4f}", f"{one.trained:.4f}", change, interval, str(one.difference.n)])
    headers = ["loss on demonstrations", "base", "trained", "difference", "95 %", "n"]
    return [_table(rows, headers, style)] if rows else []


def find_model(name: str) -> Path:
    """The path of a model. Raises UsageError for a bundled model that there is not."""
    kind, slash, rest = name.partition("/")
    if kind != "bundled" or not slash or Path(name).exists():
        return Path(name)
    from trainer import bundled

    return Path(bundled.model_path(rest))


def measure_changes(found: Sequence[TensorPair]) -> Iterator[TensorChange]:
    """The changes, with a progress bar on a terminal."""
    from harness.console.progress import ProgressBar
    from trainer.analysis.changes import measure_change

    with ProgressBar(" parameters", scaled=True, leave=False) as progress:
        progress.begin("", sum(pair.base.size for pair in found))
        for pair in found:
            yield measure_change(pair)
            progress.advance(pair.base.size)


def report(analysis: WeightAnalysis, style: str) -> str:
    """The tables and the answer, in one of tabulate's formats."""
    tables = [table for table in (grid(analysis, style), rest(analysis, style), parts(analysis, style)) if table]
    return "\n\n".join([*tables, analysis.answer()])


def grid(analysis: WeightAnalysis, style: str) -> str:
    """A row a layer, a column a module: relative change in percent."""
    values = {(cell.place.layer, cell.place.module): cell.relative for cell in analysis.grid}
    if not values:
        return ""
    names = shorten_modules(analysis.modules)
    rows = [
        [str(layer), *(_number(values.get((layer, module))) for module in analysis.modules)]
        for layer in analysis.layers
    ]
    return _table(rows, ["layer, %", *names], style)


def shorten_modules(modules: Sequence[str]) -> list[str]:
    """The last word of each module's name without `_proj`, or the whole name where two would be the same."""
    words = [module.removesuffix(".bias").rpartition(".")[2].removesuffix("_proj") for module in modules]
    last = [word + ".bias" * module.endswith(".bias") for word, module in zip(words, modules, strict=True)]
    return [word if last.count(word) == 1 else module for word, module in zip(last, modules, strict=True)]


def rest(analysis: WeightAnalysis, style: str) -> str:
    """What lies outside of the layers, other stacks of layers by module."""
    from itertools import groupby

    from trainer.analysis.changes import TensorPlace, merge_cells

    def where(place: TensorPlace) -> tuple[str, str]:
        return place.stack, place.module

    cells = sorted(analysis.rest, key=lambda cell: (cell.place.layer is not None, where(cell.place)))
    rows = []
    for (stack, module), some in groupby(cells, key=lambda cell: where(cell.place)):
        cell = merge_cells(TensorPlace(stack, None, module, "other"), some)
        name = f"{stack}.*.{module}" if stack else module
        rows.append([name, f"{cell.parameters:,}", _number(cell.relative)])
    return _table(rows, ["outside of the layers", "parameters", "relative change, %"], style) if rows else ""


def parts(analysis: WeightAnalysis, style: str) -> str:
    """The kinds of modules and the lower layers' MLPs, each with its share of everything."""
    shares = ("parameter_share", "squared_change_share", "cell_share", "relative_change_share", "relative_change")
    rows = [[part["part"], *(_number(part[share]) for share in shares)] for part in analysis.parts()]
    headers = [
        "part",
        "of parameters, %",
        "of squared change, %",
        "of cells, %",
        "of summed relative change, %",
        "relative change, %",
    ]
    return _table(rows, headers, style)


def _number(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g}"


def _table(rows: list[list[str]], headers: list[str], style: str) -> str:
    from tabulate import tabulate

    alignment = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=alignment)


def write(path: Path, analysis: WeightAnalysis) -> None:
    """Writes the analysis in the format of the path's ending, the whole file or none."""
    from harness.data.jsonio import write_atomically, write_json
    from trainer.analysis.changes import cell_to_json
    from trainer.analysis.heatmap import draw_heatmap

    if path.suffix == ".json":
        write_json(path, analysis.to_json())
    elif path.suffix == ".svg":
        write_atomically(path, draw_heatmap(analysis))
    else:
        text = io.StringIO()
        rows = [cell_to_json(cell) for cell in analysis.cells]
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue())
