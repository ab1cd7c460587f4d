"""Writes docs/images/training-curves.svg from the committed runs of training; a test compares the two.

python docs/make_curves.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from results.report.curves import TrainingCurves, read_curves
from results.report.svg import PLOT_WIDTH, PlotLine, element, plot_lines, text_element

DOCS = Path(__file__).parent
IMAGE = DOCS / "images" / "training-curves.svg"
RUNS = DOCS.parent / "results" / "published" / "training" / "greedy"
PLOTS = {"solve_f1": ((0.5, 0.8), "strict Solve-F1"), "answer_accuracy": ((0.2, 0.5), "right answers")}
"""Metric to the range that is shown and its name."""
HEIGHT = 250
COLOURS = ("#2f6db3", "#cc6a22", "#2f8f66", "#a04b96", "#a58413", "#2f91a5", "#bf4a48")
STYLE = """svg { font-family: system-ui, sans-serif; background: #fff; } text { fill: #444; font-size: 11.5px; }
.grid { stroke: #ddd; } .line { fill: none; stroke: var(--own); stroke-width: 2; stroke-linejoin: round; }
.dot { fill: var(--own); }
"""


def published(folder: Path) -> dict[str, list[TrainingCurves]]:
    """The curves of each arm of the experiment: seeds (NAME-1, NAME-2 ...) belong together."""
    arms: dict[str, list[TrainingCurves]] = {}
    for path in sorted(folder.iterdir()):
        if (curves := read_curves(path)) is not None and curves.validated:
            arms.setdefault(re.sub(r"-\d+$", "", path.name), []).append(curves)
    return arms


def drawn(arms: Mapping[str, Sequence[TrainingCurves]]) -> str:
    """Both plots, one below the other, and a legend."""
    parts = [element("style", STYLE + "".join(f".c{i} {{ --own: {colour}; }}\n" for i, colour in enumerate(COLOURS)))]
    for place, (metric, (reach, name)) in enumerate(PLOTS.items()):
        series = [
            PlotLine([(x, y, None) for x, y in one.validated[metric]], f"c{number}", one.label)
            for number, curves in enumerate(arms.values())
            for one in curves
        ]
        plot = plot_lines(series, reach, f"{name} on validation, by step", ("step", name), height=HEIGHT)
        parts.append(plot.replace("<svg ", f'<svg y="{place * HEIGHT}" width="{PLOT_WIDTH}" height="{HEIGHT}" ', 1))
    for number, name in enumerate(arms):
        x, y = 60 + 165 * (number % 3), 2 * HEIGHT + 16 + 20 * (number // 3)
        parts.append(element("circle", cx=x, cy=y - 4, r=5, class_=f"c{number} dot") + text_element(x + 10, y, name))
    height = 2 * HEIGHT + 26 + 20 * ((len(arms) - 1) // 3)
    says = "Strict Solve-F1 and right answers on validation while training, by step"
    size = {"viewBox": f"0 0 {PLOT_WIDTH} {height}", "role": "img", "aria_label": says}
    return element("svg", "".join(parts), xmlns="http://www.w3.org/2000/svg", **size) + "\n"


if __name__ == "__main__":
    IMAGE.write_text(drawn(published(RUNS)), encoding="utf-8")
