"""A heat map of relative changes as SVG: a row a layer, the lowest at the bottom, a column a module.

One hue whose opacity is the value, on no background: readable where the page is dark and where it is light, and by the
colour-blind. It is written here, because a plotting library makes no picture that follows the page, and nothing else
needs one to be installed.

The scale ends at the 95th percentile, so that one outlier does not leave the rest white; a cell's title has its value.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from harness.console.text import printable
from trainer.analysis.changes import LayerCell, WeightAnalysis, format_percent

WIDTH, HEIGHT, LEFT, TOP = 46, 14, 56, 130
LETTER = 7
"""Pixels a letter takes at most, which a picture that is not drawn yet can only guess."""
STEPS = 5
STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#24292f}rect{fill:#1f6feb}"
    ".frame{fill:none;stroke:#8c959f;stroke-opacity:.4}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#58a6ff}}"
)


def draw_heatmap(analysis: WeightAnalysis) -> str:
    """The picture of the largest stack of layers; what lies outside of it is a column of its own on the right."""
    layers, modules = analysis.layers, analysis.modules
    columns = {module: LEFT + WIDTH * column for column, module in enumerate(modules)}
    rows = {layer: TOP + HEIGHT * row for row, layer in enumerate(reversed(layers))}
    top = _top(analysis)
    lines = [_square(columns[cell.place.module], rows[cell.place.layer or 0], cell, top) for cell in analysis.grid]
    right, bottom = LEFT + WIDTH * len(modules), TOP + HEIGHT * max(1, len(layers))
    lines.append(f'<text x="{LEFT - 6}" y="{TOP - 8}" text-anchor="end">layer</text>')
    lines += [f'<text x="{LEFT - 6}" y="{y + 11}" text-anchor="end">{layer}</text>' for layer, y in rows.items()]
    lines += [
        f'<text transform="translate({x + WIDTH // 2},{TOP - 8}) rotate(-40)">{escape(module)}</text>'
        for module, x in columns.items()
    ]
    for row, cell in enumerate(analysis.rest):
        y = TOP + HEIGHT * row
        lines.append(_square(right + 24, y, cell, top))
        lines.append(f'<text x="{right + 28 + WIDTH}" y="{y + 11}">{escape(_name(cell))}</text>')
    bottom = max(bottom, TOP + HEIGHT * len(analysis.rest))
    lines += _legend(top, bottom + 24)
    title = f"Relative change by layer and module: {Path(analysis.trained).name} against {Path(analysis.base).name}"
    names = max((len(_name(cell)) for cell in analysis.rest), default=0)
    width = max(right + 28 + WIDTH + LETTER * names, 16 + LETTER * len(title), LEFT + 72 * STEPS)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 64}" width="{width}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    return printable("\n".join([head, f'<text x="8" y="18">{escape(title)}</text>', *lines, "</svg>", ""]))


def _name(cell: LayerCell) -> str:
    where = cell.place
    return where.module if where.layer is None else f"{where.stack}.{where.layer}.{where.module}"


def _top(analysis: WeightAnalysis) -> float:
    """The value that is drawn at full strength; 0 where nothing changed."""
    values = sorted(cell.relative for cell in analysis.cells if cell.relative is not None)
    return values[round(0.95 * (len(values) - 1))] or values[-1] if values else 0.0


def _square(x: int, y: int, cell: LayerCell, top: float) -> str:
    strength = min(1.0, (cell.relative or 0.0) / top) if top else 0.0
    place = f'x="{x}" y="{y}" width="{WIDTH - 2}" height="{HEIGHT - 2}"'
    return (
        f'<rect class="frame" {place}/><rect {place} fill-opacity="{strength:.3f}">'
        f"<title>{escape(_name(cell))}: {format_percent(cell.relative)}</title></rect>"
    )


def _legend(top: float, y: int) -> list[str]:
    lines = []
    for step in range(STEPS):
        x, share = LEFT + step * 72, step / (STEPS - 1)
        place = f'x="{x}" y="{y}" width="70" height="{HEIGHT - 2}"'
        lines.append(f'<rect class="frame" {place}/><rect {place} fill-opacity="{share:.2f}"/>')
        sign = "≥ " if step == STEPS - 1 and top else ""
        lines.append(f'<text x="{x}" y="{y + HEIGHT + 12}">{sign}{format_percent(share * top)}</text>')
    return lines
