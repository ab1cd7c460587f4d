"""What `harness analyze` says: the tables, the answer, and the file.

--text loads both models and runs them, which needs torch; all the rest reads their weights without it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from harness.console.progress import ProgressBar
from harness.data.jsonio import write_atomically, write_json
from harness.data.records import read_samples
from harness.models.local.packages import check_packages, set_library_defaults
from trainer import bundled
from trainer.analysis.changes import (
    TensorChange,
    TensorPair,
    WeightAnalysis,
    cell_to_json,
    group_changes,
    measure_change,
    merge_cells,
    pair_tensors,
)
from trainer.analysis.heatmap import draw_heatmap
from trainer.analysis.weights import open_weights
from trainer.tensor_places import TensorPlace

if TYPE_CHECKING:
    from trainer.analysis.text_loss import TextLoss


@dataclass(frozen=True, slots=True)
class AnalysisReport:
    """What changed between two networks; `losses` of texts where some were asked for."""

    analysis: WeightAnalysis
    losses: Sequence[TextLoss] = ()

    def to_json(self) -> str:
        said = {"text": [one.to_json() for one in self.losses]} if self.losses else {}
        return json.dumps(self.analysis.to_json() | said, indent=2)

    def format(self, style: str) -> str:
        """The tables and the answer, in one of tabulate's formats."""
        makers = (format_grid, format_rest, format_parts)
        tables = [table for make in makers if (table := make(self.analysis, style))]
        losses = [format_losses(self.losses, style)] if self.losses else []
        return "\n\n".join([*tables, self.analysis.answer(), *losses])

    def write(self, path: Path) -> None:
        """Writes the analysis in the format of the path's ending (.json, .svg or .csv), the whole file or none."""
        if path.suffix == ".json":
            write_json(path, self.analysis.to_json())
        elif path.suffix == ".svg":
            write_atomically(path, draw_heatmap(self.analysis))
        else:
            write_atomically(path, format_csv(self.analysis))


# --- measured ------------------------------------------------------------------------------------------------------


def analyze_models(base: str, trained: str, text: Path | None) -> AnalysisReport:
    """Compares two models, on a file of environments with gold where there is `text`. Raises UsageError where they
    cannot be compared."""
    paths = [find_model(name) for name in (base, trained)]
    before, after = (open_weights(path) for path in paths)
    pairs = pair_tensors(before, after)
    losses = [] if text is None else measure_text(paths[0], paths[1], text)
    return AnalysisReport(group_changes(before, after, measure_changes(pairs)), losses)


def find_model(name: str) -> Path:
    """The path of a model. Raises UsageError for a bundled model that there is not."""
    kind, slash, rest = name.partition("/")
    if kind != "bundled" or not slash or Path(name).exists():
        return Path(name)
    return bundled.model_path(rest)


def measure_changes(pairs: Sequence[TensorPair]) -> Iterator[TensorChange]:
    """The changes, with a progress bar on a terminal."""
    with ProgressBar(" parameters", scaled=True, leave=False) as progress:
        progress.begin("", sum(pair.base.size for pair in pairs))
        for pair in pairs:
            yield measure_change(pair)
            progress.advance(pair.base.size)


def measure_text(base: Path, trained: Path, file: Path) -> list[TextLoss]:
    """The losses on demonstrations of a file's environments. Raises UsageError where they cannot be had."""
    check_packages("--text", ("torch", "transformers", "trl", "safetensors"), "train")
    set_library_defaults()
    from trainer.analysis.text_loss import compare_text_losses  # needs torch and TRL

    return compare_text_losses(base, trained, read_samples(file))


# --- said ----------------------------------------------------------------------------------------------------------


def format_grid(analysis: WeightAnalysis, style: str) -> str:
    """A row a layer, a column a module: relative change in percent."""
    values = {(cell.place.layer, cell.place.module): cell.relative for cell in analysis.grid}
    if not values:
        return ""
    names = shorten_modules(analysis.modules)
    rows = [
        [str(layer), *(_format_share(values.get((layer, module))) for module in analysis.modules)]
        for layer in analysis.layers
    ]
    return _format_table(rows, ["layer, %", *names], style)


def shorten_modules(modules: Sequence[str]) -> list[str]:
    """The last word of each module's name without `_proj`, or the whole name where two would be the same."""
    words = [module.removesuffix(".bias").rpartition(".")[2].removesuffix("_proj") for module in modules]
    last = [word + ".bias" * module.endswith(".bias") for word, module in zip(words, modules, strict=True)]
    return [word if last.count(word) == 1 else module for word, module in zip(last, modules, strict=True)]


def format_rest(analysis: WeightAnalysis, style: str) -> str:
    """What lies outside of the layers, other stacks of layers by module."""

    def where(place: TensorPlace) -> tuple[str, str]:
        return place.stack, place.module

    cells = sorted(analysis.rest, key=lambda cell: (cell.place.layer is not None, where(cell.place)))
    rows = []
    for (stack, module), some in groupby(cells, key=lambda cell: where(cell.place)):
        cell = merge_cells(TensorPlace(stack, None, module, "other"), some)
        name = f"{stack}.*.{module}" if stack else module
        rows.append([name, f"{cell.parameters:,}", _format_share(cell.relative)])
    return _format_table(rows, ["outside of the layers", "parameters", "relative change, %"], style) if rows else ""


def format_parts(analysis: WeightAnalysis, style: str) -> str:
    """The kinds of modules and the lower layers' MLPs, each with its share of everything."""
    shares = ("parameter_share", "squared_change_share", "cell_share", "relative_change_share", "relative_change")
    rows = [[part["part"], *(_format_share(part[share]) for share in shares)] for part in analysis.parts()]
    headers = [
        "part",
        "of parameters, %",
        "of squared change, %",
        "of cells, %",
        "of summed relative change, %",
        "relative change, %",
    ]
    return _format_table(rows, headers, style)


def format_losses(losses: Sequence[TextLoss], style: str) -> str:
    """A row a text: loss in nats a token before and after, with the paired interval."""
    rows = []
    for one in losses:
        low, high = one.difference.ci95 or (None, None)
        interval = "-" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"
        change = "-" if one.difference.value is None else f"{one.difference.value:+.4f}"
        rows.append([one.text, f"{one.base:.4f}", f"{one.trained:.4f}", change, interval, str(one.difference.n)])
    headers = ["loss on demonstrations", "base", "trained", "difference", "95 %", "n"]
    return _format_table(rows, headers, style)


def format_csv(analysis: WeightAnalysis) -> str:
    """A line a cell."""
    text = io.StringIO()
    rows = [cell_to_json(cell) for cell in analysis.cells]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _format_share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g}"


def _format_table(rows: list[list[str]], headers: list[str], style: str) -> str:
    alignment = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=alignment)
